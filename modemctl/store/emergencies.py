"""Emergencies whose chain has not signed yet, as the audit log tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, select

from modemctl.store.tables import audit_entry

_LET_GO: Final = "batch.emergency"
_SETTLED: Final = ("batch.emergency_reviewed", "batch.emergency_refused")


def unreviewed(conn: Connection, *, limit: int) -> Sequence[str]:
    """Ids of batches that one approver let go and whose chain still has to sign, newest first."""
    settled = select(audit_entry.c.subject).where(audit_entry.c.action.in_(_SETTLED))
    return list(
        conn.scalars(
            select(audit_entry.c.subject)
            .where(audit_entry.c.action == _LET_GO, audit_entry.c.subject.not_in(settled))
            .order_by(audit_entry.c.at.desc())
            .limit(limit)
        )
    )
