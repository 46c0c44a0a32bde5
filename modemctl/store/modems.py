"""Bays: what is in them, where each stands, what a person wants of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from modemctl.errors import NotFound
from modemctl.lifecycle import ModemState, SegmentState
from modemctl.model import Bay, DesiredState, EventKind, Iccid, Topic
from modemctl.store.tables import bay_tie, modem, segment, sim
from modemctl.store.transaction import Json, Tx

JUST_STARTED: Final = "the daemon has just started"
"""Why a bay is absent that nobody has looked for yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModemRow:
    """A bay and what is known of the modem in it.

    `department` is the card's; `expected_iccid` the card that belongs into the bay, if any is told.
    """

    bay: Bay
    node_id: str
    port: str | None
    imei: str | None
    manufacturer: str | None
    model: str | None
    revision: str | None
    family: str | None
    state: ModemState
    reason: str
    state_at: datetime
    desired_state: DesiredState
    iccid: Iccid | None
    department: str | None
    expected_iccid: Iccid | None
    signal_dbm: int | None
    operator: str | None
    registration_stat: int | None
    temperature_c: int | None
    breakers: tuple[str, ...]
    updated_at: datetime

    @property
    def is_absent_for_a_reason(self) -> bool:
        """Whether the bay was looked for since the daemon's start, and not found."""
        return self.state is ModemState.ABSENT and self.reason != JUST_STARTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an actor knows of its modem; a change of state carries all of it."""

    bay: Bay
    port: str
    imei: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    revision: str | None = None
    family: str | None = None
    iccid: Iccid | None = None
    signal_dbm: int | None = None
    operator: str | None = None
    registration_stat: int | None = None
    temperature_c: int | None = None
    breakers: tuple[str, ...] = ()
    """What the breakers stand for that are not closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """A bay came into a state; `event` is what moved it."""

    facts: Facts
    before: ModemState
    after: ModemState
    event: str
    reason: str


def save_changes(tx: Tx, changes: Sequence[StateChange]) -> Sequence[None]:
    """Save states with reason and moment, an event for each."""
    known = _known(tx.conn, {one.facts.bay for one in changes})
    for one in changes:
        values = {
            **_columns(one.facts),
            "iccid": _card_held(tx, one),
            "node_id": tx.node_id,
            "state": one.after.value,
            "reason": one.reason,
            "state_at": tx.now,
            "updated_at": tx.now,
        }
        _upsert(tx, one.facts.bay, values, is_known=one.facts.bay in known)
        known.add(one.facts.bay)
        tx.event(
            EventKind.MODEM,
            one.facts.bay,
            {
                "state": one.after.value,
                "before": one.before.value,
                "event": one.event,
                "reason": one.reason,
            },
        )
    return [None] * len(changes)


