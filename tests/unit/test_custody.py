"""The life of a card through the API, with the right people, and with the wrong ones."""

from contextlib import AsyncExitStack

import pytest
from sqlalchemy import select, update

from modemctl.lifecycle import CardState
from modemctl.model import Iccid
from modemctl.store import sims
from modemctl.store.sims import NewCard
from modemctl.store.tables import audit_entry, event, sim
from tests.support.apis import open_api
from tests.support.card_people import FORM, WHY, open_desk
from tests.unit.test_audits import check

OLD, NEW, THIRD = (f"8986001234567890{i:04d}" for i in (1, 2, 3))
DAY = 86_400.0
STEPS = ("request", "review", "approve", "provision", "issue")


@pytest.fixture
async def bench(tmp_path):
    async with open_api(tmp_path) as opened:
        yield opened


@pytest.fixture
async def desk(bench):
    async with AsyncExitStack() as stack:
        yield await open_desk(bench, stack)


def refusal(answer) -> tuple[int, str | None]:
    return answer.status_code, answer.json()["policy"]


async def history(desk, iccid: str) -> list[dict]:
    answer = await desk.clients["sun"].get(f"/v1/sims/{iccid}/history")
    assert answer.status_code == 200
    return answer.json()


def faults(folder) -> list[str]:
    (report,) = check(folder)
    return list(report.faults)


async def test_a_card_from_its_request_to_its_end(bench, desk, tmp_path):
    issued = await desk.issue(OLD)
    assert (issued["state"], issued["holder"], issued["user_name"]) == ("issued", "王芳", "李雷")
    lost = {"state": "lost", "reason": "地铁上丢失", "carrier_reference": "GS-2026-77"}
    gone = await desk.must("sun", OLD, "state", **lost)
    assert (gone["carrier_reference"], gone["carrier_told_at"] is not None) == ("GS-2026-77", True)

    asked = await desk.do("anna", NEW, "request", replaces=OLD, reason="补办")
    assert asked.status_code == 201, asked.text
    assert (asked.json()["holder"], asked.json()["replaces"]) == ("王**", OLD)
    assert (await desk.must("sun", NEW, "review"))["number"] == "+8613800000001"
    for name, step, more in (
        ("head", "approve", {}), ("it", "provision", {"pin": "4711"}),
        ("sun", "verify", {"reason": None, "verified_by": "孙"}), ("sun", "issue", {}),
    ):  # fmt: skip
        await desk.must(name, NEW, step, **more)
    assert (await desk.must("sun", OLD, "state", state="cancelled"))["replaced_by"] == NEW
    for state in ("returned", "cancelled"):
        await desk.must("sun", NEW, "state", state=state)

    steps = [(one["step"], one["by"], one["state"]) for one in await history(desk, OLD)]
    assert steps == [
        ("requested", "anna", "requested"), ("reviewed", "sun", "reviewed"),
        ("approved", "head", "approved"), ("provisioned", "it", "provisioned"),
        ("verified", "sun", "provisioned"), ("issued", "sun", "issued"), ("lost", "sun", "lost"),
        ("replaced", "anna", "lost"), ("cancelled", "sun", "cancelled"),
    ]  # fmt: skip
    assert [one["step"] for one in await history(desk, NEW)][-2:] == ["returned", "cancelled"]
    assert all(one["is_intact"] for one in [*await history(desk, OLD), *await history(desk, NEW)])
    assert (await history(desk, OLD))[6]["reference"] == "GS-2026-77"
    assert faults(tmp_path) == []


async def test_every_step_is_refused_to_who_lacks_its_permission(desk):
    right = {"request": "anna", "review": "sun", "approve": "head", "provision": "it",
             "issue": "sun"}  # fmt: skip
    may = {"sun": {"review", "issue"}, "it": {"provision", "issue"}, "anna": {"request"},
           "head": {"approve"}}  # fmt: skip
    for step in STEPS:
        body = {**FORM} if step == "request" else {}
        if step == "issue":
            await desk.must("sun", OLD, "verify", reason=None, verified_by="孙")
        for name in may.keys() - {one for one in may if step in may[one]}:
            answer = await desk.do(name, OLD, step, **body)
            assert refusal(answer) == (403, "SEC-01"), f"{name} {step}"
        more = {"pin": "7391"} if step == "provision" else {}
        await desk.must(right[step], OLD, step, **body, **more)


