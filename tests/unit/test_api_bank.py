"""Modems, cards, inbox and calls over HTTP."""

import asyncio
from datetime import UTC, datetime

import pytest

from modemctl.lifecycle import ModemState
from modemctl.model import Bay, Iccid
from modemctl.policy.incoming import InboxKind
from modemctl.store import calls, inbox, modems, wishes
from modemctl.store.wishes import Answer
from tests.support.apis import ApiBench, open_api

CARDS = [f"8986001234567890{n:04d}" for n in range(1, 4)]
HEAD = "iccid,number,holder,department,ownership,verified,state,pin"
LIST = "\n".join(
    [HEAD, *(f"{iccid},1380000000{n},王芳,retail,owned,yes,issued,7391468{n}"
             for n, iccid in enumerate(CARDS, 1))]
)  # fmt: skip
AT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


@pytest.fixture
async def bench(tmp_path):
    async with open_api(tmp_path) as opened:
        yield opened


async def plug_in(
    bench: ApiBench, n: int = 2, state: ModemState = ModemState.READY, **measured: object
) -> None:
    changes = [
        modems.StateChange(
            facts=modems.Facts(
                bay=Bay(f"bay-{i:02d}"), port=f"/dev/ttyUSB{i}", family="generic",
                iccid=Iccid(CARDS[i - 1]), **measured,
            ),
            before=ModemState.ABSENT, after=state, event="port_seen", reason="",
        )
        for i in range(1, n + 1)
    ]  # fmt: skip
    await bench.store.write(lambda tx: modems.save_changes(tx, changes))


async def import_cards(bench: ApiBench, content: str = LIST, query: str = ""):
    async with bench.client(bench.admin_token) as client:
        return await client.post(
            f"/v1/sims/import{query}", content=content.encode(),
            headers={"Content-Type": "text/csv"},
        )  # fmt: skip


# ---------------------------------------------------------------- cards


async def test_a_list_of_cards_is_registered_and_shows_no_pin_and_no_name(bench):
    trial = await import_cards(bench, query="?dry_run=true")
    assert (trial.json()["n_added"], trial.json()["import_id"]) == (3, None)
    done = await import_cards(bench)
    assert done.status_code == 200, done.text
    assert (done.json()["n_added"], done.json()["n_pins"]) == (3, 3)
    async with bench.client(bench.admin_token) as client:
        page = await client.get("/v1/sims", params={"department": "retail", "limit": 2})
        assert [one["iccid"] for one in page.json()["items"]] == CARDS[:2]
        rest = await client.get("/v1/sims", params={"cursor": page.json()["next"]})
        assert [one["iccid"] for one in rest.json()["items"]] == CARDS[2:]
        for text in (page.text, rest.text):
            assert "7391468" not in text
            assert "王芳" not in text
            assert "1380000000" not in text
        (proof,) = (await client.get("/v1/pin-imports")).json()
        assert proof["import_id"] == done.json()["import_id"]
        found = await client.get("/v1/sims", params={"number": "138 0000 0002"})
        assert [one["iccid"] for one in found.json()["items"]] == [CARDS[1]]


async def test_a_list_with_faults_is_422_names_every_line_and_registers_nothing(bench):
    wrong = LIST.replace("73914681", "12").replace(CARDS[1], "123")
    answer = await import_cards(bench, wrong)
    assert answer.status_code == 422
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert {one["field"] for one in problem["errors"]} == {"line 2: pin", "line 3: iccid"}
    assert problem["cure"]
    async with bench.client(bench.admin_token) as client:
        assert (await client.get("/v1/sims")).json()["items"] == []


async def test_a_list_of_an_unknown_form_is_refused(bench):
    async with bench.client(bench.admin_token) as client:
        answer = await client.post(
            "/v1/sims/import", content=b"%PDF", headers={"Content-Type": "application/pdf"}
        )
    assert (answer.status_code, answer.json()["field"]) == (422, "format")


