"""Batches as they are looked at: one, many, their lines and outcomes, the sheet to sign."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from modemctl.errors import Conflict, InvalidRequest, NotFound, TamperedError
from modemctl.lifecycle import BatchState
from modemctl.policy.approvals import ApprovalRules, BatchEvidence, is_void
from modemctl.policy.digest import decode_header
from modemctl.service.batch_views import (
    BatchView,
    SignSheet,
    finish_estimate,
    may_see,
    n_unsent,
    result_of,
    sight_of,
    sign_sheet,
    view,
)
from modemctl.service.emergencies import OpenEmergency, open_emergency
from modemctl.service.intake import Intake
from modemctl.service.pages import Page, decode_number, decode_text, encode_cursor
from modemctl.service.previews import pool_of
from modemctl.service.principal import Principal, Scope
from modemctl.service.readiness import warnings
from modemctl.service.submission import SubmissionRules
from modemctl.store import Connection, Store, Tx, evidence, messages, staging
from modemctl.store import batches as rows
from modemctl.store.batches import Batch
from modemctl.store.emergencies import unreviewed
from modemctl.store.proofs import ProofBook
from modemctl.store.signers import Turn, names_of, signers
from modemctl.store.staging import RemovedLine
from modemctl.store.transaction import Json
from modemctl.vault import Vault

ItemT = TypeVar("ItemT")

_PAGE: Final = 500


class BatchReading:
    """What people and machines see of batches."""

    def __init__(
        self, store: Store, rules: SubmissionRules, proofs: ProofBook | None = None
    ) -> None:
        """`proofs` is the dispatcher's, which then need not prove again what was just started."""
        self._store = store
        self._rules = rules
        self._proofs = proofs or ProofBook(rules.approvals)
        self._intake = Intake(store, rules)

    async def show(self, who: Principal, batch_id: str) -> BatchView:
        """One batch: state, totals, chain, progress.

        Raises:
            NotFound, NotPermitted: no such batch, or not of the account's department.
        """
        _require_reader(who)
        rules, vault, now = self._rules, self._store.vault, self._store.clock.now()

        def read(conn: Connection) -> BatchView:
            found = self._visible(conn, who, batch_id)
            known = evidence.read_evidence(conn, vault, [found.batch_id]).get(found.batch_id)
            progress = rows.progress(conn, batch_id)
            tx, finish, pool = self._store.view(conn), None, None
            if n_unsent(found, progress):
                pool = pool_of(tx, found, rules)
                finish = finish_estimate(found, progress, pool, rules=rules, now=now)
            intake = self._intake.progress(found.batch_id)
            shown = view(
                found, known, progress, rules=rules.approvals, finish=finish, intake=intake
            )
            ahead = tuple(warnings(tx, shown, pool, rules=rules))
            return replace(shown, names=names_of(conn, shown.people), warnings=ahead)

        return await self._store.read(read)

    async def list_batches(
        self,
        who: Principal,
        *,
        states: Collection[BatchState] | None = None,
        category: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Batch]:
        """Batches that the account may see, newest first.

        Raises:
            NotPermitted, InvalidRequest: scope or cursor.
        """
        _require_reader(who)
        sight = sight_of(who, self._rules.approvals.general_department)
        query = rows.Query(seen_by=sight, states=states, category=category)
        before = _list_key(cursor)
        found = await self._store.read(
            lambda conn: rows.list_batches(conn, query, before=before, limit=limit + 1)
        )
        return _page(found, limit, lambda one: _key_text(one.created_at, one.batch_id))

    async def emergencies(self, who: Principal, *, limit: int = 100) -> Sequence[OpenEmergency]:
        """Batches that an emergency approver let go and whose chain still has to sign.

        Raises:
            NotPermitted: without any scope for batches.
        """
        _require_reader(who)
        rules = self._rules.approvals
        sight, now = sight_of(who, rules.general_department), self._store.clock.now()

        def read(conn: Connection) -> Sequence[OpenEmergency]:
            let_go = unreviewed(conn, limit=limit)
            found = [(rows.find_batch(conn, one.batch_id), one) for one in let_go]
            return [
                open_emergency(batch, one, rules.emergencies.followup, now)
                for batch, one in found
                if batch is not None and may_see(sight, batch.department, batch.category)
            ]

        return await self._store.read(read)

    async def removed(
        self, who: Principal, batch_id: str, *, cursor: str | None = None, limit: int = 1000
    ) -> Page[RemovedLine]:
        """Lines of the list that are not part of the batch, masked, with the reason.

        Raises:
            NotFound, NotPermitted, InvalidRequest: batch, scope or cursor.
        """
        _require_reader(who)
        after = decode_number(cursor)

        def read(conn: Connection) -> Sequence[RemovedLine]:
            self._visible(conn, who, batch_id)
            return staging.removed_lines(conn, batch_id, after=after, limit=limit + 1)

        return _page(await self._store.read(read), limit, lambda one: one.line_no)

    async def results(
        self, who: Principal, batch_id: str
    ) -> AsyncGenerator[Mapping[str, Json], None]:
        """Every message with its outcome, in order; numbers masked without `pii:read`.

        Raises:
            NotFound, NotPermitted: before the first one.
        """
        _require_reader(who)
        await self._store.read(lambda conn: self._visible(conn, who, batch_id))
        vault, query, after = self._store.vault, messages.Query(batch_id=batch_id), 0
        while True:
            read = partial(
                messages.find_messages, vault=vault, query=query, after=after, limit=_PAGE
            )
            found = await self._store.read(read)
            for one in found:
                yield result_of(one, is_masked=Scope.PII_READ not in who.scopes)
            if len(found) < _PAGE:
                return
            after = found[-1].message_id

    async def sheet(self, who: Principal, batch_id: str) -> SignSheet:
        """What an approver must see and sign next: header, totals, examples, payload to sign.

        Numbers are masked without `pii:read`; the text goes to drafter and submitter too.

        Raises:
            NotFound, NotPermitted, Conflict: no such batch, or its list is not complete.
            PolicyRefused: SMS-01, the header was changed.
        """
        _require_reader(who)
        vault, rules, now = self._store.vault, self._rules.approvals, self._store.clock.now()
        query = messages.Query(batch_id=batch_id)

        def read(conn: Connection) -> SignSheet:
            found = self._visible(conn, who, batch_id)
            if found.header is None:
                raise wrong_state(found, "its list is not complete")
            known = evidence.read_evidence(conn, vault, [found.batch_id])[found.batch_id]
            examples = messages.find_messages(conn, vault, query, after=0, limit=3)
            shown = sign_sheet(found, known, examples, rules=rules, who=who)
            return _peopled(conn, vault, shown, found=found, known=known, rules=rules, now=now)

        return await self._store.read(read)

    def _visible(self, conn: Connection, who: Principal, batch_id: str) -> Batch:
        found = rows.find_batch(conn, batch_id)
        sight = sight_of(who, self._rules.approvals.general_department)
        if found is None or not may_see(sight, found.department, found.category):
            raise NotFound("no such batch", field="batch_id", value=batch_id[:40])
        return found