async def test_nobody_decides_about_what_he_asked_for_or_reviewed(desk):
    assert (await desk.request("all", OLD)).status_code == 201
    assert refusal(await desk.do("all", OLD, "review")) == (403, "SIM-02")
    assert (await desk.request("anna", NEW, number=None)).status_code == 201
    await desk.must("all", NEW, "review")
    assert refusal(await desk.do("all", NEW, "approve")) == (403, "SIM-02")
    await desk.must("sun", OLD, "review")
    assert refusal(await desk.do("all", OLD, "approve")) == (403, "SIM-02")


async def test_the_head_of_the_cards_own_department_approves(bench, desk):
    assert (await desk.request("anna", OLD)).status_code == 201
    await desk.must("sun", OLD, "review")
    assert (await desk.do("stranger", OLD, "approve")).status_code == 404
    token = await bench.token_of("department_head")  # of no department
    async with bench.client(token) as client:
        answer = await client.post(f"/v1/sims/{OLD}/approve", json=WHY)
    assert refusal(answer) == (403, "SIM-02")


async def test_no_step_is_left_out_and_none_comes_twice(desk):
    assert (await desk.request("anna", OLD)).status_code == 201
    for name, step in (("head", "approve"), ("it", "provision"), ("sun", "issue")):
        more = {"pin": "7391"} if step == "provision" else {}
        assert refusal(await desk.do(name, OLD, step, **more)) == (409, "SIM-02"), step
    await desk.must("sun", OLD, "review")
    assert refusal(await desk.do("sun", OLD, "review")) == (409, "SIM-02")


async def test_a_request_that_is_refused_ends_and_may_be_made_again(desk):
    assert (await desk.request("anna", OLD)).status_code == 201
    assert refusal(await desk.do("head", OLD, "refuse")) == (403, "SEC-01")  # not reviewed yet
    await desk.must("sun", OLD, "review")
    assert refusal(await desk.do("sun", OLD, "refuse")) == (403, "SEC-01")
    assert (await desk.must("head", OLD, "refuse"))["state"] == "returned"
    again = await desk.request("anna", OLD, holder="赵敏")
    assert (again.status_code, again.json()["state"]) == (201, "requested")


async def test_a_card_is_not_issued_unverified_or_unapproved(bench, desk):
    assert (await desk.request("anna", OLD)).status_code == 201
    await desk.must("sun", OLD, "review")
    await desk.must("head", OLD, "approve")
    assert refusal(await desk.do("it", OLD, "provision")) == (403, "SIM-02")  # without a PIN
    await desk.must("it", OLD, "provision", pin="7391")
    assert refusal(await desk.do("sun", OLD, "issue")) == (403, "SIM-04")
    await bench.store.write(
        lambda tx: sims.add(
            tx,
            [
                NewCard(iccid=Iccid(NEW), state=CardState.PROVISIONED, holder="王芳",
                        department="retail", verified_at=tx.now, verified_by="x")
            ],
        )
    )  # fmt: skip
    assert refusal(await desk.do("sun", NEW, "issue")) == (403, "SIM-02")


@pytest.mark.parametrize(
    ("changes", "status", "policy"),
    [
        ({"holder": None}, 403, "SIM-05"),
        ({"purpose": None}, 403, "SIM-05"),
        ({"department": None}, 403, "SIM-05"),
        ({"is_pool": True}, 403, "SIM-05"),  # and a holder
        ({"ownership": "leased", "lessor": "某公司"}, 403, "SIM-01"),
        ({"ownership": "leased", "contract": "Z-1"}, 403, "SIM-01"),
        ({"lease_from": "2026-12-01", "lease_until": "2026-11-01"}, 422, "SIM-01"),
        ({"department": "loans"}, 403, "SEC-01"),
        ({"replaces": THIRD}, 422, "SIM-09"),
        ({"number": "010"}, 422, None),
        ({"user_name": "a\x07b"}, 422, None),
    ],
)
async def test_a_form_that_leaves_out_what_the_register_needs_is_refused(
    desk, changes, status, policy
):
    assert refusal(await desk.request("anna", OLD, **changes)) == (status, policy)
    assert (await desk.clients["sun"].get(f"/v1/sims/{OLD}")).status_code == 404


