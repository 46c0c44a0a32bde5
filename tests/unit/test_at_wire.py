"""What the wire log may show of each event."""

from __future__ import annotations

import pytest

from drivers.at.command import Final, asking, secret
from drivers.at.session import (
    Aligned,
    AnswerLine,
    Completed,
    EchoSeen,
    Event,
    Expired,
    GaveUp,
    PromptUp,
    Stray,
    Urc,
)
from drivers.at.states import State
from drivers.at.urcs import SHARED
from drivers.at.wire import MAX_SHOWN, showable

OK = Final(text="OK", is_ok=True)
CSQ = asking("AT+CSQ")
PIN = secret('AT+CPIN="4711"', "AT+CPIN=<pin>")
LINE = (AnswerLine(text="+CSQ: 20,99"),)

SHOWN: list[tuple[Event, str]] = [
    (Completed(command=CSQ, lines=LINE, final=OK), "answer='+CSQ: 20,99' final='OK'"),
    (Completed(command=PIN, lines=LINE, final=OK), "answer=<1 lines> final='OK'"),
    (Expired(command=PIN, phase=State.BUSY), "expired=AT+CPIN=<pin> phase=busy"),
    (Aligned(dropped=("+CMGS: 1",)), "aligned dropped=<1 lines>"),
    (GaveUp(dropped=()), "gaveup dropped=<0 lines>"),
    (Stray(text="4711"), "stray=<4 characters>"),
    (PromptUp(), "promptup"),
    (EchoSeen(), "echoseen"),
    (Urc(head='+CMTI: "SM",3'), "urc='+CMTI: \"SM\",3'"),
    (Urc(head='+CLIP: "+4917",145'), "urc='+CLIP:'<private>"),
    (Urc(head="+CMT: ,24", payload="00" * 32), "urc='+CMT:'<private> <tpdu 32 octets>"),
    (Urc(head="^NEW: +4917", is_known=False), "urc='^NEW:'<private>"),
    (Urc(head="dear customer", is_known=False), "urc=<13 characters>"),
    (Urc(head="Your code is 4711: tell nobody", is_known=False), "urc=<30 characters>"),
    (Urc(head="+491721234567: call back", is_known=False), "urc=<24 characters>"),
]


@pytest.mark.parametrize(("event", "shown"), SHOWN, ids=[shown for _, shown in SHOWN])
def test_event_is_shown_without_its_secrets(event: Event, shown: str) -> None:
    assert showable(event, SHARED) == shown


def test_foreign_text_is_cut_and_escaped() -> None:
    final = Final(text="+CME ERROR: \x1b[31m\n" + "x" * 500, is_ok=False)
    shown = showable(Completed(command=CSQ, lines=(), final=final), SHARED)
    assert "\x1b" not in shown
    assert "\n" not in shown
    assert len(shown) < MAX_SHOWN + 40
