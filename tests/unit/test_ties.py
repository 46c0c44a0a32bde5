"""Cards tied to bays (SIM-07): who is convicted, who is learned, who frees."""

import json

import pytest
from alembic import command
from sqlalchemy import Connection, create_engine, insert, select, text, update

from modemctl.config.settings import ListMode
from modemctl.errors import Conflict, NotFound, NotPermitted, PolicyRefused
from modemctl.lifecycle import ModemState
from modemctl.model import AccountId, Bay, Iccid, Topic
from modemctl.policy.cards import misplacement
from modemctl.service.modems import Modems
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, modems, ties
from modemctl.store.migrate import alembic_config, upgrade
from modemctl.store.tables import audit_entry, bay_tie, event, modem
from modemctl.vault import Vault
from tests.support.approved import add_cards
from tests.support.stores import MASTER_KEY, TestClock, open_store
from tests.unit.test_actor import CARDS, OneCard, reach
from tests.unit.test_actor import bay as one_bay

OFF, LEARN, ENFORCE = ListMode
LEFT, RIGHT = Bay("left"), Bay("right")
CARD, OTHER = CARDS[:2]
AT = TestClock().now()


def who(*, is_person: bool = True, department: str | None = None) -> Principal:
    return Principal(
        account_id=AccountId("a"), name="anna", department=department,
        scopes=frozenset({Scope.MODEMS_OPERATE, Scope.MODEMS_READ}), source="test",
        is_person=is_person,
    )  # fmt: skip


async def seen(store: Store, bay: Bay, iccid: Iccid | None) -> None:
    change = modems.StateChange(
        facts=modems.Facts(bay=bay, port="/dev/none", iccid=iccid),
        before=ModemState.CHECKING, after=ModemState.QUARANTINED, event="unfit", reason="x",
    )  # fmt: skip
    await store.write_in_set(modems.save_changes, change)


async def alarms(store: Store) -> list[dict]:
    query = select(event.c.data).where(event.c.kind == "alarm").order_by(event.c.event_id)
    rows = await store.read(lambda conn: list(conn.scalars(query)))
    return [json.loads(row) for row in rows]


async def acts(store: Store) -> list[tuple[str, str, dict]]:
    query = select(audit_entry).order_by(audit_entry.c.seq)
    rows = await store.read(lambda conn: list(conn.execute(query)))
    return [(row.actor, row.action, json.loads(row.details)) for row in rows]


async def fault(store: Store, mode: ListMode, bay: Bay, iccid: Iccid) -> str | None:
    found = await store.read(
        lambda conn: ties.read_many(conn, store.vault, bays=[bay], iccids=[iccid])
    )
    unfit = found.fault(mode, bay, iccid)
    return None if unfit is None else f"{unfit.reason} {unfit.policy}"


# ---------------------------------------------------------------- the rule


@pytest.mark.parametrize(
    ("tied", "is_firm", "mode", "reason"),
    [
        (None, False, LEARN, None),
        (None, False, ENFORCE, "unbound SIM-07"),
        ((LEFT, CARD), False, ENFORCE, None),
        ((LEFT, CARD), True, ENFORCE, None),
        ((LEFT, OTHER), False, OFF, None),
        ((LEFT, OTHER), False, LEARN, None),
        ((LEFT, OTHER), False, ENFORCE, "moved SIM-07"),
        ((LEFT, OTHER), True, OFF, None),
        ((LEFT, OTHER), True, LEARN, "moved SIM-07"),
        ((RIGHT, CARD), False, LEARN, None),
        ((RIGHT, CARD), False, ENFORCE, "moved SIM-07"),
        ((RIGHT, CARD), True, LEARN, "moved SIM-07"),
    ],
)
async def test_a_card_may_be_used_where_it_belongs(tmp_path, tied, is_firm, mode, reason):
    async with open_store(tmp_path) as store:
        if tied is not None and is_firm:
            await store.write(lambda tx: ties.bind(tx, *tied, by="anna"))
        elif tied is not None:
            await store.write(lambda tx: ties.learn(tx, *tied, LEARN))
        assert await fault(store, mode, LEFT, CARD) == reason