async def test_a_pools_card_has_the_departments_head_as_its_holder(desk):
    asked = await desk.request("anna", OLD, holder=None, is_pool=True)
    assert asked.json()["holder"] is None
    await desk.must("sun", OLD, "review")
    approved = await desk.must("head", OLD, "approve")
    assert (approved["holder"], approved["is_pool"]) == ("head", True)


async def test_a_leased_card_tells_lessor_contract_and_dates(desk):
    lease = {"ownership": "leased", "lessor": "某某公司", "contract": "合同 2026-7",
             "lease_from": "2026-11-01", "lease_until": "2027-10-31"}  # fmt: skip
    shown = (await desk.request("anna", OLD, **lease)).json()
    assert {name: shown[name] for name in lease} == lease


async def test_a_card_changes_hands_only_by_its_return(desk):
    await desk.issue(OLD)
    assert refusal(await desk.request("anna", OLD, holder="赵敏")) == (409, "SIM-02")
    await desk.must("sun", OLD, "state", state="returned")
    assert (await desk.request("anna", OLD, holder="赵敏", number=None)).status_code == 201
    shown = (await desk.clients["sun"].get(f"/v1/sims/{OLD}")).json()
    assert (shown["holder"], shown["number"], shown["verified_at"]) == (
        "赵敏", "+8613800000001", None,
    )  # fmt: skip
    await desk.must("sun", OLD, "review")
    await desk.must("head", OLD, "approve")
    former = await desk.do("it", OLD, "provision")  # its PIN is the one of the former holder
    same = await desk.do("it", OLD, "provision", pin="7391")
    assert refusal(former) == refusal(same) == (403, "SIM-10")
    await desk.must("it", OLD, "provision", pin="2580")
    assert refusal(await desk.do("sun", OLD, "issue")) == (403, "SIM-04")


async def test_a_pin_that_only_the_vault_knows_goes_to_the_next_holder(bench, desk):
    await desk.issue(OLD)
    made_by_vault = update(sim).values(pin_import_id=None, pin_state="proved")
    await bench.store.write(lambda tx: tx.conn.execute(made_by_vault))
    await desk.must("sun", OLD, "state", state="returned")
    stock = await desk.must("it", OLD, "provision")
    assert (stock["state"], stock["holder"], stock["department"]) == ("provisioned", None, None)
    assert (await desk.request("anna", OLD, number=None)).status_code == 201


async def test_no_list_hands_out_what_was_approved_for_another_or_came_back(bench, desk):
    head = "iccid,holder,department,verified,state"

    async def give(line: str) -> set[tuple[str, str]]:
        async with bench.client(bench.admin_token) as client:
            answer = await client.post(
                "/v1/sims/import", params={"format": "csv"}, content=f"{head}\n{line}\n".encode(),
                headers={"content-type": "text/csv"},
            )  # fmt: skip
        assert answer.status_code == 422, answer.text
        return {(one["field"], one["policy"]) for one in answer.json()["errors"]}

    assert (await desk.request("anna", OLD)).status_code == 201
    await desk.must("sun", OLD, "review")
    await desk.must("head", OLD, "approve")
    await desk.must("it", OLD, "provision", pin="7391")
    line = f"{OLD},赵敏,loans,yes,issued"
    names = ("holder", "department", "state")
    assert await give(line) == {(f"line 2: {name}", "SIM-05") for name in names}
    await desk.must("sun", OLD, "state", state="returned")
    await desk.must("it", OLD, "provision", pin="2580")
    assert await give(line) == {(f"line 2: {name}", "SIM-05") for name in names}
    assert (await desk.clients["sun"].get("/v1/sim-requests")).json() == []


