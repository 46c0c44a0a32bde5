"""Whether anything may leave this node at all, asked at each lease and each submit."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select

from modemctl.lifecycle import BatchState
from modemctl.model import BatchId
from modemctl.policy.gates import Shut
from modemctl.store.segments import SendingRules, hold_batch
from modemctl.store.tables import batch
from modemctl.store.transaction import Tx

UNCONFIRMED: Final = "the settings' policy is not the one that two persons confirmed"
"""Why batches are held where the policy section of the settings changed."""


def why_shut(tx: Tx, rules: SendingRules) -> Shut | None:
    """Why nothing may leave now; None where it may."""
    if rules.clock.fault:
        return Shut(reason=rules.clock.fault, policy="SIM-08", holds=False)
    if tx.standing.fault:
        return Shut(reason=tx.standing.fault, policy="SIM-08", holds=False)
    if rules.policy is not None and not rules.proofs.counts(tx.conn, tx.vault, rules.policy):
        return Shut(reason=UNCONFIRMED, policy="SEC-04", holds=True)
    return None


def stand_still(tx: Tx, shut: Shut) -> int:
    """Hold what runs, where that is what shut asks for; returns how many batches."""
    if not shut.holds:
        return 0
    running = tx.conn.scalars(
        select(batch.c.batch_id).where(batch.c.state == BatchState.RUNNING)
    ).all()
    for batch_id in running:
        hold_batch(tx, BatchId(batch_id), f"{shut.reason} (policy: {shut.policy})")
    return len(running)