@pytest.mark.parametrize("mode", [LEARN, ENFORCE])
@pytest.mark.parametrize(
    "change", [{"iccid": CARD}, {"bay": LEFT}, {"is_firm": False}, {"tied_by": "eve"}]
)
async def test_a_tie_that_was_altered_lets_nobody_through(tmp_path, mode, change):
    async with open_store(tmp_path) as store:
        await store.write(lambda tx: ties.bind(tx, LEFT, OTHER, by="anna"))
        start = LEFT if "bay" not in change else RIGHT
        if start is RIGHT:
            await store.write(lambda tx: ties.bind(tx, RIGHT, CARD, by="anna"))
            await store.write(lambda tx: ties.unbind(tx, LEFT) and None)
        statement = update(bay_tie).where(bay_tie.c.bay == start).values(change)
        await store.write(lambda tx: tx.conn.execute(statement) and None)
        assert await fault(store, mode, LEFT, CARD) == "tampered SEC-05"


def test_without_any_tie_an_enforcing_bank_lets_nobody_in_and_a_learning_one_does():
    for mode, is_free in ((OFF, True), (LEARN, True), (ENFORCE, False)):
        found = misplacement(mode, LEFT, CARD, of_bay=None, of_card=None)
        assert (found is None) is is_free


# ---------------------------------------------------------------- learning


async def test_a_bay_learns_its_first_card_and_that_is_no_alarm(tmp_path):
    async with open_store(tmp_path) as store:
        assert await store.write(lambda tx: ties.learn(tx, LEFT, CARD, LEARN)) is None
        assert await fault(store, ENFORCE, LEFT, CARD) is None
        assert await alarms(store) == []
        assert await acts(store) == [("n1", "bay.learn", {"iccid": CARD, "policy": "SIM-07"})]


async def test_a_card_that_comes_from_another_bay_is_learned_with_an_alarm(tmp_path):
    async with open_store(tmp_path) as store:
        for bay, card in ((LEFT, CARD), (RIGHT, OTHER), (LEFT, OTHER)):
            assert await store.write(lambda tx, b=bay, c=card: ties.learn(tx, b, c, LEARN)) is None
        expected = {"alarm": "card_moved", "bay": "left", "before": CARD, "from_bay": "right"}
        assert await alarms(store) == [expected | {"became": "tied", "policy": "SIM-07"}]
        assert await fault(store, ENFORCE, RIGHT, OTHER) == "moved SIM-07"


async def test_what_a_person_said_is_not_learned_away(tmp_path):
    async with open_store(tmp_path) as store:
        await store.write(lambda tx: ties.bind(tx, LEFT, CARD, by="anna"))
        found = await store.write(lambda tx: ties.learn(tx, RIGHT, CARD, LEARN))
        assert found is not None
        assert found.reason == "moved"
        assert await fault(store, ENFORCE, LEFT, CARD) is None


def test_a_database_of_the_first_schema_gets_the_ties_and_keeps_its_cards(tmp_path):
    url = f"sqlite:///{tmp_path}/modemctl.db"
    engine = create_engine(url)
    with engine.begin() as conn:
        config = alembic_config()
        config.attributes["connection"] = conn
        command.upgrade(config, "0001")
        check = Vault(MASTER_KEY).check_value
        conn.execute(text("INSERT INTO meta VALUES ('key_check', :check)"), {"check": check})
        conn.execute(
            insert(modem).values(
                bay="left", node_id="n1", state="ready", state_at=AT, updated_at=AT, iccid=CARD
            )
        )
    upgrade(url, vault=Vault(MASTER_KEY), site_id="test", now=AT)
    with engine.connect() as conn:
        assert conn.scalar(select(modem.c.iccid)) == CARD
        assert list(conn.execute(select(bay_tie))) == []
    engine.dispose()


# ---------------------------------------------------------------- a bay's walk


