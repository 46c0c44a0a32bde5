"""Approvals, checked at every lease and submit, and cheap when nothing changed.

All that an approval stands on is read each time; only what was verified for the very same rows is
remembered. A changed, revoked or deleted row is seen at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from sqlalchemy import Connection, RowMapping, String, bindparam, select

from modemctl.errors import PolicyRefused, TamperedError
from modemctl.model import BatchId
from modemctl.policy.approvals import ApprovalRules, VerifiedBatch, verify_batch
from modemctl.policy.standing import require_sends
from modemctl.store import parties, policies, sims
from modemctl.store.engine import UNREAD, UNREADABLE
from modemctl.store.evidence import ends_told, read_evidence
from modemctl.store.prepared import Prepared
from modemctl.store.tables import approval, approver_key, authorisation, batch, confirmation
from modemctl.store.transaction import Tx
from modemctl.vault import Vault

_Rows: TypeAlias = tuple[tuple[object, ...], ...]

_REMEMBERED: Final = 256  # batches; more than ever run at the same time
_REMEMBERED_CARDS: Final = 1_024  # two for each bay of the largest bank


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    rows: _Rows
    batch: VerifiedBatch


class ProofBook:
    """Remembers what was verified, by the rows that it was verified from. For any thread."""

    def __init__(self, rules: ApprovalRules) -> None:
        self._rules = rules
        self._known: dict[BatchId, _Remembered] = {}
        self._cards: dict[object, tuple[object, ...]] = {}
        self._policy: tuple[object, ...] | None = None

    def check_card(self, vault: Vault, row: RowMapping) -> None:
        """As `sims.check_row`, once for the same words of a card's row.

        Raises:
            TamperedError: the row was not written by this controller.
        """
        words = tuple(row.values())
        if self._cards.get(row["iccid"]) == words:
            return
        sims.check_row(vault, row)
        if len(self._cards) >= _REMEMBERED_CARDS:
            self._cards.clear()
        self._cards[row["iccid"]] = words

    def verified(
        self, conn: Connection, vault: Vault, batch_ids: Collection[BatchId], *, now: datetime
    ) -> Mapping[BatchId, VerifiedBatch | PolicyRefused]:
        """Each batch's approval as it stands at `now`, or why there is none."""
        rows = _read_rows(conn, batch_ids)
        found: dict[BatchId, VerifiedBatch | PolicyRefused] = {}
        for batch_id in batch_ids:
            known = self._known.get(batch_id)
            if (
                known is not None
                and known.rows == rows[batch_id]
                and now < known.batch.approved_until
            ):
                found[batch_id] = known.batch
        fresh = sorted(set(batch_ids) - found.keys())
        if fresh:
            found.update(self._verify(conn, vault, fresh, rows, now))
        for batch_id, one in found.items():
            if isinstance(one, VerifiedBatch) and one.header.party != self._rules.own_party:
                found[batch_id] = _for_third_party(conn, vault, one, now)
        return found

    def require(self, tx: Tx, batch_id: BatchId) -> VerifiedBatch:
        """The approval of one batch, as it stands in this transaction.

        Raises:
            PolicyRefused: there is none; which rule says so.
        """
        found = self.verified(tx.conn, tx.vault, [batch_id], now=tx.now)[batch_id]
        if isinstance(found, PolicyRefused):
            raise found
        return found

    def counts(self, conn: Connection, vault: Vault, policy: str) -> bool:
        """As `policies.counts`, once for the same words of the row."""
        row = policies.newest(conn)
        if row is None or row["digest"] != policy:
            return False
        words = tuple(row.values())
        if self._policy != words:
            if not policies.is_intact(vault, row):
                return False
            self._policy = words
        return True

    def _verify(
        self,
        conn: Connection,
        vault: Vault,
        batch_ids: Collection[BatchId],
        rows: Mapping[BatchId, _Rows],
        now: datetime,
    ) -> Mapping[BatchId, VerifiedBatch | PolicyRefused]:
        evidence = read_evidence(conn, vault, batch_ids)
        found: dict[BatchId, VerifiedBatch | PolicyRefused] = {}
        for batch_id in batch_ids:
            one = evidence.get(batch_id)
            if one is None or isinstance(one, TamperedError):
                found[batch_id] = PolicyRefused("SMS-01", str(one or "the batch is not approved"))
                continue
            try:
                verified = verify_batch(one, rules=self._rules, now=now)
                require_sends(verified.header)
            except PolicyRefused as error:
                found[batch_id] = error
                continue
            except UNREADABLE:
                found[batch_id] = PolicyRefused("SMS-01", UNREAD)
                continue
            found[batch_id] = verified
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[batch_id] = _Remembered(rows=rows[batch_id], batch=verified)
        return found


