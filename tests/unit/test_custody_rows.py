"""Cards' rows and their histories under somebody's hand who can write the database, keyless."""

from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Boolean, Integer, LargeBinary, delete, insert, select, update

from modemctl.config.settings import HoursSettings, Weekday
from modemctl.lifecycle import CardState
from modemctl.model import Iccid
from modemctl.policy.custody import WorkingDays
from modemctl.store import custody as rows
from modemctl.store import segments, sims
from modemctl.store.tables import custody, sim, to_ms
from modemctl.store.tables.schema import Day, UtcMs
from modemctl.vault import Vault
from tests.support.apis import open_api
from tests.support.benches import rules
from tests.support.card_people import open_desk
from tests.support.stores import MASTER_KEY, open_store, take_back
from tests.unit.test_audits import check, tamper

CARD = Iccid("89860012345678900001")
OTHER = Iccid("89860012345678900002")


def faults(folder) -> list[str]:
    (report,) = check(folder)
    return list(report.faults)


async def rows_of(store, table) -> list[dict]:
    found = await store.read(lambda conn: list(conn.execute(select(table)).mappings()))
    return [dict(one) for one in found]


async def whole_card(store) -> None:
    """A card of which no sealed column is empty."""

    def act(tx) -> None:
        known = {column.name: other_value(column, None) for column in sims.SEALED[2:]}
        known |= {"state": CardState.ISSUED, "ownership": sims.Ownership.LEASED}
        known["lease_until"] = date(2027, 1, 1)
        known |= {"timezone": "Asia/Tokyo", "zones_left": "Europe/Berlin|1|1"}
        names = sims.NewCard.__dataclass_fields__.keys() & known.keys()
        card = sims.NewCard(
            iccid=CARD, number="+8613800000001", **{name: known[name] for name in names}
        )
        sims.add(tx, [card])
        rest = {name: value for name, value in known.items() if name not in names}
        sims.amend(tx, CARD, {**rest, "is_reserved": False, "is_paused": False})

    await store.write(act)


def other_value(column, value: object) -> object:
    """A value of a column's type that is not this one."""
    match column.type:
        case Boolean():
            return not value
        case Integer():
            return int(value or 0) + 1
        case Day():
            return (value or date(2026, 1, 1)) + timedelta(days=1)
        case UtcMs():
            return (value or datetime(2026, 1, 1, tzinfo=UTC)) + timedelta(milliseconds=1)
        case LargeBinary():
            return bytes([1] * 16) if value == bytes(16) else bytes(16)
    return f"{value or ''}x"


@pytest.mark.parametrize("name", [one.name for one in sims.SEALED if one.name != "iccid"])
async def test_a_card_of_which_one_column_was_changed_carries_nothing(tmp_path, name):
    """Also by who remembers the row as it was."""
    column, known = sim.c[name], rules()
    async with open_store(tmp_path) as store:
        await whole_card(store)
        before = (await rows_of(store, sim))[0][name]
        facts = await store.write(lambda tx: segments.read_cards(tx, [CARD], known))
        assert name in {"is_reserved", "is_paused"} or facts[CARD].is_usable
    known_words = {"state": "returned", "ownership": "owned", "timezone": "UTC", "zones_left": None}
    after = known_words.get(name, other_value(column, before))
    tamper(tmp_path, update(sim).values({name: after}))
    async with open_store(tmp_path) as store:
        shown = await store.read(lambda conn: sims.read(conn, store.vault, CARD))
        facts = await store.write(lambda tx: segments.read_cards(tx, [CARD], known))
    assert not shown.is_intact
    assert not facts[CARD].is_usable


async def test_a_line_of_a_history_that_is_changed_or_gone_is_named(tmp_path):
    async with open_api(tmp_path) as bench, AsyncExitStack() as stack:
        desk = await open_desk(bench, stack)
        await desk.issue(CARD)
        lines = await rows_of(bench.store, custody)
    assert faults(tmp_path) == []
    for changed in ({"by": "eve"}, {"step": "issued"}, {"at": lines[1]["at"] + timedelta(hours=1)}):
        tamper(tmp_path, update(custody).where(custody.c.seq == 2).values(changed))
        found = [one for one in faults(tmp_path) if one.startswith(f"custody {CARD} line 2")]
        assert len(found) == 1
        assert "the row was put back or changed" in found[0]
        tamper(tmp_path, delete(custody), insert(custody).values(lines))
    for gone in (2, len(lines)):
        tamper(tmp_path, delete(custody).where(custody.c.seq == gone))
        (one,) = faults(tmp_path)
        assert one.startswith(f"custody {CARD} line {gone}: the row is missing")
        tamper(tmp_path, delete(custody), insert(custody).values(lines))
    forged = {**lines[-1], "custody_id": 99, "seq": 99}
    tamper(tmp_path, insert(custody).values(forged))
    assert f"custody {CARD} line 99: no entry of the log made it" in faults(tmp_path)