async def test_a_card_tied_elsewhere_gets_no_pin_until_a_person_binds_it(tmp_path):
    modem = OneCard()
    modem.pin_state, modem.stat = "SIM PIN", 1
    modem.script['AT+CPIN="1234"'] = lambda text: (
        setattr(modem, "pin_state", "READY") or b"\r\nOK\r\n"
    )
    async with one_bay(tmp_path, modem, cards=ENFORCE) as (actor, store):
        await reach(actor, ModemState.QUARANTINED)
        assert actor.reason == "unbound (policy: SIM-07)"
        await store.write(lambda tx: ties.bind(tx, Bay("bay-7"), OTHER, by="anna"))
        actor.tell_card(None)
        await reach(actor, ModemState.CHECKING)
        await reach(actor, ModemState.QUARANTINED)
        assert actor.reason == "moved (policy: SIM-07)"
        assert modem.n_asked('AT+CPIN="1234"') == 0
        assert actor._ground.telemetry.value("modemctl_moves_total", kind="card") == 1
        words = [one["alarm"] for one in await alarms(store)]
        assert words == ["card_unbound", "card_moved"]
        assert (await alarms(store))[-1]["before"] == OTHER
        await store.write(lambda tx: ties.bind(tx, Bay("bay-7"), CARD, by="anna"))
        actor.tell_card(None)
        await reach(actor, ModemState.READY)
        assert modem.n_asked('AT+CPIN="1234"') == 1


async def test_a_bay_set_aside_tells_the_reason_that_holds_now(tmp_path):
    """A card that was unknown and is registered now, but not issued, is not called unknown."""
    modem = OneCard()
    async with one_bay(tmp_path, modem, cards=ENFORCE) as (actor, store):
        await reach(actor, ModemState.QUARANTINED)
        assert actor.reason == "unbound (policy: SIM-07)"
        actor.tell_card("unbound (policy: SIM-07)")  # nothing new
        await store.write(lambda tx: ties.bind(tx, Bay("elsewhere"), CARD, by="anna"))
        actor.tell_card("moved (policy: SIM-07)")
        await reach(actor, ModemState.CHECKING)
        await reach(actor, ModemState.QUARANTINED)
        assert actor.reason == "moved (policy: SIM-07)"
        assert (await alarms(store))[-1]["from_bay"] == "elsewhere"


async def test_a_card_that_is_learned_in_another_one_s_place_is_counted_once(tmp_path):
    modem = OneCard()
    async with one_bay(tmp_path, modem) as (actor, _):
        await reach(actor, ModemState.SEARCHING)
        modem.iccid = OTHER
        modem.tell_registration(1)
        await reach(actor, ModemState.READY)
        assert actor.facts.iccid == OTHER
        assert actor._ground.telemetry.value("modemctl_moves_total", kind="card") == 1


async def test_a_bay_in_ready_whose_card_was_bound_elsewhere_leaves_it(tmp_path):
    modem = OneCard()
    modem.stat = 1
    async with one_bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.READY)
        actor.tell_card("moved (policy: SIM-07)")
        await reach(actor, ModemState.QUARANTINED)
        assert await fault(store, ENFORCE, Bay("bay-7"), CARD) is None  # it was learned


async def test_one_reading_that_differs_convicts_nobody(tmp_path):
    """A reading cut short on the way looks like another card; two alike of the right one count."""
    modem = OneCard()
    modem.stat = 1
    readings = iter([CARD[:18], CARD, OTHER, CARD])
    answer = modem.script["AT+CCID"]
    modem.script["AT+CCID"] = lambda text: (
        answer(text) if (one := next(readings, None)) is None else _ccid(one)
    )
    async with one_bay(tmp_path, modem, cards=ENFORCE) as (actor, store):
        await reach(actor, ModemState.SIM_WAIT)
        assert actor.reason == "iccid_unreadable"
        assert await alarms(store) == []


def _ccid(iccid: str) -> bytes:
    return f"\r\n+CCID: {iccid}\r\n\r\nOK\r\n".encode()


# ---------------------------------------------------------------- persons


async def service(store: Store) -> Modems:
    await store.write(lambda tx: add_cards(tx, [CARD, OTHER]))
    await seen(store, LEFT, CARD)
    await seen(store, RIGHT, OTHER)
    return Modems(store)


