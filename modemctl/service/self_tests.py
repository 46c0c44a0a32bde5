"""The regular test of every bay: port, card, registration, signal, balance, SMS (SIM-18)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

import msgspec

from modemctl.config.balances import BalancesSettings
from modemctl.errors import InvalidRequest, NotFound, RequestError, StoreError
from modemctl.lifecycle import ModemState
from modemctl.model import AccountId, Bay, Iccid, Topic
from modemctl.policy.duties import TURNS, Duty, is_due
from modemctl.policy.loops import Loop, LoopState
from modemctl.policy.numbers import NumberRules, Rejection, normalise
from modemctl.policy.self_tests import Measured, Subject
from modemctl.policy.self_tests import faults as faults_of
from modemctl.service.balances import ask_due, of_bay
from modemctl.service.duty_views import DutyView, duty_view
from modemctl.service.loop_tests import NO_APPROVAL, LoopTests
from modemctl.service.principal import Principal, Scope
from modemctl.store import (
    Connection,
    Store,
    Tx,
    duties,
    modems,
    register_faults,
    self_tests,
    wishes,
)
from modemctl.store.balances import standings
from modemctl.store.modems import ModemRow
from modemctl.store.self_tests import Found, Kept
from modemctl.store.wishes import Wish, WishKind

__all__ = ["DutyView", "SelfTestView", "SelfTests", "SmsView"]

_PATIENCE: Final = 120.0
_LOOK_EVERY: Final = 60.0
_LOOK_AGAIN: Final = 1.0
_ITSELF: Final = "modemctl"
_MOST_BAYS: Final = 10_000
_NOBODY: Final = BalancesSettings()

_log = logging.getLogger(__name__)
_measured: Final = msgspec.json.Decoder(Measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsView:
    """What came of the card's last message to itself; `seconds` is how long it took to arrive."""

    state: LoopState
    told: str
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestView:
    """One test of one bay; `faults` is empty where all is well, `answer_ms` null without answer.

    `balance`: what was read last of its card, null where it is not asked.
    """

    bay: Bay
    at: datetime
    done_by: str
    state: str
    registration: str | None
    signal_dbm: int | None
    answer_ms: int | None
    balance: str | None
    faults: tuple[str, ...]
    sms: SmsView


