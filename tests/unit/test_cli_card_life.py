"""The life of a card from the shell, each step by another person's key."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modemctl.service.accounts import AccountKind
from tests.support.apis import ApiBench, open_api, serving
from tests.support.card_people import ROLES
from tests.support.commands import Done, ask

CARD = "89860012345678901234"
NEW = "89860012345678901242"
WHY = ("--reason", "按流程")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[ApiBench]:
    async with open_api(tmp_path, peers={os.getuid(): "root"}) as bench, serving(bench):
        for name, (roles, department) in ROLES.items():
            account = await bench.services.accounts.create(
                bench.admin, name=name, kind=AccountKind.PERSON, department=department, roles=roles
            )
            key = await bench.services.accounts.issue_key(bench.admin, account.account_id)
            path = tmp_path / f"{name}.key"
            path.write_text(key.token)
            path.chmod(0o600)
        yield bench


async def run(bench: ApiBench, name: str, *arguments: str, answers: str = "") -> Done:
    key = bench.settings.unix_socket.parent / f"{name}.key"
    where = ("--socket", bench.settings.unix_socket, "--key-file", key)
    return await ask(*where, "sims", *arguments, answers=answers)


async def good(bench: ApiBench, name: str, *arguments: str, answers: str = "") -> str:
    done = await run(bench, name, *arguments, answers=answers)
    assert done.status == 0, done
    return done.out


async def issue(bench: ApiBench) -> None:
    form = ("--department", "retail", "--holder", "王芳", "--user", "李雷", "--purpose", "对账",
            "--number", "13800000001")  # fmt: skip
    await good(bench, "anna", "request", CARD, *form, *WHY)
    await good(bench, "sun", "review", CARD, *WHY)
    await good(bench, "head", "approve", CARD, *WHY)
    await good(bench, "it", "provision", CARD, "--pin", *WHY, answers="7391\n")
    await good(bench, "sun", "verify", CARD, "--by", "孙")
    told = await good(bench, "sun", "issue", CARD, *WHY)
    assert f"card {CARD} is issued" in told


async def test_a_card_goes_through_its_life_by_commands(bench: ApiBench) -> None:
    await issue(bench)
    lost = ("lost", "--carrier-reference", "GS-1", *WHY)
    assert f"card {CARD} is lost" in await good(bench, "sun", "state", CARD, *lost)
    await good(bench, "sun", "carrier-report", CARD, "--reference", "GS-2")
    await good(bench, "anna", "request", NEW, "--replaces", CARD, *WHY)
    await good(bench, "sun", "refuse", NEW, *WHY)
    lines = [json.loads(one) for one in (await good(bench, "sun", "history", CARD, "--json"))
             .splitlines()]  # fmt: skip
    assert [one["step"] for one in lines][-3:] == ["lost", "carrier_told", "replaced"]
    shown = await good(bench, "sun", "history", CARD)
    assert "王芳" in shown
    assert "GS-2" in shown


async def test_requests_that_wait_are_listed(bench: ApiBench) -> None:
    await good(bench, "anna", "request", CARD, "--department", "retail", "--pool", "--purpose",
               "值班", *WHY)  # fmt: skip
    (one,) = [json.loads(line) for line in (await good(bench, "sun", "requests", "--json"))
              .splitlines()]  # fmt: skip
    assert (one["iccid"], one["waits_for"], one["is_overdue"]) == (CARD, "reviewed", False)
    assert "no request waits" in (await run(bench, "sun", "requests", "--overdue")).err


async def test_a_refused_step_names_the_rule_and_the_cure(bench: ApiBench) -> None:
    await issue(bench)
    done = await run(bench, "sun", "state", CARD, "suspended_penalty", *WHY)
    assert done.status == 0, done
    refused = await run(bench, "it", "release", CARD, *WHY)
    assert refused.status == 1
    assert "SEC-04" in refused.err


async def test_a_holder_leaves_by_one_command(bench: ApiBench) -> None:
    await issue(bench)
    assert "0 of 1 cards are cancelled; not finished" in await good(
        bench, "sun", "offboard", "王芳", "--show"
    )
    done = await run(bench, "sun", "offboard", "王芳")
    assert done.status == 2
    assert "1 of 1 cards are cancelled" in await good(bench, "sun", "offboard", "王芳", *WHY)
