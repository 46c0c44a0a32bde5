"""Legal holds (SEC-12): what they keep is neither purged nor erased.

A hold that was altered keeps everything until somebody looked into it, and one that is missing is
missed: the audit log knows of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    and_,
    exists,
    false,
    insert,
    or_,
    select,
    true,
    update,
)

from modemctl.errors import TamperedError
from modemctl.model import AccountId
from modemctl.policy.records import HoldKind, RecordClass
from modemctl.store.tables import (
    audit_entry,
    balance,
    batch,
    call,
    inbox,
    legal_hold,
    recipient,
    report,
    segment,
    self_test,
    sim,
    to_ms,
    wish,
)
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHold:
    """What is to be kept: a card, a number (E.164), a batch, or what happened in a period."""

    kind: HoldKind
    iccid: str | None = None
    number: str | None = field(default=None, repr=False)
    batch_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A hold. `is_intact` is false where its row was altered: it keeps everything then."""

    hold_id: str
    kind: HoldKind
    subject: str
    number: str | None = field(repr=False)
    since: datetime | None
    until: datetime | None
    reason: str
    set_by: str
    set_name: str
    set_at: datetime
    lifted_name: str | None
    lifted_at: datetime | None
    lift_reason: str | None
    is_intact: bool

    @property
    def is_in_force(self) -> bool:
        """Whether it keeps anything."""
        return self.lifted_at is None or not self.is_intact


def add(tx: Tx, new: NewHold, *, reason: str, by: AccountId, name: str) -> Hold:
    """Set a hold; it counts from this transaction on."""
    hold_id = str(uuid.uuid4())
    sealed = None
    if new.number is not None:
        sealed = tx.vault.encrypt_text(new.number, place=number_place(hold_id))
    values: dict[str, object] = {
        "hold_id": hold_id,
        "kind": new.kind.value,
        "subject": _subject(tx.vault, new),
        "number_enc": sealed,
        "since": new.since,
        "until": new.until,
        "reason": reason,
        "set_by": by,
        "set_name": name,
        "set_at": tx.now,
        "lifted_by": None,
        "lifted_at": None,
    }
    mac = _mac(tx.vault, values)
    tx.conn.execute(insert(legal_hold).values(**values, mac=mac))
    found = read(tx.conn, tx.vault, hold_id)
    assert found is not None, "it was added just now"
    return found


def lift(tx: Tx, hold: Hold, *, reason: str, by: AccountId, name: str) -> Hold:
    """End a hold that is in force; its row stays as a record.

    Raises:
        TamperedError: the row was altered.
    """
    statement = select(legal_hold).where(legal_hold.c.hold_id == hold.hold_id)
    row = tx.conn.execute(statement).mappings().one()
    tx.vault.check_mac(row["mac"], "legal_hold", *_mac_fields({**row}))
    changes: dict[str, object] = {"lifted_by": by, "lifted_at": tx.now}
    mac = _mac(tx.vault, {**row, **changes})
    tx.conn.execute(
        update(legal_hold)
        .where(legal_hold.c.hold_id == hold.hold_id)
        .values(**changes, lifted_name=name, lift_reason=reason, mac=mac)
    )
    found = read(tx.conn, tx.vault, hold.hold_id)
    assert found is not None, "it was changed just now"
    return found


def read(conn: Connection, vault: Vault, hold_id: str) -> Hold | None:
    """One hold; None where there is none."""
    statement = select(legal_hold).where(legal_hold.c.hold_id == hold_id)
    row = conn.execute(statement).mappings().first()
    return None if row is None else _hold(vault, row)


def find(conn: Connection, vault: Vault, *, limit: int = 500) -> Sequence[Hold]:
    """The latest holds, newest first, lifted ones too."""
    statement = select(legal_hold).order_by(legal_hold.c.set_at.desc(), legal_hold.c.hold_id)
    return [_hold(vault, row) for row in conn.execute(statement.limit(limit)).mappings()]


def in_force(conn: Connection, vault: Vault) -> Sequence[Hold]:
    """All holds that keep something: those that nobody lifted, and altered ones."""
    rows = conn.execute(select(legal_hold)).mappings()
    return [one for row in rows if (one := _hold(vault, row)).is_in_force]


def missing(conn: Connection) -> Sequence[str]:
    """Holds that the audit log knows as set and not lifted, and the table does not hold."""

    def told(action: str) -> set[str]:
        statement = select(audit_entry.c.subject).where(audit_entry.c.action == action)
        return set(conn.scalars(statement))

    kept = set(conn.scalars(select(legal_hold.c.hold_id).where(legal_hold.c.lifted_at.is_(None))))
    return sorted(told("hold.set") - told("hold.lift") - kept)


