"""PUKs: two persons, one try a value, never at the last one, never shown."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from modemctl.errors import Conflict, InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.lifecycle import CardState, ModemState
from modemctl.model import AccountId, Bay, Iccid
from modemctl.policy.pin_guard import ANSWER_LIMIT, AttemptOutcome, PinCommand, PinSource
from modemctl.policy.puk import CONFIRMED_FOR, PukCase, PukState, PukStop, decide_puk, settle_puk
from modemctl.service.locks import Locks, LockState
from modemctl.service.principal import Principal, Scope
from modemctl.service.puks import Puks
from modemctl.store import Store, card_locks, pin_changes, pin_tries, pins, puks, sims, wishes
from modemctl.store.modems import Facts, StateChange, save_changes
from modemctl.store.tables import audit_entry, event, puk_request, sim
from tests.support.apis import open_api, serving
from tests.support.commands import ask as type_in
from tests.support.stores import TestClock, open_store

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
CARD = Iccid("89860012345678900001")
PUK, OTHER, NEW = "73914682", "11223344", "90417365"
AO = AttemptOutcome


def who(name: str, *, is_person: bool = True, department=None, scopes=None) -> Principal:
    given = {Scope.SIMS_READ, Scope.SIMS_WRITE} if scopes is None else scopes
    return Principal(
        account_id=AccountId(name), name=name, department=department,
        scopes=frozenset(given), source="test", is_person=is_person,
    )  # fmt: skip


ANNA, BERT = who("anna"), who("bert")


@pytest.mark.parametrize(
    ("counter", "was_tried", "age", "expected"),
    [
        (10, False, 0, None),
        (2, False, 0, None),
        (1, False, 0, PukStop.COUNTER_LOW),
        (0, False, 0, PukStop.COUNTER_LOW),
        (None, False, 0, PukStop.COUNTER_UNKNOWN),
        (10, True, 0, PukStop.TRIED_BEFORE),
        (10, False, 24, PukStop.EXPIRED),
    ],
)
def test_a_puk_leaves_only_where_the_card_survives_it(counter, was_tried, age, expected):
    case = PukCase(
        counter=counter, was_tried=was_tried, confirmed_at=NOW - timedelta(hours=age), now=NOW
    )
    assert decide_puk(case) is expected


@pytest.mark.parametrize(
    ("counter", "is_out", "age", "expected"),
    [
        (9, False, 0, AO.WRONG),
        (10, False, 0, AO.UNBURNT),
        (None, False, 0, None),
        (9, True, 0, None),
        (9, True, ANSWER_LIMIT.total_seconds(), AO.WRONG),
    ],
)
def test_the_counter_tells_what_a_lost_answer_was(counter, is_out, age, expected):
    tried_at = NOW - timedelta(seconds=age)
    found = settle_puk(counter=counter, tries_before=10, tried_at=tried_at, is_out=is_out, now=NOW)
    assert found is expected


@pytest.fixture
def clock():
    return TestClock()


@pytest.fixture
async def store(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        await register(store)
        yield store


async def register(store: Store) -> None:
    known = {"state": CardState.ISSUED, "verified_at": store.clock.now(), "verified_by": "x"}

    def act(tx) -> None:
        sims.add(tx, [sims.NewCard(iccid=CARD, department="sales", **known)])
        pins.add_import(tx, "import", {CARD: "1234"})
        tx.conn.execute(update(sim).values(pin_state="blocked"))

    await store.write(act)


async def confirmed(store: Store, puk: str = PUK) -> str:
    service = Puks(store)
    asked = await service.ask(ANNA, CARD, puk=puk, reason="blocked in a telephone")
    return (await service.confirm(BERT, asked.request_id, puk=puk)).request_id


async def turn(store: Store, counter: int | None = 10):
    item = puks.PukTurn(iccid=CARD, bay="bay-1", counter=counter, new_pin=NEW)
    return await store.write_in_set(puks.claim, item)


async def end(store: Store, request_id: str, outcome: AttemptOutcome) -> None:
    result = puks.PukResult(request_id=request_id, outcome=outcome)
    await store.write_in_set(puks.record, result)


async def state_of(store: Store, request_id: str) -> PukState:
    found = await store.read(lambda conn: puks.read(conn, request_id))
    return found.state


async def held(store: Store):
    """The vault's PIN, whether one is pending, and whether any PUK is kept."""
    row = await store.read(lambda conn: conn.execute(select(sim)).one())
    kept = await store.read(lambda conn: conn.scalars(select(puk_request.c.puk_enc)).all())
    pin = store.vault.decrypt_text(row.pin_enc, place=pins.pin_place(CARD))
    return pin, row.pin_pending_enc is not None, any(kept)


