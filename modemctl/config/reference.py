"""The configuration reference, made from the settings so that the two cannot differ."""

import json
from typing import Final

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from modemctl.config.settings import Settings

_HEAD: Final = """\
# Configuration reference

Made from the settings by `./run docs`; edit `modemctl/config/settings.py` instead.

The daemon reads one TOML file, `/etc/modemctl/modemctl.toml` or the one named by `--config` or
`MODEMCTL_CONFIG`. Every key has a default, unknown keys are refused, and
`modemctl check-config` lists all mistakes at once with file and line. A variable
`MODEMCTL_<SECTION>__<KEY>` overrides a key: `MODEMCTL_LIMITS__SEGMENTS_PER_DAY=300`.
Durations are seconds unless the key names another unit.
"""


_WORDS: Final = {
    "array": "list",
    "boolean": "`true`, `false`",
    "integer": "whole number",
    "number": "number",
    "object": "table",
    "path": "absolute path",
    "string": "text",
    "time": "time of day",
}


def reference_markdown() -> str:
    """The page `docs/configuration.md`."""
    lines = [_HEAD]
    for name, field in Settings.model_fields.items():
        lines += _section(name, field)
    return "\n".join(lines).rstrip() + "\n"


def _section(name: str, field: FieldInfo) -> list[str]:
    model = _model(field)
    if model is None:
        raise TypeError(f"{name} is not a table of settings")
    lines = [f"## `[{name}]`", "", model.__doc__ or "", ""]
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    inner: list[str] = []
    for key, item in model.model_fields.items():
        if _model(item) is not None:
            inner += _section(f"{name}.{key}", item)
            continue
        value, default = _value(model, key), _default(item)
        lines.append(f"| `{key}` | {value} | {default} | {item.description} |")
    return [*lines, "", *inner]


def _model(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _value(model: type[BaseModel], key: str) -> str:
    """What a key takes, in words, from the schema that also checks it."""
    schema = model.model_json_schema()
    entry = schema["properties"][key]
    if "$ref" in entry:
        entry = schema["$defs"][entry["$ref"].rsplit("/", 1)[1]]
    if "enum" in entry:
        return ", ".join(f"`{choice}`" for choice in entry["enum"])
    word = _WORDS.get(entry.get("format", ""), _WORDS[entry["type"]])
    least = entry.get("minimum", entry.get("exclusiveMinimum"))
    if least is None:
        return word
    relation = "more than" if "exclusiveMinimum" in entry else "from"
    return f"{word} {relation} {least:,.12g} to {entry['maximum']:,.12g}"


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    shown = TypeAdapter(type(default)).dump_python(default, mode="json")
    return f"`{json.dumps(shown, ensure_ascii=False)}`"
