"""Parts of the audit log for others: a signed export (SEC-09, SEC-12)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

from modemctl.audit import Entry, Head
from modemctl.errors import InvalidRequest
from modemctl.service.audit_bundle import Writer
from modemctl.service.dual import DualKind, take
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, Tx
from modemctl.store import audits as rows
from modemctl.store.audits import Span

__all__ = ["SUBJECT", "AuditExports"]

SUBJECT: Final = "audit"
"""What a request for an export of the log has as its subject."""

_PAGE: Final = 500


class AuditExports:
    """Gives parts of this node's log away, on record."""

    def __init__(self, store: Store, *, site_id: str, audit_public_key: bytes) -> None:
        self._store = store
        self._site_id = site_id
        self._key = audit_public_key

    async def export(
        self,
        who: Principal,
        *,
        since: datetime | None,
        until: datetime | None,
        request_id: str | None,
    ) -> AsyncIterator[bytes]:
        """Spend the permit of two persons, then give the file, piece by piece.

        Raises:
            NotPermitted: without `audit:read`, or of one department only.
            PolicyRefused: SEC-04, without a permit for just this.
            InvalidRequest: no entry in that time.
        """
        who.require(Scope.AUDIT_READ)
        who.require_all_departments()  # entries of all departments stand in one chain

        def act(tx: Tx) -> Span:
            span = self._span(tx, since, until)
            permit = take(tx, who, request_id, kind=DualKind.EXPORT, subject=SUBJECT)
            tx.audit(
                who.name,
                "audit.export",
                SUBJECT,
                {
                    "first": span.first,
                    "last": span.last,
                    "recipient": permit.details.get("recipient", ""),
                    "reason": permit.reason,
                    "source": who.source,
                    "policy": "SEC-09",
                },
            )
            return span

        return self._lines(await self._store.write(act))

    def _span(self, tx: Tx, since: datetime | None, until: datetime | None) -> Span:
        span = rows.span_of(tx.conn, node_id=tx.node_id, since=since, until=until)
        if span is None:
            raise InvalidRequest("no entry of the log is of that time", field="from")
        return span

    async def _lines(self, span: Span) -> AsyncIterator[bytes]:
        node_id = self._store.node_id
        before = Head(seq=span.first - 1, hash=span.prev)
        writer = Writer(node_id=node_id, site_id=self._site_id, public_key=self._key, before=before)
        yield writer.open()
        at = before.seq
        while at < span.last:
            page = await self._page(at, min(_PAGE, span.last - at))
            if not page:
                break
            yield b"".join(writer.entry(entry) for entry in page)
            at = page[-1].seq
        yield writer.close(self._store.journal.signer)

    async def _page(self, after: int, n: int) -> Sequence[Entry]:
        node_id = self._store.node_id
        return await self._store.read(
            lambda conn: rows.read_chain(conn, node_id=node_id, after=after, limit=n)
        )
