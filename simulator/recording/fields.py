"""Which fields of which commands, answers and unsolicited lines hold what.

Names that stand here are known; of all others every longer run of letters or digits is a secret.
Source: TS 27.007, TS 27.005; at-dialects §3 (vendors' commands).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a field holds; all but `KEEP` are written as stand-ins."""

    KEEP = "keep"
    """Harmless; only a run of ten digits or more is masked."""
    SHORT = "short"
    """Harmless beside secrets: numbers of up to three digits, two-letter codes, status words."""
    GUARD = "unknown"
    """Not known: everything longer than a short number or a two-letter code is masked."""
    PARTY = "party"
    """In quotes a time (kept), a number or a name; outside of them a short number is kept."""
    PIN = "pin"
    NUMBER = "number"
    IMSI = "imsi"
    IMEI = "imei"
    ICCID = "iccid"
    TEXT = "text"
    USSD = "ussd"
    PDU = "pdu"
    FILE = "card file"
    APDU = "apdu"
    REPLY = "card's answer"
    """What the card says to an APDU: data and a status word."""
    DTMF = "tone"
    IDENTITY = "identity"
    """A model's own words: kept, but for long runs of digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The kinds of a line's parameters, from the first on; `rest` for all further ones."""

    kinds: tuple[Kind, ...] = ()
    rest: Kind = Kind.KEEP

    def kind(self, place: int) -> Kind:
        """The kind of the parameter at `place`, counted from 0."""
        return self.kinds[place] if place < len(self.kinds) else self.rest


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _fields(*kinds: Kind, rest: Kind = Kind.SHORT) -> Fields:
    return Fields(kinds=kinds, rest=rest)


_K: Final = Kind.SHORT
_PARTIES: Final = _fields(rest=Kind.PARTY)
UNKNOWN: Final = _fields(rest=Kind.GUARD)
_HARMLESS: Final = Fields()
_BRIEF: Final = _fields()

ICCID_NAMES: Final = _names(
    "+CCID +ICCID +CICCID +QCCID +ZICCID ^ICCID #CCID !ICCID ^SCID ICCID CCID"
)
IMSI_NAMES: Final = _names("+CIMI #CIMI ^CIMI *CIMI IMSI")
IMEI_NAMES: Final = _names("+CGSN +GSN #CGSN +EGMR +SIMEI IMEI IMEISV")
IDENTITY_NAMES: Final = _names(
    "I +CGMI +CGMM +CGMR +GMI +GMM +GMR +CLAC +GCAP +QGMR ^HWVER ^VERSION #SWPKGV #CGMM #CGMR"
)
PROMPTING: Final = _names("+CMGS +CMGW +CMGC +QCMGS +UCMGS")
"""Commands that are followed by a payload up to Ctrl-Z; `+CNMA` besides, if it has a length."""

_HARMLESS_NAMES: Final = _names("""
    +CMGF +CSMS +CNMI +CPMS +CSDH +CSMP +CSCS +CMEE +CREG +CGREG +CEREG +C5GREG +CSQ +CESQ +COPS
    +CFUN +CPAS +CBC +CGATT +CGACT +CMMS +CGSMS +CMGD +CMGR +CMGL +CSCB +CSAS +CRES +CRC +CVHU +CLIR
    +CTZU +CTZR +CTZV +CGEREP +CMER +CIND +CIEV +IFC +ICF +IPR +WS46 +CCLK +CEER +CHUP +CHLD +CPBS
    +CPLS +CPOL +CSSN +CMOD +CR +DR +ILRR +FCLASS +CPINR +CPINRE +SPIC ^SPIC +QPINC +ZPINPUK
    +UPINCNT +CPINC #PCT ^CPIN +QINISTAT +QINDCFG +QURCCFG +QCFG +QNWINFO +QCSQ +QSIMSTAT +QSIMDET
    +QUSIM +QPOWD +QSPN ^CURC ^RSSI ^HCSQ ^MODE ^BOOT ^SRVST ^SIMST ^SYSINFO ^SYSINFOEX ^SYSCFG
    ^SYSCFGEX ^PORTSEL ^GETPORTMODE ^CVOICE ^DDSETEX ^U2DIAG ^DSFLOWRPT ^CSNR ^NWTIME ^STIN ^CONF
    ^CONN ^ORIG ^CEND ^RESET ^USSDMODE ^RFSWITCH ^SMMEMFULL +MORING +DDET +CSMINS +CNSMOD
    +AUTOCSQ +CNMP +CPSI +UIMHOTSWAPON +CRESET +CPOF +CPOWD +CSPN +ZCDRUN +ZOPRT +ZSNT +ZPAS +ZPASR
    +ZDONR +ZUSIMR +ZEND +ZRSSI +ZRST +ZSMMEMFULL +ZPSTM #QSS #PSNT #BND #SIMDET #REBOOT #SHDN
    #RFSTS #STN +UUSIMSTAT +USIMSTAT +UCALLSTAT +URAT +UBANDSEL +UCGED +UDTMFD ^SCKS ^SIND ^SSET
    ^SSIM ^SYSSTART ^SHUTDOWN ^SMONI ^SXRAT ^SMSO ^SLCCE +PBREADY +WIND +PACSP0 +PACSP1 !GSTATUS
    !RESET +CRING +CMTI +CDSI +CMSS +CSSI +CSSU +CNMA +CFI +AT *ATREADY *EMRDY *PSUTTZ *CNTI *EPIN
    %PINNUM +XPINCNT _OERCN +CPNNUM +PNNM +XSIM +CEMODE +GCAP +CNAOP +CPCMREG +SERVICE $GPSP
    +XCALLSTAT *ECAM +CLAN +CALM +CRSL +CLVL +CMUT +CSTA +CTFR +VTD +CMUX +CGCLASS
    """)

