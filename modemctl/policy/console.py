"""What may be sent to a modem by hand: commands that read, and few that set.

There is no path to a modem around the approvals (SMS-01), the PIN guard (SIM-06) or the ban on
changed IMEIs (SIM-08): so what may pass is a list of what is allowed, not of what is forbidden.
What is told of a refusal comes from a second table, which decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from modemctl.model import mask_number

COMMAND_MAX: Final = 64
"""Characters of a command, and no more: none that is allowed is longer."""

_NAME: Final = r"[+^$*%#_!]([A-Z][A-Z0-9]{1,15})"
_NAMED: Final = re.compile(rf"AT{_NAME}")
_QUERY: Final = re.compile(rf"AT{_NAME}(\?|=\?)")
_PLAIN: Final = re.compile(rf"AT(I[0-9]?|&V|{_NAME})?")
_EXECUTES: Final = frozenset(
    {"CESQ", "CGMI", "CGMM", "CGMR", "CPAS", "CSQ", "GMI", "GMM", "GMR", "HCSQ", "QCSQ", "QNWINFO",
     "SYSINFO", "SYSINFOEX", "CEER", "CCID", "CGSN", "CIMI", "CNUM", "GSN", "ICCID", "QCCID"}
)  # fmt: skip
_PERSONAL: Final = frozenset({"CCFC", "CLCC", "CMGL", "CMGR", "CPBR", "CUSD", "CRSM", "CSIM"})
_SHUT: Final = re.compile(
    r"CMG(?!F)|SMG|MSG|CMSS|CNMA|PB[RFW]|CPIN=|CPIN2|CLCK=|CPWD|CSIM|CGLA|EGMR|SIMEI|\^DIAL|\+C(?:MT|DS|BM)I?[?=]"
)
"""Names that no question is asked of either: the driver's own guard lets none of them pass."""
_CREDENTIALS: Final = re.compile(
    r"AUTH|PASS|PWD(?!=)|PSW|PDPP|CSTT|SAPBR|QICSGP|UPSD|SIC[SO]|SISS|FTP|HTTP|MQTT|SSL|TLS|CERT"
    r"|MAIL|SMTP|WI?FI|WLAN|SSID|WIKEY|APIKEY|SECRET"
)
"""Names whose answers tell a password of the network or of a server."""
_ENDS: Final = re.compile(
    r"CPOF|QPOWD|CPOWD|PWROFF|PWRDN|SMSO|SHDN|BOOT|RESET|FACTORY|RESTORE|GODLOAD|DLOAD|FOTA"
    r"|FWDL|FWUPD|SWUPD|EDOWN|DOWNLOAD|NVRW|NVM"
)
"""Names that no question is asked of either: there is firmware that carries them out."""
_SCANS: Final = frozenset({"COPS=?"})
"""Takes the modem out of service for minutes, and off the network on some: asks for more."""

_SETS: Final = re.compile(r"AT([+^#*!][A-Z][A-Z0-9]{1,15})=([A-Za-z0-9\",._-]{1,48})")
_WORD: Final = r"\"?[A-Za-z0-9._-]{0,24}\"?"
_SETTINGS: Final = {
    name: re.compile(form)
    for name, form in {
        "+CFUN": r"[014]",  # not `,1`: `modemctl modems reset` restarts a modem
        "+CGATT": r"[01]",
        "+CGDCONT": rf"[0-9](,{_WORD}){{0,2}}",
        "+COPS": r"0|[14],2,\"[0-9]{5,6}\"(,[0-9])?",
        "+WS46": r"[0-9]{1,2}",
        "^SYSCFG": r"[0-9]{1,2},[0-9],[0-9A-F]{1,8},[0-9],[0-9]",
        "^SYSCFGEX": r"\"[0-9]{2,8}\",[0-9A-F]{1,8},[0-9],[0-9],[0-9A-F]{1,16},,",
        "+QCFG": r"\"(nwscanmode|nwscanseq|band|roamservice|servicedomain|ims)\""
        r"(,[0-9A-Fa-f]{1,16}){0,4}",
        "+CNMP": r"[0-9]{1,2}",
        "+CMNB": r"[0-9]",
        "+CBAND": r"\"[A-Z0-9_]{3,24}\"",
        "+ZSNT": r"[0-9],[0-9],[0-9]",
        "#BND": r"[0-9]{1,2}(,[0-9]{1,2})?",
        "+URAT": r"[0-9](,[0-9]){0,2}",
        "+UBANDSEL": r"[0-9]{1,4}(,[0-9]{1,4}){0,6}",
        "^SXRAT": r"[0-9]{1,2}(,[0-9]{1,2}){0,2}",
        "!SELRAT": r"[0-9A-F]{1,2}",
        "!BAND": r"[0-9A-F]{1,2}",
    }.items()
}
"""Radio and registration only: what the daemon sets for itself is not for hands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """May be sent as `text`. `changes`: it sets something, which asks for a scope of its own."""

    text: str
    changes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Forbidden:
    """Nobody may send it. `policy` names the rule, `cure` the way that leads there."""

    policy: str
    rule: str
    cure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Not on the list of what may be sent."""