async def test_a_card_is_paused_moved_and_kept_from_impossible_steps(bench):
    await import_cards(bench)
    where = f"/v1/sims/{CARDS[0]}"
    async with bench.client(bench.admin_token) as client:
        paused = await client.post(f"{where}/pause", json={"reason": "complaints"})
        assert paused.json()["is_paused"] is True
        resumed = await client.post(f"{where}/resume", json={"reason": "settled"})
        assert resumed.json()["is_paused"] is False
        lost = await client.post(f"{where}/state", json={"state": "lost", "reason": "desk empty"})
        assert lost.json()["state"] == "lost"
        back = await client.post(f"{where}/state", json={"state": "issued", "reason": "found"})
        assert (back.status_code, back.json()["policy"]) == (403, "SIM-02")
        again = {"state": "suspended_loss", "reason": "found"}
        assert (await client.post(f"{where}/state", json=again)).status_code == 409
        odd = await client.post(f"{where}/state", json={"state": "eaten", "reason": "dog"})
        assert odd.json()["field"] == "state"
        assert (await client.get(where)).json()["state"] == "lost"
        assert (await client.get("/v1/sims/8986")).status_code == 404


# ---------------------------------------------------------------- modems


async def test_bays_are_listed_and_shown_to_whom_their_cards_belong(bench):
    await import_cards(bench)
    await plug_in(bench)
    own = await bench.token_of("monitor", department="retail")
    other = await bench.token_of("monitor", department="loans")
    async with bench.client(own) as client:
        page = (await client.get("/v1/modems", params={"limit": 1})).json()
        assert [one["bay"] for one in page["items"]] == ["bay-01"]
        rest = (await client.get("/v1/modems", params={"cursor": page["next"]})).json()
        assert [one["bay"] for one in rest["items"]] == ["bay-02"]
        assert rest["next"] is None
        assert (await client.get("/v1/modems/bay-02")).json()["state"] == "ready"
    async with bench.client(other) as client:
        assert (await client.get("/v1/modems")).json()["items"] == []
        assert (await client.get("/v1/modems/bay-02")).status_code == 404


async def test_what_was_measured_is_told_of_a_ready_bay_alone_and_an_absent_card_as_the_last(bench):
    measured = {"signal_dbm": -67, "operator": "CMCC", "registration_stat": 1, "temperature_c": 41}
    read = ("signal_dbm", "operator", "registration_stat", "temperature_c", "iccid", "last_iccid")
    told = {}
    async with bench.client(bench.admin_token) as client:
        for state in (ModemState.READY, ModemState.RECOVERING, ModemState.ABSENT):
            await plug_in(bench, 1, state, **measured)
            shown = (await client.get("/v1/modems/bay-01")).json()
            told[state] = tuple(shown[name] for name in read)
    assert told == {
        ModemState.READY: (-67, "CMCC", 1, 41, CARDS[0], None),
        ModemState.RECOVERING: (None, None, None, None, CARDS[0], None),
        ModemState.ABSENT: (None, None, None, None, None, CARDS[0]),
    }


async def test_a_bay_is_paused_and_resumed_once_each_in_the_log(bench):
    await plug_in(bench)
    async with bench.client(bench.admin_token) as client:
        for verb, wanted in (("pause", "paused"), ("pause", "paused"), ("resume", "run")):
            answer = await client.post(f"/v1/modems/bay-01/{verb}", json={"reason": "antenna"})
            assert answer.json()["desired_state"] == wanted
        missing = await client.post("/v1/modems/bay-99/pause", json={"reason": "x"})
        assert missing.status_code == 404
    auditor = await bench.token_of("auditor")
    async with bench.client(auditor) as client:
        log = (await client.get("/v1/audit", params={"action": "modem.desired"})).json()["items"]
    assert [one["details"]["desired"] for one in log] == ["run", "paused"]


async def serve_one(bench: ApiBench, **answer: str) -> str | None:
    """What an actor does with the next wish; returns its command."""
    while True:
        ((*found,),) = await bench.store.write(lambda tx: wishes.take(tx, [Bay("bay-01")]))
        if found:
            reply = Answer(wish_id=found[0].wish_id, **answer)
            await bench.store.write_in_set(wishes.answer, reply)
            return found[0].body


async def wish(bench: ApiBench, verb: str, body: dict, **answer: str):
    bench.services.modems._patience = 20.0
    async with (
        bench.client(bench.admin_token) as client,
        asyncio.timeout(20),
        asyncio.TaskGroup() as group,
    ):
        asked = group.create_task(client.post(f"/v1/modems/bay-01/{verb}", json=body))
        served = group.create_task(serve_one(bench, **answer))
    return asked.result(), served.result()