@pytest.mark.parametrize("state", ["issued", "suspended_arrears", "停机"])
async def test_a_list_is_initial_stock_until_a_card_was_issued_step_by_step(bench, desk, state):
    async def give(iccid: str, state: str, holder: str = "王芳", trial: bool = False):
        line = f"iccid,holder,department,verified,state\n{iccid},{holder},retail,yes,{state}\n"
        async with bench.client(bench.admin_token) as client:
            return await client.post(
                "/v1/sims/import", params={"format": "csv", "dry_run": trial},
                content=line.encode(), headers={"content-type": "text/csv"},
            )  # fmt: skip

    assert (await give(NEW, state, trial=True)).status_code == 200
    await desk.issue(OLD)
    for iccid in (NEW, THIRD):
        answer = await give(iccid, state)
        assert answer.status_code == 422, answer.text
        (error,) = answer.json()["errors"]
        assert (error["field"], error["policy"]) == ("line 2: state", "SIM-02")
    assert (await give(NEW, "provisioned", holder="")).status_code == 200
    if state == "issued":  # nor by completing what lies in stock
        assert (await give(NEW, state)).status_code == 422
    assert (await desk.request("anna", NEW, number="13800000009")).status_code == 201


async def test_two_cards_do_not_have_one_number(desk):
    assert (await desk.request("anna", OLD)).status_code == 201
    assert refusal(await desk.request("anna", NEW)) == (409, "SIM-01")


async def test_only_what_is_lost_or_broken_is_replaced_and_once(desk):
    await desk.issue(OLD)
    assert refusal(await desk.do("anna", NEW, "request", replaces=OLD)) == (409, "SIM-09")
    await desk.must("sun", OLD, "state", state="damaged")
    assert (await desk.do("anna", NEW, "request", replaces=OLD)).status_code == 201
    assert refusal(await desk.do("anna", THIRD, "request", replaces=OLD)) == (409, "SIM-09")
    await desk.must("sun", NEW, "refuse")
    assert (await desk.do("anna", THIRD, "request", replaces=OLD)).status_code == 201


async def test_a_missing_card_raises_an_alarm_and_the_carrier_is_told_once_it_is(bench, desk):
    await desk.issue(OLD)
    assert refusal(await desk.do("sun", OLD, "carrier-report", reason=None, reference="R")) == (
        409, "SIM-09",
    )  # fmt: skip
    await desk.must("sun", OLD, "state", state="suspended_loss")
    told = await bench.store.read(
        lambda conn: list(conn.scalars(select(event.c.data).where(event.c.kind == "alarm")))
    )
    assert any("card_missing" in one and "SIM-09" in one for one in told)
    at = "2026-11-21T03:00:00+00:00"
    report = {"reason": None, "reference": "GS-9", "at": at}
    shown = await desk.must("sun", OLD, "carrier-report", **report)
    assert (shown["carrier_reference"], shown["carrier_told_at"]) == (
        "GS-9",
        "2026-11-21T03:00:00Z",
    )
    ahead = {**report, "at": "2027-11-21T03:00:00Z"}
    assert refusal(await desk.do("sun", OLD, "carrier-report", **ahead)) == (422, "SIM-09")
    found = await desk.must("sun", OLD, "release")
    assert (found["state"], found["carrier_reference"]) == ("issued", None)


@pytest.mark.parametrize("state", ["suspended_loss", "suspended_arrears", "suspended_penalty"])
async def test_the_three_suspensions_are_kept_apart(desk, state):
    await desk.issue(OLD)
    assert (await desk.must("sun", OLD, "state", state=state))["state"] == state
    line = (await history(desk, OLD))[-1]
    assert (line["step"], line["state"]) == ("suspended", state)
    assert refusal(await desk.do("sun", OLD, "issue")) == (409, "SIM-02")