async def test_a_puk_that_one_person_brought_is_not_tried(store):
    await Puks(store).ask(ANNA, CARD, puk=PUK, reason="x")
    assert await turn(store) == puks.NoPuk()


async def test_nobody_confirms_his_own_and_no_machine_anything(store):
    service = Puks(store)
    asked = await service.ask(ANNA, CARD, puk=PUK, reason="x")
    with pytest.raises(PolicyRefused) as own:
        await service.confirm(ANNA, asked.request_id, puk=PUK)
    machine = who("robot", is_person=False)
    with pytest.raises(PolicyRefused):
        await service.confirm(machine, asked.request_id, puk=PUK)
    with pytest.raises(PolicyRefused):
        await service.ask(machine, CARD, puk=PUK, reason="x")
    with pytest.raises(NotPermitted):
        await service.confirm(who("c", scopes=[Scope.SIMS_READ]), asked.request_id, puk=PUK)
    with pytest.raises(NotFound):
        await service.confirm(who("d", department="loans"), asked.request_id, puk=PUK)
    assert own.value.policy == "SEC-04"
    assert await turn(store) == puks.NoPuk()


async def test_a_row_with_one_person_twice_opens_nothing_though_its_mac_is_right(store):
    """Whoever else wrote it: the guard itself counts the persons."""

    def alone(tx) -> None:
        asked = puks.ask(tx, CARD, puk=PUK, reason="x", by=ANNA.account_id, name="anna")
        assert puks.confirm(tx, asked, puk=PUK, by=ANNA.account_id, name="anna")

    await store.write(alone)
    assert await turn(store) == puks.NoPuk(stop=PukStop.TAMPERED)
    assert (await held(store))[2] is False


async def test_a_puk_typed_differently_is_not_confirmed_and_ends_after_three(store):
    service = Puks(store)
    asked = await service.ask(ANNA, CARD, puk=PUK, reason="x")
    for _ in range(3):
        with pytest.raises(Conflict) as found:
            await service.confirm(BERT, asked.request_id, puk=OTHER)
    with pytest.raises(Conflict):
        await service.confirm(BERT, asked.request_id, puk=PUK)
    assert PUK not in str(found.value)
    assert await state_of(store, asked.request_id) is PukState.REFUSED
    assert await held(store) == ("1234", False, False)


async def test_a_right_puk_makes_the_vaults_pin_the_cards(store):
    request_id = await confirmed(store)
    cleared = await turn(store)
    assert cleared == puks.ClearedPuk(request_id=request_id, puk=PUK)
    assert PUK not in repr(cleared)
    assert await held(store) == ("1234", True, True)
    assert await turn(store) == puks.NoPuk()  # its other bay waits
    await end(store, request_id, AO.RIGHT)
    assert await held(store) == (NEW, False, False)
    assert await state_of(store, request_id) is PukState.DONE


async def test_a_refused_puk_is_forgotten_and_never_taken_again(store):
    request_id = await confirmed(store)
    await turn(store)
    await end(store, request_id, AO.WRONG)
    assert await held(store) == ("1234", False, False)
    assert await turn(store, 9) == puks.NoPuk()
    with pytest.raises(Conflict, match="tried on the card before"):
        await Puks(store).ask(ANNA, CARD, puk=PUK, reason="once more")
    await confirmed(store, OTHER)  # another one may be