async def test_a_command_goes_to_the_bay_and_its_answer_comes_back(bench):
    await plug_in(bench)
    answer, sent = await wish(bench, "at", {"command": " at+csq "}, result="+CSQ: 20,99\nOK")
    assert sent == "AT+CSQ"
    assert answer.json()["lines"] == ["+CSQ: 20,99", "OK"]


async def test_wishes_of_one_instant_are_served_in_the_order_of_asking(bench):
    await plug_in(bench)

    def ask(tx):
        who = bench.admin.account_id
        return [
            wishes.ask(tx, kind=wishes.WishKind.AT, bay=Bay("bay-01"), body=f"ATI{n}", by=who)
            for n in range(9)
        ]

    asked = await bench.store.write(ask)
    ((*found,),) = await bench.store.write(lambda tx: wishes.take(tx, [Bay("bay-01")]))
    assert [one.wish_id for one in found] == asked
    assert [one.body for one in found] == [f"ATI{n}" for n in range(9)]


async def test_what_came_of_a_command_is_audited_without_the_answer(bench):
    await plug_in(bench)
    await wish(bench, "at", {"command": "AT+CIMI"}, result="460001234567890\nOK")
    await wish(bench, "at", {"command": "ATI"}, error="the bay has no link to its modem now")
    bench.services.modems._patience = 0.05
    async with bench.client(bench.admin_token) as client:
        unserved = await client.post("/v1/modems/bay-01/at", json={"command": "AT+CSQ"})
        assert unserved.json()["done_at"] is None
    bench.clock.advance(1)
    await bench.store.write(lambda tx: wishes.give_up(tx, older_than=0))
    async with bench.client(await bench.token_of("auditor")) as client:
        params = {"action": "modem.at.answered"}
        log = (await client.get("/v1/audit", params=params)).json()["items"]
    assert "1234567890" not in str(log)
    assert [one["details"]["outcome"] for one in log] == [
        "nobody served it: is the bay absent?",
        "the bay has no link to its modem now",
        "OK",
    ]
    assert {(one["actor"], one["subject"]) for one in log} == {("root", "bay-01")}


async def test_answer_that_comes_late_is_read_by_who_asked_and_nobody_else(bench):
    await plug_in(bench)
    async with bench.client(bench.admin_token) as client:
        asked = await client.post("/v1/modems/bay-01/at", json={"command": "AT+CIMI", "wait": 0})
        assert (asked.json()["done_at"], asked.json()["time_limit"]) == (None, 30.0)
        path = f"/v1/modems/bay-01/at/{asked.json()['wish_id']}"
        early = await client.get(path, params={"wait": 0})
        assert early.json()["done_at"] is None
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            late = group.create_task(client.get(path))
            await serve_one(bench, result="460001234567890\nOK")
        assert late.result().json()["lines"] == ["4600****7890", "OK"]
        elsewhere = await client.get(path.replace("bay-01", "bay-02"))
        unknown = await client.get("/v1/modems/bay-01/at/none")
    async with bench.client(await bench.token_of("maintainer")) as client:
        strange = await client.get(path)
    assert [one.status_code for one in (elsewhere, unknown, strange)] == [404, 404, 404]


async def test_who_waits_behind_a_scan_is_not_given_up(bench):
    await plug_in(bench)
    who = bench.admin.account_id

    def ask(tx, bay, body):
        return wishes.ask(tx, kind=wishes.WishKind.AT, bay=Bay(bay), body=body, by=who)

    scan = await bench.store.write(lambda tx: ask(tx, "bay-01", "AT+COPS=?"))
    await bench.store.write(lambda tx: wishes.take(tx, [Bay("bay-01")]))
    behind = await bench.store.write(lambda tx: ask(tx, "bay-01", "AT+CSQ"))
    unserved = await bench.store.write(lambda tx: ask(tx, "bay-02", "AT+CSQ"))
    bench.clock.advance(300)
    assert await bench.store.write(lambda tx: wishes.give_up(tx, older_than=120)) == 1
    vault = bench.store.vault
    found = {
        one: await bench.store.read(lambda conn, one=one: wishes.read(conn, vault, one))
        for one in (scan, behind, unserved)
    }
    assert [one for one, wish in found.items() if wish.done_at is not None] == [unserved]
    bench.clock.advance(900)  # who was at it is dead
    assert await bench.store.read(wishes.has_open)
    assert await bench.store.write(lambda tx: wishes.give_up(tx, older_than=120)) == 2
    assert not await bench.store.read(wishes.has_open)


