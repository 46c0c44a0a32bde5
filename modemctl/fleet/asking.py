"""What is left on a card: its carrier is asked beside the sending, while the modem has no work.

The answer takes seconds; the channel is free meanwhile, so that nothing to be sent waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from typing import Final

from drivers.errors import CommandError, DriverError, ProtocolError
from drivers.interface import Driver
from drivers.ussd_reply import UssdReply
from modemctl.errors import StoreError
from modemctl.fleet.checking import is_same_card
from modemctl.fleet.judging import tells_card
from modemctl.fleet.mailbox import Mailbox
from modemctl.fleet.ussd import words
from modemctl.lifecycle import ModemEvent
from modemctl.model import Iccid
from modemctl.policy.balances import Answered, Outcome, Question, amount_in, shown
from modemctl.sms import pack_ussd
from modemctl.store import Store, balances, wishes
from modemctl.store.balances import Reading
from modemctl.store.wishes import Answer, Wish
from modemctl.telemetry import Telemetry

_log = logging.getLogger(__name__)

PATIENCE: Final = 60.0
"""Seconds that a network may take to answer; it ends a silent session itself about then."""

_LEFT: Final = "the bay left its work before an answer came"
_OTHER: Final = "the bay holds another card"
_UNREADABLE: Final = "the card does not tell which it is"
_NO_AMOUNT: Final = "no amount is found in the answer by the pattern of balances.carriers"
_STATES: Final = {
    2: "the network ended it without an answer",
    4: "the network does not know such questions",
    5: "the network took too long",
}


class Asker:
    """One stay in READY: asks one question after the other; `close` answers what is left."""

    def __init__(
        self,
        store: Store,
        telemetry: Telemetry,
        driver: Driver,
        group: asyncio.TaskGroup,
        *,
        mailbox: Mailbox,
        iccid: Iccid,
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._driver = driver
        self._group = group
        self._mailbox = mailbox
        self._iccid = iccid
        self._waiting: deque[Wish] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    def take(self, wish: Wish) -> None:
        """Keep a question for when the modem is idle."""
        self._waiting.append(wish)

    def begin(self) -> None:
        """The modem is idle: ask what waits."""
        if self._waiting and self._task is None and not self._is_stopping:
            self._task = self._group.create_task(self._work(), name="balance")

    def stop(self) -> None:
        """The bay leaves its work: wait for no answer any more."""
        self._is_stopping = True
        self._driver.give_up_ussd()

    async def close(self) -> None:
        """Wait for the end of what is under way, answer the rest."""
        self.stop()
        if self._task is not None:
            await asyncio.wait([self._task])
        try:
            while self._waiting:
                await self._decline(self._waiting.popleft(), _LEFT)
        except StoreError as error:  # they are given up by and by
            _log.warning("balance.not_saved", extra={"error": str(error)})

    async def _work(self) -> None:
        try:
            while self._waiting and not self._is_stopping:
                await self._serve(self._waiting.popleft())
        except StoreError as error:
            _log.warning("balance.not_saved", extra={"error": str(error)})
        finally:
            self._task = None

    async def _serve(self, wish: Wish) -> None:
        if not await self._store.read(lambda conn: balances.is_open(conn, wish.wish_id)):
            return  # given up, because the modem was at work for so long
        question = balances.question_of(wish)
        if question.iccid != self._iccid:
            await self._decline(wish, _OTHER)
            return
        answered = await self._ask(question)
        if isinstance(answered, str):
            await self._decline(wish, answered)
            return
        reading = Reading(wish=wish, question=question, answered=answered)
        await self._store.write_in_set(balances.note, reading)
        self._telemetry.count("modemctl_balance_readings_total", outcome=answered.outcome.value)

    async def _ask(self, question: Question) -> Answered | str:
        """What the network says; why it was not asked, or not heard out."""
        driver, code = self._driver, question.code
        try:
            is_same = await is_same_card(driver, self._iccid)
            if not is_same:
                return _UNREADABLE if is_same is None else _OTHER
            if self._is_stopping:
                return _LEFT  # who asks now would hear of no stop
            reply = await driver.ask_ussd(code, packed=pack_ussd(code), timeout=PATIENCE)
        except DriverError as error:
            is_told = isinstance(error, CommandError | ProtocolError)
            if not is_told or tells_card(error):
                event = ModemEvent.SIM_REMOVED if tells_card(error) else ModemEvent.OUT_OF_STEP
                self._mailbox.interrupt(event, f"while asking for the balance: {error}")
            return Answered(outcome=Outcome.REFUSED, error=str(error))
        if reply is None:
            silent = Answered(outcome=Outcome.SILENT, error=f"no answer within {PATIENCE:.0f} s")
            return _LEFT if self._is_stopping else silent
        return _read(reply, question)

    async def _decline(self, wish: Wish, error: str) -> None:
        await self._store.write_in_set(wishes.answer, Answer(wish_id=wish.wish_id, error=error))


def _read(reply: UssdReply, question: Question) -> Answered:
    text = words(reply)
    if not text and reply.state in _STATES:
        return Answered(outcome=Outcome.REFUSED, error=_STATES[reply.state])
    amount = amount_in(text, re.compile(question.pattern))
    if amount is None:
        return Answered(outcome=Outcome.NO_AMOUNT, error=_NO_AMOUNT, text=text)
    return Answered(outcome=Outcome.READ, amount=shown(amount))
