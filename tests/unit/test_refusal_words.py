"""What a stranger reads when something is refused: field, rule, and what to type next."""

import json
import re
from pathlib import Path

import click
import pytest

from modemctl.cli import HOMES, cli
from modemctl.errors import _LISTED, NotFound, NotPermitted
from modemctl.model import AccountId
from modemctl.service.principal import ROLES, Principal, Scope
from tests.support.apis import open_api
from tests.support.commands import call, spawn
from tests.unit.test_identities import WANG

NOBODY = Principal(
    account_id=AccountId("a"), name="zhou", department=None, scopes=frozenset(), source="test"
)


@pytest.mark.parametrize("scope", Scope)
def test_who_lacks_a_scope_is_told_which_roles_hold_it(scope: Scope) -> None:
    with pytest.raises(NotPermitted) as refusal:
        NOBODY.require(scope)
    named = refusal.value.cure.rpartition(": ")[2].split(", ")
    assert named
    assert all(scope in ROLES[role] for role in named)


@pytest.mark.parametrize("field", _LISTED)
def test_what_is_not_there_names_the_command_that_lists_what_is(field: str) -> None:
    told = NotFound("no such thing", field=field, value="x")
    words = [word for word in told.cure.split("modemctl ")[1].split() if word.islower()]
    context = click.Context(cli)
    command: click.Command | None = cli.get_command(context, words[0])
    assert words[0] in HOMES
    for word in words[1:]:
        if word.startswith("-"):
            assert command is not None
            assert any(word in option.opts for option in command.params)
            continue
        assert isinstance(command, click.Group)
        command = command.get_command(context, word)
    assert command is not None
    assert NotFound("no", field=field, cure="mine").cure == "mine"


def test_without_a_daemon_json_stays_json(tmp_path: Path) -> None:
    done = spawn("--socket", tmp_path / "none.sock", "sims", "list", "--json")
    problem = json.loads(done.err)
    assert done.status == 1
    assert problem["type"] == "urn:modemctl:problem:no-daemon"
    assert "no daemon answers" in problem["rule"]
    assert "systemctl status" in problem["cure"]


def test_a_refusal_of_the_command_itself_is_json_too(tmp_path: Path) -> None:
    done = call("report", "make", "stocktake", "-o", tmp_path / "a.txt", "--json")
    problem = json.loads(done.err)
    assert (done.status, problem["type"]) == (1, "urn:modemctl:problem:refused-here")
    assert "a report's name ends in .pdf or .xlsx" in problem["rule"]


def test_a_report_is_not_saved_under_the_name_of_another_form(tmp_path: Path) -> None:
    done = call("report", "make", "stocktake", "-o", tmp_path / "a.pdf", "--format", "xlsx")
    assert done.status == 1
    assert "ends in .xlsx" in done.err


@pytest.mark.parametrize(
    ("name", "rule"), [("none.csv", "No such file"), ("list.dat", "does not tell the form")]
)
def test_no_batch_is_named_where_its_list_cannot_be_read(
    tmp_path: Path, name: str, rule: str
) -> None:
    form, people = tmp_path / "form.toml", tmp_path / name
    form.write_text('category = "notice"\ntext = "您好"\n', encoding="utf-8")
    (tmp_path / "list.dat").write_text("13900000001\n", encoding="utf-8")
    done = call("batch", "submit", form, people)
    assert done.status == 1
    assert rule in done.err
    assert not re.search(r"^batch ", done.err, re.MULTILINE)


async def test_a_refused_request_repeats_no_identity_number_and_reads_as_dates_do(
    tmp_path: Path,
) -> None:
    async with (
        open_api(tmp_path) as bench,
        bench.client(await bench.token_of("technician", "card_requester")) as client,
    ):
        path = "/v1/sims/89860012345678901234"
        long = await client.post(f"{path}/request", json={"identity_number": WANG * 5})
        date = await client.post(f"{path}/lease", json={"until": "2020", "reason": "r"})
    assert long.status_code == 422
    assert WANG not in long.text
    assert date.json()["rule"] == "must be a date such as 2026-11-22"