Judgement: TypeAlias = Allowed | Forbidden | Unknown


def judge(command: str) -> Judgement:
    """What may become of a command as a person typed it."""
    text = command.strip(" \t")
    if len(text) <= COMMAND_MAX and text.isascii() and text.isprintable():
        if is_reading(text.upper()):
            return Allowed(text=text.upper(), changes=False)
        setting = _setting(text)
        if setting is not None:
            return Allowed(text=setting, changes=True)
    return next((why for form, why in _REASONS if form.search(_bare(command))), Unknown())


_TIME_LIMIT: Final = 30.0
_TIME_LIMITS: Final = (
    (re.compile(r"\+COPS=\?"), 315.0),  # ModemManager's limit; modems take 20 to 180
    (re.compile(r"\+COPS="), 180.0),
    (re.compile(r"\+CGATT="), 150.0),
    (re.compile(r"\+CFUN=|\^SYSCFG|!SELRAT=|!BAND="), 60.0),
)
"""Seconds. Source: the makers' manuals, as ModemManager and gammu have them."""


def time_limit(command: str) -> float:
    """How long (seconds) a modem may take for an allowed command before it counts as silent."""
    found = (limit for form, limit in _TIME_LIMITS if form.match(command, 2))
    return next(found, _TIME_LIMIT)


def is_reading(command: str) -> bool:
    """Whether a command, in upper case without blanks around, only reads and is not personal."""
    if _SHUT.search(command) or _CREDENTIALS.search(command) or _ENDS.search(command):
        return False
    query = _QUERY.fullmatch(command)
    if query is not None:
        return query[1] not in _PERSONAL and query[1] + query[2] not in _SCANS
    plain = _PLAIN.fullmatch(command)
    return plain is not None and (plain[2] is None or plain[2] in _EXECUTES)


def _setting(text: str) -> str | None:
    """The command as it is sent, its name in upper case, if it sets one of the listed things."""
    if text.upper().removeprefix("AT+") in _SCANS:
        return text.upper()
    name, sign, values = text.partition("=")
    found = _SETS.fullmatch(f"{name.upper()}{sign}{values}")
    form = None if found is None else _SETTINGS.get(found[1])
    if found is None or form is None or form.fullmatch(found[2]) is None:
        return None
    return found[0]


def name_of(command: str) -> str:
    """A command without its values, fit for the audit log: `AT+CPIN…`; `…` if it is none."""
    found = re.match(r"\s*(AT[+^$*%#_!&]?[A-Z]{0,16})", command, re.IGNORECASE | re.ASCII)
    if found is None:
        return "…"
    return found[1].upper() + ("" if found.end() == len(command.rstrip()) else "…")


_TEXT: Final = re.compile(r"\"[^\"]*\"?")
_CODE: Final = re.compile(
    r"\"(?:[0-9]{0,6}|[0-9A-Fa-f]{0,8})\""
)  # a carrier, a cell: nobody's name
_OPEN: Final = frozenset(
    {"CBAND", "CBANDCFG", "CCLK", "CGACT", "CGDCONT", "CGPADDR", "CIND", "CLCK", "CMER", "CNMP",
     "CNMI", "COPS", "CPBS", "CPIN", "CPLS", "CPMS", "CPOL", "CPSI", "CREG", "CGREG", "CEREG",
     "C5GREG", "CSCS", "CSMS", "CTZU", "GETPORTMODE", "GSTATUS", "HCSQ", "HWVER", "MONI", "QCFG",
     "QCSQ", "QENG", "QINISTAT", "QNWINFO", "QSIMDET", "QSIMSTAT", "QSPN", "RFSTS", "SCFG",
     "SELRAT", "SERVINFO", "SETPORT", "SMONI", "SPIC", "SPN", "SXRAT", "SYSCFG", "SYSCFGEX",
     "SYSINFO", "SYSINFOEX", "UBANDSEL", "URAT", "USBCOMP", "VERSION", "WS46", "ZPAS", "ZSNT"}
)  # fmt: skip


