"""Personas: what a simulated model is and how it speaks, as data files in `personas/`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Final

from pydantic import TypeAdapter, ValidationError


class PersonaError(ValueError):
    """A persona file is unknown or wrong; the message says which key."""


class PortRole(StrEnum):
    """What one of a model's ports is for."""

    AT = "at"  # commands; where unsolicited lines come unless the model is told otherwise
    MODEM = "modem"  # commands too: the data port, a second channel
    APP = "app"  # a further command channel
    DIAG = "diag"  # swallows what is written
    NMEA = "nmea"  # talks of satellites to whoever opens it
    AUDIO = "audio"  # voice samples; silent without a call
    LOG = "log"  # the maker's own trace; swallows what is written
    TRACE = "trace"  # a second one
    SAP = "sap"  # SIM access by Bluetooth's profile; swallows what is written


class RegistrationForm(StrEnum):
    """How `+CREG?` and its kin are answered."""

    STANDARD = "standard"
    BLANKS = "blanks"  # `2,1, 81ED, 1A9CEB`
    JUNK = "junk"  # `2,0,00,0`: a place though there is none
    URC = "urc"  # without the first field, as the unsolicited line


class EmptySlot(StrEnum):
    """What `+CMGR` says of an empty slot."""

    ERROR = "error"  # +CMS ERROR: 321
    OK = "ok"  # nothing but OK
    ZEROS = "zeros"  # +CMGR: 0,,0


class UssdCoding(StrEnum):
    """How the text of `+CUSD` is written."""

    TEXT = "text"  # as +CSCS says
    PACKED = "packed"  # packed septets in hexadecimal, until ^USSDMODE=0
    UCS2 = "ucs2"  # asked as +CSCS says, answered in UCS-2 whatever it says
    SPACED = "spaced"  # as +CSCS says, with blanks behind the commas; fails with HEX


COMMAND_ROLES: Final = frozenset({PortRole.AT, PortRole.MODEM, PortRole.APP})


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonaPort:
    """One port: its USB interface number, and what it says by itself while it is open."""

    role: PortRole
    interface: int = 0
    chatter: tuple[str, ...] = ()
    chatter_seconds: float = 1.0


