"""Messages as they are shown, as PDUs or as text. Source: TS 27.005 §3.1, §3.4, §4; §3.5 of
at-dialects (result formats).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from simulator import pdu
from simulator.cards.storage import Status, Stored
from simulator.commands.messaging import is_ucs2
from simulator.modem import Modem

WORDS: Final = {
    Status.UNREAD: "REC UNREAD",
    Status.READ: "REC READ",
    Status.UNSENT: "STO UNSENT",
    Status.SENT: "STO SENT",
}
_REPORT: Final = 2
_SUBMIT: Final = 1


def arrived(modem: Modem, tpdu: bytes) -> str:
    """`+CMT` or `+CDS` with what follows on the next line."""
    persona = modem.persona
    is_report = tpdu[0] & 3 == _REPORT
    if modem.settings["+CMGF"] != "0":
        try:
            return _arrived_text(modem, tpdu, is_report=is_report)
        except pdu.PduError:
            pass  # What is no message has no text: its octets are shown.
    head = persona.report_line if is_report else persona.message_line
    return f"{head.format(length=len(tpdu))}\r\n{modem.mailbox.with_sca(tpdu)}"


def _arrived_text(modem: Modem, tpdu: bytes, *, is_report: bool) -> str:
    if is_report:
        return f"+CDS: {_report(modem, tpdu)}"
    got = pdu.decode_deliver(tpdu)
    tail = ""
    if modem.settings["+CSDH"] == "1":
        tail = f",{got.origin.toa},{_details(modem, tpdu, got.pid, got.data)}"
    head = f"+CMT: {_quoted(modem, got.origin.number)},,{_time(got.scts)}{tail}"
    return f"{head}\r\n{_body(modem, got.data)}"


def stored(modem: Modem, message: Stored, *, is_listed: bool) -> str:
    """What follows `+CMGR: `, or the index of `+CMGL:` (`is_listed`)."""
    if modem.settings["+CMGF"] != "0":
        try:
            return _stored_text(modem, message, is_listed=is_listed)
        except pdu.PduError:
            pass  # What is no message has no text: its octets are shown.
    pdu_hex = (message.sca + message.tpdu).hex().upper()
    return f"{message.status.value},,{len(message.tpdu)}\r\n{pdu_hex}"


def _stored_text(modem: Modem, message: Stored, *, is_listed: bool) -> str:
    word = f'"{WORDS[message.status]}"'
    tpdu = message.tpdu
    kind = tpdu[0] & 3
    if kind == _REPORT:
        return f"{word},{_report(modem, tpdu)}"
    is_detailed = modem.settings["+CSDH"] == "1"
    if kind == _SUBMIT:
        sent = pdu.decode_submit(tpdu)
        party, pid, data, when = sent.destination, sent.pid, sent.data, ""
    else:
        got = pdu.decode_deliver(tpdu)
        party, pid, data, when = got.origin, got.pid, got.data, f",{_time(got.scts)}"
    tail = ""
    if is_detailed and is_listed:
        tail = f"{'' if when else ','},{party.toa},{data.length}"
    elif is_detailed:
        tail = f",{party.toa},{_details(modem, tpdu, pid, data)}"
    return f"{word},{_quoted(modem, party.number)},{when}{tail}\r\n{_body(modem, data)}"


def _details(modem: Modem, tpdu: bytes, pid: int, data: pdu.UserData) -> str:
    """First octet, PID, DCS, service centre and its type, length: what `+CSDH=1` adds."""
    centre = modem.card.subscription.service_centre if modem.card is not None else ""
    kind = 145 if centre.startswith("+") else 129
    return f"{tpdu[0]},{pid},{data.dcs},{_quoted(modem, centre)},{kind},{data.length}"


def _report(modem: Modem, tpdu: bytes) -> str:
    report = pdu.decode_status_report(tpdu)
    who = f"{_quoted(modem, report.recipient.number)},{report.recipient.toa}"
    times = f"{_time(report.scts)},{_time(report.discharged)}"
    return f"{tpdu[0]},{report.mr},{who},{times},{report.st}"


def _quoted(modem: Modem, text: str) -> str:
    return f'"{text.encode("utf-16-be").hex().upper() if is_ucs2(modem) else text}"'


def _time(moment: datetime) -> str:
    offset = moment.utcoffset()
    quarters = int(offset.total_seconds()) // 900 if offset else 0
    return f'"{moment:%y/%m/%d,%H:%M:%S}{quarters:+03d}"'


def _body(modem: Modem, data: pdu.UserData) -> str:
    text = data.text
    # Source: TS 27.005 §3.1 <data>: hex pairs for 8-bit, UCS-2 and whatever has a header.
    if text is None or data.has_header:
        return data.octets.hex().upper()
    if is_ucs2(modem) or pdu.coding(data.dcs) is pdu.Coding.UCS2:
        return text.encode("utf-16-be", "surrogatepass").hex().upper()
    return text
