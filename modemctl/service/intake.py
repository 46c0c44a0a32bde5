"""How a batch comes in: checked, drafted, its list staged, frozen (SMS-01, SMS-07, SMS-11)."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final, TypeAlias

from modemctl.errors import (
    Conflict,
    InvalidRequest,
    NotPermitted,
    PolicyRefused,
    RequestError,
    StoreError,
    TamperedError,
)
from modemctl.lifecycle import BatchState
from modemctl.model import AccountId, BatchId, Category
from modemctl.policy.digest import BatchHeader, Standing, Totals, encode_header, header_digest
from modemctl.policy.numbers import Rejection
from modemctl.service.departments import require_department
from modemctl.service.judging import Judged, JudgeRules
from modemctl.service.previews import estimate, pool_of
from modemctl.service.principal import Principal, Scope
from modemctl.service.readiness import require_operator
from modemctl.service.recipients import Recipient
from modemctl.service.staging import Progress, StagedList, Staging
from modemctl.service.submission import (
    BatchRequest,
    SubmissionRules,
    Window,
    new_batch_id,
    priority_of,
)
from modemctl.store import Connection, Store, Tx, parties, staging
from modemctl.store import batches as rows
from modemctl.store.accounts import (
    Account,
    AccountKind,
    AccountState,
    find_account,
    find_account_named,
)
from modemctl.store.authorities import may_draft
from modemctl.store.batches import NewBatch
from modemctl.store.staging import Frozen, RemovedLine, Spacing
from modemctl.store.texts import note_use
from modemctl.store.transaction import Json

Sift: TypeAlias = Callable[[JudgeRules], AsyncGenerator[Judged, None]]
"""Gives a list's lines, judged by these rules."""

_SPARING: Final = "SIM-08"  # opt-outs, own cards, often written to: what is no fault of the list
_COLUMN_CURE: Final = "give the list a column with the name that stands in braces in the text"
_HEADING_CURE: Final = (
    "where line 1 names the columns, call that of the numbers 手机号 or number; "
    "where it reads as rubbish here, say the list's encoding"
)
_DISCARD_LINES: Final = 500
_NONCE_OCTETS: Final = 16
_TIDY_INTERVAL: Final = 60.0  # seconds
_FORGOTTEN_AFTER: Final = timedelta(hours=1)  # a list comes in within minutes, on whichever node

_log = logging.getLogger(__name__)


