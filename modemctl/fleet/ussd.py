"""What a network's USSD reply says, in words."""

from __future__ import annotations

from typing import Final

from drivers.ussd_reply import UssdForm, UssdReply
from modemctl.sms import decode_gsm7, unpack_ussd

LONGEST: Final = 200
"""Characters of a reply that count: 182 septets or 80 characters of UCS-2 are lawful."""


def words(reply: UssdReply) -> str:
    """The text of a reply, of at most `LONGEST` characters; empty where none came.

    Source: TS 23.038 §5, §6.1.2.3.1.
    """
    octets = reply.octets[: 4 * LONGEST]
    match reply.form:
        case UssdForm.PACKED:
            text = unpack_ussd(octets)
        case UssdForm.SEPTETS:
            text = decode_gsm7(bytes(octet & 0x7F for octet in octets))
        case UssdForm.UCS2:
            text = octets.decode("utf-16-be", "replace")
        case UssdForm.LATIN1:
            text = octets.decode("latin-1")
    return text[:LONGEST]