def _for_third_party(
    conn: Connection, vault: Vault, batch: VerifiedBatch, now: datetime
) -> VerifiedBatch | PolicyRefused:
    """Its party's special approval is asked for each time: it may end before the batch does."""
    try:
        parties.require(conn, vault, batch.header.party, at=now)
    except PolicyRefused as error:
        return error
    return batch


def _read_rows(conn: Connection, batch_ids: Collection[BatchId]) -> Mapping[BatchId, _Rows]:
    """Everything that `read_evidence` reads of these batches, as it lies in the tables.

    With it goes what the log says of the standing approvals: rows may be put back as they were.
    """
    rows = _own_rows(conn, batch_ids)
    under = {batch_id: str(own[0][1]) for batch_id, own in rows.items() if own and own[0][1]}
    if not under:
        return rows
    standing = {BatchId(one) for one in under.values()}
    above = {
        batch_id: (*own, ends_told(conn, batch_id))
        for batch_id, own in _own_rows(conn, standing).items()
    }
    return {
        batch_id: (*own, *above[BatchId(under[batch_id])]) if batch_id in under else own
        for batch_id, own in rows.items()
    }


def _own_rows(conn: Connection, batch_ids: Collection[BatchId]) -> dict[BatchId, _Rows]:
    """Without those of the standing approval that a batch goes under; its own row comes first."""
    ids = {"ids": sorted(batch_ids)}
    rows: dict[BatchId, list[tuple[object, ...]]] = {batch_id: [] for batch_id in batch_ids}
    for statement in (_BATCHES, _SIGNED, _CONFIRMED):
        for row in statement.cells(conn, ids):
            rows[BatchId(str(row[0]))].append(row)
    return {batch_id: tuple(own) for batch_id, own in rows.items()}


_IDS: Final = bindparam("ids", type_=String, expanding=True)
_BATCHES: Final = Prepared(
    select(
        batch.c.batch_id,
        batch.c.under,
        batch.c.under_mac,
        batch.c.category,
        batch.c.department,
        batch.c.template,
        batch.c.card_group,
        batch.c.not_before,
        batch.c.not_after,
        batch.c.starts_itself,
        batch.c.drafter,
        batch.c.operator,
        batch.c.submitter,
        batch.c.header,
        batch.c.state,
        batch.c.state_at,
        batch.c.state_mac,
    ).where(batch.c.batch_id.in_(_IDS))
)
_SIGNED: Final = Prepared(
    select(approval, approver_key, authorisation)
    .outerjoin(approver_key, approver_key.c.kid == approval.c.kid)
    .outerjoin(authorisation, authorisation.c.account_id == approval.c.account_id)
    .where(approval.c.batch_id.in_(_IDS))
    .order_by(approval.c.batch_id, approval.c.step, authorisation.c.authorisation_id)
)
_CONFIRMED: Final = Prepared(
    select(confirmation)
    .where(confirmation.c.batch_id.in_(_IDS))
    .order_by(confirmation.c.batch_id, confirmation.c.account_id)
)