_WORDY_NAMES: Final = _names(
    "+IPR +COPS +CPOL +CSCS +QCFG +QURCCFG +QINDCFG ^SYSCFG ^SYSCFGEX ^U2DIAG ^SIND ^SSET +UBANDSEL"
)
"""Commands of which a longer word or number is a setting: a speed, a network, a band."""

STATUS_WORDS: Final = frozenset(
    {"REC UNREAD", "REC READ", "STO UNSENT", "STO SENT", "ALL", "GSM", "IRA", "UCS2"}
)

_SECRETS_ASKED: Final[dict[str, Fields]] = {
    "+CPIN": _fields(Kind.PIN, Kind.PIN, rest=Kind.PIN),
    "+CPIN2": _fields(Kind.PIN, Kind.PIN, rest=Kind.PIN),
    "^CPIN": _fields(Kind.PIN, Kind.PIN, rest=Kind.PIN),
    "*EPIN": _fields(Kind.PIN, rest=Kind.PIN),
    "+CPBS": _fields(_K, Kind.PIN),
    "+CLCK": _fields(_K, _K, Kind.PIN),
    "+CPWD": _fields(_K, Kind.PIN, Kind.PIN, rest=Kind.PIN),
    "+CMGS": _fields(Kind.NUMBER),
    "+CMGW": _fields(Kind.NUMBER),
    "+QCMGS": _fields(Kind.NUMBER),
    "+UCMGS": _fields(Kind.NUMBER),
    "+CMGC": _fields(_K, _K, _K, _K, Kind.NUMBER),
    "+CMSS": _fields(_K, Kind.NUMBER),
    "+CTFR": _fields(Kind.NUMBER),
    "+CSCA": _fields(Kind.NUMBER),
    "+CUSD": _fields(_K, Kind.USSD),
    "+CRSM": _fields(_K, Kind.KEEP, _K, _K, _K, Kind.FILE, rest=Kind.GUARD),
    "+CSIM": _fields(_K, Kind.APDU),
    "+CGLA": _fields(_K, _K, Kind.APDU),
    "+VTS": _fields(rest=Kind.DTMF),
    "^DTMF": _fields(_K, rest=Kind.DTMF),
    "+CPBW": _fields(_K, Kind.NUMBER, _K, Kind.TEXT, rest=Kind.PARTY),
    "+CPBF": _fields(Kind.TEXT, rest=Kind.TEXT),
    "+CCFC": _fields(_K, _K, Kind.NUMBER, _K, _K, Kind.NUMBER),
    "+CLIP": _PARTIES,
    "+CCWA": _PARTIES,
    "+COLP": _PARTIES,
    "+CLCC": _PARTIES,
    "^DSCI": _PARTIES,
    "^SLCC": _PARTIES,
    "#ECAM": _PARTIES,
    "+CGSN": _BRIEF,
    "+CPBR": _BRIEF,
    "+EGMR": _fields(_K, _K, Kind.IMEI),
}
_SECRETS_TOLD: Final[dict[str, Fields]] = {
    "+CPIN": _HARMLESS,
    "+CLCK": _HARMLESS,
    "+CPWD": _HARMLESS,
    "+CMGS": _fields(_K, rest=Kind.GUARD),
    "+CMGW": _HARMLESS,
    "+CMT": _PARTIES,
    "+CBM": _PARTIES,
    "+CDS": _PARTIES,
    "+CMGR": _fields(_K, rest=Kind.PARTY),
    "+CMGL": _fields(_K, _K, rest=Kind.PARTY),
    "+CSCA": _fields(Kind.NUMBER),
    "+CUSD": _fields(_K, Kind.USSD),
    "+CRSM": _fields(_K, _K, Kind.FILE, rest=Kind.GUARD),
    "+CSIM": _fields(_K, Kind.REPLY),
    "+CGLA": _fields(_K, Kind.REPLY),
    "+CNUM": _fields(Kind.TEXT, Kind.NUMBER),
    "+CPBR": _fields(_K, Kind.NUMBER, _K, Kind.TEXT, rest=Kind.PARTY),
    "+CPBF": _fields(_K, Kind.NUMBER, _K, Kind.TEXT, rest=Kind.PARTY),
    "+CCFC": _PARTIES,
    "+CLIP": _PARTIES,
    "+CCWA": _PARTIES,
    "+COLP": _PARTIES,
    "+CDIP": _PARTIES,
    "+CNAP": _PARTIES,
    "+CLCC": _PARTIES,
    "^DSCI": _PARTIES,
    "^SLCC": _PARTIES,
    "#ECAM": _PARTIES,
    "*ECAV": _PARTIES,
    "*ECAM": _PARTIES,
    "+CSSU": _PARTIES,
    "#STN": _fields(_K, _K, rest=Kind.TEXT),
    "+UDTMFD": _fields(Kind.DTMF),
    "+UUDTMFD": _fields(Kind.DTMF),
    "+QIND": _fields(Kind.KEEP, rest=Kind.PARTY),
    "MISSED_CALL": _PARTIES,
    "+VTS": _HARMLESS,
    "^DTMF": _HARMLESS,
    "+RXDTMF": _fields(rest=Kind.DTMF),
    "+DTMF": _fields(rest=Kind.DTMF),
    "HANGUP": _HARMLESS,
    "VOICE CALL": _HARMLESS,
    "DST": _HARMLESS,
    **dict.fromkeys(ICCID_NAMES, _fields(rest=Kind.ICCID)),
    **dict.fromkeys(IMSI_NAMES, _fields(rest=Kind.IMSI)),
    **dict.fromkeys(IMEI_NAMES, _fields(rest=Kind.IMEI)),
    **dict.fromkeys(IDENTITY_NAMES, _fields(rest=Kind.IDENTITY)),
}