class Moment(StrEnum):
    """When a model says something by itself."""

    BOOT = "boot"  # it can be spoken to again
    NO_CARD = "no_card"  # at boot, there is none
    CARD = "card"  # at boot or after it was put in: there is one
    CARD_IN = "card_in"  # somebody put one in
    CARD_OUT = "card_out"  # somebody took it out
    TRAY = "tray"  # somebody put an empty tray in
    PIN = "pin"  # the card asks for its PIN
    PUK = "puk"  # the card asks for its PUK
    DEAD = "dead"  # the card is lost for good
    PIN_SHOWN = "pin_shown"  # the PIN was right, or none is needed; the card is still being read
    READY = "ready"  # the card was read
    REGISTERED = "registered"
    UNREGISTERED = "unregistered"
    FULL = "full"  # a message found no room
    DIALLING = "dialling"  # a call leaves
    ALERTING = "alerting"  # its other side rings
    RINGING = "ringing"  # a call comes in, before RING
    CONNECTED = "connected"  # somebody answered
    ENDED = "ended"  # a call is over, before V.250's words
    RADIO_ON = "radio_on"
    RADIO_OFF = "radio_off"
    OFF = "off"  # it switches itself off, as it was told to
    NOISE = "noise"  # every `noise_seconds`


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Lines that come at a moment, `seconds` later (those of calls and noise: at once).

    Words in braces stand for what is true now, as in a persona's answers; also `{memory}` when it
    is full, and of a call `{call_id}`, `{far_number}`, `{far_type}`, `{is_incoming}`, `{talked}`
    (seconds), `{cause}` (Q.850).
    Only while the setting named `setting` has one of `values` (empty: anything but 0); with `bit`,
    only while that bit of its value is set.
    """

    when: Moment
    lines: tuple[str, ...]
    seconds: float = 0.0
    setting: str = ""
    values: tuple[str, ...] = ()
    bit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """One model. Times in seconds. Keys of a persona file are these fields' names.

    `answers`: fixed information lines by command, as `+CPSI?` or, for one parameter alone,
    `+CMMS=2`; words in braces stand for what is true now (see `simulator.commands.data.FACTS`).
    `errors`: final results in the same way. `keeps`: commands of this model that only keep a value;
    those in `nonvolatile` keep it over restarts. `resets`, `offs`: commands that restart it, or
    switch it off. `sms_codes`: its `+CMS ERROR` numbers where they are not the standard's, by the
    names of `simulator.commands.messaging.CODES`. `link_seconds`: how long `+CMMS` holds the link.

    Storages: `memories` of the first parameter of `+CPMS`, `write_memories` of the others (empty:
    the same), which has `n_memories`; reports lie in `report_memory` (empty: where messages lie).
    `direct_needs_ack`: `+CNMI` shows nothing directly but with `+CSMS=1` and bfr 1.

    Waking up: `boots_with_radio` false waits for `+CFUN=1`; so does a model while its setting
    named `airplane_setting` is not 0. `port_seconds` after a restart its ports are back on USB,
    before it answers (none: together). `autobaud` is deaf until the first `AT`, whose first octet
    is lost. For `messaging_seconds` after the card is usable SMS are refused with
    `+CMS ERROR: messaging_code`.
    `noise_switch`: the setting that ends the noise at 0, and then also drops what starts as one of
    `silenced`.

    Forms: `message_line`, `report_line` before a PDU; `report_slot`: reports lie in `SR`, but that
    place is announced; `rewords`: final results that this model says in place of the standard's;
    `cnmi_only`: all that `+CNMI` takes, where it is not the product of its ranges;
    `acknowledges_itself`: a `+CMT` wants no `+CNMA`; `forgets_routing` when the radio goes on or
    the card changes; `push_mark` follows the index of a `+CMTI` for a WAP push. `crsm_*`,
    `absent`, `card_needs_radio`, `creg_form`, `csq_separator`, `empty_*`: see
    `simulator.commands.variants`.
    """

    name: str
    vendor: str
    manufacturer: str
    model: str
    revision: str
    tac: str
    identification: tuple[str, ...]
    usb_id: str = ""
    ports: tuple[PersonaPort, ...] = (PersonaPort(role=PortRole.AT),)
    urc_role: PortRole = PortRole.AT
    unknown_command: str = "ERROR"
    echo: bool = True
    prompt: str = "\r\n> "
    submit_seconds: float = 0.0
    link_seconds: float = 3.0
    ussd_coding: UssdCoding = UssdCoding.TEXT
    cpin_has_ok: bool = True
    memories: tuple[str, ...] = ("SM", "ME", "MT", "SR")
    write_memories: tuple[str, ...] = ()
    n_memories: int = 3
    sr_slots: int = 20
    first_slot: int = 1
    me_slots: int = 100
    default_memory: str = "SM"
    cnmi_modes: tuple[int, ...] = (0, 1, 2, 3)
    cnmi_refused_modes: tuple[int, ...] = ()
    cnmi_refused_reports: tuple[int, ...] = ()
    direct_needs_ack: bool = False
    report_memory: str = ""
    cmti_is_quoted: bool = True
    flash_is_direct: bool = False
    creg_is_quoted: bool = True
    cops_in_charset: bool = False
    access_technology: int | None = None
    has_eps: bool = False
    prompted_ack: bool = True
    boot_seconds: float = 0.5
    port_seconds: float | None = None
    boots_with_radio: bool = True
    airplane_setting: str = ""
    boot_lines: tuple[str, ...] = ()
    unlock_lines: tuple[str, ...] = ()
    reenumerates: bool = False
    sim_busy_seconds: float = 0.2
    cpin_is_busy: bool = False
    register_seconds: float = 0.3
    noise: tuple[str, ...] = ()
    noise_seconds: float = 30.0
    noise_switch: str = "^CURC"
    silenced: tuple[str, ...] = ()
    autobaud: bool = False
    messaging_seconds: float = 0.0
    messaging_code: int = 314
    message_line: str = "+CMT: ,{length}"
    report_line: str = "+CDS: {length}"
    report_slot: str = ""
    acknowledges_itself: bool = False
    forgets_routing: bool = False
    rewords: Mapping[str, str] = field(default_factory=dict)
    cnmi_only: tuple[str, ...] = ()
    cnmi_refusal: str = "ERROR"
    csq_separator: str = ","
    creg_form: RegistrationForm = RegistrationForm.STANDARD
    crsm_short: bool = True
    crsm_quoted: bool = True
    crsm_ok: str = "144,0"
    crsm_missing: str = "106,130"
    empty_slot: EmptySlot = EmptySlot.ERROR
    empty_delete: bool = True
    absent: str = ""
    card_needs_radio: bool = False
    push_mark: str = ""
    no_card: str = "+CME ERROR: 10"
    busy_card: str = "+CME ERROR: 14"
    sms_codes: Mapping[str, int] = field(default_factory=dict)
    cms_has_text: bool = False
    apdu_needs_lock: bool = False
    own_number_line: str = '+CNUM: "{alpha}","{number}",{type}'
    call_end: str = "NO CARRIER"
    ring_seconds: float = 5.0
    max_line: int = 560
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    keeps: Mapping[str, str] = field(default_factory=dict)
    nonvolatile: tuple[str, ...] = ()
    resets: tuple[str, ...] = ()
    offs: tuple[str, ...] = ()
    told: tuple[Told, ...] = ()

    def port(self, role: PortRole) -> PersonaPort | None:
        """The port of that role; None where the model has none."""
        return next((port for port in self.ports if port.role is role), None)


_READER = TypeAdapter(Persona)
_NAMES = frozenset(item.name for item in fields(Persona))


def parse(text: str) -> Persona:
    """Read a persona file's text.

    Raises:
        PersonaError: not TOML, an unknown key, a missing key.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PersonaError(f"not TOML: {error}") from error
    unknown = sorted(set(table) - _NAMES)
    if unknown:
        raise PersonaError(f"unknown key {unknown[0]!r}")
    try:
        persona = _READER.validate_python(table)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise PersonaError(f"{place}: {first['msg']}") from error
    roles = [port.role for port in persona.ports]
    if roles.count(PortRole.AT) != 1 or len(set(roles)) != len(roles):
        raise PersonaError("ports: one with role `at`, and no role twice")
    return persona


@cache
def load(name: str) -> Persona:
    """The persona of that name.

    Raises:
        PersonaError: there is no such persona; the message lists those that exist.
    """
    file = resources.files("simulator") / "personas" / f"{name}.toml"
    if not file.is_file():
        raise PersonaError(f"no persona {name!r}; there are {', '.join(names())}")
    return parse(file.read_text("utf-8"))


def names() -> list[str]:
    """All personas, in alphabetical order."""
    folder = resources.files("simulator") / "personas"
    found = (file.name for file in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml"))