def save_facts(tx: Tx, facts: Sequence[Facts]) -> Sequence[None]:
    """Save signal, operator and registration of bays whose state did not change."""
    tx.conn.execute(
        _SAVE_FACTS,
        [
            {
                "b": one.bay,
                "dbm": one.signal_dbm,
                "op": one.operator,
                "stat": one.registration_stat,
                "degrees": one.temperature_c,
                "held": ",".join(one.breakers),
                "now": tx.now,
            }
            for one in facts
        ],
    )
    return [None] * len(facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerTurn:
    """A breaker opened (for `seconds`) or closed; `target` is `modem`, `sim` or `carrier`."""

    bay: Bay
    iccid: Iccid
    carrier: str | None
    target: str
    state: str
    seconds: int


def note_breaker(tx: Tx, turns: Sequence[BreakerTurn]) -> Sequence[None]:
    """An event for each breaker that opened or closed; of a carrier, which is all's, an alarm."""
    for one in turns:
        facts: dict[str, Json] = {"state": one.state, "seconds": one.seconds}
        if one.carrier is not None and one.target == "carrier":
            alarm = "carrier_paused" if one.state == "open" else "carrier_resumed"
            tx.event(EventKind.ALARM, one.carrier, {"alarm": alarm, **facts})
        elif one.target == "sim":
            tx.event(EventKind.SIM, one.iccid, {"breaker": one.target, "bay": one.bay, **facts})
        else:
            tx.event(EventKind.MODEM, one.bay, {"breaker": one.target, **facts})
    return [None] * len(turns)


def note_missing(tx: Tx, reasons: Mapping[Bay, str]) -> None:
    """Bays of this node that have no port, each with the reason; unknown ones become known."""
    known = _known(tx.conn, reasons)
    for reason in sorted(set(reasons.values())):
        bays = {bay for bay, one in reasons.items() if one == reason}
        note_absent(tx, bays & known, reason=reason)
        for bay in sorted(bays - known):
            values = {
                **_columns(Facts(bay=bay, port="")),
                "port": None,
                "node_id": tx.node_id,
                "state": ModemState.ABSENT.value,
                "reason": reason,
                "state_at": tx.now,
                "updated_at": tx.now,
            }
            _upsert(tx, bay, values, is_known=False)
            tx.event(EventKind.MODEM, bay, {"state": ModemState.ABSENT.value, "reason": reason})


def note_restart(tx: Tx, *, node_id: str | None = None, reason: str = JUST_STARTED) -> None:
    """At start: what this node's earlier life, or a lost node, said of its bays holds no more."""
    tx.conn.execute(
        update(modem)
        .where(modem.c.node_id == (node_id or tx.node_id))
        .values(
            state=ModemState.ABSENT.value,
            reason=reason,
            breakers="",  # they live in memory
            state_at=tx.now,
            updated_at=tx.now,
        )
    )


def note_absent(tx: Tx, bays: Collection[Bay], *, reason: str) -> int:
    """Bays of this node that have no port (any more); returns how many changed."""
    rows = tx.conn.execute(
        update(modem)
        .where(
            modem.c.node_id == tx.node_id,
            modem.c.bay.in_(sorted(bays)),
            (modem.c.state != ModemState.ABSENT) | (modem.c.reason != reason),
        )
        .values(state=ModemState.ABSENT.value, reason=reason, state_at=tx.now, updated_at=tx.now)
        .returning(modem.c.bay)
    ).all()
    for row in rows:
        tx.event(EventKind.MODEM, row.bay, {"state": ModemState.ABSENT.value, "reason": reason})
    return len(rows)


def forget(tx: Tx, bay: Bay) -> bool:
    """Take a bay off the list; False where it is none, or has a modem (again)."""
    gone = tx.conn.execute(
        delete(modem).where(modem.c.bay == bay, modem.c.state == ModemState.ABSENT.value)
    )
    if not gone.rowcount:
        return False
    tx.event(EventKind.MODEM, bay, {"is_forgotten": True})
    tx.wake(Topic.MODEMS)
    return True


def forget_node(tx: Tx, node_id: str) -> None:
    """Take the bays of a node that is gone off the list, and with them their names.

    A bay of which a submit is in doubt stays until somebody has decided that.
    """
    is_in_doubt = select(segment.c.segment_id).where(
        segment.c.bay == modem.c.bay, segment.c.state == SegmentState.IN_DOUBT.value
    )
    gone = tx.conn.scalars(
        select(modem.c.bay).where(modem.c.node_id == node_id, ~is_in_doubt.exists())
    ).all()
    for bay in sorted(gone):
        forget(tx, Bay(bay))


def n_open_segments(conn: Connection, bay: Bay) -> int:
    """Segments that a bay has taken, and of which nobody knows yet what became of them."""
    states = [SegmentState.LEASED, SegmentState.SUBMITTING, SegmentState.IN_DOUBT]
    query = select(func.count()).where(segment.c.bay == bay, segment.c.state.in_(states))
    return conn.scalar(query) or 0


def set_desired(tx: Tx, bay: Bay, desired: DesiredState) -> bool:
    """Pause a bay or let it run; False where it was so already.

    Raises:
        NotFound: no such bay was ever seen.
    """
    before = tx.conn.scalar(select(modem.c.desired_state).where(modem.c.bay == bay))
    if before is None:
        raise NotFound("no such bay", field="bay", value=bay, cure="modemctl modems lists them")
    if before == desired:
        return False
    tx.conn.execute(
        update(modem)
        .where(modem.c.bay == bay)
        .values(desired_state=desired.value, updated_at=tx.now)
    )
    tx.event(EventKind.MODEM, bay, {"desired_state": desired.value})
    tx.wake(Topic.MODEMS, Topic.STOP, Topic.WORK)
    return True


def read(conn: Connection, bay: Bay) -> ModemRow | None:
    """One bay; None if none of that name was ever seen."""
    row = conn.execute(_ALL.where(modem.c.bay == bay)).first()
    return None if row is None else _modem(row)


def find(
    conn: Connection,
    *,
    node_id: str | None = None,
    department: str | None = None,
    after: str | None = None,
    limit: int = 1_000,
) -> Sequence[ModemRow]:
    """Up to `limit` bays in order of their names, behind `after`."""
    statement = _ALL.order_by(modem.c.bay).limit(limit)
    if node_id is not None:
        statement = statement.where(modem.c.node_id == node_id)
    if department is not None:
        statement = statement.where(sim.c.department == department)
    if after is not None:
        statement = statement.where(modem.c.bay > after)
    return [_modem(row) for row in conn.execute(statement)]


def paused_bays(conn: Connection) -> frozenset[Bay]:
    """Bays that a person paused."""
    paused = modem.c.desired_state == DesiredState.PAUSED
    return frozenset(Bay(bay) for bay in conn.scalars(select(modem.c.bay).where(paused)))


def _known(conn: Connection, bays: Collection[Bay]) -> set[Bay]:
    rows = conn.scalars(select(modem.c.bay).where(modem.c.bay.in_(sorted(bays))))
    return {Bay(bay) for bay in rows}


def _upsert(tx: Tx, bay: Bay, values: dict[str, object], *, is_known: bool) -> None:
    if is_known:
        tx.conn.execute(update(modem).where(modem.c.bay == bay).values(values))
    else:
        tx.conn.execute(insert(modem).values({**values, "bay": bay}))


def _card_held(tx: Tx, change: StateChange) -> Iccid | None:
    """A card is in one bay at a time: in the one that read it last.

    A bay that has just read it takes it from the others. One that only remembers it, as from before
    two cards changed places, leaves it to the bay that has it now.
    """
    bay, iccid = change.facts.bay, change.facts.iccid
    elsewhere = (modem.c.iccid == iccid, modem.c.bay != bay)
    if iccid is None:
        return None
    if change.before is ModemState.CHECKING:
        tx.conn.execute(update(modem).where(*elsewhere).values(iccid=None))
        return iccid
    is_elsewhere = tx.conn.execute(select(modem.c.bay).where(*elsewhere).limit(1)).first()
    return None if is_elsewhere else iccid


def _columns(facts: Facts) -> dict[str, object]:
    return {
        "port": facts.port,
        "imei": facts.imei,
        "manufacturer": _cut(facts.manufacturer, 64),
        "model": _cut(facts.model, 64),
        "revision": _cut(facts.revision, 128),
        "family": facts.family,
        "iccid": facts.iccid,
        "signal_dbm": facts.signal_dbm,
        "operator": _cut(facts.operator, 64),
        "registration_stat": facts.registration_stat,
        "temperature_c": facts.temperature_c,
        "breakers": ",".join(facts.breakers),
    }


def _cut(text: str | None, n_chars: int) -> str | None:
    return None if text is None else text[:n_chars]


def _modem(row: Row[tuple[object, ...]]) -> ModemRow:
    return ModemRow(
        bay=Bay(row.bay),
        node_id=row.node_id,
        port=row.port,
        imei=row.imei,
        manufacturer=row.manufacturer,
        model=row.model,
        revision=row.revision,
        family=row.family,
        state=ModemState(row.state),
        reason=row.reason,
        state_at=row.state_at,
        desired_state=DesiredState(row.desired_state),
        iccid=None if row.iccid is None else Iccid(row.iccid),
        department=row.department,
        expected_iccid=None if row.expected_iccid is None else Iccid(row.expected_iccid),
        signal_dbm=row.signal_dbm,
        operator=row.operator,
        registration_stat=row.registration_stat,
        temperature_c=row.temperature_c,
        breakers=tuple(filter(None, row.breakers.split(","))),
        updated_at=row.updated_at,
    )


_ALL = (
    select(modem, sim.c.department, bay_tie.c.iccid.label("expected_iccid"))
    .outerjoin(sim, sim.c.iccid == modem.c.iccid)
    .outerjoin(bay_tie, bay_tie.c.bay == modem.c.bay)
)
_SAVE_FACTS = (
    update(modem)
    .where(modem.c.bay == bindparam("b"))
    .values(
        signal_dbm=bindparam("dbm"),
        operator=bindparam("op"),
        registration_stat=bindparam("stat"),
        temperature_c=bindparam("degrees"),
        breakers=bindparam("held"),
        updated_at=bindparam("now"),
    )
)
