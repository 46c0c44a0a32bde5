"""Balances of cards: asked by hand, by the bays' test, or by themselves once a day (SIM-15)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Final

from modemctl.config.balances import BalanceSettings, BalancesSettings
from modemctl.errors import Conflict, RequestError, StoreError
from modemctl.lifecycle import ModemState
from modemctl.model import AccountId, Bay, DesiredState, Iccid, Topic
from modemctl.policy.balances import Outcome, Question, is_due, state_of
from modemctl.policy.console import mask_line
from modemctl.service.principal import Principal, Scope
from modemctl.service.sim_views import unknown
from modemctl.store import Connection, Store, Tx, balances, modems, wishes
from modemctl.store.balances import Kept, Standing
from modemctl.store.modems import ModemRow

__all__ = ["BalanceAsked", "BalanceView", "Balances", "Outcome", "ask_due", "of_bay"]

_PATIENCE: Final = 90.0
_LOOK_EVERY: Final = 60.0
_LOOK_AGAIN: Final = 1.0
_AT_ONCE: Final = 20  # questions that a look leaves: networks and modems are spared
_ASK_AGAIN: Final = timedelta(minutes=30)  # where nobody served a question: the bay was at work
_MOST_BAYS: Final = 10_000
_ITSELF: Final = AccountId("")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceView:
    """One attempt to read a card's balance; `amount` is decimal text, null where none was read.

    `state` is `fine`, `low`, `spent` (nothing is left, or is owed) or `unread`; `by_hand`: a
    person asked.
    """

    iccid: str
    bay: str
    at: datetime
    outcome: Outcome
    state: str
    amount: str | None
    currency: str
    error: str | None
    by_hand: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceAsked:
    """What a card's carrier answered now. `text` only where no amount was found in it."""

    reading: BalanceView
    text: str | None = field(repr=False)


class Balances:
    """Asks for balances and shows them; without a code in the settings nobody is asked."""

    def __init__(
        self,
        store: Store,
        settings: BalancesSettings,
        *,
        zone: tzinfo,
        patience: float = _PATIENCE,
    ) -> None:
        """`zone`: whose days count; `patience`: how long (seconds) an answer is waited for."""
        self._store = store
        self._settings = settings
        self._zone = zone
        self._patience = patience
        self._asked_at: dict[Iccid, datetime] = {}

    async def ask(self, who: Principal, iccid: str) -> BalanceAsked:
        """Ask a card's carrier now, once its modem is idle.

        Raises:
            NotPermitted, NotFound: scope or card.
            Conflict: its carrier's code is not in the settings, the card is in no bay that is
                ready, or no answer came in time.
        """
        who.require(Scope.MODEMS_OPERATE)

        def leave(tx: Tx) -> str:
            card, rule = self._askable(tx.conn, who, iccid)
            bay = _ready_bay(tx.conn, card.iccid)
            wish_id = balances.ask(tx, _question(card.iccid, rule), bay, by=who.account_id)
            facts = {"bay": bay, "wish_id": wish_id, "policy": "SIM-15", "source": who.source}
            tx.audit(who.name, "sim.balance", card.iccid, {**facts})
            return wish_id

        wish_id = await self._store.write(leave)
        await _wait(self._store, [wish_id], self._patience)
        wish = await self._store.read(lambda conn: wishes.read(conn, self._store.vault, wish_id))
        assert wish is not None, "it was just left, and is kept for years"
        answered = balances.answer_of(wish)
        if answered is None:
            raise Conflict(
                wish.error or "no answer yet: the modem is at work, or the network is slow",
                field="iccid",
                value=iccid,
                cure=f"modemctl sims balance {iccid} shows it once it came",
            )
        (last,) = await self._store.read(lambda conn: balances.of_card(conn, iccid, limit=1))
        text = answered.text
        if text is not None and Scope.PII_READ not in who.scopes:
            text = mask_line(text)
        return BalanceAsked(reading=_view(last), text=text)

    async def of_card(
        self, who: Principal, iccid: str, *, limit: int = 100
    ) -> Sequence[BalanceView]:
        """The last attempts on a card, newest first.

        Raises:
            NotPermitted, NotFound: scope or card.
        """
        who.require(Scope.SIMS_READ)

        def look(conn: Connection) -> Sequence[Kept]:
            card = _seen(conn, who, iccid)
            return balances.of_card(conn, card.iccid, limit=limit)

        return [_view(one) for one in await self._store.read(look)]

    async def latest(self, who: Principal, *, only_low: bool = False) -> Sequence[BalanceView]:
        """The last attempt on each card that was ever asked about, by ICCID.

        `only_low`: those of which little or nothing is left.

        Raises:
            NotPermitted: the scope is missing.
        """
        who.require(Scope.SIMS_READ)
        found = await self._store.read(balances.all_standings)
        return [
            _view(one.last)
            for one in found
            if one.last is not None and who.sees(one.department)
            if one.last.is_low or not only_low
        ]

    async def keep(self) -> None:
        """Ask for what is due, until cancelled."""
        while True:
            try:
                await self.look()
            except (StoreError, RequestError) as error:
                _log.warning("balance.failed", extra={"error": str(error)})
            await asyncio.sleep(_LOOK_EVERY)

    async def look(self) -> int:
        """Leave questions for cards that are due, some at a time; how many.

        Raises:
            StoreError: the database cannot be used now.
        """
        if not self._settings.carriers or not self._store.is_caretaker:
            return 0
        now = self._store.clock.now()
        spared = {card for card, at in self._asked_at.items() if at > now - _ASK_AGAIN}

        def leave(tx: Tx) -> Mapping[Bay, str]:
            rows = modems.find(tx.conn, department=None, after=None, limit=_MOST_BAYS)
            rows = [row for row in rows if row.iccid not in spared]
            rows = [row for row in rows if row.desired_state is DesiredState.RUN]
            asked = ask_due(tx, self._settings, rows, zone=self._zone, most=_AT_ONCE)
            self._asked_at = {card: self._asked_at[card] for card in spared}
            cards = {row.bay: row.iccid for row in rows}
            self._asked_at |= {card: now for bay in asked if (card := cards[bay]) is not None}
            return asked

        return len(await self._store.write(leave))

    def _askable(
        self, conn: Connection, who: Principal, iccid: str
    ) -> tuple[Standing, BalanceSettings]:
        card = _seen(conn, who, iccid)
        rule = self._settings.of(card.carrier)
        if rule is None:
            raise Conflict(
                "its carrier's code is not in the settings",
                field="iccid",
                value=iccid,
                cure=_code_cure(card.carrier),
                policy="SIM-15",
            )
        return card, rule