class Intake:
    """Takes batches in. Holds nothing but which lists come in just now."""

    def __init__(self, store: Store, rules: SubmissionRules) -> None:
        self._store = store
        self._rules = rules
        self._staging: dict[BatchId, Progress] = {}
        self._left: dict[BatchId, bytes] = {}  # and the nonce by which the draft is still ours
        self._bell = asyncio.Event()

    async def take(
        self,
        who: Principal,
        request: BatchRequest,
        digest: bytes,
        sift: Sift,
    ) -> None:
        """Take a batch in, list and all; a repeat with the same content changes nothing.

        `digest` is the request's with its list. A draft that broke off is begun anew.

        Raises:
            InvalidRequest, PolicyRefused, NotPermitted, Conflict: nothing was kept.
        """
        who.require(Scope.BATCHES_SUBMIT)
        batch_id = new_batch_id(request.batch_id)
        if batch_id in self._staging:
            raise Conflict("this batch is being submitted just now", field="batch_id")
        self._staging[batch_id] = Progress(n_lines=0, share=0.0)
        try:
            if await self._is_repeat(batch_id, digest):
                return
            window = self._rules.check(request, now=self._store.clock.now())
            new = await self._draft(who, request, window, digest)
            request = replace(request, list_owner=await self._list_owner(request))
            await self._store.write(partial(rows.add_draft, new=new))
            try:
                await self._take_in(who, request, new, sift)
            except RequestError:
                await self._discard(batch_id, new.salt_nonce)
                raise
            except (asyncio.CancelledError, StoreError):
                self._left[batch_id] = new.salt_nonce  # taking it back takes time: `tidy` does
                self._bell.set()
                raise
        finally:
            del self._staging[batch_id]

    def progress(self, batch_id: str) -> Progress | None:
        """How far a batch's list has come, while it comes in."""
        return self._staging.get(BatchId(batch_id))

    async def tidy(self) -> None:
        """Take back drafts whose client went away, until cancelled; others' after an hour."""
        while True:
            try:
                async with asyncio.timeout(_TIDY_INTERVAL):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self._bell.clear()
            try:
                await self._tidy()
            except StoreError as error:
                _log.warning("drafts.not_discarded", extra={"error": str(error)})

    async def _tidy(self) -> None:
        before = self._store.clock.now() - _FORGOTTEN_AFTER
        forgotten = await self._store.read(lambda conn: rows.old_drafts(conn, before=before))
        for batch_id in (*self._left, *forgotten):
            nonce = self._left.get(batch_id)
            one = partial(
                staging.discard, batch_id=batch_id, limit=_DISCARD_LINES, salt_nonce=nonce
            )
            # Whoever submits it again takes it over: `take` discards what is left.
            while batch_id not in self._staging and not await self._store.write(one):
                pass
            self._left.pop(batch_id, None)

    async def _is_repeat(self, batch_id: BatchId, digest: bytes) -> bool:
        found = await self._store.read(lambda conn: rows.find_batch(conn, batch_id))
        if found is None:
            return False
        if not hmac.compare_digest(found.request_digest, digest):
            raise Conflict(
                "this batch_id was used for another request",
                field="batch_id",
                cure="make a new UUID for each batch",
            )
        if found.state is not BatchState.DRAFT:
            return True
        await self._discard(batch_id)  # its list broke off: a crash, or a client that went away
        return False

    async def _draft(
        self, who: Principal, request: BatchRequest, window: Window, digest: bytes
    ) -> NewBatch:
        party = await self._require_client(who, request)
        drafter = await self._account(request.drafter, "drafter")
        operator = await self._account(request.operator, "operator")
        if drafter.department not in {None, request.department}:
            raise PolicyRefused(
                "SMS-11", "the drafter belongs to another department", field="drafter"
            )
        await self._require_listed(drafter, request.department)
        at = max(window.not_before, self._store.clock.now())
        await self._store.read(
            lambda conn: require_operator(
                conn, self._store.vault, operator, request, rules=self._rules, at=at
            )
        )
        return NewBatch(
            batch_id=new_batch_id(request.batch_id),
            category=request.category,
            priority=priority_of(request.category),
            department=request.department,
            party=party,
            drafter=drafter.account_id,
            operator=operator.account_id,
            submitter=who.account_id,
            template=request.text,
            card_group=request.card_group,
            starts_itself=request.starts_itself,
            not_before=window.not_before,
            not_after=window.not_after,
            salt_nonce=os.urandom(_NONCE_OCTETS),
            request_digest=digest,
            is_loop=request.runs_per_week is not None,
        )

    async def _require_client(self, who: Principal, request: BatchRequest) -> str:
        """For whom it is sent: of a department that the account works for; returns the party."""
        if not who.sees(request.department):
            raise NotPermitted(
                f"account {who.name} works for department {who.department}",
                field="department",
                value=request.department,
                policy="SEC-01",
            )
        vault, now = self._store.vault, self._store.clock.now()
        department = request.department
        await self._store.read(
            lambda conn: require_department(conn, vault, department, policy="SMS-01")
        )
        party = request.party or self._rules.own_party
        if party != self._rules.own_party:
            await self._store.read(lambda conn: parties.require(conn, vault, party, at=now))
        return party

    async def _require_listed(self, drafter: Account, department: str) -> None:
        vault, now, account_id = self._store.vault, self._store.clock.now(), drafter.account_id
        if not await self._store.read(
            lambda conn: may_draft(
                conn, vault, account_id=account_id, department=department, at=now
            )
        ):
            raise PolicyRefused(
                "SMS-11",
                f"the drafter is not on the list of department {department}",
                field="drafter",
                value=drafter.name,
                cure="two administrators name a drafter: an authorisation of kind drafter",
            )

    async def _list_owner(self, request: BatchRequest) -> AccountId | None:
        """Who answers for the list: a person of the batch's department, or of all of them."""
        if request.list_owner is None:
            return None
        owner = await self._account(request.list_owner, "list_owner")
        if owner.kind is not AccountKind.PERSON:
            raise PolicyRefused(
                "SMS-02", "a person answers for a list, no machine", field="list_owner"
            )
        if owner.department not in {None, request.department}:
            raise PolicyRefused(
                "SMS-02", "the owner of the list belongs to another department", field="list_owner"
            )
        return owner.account_id

    async def _account(self, name: str, field: str) -> Account:
        vault = self._store.vault

        def find(conn: Connection) -> Account | None:
            return find_account(conn, vault, name) or find_account_named(conn, vault, name)

        try:
            found = await self._store.read(find)
        except TamperedError as error:
            raise PolicyRefused("SEC-01", str(error), field=field) from error
        if found is None or found.state is not AccountState.ACTIVE:
            raise InvalidRequest("must name an active account", field=field, value=name[:64])
        return found

    async def _take_in(
        self,
        who: Principal,
        request: BatchRequest,
        new: NewBatch,
        sift: Sift,
    ) -> None:
        rules = JudgeRules(
            category=new.category,
            template=new.template,
            numbers=self._rules.numbers(half_width_only=True),
            content=self._rules.content,
            smallest_cap=self._rules.quota.smallest,
            salt=self._store.vault.batch_salt(new.batch_id, new.salt_nonce),
        )
        tell = partial(self._staging.__setitem__, new.batch_id)
        staging_ = Staging(self._store, new, spacing=self._spacing(new), tell=tell)
        async with aclosing(sift(rules)) as parts:
            staged = await staging_.run(parts)
        if new.is_loop:
            _require_own(staged)
        _require_list(staged, is_strict=request.is_strict)
        totals = await self._totals(new, staged)
        await self._freeze(who, new, self._frozen(new, totals, staged, request))

    def _spacing(self, new: NewBatch) -> Spacing:
        """What a line of its list must keep to."""
        is_other = new.category == Category.OTHER
        return Spacing(
            rules=self._rules.quota,
            until=new.not_after,
            test_numbers=self._rules.test_numbers if is_other else frozenset(),
            customers_of=self._rules.customers_of(new.category, new.department),
            cards_of=new.department if new.is_loop else None,
        )

    async def _freeze(self, who: Principal, new: NewBatch, end: Frozen) -> None:
        """Its list is whole: what is signed stands from now on, on record."""
        details: dict[str, Json] = {
            "digest": end.digest.hex(),
            "category": new.category,
            "department": new.department,
            "drafter": new.drafter,
            "operator": new.operator,
            "messages": end.n_messages,
            "removed": end.n_removed,
            "policy": "SMS-01",
            "source": who.source,
        }

        def freeze(tx: Tx) -> None:
            if not staging.is_draft(tx.conn, new.batch_id, new.salt_nonce):
                raise Conflict("the batch was closed while its list came in")
            staging.freeze(tx, end)
            text = note_use(
                tx,
                new.batch_id,
                template=new.template,
                n_messages=end.n_messages,
                rule=self._rules.flood,
            )
            tx.audit(who.name, "batch.submit", new.batch_id, {**details, "text": text.hex()})

        await self._store.write(freeze)

    async def _totals(self, new: NewBatch, staged: StagedList) -> Totals:
        """The totals that are signed, with what the batch is reckoned to come to."""
        store, rules = self._store, self._rules
        pool = await store.read(lambda conn: pool_of(store.view(conn), new, rules))
        found = await asyncio.to_thread(
            estimate,
            new,
            pool,
            rules,
            n_segments=staged.totals.n_segments,
            n_messages=staged.totals.n_messages,
            now=store.clock.now(),
        )
        return replace(staged.totals, estimate=found)

    def _frozen(
        self, new: NewBatch, totals: Totals, staged: StagedList, request: BatchRequest
    ) -> Frozen:
        header = BatchHeader(
            site_id=self._rules.approvals.site_id,
            batch_id=new.batch_id,
            category=new.category,
            template=new.template,
            department=new.department,
            party=new.party,
            drafter=new.drafter,
            submitter=new.submitter,
            operator=new.operator,
            not_before=new.not_before,
            not_after=new.not_after,
            card_group=new.card_group,
            starts_itself=new.starts_itself,
            n_lines=staged.n_lines,
            totals=totals,
            chunks=staged.hashes,
            emergency=request.emergency,
            list_owner=None if request.list_owner is None else AccountId(request.list_owner),
            list_source=request.list_source,
            standing=_standing(request),
        )
        octets = encode_header(header)
        return Frozen(
            batch_id=new.batch_id,
            chunks=staged.chunks,
            recipients=staged.recipients,
            header=octets,
            digest=header_digest(octets),
            n_messages=totals.n_messages,
            n_removed=totals.n_removed,
            n_segments=totals.n_segments,
        )

    async def _discard(self, batch_id: BatchId, salt_nonce: bytes | None = None) -> None:
        one = partial(
            staging.discard, batch_id=batch_id, limit=_DISCARD_LINES, salt_nonce=salt_nonce
        )
        while not await self._store.write(one):
            pass


