"""Bays, cards, what came in, calls: from the shell, against the real API and store."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from modemctl.cli.cures import cure_of
from modemctl.lifecycle import ModemState
from modemctl.model import Bay, Iccid, Topic
from modemctl.policy.pin_guard import StopReason
from modemctl.store import calls, wishes
from modemctl.store.modems import Facts, StateChange, save_changes
from modemctl.store.tables import node
from modemctl.store.transaction import Tx
from tests.support.apis import ApiBench, open_api, serving
from tests.support.approved import add_cards
from tests.support.commands import Done, ask

BAY = Bay("bay-07")
ICCID = "89860012345678901234"
CARDS = f"""ICCID,号码,持有人,部门,权属,核验人,核验时间,状态,PIN
{ICCID},13800000001,王小明,sales,owned,zhao,2026-11-01,issued,4711
89860012345678901242,13800000002,李娜,sales,owned,zhao,2026-11-01,issued,4712
"""


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[ApiBench]:
    async with open_api(tmp_path, peers={os.getuid(): "root"}) as bench, serving(bench):
        bench.services.modems._patience = 30.0  # the bench's own 50 ms are for other tests
        yield bench


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    path = tmp_path / "cards.csv"
    path.write_text(CARDS, encoding="gb18030")
    return path


async def run(bench: ApiBench, *arguments: str | Path) -> Done:
    return await ask("--socket", bench.settings.unix_socket, *arguments)


async def good(bench: ApiBench, *arguments: str | Path) -> str:
    done = await run(bench, *arguments)
    assert done.status == 0, done
    return done.out


async def test_cards_are_imported_shown_and_moved(bench: ApiBench, cards: Path) -> None:
    trial = await good(bench, "sims", "import", cards, "--trial")
    assert "2 cards: 2 would be added, 0 known, 2 new PINs" in trial
    assert await good(bench, "sims", "list") == ""
    done = await good(bench, "sims", "import", cards)
    assert "2 added" in done
    assert "one canary card proves it first" in done
    listed = await good(bench, "sims", "list", "--department", "sales", "--state", "issued")
    assert ICCID in listed
    assert "4711" not in listed
    shown = json.loads(await good(bench, "sims", "show", ICCID, "--json"))
    assert shown["number"] == "+86138****0001"
    assert shown["has_pin"] is True
    why = ("--reason", "test")
    assert "paused" in await good(bench, "sims", "pause", ICCID, *why)
    assert "paused" not in await good(bench, "sims", "resume", ICCID, *why)
    await good(bench, "sims", "verify", ICCID, "--by", "zhao")
    assert "is lost" in await good(bench, "sims", "state", ICCID, "lost", *why)
    assert (await run(bench, "sims", "state", ICCID, "requested", *why)).status == 2
    back = await run(bench, "sims", "state", ICCID, "suspended_loss", *why)
    assert back.status == 1
    assert (await run(bench, "sims", "state", ICCID, "gone", *why)).status == 2
    assert "no such card" in (await run(bench, "sims", "show", "89")).err
    imports = (await good(bench, "sims", "pin-imports", "--json")).splitlines()
    assert json.loads(imports[0])["n_cards"] == 2
    begun = await run(bench, "sims", "resume-import", json.loads(imports[0])["import_id"], *why)
    assert begun.status in {0, 1}
    assert "Traceback" not in begun.err


async def test_every_fault_of_a_card_list_is_told_with_its_line(
    bench: ApiBench, cards: Path
) -> None:
    cards.write_text(CARDS.replace("4711", "12").replace("13800000002", "7"), encoding="utf-8")
    done = await run(bench, "sims", "import", cards)
    assert done.status == 1
    assert "line 2: pin: " in done.err
    assert "line 3: number: " in done.err
    assert await good(bench, "sims", "list") == ""
    missing = await run(bench, "sims", "import", cards.with_name("none.csv"))
    assert "No such file" in missing.err
    form = await run(bench, "sims", "import", cards.rename(cards.with_suffix(".doc")))
    assert "the name must end in" in form.err


async def test_bays_are_shown_and_paused(bench: ApiBench) -> None:
    assert (await run(bench, "modems")).err == "nothing here\n"
    await bench.store.write(_one_bay)
    table = await good(bench, "modems")
    assert await good(bench, "modems", "list") == table
    assert "bay-07" in table
    assert "failed" in table
    assert json.loads(await good(bench, "modems", "--json"))["model"] == "E1750"
    why = ("--reason", "antenna")
    assert "is paused" in await good(bench, "modems", "pause", BAY, *why)
    shown = json.loads(await good(bench, "modems", "show", BAY, "--json"))
    assert shown["desired_state"] == "paused"
    assert "may send" in await good(bench, "modems", "resume", BAY, *why)
    assert "modemctl modems lists them" in (await run(bench, "modems", "show", "bay-99")).err


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        ("quarantined", "moved (policy: SIM-07)", "modemctl modems bind bay-07 --reason WHY"),
        ("quarantined", "unverified (policy: SIM-04)", f"modemctl sims verify {ICCID} --by WHO"),
        ("refused", "not_admitted (policy: CC-01)", "modemctl modems admit IMEI --reason WHY"),
        ("failed", "no answer", "modemctl modems retry bay-07 --reason WHY"),
        ("failed", "no GSM modem, or one that …", "leave this port out of bank.ports"),
        ("sim_wait", "iccid_unreadable", "docs/families.md"),
        ("sim_wait", "lock_unknown", 'lock = "verify"'),
        ("sim_wait", "sim_puk", f"modemctl sims puk ask {ICCID} --reason WHY"),
        ("sim_wait", "lock_counter_unknown", "put it into a bay with another model once"),
        ("sim_wait", "lock_pin_failed", "correct the PIN in the list"),
        ("sim_wait", "puk_not_wanted", "modemctl modems reset bay-07 --reason WHY"),
        ("ready", "registered in its home network", ""),
    ],
)
async def test_a_bay_that_is_not_ready_names_its_cure(bench: ApiBench, state, reason, told) -> None:
    await bench.store.write(lambda tx: _one_bay(tx, ModemState(state), reason, Iccid(ICCID)))
    shown = await run(bench, "modems", "show", BAY)
    assert shown.status == 0
    assert (told in shown.err) if told else (shown.err == "")
    assert (await run(bench, "modems", "show", BAY, "--json")).err == ""


@pytest.mark.parametrize(
    "stop",
    # Of the first the check tells more; the others are of a change, and the card serves.
    sorted(set(StopReason) - {StopReason.UNFIT, StopReason.UNPROVED, StopReason.CHANGE_STOPPED}),
)
def test_whatever_the_pin_guard_stops_for_has_a_cure(stop):
    known = {"bay": BAY, "iccid": ICCID, "imei": "490154203237518"}
    assert cure_of(stop.value, **known)
    assert cure_of(f"lock_{stop.value}", **known)


@pytest.mark.parametrize("words", [("at", BAY, "ATI"), ("modems", "reset", BAY, "--reason", "x")])
async def test_nobody_waits_for_a_modem_that_is_not_there(bench: ApiBench, words) -> None:
    gone = "connection lost: device disconnected"
    await bench.store.write(lambda tx: _one_bay(tx, ModemState.ABSENT, gone))
    async with asyncio.timeout(20):  # less than the bench's patience
        done = await run(bench, *words)
    assert done.status == 1
    assert f"no modem is there: {gone}" in done.err
    assert "plug it in" in done.err


async def test_an_absent_bay_is_forgotten_once_nobody_counts_on_it(
    bench: ApiBench, cards: Path
) -> None:
    why = ("--reason", "hub is gone")

    async def refused() -> str:
        done = await run(bench, "modems", "forget", BAY, *why)
        assert done.status == 1
        return done.err

    await good(bench, "sims", "import", cards)
    await bench.store.write(_one_bay)
    assert "it is failed" in await refused()
    await bench.store.write(lambda tx: _one_bay(tx, ModemState.ABSENT, "no port"))
    await good(bench, "modems", "bind", BAY, "--iccid", ICCID, *why)
    assert f"modemctl modems unbind {BAY} --reason WHY" in await refused()
    await good(bench, "modems", "unbind", BAY, *why)
    await good(bench, "modems", "pause", BAY, *why)
    assert "it is paused" in await refused()
    await good(bench, "modems", "resume", BAY, *why)
    assert await good(bench, "modems", "forget", BAY, *why) == f"{BAY} is off the list\n"
    assert (await run(bench, "modems")).err == "nothing here\n"
    assert "no such bay" in await refused()


async def test_the_card_of_a_modem_that_is_away_is_tied_by_its_name_alone(
    bench: ApiBench, cards: Path
) -> None:
    await good(bench, "sims", "import", cards)
    away = ModemState.ABSENT
    await bench.store.write(lambda tx: _one_bay(tx, away, "no port", Iccid(ICCID)))
    why = ("--reason", "new holder")
    refused = await run(bench, "modems", "bind", BAY, *why)
    assert "no card is in the bay" in refused.err
    assert ICCID in await good(bench, "modems", "bind", BAY, "--iccid", ICCID, *why)


async def test_a_card_is_tied_to_a_bay_and_untied(bench: ApiBench, cards: Path) -> None:
    await good(bench, "sims", "import", cards)
    await bench.store.write(_one_bay)
    why = ("--reason", "new holder")
    bound = await good(bench, "modems", "bind", BAY, "--iccid", ICCID, *why)
    assert bound == f"card {ICCID} belongs into {BAY}\n"
    shown = json.loads(await good(bench, "modems", "show", BAY, "--json"))
    assert shown["expected_iccid"] == ICCID
    assert "has no card of its own" in await good(bench, "modems", "unbind", BAY, *why)
    unknown = await run(bench, "modems", "bind", BAY, "--iccid", "8999999999999999999", *why)
    assert "no such card in the register" in unknown.err
    assert "→ modemctl sims lists them" in unknown.err
    for wrong in ("bad", "8986-0012 3456", "x" * 60):
        told = (await run(bench, "modems", "bind", BAY, "--iccid", wrong, *why)).err
        assert "iccid: must be an ICCID, 18 to 22 digits" in told
        assert f"(got {wrong[:40]}" in told
        assert "[policy: SIM-07]" in told
        assert "→ it is printed on the card" in told


async def test_modems_are_asked_for_listed_and_expelled(bench: ApiBench) -> None:
    imei, why = "490154203237518", ("--reason", "order 7")
    assert (await run(bench, "modems", "admitted")).err == "nothing here\n"
    asked = await good(bench, "modems", "admit", imei, *why)
    assert asked == f"{imei} is requested: a second person has to admit it too\n"
    assert imei in await good(bench, "modems", "admitted", "--state", "requested")
    async with bench.client(await bench.token_of("technician", by=await bench.second())) as second:
        await second.post("/v1/admissions", json={"imeis": [imei], "reason": "checked"})
    assert await good(bench, "modems", "admit", imei, *why) == f"{imei} is admitted\n"
    assert await good(bench, "modems", "expel", imei, *why) == f"{imei} is expelled\n"
    assert "15 digits" in (await run(bench, "modems", "admit", "12", *why)).err


@pytest.mark.parametrize("verb", ["reset", "retry", "release"])
async def test_wishes_wait_for_the_bays_answer(bench: ApiBench, verb: str) -> None:
    await bench.store.write(_one_bay)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(run(bench, "modems", verb, BAY, "--reason", "test"))
        await _serve_one(bench, result="done")
    assert asking.result().status == 0, asking.result()
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(run(bench, "modems", verb, BAY, "--reason", "test"))
        await _serve_one(bench, error="not possible while the bay is ready")
    assert asking.result().status == 1
    words, cure = asking.result().err.splitlines()
    assert words == f"modemctl: bay: not possible while the bay is ready (got {BAY})"
    assert f"modemctl modems show {BAY}" in cure


async def test_bay_that_does_not_answer_is_told(bench: ApiBench) -> None:
    bench.services.modems._patience = 0.05
    await bench.store.write(_one_bay)
    later = await good(bench, "modems", "retry", BAY, "--reason", "new cable")
    assert later == "bay-07 will do so when it can\n"
    done = await run(bench, "at", BAY, "AT+CSQ")
    assert done.status == 1
    assert "is busy and has not answered" in done.err


async def test_at_command_is_served_by_the_bay(bench: ApiBench) -> None:
    await bench.store.write(_one_bay)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(run(bench, "at", BAY, "AT+CSQ"))
        body = await _serve_one(bench, result="+CSQ: 20,99\nOK")
    assert body == "AT+CSQ"
    assert asking.result().out == "+CSQ: 20,99\nOK\n"
    refused = await run(bench, "at", BAY, "AT+CPIN=1234")
    assert refused.status == 1
    assert "PINs, PUKs and locks are the PIN guard's [policy: SIM-06]" in refused.err
    assert "1234" not in refused.err


async def test_limits_are_listed_with_their_use(bench: ApiBench) -> None:
    await bench.store.write(lambda tx: add_cards(tx, [ICCID]))
    shown = await good(bench, "limits")
    assert "limits.segments_per_minute" in shown
    first = json.loads((await good(bench, "limits", "--scope", "sim", "--json")).splitlines()[0])
    assert (first["name"], first["used"], first["most"]) == (ICCID, 0, 10)
    empty = await run(bench, "limits", "--full")
    assert empty.err == "no such limit is used up\n"
    unset = await run(bench, "limits", "--scope", "department")
    assert unset.err == "no such limit is set\n"


async def test_calls_and_inbox_are_listed(bench: ApiBench, tmp_path: Path) -> None:
    begin = bench.clock.now()
    call = calls.CallState(
        iccid=Iccid(ICCID), bay=BAY, is_incoming=True, number="+8613800000009", started_at=begin,
        answered_at=begin, ended_at=begin + timedelta(seconds=7), n_rings=2, cause="remote",
    )  # fmt: skip
    await bench.store.write(lambda tx: calls.save(tx, [call]))
    assert "+86138****0009" in await good(bench, "calls")
    assert json.loads(await good(bench, "calls", "--incoming", "--json"))["seconds"] == 7.0
    assert (await run(bench, "calls", "--outgoing")).err == "no calls\n"
    assert "since: " in (await run(bench, "calls", "--since", "yesterday")).err
    denied = await run(bench, "inbox")
    assert "lacks inbox:read" in denied.err
    await good(bench, "account", "create", "zhou", "--role", "operator")
    await good(bench, "key", "issue", "zhou", "--out", tmp_path / "zhou")
    came = await run(bench, "--key-file", tmp_path / "zhou", "inbox", "--parts")
    assert (came.status, came.err) == (0, "nothing came in\n")


def _one_bay(
    tx: Tx,
    state: ModemState = ModemState.FAILED,
    reason: str = "no answer",
    iccid: Iccid | None = None,
) -> None:
    facts = Facts(
        bay=BAY, port="/dev/ttyUSB0", manufacturer="huawei", model="E1750", iccid=iccid
    )  # fmt: skip
    change = StateChange(
        facts=facts, before=ModemState.RECOVERING, after=state, event="x", reason=reason,
    )  # fmt: skip
    save_changes(tx, [change])


async def _serve_one(
    bench: ApiBench, *, result: str | None = None, error: str | None = None
) -> str | None:
    """Be the bay's actor once."""
    async with asyncio.timeout(30):
        with bench.store.signals.subscribe(Topic.WISHES) as bell:
            while not (taken := await bench.store.write(lambda tx: wishes.take(tx, [BAY])))[0]:
                await bell.wait(0.1)
            wish = taken[0][0]
            answer = wishes.Answer(wish_id=wish.wish_id, result=result, error=error)
            await bench.store.write(lambda tx: wishes.answer(tx, [answer]))
            return wish.body