async def test_a_penalty_ends_early_only_by_two_persons(bench, desk, tmp_path):
    await desk.issue(OLD)
    until = "2026-12-21T00:00:00Z"
    await desk.must("sun", OLD, "state", state="suspended_penalty", until=until)
    assert refusal(await desk.do("it", OLD, "release")) == (403, "SEC-04")
    ask = {"kind": "suspension_release", "subject": OLD, "reason": "申诉成立", "details": {}}
    asked = await desk.clients["it"].post("/v1/requests", json=ask)
    request_id = asked.json()["request_id"]
    assert refusal(await desk.do("it", OLD, "release", request_id=request_id)) == (403, "SEC-04")
    yes = await desk.clients["sun"].post(f"/v1/requests/{request_id}/confirm", json={})
    assert yes.status_code == 200, yes.text
    back = await desk.must("it", OLD, "release", request_id=request_id)
    assert (back["state"], back["suspended_until"]) == ("issued", None)
    await desk.must("sun", OLD, "state", state="suspended_penalty", until=until)
    assert refusal(await desk.do("it", OLD, "release", request_id=request_id)) == (403, "SEC-04")
    bench.clock.advance(10 * DAY)
    assert refusal(await desk.do("it", OLD, "release")) == (403, "SEC-04")
    bench.clock.advance(21 * DAY)
    async with bench.client(await bench.token_of("technician")) as late:
        assert (await late.post(f"/v1/sims/{OLD}/release", json=WHY)).status_code == 200
    assert faults(tmp_path) == []


async def test_the_log_names_the_approval_that_let_a_card_go(bench, desk):
    await desk.issue(OLD)
    entries = await bench.store.read(
        lambda conn: list(
            conn.scalars(select(audit_entry.c.details).where(audit_entry.c.action == "sim.state"))
        )
    )
    of_it = [one for one in entries if '"after":"issued"' in one or '"after":"provisioned"' in one]
    assert len(of_it) == 2
    assert all(f'"approval":"{OLD} line 3","approved_by":"head"' in one for one in of_it)


async def test_names_and_numbers_are_masked_in_the_history_too(desk):
    await desk.issue(OLD)
    line = (await desk.clients["it"].get(f"/v1/sims/{OLD}/history")).json()[-1]
    assert (line["holder"], line["user_name"]) == ("王**", "李**")
    assert (await desk.clients["stranger"].get(f"/v1/sims/{OLD}/history")).status_code == 404


async def test_requests_that_wait_too_long_are_told(bench, desk):
    assert (await desk.request("anna", OLD)).status_code == 201
    await desk.must("sun", OLD, "review")
    assert (await desk.request("anna", NEW, number=None)).status_code == 201

    async def waiting(**wanted) -> list[tuple]:
        answer = await desk.clients["sun"].get("/v1/sim-requests", params=wanted)
        return [
            (one["card"]["iccid"], one["waits_for"], one["working_days"]) for one in answer.json()
        ]

    assert await waiting() == [(OLD, "approved", 0), (NEW, "reviewed", 0)]
    bench.clock.advance(4 * DAY)
    assert await waiting(overdue=True) == []
    bench.clock.advance(DAY)
    assert await waiting(overdue=True) == [(OLD, "approved", 5), (NEW, "reviewed", 5)]
    assert (await desk.clients["stranger"].get("/v1/sim-requests")).json() == []


@pytest.mark.parametrize(
    ("steps", "cure"),
    [
        ([], "modemctl sims review ICCID"),
        ([("sun", "review")], "modemctl sims approve ICCID"),
        ([("sun", "review"), ("head", "approve")], "modemctl sims provision ICCID"),
    ],
)
async def test_who_issues_too_early_is_told_the_step_that_is_due(tmp_path, steps, cure):
    async with open_api(tmp_path) as bench, AsyncExitStack() as stack:
        desk = await open_desk(bench, stack)
        assert (await desk.request("anna", NEW)).status_code == 201
        for name, step in steps:
            await desk.must(name, NEW, step)
        refused = await desk.do("sun", NEW, "issue")
        released = await desk.do("sun", NEW, "release")
    assert (refused.status_code, refused.json()["cure"]) == (409, f"first: {cure}")
    assert released.json()["cure"] == f"first: {cure}"
