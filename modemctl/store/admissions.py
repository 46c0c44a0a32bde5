"""The admission list of modems (CC-01): by IMEI, with who asked and who approved, under a MAC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, RowMapping, insert, select, update

from modemctl.config.settings import ListMode
from modemctl.errors import TamperedError
from modemctl.model import AccountId, Bay, EventKind, Topic
from modemctl.policy.admission import Admission, AdmissionState, is_expelled, refusal
from modemctl.policy.cards import Unfitness
from modemctl.store.tables import admission, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


def read_many(conn: Connection, vault: Vault, imeis: Iterable[str]) -> Mapping[str, Admission]:
    """What the list says of these modems."""
    statement = select(admission).where(admission.c.imei.in_(sorted(set(imeis))))
    return {row["imei"]: _admission(vault, row) for row in conn.execute(statement).mappings()}


def read(conn: Connection, vault: Vault, imei: str) -> Admission | None:
    """One modem; None where it never came and nobody asked for it."""
    return read_many(conn, vault, [imei]).get(imei)


def find(
    conn: Connection, vault: Vault, *, state: AdmissionState | None, after: str, limit: int
) -> Sequence[Admission]:
    """Up to `limit` modems in order of IMEI, behind `after`."""
    statement = select(admission).where(admission.c.imei > after)
    if state is not None:
        statement = statement.where(admission.c.state == state)
    rows = conn.execute(statement.order_by(admission.c.imei).limit(limit)).mappings()
    return [_admission(vault, row) for row in rows]


def note_seen(tx: Tx, imei: str, bay: Bay, mode: ListMode) -> Unfitness | None:
    """A modem answers in a bay: note it; why it may not be driven, None where it may.

    One that was in another bay before is an alarm.
    """
    known = read(tx.conn, tx.vault, imei)
    if known is None:
        known = Admission(
            imei=imei, state=AdmissionState.SEEN, requested_by=None, requested_at=None,
            decided_by=None, decided_at=None, reason="", bay=bay, is_intact=True,
        )  # fmt: skip
        _put(tx, known, is_new=True)
        tx.event(EventKind.MODEM, bay, {"imei": imei, "admission": known.state.value})
    elif known.bay != bay:
        tx.conn.execute(update(admission).where(admission.c.imei == imei).values(bay=bay))
        if known.bay is not None:
            facts = {"alarm": "modem_moved", "imei": imei, "from_bay": known.bay}
            tx.event(EventKind.ALARM, bay, {**facts, "policy": "CC-01"})
    return refusal(mode, imei, known)


def ask(tx: Tx, imei: str, *, by: AccountId, reason: str) -> Admission:
    """A person asks for a modem; what an earlier one asked, or an altered row said, is gone.

    One that was expelled stays so until a second person has admitted it.
    """
    before = read(tx.conn, tx.vault, imei)
    no = before if before is not None and before.is_intact and is_expelled(before) else None
    return _set(
        tx,
        Admission(
            imei=imei,
            state=AdmissionState.REQUESTED,
            requested_by=by,
            requested_at=tx.now,
            decided_by=None if no is None else no.decided_by,
            decided_at=None if no is None else no.decided_at,
            reason=reason,
            bay=None if before is None else before.bay,
            is_intact=True,
        ),
        is_new=before is None,
    )


def approve(tx: Tx, asked: Admission, *, by: AccountId) -> Admission:
    """A second person admits a modem that was asked for; it is driven at once."""
    assert asked.is_intact, "an altered row is asked for anew"
    assert asked.state is AdmissionState.REQUESTED
    assert by != asked.requested_by
    after = replace(asked, state=AdmissionState.ADMITTED, decided_by=by, decided_at=tx.now)
    return _set(tx, after, is_new=False)


def expel(tx: Tx, imei: str, *, by: AccountId, reason: str) -> Admission:
    """A person says no to a modem, whether it ever came or not; it is let go of at once."""
    before = read(tx.conn, tx.vault, imei)
    expelled = Admission(
        imei=imei, state=AdmissionState.EXPELLED, requested_by=None, requested_at=None,
        decided_by=by, decided_at=tx.now, reason=reason,
        bay=None if before is None else before.bay, is_intact=True,
    )  # fmt: skip
    tx.wake(Topic.STOP)
    return _set(tx, expelled, is_new=before is None)


def _set(tx: Tx, after: Admission, *, is_new: bool) -> Admission:
    _put(tx, after, is_new=is_new)
    facts = {"imei": after.imei, "admission": after.state.value}
    tx.event(EventKind.MODEM, after.bay or after.imei, {**facts})
    tx.wake(Topic.MODEMS)
    return after


def _put(tx: Tx, after: Admission, *, is_new: bool) -> None:
    values: dict[str, object] = {
        "state": after.state.value,
        "requested_by": after.requested_by,
        "requested_at": after.requested_at,
        "decided_by": after.decided_by,
        "decided_at": after.decided_at,
        "reason": after.reason,
        "bay": after.bay,
    }
    values["mac"] = tx.vault.mac("admission", *_mac_fields({**values, "imei": after.imei}))
    if is_new:
        tx.conn.execute(insert(admission).values({**values, "imei": after.imei}))
    else:
        tx.conn.execute(update(admission).where(admission.c.imei == after.imei).values(values))


def _mac_fields(row: Mapping[str, object]) -> tuple[object, ...]:
    """All that admits; where a modem was seen last is no authority."""
    return (
        row["imei"],
        row["state"],
        row["requested_by"],
        _ms(row["requested_at"]),
        row["decided_by"],
        _ms(row["decided_at"]),
    )


def _ms(at: object) -> int | None:
    assert at is None or isinstance(at, datetime)
    return None if at is None else to_ms(at)


def _admission(vault: Vault, row: RowMapping) -> Admission:
    is_intact = row["state"] in set(AdmissionState)  # an altered row must not break a list
    try:
        vault.check_mac(row["mac"], "admission", *_mac_fields({**row}))
    except TamperedError:
        is_intact = False
    return Admission(
        imei=row["imei"],
        state=AdmissionState(row["state"]) if is_intact else AdmissionState.SEEN,
        requested_by=row["requested_by"],
        requested_at=row["requested_at"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        reason=row["reason"],
        bay=None if row["bay"] is None else Bay(row["bay"]),
        is_intact=is_intact,
    )
