"""Message storage on the wire: `+CPMS`, `+CMGL`, `+CMGR`, `+CMTI`, PDU lines; pure."""

from __future__ import annotations

import re

from drivers.at.values import answer_fields, arguments, integer
from drivers.errors import ProtocolError
from drivers.interface import StoredMessage


def memories(line: str) -> list[tuple[str, ...]]:
    """The choices of `+CPMS=?`, one tuple an argument. Source: TS 27.005 §3.2.2.

    `("SM","ME"),("SM","ME"),("SM")` → three tuples; a choice of one may lack its parentheses.
    Wavecom Q2xxx wraps two in one more pair. Names like `SM_P` are of memories that hold no SMS.
    """
    text = arguments(line)
    if text.startswith("((") and text.endswith("))"):
        text = text[1:-1]
    if not text:
        return []
    groups = re.sub(r"\([^()]*\)", lambda group: group[0].replace(",", " "), text).split(",")
    return [tuple(re.findall(r"\b[A-Z]{2}\b", group)) for group in groups]


def n_used(line: str, memory: str) -> int | None:
    """How many slots of the memory that is read are used, of `+CPMS?`; None where not told.

    Source: TS 27.005 §3.2.2 `+CPMS: <mem1>,<used1>,<total1>,…`.
    """
    parts = answer_fields(line)
    used = integer(parts[1]) if len(parts) > 1 else None
    is_told = parts[0].upper() == memory and used is not None and used >= 0
    return used if is_told else None


def indication(line: str) -> tuple[str, int] | None:
    """Memory and index of `+CMTI: "SM",3` or `+CDSI`; None where they cannot be read.

    Quotes may lack (Wavecom), a third field may follow (SIM800: `"MMS PUSH"`).
    """
    parts = answer_fields(line)
    index = integer(parts[1]) if len(parts) > 1 else None
    memory = parts[0].upper()
    if index is None or index < 0 or not re.fullmatch(r"[A-Z]{2}", memory):
        return None
    return memory, index


def split_pdu(text: str) -> tuple[bytes, bytes]:
    """Cut a PDU line into service centre address (without its length octet) and TPDU.

    Source: TS 27.005 §4 (`<pdu>` = SCA as in TS 24.011 + TPDU).
    Raises `ProtocolError` where the line is no hex or shorter than its address.
    """
    try:
        octets = bytes.fromhex(text)
    except ValueError as error:
        raise ProtocolError("PDU is not hex", f"<{len(text)} characters>") from error
    n_sca = octets[0] if octets else 0
    if len(octets) < n_sca + 2:
        raise ProtocolError("PDU shorter than its address", f"<{len(octets)} octets>")
    return octets[1 : 1 + n_sca], octets[1 + n_sca :]


def is_whole(head: str, payload: str) -> bool:
    """Whether a PDU line has the octets that its header announces, where that can be read.

    Source: TS 27.005 §3.4.2 `<length>`: octets of the TPDU.
    """
    n_octets = integer(answer_fields(head)[-1])
    try:
        return n_octets is None or len(split_pdu(payload)[1]) == n_octets
    except ProtocolError:
        return False


def listed(memory: str, head: str, payload: str) -> StoredMessage:
    """One message of `+CMGL: index,stat,[alpha],length` and its PDU line. Source: §3.4.2."""
    parts = answer_fields(head)
    index = integer(parts[0])
    if index is None or len(parts) < 3:
        raise ProtocolError("no message index", f"{len(parts)} fields")
    return _message(memory, index, parts[1], payload)


def read(memory: str, index: int, head: str, payload: str) -> StoredMessage:
    """The message of `+CMGR: stat,[alpha],length` and its PDU line. Source: §3.4.3."""
    return _message(memory, index, answer_fields(head)[0], payload)


def is_text(status: str) -> bool:
    """Whether a status is a text mode's (`REC READ`): who says so ignores `+CMGF=0`."""
    return status.upper().startswith(("REC ", "STO "))


def _message(memory: str, index: int, status: str, payload: str) -> StoredMessage:
    if is_text(status):
        raise ProtocolError("messages are told as text, not as PDUs", "+CMGL: …")
    sca, tpdu = split_pdu(payload)
    # An unreadable status is taken as unread: the message is looked at, never passed over.
    return StoredMessage(
        memory=memory, index=index, status=integer(status) or 0, sca=sca, tpdu=tpdu
    )