def mask_answer(command: str, lines: Iterable[str]) -> tuple[str, ...]:
    """A modem's answer to an allowed command, without numbers and without anybody's words (TEL-11).

    Text in quotes is shown where it is known to be of the network or the modem itself; what a
    card calls its owner, and what nobody knows of, is `"****"`.
    """
    plain = _PLAIN.fullmatch(command)
    name = _NAMED.match(command)
    is_open = (
        command.endswith("=?")
        or name is None
        or name[1] in _OPEN
        or (plain is not None and name[1] != "CNUM")
    )
    masked = (line if is_open else _TEXT.sub(_mute, line) for line in lines)
    return tuple(mask_line(line) for line in masked)


def _mute(found: re.Match[str]) -> str:
    text = found[0]
    if _CODE.fullmatch(text) or _DIGITS.fullmatch(text.strip('"')):
        return text
    return '"****"'


_DIGITS: Final = re.compile(
    r"[0-9A-Fa-f]{14,}"
    r"|\+?[0-9](?:[ -]?[0-9]){9,}"  # in groups; a date has fewer digits
    r"|\+?[0-9]{7,}"
)
_NUMBER_MAX: Final = (
    13  # digits of a phone number with its country; longer ones name a card or modem
)
_KEPT: Final = 4


def mask_line(line: str) -> str:
    """A modem's answer without ICCID, IMSI, IMEI and phone numbers (TEL-11): `8986****1234`.

    Such a number may come as hexadecimal digits too (UCS2, swapped nibbles), or in groups.
    """
    return _DIGITS.sub(lambda found: _masked(found[0]), line)


def _masked(found: str) -> str:
    digits = found.replace(" ", "").replace("-", "")
    if len(digits.lstrip("+")) <= _NUMBER_MAX:
        return mask_number(digits)
    return f"{digits[:_KEPT]}****{digits[-_KEPT:]}"


def _bare(command: str) -> str:
    """Without blanks and control characters, which some modems skip, in upper case."""
    return "".join(char for char in command if char.isprintable() and not char.isspace()).upper()


_REASONS: Final[tuple[tuple[re.Pattern[str], Forbidden], ...]] = tuple(
    (re.compile(form), Forbidden(policy=policy, rule=rule, cure=cure))
    for form, policy, rule, cure in (
        (r"CMG[SWC]|CMSS|CNMA|CMMS|CMGD|CSIM|CGLA|STGR|STIN",
         "SMS-01", "messages leave by approved batches only",
         "modemctl batch submit; a single message is a batch of one"),
        (r"CPIN|CLCK|CPWD|CPUK|EPIN|SPIC|PIN[0-9]*=|PUK",
         "SIM-06", "PINs, PUKs and locks are the PIN guard's",
         "modemctl sims import gives the vault a PIN; the guard tries it when it is safe"),
        (r"EGMR|SIMEI|WIMEI|IMEI|CGSN=|NVRW|NVM|CFGIMEI|PHYNUM",
         "SIM-08", "an IMEI is never changed", "replace the modem, and admit the new one (CC-01)"),
        (r"CMG[LR]|SMG|MSG|(?<!SA)PB[RFW]|CPB|CUSD|CLCC|CCFC|CRSM|CSIM|CNUM=|CLIR",
         "TEL-11", "messages, calls and numbers on the card are personal",
         "modemctl inbox, modemctl calls, modemctl sims show"),
        (r"^ATD|^AT[AHOP]|A/|\^DIAL|CHUP|CHLD|CTFR|CCWA|VTS|;",
         "TEL-06", "calls need an approval of their own, and one line holds one command",
         "send one command a line; calls are made with a telephone"),
        (r"FOTA|GODLOAD|FWDL|FWUPD|SWUPD|QDOWNLOAD|EDOWN|FACTORY|QPRTPARA|RESET|^AT&F|^AT&W|^ATZ"
         r"|U2DIAG|SETPORT|USBCFG|USBCOMP|USBNET|PORTCFG|ENTERCND|QPOWD|CPOF|SMSO",
         "CC-01", "firmware, factory settings and interfaces of a modem stay as admitted",
         "take the modem out and change it on a bench"),
        (_CREDENTIALS.pattern,
         "SIM-06", "passwords are not disclosed",
         "the access point's settings are kept where they were given out"),
        (_ENDS.pattern,
         "CC-01", "nobody restarts, resets or renews a modem by hand",
         "modemctl modems reset BAY; for another firmware take the modem out"),
        (r"CMGF|CNMI|CPMS|CSMS|CMEE|CSCS|CSCA|CREG=|CLIP|CRC=|IPR|IFC|ICF|CMUX|^AT[EVQSX]|^AT&",
         "SMS-01", "the daemon sets this itself and counts on it",
         "modemctl modems reset BAY brings a modem back to what the daemon needs"),
    )
)  # fmt: skip