async def test_a_self_test_that_finds_a_fault_tells_scripts_so(bench: ApiBench) -> None:
    change = StateChange(
        facts=Facts(bay=BAY, port=None, family=None, iccid=None),
        before=ModemState.PROBING, after=ModemState.ABSENT, event="port_gone", reason="unplugged",
    )  # fmt: skip
    await bench.store.write(lambda tx: save_changes(tx, [change]))
    assert (await run(bench, "self-test", "--last")).status == 0  # none was tested so far
    tested = await run(bench, "self-test", BAY)
    assert (tested.status, "absent: unplugged" in tested.out) == (1, True)
    assert "1 bay: a fault in 1" in tested.err
    assert (await run(bench, "self-test", "--last", "--faulty")).status == 1
    assert (await run(bench, "self-test", "--last", "bay-08")).status == 0


async def test_a_self_test_that_was_to_send_and_could_not_says_what_to_do(bench: ApiBench) -> None:
    asked = await run(bench, "self-test", "--sms")
    assert asked.status == 1
    assert "no card wrote to itself" in asked.err
    assert "modemctl batch propose-self-test" in asked.err
    assert max(len(line) for line in asked.err.splitlines()) <= 80


async def test_the_policy_is_shown_a_setting_a_line(bench: ApiBench) -> None:
    lines = [line.split() for line in (await good(bench, "policy", "show")).splitlines()]
    told = json.loads(await good(bench, "policy", "show", "--json"))
    assert ["digest", told["digest"]] in lines
    named = [line[0] for line in lines if line and "." in line[0]]
    assert named == [*sorted(told["changes"]), *sorted(told["settings"])]
    assert named


async def test_status_tells_of_servers_that_are_away_or_drain(bench: ApiBench) -> None:
    rows = [
        {"node_id": name, "state": state, "is_draining": state == "up"}
        for name, state in (("n2", "lost"), ("n3", "down"), ("n4", "up"), ("n5", "removed"))
    ]
    now = bench.store.clock.now()
    moments = {"started_at": now, "heartbeat_at": now}
    await bench.store.write(
        lambda tx: tx.conn.execute(insert(node), [{**row, **moments} for row in rows]) and None
    )
    told = (await run(bench, "status")).out
    assert "NODE n2: lost, last heard of " in told
    assert "NODE n3: down, last heard of " in told
    assert "NODE n4: drains; modemctl node undrain" in told
    assert "n5" not in told
    shown = json.loads((await run(bench, "status", "--json")).out)
    states = {one["node"]: one["state"] for one in shown["nodes"]}
    assert (states["n2"], states["n4"]) == ("lost", "up")
