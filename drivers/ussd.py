"""A USSD question to the network and its answer. Source: TS 27.007 §7.15.

The command ends at once; the answer comes as `+CUSD` by itself, seconds later, and meanwhile other
commands go their way. A session that is left open would block the next question, so each ends.

A network may push a text by itself, and another client of the modem may ask. What comes before the
request's line and "another client responded" are no answers. A text that is pushed while the
question is open has the very form of an answer, and nothing on the wire tells it apart. A phone may
refuse it as busy then (TS 24.090 §6); who sees an odd answer asks again.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from drivers.at import values
from drivers.at.command import secret
from drivers.dialogue import Dialogue
from drivers.errors import CommandError
from drivers.ussd_reply import UssdCoding, UssdHeard, UssdReply, read

REQUEST_TIMEOUT: Final = 20.0
"""Seconds for the `OK`; the channel is held for so long, and sends nothing."""

_CODE = re.compile(r"[0-9*#]{1,32}")
_PACKED_MODE: Final = "AT^USSDMODE=1"
_PLAIN_SETS: Final = {"GSM": UssdCoding.GSM, "IRA": UssdCoding.TEXT}
_SETS: Final = {**_PLAIN_SETS, "UCS2": UssdCoding.UCS2, "HEX": UssdCoding.HEX}
_OPEN: Final = 1  # the network waits for an answer
_OTHERS: Final = 3  # another client of the modem has responded


class UssdDialogue(Dialogue):
    """The part of a driver that asks codes."""

    async def ask_ussd(self, code: str, *, packed: bytes, timeout: float) -> UssdReply | None:
        """Ask a code; the first answer ends it, a menu is left, silence is called off."""
        if not _CODE.fullmatch(code):
            raise ValueError("a USSD code has digits, * and # alone")
        self._ussd = heard = asyncio.Queue[UssdHeard | None]()  # what came before is nobody's
        try:
            coding = await self._request(code, packed)
            reply = await _answer(heard, timeout)
        finally:
            self._ussd = None
        if reply is None or reply.state == _OPEN:
            await self._try("AT+CUSD=2")
        return None if reply is None else read(reply, coding)

    def give_up_ussd(self) -> None:
        """Whoever waits for an answer to a code waits no more."""
        if self._ussd is not None:
            self._ussd.put_nowait(None)

    async def _request(self, code: str, packed: bytes) -> UssdCoding:
        """Send the code, packed where the family wants it so; how the answer is coded."""
        if self._family.ussd_packed:
            await self._try(_PACKED_MODE)  # another program may have chosen text
            try:
                await self._send_request(packed.hex().upper())
            except CommandError as error:
                if not error.may_be_unknown:
                    raise
            else:
                return UssdCoding.PACKED
        coding = await self._character_set()
        match coding:
            case UssdCoding.UCS2:
                code = code.encode("utf-16-be").hex().upper()
            case UssdCoding.HEX:  # digits, * and # are the same in the default alphabet
                code = code.encode("ascii").hex().upper()
        await self._send_request(code)
        return coding

    async def _send_request(self, text: str) -> None:
        if self._ussd is not None:
            _forget(self._ussd)  # it answers nothing that was asked
        # No answer with this prefix belongs to it: a reply may come before the `OK`.
        await self._run(
            secret(f'AT+CUSD=1,"{text}",15', "AT+CUSD=1,<code>", timeout=REQUEST_TIMEOUT)
        )

    async def _character_set(self) -> UssdCoding:
        """The set in which texts are told: one of plain characters, where it can be had."""
        told = await self._told("AT+CSCS?")
        now = values.answer_fields(told[0])[0].upper() if told else "GSM"
        if now in _PLAIN_SETS:
            return _PLAIN_SETS[now]
        for name, coding in _PLAIN_SETS.items():
            if await self._try(f'AT+CSCS="{name}"'):
                return coding
        return _SETS.get(now, UssdCoding.TEXT)


async def _answer(heard: asyncio.Queue[UssdHeard | None], timeout: float) -> UssdHeard | None:
    """The first that may be ours; None after so many seconds, or where it was given up."""
    try:
        async with asyncio.timeout(timeout) as limit:
            while (one := await heard.get()) is not None and one.state == _OTHERS:
                continue
            return one
    except TimeoutError:
        if not limit.expired():
            raise
        return None


def _forget(heard: asyncio.Queue[UssdHeard | None]) -> None:
    """Leave out what came so far; that it was given up stays."""
    known = [heard.get_nowait() for _ in range(heard.qsize())]
    if None in known:
        heard.put_nowait(None)
