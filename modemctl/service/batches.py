"""Batches: submitted, confirmed, approved, started, stopped (SMS-01 … SMS-06, SEC-04, SEC-10)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Final

from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.lifecycle import BatchState
from modemctl.service.approvals import Approvals
from modemctl.service.batch_reading import require_move, wrong_state
from modemctl.service.batch_views import BatchView, SignSheet
from modemctl.service.intake import list_digest
from modemctl.service.principal import Principal, Scope
from modemctl.service.recipients import ListFormat, Recipient, spool
from modemctl.service.sifters import sift, sift_lines
from modemctl.service.submission import BatchRequest, SubmissionRules
from modemctl.store import Tx
from modemctl.store import batches as rows
from modemctl.store.batches import Batch
from modemctl.store.evidence import n_ends_told
from modemctl.store.transaction import Json

__all__ = [
    "Batch",
    "BatchRequest",
    "BatchView",
    "Batches",
    "ListFormat",
    "Recipient",
    "SignSheet",
    "SubmissionRules",
]

_UNAPPROVED: Final = (BatchState.DRAFT, BatchState.CHECKED, BatchState.AWAITING_APPROVAL)


class Batches(Approvals):
    """What people and machines do with batches."""

    # ------------------------------------------------------------ submission

    async def submit(
        self, who: Principal, request: BatchRequest, recipients: Sequence[Recipient]
    ) -> BatchView:
        """Submit a batch with a short list; a repeat with the same content gives the same batch.

        Raises:
            InvalidRequest, PolicyRefused, NotPermitted, Conflict: nothing was kept.
        """
        numbers = [one.line_no for one in recipients]
        if any(line < 1 for line in numbers) or numbers != sorted(set(numbers)):
            raise InvalidRequest("line numbers must ascend from 1", field="recipients")
        read = partial(sift_lines, recipients)
        await self._intake.take(
            who, request, request.digest(list_digest(recipients)), lambda rules: read(rules=rules)
        )
        return await self.show(who, request.batch_id)

    async def submit_list(
        self,
        who: Principal,
        request: BatchRequest,
        chunks: AsyncIterator[bytes],
        list_format: ListFormat,
        *,
        encoding: str | None = None,
    ) -> BatchView:
        """Submit a batch whose list comes as a file of any size, in chunks.

        Raises:
            InvalidRequest, PolicyRefused, NotPermitted, Conflict: nothing was kept.
        """
        who.require(Scope.BATCHES_SUBMIT)
        self._rules.check(request, now=self._store.clock.now())
        async with spool(chunks, max_octets=self._rules.max_list_octets) as spooled:
            digest = request.digest(spooled.sha256 + f"{list_format}:{encoding}".encode())
            read = partial(sift, spooled, list_format, encoding=encoding)
            await self._intake.take(who, request, digest, lambda rules: read(rules=rules))
        return await self.show(who, request.batch_id)

    async def tidy(self) -> None:
        """Take back drafts whose list broke off, until cancelled."""
        await self._intake.tidy()

    # ------------------------------------------------------------ running

    async def start(self, who: Principal, batch_id: str) -> BatchView:
        """The named operator starts an approved batch; it sends within its window.

        Raises:
            PolicyRefused: SMS-06 not the operator or not authorised now; SMS-01 … as `approve`.
            NotFound, NotPermitted, Conflict: also.
        """
        who.require(Scope.BATCHES_OPERATE)
        who.require_person("SMS-06")
        rules = self._rules.approvals

        def act(tx: Tx) -> None:
            found = self._visible(tx.conn, who, batch_id)
            if who.account_id != found.operator:
                raise PolicyRefused("SMS-06", "only the operator whom the batch names starts it")
            if found.state in _UNAPPROVED:
                raise PolicyRefused(
                    "SMS-01",
                    "only an approved batch is started",
                    cure="let the second person confirm and each step of the chain sign",
                    field="state",
                    value=found.state,
                )
            if found.state is not BatchState.APPROVED:
                raise wrong_state(found, "only an approved batch is started")
            require_move(tx, found, BatchState.RUNNING)  # undone where it may not run
            verified = self._proofs.require(tx, found.batch_id)
            rows.require_operator(tx.conn, tx.vault, verified, rules=rules, now=tx.now)
            details: dict[str, Json] = {
                "digest": verified.digest.hex(),
                "approvals": list(verified.approvers),
                "source": who.source,
                "policy": "SMS-06",
            }
            tx.audit(who.name, "batch.start", batch_id, details)

        await self._store.write(act)
        await self._store.signals.yield_to_first()
        return await self.show(who, batch_id)

    async def resume(self, who: Principal, batch_id: str) -> BatchView:
        """Let a held batch go on; whoever may operate its department now can do it.

        A standing approval is in force again by it; it sends nothing itself.

        Raises:
            PolicyRefused: SMS-06 not authorised as operator; SMS-01 … as `approve`, and where a
                standing approval's row of before was put back: it proves nothing any more.
            NotFound, NotPermitted, Conflict: also.
        """
        who.require(Scope.BATCHES_OPERATE)
        who.require_person("SMS-06")
        rules = self._rules.approvals

        def act(tx: Tx) -> None:
            found = self._visible(tx.conn, who, batch_id)
            if found.state is not BatchState.HELD:
                raise wrong_state(found, "only a held batch goes on")
            batch = found.batch_id
            verified = rows.verify_signed(tx.conn, tx.vault, batch, rules=rules, now=tx.now)
            department = rules.operating_department(found.category, found.department)
            if not rows.may_operate(
                tx.conn, tx.vault, who.account_id, department=department, at=tx.now
            ):
                raise PolicyRefused("SMS-06", f"you are no operator of department {department}")
            is_standing = verified.header.standing is not None
            if is_standing:
                _require_not_put_back(tx, batch)
            require_move(tx, found, BatchState.APPROVED if is_standing else BatchState.RUNNING)
            details: dict[str, Json] = {
                "approvals": list(verified.approvers),
                "source": who.source,
                "policy": "SMS-06",
            }
            tx.audit(who.name, "batch.release" if is_standing else "batch.resume", batch, details)

        await self._store.write(act)
        await self._store.signals.yield_to_first()
        return await self.show(who, batch_id)

    async def hold(self, who: Principal, batch_id: str, reason: str) -> BatchView:
        """Stop a batch for now: no segment of it begins later than a second after the answer.

        The view says what was sent, is in flight and unsent (SEC-10).

        Raises:
            InvalidRequest, NotFound, NotPermitted, Conflict: see their texts.
        """
        who.require(Scope.BATCHES_OPERATE)
        return await self._close(who, batch_id, BatchState.HELD, "batch.hold", reason)

    async def cancel(self, who: Principal, batch_id: str, reason: str) -> BatchView:
        """Stop an approved batch for good.

        Raises:
            InvalidRequest, NotFound, NotPermitted, Conflict: see their texts.
        """
        who.require(Scope.BATCHES_OPERATE)
        return await self._close(who, batch_id, BatchState.CANCELLED, "batch.cancel", reason)

    async def withdraw(self, who: Principal, batch_id: str, reason: str) -> BatchView:
        """Take back a batch that does not run yet.

        Raises:
            InvalidRequest, NotFound, NotPermitted, Conflict: see their texts.
        """
        who.require(Scope.BATCHES_SUBMIT)
        return await self._close(who, batch_id, BatchState.WITHDRAWN, "batch.withdraw", reason)


def _require_not_put_back(tx: Tx, standing: str) -> None:
    """Refuse a standing approval that ended before it was held: no run would be proved by it."""
    if n_ends_told(tx.conn, standing) > 1:
        raise PolicyRefused(
            "SMS-01",
            "its row was put back after it had been held or withdrawn, as the log says",
            cure="modemctl audit verify names it; have a new one signed:"
            " modemctl batch propose-self-test",
        )