def _code_cure(carrier: str | None) -> str:
    if carrier:
        return f'set code in [balances.carriers."{carrier}"]'
    return (
        "the register names no carrier of this card: set code in [balances.carriers.default], "
        "or import its carrier"
    )


def ask_due(
    tx: Tx, settings: BalancesSettings, rows: Sequence[ModemRow], *, zone: tzinfo, most: int
) -> Mapping[Bay, str]:
    """Leave questions for the cards in these bays that are due; bay → wish, `most` at once."""
    if not settings.carriers:
        return {}
    busy = balances.open_bays(tx.conn)
    ready = {
        row.iccid: row.bay
        for row in rows
        if row.state is ModemState.READY and row.iccid is not None and row.bay not in busy
    }
    asked: dict[Bay, str] = {}
    for card in balances.standings(tx.conn, ready).values():
        rule = settings.of(card.carrier)
        last_at = None if card.last is None else card.last.at
        if rule is None or not is_due(last_at, tx.now, days=settings.days, zone=zone):
            continue
        if len(asked) < most:
            bay = ready[card.iccid]
            asked[bay] = balances.ask(tx, _question(card.iccid, rule), bay, by=_ITSELF)
    return asked


def of_bay(
    known: Mapping[Iccid, Standing], settings: BalancesSettings, row: ModemRow
) -> tuple[str | None, Sequence[str]]:
    """The balance of a bay's card in words, and what is wrong with it; nothing where not asked."""
    card = None if row.iccid is None else known.get(row.iccid)
    if card is None or settings.of(card.carrier) is None:
        return None, ()
    shown = None if card.read is None else f"{card.read.amount} {card.read.currency}"
    if card.last is None:
        return shown, ["balance not read yet"] if row.state is ModemState.READY else []
    if card.last.outcome is not Outcome.READ:
        return shown, [f"balance not read: {card.last.error}"]
    words = {"low": "balance low", "spent": "balance spent"}
    state = state_of(card.last.amount, is_low=card.last.is_low)
    return shown, [f"{words[state]}: {shown}"] if state in words else []


async def _wait(store: Store, wish_ids: Collection[str], patience: float) -> None:
    """Until all are answered, or patience (seconds) ends."""
    with store.signals.subscribe(Topic.WISHES) as bell, suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while await store.read(lambda conn: wishes.unanswered(conn, wish_ids)):
                await bell.wait(_LOOK_AGAIN)


def _seen(conn: Connection, who: Principal, iccid: str) -> Standing:
    card = balances.standings(conn, [iccid]).get(Iccid(iccid))
    if card is None or not who.sees(card.department):
        raise unknown(iccid)
    return card


def _ready_bay(conn: Connection, iccid: Iccid) -> Bay:
    rows = modems.find(conn, department=None, after=None, limit=_MOST_BAYS)
    for row in rows:
        if row.iccid == iccid and row.state is ModemState.READY:
            return row.bay
    raise Conflict(
        "the card is in no bay that is ready",
        field="iccid",
        value=iccid,
        cure="modemctl modems shows where each bay stands",
    )


def _question(iccid: Iccid, rule: BalanceSettings) -> Question:
    return Question(
        iccid=iccid,
        code=rule.code,
        pattern=rule.pattern,
        currency=rule.currency,
        low=rule.low,
    )


def _view(one: Kept) -> BalanceView:
    return BalanceView(
        iccid=one.iccid,
        bay=one.bay,
        at=one.at,
        outcome=one.outcome,
        state=state_of(one.amount, is_low=one.is_low),
        amount=one.amount,
        currency=one.currency,
        error=one.error,
        by_hand=bool(one.asked_by),
    )