@pytest.mark.parametrize("change", [{"reason": "x"}, {"holder": "x"}, {"reference": "x"}])
async def test_what_the_log_does_not_tell_of_a_line_its_mac_covers(tmp_path, change):
    async with open_api(tmp_path) as bench, AsyncExitStack() as stack:
        desk = await open_desk(bench, stack)
        await desk.issue(CARD)
    tamper(tmp_path, update(custody).where(custody.c.seq == 3).values(change))
    assert faults(tmp_path) == ["custody 3: the row was not written by modemctl"]
    async with open_store(tmp_path) as store:
        found = await store.read(lambda conn: rows.read(conn, store.vault, CARD))
    assert [one.seq for one in found if not one.is_intact] == [3]


async def test_a_card_is_not_issued_on_an_approval_that_was_altered(tmp_path):
    async with open_api(tmp_path) as bench, AsyncExitStack() as stack:
        desk = await open_desk(bench, stack)
        await desk.issue(CARD)
        await desk.must("sun", CARD, "state", state="suspended_arrears")
        tamper(tmp_path, update(custody).where(custody.c.step == "approved").values(reason="x"))
        answer = await desk.do("it", CARD, "release")
    assert (answer.status_code, answer.json()["policy"]) == (403, "SEC-05")


@pytest.mark.parametrize("step", ["verify", "pause", "carrier-report", "state"])
async def test_a_cards_row_of_yesterday_is_named(tmp_path, step):
    bodies = {
        "verify": {"reason": None, "verified_by": "eve"},
        "pause": {},
        "carrier-report": {"reason": None, "reference": "R-1"},
        "state": {"state": "lost"},
    }
    async with open_api(tmp_path) as bench, AsyncExitStack() as stack:
        desk = await open_desk(bench, stack)
        await desk.issue(CARD)
        if step == "carrier-report":
            await desk.must("sun", CARD, "state", state="suspended_loss")
        yesterday = await rows_of(bench.store, sim)
        await desk.must("sun", CARD, step, **bodies[step])
    assert faults(tmp_path) == []
    tamper(tmp_path, delete(sim), insert(sim).values(yesterday))
    (one,) = faults(tmp_path)
    assert one.startswith(f"sim {CARD}: the row was put back or changed")


def former_mac(vault: Vault, row: dict) -> bytes:
    """What a card's MAC was before schema 0022."""
    verified = row["verified_at"]
    return vault.mac(
        "sim", row["iccid"], row["department"], row["state"],
        None if verified is None else to_ms(verified), row["ownership"], row["is_reserved"],
        row["card_group"], row["is_paused"],
    )  # fmt: skip


@pytest.mark.sqlite_only  # an older schema, by its file
async def test_cards_of_an_older_database_are_sealed_once_but_no_altered_one(tmp_path):
    async with open_store(tmp_path) as store:
        known = {"state": CardState.ISSUED, "department": "sales", "verified_at": store.clock.now()}
        await store.write(
            lambda tx: sims.add(tx, [sims.NewCard(iccid=one, **known) for one in (CARD, OTHER)])
        )
        found = await rows_of(store, sim)
    vault = Vault(MASTER_KEY)
    for row in found:
        mac = former_mac(vault, row if row["iccid"] == CARD else {**row, "department": "loans"})
        tamper(tmp_path, update(sim).where(sim.c.iccid == row["iccid"]).values(mac=mac))
    take_back(tmp_path, "0021")
    async with open_store(tmp_path) as store:
        after = await store.read(lambda conn: sims.read_many(conn, store.vault, [CARD, OTHER]))
    assert {one: card.is_intact for one, card in after.items()} == {CARD: True, OTHER: False}
    tamper(tmp_path, update(sim).values(mac=former_mac(vault, found[0])))
    async with open_store(tmp_path) as store:  # a second upgrade seals nothing
        after = await store.read(lambda conn: sims.read_many(conn, store.vault, [CARD, OTHER]))
    assert not any(card.is_intact for card in after.values())


async def test_working_days_leave_out_weekends_and_holidays_but_not_days_made_up():
    """From Friday 2026-10-02: Monday is a holiday, Sunday 4 and Saturday 10 are worked for it."""
    settings = HoursSettings.model_validate(
        {
            "rest_weekdays": (Weekday.SATURDAY, Weekday.SUNDAY),
            "holidays": (date(2026, 10, 5),),
            "extra_working_days": (date(2026, 10, 4), date(2026, 10, 10)),
        }
    )
    calendar = WorkingDays.of(settings, ZoneInfo("Asia/Shanghai"))
    friday = datetime(2026, 10, 2, 3, 0, tzinfo=UTC)
    found = [calendar.since(friday, friday + timedelta(days=n)) for n in range(11)]
    assert found == [0, 0, 1, 1, 2, 3, 4, 5, 6, 6, 7]
    assert calendar.since(friday, friday + timedelta(hours=14)) == 0  # 01:00 on Saturday there
    assert [calendar.is_overdue(friday, friday + timedelta(days=n)) for n in (6, 7)] == [
        False, True,
    ]  # fmt: skip