def list_digest(recipients: Sequence[Recipient]) -> bytes:
    """SHA-256 of a short list, as a repeat would give it again."""
    digest = hashlib.sha256()
    for one in recipients:
        line = [one.line_no, one.to, sorted(one.variables.items())]
        digest.update(json.dumps(line).encode() + b"\n")
    return digest.digest()


def _standing(request: BatchRequest) -> Standing | None:
    n = request.runs_per_week
    return None if n is None else Standing(runs_per_week=n)


def _require_own(staged: StagedList) -> None:
    """A standing approval's list is what is sent: no line of it is taken out."""
    first, totals = staged.first_removed, staged.totals
    if not totals.n_removed:
        return
    which = "" if first is None else f"; the first is line {first.line_no}: {first.reason}"
    raise PolicyRefused(
        "SMS-09",
        f"a standing approval holds numbers of the department's own active cards alone, and "
        f"{totals.n_removed} lines are none{which}{_spared(totals) if first is None else ''}",
        field="recipients",
        value="" if first is None else first.masked,
        cure="modemctl batch propose-self-test makes the list from the register",
    )


def _require_list(staged: StagedList, *, is_strict: bool) -> None:
    first, totals = staged.first_removed, staged.totals
    if is_strict and first is not None:
        raise PolicyRefused(
            first.policy,
            f"{totals.n_removed} of {totals.n_removed + totals.n_messages} lines are refused, "
            f"the first is line {first.line_no}: {first.reason}",
            field="recipients",
            value=first.masked,
            cure="correct the list, or submit it leniently to have such lines taken out",
        )
    if not totals.n_messages:
        why = f"; line {first.line_no}: {first.reason}" if first else _spared(totals)
        raise InvalidRequest(
            f"no recipient is left{why}",
            field="recipients",
            policy=first.policy if first else _SPARING,
            cure=_cure(first),
        )


def _cure(first: RemovedLine | None) -> str:
    """A first line of words was meant to name the columns, and names none of numbers."""
    if first is not None and first.reason == Rejection.MISSING_VARIABLE:
        return _COLUMN_CURE
    if first is not None and (first.line_no, first.reason) == (1, Rejection.LETTERS):
        return _HEADING_CURE
    return "correct the list"


def _spared(totals: Totals) -> str:
    """Why nobody is left of a list that has no fault of its own."""
    return "".join(f"; {n} × {reason}" for reason, n in totals.removed_by.items())
