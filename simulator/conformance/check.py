"""The nouns of the suite: a check, what it found, and the bench it works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from simulator.conformance.client import Client
from simulator.conformance.guard import Permit
from simulator.conformance.reply import Reply
from simulator.conformance.settings import Settings


class Verdict(StrEnum):
    """What a check says of the modem."""

    CAN = "can"
    CANNOT = "cannot"
    ODD = "odd"  # it works, but not as the standard or most clients expect
    NOT_TRIED = "not tried"


class Need(StrEnum):
    """What must be there for a check to mean anything."""

    LINE = "line"
    CARD = "card"  # in it and unlocked
    NETWORK = "network"  # registered


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A check's outcome in one line for a person."""

    verdict: Verdict
    says: str


def can(says: str) -> Finding:
    """It does it as it should."""
    return Finding(verdict=Verdict.CAN, says=says)


def cannot(says: str) -> Finding:
    """It does not do it."""
    return Finding(verdict=Verdict.CANNOT, says=says)


def odd(says: str) -> Finding:
    """It does it in a way that breaks some client."""
    return Finding(verdict=Verdict.ODD, says=says)


def not_tried(says: str) -> Finding:
    """Nothing is known; why."""
    return Finding(verdict=Verdict.NOT_TRIED, says=says)


@dataclass(slots=True, kw_only=True)
class Observed:
    """What drafts are written from, filled in as the checks go. None = not seen."""

    is_echoing: bool | None = None
    manufacturer: str | None = None
    model: str | None = None
    revision: str | None = None
    identification: tuple[str, ...] = ()
    family: str = "generic"
    imei: str | None = None
    iccid: str | None = None
    imsi: str | None = None
    numbers: set[str] = field(default_factory=set)
    unknown_command: str | None = None
    max_line: int | None = None
    pin_state: str | None = None
    pin_tries: int | None = None
    puk_tries: int | None = None
    counter_command: str | None = None
    counter_form: str | None = None
    iccid_command: str | None = None
    iccid_form: str | None = None
    cpin_has_ok: bool = True
    registration: int | None = None
    creg_is_quoted: bool | None = None
    tells_no_cell: bool = False
    creg_is_short: bool = False  # the answer lacks its first field, as the unsolicited line
    csq_separator: str = ","
    crsm_is_short: bool = True  # 192 without its further parameters is enough
    crsm_is_quoted: bool = True
    crsm_missing: str | None = None
    empty_read: Reply | None = None
    empty_delete: Reply | None = None
    access_technology: int | None = None
    has_eps: bool | None = None
    charsets: tuple[str, ...] = ()
    has_phase_2_plus: bool | None = None
    is_service_stuck: bool = False  # +CSMS? says 0 whatever was set
    memories: tuple[str, ...] = ()
    n_memories: int | None = None
    default_memory: str | None = None
    capacities: dict[str, int] = field(default_factory=dict)
    first_slot: int | None = None
    cnmi_modes: tuple[int, ...] = ()
    cnmi_refused: set[tuple[int, int, int]] = field(default_factory=set)
    cnmi_taken: dict[tuple[int, int, int], int] = field(default_factory=dict)  # → its bfr
    cnmi_refusal: str | None = None
    cnmi_depends: bool = False  # with +CSMS=1 more is offered
    write_memories: tuple[str, ...] = ()
    cnmi_found: str = ""
    prompt: bytes | None = None
    submit_seconds: float | None = None
    noise: tuple[str, ...] = ()
    noise_seconds: float | None = None
    boot_lines: tuple[str, ...] = ()
    boot_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the person asked for beyond looking; each stands for an explicit flag."""

    number: str = ""
    text: str = "modemctl conformance"
    is_ucs2: bool = False
    pin: str = ""
    is_forced: bool = False
    ussd: str = ""
    is_writing: bool = False
    is_restarting: bool = False
    listen_seconds: float = 10.0
    has_scan: bool = True

    @property
    def permits(self) -> frozenset[Permit]:
        """What the flags that were given allow."""
        given = {
            Permit.SEND: self.number,
            Permit.PIN: self.pin,
            Permit.WRITE: self.is_writing,
            Permit.USSD: self.ussd,
            Permit.REBOOT: self.is_restarting,
        }
        return frozenset(permit for permit, is_given in given.items() if is_given)


@dataclass(slots=True, kw_only=True)
class Bench:
    """One modem under test: how to ask it, what is wanted, what was seen."""

    client: Client
    wishes: Wishes
    settings: Settings
    seen: Observed = field(default_factory=Observed)

    def ask(self, command: str) -> Reply:
        """Ask one question. See `Client.ask`."""
        return self.client.ask(command)

    def allows(self, permit: Permit) -> bool:
        """Whether the person's flag for it is there."""
        return self.client.guard.allows(permit)

    @property
    def has_card(self) -> bool:
        """A card is in and asks for nothing."""
        return self.seen.pin_state == "READY"

    @property
    def is_registered(self) -> bool:
        """The network takes SMS from it. Source: TS 27.007 §7.2."""
        return self.seen.registration in {1, 5, 6, 7, 9, 10}


Run: TypeAlias = Callable[[Bench], Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question to a modem. `suffers`: what happens to whom where the answer is no."""

    name: str
    title: str
    clause: str
    suffers: str
    run: Run
    need: Need = Need.LINE
    permit: Permit | None = None
    is_essential: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A check with what it found and all that went over the line for it."""

    check: Check
    finding: Finding
    replies: tuple[Reply, ...] = ()
    is_without_flag: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long one kind of command takes; seconds."""

    n: int
    minimum: float
    median: float
    maximum: float


Timings: TypeAlias = Mapping[str, Pace]
