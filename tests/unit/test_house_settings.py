"""A setting that nobody reads is a lie: each key is looked up somewhere in the product."""

import ast
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from modemctl.config import Settings

ROOT = Path(__file__).resolve().parents[2]


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """All keys with their sections."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{prefix}{name}.")
        else:
            yield prefix + name


def attributes_read() -> set[str]:
    """Every attribute name that the product's code reads."""
    return {
        node.attr
        for package in ("modemctl", "api", "drivers")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


def test_every_setting_is_read_somewhere() -> None:
    read = attributes_read()
    assert {key for key in keys(Settings) if key.rpartition(".")[2] not in read} == set()
