"""The one table of error codes: what each means, whom it blames, whether it proves no send.

Sources: CMS 1–127 RP-cause, TS 24.011 §8.2.5.4 and annex E.2; 128–255 TP-FCS, TS 23.040
§9.2.3.22; 300–511 TS 27.005 §3.2.5; 512 and above each vendor's own; CME TS 27.007 §9.2.

`proves_no_send` is asked only after the payload was handed over (before that, nothing can have
left). A refusal by network or service centre is proof. A code that stands for "no answer came"
(332, 350, 500, some vendors' own), for "you sent that already" (197), or that no table explains, is
none. Nor is one that such a "no answer" of the tables becomes on a line that lost one digit: `500`
may arrive as `50`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from drivers.at.values import sim_state_of_error
from drivers.interface import Action, Blame, Cause

_RP = "TS 24.011 §E.2"
_FCS = "TS 23.040 §9.2.3.22"
_MS = "TS 27.005 §3.2.5"
_ME = "TS 27.007 §9.2"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One code. `clause` names the standard's clause, or the vendor."""

    code: int
    title: str
    clause: str
    blame: Blame
    action: Action
    proves_no_send: bool = True


def _rows(clause: str, blame: Blame, *entries: tuple[int, str, Action]) -> list[Row]:
    return [
        Row(code=code, title=title, clause=clause, blame=blame, action=action)
        for code, title, action in entries
    ]


def _vague(rows: Iterable[Row]) -> list[Row]:
    return [dataclasses.replace(row, proves_no_send=False) for row in rows]


_NOW, _BACK, _OTHER, _FIX, _STOP = Action.NOW, Action.BACK, Action.OTHER, Action.FIX, Action.STOP

