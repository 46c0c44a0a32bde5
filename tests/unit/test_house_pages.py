"""A page names only commands, options and settings that exist; both READMEs have the same parts."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from modemctl.cli import cli
from modemctl.config import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/runbooks").glob("*.md")),
    ROOT / "README.md",
    ROOT / "README.zh-CN.md",
)
_BLOCK = re.compile(r"(?ms)^```sh\n(.*?)^```")
_INLINE = re.compile(r"`modemctl ([a-z-][^`]*)`")
_PROGRAM = re.compile(r"(?:^|\s|\()(?:/opt/modemctl/bin/|\S*venv/bin/)?modemctl\s+(?=[a-z-])")


def commands(text: str) -> Iterator[str]:
    """Each `modemctl …` of a page, without the name: in its text, and in what one shall type."""
    for block in _BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            typed = line.partition(" #")[0]
            for part in re.split(r"&&|\||;", typed):
                found = _PROGRAM.search(part)
                if found is not None and not part.lstrip().startswith(("#", "export", "chown")):
                    inner = found[0].startswith("(") or "$(modemctl" in part  # a substitution
                    words = part[found.end() :].strip()
                    yield words.removesuffix(")") if inner else words
    for found in _INLINE.findall(_BLOCK.sub("", text)):
        yield " ".join(found.split())


NAMED = sorted(
    {
        (str(page.relative_to(ROOT)), line)
        for page in PAGES
        for line in commands(page.read_text(encoding="utf-8"))
    }
)


def _options(command: click.Command) -> dict[str, click.Parameter]:
    return {name: one for one in command.params for name in (*one.opts, *one.secondary_opts)} | {
        "--help": click.Option(["--help"], is_flag=True)
    }


@pytest.mark.parametrize(("page", "line"), NAMED)
def test_commands_and_options_of_pages_exist(page: str, line: str) -> None:
    words = shlex.split(line.replace("…", ""))
    command: click.Command = cli
    while isinstance(command, click.Group):
        known = _options(command)
        while words and words[0].startswith("-"):
            name, _, value = words.pop(0).partition("=")
            assert name in known, f"{page}: modemctl {line}"
            option = known[name]
            if not value and isinstance(option, click.Option) and not option.is_flag and words:
                words.pop(0)
        if not words:
            return  # a group as such is named
        inner = command.get_command(click.Context(command), words.pop(0))
        assert inner is not None, f"{page}: modemctl {line}"
        command = inner
    if command.context_settings.get("ignore_unknown_options"):
        return  # the simulator's, which has tests of its own
    asked = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert asked <= _options(command).keys(), f"{page}: modemctl {line}"


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """All settings with their sections, and the sections."""
    for name, field in model.model_fields.items():
        yield prefix + name
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{prefix}{name}.")


SETTINGS = set(keys(Settings))
SECTIONS = sorted({name.partition(".")[0] for name in SETTINGS if "." in name})
_SETTING = re.compile(rf"`((?:{'|'.join(SECTIONS)})\.[a-z_]+(?:\.[a-z_]+)*)\b(?!\()")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_of_pages_exist(page: Path) -> None:
    named = set(_SETTING.findall(page.read_text(encoding="utf-8")))
    files = {name for name in named if name.rpartition(".")[2] in {"py", "md", "toml", "log"}}
    tables = SETTINGS
    unknown = {
        name
        for name in named - files
        if name not in tables and name.rpartition(".")[0] not in tables - set(SECTIONS)
    }
    assert unknown == set()


def places(page: Path) -> set[str]:
    """What a link may name behind `#`: the headings, as a forge spells them."""
    heads = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_both_readmes_have_the_same_parts_and_link_the_same_pages() -> None:
    english, chinese = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")
    )
    assert english.count("\n## ") == chinese.count("\n## ")
    links = [
        set(re.findall(r"\]\(((?:docs|bench|CHANGELOG)[^)]*)\)", text))
        for text in (english, chinese)
    ]
    assert links[0] == links[1]
    for link in links[0]:
        page, _, place = link.partition("#")
        assert (ROOT / page).exists(), link
        assert not place or place in places(ROOT / page), link
    steps = [re.findall(r"(?m)^(\d+)\. ", text) for text in (english, chinese)]
    assert steps[0] == steps[1]
