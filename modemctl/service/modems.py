"""Bays and their modems: what is known of them, and what persons want of them.

Source: SIM-07 (the card that belongs into a bay), SIM-14.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modemctl.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    NotPermitted,
    PolicyRefused,
    RequestError,
)
from modemctl.lifecycle import ModemState
from modemctl.model import Bay, DesiredState, Iccid, Topic
from modemctl.policy.console import (
    Allowed,
    Forbidden,
    Unknown,
    judge,
    mask_answer,
    mask_line,
    name_of,
    time_limit,
)
from modemctl.service.pages import Page, decode_text, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, Tx, sims, ties, wishes
from modemctl.store import modems as rows
from modemctl.store.modems import ModemRow
from modemctl.store.signals import Subscription
from modemctl.store.wishes import Wish, WishKind

__all__ = ["ModemState", "ModemView", "Modems", "WishKind", "WishView"]

_PATIENCE: Final = 40.0
"""Seconds that a bay's answer is waited for; to a slow AT command it comes later."""
_LOOK_AGAIN: Final = 2.0  # seconds; covers a lost wake-up
_REASON_MAX: Final = 500
_ICCID: Final = re.compile(r"[0-9A-F]{18,22}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModemView:
    """A bay and what is known of the modem in it; `department` is its card's.

    `expected_iccid` is the card that belongs into the bay: learned, or said by a person (SIM-07).
    `iccid` is the card that is in it; of an absent modem it is `last_iccid`. Signal, operator,
    registration and temperature are those of a READY bay: what was measured earlier is not told.
    """

    bay: str
    node_id: str
    state: ModemState
    reason: str
    state_at: datetime
    desired_state: DesiredState
    port: str | None
    imei: str | None
    manufacturer: str | None
    model: str | None
    revision: str | None
    family: str | None
    iccid: str | None
    last_iccid: str | None
    department: str | None
    expected_iccid: str | None
    signal_dbm: int | None
    operator: str | None
    registration_stat: int | None
    temperature_c: int | None
    breakers: tuple[str, ...]
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WishView:
    """Something asked of a bay; `done_at` is None while it has not answered.

    `time_limit` is how long (seconds) its modem may take once it is its turn, for AT commands.
    """

    wish_id: str
    kind: WishKind
    bay: str
    at: datetime
    done_at: datetime | None
    lines: tuple[str, ...]
    time_limit: float | None = None


class Modems:
    """Shows bays; leaves wishes for the actors and waits for their answers."""

    def __init__(self, store: Store, *, patience: float = _PATIENCE) -> None:
        """`patience` is how long (seconds) a bay's answer is waited for."""
        self._store = store
        self._patience = patience

    async def list_modems(
        self, who: Principal, *, cursor: str | None = None, limit: int = 100
    ) -> Page[ModemView]:
        """Bays by name; an account of a department sees those that hold its cards.

        Raises:
            NotPermitted, InvalidRequest: scope or cursor.
        """
        who.require(Scope.MODEMS_READ)
        after = decode_text(cursor) or None
        found = await self._store.read(
            lambda conn: rows.find(conn, department=who.department, after=after, limit=limit + 1)
        )
        more = encode_cursor(found[limit - 1].bay) if len(found) > limit else None
        return Page(items=[_view(one) for one in found[:limit]], next=more)

    async def show(self, who: Principal, bay: str) -> ModemView:
        """One bay.

        Raises:
            NotPermitted: the scope is missing.
            NotFound: no such bay was ever seen, or it holds another department's card.
        """
        who.require(Scope.MODEMS_READ)
        return await self._store.read(lambda conn: _view(_visible(conn, who, bay)))

    async def pause(self, who: Principal, bay: str, reason: str) -> ModemView:
        """Let a bay send nothing until it is resumed; it goes on receiving.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, reason or bay.
        """
        return await self._set_desired(who, bay, DesiredState.PAUSED, reason)

    async def resume(self, who: Principal, bay: str, reason: str) -> ModemView:
        """Let a paused bay send again.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, reason or bay.
        """
        return await self._set_desired(who, bay, DesiredState.RUN, reason)

    async def bind(self, who: Principal, bay: str, iccid: str | None, reason: str) -> ModemView:
        """Tie a card to a bay (None: the card that is in it now); frees one set aside as moved.

        What tied either of the two to something else is gone (SIM-07).

        Raises:
            NotPermitted, InvalidRequest: scope or reason; what is no ICCID.
            PolicyRefused: SIM-07, the account names no person.
            NotFound: no such bay or card, or of a department that one does not see.
            Conflict: no card is named, and none is in the bay.
        """
        _require_reason(reason)
        named = None if iccid is None else _read_iccid(iccid)

        def act(tx: Tx, found: ModemRow) -> None:
            is_there = found.state is not ModemState.ABSENT
            card = (found.iccid if is_there else None) if named is None else named
            if card is None:
                cure = "name one with --iccid"
                raise Conflict("no card is in the bay", field="bay", value=bay, cure=cure)
            known = ties.read_many(tx.conn, tx.vault, bays=[bay], iccids=[card])
            if sims.read(tx.conn, tx.vault, card) is None:
                raise _no_card(card)
            _require_seen(tx, who, [card, *(tie.iccid for tie in known.by_bay.values())])
            tie = known.by_bay.get(found.bay)
            if tie is not None and tie.is_intact and tie.is_firm and tie.iccid == card:
                return
            ties.bind(tx, found.bay, Iccid(card), by=who.name)
            details = {"iccid": card, "reason": reason.strip(), "source": who.source}
            details |= {"policy": "SIM-07"} | _before(known, found.bay, Iccid(card))
            tx.audit(who.name, "bay.bind", bay, {**details})

        return await self._tie(who, bay, act)

    async def unbind(self, who: Principal, bay: str, reason: str) -> ModemView:
        """Tie no card to a bay any more; where the bank learns, the next fit one is learned.

        Raises:
            NotPermitted, InvalidRequest, PolicyRefused, NotFound: as `bind`.
        """
        _require_reason(reason)

        def act(tx: Tx, found: ModemRow) -> None:
            known = ties.read_many(tx.conn, tx.vault, bays=[bay]).by_bay.get(found.bay)
            if known is None:
                return
            _require_seen(tx, who, [known.iccid])
            ties.unbind(tx, found.bay)
            details = {"before": known.iccid, "reason": reason.strip(), "source": who.source}
            tx.audit(who.name, "bay.unbind", bay, {**details, "policy": "SIM-07"})

        return await self._tie(who, bay, act)

    async def forget(self, who: Principal, bay: str, reason: str) -> ModemView:
        """Take a bay off the list whose socket is given up; its last view. A modem brings it back.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, reason or bay.
            Conflict: it is not absent, is paused, has a card of its own, or left doubt behind.
        """
        who.require(Scope.MODEMS_OPERATE)
        _require_reason(reason)

        def act(tx: Tx) -> ModemView:
            found = _visible(tx.conn, who, bay)
            _require_forgettable(found, rows.n_open_segments(tx.conn, found.bay))
            rows.forget(tx, found.bay)
            details = {"reason": reason.strip(), "source": who.source, "node": found.node_id}
            tx.audit(who.name, "bay.forget", bay, {**details, "imei": found.imei or ""})
            return _view(found)

        return await self._store.write(act)

    async def ask(self, who: Principal, bay: str, kind: WishKind, reason: str) -> WishView:
        """Restart a modem, look at its card again, or try a failed bay again.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, reason or bay.
            Conflict: the bay's state does not allow it, or nobody served the wish.
        """
        who.require(Scope.MODEMS_OPERATE)
        assert kind is not WishKind.AT, "commands have a check of their own"
        _require_reason(reason)
        return await self._ask(who, bay, kind, body=None, note=reason.strip())

    async def command(
        self, who: Principal, bay: str, command: str, *, patience: float = _PATIENCE
    ) -> WishView:
        """Send one AT command that reads, or with `modems:configure` one that sets or scans.

        `lines` are the modem's answer, numbers masked without `pii:read`; where it did not come
        within `patience` (seconds), `answer` gives it later. What was asked, what was refused and
        what came of it goes to the audit log.

        Raises:
            NotPermitted, NotFound: scope or bay.
            PolicyRefused: nobody may send it.
            InvalidRequest: not on the list of what may be sent by hand.
            Conflict: no modem is there, the link failed, or nobody served the wish.
        """
        who.require(Scope.MODEMS_OPERATE)
        judgement = judge(command)
        if isinstance(judgement, Allowed):
            if judgement.changes:
                await self._require_configure(who, bay, command)
            return await self._ask(
                who, bay, WishKind.AT, body=judgement.text, note=mask_line(judgement.text),
                patience=patience,
            )  # fmt: skip
        policy = judgement.policy if isinstance(judgement, Forbidden) else "SMS-01"
        await self._note_refused(who, bay, command, policy)
        raise _refusal(judgement)

    async def answer(
        self, who: Principal, bay: str, wish_id: str, *, patience: float = _PATIENCE
    ) -> WishView:
        """The answer to an AT command that one sent; waits for it up to `patience` seconds.

        Raises:
            NotPermitted: the scope is missing.
            NotFound: no such bay, or this account asked nothing of this id there.
            Conflict: the link failed, or nobody served it.
        """
        who.require(Scope.MODEMS_OPERATE)

        def look(conn: Connection) -> Wish | None:
            _visible(conn, who, bay)
            return wishes.read(conn, self._store.vault, wish_id)

        wish = await self._store.read(look)
        asked = None if wish is None else (wish.kind, wish.bay, wish.requested_by)
        if asked != (WishKind.AT, bay, who.account_id):
            raise NotFound("no such command of yours", field="wish_id", value=wish_id[:80])
        with self._store.signals.subscribe(Topic.WISHES) as bell:
            return await self._await(who, wish_id, bell, patience)

    async def _require_configure(self, who: Principal, bay: str, command: str) -> None:
        try:
            who.require(Scope.MODEMS_CONFIGURE)
        except NotPermitted:
            await self._note_refused(who, bay, command, "SEC-01")
            raise

    async def _note_refused(self, who: Principal, bay: str, command: str, policy: str) -> None:
        """Without the values: what was typed may be a PIN."""

        def act(tx: Tx) -> None:
            found = _visible(tx.conn, who, bay)
            details = {"what": name_of(command), "outcome": "refused", "policy": policy}
            tx.audit(who.name, "modem.at.refused", found.bay, details | {"source": who.source})

        await self._store.write(act)

    async def _set_desired(
        self, who: Principal, bay: str, desired: DesiredState, reason: str
    ) -> ModemView:
        who.require(Scope.MODEMS_OPERATE)
        _require_reason(reason)

        def act(tx: Tx) -> ModemView:
            before = _visible(tx.conn, who, bay)
            if rows.set_desired(tx, before.bay, desired):
                details = {"desired": str(desired), "reason": reason.strip(), "source": who.source}
                tx.audit(who.name, "modem.desired", before.bay, details)
            return _view(_visible(tx.conn, who, bay))

        return await self._store.write(act)

    async def _tie(
        self, who: Principal, bay: str, act: Callable[[Tx, ModemRow], None]
    ) -> ModemView:
        """Run `act` on a bay that the account sees; the bay afterwards."""
        who.require(Scope.MODEMS_OPERATE)
        who.require_person("SIM-07")

        def change(tx: Tx) -> ModemView:
            act(tx, _visible(tx.conn, who, bay))
            return _view(_visible(tx.conn, who, bay))

        return await self._store.write(change)

    async def _ask(
        self, who: Principal, bay: str, kind: WishKind, *, body: str | None, note: str,
        patience: float = _PATIENCE,
    ) -> WishView:  # fmt: skip
        def act(tx: Tx) -> str:
            found = _visible(tx.conn, who, bay)
            if kind in {WishKind.AT, WishKind.RESET}:
                _require_there(found)
            wish_id = wishes.ask(tx, kind=kind, bay=found.bay, body=body, by=who.account_id)
            details = {"what": note, "source": who.source, "wish_id": wish_id}
            tx.audit(who.name, f"modem.{kind}", bay, details)
            return wish_id

        with self._store.signals.subscribe(Topic.WISHES) as bell:
            return await self._await(who, await self._store.write(act), bell, patience)

    async def _await(
        self, who: Principal, wish_id: str, bell: Subscription, patience: float
    ) -> WishView:
        deadline = asyncio.get_running_loop().time() + min(patience, self._patience)
        while True:
            wish = await self._store.read(
                lambda conn: wishes.read(conn, self._store.vault, wish_id)
            )
            assert wish is not None, "wishes are not deleted"
            left = deadline - asyncio.get_running_loop().time()
            if wish.done_at is not None or left <= 0:
                return _answered(who, wish)
            await bell.wait(min(left, _LOOK_AGAIN))


def _refusal(judgement: Forbidden | Unknown) -> RequestError:
    if isinstance(judgement, Forbidden):
        return PolicyRefused(judgement.policy, judgement.rule, field="command", cure=judgement.cure)
    return InvalidRequest(
        "must be a command that may be sent by hand",
        field="command",
        cure="one that reads, such as ATI, AT+CSQ, AT+CREG? or AT+CMGF=?; docs/cli.md",
        policy="SMS-01",
    )


def _visible(conn: Connection, who: Principal, bay: str) -> ModemRow:
    found = rows.read(conn, Bay(bay))
    if found is None or not who.sees(found.department):
        raise NotFound(
            "no such bay", field="bay", value=bay[:80], cure="modemctl modems lists them"
        )
    return found


def _require_there(found: ModemRow) -> None:
    """Refuse at once what no modem is there for: nobody would serve it."""
    if found.is_absent_for_a_reason:
        raise Conflict(
            f"no modem is there: {found.reason}"[:200],
            field="bay",
            value=found.bay,
            cure="plug it in; modemctl modems show says more",
        )


def _require_forgettable(found: ModemRow, n_open: int) -> None:
    """Refuse to forget what somebody still counts on."""
    command = f"modemctl modems {{}} {found.bay} --reason WHY"
    if not found.is_absent_for_a_reason:
        why, cure = f"it is {found.state}", "take the modem out, or the port from bank.ports"
    elif found.expected_iccid is not None:
        why, cure = f"card {found.expected_iccid} belongs into it", command.format("unbind")
    elif n_open:
        why, cure = f"it left {n_open} segments open", "modemctl doubt; settle those in doubt"
    elif found.desired_state is DesiredState.PAUSED:
        why, cure = "it is paused: who forgets it forgets that too", command.format("resume")
    else:
        return
    raise Conflict(f"the bay is still needed: {why}", field="bay", value=found.bay, cure=cure)


def _require_seen(tx: Tx, who: Principal, iccids: Sequence[str]) -> None:
    """Refuse what concerns another department's card; what no register knows is nobody's."""
    for card in sims.read_many(tx.conn, tx.vault, iccids).values():
        if not who.sees(card.department):
            raise _no_card(card.iccid)


def _no_card(iccid: str) -> NotFound:
    return NotFound(
        "no such card in the register",
        field="iccid",
        value=iccid[:80],
        cure="modemctl sims lists them; new cards: modemctl sims import cards.csv",
        policy="SIM-07",
    )


def _read_iccid(text: str) -> Iccid:
    iccid = text.strip().upper()
    if not _ICCID.fullmatch(iccid):
        raise InvalidRequest(
            "must be an ICCID, 18 to 22 digits (some cards have letters A to F)",
            field="iccid",
            value=text[:40],
            cure="it is printed on the card; modemctl sims lists those of the register",
            policy="SIM-07",
        )
    return Iccid(iccid)


def _before(known: ties.Ties, bay: Bay, iccid: Iccid) -> dict[str, str]:
    of_bay, of_card = known.by_bay.get(bay), known.by_card.get(iccid)
    before = {} if of_bay is None else {"before": str(of_bay.iccid)}
    return before | ({} if of_card is None else {"from_bay": str(of_card.bay)})


def _view(row: ModemRow) -> ModemView:
    is_there, is_on_air = row.state is not ModemState.ABSENT, row.state is ModemState.READY
    return ModemView(
        bay=row.bay,
        node_id=row.node_id,
        state=row.state,
        reason=row.reason,
        state_at=row.state_at,
        desired_state=row.desired_state,
        port=row.port,
        imei=row.imei,
        manufacturer=row.manufacturer,
        model=row.model,
        revision=row.revision,
        family=row.family,
        iccid=row.iccid if is_there else None,
        last_iccid=None if is_there else row.iccid,
        department=row.department,
        expected_iccid=row.expected_iccid,
        signal_dbm=row.signal_dbm if is_on_air else None,
        operator=row.operator if is_on_air else None,
        registration_stat=row.registration_stat if is_on_air else None,
        temperature_c=row.temperature_c if is_on_air else None,
        breakers=row.breakers,
        updated_at=row.updated_at,
    )


def _answered(who: Principal, wish: Wish) -> WishView:
    if wish.error is not None:
        raise Conflict(
            wish.error,
            field="bay",
            value=wish.bay,
            cure=f"modemctl modems show {wish.bay} tells its state, and what to do where it failed",
        )
    lines = tuple((wish.result or "").splitlines())
    if Scope.PII_READ not in who.scopes:
        lines = mask_answer(wish.body or "", lines)
    return WishView(
        wish_id=wish.wish_id,
        kind=wish.kind,
        bay=wish.bay,
        at=wish.at,
        done_at=wish.done_at,
        lines=lines,
        time_limit=time_limit(wish.body or "") if wish.kind is WishKind.AT else None,
    )


def _require_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > _REASON_MAX:
        raise InvalidRequest(f"must have 1 to {_REASON_MAX} characters", field="reason")
