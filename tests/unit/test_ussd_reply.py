"""USSD replies off the wire: packed, UCS-2, plain, said rightly and wrongly."""

import pytest

from drivers.ussd_reply import UssdCoding, UssdForm, UssdHeard, UssdReply, read
from modemctl.fleet.ussd import LONGEST, words
from modemctl.sms import pack_ussd

CHINESE = "您的余额为12.50元"
UCS2 = CHINESE.encode("utf-16-be").hex().upper()
LATIN_UCS2 = "Balance 12.50".encode("utf-16-be").hex().upper()


def told(text: str | None, dcs: int | None, coding: UssdCoding) -> str:
    return words(read(UssdHeard(state=0, text=text, dcs=dcs), coding))


@pytest.mark.parametrize(
    ("text", "dcs", "coding", "expected"),
    [
        ("Balance 12.50", 15, UssdCoding.TEXT, "Balance 12.50"),
        ("Balance 12.50", None, UssdCoding.GSM, "Balance 12.50"),
        ("\x0312.50", 15, UssdCoding.GSM, "¥12.50"),  # the default alphabet's yen
        ("caf\xe9 5", 15, UssdCoding.GSM, "café 5"),  # not in it: the modem has its own mind
        (UCS2, 72, UssdCoding.GSM, CHINESE),
        (UCS2, 72, UssdCoding.PACKED, CHINESE),
        (UCS2, 15, UssdCoding.UCS2, CHINESE),
        (UCS2, 15, UssdCoding.TEXT, CHINESE),  # UCS-2 although it says otherwise
        (LATIN_UCS2, None, UssdCoding.TEXT, "Balance 12.50"),
        ("7A68" + UCS2, 0x11, UssdCoding.GSM, CHINESE),  # behind its language
        ("Balance 12.50", 72, UssdCoding.TEXT, "Balance 12.50"),  # says UCS-2, writes text
        ("1250", 15, UssdCoding.TEXT, "1250"),  # digits, no octets
        ("20261122", 15, UssdCoding.TEXT, "20261122"),
        ("62616C203132", 68, UssdCoding.TEXT, "bal 12"),  # 8 bit
        ("42616C203132", 15, UssdCoding.HEX, "Bal 12"),
        (pack_ussd("Balance 12.50").hex().upper(), 15, UssdCoding.PACKED, "Balance 12.50"),
        (pack_ussd("1234567").hex().upper(), 15, UssdCoding.PACKED, "1234567"),
        ("Balance 12.50", 15, UssdCoding.PACKED, "Balance 12.50"),  # plain, though asked packed
        (None, None, UssdCoding.TEXT, ""),
        ("", 15, UssdCoding.PACKED, ""),
    ],
)
def test_reply_is_read_as_it_was_meant(
    text: str | None, dcs: int | None, coding: UssdCoding, expected: str
) -> None:
    assert told(text, dcs, coding) == expected


def test_reply_keeps_its_state_and_shows_no_text() -> None:
    reply = read(UssdHeard(state=1, text="secret", dcs=15), UssdCoding.TEXT)
    assert reply == UssdReply(state=1, form=UssdForm.LATIN1, octets=b"secret")
    assert "secret" not in repr(reply)
    assert "secret" not in repr(UssdHeard(state=1, text="secret"))


def test_over_long_reply_is_cut() -> None:
    assert len(told("x" * 5000, 15, UssdCoding.TEXT)) == LONGEST
