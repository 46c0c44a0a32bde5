"""Every command explains itself; every problem reads well."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from modemctl.cli import HOMES, cli
from modemctl.cli.client import Connection
from modemctl.cli.errors import ApiProblem, Refusal, explain, printable
from modemctl.cli.show import cell, show_record, show_table
from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.service.principal import ADMINISTRATOR, ROLES
from tests.support.commands import Done, call, spawn


def walk() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with its words."""
    context = click.Context(cli)
    for name, (module, _) in HOMES.items():
        if importlib.util.find_spec(f"modemctl.cli.{module}") is None:
            continue
        command = cli.get_command(context, name)
        assert command is not None
        yield (name,), command
        if isinstance(command, click.Group):
            yield from (((name, sub), one) for sub, one in command.commands.items())


COMMANDS = dict(walk())


def test_table_of_commands_tells_what_the_commands_tell() -> None:
    for name, (_, words) in HOMES.items():
        if (name,) in COMMANDS:
            command = COMMANDS[name,]
            assert " ".join((command.help or "").split()).startswith(words.rstrip(".")), name


def test_every_role_is_named_where_accounts_are_made() -> None:
    told = COMMANDS["account", "create"].help or ""
    assert [role for role in ROLES if role not in told and role != ADMINISTRATOR] == []


PASSED_ON = {("simulate",), ("sim",), ("record",), ("replay",), ("conformance",)}
"""What another program answers; in this process they would replace it."""


@pytest.mark.parametrize("words", sorted(COMMANDS.keys() - PASSED_ON), ids=" ".join)
def test_help_renders_with_an_example(words: tuple[str, ...]) -> None:
    done = call(*words, "--help")
    assert done.status == 0
    assert done.out.startswith(f"Usage: modemctl {' '.join(words)}")
    assert (COMMANDS[words].help or "").strip()
    if not isinstance(COMMANDS[words], click.Group):
        assert f"modemctl {' '.join(words)}" in " ".join(done.out.split("Example: ")[1].split())


@pytest.mark.parametrize("words", sorted(COMMANDS), ids=" ".join)
def test_options_are_explained(words: tuple[str, ...]) -> None:
    for param in COMMANDS[words].params:
        if isinstance(param, click.Option):
            assert param.help, param.name


def test_main_help_lists_all_and_loads_none() -> None:
    done = call("--help")
    assert done.status == 0
    for name in HOMES:
        assert f"  {name} " in done.out


@pytest.mark.parametrize(
    ("words", "usage", "said"),
    [
        (("simulate",), "modemctl simulate [OPTIONS]", "--modems"),
        (("sim",), "modemctl sim [OPTIONS] COMMAND", "ledger"),
        (("sim", "serve"), "modemctl sim serve [OPTIONS]", "--modems"),
        (("record",), "modemctl record [OPTIONS] PORT", "--pty"),
        (("replay",), "modemctl replay [OPTIONS] FILE", "--tcp"),
        (("conformance",), "modemctl conformance [OPTIONS] PORT", "--json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_simulator_explains_what_is_passed_on_to_it(
    words: tuple[str, ...], usage: str, said: str
) -> None:
    done = spawn(*words, "--help")
    assert done.status == 0
    assert done.out.startswith(f"Usage: {usage}")
    assert said in done.out


def test_misspelt_command_is_wrong_usage_with_a_hint() -> None:
    done = call("batc", "list")
    assert done.status == 2
    assert "Did you mean batch" in done.err
    assert call("batch", "frobnicate").status == 2
    assert call("batch", "show").status == 2


def test_no_daemon_says_where_it_looked(tmp_path: Path) -> None:
    socket = tmp_path / "api.sock"
    done = spawn("--socket", socket, "batch", "list")
    assert done.status == 1
    assert f"no daemon answers on {socket}" in done.err
    assert "systemctl status modemctl" in done.err
    long = tmp_path / ("x" * 120)
    assert spawn("--socket", long, "batch", "list").status == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "holds no API key"), ("mk_a\nmk_b", "holds no API key"), ("钥匙", "holds no API key")],
)
def test_key_file_that_holds_no_key(tmp_path: Path, content: str, said: str) -> None:
    key = tmp_path / "key"
    key.write_text(content, encoding="utf-8")
    done = call("--key-file", key, "batch", "list")
    assert done.status == 1
    assert said in done.err
    assert "mk_a" not in done.err
    missing = call("--key-file", tmp_path / "none", "batch", "list")
    assert "No such file" in missing.err


def test_problem_shows_field_value_rule_policy_and_cure() -> None:
    problem = {
        "title": "A company rule forbids it",
        "field": "digest",
        "value": "ab",
        "rule": "must fit",
        "policy": "SEC-04",
        "cure": "look again",
    }
    text = explain(ApiProblem(403, problem))
    assert text == "digest: must fit (got ab) [policy: SEC-04]\n  → look again"


def test_problem_without_details_shows_what_there_is() -> None:
    assert explain(ApiProblem(502, {"title": "HTTP 502"})) == "HTTP 502"
    several = [{"field": "a", "rule": "missing"}, {"field": "b", "rule": "wrong", "value": "1"}]
    text = explain(ApiProblem(422, {"title": "x", "errors": several}))
    assert text == "2 things are wrong:\n  a: missing\n  b: wrong (got 1)"


def test_local_refusals_read_alike() -> None:
    error = InvalidRequest("must be so", field="name", value="x", cure="do that")
    assert explain(error) == "name: must be so (got 'x')\n  → do that"
    assert explain(PolicyRefused("SMS-01", "no")).endswith("[policy: SMS-01]")
    assert explain(Refusal("no", cure="yes")) == "no\n  → yes"


def test_text_from_outside_commands_no_terminal() -> None:
    assert printable("a\x1b[2Jb\x9b\u202ec\u3000王\t👨\u200d👩") == (
        "a\\x1b[2Jb\\x9b\\u202ec\u3000王\t👨\u200d👩"
    )
    assert cell("\x1b]0;x\x07", "text").plain == "\\x1b]0;x\\x07"
    assert "\x1b" not in explain(ApiProblem(422, {"rule": "\x1b[1m", "value": "\x07"}))


def test_chinese_columns_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    items = [{"name": "王小明", "state": "ready"}, {"name": "abc", "state": None}]
    show_table(items, ("name", "state"), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].rstrip() == "王小明  ready"  # six cells wide
    assert lines[2].rstrip() == "abc     –"


def test_values_read_as_people_write_them(capsys: pytest.CaptureFixture[str]) -> None:
    show_record(
        {"at": "2026-11-21T04:00:00Z", "is_good": True, "roles": ["a", "b"], "n": {"x": 1}},
        as_json=False,
    )
    out = capsys.readouterr().out
    assert "2026-11-2" in out
    assert "T04" not in out
    assert "yes" in out
    assert "x 1" in out


def test_connection_keeps_its_key_to_itself(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("mk_secret\n", encoding="ascii")
    connection = Connection(config_path=tmp_path, socket_path=tmp_path / "s", key_file=key)
    assert "mk_secret" not in repr(connection)


def test_terminal_of_few_letters_gets_escapes(tmp_path: Path) -> None:
    done: Done = spawn("key", "create", tmp_path / "键", PYTHONIOENCODING="latin-1")
    assert done.status == 0
    assert "\\u952e" in done.out
