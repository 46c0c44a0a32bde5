"""A holder leaves: one act takes all of his cards back, and tells what is left."""

from contextlib import AsyncExitStack

import pytest
from sqlalchemy import insert, select, update

from modemctl.config.settings import ListMode
from modemctl.lifecycle import CardState
from modemctl.model import Bay, Iccid
from modemctl.store import sims, ties
from modemctl.store.tables import bay_tie, modem
from tests.support.apis import open_api
from tests.support.card_people import open_desk
from tests.unit.test_audits import check

CARDS = [Iccid(f"8986001234567890{i:04d}") for i in range(1, 7)]
LEAVING = {"holder": "王芳", "reason": "离职"}


@pytest.fixture
async def bench(tmp_path):
    async with open_api(tmp_path) as opened:
        yield opened


@pytest.fixture
async def desk(bench):
    async with AsyncExitStack() as stack:
        yield await open_desk(bench, stack)


async def seat(bench, bay: str, iccid: Iccid | None, *, state: str = "ready") -> None:
    values = {"node_id": "n1", "state": state, "iccid": iccid}
    at = bench.clock.now()

    def act(tx) -> None:
        known = tx.conn.scalar(select(modem.c.bay).where(modem.c.bay == bay))
        if known is None:
            times = {"state_at": at, "updated_at": at}
            tx.conn.execute(insert(modem).values(bay=bay, **values, **times))
        else:
            tx.conn.execute(update(modem).where(modem.c.bay == bay).values(values))

    await bench.store.write(act)


async def leave(desk, name: str = "sun", **changes) -> dict:
    answer = await desk.clients[name].post("/v1/sim-offboardings", json={**LEAVING, **changes})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_one_act_returns_and_cancels_all_but_what_a_bay_still_holds(bench, desk, tmp_path):
    await desk.issue(CARDS[0])
    await desk.issue(CARDS[1], number="13800000002")
    await desk.issue(CARDS[2], number="13800000003", holder="赵敏", user_name="王芳")
    await desk.issue(CARDS[3], number="13800000004", holder="赵敏")
    assert (await desk.request("anna", CARDS[4], number=None)).status_code == 201
    await desk.must("sun", CARDS[1], "state", state="lost")
    await seat(bench, "left", CARDS[0])
    await bench.store.write(lambda tx: ties.learn(tx, Bay("left"), CARDS[0], ListMode.LEARN))

    first = await leave(desk)
    assert (first["n_cards"], first["n_cancelled"], first["is_finished"]) == (4, 3, False)
    (left,) = first["left"]
    assert (left["iccid"], left["state"], left["bay"]) == (CARDS[0], "returned", "left")
    tied = await bench.store.read(lambda conn: list(conn.execute(select(bay_tie))))
    assert tied == []
    held = await desk.do("sun", CARDS[0], "state", state="cancelled")
    assert (held.status_code, held.json()["policy"]) == (409, "SIM-10")
    assert (await leave(desk))["is_finished"] is False

    await seat(bench, "left", None)
    last = await leave(desk)
    assert (last["n_cancelled"], last["left"], last["is_finished"]) == (4, [], True)
    again = await desk.clients["sun"].get("/v1/sim-offboardings/王芳")
    assert again.json() == last
    others = await bench.store.read(lambda conn: sims.read(conn, bench.store.vault, CARDS[3]))
    assert others.state is CardState.ISSUED
    (report,) = check(tmp_path)
    assert list(report.faults) == []


async def test_a_bay_whose_modem_is_gone_holds_nothing(bench, desk):
    await desk.issue(CARDS[0])
    await seat(bench, "left", CARDS[0], state="absent")
    assert (await leave(desk))["is_finished"] is True


async def test_who_has_no_card_or_is_not_seen_does_not_leave(bench, desk):
    answer = await desk.clients["sun"].post(
        "/v1/sim-offboardings", json={**LEAVING, "holder": "没有人"}
    )
    assert answer.status_code == 404
    await desk.issue(CARDS[0])
    of_loans = await bench.token_of("sales", department="loans")
    async with bench.client(of_loans) as client:
        assert (await client.post("/v1/sim-offboardings", json=LEAVING)).status_code == 404
        assert (await client.get("/v1/sim-offboardings/王芳")).status_code == 404


async def test_each_card_tells_why_it_came_back(desk):
    await desk.issue(CARDS[0])
    await leave(desk)
    lines = (await desk.clients["sun"].get(f"/v1/sims/{CARDS[0]}/history")).json()
    assert [(one["step"], one["reason"]) for one in lines[-2:]] == [
        ("returned", "离职"), ("cancelled", "离职"),
    ]  # fmt: skip