async def test_numbers_in_an_answer_are_masked_without_the_scope(bench):
    await plug_in(bench)
    answer, _ = await wish(bench, "at", {"command": "AT+CIMI"}, result="460001234567890\nOK")
    assert answer.json()["lines"] == ["4600****7890", "OK"]


async def test_a_bay_that_cannot_is_a_conflict_with_its_words(bench):
    await plug_in(bench)
    answer, _ = await wish(
        bench, "retry", {"reason": "x"}, error="not possible while the bay is ready"
    )
    assert answer.status_code == 409
    assert "not possible while" in answer.json()["rule"]


async def test_a_bay_that_is_silent_leaves_the_wish_open(bench):
    await plug_in(bench)
    async with bench.client(bench.admin_token) as client:
        answer = await client.post("/v1/modems/bay-01/reset", json={"reason": "hangs"})
    assert answer.status_code == 200
    assert answer.json()["done_at"] is None


@pytest.mark.parametrize(
    ("command", "status", "policy"),
    [
        ("AT+CMGS=20", 403, "SMS-01"),
        ('AT+CPIN="1234"', 403, "SIM-06"),
        ("ATD110;", 403, "TEL-06"),
        ("AT+CMGL=4", 403, "TEL-11"),
        ("AT+CFUN=4", 403, "SEC-01"),
        ("AT+NEW=1", 422, "SMS-01"),
    ],
)
async def test_a_command_around_the_gates_never_becomes_a_wish(bench, command, status, policy):
    await plug_in(bench)
    async with bench.client(bench.admin_token) as client:
        answer = await client.post("/v1/modems/bay-01/at", json={"command": command})
    assert (answer.status_code, answer.json()["policy"]) == (status, policy)
    assert "1234" not in answer.text
    assert await bench.store.read(wishes.waiting_bays) == frozenset()


# ---------------------------------------------------------------- what comes in


async def test_incoming_messages_and_calls_are_shown_masked_without_the_scope(bench):
    await import_cards(bench)
    message = inbox.NewMessage(
        iccid=CARDS[0], bay="bay-01", sender="+8613912345678", is_sender_number=True, scts=AT,
        text="please call", concat=None, tpdu=b"\x04", kind=InboxKind.TEXT,
    )  # fmt: skip
    rang = calls.CallState(
        iccid=CARDS[0], bay="bay-01", is_incoming=True, number="+8613912345678", started_at=AT,
        answered_at=None, ended_at=AT, n_rings=3, cause="no_answer",
    )  # fmt: skip
    await bench.store.write(lambda tx: inbox.add(tx, [message]))
    await bench.store.write(lambda tx: calls.save(tx, [rang]))
    operator = await bench.token_of("operator", department="retail")
    auditor = await bench.token_of("auditor")
    async with bench.client(operator) as client:
        (text,) = (await client.get("/v1/inbox", params={"number": "13912345678"})).json()["items"]
        assert (text["sender"], text["text"]) == ("+8613912345678", "please call")
        one = await client.get(f"/v1/inbox/{text['inbox_id']}")
        assert one.json() == text
        (call,) = (await client.get("/v1/calls", params={"is_incoming": True})).json()["items"]
        assert (call["number"], call["holder"], call["n_rings"]) == ("+8613912345678", "王芳", 3)
        assert (await client.get("/v1/calls", params={"is_answered": True})).json()["items"] == []
    async with bench.client(auditor) as client:
        (text,) = (await client.get("/v1/inbox")).json()["items"]
        assert (text["sender"], text["text"]) == ("+86139****5678", None)
        (call,) = (await client.get("/v1/calls")).json()["items"]
        assert (call["number"], call["holder"]) == ("+86139****5678", "王**")
    stranger = await bench.token_of("operator", department="loans")
    async with bench.client(stranger) as client:
        assert (await client.get("/v1/inbox")).json()["items"] == []
        assert (await client.get(f"/v1/inbox/{text['inbox_id']}")).status_code == 404
        assert (await client.get("/v1/calls")).json()["items"] == []