@pytest.mark.parametrize(
    ("counter", "state", "is_burnt"),
    [(10, PukState.REFUSED, False), (9, PukState.REFUSED, True), (None, PukState.UNSURE, None)],
)
async def test_a_lost_answer_is_settled_by_the_counter(store, counter, state, is_burnt):
    request_id = await confirmed(store)
    await turn(store)
    assert await store.write(puks.close_open) == 1
    assert await turn(store, counter) == puks.NoPuk()
    assert await state_of(store, request_id) is state
    assert (await held(store))[1] == (state is PukState.UNSURE)
    if is_burnt is False:
        await confirmed(store)
    else:
        with pytest.raises(Conflict):
            await confirmed(store)


async def pin_turn(store: Store, counter: int, *, wants_try: bool = True):
    item = pin_tries.TryRequest(
        iccid=CARD, bay="bay-1", command=PinCommand.CPIN, counter=counter, wants_try=wants_try
    )
    return await store.write_in_set(pin_tries.claim, item)


async def test_a_full_counter_after_an_unblocking_proves_no_pin_of_before(store, clock):
    """The PUK gave all tries back: that the old PIN did is not to be believed."""
    old = await pin_turn(store, 2)
    assert isinstance(old, pin_tries.ClearedTry)
    await store.write(pins.close_open_tries)  # nobody knows what became of it
    clock.advance(ANSWER_LIMIT.total_seconds())
    request_id = await confirmed(store)  # meanwhile somebody blocked the card elsewhere
    assert isinstance(await turn(store), puks.ClearedPuk)
    await store.write(puks.close_open)  # and the PUK's answer got lost
    found = await pin_turn(store, 3)
    assert isinstance(found, pin_tries.ClearedTry)
    assert (found.source, found.pin) == (PinSource.PENDING, NEW)
    result = pin_tries.AttemptResult(attempt_id=found.attempt_id, outcome=AO.RIGHT)
    await store.write_in_set(pin_tries.record, result)
    assert await held(store) == (NEW, False, False)
    assert await state_of(store, request_id) is PukState.DONE


async def test_a_card_that_was_unblocked_is_told_so_at_once(store):
    """Even if its modem fails right behind the PUK, before its start has come to its end."""
    note = card_locks.LockNote(iccid=CARD, bay="bay-1", is_locked=True, reason="sim_puk")
    await store.write_in_set(card_locks.note, note)
    request_id = await confirmed(store)
    await turn(store)
    await end(store, request_id, AO.RIGHT)
    (row,) = await store.read(card_locks.find)
    assert (row.lock, row.reason) == (LockState.LOCKED, "")


async def test_a_puk_that_the_card_did_not_want_leaves_both_pins_in_the_vault(store):
    """Nobody knows why it was not wanted: it may have been carried out the moment before."""
    request_id = await confirmed(store)
    await turn(store)
    await end(store, request_id, AO.NOT_ALLOWED)
    assert await held(store) == ("1234", True, True)
    assert await state_of(store, request_id) is PukState.UNSURE
    found = await pin_turn(store, 3)
    assert (found.source, found.pin) == (PinSource.PENDING, NEW)


async def test_a_puk_that_was_not_wanted_may_be_brought_again_where_the_card_still_asks(store):
    await confirmed(store)
    await turn(store)
    (request,) = await store.read(puks.find)
    await end(store, request.request_id, AO.NOT_ALLOWED)
    assert await turn(store, 10) == puks.NoPuk()
    assert await state_of(store, request.request_id) is PukState.REFUSED
    await confirmed(store)


async def test_a_puk_that_did_not_leave_is_tried_at_the_next_start(store):
    request_id = await confirmed(store)
    await turn(store)
    await end(store, request_id, AO.NOT_SENT)
    assert (await held(store))[1] is False
    assert isinstance(await turn(store), puks.ClearedPuk)


@pytest.mark.parametrize(("counter", "alarm"), [(1, "puk_counter_low"), (None, "puk_counter_un")])
async def test_the_last_try_and_an_unknown_counter_end_the_request_with_an_alarm(
    store, counter, alarm
):
    request_id = await confirmed(store)
    assert isinstance(await turn(store, counter), puks.NoPuk)
    said = await store.read(
        lambda conn: conn.scalars(select(event.c.data).where(event.c.kind == "alarm")).all()
    )
    assert await state_of(store, request_id) is PukState.REFUSED
    assert [alarm in one for one in said] == [True]
    assert await held(store) == ("1234", False, False)