_CMS: tuple[Row, ...] = (
    *_rows(
        _RP,
        Blame.MESSAGE,
        (1, "unassigned number", _STOP),
        (97, "message type unknown", _STOP),
        (98, "message not compatible with the protocol state", _STOP),
        (99, "information element unknown", _STOP),
    ),
    *_rows(
        _RP,
        Blame.SIM,
        (8, "operator determined barring", _OTHER),
        (10, "call barred", _OTHER),
        (11, "barred (reserved code)", _OTHER),
        (21, "short message transfer rejected", _OTHER),
        (28, "unidentified subscriber", _OTHER),
        (29, "facility rejected", _OTHER),
        (30, "unknown subscriber", _OTHER),
        (50, "facility not subscribed", _OTHER),
        (69, "facility not implemented", _OTHER),
    ),
    *_rows(
        _RP,
        Blame.NETWORK,
        (17, "network failure", _BACK),
        (22, "memory capacity exceeded or congestion", _BACK),
        (27, "destination out of order", _BACK),
        (31, "normal, unspecified", _BACK),
        (38, "network out of order", _BACK),
        (41, "temporary failure", _NOW),
        (42, "congestion", _BACK),
        (47, "resources unavailable", _BACK),
        (111, "protocol error, unspecified", _BACK),
        (127, "interworking, unspecified", _BACK),
    ),
    *_rows(
        _RP,
        Blame.MODEM,
        (34, "module error", _FIX),
        (81, "invalid short message transfer reference", _FIX),
    ),
    *_rows(
        _RP,
        Blame.HOST,
        (95, "semantically incorrect message", _STOP),
        (96, "invalid mandatory information", _STOP),
    ),
    *_rows(
        _FCS,
        Blame.MESSAGE,
        (128, "telematic interworking not supported", _STOP),
        (129, "short message type 0 not supported", _STOP),
        (130, "cannot replace short message", _STOP),
        (143, "unspecified TP-PID error", _STOP),
        (144, "alphabet not supported", _STOP),
        (145, "message class not supported", _STOP),
        (159, "unspecified TP-DCS error", _STOP),
        (160, "command cannot be actioned", _STOP),
        (161, "command unsupported", _STOP),
        (175, "unspecified TP-command error", _STOP),
        (176, "TPDU not supported", _STOP),
        (195, "invalid SME address", _STOP),
        (196, "destination SME barred", _OTHER),
    ),
    *_vague(_rows(_FCS, Blame.MESSAGE, (197, "rejected as a duplicate", _STOP))),
    *_rows(
        _FCS,
        Blame.HOST,
        (198, "validity period format not supported", _STOP),
        (199, "validity period not supported", _STOP),
    ),
    *_rows(
        _FCS,
        Blame.NETWORK,
        (192, "service centre busy", _BACK),
        (194, "service centre system failure", _BACK),
        (255, "unspecified error cause", _BACK),
    ),
    *_rows(_FCS, Blame.SIM, (193, "no service centre subscription", _OTHER)),
    *_rows(
        _FCS,
        Blame.MODEM,
        (208, "SIM message storage full", _FIX),
        (209, "no message storage in SIM", _FIX),
        (210, "error in MS", _FIX),
        (211, "memory capacity exceeded", _FIX),
        (212, "SIM application toolkit busy", _NOW),
        (213, "SIM data download error", _NOW),
    ),
    *_rows(
        _MS,
        Blame.MODEM,
        (300, "ME failure", _FIX),
        (301, "SMS service of ME reserved", _NOW),
        (302, "operation not allowed", _NOW),
        (314, "SIM busy", _NOW),
        (320, "memory failure", _FIX),
        (322, "memory full", _FIX),
    ),
    *_rows(
        _MS,
        Blame.HOST,
        (303, "operation not supported", _STOP),
        (304, "invalid PDU mode parameter", _STOP),
        (305, "invalid text mode parameter", _STOP),
        (321, "invalid memory index", _STOP),
        (330, "service centre address unknown", _FIX),
        (340, "no +CNMA acknowledgement expected", _STOP),
    ),
    *_rows(
        _MS,
        Blame.SIM,
        (310, "SIM not inserted", _OTHER),
        (311, "SIM PIN required", _OTHER),
        (312, "PH-SIM PIN required", _OTHER),
        (313, "SIM failure", _FIX),
        (315, "SIM wrong", _FIX),
        (316, "SIM PUK required", _OTHER),
        (317, "SIM PIN2 required", _OTHER),
        (318, "SIM PUK2 required", _OTHER),
    ),
    *_rows(_MS, Blame.NETWORK, (331, "no network service", _BACK)),
    *_vague(_rows(_MS, Blame.NETWORK, (332, "network timeout", _BACK))),
    *_vague(
        _rows(
            "vendor (Quectel, Sierra, Qualcomm)",
            Blame.NETWORK,
            (350, "refused by IMS or service centre, unspecified", _OTHER),
        )
    ),
    *_vague(_rows(_MS, Blame.MODEM, (500, "unknown error", _NOW))),
)

_SIMCOM = "vendor (SIMCom)"
_SIEMENS = "vendor (Siemens, Cinterion)"
_WAVECOM = "vendor (Wavecom)"