async def test_a_person_ties_the_card_that_is_in_a_bay_or_a_named_one(tmp_path):
    async with open_store(tmp_path) as store:
        desk = await service(store)
        with store.signals.subscribe(Topic.SIMS) as bell:
            assert (await desk.bind(who(), "left", None, " new ")).expected_iccid == CARD
            assert await bell.wait(60)
        assert (await desk.bind(who(), "right", CARD, "moved")).expected_iccid == CARD
        assert (await desk.show(who(), "left")).expected_iccid is None
        assert (await desk.bind(who(), "right", CARD, "again")).expected_iccid == CARD
        assert (await desk.unbind(who(), "right", "gone")).expected_iccid is None
        assert (await desk.unbind(who(), "right", "again")).expected_iccid is None
        common = {"policy": "SIM-07", "source": "test"}
        assert await acts(store) == [
            ("anna", "bay.bind", {"iccid": CARD, "reason": "new", **common}),
            ("anna", "bay.bind", {"iccid": CARD, "reason": "moved", "from_bay": "left", **common}),
            ("anna", "bay.unbind", {"before": CARD, "reason": "gone", **common}),
        ]


async def test_a_person_mends_a_tie_that_was_altered(tmp_path):
    async with open_store(tmp_path) as store:
        desk = await service(store)
        await desk.bind(who(), "left", None, "new")
        statement = update(bay_tie).values(iccid="8999999999999999999")
        await store.write(lambda tx: tx.conn.execute(statement) and None)
        assert await fault(store, LEARN, LEFT, CARD) == "tampered SEC-05"
        await desk.bind(who(), "left", None, "again")
        assert await fault(store, ENFORCE, LEFT, CARD) is None


async def test_a_bay_tied_to_another_departments_card_is_not_retied_by_its_guest(tmp_path):
    async with open_store(tmp_path) as store:
        await store.write(lambda tx: add_cards(tx, [CARD], department="sales"))
        await store.write(lambda tx: add_cards(tx, [OTHER], department="general"))
        await seen(store, LEFT, CARD)
        await store.write(lambda tx: ties.bind(tx, LEFT, OTHER, by="anna"))
        desk = Modems(store)
        for act in (desk.bind(who(department="sales"), "left", None, "x"),
                    desk.unbind(who(department="sales"), "left", "x")):  # fmt: skip
            with pytest.raises(NotFound, match="no such card"):
                await act
        assert (await desk.bind(who(), "left", f" {CARD.lower()} ", "x")).expected_iccid == CARD


async def test_machines_and_other_departments_tie_nothing(tmp_path):
    async with open_store(tmp_path) as store:
        desk = await service(store)
        with pytest.raises(PolicyRefused, match="person"):
            await desk.bind(who(is_person=False), "left", None, "x")
        with pytest.raises(NotFound):
            await desk.bind(who(department="sales"), "left", None, "x")
        with pytest.raises(NotFound):
            await desk.bind(who(), "left", "8999999999999999999", "x")
        with pytest.raises(NotFound):
            await desk.unbind(who(), "nowhere", "x")
        reader = Principal(
            account_id=AccountId("a"), name="r", department=None, scopes=frozenset(), source="t"
        )
        with pytest.raises(NotPermitted):
            await desk.unbind(reader, "left", "x")
        await seen(store, LEFT, None)
        with pytest.raises(Conflict, match="no card is in the bay"):
            await desk.bind(who(), "left", None, "x")
        assert await acts(store) == []


# ---------------------------------------------------------------- what the bays' rows say


async def test_cards_that_change_places_stand_where_they_were_read_last(tmp_path):
    """The bay that lost its card speaks of it once more, behind the one that has it now."""
    async with open_store(tmp_path) as store:
        await seen(store, LEFT, CARD)
        await seen(store, RIGHT, OTHER)
        await seen(store, LEFT, OTHER)
        for before, after in (("ready", "sim_wait"), ("sim_wait", "checking")):
            remembered = modems.StateChange(
                facts=modems.Facts(bay=RIGHT, port="/dev/none", iccid=OTHER),
                before=ModemState(before), after=ModemState(after), event="x", reason="x",
            )  # fmt: skip
            await store.write_in_set(modems.save_changes, remembered)
        after_memory = await store.read(_cards_by_bay)
        await seen(store, RIGHT, CARD)
        after_reading = await store.read(_cards_by_bay)
    assert after_memory == {LEFT: OTHER, RIGHT: None}
    assert after_reading == {LEFT: OTHER, RIGHT: CARD}


def _cards_by_bay(conn: Connection) -> dict[str, str | None]:
    return {row.bay: row.iccid for row in conn.execute(select(modem.c.bay, modem.c.iccid))}
