"""The three TPDUs of the product: SUBMIT, DELIVER, STATUS-REPORT. Source: TS 23.040 §9.2.

Octets here never include the service centre's address; drivers carry that one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modemctl.sms.alphabet import Unencodable
from modemctl.sms.coding import Encoding, decode_dcs
from modemctl.sms.fields import (
    Address,
    MalformedTpdu,
    Reader,
    decode_enhanced,
    decode_relative,
    decode_time,
    encode_address,
    encode_relative,
    encode_time,
    read_address,
)
from modemctl.sms.reports import ReportVerdict, report_verdict
from modemctl.sms.userdata import UserData, decode_user_data, encode_user_data

_MTI_MASK: Final = 0x03
_MTI_DELIVER: Final = 0x00
_MTI_SUBMIT: Final = 0x01
_MTI_STATUS_REPORT: Final = 0x02
_BIT_NO_MORE: Final = 0x04
_BIT_REJECT_DUPLICATES: Final = 0x04
_BIT_LOOP_PREVENTION: Final = 0x08
_BIT_REPORT: Final = 0x20
_BIT_HEADER: Final = 0x40
_BIT_REPLY_PATH: Final = 0x80
_VPF_MASK: Final = 0x18
_VPF_RELATIVE: Final = 0x10
_VPF_ABSOLUTE: Final = 0x18


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """A message on its way out.

    `validity` is a length (relative) or a point in time (absolute); None leaves it to the service
    centre. `dcs` is the raw octet, `encoding` what it means. Source: TS 23.040 §9.2.2.2.
    """

    recipient: Address
    user_data: UserData
    mr: int = 0
    pid: int = 0
    dcs: int = 0
    validity: timedelta | datetime | None = None
    wants_report: bool = False
    rejects_duplicates: bool = False
    has_reply_path: bool = False

    @property
    def encoding(self) -> Encoding:
        """What the data coding scheme says."""
        return decode_dcs(self.dcs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """A message that came in. `scts`: the service centre's own time and offset, None if no time.

    Source: TS 23.040 §9.2.2.1.
    """

    sender: Address
    scts: datetime | None
    user_data: UserData
    pid: int = 0
    dcs: int = 0
    has_more_waiting: bool = False
    is_loop_prevented: bool = False
    is_report_due: bool = False
    has_reply_path: bool = False

    @property
    def encoding(self) -> Encoding:
        """What the data coding scheme says."""
        return decode_dcs(self.dcs)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """What became of a message that we sent: `mr` and `recipient` say which.

    `scts` is when the service centre took it, `discharged_at` when `st` came true; None if no
    time. `is_for_command`: it answers an SMS-COMMAND. Source: TS 23.040 §9.2.2.3.
    """

    mr: int
    recipient: Address
    scts: datetime | None
    discharged_at: datetime | None
    st: int
    has_more_waiting: bool = False
    is_loop_prevented: bool = False
    is_for_command: bool = False
    pid: int | None = None
    dcs: int | None = None
    user_data: UserData | None = None

    @property
    def verdict(self) -> ReportVerdict:
        """What `st` means for the segment."""
        return report_verdict(self.st)


def encode_submit(submit: Submit) -> bytes:
    """The TPDU's octets, without service centre address.

    Raises:
        Unencodable: a value that its field cannot hold.
    Source: TS 23.040 §9.2.2.2.
    """
    for value in (submit.mr, submit.pid, submit.dcs):
        if not 0 <= value <= 255:
            raise Unencodable("reference, protocol identifier and coding scheme are octets")
    vpf, validity = _encode_validity(submit.validity)
    first = _MTI_SUBMIT | vpf
    first |= _BIT_REJECT_DUPLICATES if submit.rejects_duplicates else 0
    first |= _BIT_REPORT if submit.wants_report else 0
    first |= _BIT_HEADER if submit.user_data.header else 0
    first |= _BIT_REPLY_PATH if submit.has_reply_path else 0
    return (
        bytes((first, submit.mr))
        + encode_address(submit.recipient)
        + bytes((submit.pid, submit.dcs))
        + validity
        + encode_user_data(submit.user_data, submit.encoding)
    )


def _encode_validity(validity: timedelta | datetime | None) -> tuple[int, bytes]:
    if validity is None:
        return 0, b""
    if isinstance(validity, datetime):
        return _VPF_ABSOLUTE, encode_time(validity)
    return _VPF_RELATIVE, bytes((encode_relative(validity),))


def decode(octets: bytes, *, from_network: bool) -> Deliver | StatusReport | Submit:
    """Read a TPDU by its TP-MTI, whatever announced it.

    From the network the reserved type 11 is a DELIVER. What we (or a card's user) stored to send
    is read with `from_network=False` and is a SUBMIT.

    Raises:
        MalformedTpdu: anything else.
    Source: TS 23.040 §9.2.3.1.
    """
    reader = Reader(octets)
    first = reader.octet("the first octet")
    mti = first & _MTI_MASK
    if not from_network:
        if mti != _MTI_SUBMIT:
            raise MalformedTpdu("the message type is not SUBMIT")
        return _decode_submit(first, reader)
    if mti == _MTI_STATUS_REPORT:
        return _decode_status_report(first, reader)
    if mti == _MTI_SUBMIT:
        raise MalformedTpdu("a SUBMIT-REPORT is no message")
    return _decode_deliver(first, reader)


def decode_submit(octets: bytes) -> Submit:
    """Read a SUBMIT, to show what was or would be sent.

    Raises:
        MalformedTpdu: it is none.
    Source: TS 23.040 §9.2.2.2.
    """
    message = decode(octets, from_network=False)
    assert isinstance(message, Submit)
    return message


def _read_user_data(reader: Reader, dcs: int, first: int) -> UserData:
    udl = reader.octet("the user data length")
    return decode_user_data(
        udl, reader.rest(), encoding=decode_dcs(dcs), has_header=bool(first & _BIT_HEADER)
    )


def _decode_deliver(first: int, reader: Reader) -> Deliver:
    sender = read_address(reader, "the sender's address")
    pid = reader.octet("the protocol identifier")
    dcs = reader.octet("the coding scheme")
    scts = decode_time(reader.take(7, "the service centre's time"))
    return Deliver(
        sender=sender,
        pid=pid,
        dcs=dcs,
        scts=scts,
        user_data=_read_user_data(reader, dcs, first),
        has_more_waiting=not first & _BIT_NO_MORE,
        is_loop_prevented=bool(first & _BIT_LOOP_PREVENTION),
        is_report_due=bool(first & _BIT_REPORT),
        has_reply_path=bool(first & _BIT_REPLY_PATH),
    )


def _decode_submit(first: int, reader: Reader) -> Submit:
    mr = reader.octet("the message reference")
    recipient = read_address(reader, "the recipient's address")
    pid = reader.octet("the protocol identifier")
    dcs = reader.octet("the coding scheme")
    validity = _read_validity(first & _VPF_MASK, reader)
    return Submit(
        mr=mr,
        recipient=recipient,
        pid=pid,
        dcs=dcs,
        validity=validity,
        user_data=_read_user_data(reader, dcs, first),
        wants_report=bool(first & _BIT_REPORT),
        rejects_duplicates=bool(first & _BIT_REJECT_DUPLICATES),
        has_reply_path=bool(first & _BIT_REPLY_PATH),
    )


def _read_validity(vpf: int, reader: Reader) -> timedelta | datetime | None:
    if not vpf:
        return None
    if vpf == _VPF_RELATIVE:
        return decode_relative(reader.octet("the validity period"))
    octets = reader.take(7, "the validity period")
    return decode_time(octets) if vpf == _VPF_ABSOLUTE else decode_enhanced(octets)


def _decode_status_report(first: int, reader: Reader) -> StatusReport:
    mr = reader.octet("the message reference")
    recipient = read_address(reader, "the recipient's address")
    scts = decode_time(reader.take(7, "the service centre's time"))
    discharged_at = decode_time(reader.take(7, "the discharge time"))
    st = reader.octet("the status")
    pid, dcs, user_data = _read_report_options(first, reader)
    return StatusReport(
        mr=mr,
        recipient=recipient,
        scts=scts,
        discharged_at=discharged_at,
        st=st,
        has_more_waiting=not first & _BIT_NO_MORE,
        is_loop_prevented=bool(first & _BIT_LOOP_PREVENTION),
        is_for_command=bool(first & _BIT_REPORT),
        pid=pid,
        dcs=dcs,
        user_data=user_data,
    )


def _read_report_options(
    first: int, reader: Reader
) -> tuple[int | None, int | None, UserData | None]:
    """What may follow the status; damage there must not cost the report, so it ends the reading.

    Source: TS 23.040 §9.2.3.27: bit 7 of TP-PI announces another one.
    """
    pid = dcs = user_data = None
    try:
        indicator = more = reader.octet("the parameter indicator") if reader.has_more else 0
        while more & 0x80:
            more = reader.octet("the parameter indicator")
        if indicator & 0x01:
            pid = reader.octet("the protocol identifier")
        if indicator & 0x02:
            dcs = reader.octet("the coding scheme")
        if indicator & 0x04:
            user_data = _read_user_data(reader, dcs or 0, first)
    except MalformedTpdu:
        pass
    return pid, dcs, user_data