async def test_old_words_do_not_hold(store, clock):
    service = Puks(store)
    first = await service.ask(ANNA, CARD, puk=PUK, reason="x")
    clock.advance(CONFIRMED_FOR.total_seconds())
    with pytest.raises(Conflict):
        await service.confirm(BERT, first.request_id, puk=PUK)
    second = await confirmed(store)  # asking anew ends the old one
    clock.advance(CONFIRMED_FOR.total_seconds())
    assert await turn(store) == puks.NoPuk(stop=PukStop.EXPIRED)
    assert await state_of(store, first.request_id) is PukState.EXPIRED
    assert await state_of(store, second) is PukState.EXPIRED


@pytest.mark.parametrize(
    "changes", [{"confirmed_by": "bert", "state": "confirmed"}, {"iccid": CARD, "state": "x"}]
)
async def test_a_confirmation_written_into_the_database_opens_nothing(store, changes):
    asked = await Puks(store).ask(ANNA, CARD, puk=PUK, reason="x")
    changes = {**changes, "state": "confirmed", "confirmed_at": store.clock.now()}
    await store.write(lambda tx: tx.conn.execute(update(puk_request).values(changes)))
    assert await turn(store) == puks.NoPuk(stop=PukStop.TAMPERED)
    assert await held(store) == ("1234", False, False)
    assert asked.state is PukState.ASKED


@pytest.mark.parametrize("state", [CardState.LOST, CardState.RETURNED])
async def test_a_card_that_may_not_be_used_is_not_unblocked(store, state):
    await confirmed(store)
    await store.write(lambda tx: sims.change_state(tx, CARD, state))
    assert await turn(store) == puks.NoPuk()


async def test_one_request_a_card_until_it_is_withdrawn(store):
    service = Puks(store)
    first = await service.ask(ANNA, CARD, puk=PUK, reason="x")
    with pytest.raises(Conflict):
        await service.ask(BERT, CARD, puk=OTHER, reason="x")
    assert (await service.withdraw(BERT, first.request_id)).state is PukState.WITHDRAWN
    with pytest.raises(Conflict):
        await service.withdraw(BERT, first.request_id)
    second = await service.ask(BERT, CARD, puk=OTHER, reason="x")
    found = await service.list_requests(ANNA)
    assert {one.request_id for one in found} == {first.request_id, second.request_id}
    assert await service.list_requests(who("d", department="loans")) == []


async def test_who_asks_beside_a_puk_that_is_out_is_not_told_to_withdraw_it(store):
    request_id = await confirmed(store)
    await turn(store)
    await end(store, request_id, AO.UNKNOWN)
    with pytest.raises(Conflict) as found:
        await Puks(store).ask(BERT, CARD, puk=OTHER, reason="x")
    assert "withdraw" not in found.value.cure
    assert "next start" in found.value.cure


async def test_a_request_that_was_altered_is_asked_anew_as_its_refusal_says(store):
    first = await Puks(store).ask(ANNA, CARD, puk=PUK, reason="x")
    await store.write(lambda tx: tx.conn.execute(update(puk_request).values(asked_by="eve")))
    with pytest.raises(PolicyRefused) as found:
        await Puks(store).withdraw(BERT, first.request_id)
    assert found.value.cure == "ask anew"
    await confirmed(store)
    assert await state_of(store, first.request_id) is PukState.REFUSED
    assert isinstance(await turn(store), puks.ClearedPuk)


async def test_what_is_no_puk_is_refused_without_showing_it(store):
    for text in ("1234567", "123456789", "1234567a"):
        with pytest.raises(InvalidRequest) as found:
            await Puks(store).ask(ANNA, CARD, puk=text, reason="x")
        assert text not in str(found.value)
    with pytest.raises(InvalidRequest):
        await Puks(store).ask(ANNA, CARD, puk=PUK, reason=" ")
    with pytest.raises(NotFound):
        await Puks(store).ask(ANNA, "8986", puk=PUK, reason="x")


