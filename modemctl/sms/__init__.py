"""The SMS codec: TS 23.038 and TS 23.040, pure. Octets in, values out, and back."""

from __future__ import annotations

from modemctl.sms.alphabet import (
    Alphabet,
    Unencodable,
    decode_gsm7,
    encode_gsm7,
    forcing_characters,
    is_gsm7,
    n_septets,
    pack,
    pack_ussd,
    unpack,
    unpack_ussd,
)
from modemctl.sms.coding import Encoding, MessageWaiting, WaitingKind, dcs_for, decode_dcs
from modemctl.sms.fields import MAX_VALIDITY, MIN_VALIDITY, Address, MalformedTpdu
from modemctl.sms.reassembly import Part, PartKey, join, may_belong, missing, part_of
from modemctl.sms.reports import ReportVerdict, report_title, report_verdict
from modemctl.sms.segments import (
    MAX_SEGMENTS,
    SegmentPlan,
    SegmentText,
    plan,
    segment,
    submits,
)
from modemctl.sms.tpdu import (
    Deliver,
    StatusReport,
    Submit,
    decode,
    decode_submit,
    encode_submit,
)
from modemctl.sms.userdata import Concat, Element, Ports, UserData

__all__ = [
    "MAX_SEGMENTS",
    "MAX_VALIDITY",
    "MIN_VALIDITY",
    "Address",
    "Alphabet",
    "Concat",
    "Deliver",
    "Element",
    "Encoding",
    "MalformedTpdu",
    "MessageWaiting",
    "Part",
    "PartKey",
    "Ports",
    "ReportVerdict",
    "SegmentPlan",
    "SegmentText",
    "StatusReport",
    "Submit",
    "Unencodable",
    "UserData",
    "WaitingKind",
    "dcs_for",
    "decode",
    "decode_dcs",
    "decode_gsm7",
    "decode_submit",
    "encode_gsm7",
    "encode_submit",
    "forcing_characters",
    "is_gsm7",
    "join",
    "may_belong",
    "missing",
    "n_septets",
    "pack",
    "pack_ussd",
    "part_of",
    "plan",
    "report_title",
    "report_verdict",
    "segment",
    "submits",
    "unpack",
    "unpack_ussd",
]