WORDS: Final = frozenset(
    {
        "RING",
        "RDY",
        "Call Ready",
        "SMS Ready",
        "SMS DONE",
        "PB DONE",
        "NORMAL POWER DOWN",
        "POWERED DOWN",
        "MO RING",
        "MO CONNECTED",
        "VOICE CALL: BEGIN",
        "VOICE CALL: END",
        "^SYSSTART",
        "^SYSSTART AIRPLANE MODE",
        "^SSIM READY",
        "^SHUTDOWN",
        "+PBREADY",
        "SIM REMOVED",
        "UNDER-VOLTAGE WARNNING",
        "UNDER-VOLTAGE POWER DOWN",
        "OVER-VOLTAGE WARNNING",
        "OVER-VOLTAGE POWER DOWN",
        "IRING",
        "DIALTONE",
        "+CEER",
    }
)
"""Whole lines without parameters."""

UNASKED: Final = _names("""
    +CMTI +CMT +CDSI +CDS +CBM +CRING +CLIP +CCWA +CTZV +CIEV +CUSD +QIND +QUSIM ^RSSI ^HCSQ ^MODE
    ^BOOT ^SRVST ^SIMST ^DSFLOWRPT ^CSNR ^NWTIME ^STIN ^CONF ^CONN ^ORIG ^CEND ^SMMEMFULL +ZUSIMR
    +ZDONR +ZPASR +ZEND +ZRSSI +ZSMMEMFULL +UUSIMSTAT +UCALLSTAT +WIND +PACSP0 +PACSP1 *ECAV #STN
    ^SCKS +PBREADY HANGUP MISSED_CALL DST +CSSI +CSSU
    """)
"""Lines that come of themselves, unless their own command has just been asked."""


def asked(name: str) -> Fields:
    """The parameters of `AT<name>=…`."""
    found = _SECRETS_ASKED.get(name)
    if found is not None:
        return found
    if name in _WORDY_NAMES:
        return _HARMLESS
    return _BRIEF if name in _HARMLESS_NAMES else UNKNOWN


def told(name: str) -> Fields:
    """The parameters of an answer or unsolicited line `<name>: …`."""
    found = _SECRETS_TOLD.get(name)
    if found is None:
        return _HARMLESS if name in _HARMLESS_NAMES else UNKNOWN
    return found