_VENDOR: Mapping[str, tuple[Row, ...]] = MappingProxyType({
    "simcom": (
        *_rows(
            _SIMCOM,
            Blame.MODEM,
            (512, "SIM not ready", _NOW),
            (513, "unread records on SIM", _NOW),
            (514, "cell broadcast error", _NOW),
            (515, "PS busy", _NOW),
            (516, "could not read SMS parameters from SIM", _FIX),
            (517, "SMS block not ready", _NOW),
            (519, "ME temporarily unavailable", _NOW),
        ),
        *_rows(
            _SIMCOM,
            Blame.HOST,
            (518, "invalid parameter", _STOP),
            (528, "non-hex character in PDU", _STOP),
            (529, "incorrect PDU length", _STOP),
            (530, "invalid MTI", _STOP),
            (531, "invalid character in address", _STOP),
            (532, "invalid address (no digits)", _STOP),
            (533, "incorrect user data length", _STOP),
            (534, "incorrect service centre address length", _STOP),
            (536, "invalid first octet", _STOP),
            (537, "invalid command type", _STOP),
            (538, "status report request not set", _STOP),
            (539, "status report request set", _STOP),
            (540, "invalid user data header element", _STOP),
            (541, "invalid characters", _STOP),
        ),
    ),
    "cinterion": (
        *_rows(
            _SIEMENS,
            Blame.HOST,
            (512, "user abort", _STOP),
            (515, "invalid character in address", _STOP),
            (516, "invalid length", _STOP),
            (517, "non-hex character in PDU", _STOP),
            (519, "invalid length or character", _STOP),
            (520, "invalid character in text", _STOP),
            (538, "invalid parameter", _STOP),
            (548, "incorrect PDU length", _STOP),
            (549, "invalid MTI", _STOP),
            (550, "invalid character in address", _STOP),
            (551, "invalid address", _STOP),
            (552, "incorrect user data length", _STOP),
            (553, "incorrect service centre address length", _STOP),
        ),
        *_rows(
            _SIEMENS,
            Blame.MODEM,
            (522, "temporarily not allowed", _BACK),
            (532, "SIM not ready", _NOW),
            (535, "PS busy", _NOW),
        ),
        *_vague(_rows(_SIEMENS, Blame.NETWORK, (521, "timer expired", _BACK))),
    ),
    "wavecom": (
        *_rows(
            _WAVECOM,
            Blame.NETWORK,
            (512, "connection to the network not established", _BACK),
        ),
        *_vague(
            _rows(
                _WAVECOM,
                Blame.NETWORK,
                (513, "lower layer failure", _BACK),
                (514, "CP error", _BACK),
            )
        ),
        *_rows(_WAVECOM, Blame.MODEM, (515, "initialising, please wait", _NOW)),
    ),
})  # fmt: skip

_CME: tuple[Row, ...] = (
    *_vague(
        _rows(
            _ME,
            Blame.MODEM,
            (0, "phone failure", _FIX),
            (1, "no connection to phone", _FIX),
            (2, "phone-adaptor link reserved", _FIX),
            (100, "unknown", _NOW),
        )
    ),
    *_rows(
        _ME,
        Blame.MODEM,
        (14, "SIM busy", _NOW),
        (20, "memory full", _FIX),
        (23, "memory failure", _FIX),
        (106, "illegal ME", _STOP),
        (515, "initialising, please wait", _NOW),
    ),
    *_rows(
        _ME,
        Blame.HOST,
        (3, "operation not allowed", _STOP),
        (4, "operation not supported", _STOP),
        (17, "SIM PIN2 required", _STOP),
        (18, "SIM PUK2 required", _STOP),
        (21, "invalid index", _STOP),
        (22, "not found", _STOP),
        (24, "text string too long", _STOP),
        (25, "invalid characters in text string", _STOP),
        (26, "dial string too long", _STOP),
        (27, "invalid characters in dial string", _STOP),
        (50, "incorrect parameters", _STOP),
    ),
    *_rows(
        _ME,
        Blame.SIM,
        (5, "PH-SIM PIN required", _OTHER),
        (6, "PH-FSIM PIN required", _OTHER),
        (7, "PH-FSIM PUK required", _OTHER),
        (10, "SIM not inserted", _OTHER),
        (11, "SIM PIN required", _OTHER),
        (12, "SIM PUK required", _OTHER),
        (13, "SIM failure", _FIX),
        (15, "SIM wrong", _FIX),
        (16, "incorrect password", _STOP),
        (32, "network not allowed, emergency calls only", _OTHER),
        (40, "network personalisation PIN required", _OTHER),
        (41, "network personalisation PUK required", _OTHER),
        (103, "illegal MS", _OTHER),
        (107, "GPRS services not allowed", _OTHER),
        (111, "PLMN not allowed", _OTHER),
        (113, "roaming not allowed in this location area", _OTHER),
        (132, "service option not supported", _OTHER),
        (133, "service option not subscribed", _OTHER),
    ),
    *_rows(
        _ME,
        Blame.NETWORK,
        (30, "no network service", _BACK),
        (112, "location area not allowed", _BACK),
        (134, "service option temporarily out of order", _BACK),
    ),
    *_vague(_rows(_ME, Blame.NETWORK, (31, "network timeout", _BACK))),
)