# ---------------------------------------------------------------- what is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the holds in force keep, for statements; `everything` where one was altered."""

    everything: bool
    latest: datetime | None  # when the last of them was set
    cards: Collection[str]
    numbers: Collection[bytes] = field(repr=False)
    batches: Collection[str]
    periods: Sequence[tuple[datetime, datetime]]

    def rows(self, of: RecordClass) -> ColumnElement[bool]:
        """Which rows of a class are kept."""
        if self.everything:
            return true()
        which: Mapping[RecordClass, Callable[[], ColumnElement[bool]]] = {
            RecordClass.BATCH: self._batches,
            RecordClass.INBOX: self._inbox,
            RecordClass.CALL: self._calls,
            RecordClass.REPORT: self._reports,
            RecordClass.CONSOLE: self._console,
            RecordClass.BALANCE: partial(self._of_cards, balance),
            RecordClass.SELF_TEST: partial(self._of_cards, self_test),
        }
        return which[of]()

    def _batches(self) -> ColumnElement[bool]:
        by_card = select(segment.c.segment_id).where(
            segment.c.batch_id == batch.c.batch_id, segment.c.iccid.in_(self.cards)
        )
        by_number = select(recipient.c.line_no).where(
            recipient.c.recipient_bidx.in_(self.numbers), recipient.c.batch_id == batch.c.batch_id
        )
        return or_(
            batch.c.batch_id.in_(self.batches),
            exists(by_card) if self.cards else false(),
            exists(by_number) if self.numbers else false(),
            # It lasted from the first instant to the second.
            *(
                and_(batch.c.created_at <= until, batch.c.state_at >= since)
                for since, until in self.periods
            ),
        )

    def _inbox(self) -> ColumnElement[bool]:
        return or_(
            inbox.c.iccid.in_(self.cards),
            inbox.c.sender_bidx.in_(self.numbers),
            *(inbox.c.received_at.between(*one) for one in self.periods),
        )

    def _calls(self) -> ColumnElement[bool]:
        return or_(
            call.c.iccid.in_(self.cards),
            call.c.number_bidx.in_(self.numbers),
            *(call.c.started_at.between(*one) for one in self.periods),
        )

    def _reports(self) -> ColumnElement[bool]:
        of_batches = select(segment.c.segment_id).where(
            segment.c.segment_id == report.c.segment_id, segment.c.batch_id.in_(self.batches)
        )
        return or_(
            report.c.iccid.in_(self.cards),
            report.c.recipient_bidx.in_(self.numbers),
            exists(of_batches) if self.batches else false(),
            *(report.c.received_at.between(*one) for one in self.periods),
        )

    def _of_cards(self, table: Table) -> ColumnElement[bool]:
        periods = (table.c.at.between(*one) for one in self.periods)
        return or_(table.c.iccid.in_(self.cards), *periods)

    def _console(self) -> ColumnElement[bool]:
        return or_(false(), *(wish.c.at.between(*one) for one in self.periods))


def kept(conn: Connection, vault: Vault) -> Kept:
    """What the holds in force keep; a hold on a number of our own keeps its cards, too."""
    holds = in_force(conn, vault)
    subjects = {
        kind: {one.subject for one in holds if one.kind is kind and one.is_intact}
        for kind in HoldKind
    }
    numbers = {bytes.fromhex(one) for one in subjects[HoldKind.NUMBER]}
    own = conn.scalars(select(sim.c.iccid).where(sim.c.number_bidx.in_(numbers)))
    return Kept(
        everything=any(not one.is_intact for one in holds),
        latest=max((one.set_at for one in holds), default=None),
        cards=sorted(subjects[HoldKind.CARD] | set(own)),
        numbers=sorted(numbers),
        batches=sorted(subjects[HoldKind.BATCH]),
        periods=[
            (one.since, one.until)
            for one in holds
            if one.is_intact and one.since is not None and one.until is not None
        ],
    )


# ---------------------------------------------------------------- rows and MACs


def number_place(hold_id: str) -> str:
    """Where a hold's number stands, for the vault."""
    return f"legal_hold.number_enc:{hold_id}"


def _subject(vault: Vault, new: NewHold) -> str:
    if new.number is not None:
        return vault.blind_index(new.number).hex()
    return new.iccid or new.batch_id or ""


def _mac(vault: Vault, row: Mapping[str, object]) -> bytes:
    return vault.mac("legal_hold", *_mac_fields(row))


def _mac_fields(row: Mapping[str, object]) -> tuple[object, ...]:
    """What it keeps, and whether it does."""
    return (
        row["hold_id"],
        row["kind"],
        row["subject"],
        _ms(row["since"]),
        _ms(row["until"]),
        row["set_by"],
        _ms(row["set_at"]),
        row["lifted_by"],
        _ms(row["lifted_at"]),
    )


def _ms(at: object) -> int | None:
    assert at is None or isinstance(at, datetime)
    return None if at is None else to_ms(at)


def _hold(vault: Vault, row: RowMapping) -> Hold:
    is_intact, number = row["kind"] in set(HoldKind), None  # an altered row must not break a list
    try:
        vault.check_mac(row["mac"], "legal_hold", *_mac_fields({**row}))
        if row["number_enc"] is not None:
            number = vault.decrypt_text(row["number_enc"], place=number_place(row["hold_id"]))
    except TamperedError:
        is_intact = False
    return Hold(
        hold_id=row["hold_id"],
        kind=HoldKind(row["kind"]) if is_intact else HoldKind.PERIOD,
        subject=row["subject"],
        number=number,
        since=row["since"],
        until=row["until"],
        reason=row["reason"],
        set_by=row["set_by"],
        set_name=row["set_name"],
        set_at=row["set_at"],
        lifted_name=row["lifted_name"],
        lifted_at=row["lifted_at"],
        lift_reason=row["lift_reason"],
        is_intact=is_intact,
    )
