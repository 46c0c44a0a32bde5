"""A PIN is shown to two persons, once, seldom, and stands nowhere else."""

import logging

import pytest
from sqlalchemy import text, update

from modemctl.errors import Conflict, NotFound, NotPermitted, PolicyRefused
from modemctl.policy.dual import DualKind
from modemctl.service.accounts import AccountKind
from modemctl.service.pin_reveals import PinReveals, PinView
from modemctl.service.principal import Scope
from modemctl.store import pins
from modemctl.store.tables import audit_entry, event, sim
from tests.support.apis import open_api
from tests.support.approved import add_cards
from tests.unit.test_audit_replay import rows_of

CARDS = [f"8986000000000000000{n}" for n in range(1, 7)]
PIN = "73918264"


class Desk:
    """A served application with two technicians and cards with PINs."""

    def __init__(self, bench) -> None:
        self.bench = bench
        self.reveals = PinReveals(bench.store)

    async def hire(self) -> "Desk":
        self.people, self.tokens = [], []
        for name, by in (("tina", self.bench.admin), ("tom", await self.bench.second())):
            account = await self.bench.services.accounts.create(
                self.bench.admin, name=name, kind=AccountKind.PERSON, department=None,
                roles=["technician"],
            )  # fmt: skip
            issued = await self.bench.services.accounts.issue_key(by, account.account_id)
            self.tokens.append(issued.token)
            self.people.append(await self.bench.services.gate.authenticate(issued.token, "test"))
        await self.bench.store.write(lambda tx: add_cards(tx, CARDS, pin=PIN))
        return self

    async def permit(self, iccid: str = CARDS[0], asker: int = 0) -> str:
        asked = await self.bench.services.dual.ask(
            self.people[asker], kind=DualKind.PIN_REVEAL, subject=iccid, details={}, reason="form"
        )
        await self.bench.services.dual.confirm(self.people[1 - asker], asked.request_id)
        return asked.request_id


@pytest.fixture
async def desk(tmp_path):
    async with open_api(tmp_path) as bench:
        yield await Desk(bench).hire()


async def test_two_persons_see_it_once_and_no_cache_keeps_it(desk, caplog):
    caplog.set_level(logging.DEBUG)
    request_id = await desk.permit()
    async with desk.bench.client(desk.tokens[0]) as client:
        path, body = f"/v1/sims/{CARDS[0]}/pin", {"request_id": request_id}
        answer = await client.post(path, json=body)
        assert answer.status_code == 200
        assert answer.json() == {"iccid": CARDS[0], "pin": PIN}
        assert answer.headers["cache-control"] == "no-store"
        again = await client.post(path, json=body)
        assert again.status_code == 403
        assert again.json()["policy"] == "SEC-04"
    rows = [*await rows_of(desk.bench.store, audit_entry), *await rows_of(desk.bench.store, event)]
    assert PIN not in repr(rows) + caplog.text
    assert [row["subject"] for row in rows if row.get("action") == "pin.reveal"] == [CARDS[0]]
    assert any("pin_revealed" in row.get("data", "") for row in rows)
    assert PIN not in repr(PinView(iccid=CARDS[0], pin=PIN))


async def test_nobody_sees_it_alone_or_that_of_another_card(desk):
    reveal, (tina, tom) = desk.reveals.reveal, desk.people
    request_id = await desk.permit()
    for who, card, permit in ((tina, CARDS[0], None), (tina, CARDS[1], request_id),
                              (tom, CARDS[0], request_id)):  # fmt: skip
        with pytest.raises(PolicyRefused) as caught:
            await reveal(who, card, request_id=permit)
        assert caught.value.policy == "SEC-04"
    assert (await reveal(tina, CARDS[0], request_id=request_id)).pin == PIN


async def test_one_person_sees_three_an_hour(desk):
    reveal, tina = desk.reveals.reveal, desk.people[0]
    for card in CARDS[:3]:
        await reveal(tina, card, request_id=await desk.permit(card))
    request_id = await desk.permit(CARDS[3])
    with pytest.raises(PolicyRefused, match="no more than 3") as caught:
        await reveal(tina, CARDS[3], request_id=request_id)
    assert caught.value.policy == "SIM-06"
    desk.bench.clock.advance(3_601)
    assert (await reveal(tina, CARDS[3], request_id=request_id)).pin == PIN


@pytest.mark.parametrize(
    "rewrite",
    [
        "UPDATE dual_request SET spent_at = spent_at - 7200000",
        "UPDATE dual_request SET asked_by = 'another'",
        "UPDATE dual_request SET kind = 'export'",
        "UPDATE dual_request SET spent_at = NULL, state = 'confirmed'",
        "DELETE FROM dual_request",
    ],
)
async def test_who_rewrites_the_requests_does_not_see_more(desk, rewrite):
    reveal, tina = desk.reveals.reveal, desk.people[0]
    for card in CARDS[:3]:
        await reveal(tina, card, request_id=await desk.permit(card))
    await desk.bench.store.write(lambda tx: tx.conn.execute(text(rewrite)))
    request_id = await desk.permit(CARDS[3])
    with pytest.raises(PolicyRefused, match=r"no more than 3|altered"):
        await reveal(tina, CARDS[3], request_id=request_id)


async def test_a_request_that_was_altered_shows_nothing_after_a_restart_either(desk):
    reveal, tina = desk.reveals.reveal, desk.people[0]
    await reveal(tina, CARDS[0], request_id=await desk.permit())
    for sql in ("spent_at = spent_at - 7200000", "spent_at = NULL", "kind = 'export'"):
        await desk.bench.store.write(
            lambda tx, sql=sql: tx.conn.execute(
                text(f"UPDATE dual_request SET {sql} WHERE subject = '{CARDS[0]}'")
            )
        )
        request_id = await desk.permit(CARDS[1])
        with pytest.raises(PolicyRefused, match="altered"):
            await PinReveals(desk.bench.store).reveal(tina, CARDS[1], request_id=request_id)


async def test_a_pin_that_is_changing_missing_or_altered_is_not_shown(desk):
    reveal, tina, store = desk.reveals.reveal, desk.people[0], desk.bench.store
    request_id = await desk.permit()

    async def put(**values) -> None:
        await store.write(
            lambda tx: tx.conn.execute(update(sim).where(sim.c.iccid == CARDS[0]).values(**values))
        )

    sealed = store.vault.encrypt_text("4321", place=pins.pending_place(CARDS[0]))
    await put(pin_pending_enc=sealed)
    with pytest.raises(Conflict, match="being changed"):
        await reveal(tina, CARDS[0], request_id=request_id)
    foreign = store.vault.encrypt_text("4321", place=pins.pin_place(CARDS[1]))
    await put(pin_pending_enc=None, pin_enc=foreign)
    with pytest.raises(PolicyRefused, match="altered"):
        await reveal(tina, CARDS[0], request_id=request_id)
    await put(pin_enc=None)
    with pytest.raises(NotFound, match="holds no PIN"):
        await reveal(tina, CARDS[0], request_id=request_id)


async def test_it_takes_the_scope(desk):
    auditor = desk.bench.admin
    with pytest.raises(NotPermitted):
        await desk.reveals.reveal(
            type(auditor)(
                account_id=auditor.account_id, name="a", department=None,
                scopes=frozenset({Scope.AUDIT_READ}), source="t", is_person=True,
            ),
            CARDS[0], request_id=None,
        )  # fmt: skip
