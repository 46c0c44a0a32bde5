"""What a group commit leaves beside its rows: events, the segments' journal, the audit chain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, func, or_, select

from modemctl.audit import Draft, Head, seal
from modemctl.clock import Clock
from modemctl.store.count_seal import CountSeal
from modemctl.store.moved import DIGEST, SINCE, Moved, moved_digest
from modemctl.store.prepared import Change
from modemctl.store.tables import audit_entry, event, segment_journal, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import AuditKey


class Scribe:
    """Writes for one node, with its key."""

    def __init__(self, node_id: str, audit_key: AuditKey, clock: Clock) -> None:
        self._node_id = node_id
        self._audit_key = audit_key
        self._clock = clock
        self._is_alone = False

    def look(self, conn: Connection) -> None:
        """At the start: whether the segments' journal holds this node's rows alone. One daemon runs
        on SQLite at a time, but another may have before it, under a name of its own.
        """
        if conn.dialect.name != "postgresql":
            others = conn.execute(_OTHERS, {"node": self._node_id})
            self._is_alone = others.first() is None

    def leave(
        self, conn: Connection, traces: Sequence[Tx], counts: CountSeal | None, *, after: Head
    ) -> Head:
        """Write events, journal rows and audit entries of all that succeeded.

        `counts` are the limits' where these counted; the chain's end was `after`, and is given.
        """
        events = [
            {"at": tx.now, "kind": one.kind, "subject": one.subject, "data": one.data}
            for tx in traces
            for one in tx.events
        ]
        _EVENTS.run(conn, events)
        drafts = [draft for tx in traces for draft in tx.audits]
        changes = [
            {
                "segment_id": one.segment_id,
                "at": tx.now,
                "before": one.before,
                "after": one.after,
                "actor": one.actor,
                "note": one.note,
            }
            for tx in traces
            for one in tx.transitions
        ]
        since = None if not changes or self._is_alone else _last_change(conn)
        _CHANGES.run(conn, changes)
        if changes or counts is not None:
            drafts.append(self._moved(traces, counts, since))
        return self._chain(conn, drafts, after)

    def _moved(self, traces: Sequence[Tx], counts: CountSeal | None, since: int | None) -> Draft:
        """The group commit's own entry: which segments moved, what limits have counted."""
        moved = [
            Moved(
                segment_id=one.segment_id,
                at=to_ms(tx.now),
                before=one.before,
                after=one.after,
                actor=one.actor,
                note=one.note,
            )
            for tx in traces
            for one in tx.transitions
        ]
        details: dict[str, str | int] = {"n": len(moved), DIGEST: moved_digest(moved)}
        if since is not None:
            details[SINCE] = since
        if counts is not None:
            details |= counts.details()
        return Draft(
            at=self._clock.now(),
            actor=self._node_id,
            action="segments.moved",
            subject="segments",
            details=json.dumps(details, sort_keys=True, separators=(",", ":")),
        )

    def _chain(self, conn: Connection, drafts: Sequence[Draft], head: Head) -> Head:
        rows: list[dict[str, object]] = []
        for draft in drafts:
            entry = seal(draft, node_id=self._node_id, head=head, key=self._audit_key)
            head = Head(seq=entry.seq, hash=entry.hash)
            rows.append(
                {
                    "node_id": entry.node_id,
                    "seq": entry.seq,
                    "at": draft.at,
                    "actor": draft.actor,
                    "action": draft.action,
                    "subject": draft.subject,
                    "details": draft.details,
                    "prev": entry.prev,
                    "hash": entry.hash,
                    "signature": entry.signature,
                }
            )
        _ENTRIES.run(conn, rows)
        return head


def _last_change(conn: Connection) -> int:
    """The last row of the segments' journal: numbers are drawn while the writers' lock is held."""
    return conn.scalar(select(func.max(segment_journal.c.entry_id))) or 0


def read_head(conn: Connection, node_id: str) -> Head:
    """The end of a node's audit chain as the table has it."""
    row = conn.execute(
        select(audit_entry.c.seq, audit_entry.c.hash)
        .where(audit_entry.c.node_id == node_id)
        .order_by(audit_entry.c.seq.desc())
        .limit(1)
    ).first()
    return Head() if row is None else Head(seq=row.seq, hash=row.hash)


_OTHERS: Final = (
    select(audit_entry.c.seq)
    .where(
        or_(audit_entry.c.node_id < bindparam("node"), audit_entry.c.node_id > bindparam("node"))
    )
    .limit(1)
)
_EVENTS: Final = Change.adding(event, "at", "kind", "subject", "data")
_CHANGES: Final = Change.adding(
    segment_journal, "segment_id", "at", "before", "after", "actor", "note"
)
_ENTRIES: Final = Change.adding(
    audit_entry, "node_id", "seq", "at", "actor", "action", "subject", "details", "prev", "hash",
    "signature",
)  # fmt: skip
