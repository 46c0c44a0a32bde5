"""Messages that came in, as far as an account may see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from modemctl.errors import InvalidRequest, NotFound
from modemctl.model import mask_number
from modemctl.policy.incoming import InboxKind, may_hold_code
from modemctl.policy.numbers import NumberRules, Rejection, normalise
from modemctl.service.pages import Page, decode_number, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store
from modemctl.store import inbox as rows
from modemctl.store.inbox import Concat, Message

__all__ = ["Concat", "Inbox", "InboxKind", "InboxView"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxView:
    """One message. Sender and text need `pii:read`: else the one is masked, the other None.

    The text of a verification code, and of a part of one, needs `secrets:read` as well (SMS-12).

    `scts` is the service centre's time with its own offset. `joined_id` is the message that a
    part belongs to. `is_intact` is false where the row was altered behind our back, `is_erased`
    true where the sender's data was erased (SEC-08).
    """

    inbox_id: int
    iccid: str | None
    department: str | None
    bay: str
    received_at: datetime
    sender: str | None
    scts: str | None
    text: str | None = field(repr=False)
    kind: InboxKind
    is_repeat: bool
    concat: Concat | None
    joined_id: int | None
    is_intact: bool
    is_erased: bool


class Inbox:
    """Looks up what came in; an account of a department sees what its cards received."""

    def __init__(self, store: Store, *, numbers: NumberRules) -> None:
        self._store = store
        self._numbers = numbers

    async def list_messages(
        self,
        who: Principal,
        *,
        department: str | None = None,
        iccid: str | None = None,
        number: str | None = None,
        kind: InboxKind | None = None,
        since: datetime | None = None,
        with_parts: bool = False,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[InboxView]:
        """Messages, newest first; parts of texts that are whole only if asked for.

        Raises:
            NotPermitted, InvalidRequest: scope, number or cursor.
        """
        who.require(Scope.INBOX_READ)
        if department is not None and not who.sees(department):
            return Page(items=[], next=None)
        query = rows.Query(
            department=who.department or department,
            iccid=iccid,
            number=None if number is None else sender_of(number, self._numbers),
            kind=kind,
            since=_aware(since),
            with_parts=with_parts,
        )
        before = None if cursor is None else decode_number(cursor)
        vault = self._store.vault
        found = await self._store.read(
            lambda conn: rows.find(conn, vault, query, before=before, limit=limit + 1)
        )
        more = encode_cursor(found[limit - 1].inbox_id) if len(found) > limit else None
        return Page(items=[_view(one, who) for one in found[:limit]], next=more)

    async def show(self, who: Principal, inbox_id: int) -> InboxView:
        """One message.

        Raises:
            NotPermitted: the scope is missing.
            NotFound: none, or of another department's card.
        """
        who.require(Scope.INBOX_READ)
        vault = self._store.vault
        found = await self._store.read(lambda conn: rows.read(conn, vault, inbox_id))
        if found is None or not who.sees(found.department):
            raise NotFound("no such message", field="inbox_id", value=str(inbox_id))
        return _view(found, who)


def sender_of(number: str, rules: NumberRules) -> str:
    """What a searched party is stored as: E.164 for a number, else the text itself."""
    text = number.strip()
    if not text:
        raise InvalidRequest("must not be empty", field="number")
    found = normalise(text, rules)
    return text if isinstance(found, Rejection) else found


def _aware(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise InvalidRequest("must have an offset, such as 2026-11-21T08:00:00Z", field="since")
    return moment


def _may_read(one: Message, who: Principal) -> bool:
    if Scope.SECRETS_READ in who.scopes:
        return True
    if one.kind is InboxKind.PART and one.whole_kind is None:
        # Nobody knows what the other parts say: a number that could be a code counts as one.
        return one.text is None or not may_hold_code(one.text)
    return InboxKind.CODE not in {one.kind, one.whole_kind}


def _view(one: Message, who: Principal) -> InboxView:
    is_open = Scope.PII_READ in who.scopes
    sender = one.sender
    if sender is not None and not is_open:
        sender = mask_number(sender)
    return InboxView(
        inbox_id=one.inbox_id,
        iccid=one.iccid,
        department=one.department,
        bay=one.bay,
        received_at=one.received_at,
        sender=sender,
        scts=one.scts,
        text=one.text if is_open and _may_read(one, who) else None,
        kind=one.kind,
        is_repeat=one.is_repeat,
        concat=one.concat,
        joined_id=one.joined_id,
        is_intact=one.is_intact,
        is_erased=one.is_erased,
    )