def _peopled(
    conn: Connection,
    vault: Vault,
    shown: SignSheet,
    *,
    found: Batch,
    known: BatchEvidence | TamperedError,
    rules: ApprovalRules,
    now: datetime,
) -> SignSheet:
    """A sheet with the names of its people and who may sign next."""
    parts = {found.drafter, found.submitter, found.operator}
    if isinstance(known, BatchEvidence) and (owner := decode_header(known.header).list_owner):
        parts.add(owner)
    named = replace(shown, names=names_of(conn, parts))
    if shown.step_name is None or isinstance(known, TamperedError):
        return named
    signed = {one.account_id for one in known.approvals if not is_void(one, known)}
    turn = Turn(
        step=shown.step_name,
        department=found.department,
        general_department=rules.general_department,
        taken=parts | signed,
    )
    return replace(named, signers=tuple(signers(conn, vault, turn, now=now)))


def require_move(tx: Tx, found: Batch, to: BatchState, *, reason: str = "") -> None:
    """Change a batch's state.

    Raises:
        Conflict: the table does not allow it from where the batch is.
    """
    if not rows.move(tx, found.batch_id, to, reason=reason):
        rule = "that was done before" if found.state is to else f"it cannot become {to} now"
        raise wrong_state(found, rule, cure=f"look: modemctl batch show {found.batch_id}")


def wrong_state(found: Batch, rule: str, *, cure: str = "") -> Conflict:
    """What to raise where a batch's state does not allow an act."""
    said = f"the batch is {found.state}; {rule}"
    return Conflict(said, field="state", value=found.state, cure=cure)


# ---------------------------------------------------------------- inside


def _require_reader(who: Principal) -> None:
    # Whoever may act on batches sees what came of it.
    acting = {
        Scope.BATCHES_SUBMIT, Scope.BATCHES_CONFIRM, Scope.BATCHES_APPROVE, Scope.BATCHES_OPERATE,
    }  # fmt: skip
    if not acting & who.scopes:
        who.require(Scope.BATCHES_READ)


def _page(found: Sequence[ItemT], limit: int, key: Callable[[ItemT], str | int]) -> Page[ItemT]:
    """One page of what was read with one item more than asked for."""
    items = found[:limit]
    more = len(found) > limit
    return Page(items=items, next=encode_cursor(key(items[-1])) if more else None)


def _key_text(created_at: datetime, batch_id: str) -> str:
    return f"{created_at.isoformat()} {batch_id}"


def _list_key(cursor: str | None) -> tuple[datetime, str] | None:
    text = decode_text(cursor)
    if not text:
        return None
    at, _, batch_id = text.partition(" ")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() != timedelta(0):
        raise InvalidRequest("must be a cursor that this list gave", field="cursor")
    return moment, batch_id