def _keyed(rows: Iterable[Row]) -> Mapping[int, Row]:
    return MappingProxyType({row.code: row for row in rows})


CMS: Mapping[int, Row] = _keyed(_CMS)
"""`+CMS ERROR` codes that mean the same everywhere."""

CME: Mapping[int, Row] = _keyed(_CME)
"""`+CME ERROR` codes."""

VENDOR_CMS: Mapping[str, Mapping[int, Row]] = MappingProxyType(
    {vendor: _keyed(rows) for vendor, rows in _VENDOR.items()}
)
"""`+CMS ERROR` codes from 512 on, by vendor: the same number means different things."""


_REPEATED = (
    197  # clipped it reads as 17, the commonest true refusal; who resends nothing meets none
)


def _clipped(*tables: Mapping[int, Row]) -> frozenset[int]:
    """What a "no answer" of these tables reads as where one digit was lost."""
    rows = [row for table in tables for row in table.values()]
    texts = [str(row.code) for row in rows if not row.proves_no_send and row.code != _REPEATED]
    return frozenset(
        int(text[:i] + text[i + 1 :]) for text in texts if len(text) > 1 for i in range(len(text))
    )


_CLIPPED_CME = _clipped(CME)
_CLIPPED_CMS = _clipped(CMS)
_CLIPPED = {vendor: _clipped(CMS, rows) for vendor, rows in VENDOR_CMS.items()}


def cause_of(*, cme: int | None = None, cms: int | None = None, vendor: str = "") -> Cause:
    """Look an error result up; neither number means a plain `ERROR`, which proves nothing."""
    if cms is not None:
        row = VENDOR_CMS.get(vendor, {}).get(cms) or CMS.get(cms) or _near(cms)
        clipped = _CLIPPED.get(vendor, _CLIPPED_CMS)
        cause = _cause(f"cms:{cms}", row, may_be_clipped=cms in clipped)
    elif cme is not None:
        cause = _cause(f"cme:{cme}", CME.get(cme), may_be_clipped=cme in _CLIPPED_CME)
    else:
        cause = _cause("error", None)
    return dataclasses.replace(cause, card=sim_state_of_error(cme=cme, cms=cms))


def code_of_text(text: str, *, is_cms: bool) -> int | None:
    """The number of an error told in words, whatever its case and blanks; None where unknown.

    Some modems go on telling words after `+CMEE=1`. Source: TS 27.005 §3.2.5, TS 27.007 §9.2.
    """
    return (_CMS_BY_TEXT if is_cms else _CME_BY_TEXT).get(_squashed(text))


def _squashed(text: str) -> str:
    """`(U)SIM PIN required` → `simpinrequired`."""
    return _NO_LETTER.sub("", text.lower().replace("(u)sim", "sim"))


_NO_LETTER = re.compile(r"[^a-z0-9]+")

# The network's causes are left out: of these there are as many wordings as modems.
_CMS_BY_TEXT = {_squashed(row.title): row.code for row in _CMS if row.clause == _MS}
_CME_BY_TEXT = {_squashed(row.title): row.code for row in _CME}


def before_payload(cause: Cause) -> Cause:
    """The same cause, told before any payload was given: then it is proof by itself."""
    return dataclasses.replace(cause, proves_no_send=True)


def _near(cms: int) -> Row | None:
    """Unlisted codes of the standards' ranges are refusals by whoever owns the range."""
    if cms < 128:  # "treat an unlisted value as 41": TS 24.011 §8.2.5.4
        return CMS[41]
    if 224 <= cms < 255:
        row = CMS[255]
        return dataclasses.replace(
            row, title="application specific", blame=Blame.MESSAGE, action=_STOP
        )
    return CMS[255] if cms < 256 else None


def _cause(code: str, row: Row | None, *, may_be_clipped: bool = False) -> Cause:
    if row is None:
        title = "error without a known code"
        return Cause(
            code=code, title=title, blame=Blame.MODEM, proves_no_send=False, action=Action.NOW
        )
    return Cause(
        code=code,
        title=row.title,
        blame=row.blame,
        proves_no_send=row.proves_no_send and not may_be_clipped,
        action=row.action,
    )