@pytest.mark.parametrize("has_old_pin", [True, False])
async def test_a_list_does_not_bury_the_pin_of_a_puk_that_is_out(store, has_old_pin):
    if not has_old_pin:  # registered without a PIN, and blocked by somebody elsewhere
        await store.write(lambda tx: tx.conn.execute(update(sim).values(pin_enc=None)))
    await confirmed(store)
    await turn(store)
    kept = await store.read(lambda conn: pin_changes.kept_by_vault(conn, [CARD]))
    assert kept == {CARD: True}


async def test_all_of_it_is_audited_with_both_names_and_without_the_puk(store):
    request_id = await confirmed(store)
    await turn(store)
    await end(store, request_id, AO.RIGHT)
    rows = await store.read(
        lambda conn: conn.execute(select(audit_entry.c.action, audit_entry.c.details)).all()
    )
    told = {row.action: row.details for row in rows}
    assert [action for action in told if action.startswith("puk.")] == [
        "puk.ask",
        "puk.confirm",
        "puk.try",
    ]
    assert "anna" in told["puk.try"]
    assert "bert" in told["puk.try"]
    events = await store.read(lambda conn: conn.scalars(select(event.c.data)).all())
    assert not [text for text in (*told.values(), *events) if PUK in text or NEW in text]


# ---------------------------------------------------------------- from the shell


@pytest.fixture
async def bench(tmp_path):
    async with open_api(tmp_path, peers={os.getuid(): "root"}) as bench, serving(bench):
        await register(bench.store)
        yield bench


async def test_two_persons_unblock_from_the_shell_and_the_bay_looks_at_once(bench, tmp_path):
    change = StateChange(
        facts=Facts(bay=Bay("bay-1"), port="/dev/x", iccid=CARD),
        before=ModemState.CHECKING, after=ModemState.SIM_WAIT, event="stopped", reason="sim_puk",
    )  # fmt: skip
    await bench.store.write_in_set(save_changes, change)
    note = card_locks.LockNote(iccid=CARD, bay="bay-1", is_locked=True, reason="sim_puk")
    await bench.store.write_in_set(card_locks.note, note)
    key = tmp_path / "bert.key"
    key.write_text(await bench.token_of("technician", by=await bench.second()))
    key.chmod(0o600)
    at = ("--socket", bench.settings.unix_socket)
    ask = ("sims", "puk", "ask", CARD, "--reason", "test")
    assert await locks_of(bench) is LockState.BLOCKED
    assert (await type_in(*at, *ask, answers="12\n")).status == 1
    done = await type_in(*at, *ask, answers=f"{PUK}\n")
    assert done.status == 0, done
    request_id = done.out.split()[-1]
    assert await locks_of(bench) is LockState.WAITS_FOR_PUK
    confirm = ("sims", "puk", "confirm", request_id)
    own = await type_in(*at, *confirm, answers=f"{PUK}\n")
    assert own.status == 1
    assert "SEC-04" in own.err
    wrong = await type_in(*at, "--key-file", key, *confirm, answers=f"{OTHER}\n")
    assert "not the PUK that was brought" in wrong.err
    good = await type_in(*at, "--key-file", key, *confirm, answers=f"{PUK}\n")
    assert good.status == 0, good
    (wish,) = await bench.store.write(lambda tx: wishes.take(tx, [Bay("bay-1")])[0])
    listed = await type_in(*at, "sims", "puk", "list")
    assert wish.kind is wishes.WishKind.RELEASE
    assert "confirmed" in listed.out
    for told in (done, own, wrong, good, listed):
        assert PUK not in told.out + told.err
        assert OTHER not in told.out + told.err


async def locks_of(bench) -> LockState:
    (item,) = (await Locks(bench.store).report(bench.admin)).items
    return item.state


@pytest.mark.parametrize("puk", ["7391468", "739146829", 73914682])
async def test_a_body_that_is_refused_does_not_show_the_puk(bench, puk):
    async with bench.client(bench.admin_token) as client:
        answer = await client.post(f"/v1/sims/{CARD}/puk", json={"puk": puk, "reason": "x"})
    assert answer.status_code == 422
    assert str(puk) not in answer.text