class SelfTests:
    """Tests bays when asked, and all of them each week by itself."""

    def __init__(
        self,
        store: Store,
        *,
        numbers: NumberRules,
        zone: tzinfo,
        balances: BalancesSettings = _NOBODY,
        patience: float = _PATIENCE,
        loops: LoopTests | None = None,
    ) -> None:
        """Without `loops` no message is ever sent."""
        self._store = store
        self._loops = loops
        self._balances = balances
        self._numbers = numbers
        self._zone = zone
        self._patience = patience
        self._owes_sms = False  # of the week's test, until quiet hours are over

    async def run(
        self, who: Principal, bays: Collection[str] = (), *, sends_sms: bool = False
    ) -> Sequence[SelfTestView]:
        """Test these bays, or all; waits until their modems answered, two minutes at most.

        With `sends_sms` the cards of each department that has a standing approval write to
        themselves; what came of it `latest` tells.

        Raises:
            NotPermitted, NotFound: scope or bay.
            InvalidRequest: messages of some bays only: a run is a department's.
        """
        who.require(Scope.MODEMS_OPERATE)
        if sends_sms and bays:
            raise InvalidRequest("messages go to all cards of a department", field="bays")

        def chosen(conn: Connection) -> Sequence[ModemRow]:
            rows = _rows(conn, who)
            missing = set(bays) - {row.bay for row in rows}
            if missing:
                name = min(missing)
                cure = "modemctl modems lists them"
                raise NotFound("no such bay", field="bays", value=name[:80], cure=cure)
            return [row for row in rows if not bays or row.bay in bays]

        rows = await self._store.read(chosen)
        is_whole = not bays and who.department is None
        found = await self._test(rows, by=who.name, account=who.account_id, is_whole=is_whole)
        why = await self._send(by=who.name, department=who.department) if sends_sms else None
        return await self._views(found, why)

    async def latest(self, who: Principal, *, only_faulty: bool = False) -> Sequence[SelfTestView]:
        """What the last test of each bay found, by bay.

        Raises:
            NotPermitted: the scope is missing.
        """
        who.require(Scope.MODEMS_READ)
        rows = await self._store.read(self_tests.latest)
        views = await self._views([row for row in rows if who.sees(row.department)])
        return [one for one in views if one.faults or not only_faulty]

    async def list_duties(self, who: Principal) -> Sequence[DutyView]:
        """The week's test, and whether it waits.

        Raises:
            NotPermitted: the scope is missing.
        """
        who.require(Scope.MODEMS_READ)
        known = await self._store.read(duties.read_all)
        now = self._store.clock.now()
        duty = Duty.SELF_TEST
        return [duty_view(duty, TURNS[duty], known.get(duty), now, self._zone)]

    async def keep(self) -> None:
        """Test all bays each week, until cancelled."""
        while True:
            try:
                await self.look()
            except (StoreError, RequestError) as error:
                _log.warning("self_test.failed", extra={"error": str(error)})
            await asyncio.sleep(_LOOK_EVERY)

    async def look(self) -> None:
        """Test all bays if their week's test is due.

        Raises:
            StoreError: the database cannot be used now; it stays due.
        """
        if not self._store.is_caretaker:
            return
        await self._store.write(duties.begin)
        known = await self._store.read(duties.read_all)
        now, turn = self._store.clock.now(), TURNS[Duty.SELF_TEST]
        if is_due(turn, known[Duty.SELF_TEST].done_at, now, self._zone):
            rows = await self._store.read(lambda conn: _rows(conn, None))
            await self._test(rows, by=_ITSELF, account=AccountId(""), is_whole=True)
            self._owes_sms = self._loops is not None
        if self._owes_sms and self._loops is not None and not self._loops.is_quiet:
            self._owes_sms = False  # a run that failed is not made twice
            await self._send(by=_ITSELF, department=None)

    async def _send(self, *, by: str, department: str | None) -> Mapping[str, str]:
        return {} if self._loops is None else await self._loops.run(by=by, department=department)

    async def _views(
        self, rows: Sequence[Kept], why: Mapping[str, str] | None = None
    ) -> Sequence[SelfTestView]:
        """`why`: department → why nothing was sent just now; None: nobody asked for it."""
        loops = {} if self._loops is None else await self._loops.results()
        return [_view(row, _loop(row, loops, why)) for row in rows]

    async def _test(
        self, rows: Sequence[ModemRow], *, by: str, account: AccountId, is_whole: bool
    ) -> Sequence[Kept]:
        present = [row for row in rows if row.state is not ModemState.ABSENT]

        def ask(tx: Tx) -> Mapping[Bay, str]:
            return {
                row.bay: wishes.ask(tx, kind=WishKind.TEST, bay=row.bay, body=None, by=account)
                for row in present
            }

        asked = await self._store.write(ask)
        questions = await self._store.write(
            lambda tx: ask_due(tx, self._balances, present, zone=self._zone, most=_MOST_BAYS)
        )
        await self._wait([*asked.values(), *questions.values()])

        def keep(tx: Tx) -> None:
            now = {row.bay: row for row in _rows(tx.conn, None)}
            cards = standings(tx.conn, {row.iccid for row in now.values() if row.iccid})
            found = [
                _found(
                    now.get(row.bay, row),
                    _answer(tx, asked.get(row.bay)),
                    of_bay(cards, self._balances, now.get(row.bay, row)),
                )
                for row in rows
            ]
            self_tests.add(tx, found, by=by)
            self._compare_numbers(tx, asked)
            facts = {"n_bays": len(found), "n_faulty": sum(bool(one.faults) for one in found)}
            if is_whole:
                duties.note_done(tx, Duty.SELF_TEST, by=by, details=facts)
            else:
                tx.audit(by, "self_test", "bays", {**facts, "policy": TURNS[Duty.SELF_TEST].policy})

        await self._store.write(keep)
        tested = {row.bay for row in rows}
        kept = await self._store.read(self_tests.latest)
        return [row for row in kept if row.found.bay in tested]

    def _compare_numbers(self, tx: Tx, asked: Mapping[Bay, str]) -> None:
        """The numbers that stand on cards, with those of the register (SIM-17)."""
        for wish_id in asked.values():
            measured = _measured_by(_answer(tx, wish_id))
            if measured is not None and measured.iccid is not None and measured.number is not None:
                number = normalise(measured.number, self._numbers)
                if not isinstance(number, Rejection):
                    register_faults.note_number(tx, measured.iccid, number)

    async def _wait(self, wish_ids: Collection[str]) -> None:
        """Until all are answered, or patience ends."""
        with self._store.signals.subscribe(Topic.WISHES) as bell, suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while await self._store.read(lambda conn: wishes.unanswered(conn, wish_ids)):
                    await bell.wait(_LOOK_AGAIN)


def _rows(conn: Connection, who: Principal | None) -> Sequence[ModemRow]:
    department = None if who is None else who.department
    return modems.find(conn, department=department, after=None, limit=_MOST_BAYS)


def _answer(tx: Tx, wish_id: str | None) -> Wish | None:
    return None if wish_id is None else wishes.read(tx.conn, tx.vault, wish_id)


def _measured_by(wish: Wish | None) -> Measured | None:
    return None if wish is None or wish.result is None else _measured.decode(wish.result)


def _found(row: ModemRow, wish: Wish | None, left: tuple[str | None, Sequence[str]]) -> Found:
    measured = _measured_by(wish)
    error = None
    if wish is not None and measured is None:
        error = wish.error or "no answer within two minutes"
    subject = Subject(
        state=row.state, reason=row.reason, iccid=row.iccid, measured=measured, error=error
    )
    return Found(
        bay=row.bay,
        iccid=row.iccid,
        state=row.state.value,
        registration=None if measured is None else measured.registration,
        signal_dbm=None if measured is None else measured.signal_dbm,
        answer_ms=None if measured is None else measured.answer_ms,
        balance=left[0],
        faults=[*faults_of(subject), *left[1]],
    )


def _loop(row: Kept, loops: Mapping[Iccid, Loop], why: Mapping[str, str] | None) -> Loop:
    """The card's last message to itself; none where none was sent, though it was asked for."""
    told = None if why is None else why.get(row.department or "", NO_APPROVAL)
    known = loops.get(Iccid(row.found.iccid or ""))
    if told or known is None:
        return Loop(state=LoopState.NONE, told=told or LoopState.NONE)
    return known


def _view(row: Kept, loop: Loop) -> SelfTestView:
    found = row.found
    faults = (*found.faults, f"SMS to itself {loop.told}") if loop.is_fault else found.faults
    return SelfTestView(
        bay=found.bay,
        at=row.at,
        done_by=row.done_by,
        state=found.state,
        registration=found.registration,
        signal_dbm=found.signal_dbm,
        answer_ms=found.answer_ms,
        balance=found.balance,
        faults=tuple(faults),
        sms=SmsView(state=loop.state, told=loop.told, seconds=loop.seconds),
    )
