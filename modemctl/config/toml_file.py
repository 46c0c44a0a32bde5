"""From the file and the environment to checked settings, and every mistake with its place."""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from modemctl.config.settings import Settings
from modemctl.errors import ConfigError

ENV_PREFIX: Final = "MODEMCTL_"
ENV_RESERVED: Final = frozenset(
    {
        "MODEMCTL_CONFIG",
        "MODEMCTL_KEY",
        "MODEMCTL_LONG",
        "MODEMCTL_REQUIRE_TOOLS",
        "MODEMCTL_SOCKET",
        "MODEMCTL_VENV",
    }
)
"""Variables of ours that are not settings: they are left to the programs that read them."""

Key = tuple[str | int, ...]
"""Path of a setting: `("limits", "minimum_gap")`; numbers index arrays."""

_N_CHARS_SHOWN: Final = 60


def load(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Reads and checks the file and the overriding `MODEMCTL_<SECTION>__<KEY>` variables.

    Raises:
        ConfigError: Anything is wrong; all mistakes at once, each with its place.
    """
    env = os.environ if environ is None else environ
    text = _read(path)
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # or a number, a nest without end
        raise ConfigError([_explain_syntax(path, str(error))]) from error
    places: dict[Key, str] = {}
    for key, line in _key_lines(text):
        places.setdefault(key, f"{path}:{line}")
    _apply_credentials(data, env)
    _apply_environment(data, places, env)
    try:
        return Settings.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        told = [_explain(item, path, places) for item in error.errors(include_url=False)]
        raise ConfigError(sorted(told, key=partial(_line_of, path))) from error
    except ValueError as error:  # a number of more digits than JSON is written with
        raise ConfigError([f"{path}: {error}"]) from error


def _line_of(path: Path, problem: str) -> int:
    """Where in the file a problem stands; what stands in no line of it comes first."""
    found = re.match(r":(\d+): ", problem.removeprefix(str(path)))
    return 0 if found is None else int(found[1])


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError as error:
        raise ConfigError([f"{path}: no such file; name another with --config"]) from error
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}:{line}: not UTF-8; save it as UTF-8"]) from error


def _explain_syntax(path: Path, message: str) -> str:
    found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL)
    if found is None:
        return f"{path}: not valid TOML: {message}"
    reason, line, column = found.groups()
    return f"{path}:{line}: not valid TOML: {reason} (column {column})"


def _key_lines(text: str) -> Iterator[tuple[Key, int]]:
    """Line of each key of a valid TOML text: its statements are parsed one by one."""
    table: Key = ()
    statement: list[str] = []
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        statement.append(line)
        try:
            parsed = tomllib.loads("".join(statement))
        except tomllib.TOMLDecodeError:
            continue  # a value that goes on in the next line
        first = number - len(statement) + 1
        is_header = statement[0].lstrip().startswith("[")
        statement.clear()
        for key in _keys(parsed):
            yield (key if is_header else (*table, *key)), first
        if is_header:
            *_, table = _keys(parsed)


def _keys(parsed: object) -> Iterator[Key]:
    entries: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(parsed, dict):
        entries = iter(parsed.items())
    elif isinstance(parsed, list):
        entries = iter(enumerate(parsed))
    for name, value in entries:
        yield (name,)
        for rest in _keys(value):
            yield (name, *rest)


def _apply_credentials(data: dict[str, object], env: Mapping[str, str]) -> None:
    """Files that systemd handed over are the default ones."""
    folder = env.get("CREDENTIALS_DIRECTORY")
    paths = data.setdefault("paths", {})
    if not folder or not isinstance(paths, dict):
        return
    for key, name in (
        ("master_key_file", "master.key"),
        ("audit_key_file", "audit.key"),
        ("database_password_file", "database.password"),
    ):
        if (Path(folder) / name).exists():
            paths.setdefault(key, str(Path(folder) / name))


def _apply_environment(
    data: dict[str, object], places: dict[Key, str], env: Mapping[str, str]
) -> None:
    for name in sorted(env):
        if not name.startswith(ENV_PREFIX) or name in ENV_RESERVED:
            continue
        key = tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))
        table = data
        for part in key[:-1]:
            inner = table.get(part)
            if not isinstance(inner, dict):
                inner = table[part] = {}
            table = inner
        table[key[-1]] = _environment_value(key, env[name])
        places[key] = f"environment variable {name}"
        for n_parts in range(1, len(key)):  # a table that only the environment names
            places.setdefault(key[:n_parts], places[key])


def _environment_value(key: Key, raw: str) -> object:
    """Text where the setting is text, else TOML."""
    model: type[BaseModel] = Settings
    for part in key:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type):
            break
        if issubclass(field.annotation, BaseModel):
            model = field.annotation
        elif field.annotation not in (int, float, bool):
            return raw
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except (ValueError, RecursionError):
        return raw


def _explain(item: ErrorDetails, path: Path, places: Mapping[Key, str]) -> str:
    key = tuple(part for part in item["loc"] if part != "[key]")
    known = [key[:n] for n in range(len(key), 0, -1) if key[:n] in places]
    place = places[known[0]] if known else str(path)
    name = ".".join(str(part) for part in key)
    where = f"{place}: {name}: " if name else f"{place}: "
    if item["type"] == "extra_forbidden":
        return f"{where}unknown key{_suggestion(key)}"
    value = item["input"]
    shown = ""
    if isinstance(value, str | int | float) and key != ("paths", "database"):
        shown = f" (got {repr(value)[:_N_CHARS_SHOWN]})"
    reason = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{where}{reason}{shown}"


def _suggestion(key: Key) -> str:
    model: type[BaseModel] = Settings
    for part in key[:-1]:
        field = model.model_fields.get(str(part))
        if field is not None and isinstance(field.annotation, type):
            model = field.annotation
    near = difflib.get_close_matches(str(key[-1]), model.model_fields, n=1)
    return f"; did you mean {near[0]}?" if near else ""
