"""Faults that a modem can be told to have: by count, after a number of chances, or by rate.

Faults that last a time are set and cleared by a scenario's timeline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from simulator.dice import Chance, Dice
from simulator.reading import Seconds

_LEAST_GAP: Final = 0.001  # seconds; without any, time would stand still in a flood


class FaultKind(StrEnum):
    """What goes wrong, and when it has a chance to."""

    # At each command.
    SILENCE = "silence"  # reads, executes nothing, answers nothing
    NO_ANSWER = "no_answer"  # executes it, the answer is lost
    SLOW_ANSWER = "slow_answer"  # executes it, the answer comes `seconds` later
    URC_IN_ANSWER = "urc_in_answer"  # an unsolicited line before the final result
    GARBAGE = "garbage"  # noise octets before the answer
    MERGED_LINES = "merged_lines"  # one line end where there should be two
    TRUNCATED_LINE = "truncated_line"  # an information line breaks off, its end is lost
    DOUBLED_BYTE = "doubled_byte"  # one octet of the answer comes twice
    LOST_BYTE = "lost_byte"  # one octet of the answer is missing
    ECHO_AGAIN = "echo_again"  # echo is on again after the command
    REBOOT = "reboot"  # restarts instead of carrying it out
    PORT_GONE = "port_gone"  # the ports vanish and come back after `seconds`
    PORT_RENUMBERED = "port_renumbered"  # the same, under another number
    # At each write of the modem.
    SLOW_OUTPUT = "slow_output"  # it dribbles octet by octet, one a millisecond
    SPLIT_WRITES = "split_writes"  # it comes in two pieces, the second `seconds` later
    MERGED_WRITES = "merged_writes"  # it waits for the next one (at most `seconds`)
    # At each prompt.
    NO_PROMPT = "no_prompt"  # +CMGS gets neither prompt nor error
    BARE_PROMPT = "bare_prompt"  # the prompt lacks its blank
    PROMPT_WITHOUT_CRLF = "prompt_without_crlf"  # the prompt lacks its line end before it
    URC_AT_PROMPT = "urc_at_prompt"  # unsolicited lines come between prompt and payload
    HANG_AT_PROMPT = "hang_at_prompt"  # prompts, then is dead until a reboot
    # At each payload, after Ctrl-Z.
    HANG = "hang"  # nothing leaves, nothing is answered until a reboot
    LOST_ANSWER = "lost_answer"  # the network takes it, the answer is lost
    LATE_ANSWER = "late_answer"  # the network takes it, the answer is `seconds` late
    CMS_ERROR = "cms_error"  # `+CMS ERROR: code`, nothing leaves
    CMS_ERROR_SENT = "cms_error_sent"  # the same answer, but the network took it
    OK_NOT_SENT = "ok_not_sent"  # `+CMGS: mr` though nothing left
    REPEATED_MR = "repeated_mr"  # the reference does not move on
    ZERO_MR = "zero_mr"  # the reference is 0
    REBOOT_ON_SUBMIT = "reboot_on_submit"  # restarts, nothing leaves
    REBOOT_AFTER_SUBMIT = "reboot_after_submit"  # the network takes it, then it restarts
    # At each message that is stored, each report that is announced.
    STORAGE_FULL = "storage_full"  # there is no room
    WRONG_INDEX = "wrong_index"  # +CDSI names a slot that is not the report's
    # At each read of the card.
    SIM_BUSY = "sim_busy"  # +CME ERROR: 14, +CMS ERROR: 314
    HALF_ICCID = "half_iccid"  # the second half of the ICCID reads as filler
    # At once when set, until cleared.
    RADIO_OFF = "radio_off"  # the transmitter is off, the registration lost
    # At once when set, once.
    CNMI_LOST = "cnmi_lost"  # nothing is routed any more, nothing says so
    # Every `seconds` while set.
    URC_FLOOD = "urc_flood"  # endless status lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault.

    `skip` chances pass, then it strikes each with probability `rate`, `count` times (None = until
    it is cleared). `on`: only at commands of this name. `seconds` and `code` have a use with some
    kinds.
    """

    kind: FaultKind
    count: Annotated[int, Field(ge=1)] | None = 1
    skip: Annotated[int, Field(ge=0)] = 0
    rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    on: str = ""
    seconds: Seconds = 1.0
    code: Annotated[int, Field(ge=0, le=999)] = 500

    def __post_init__(self) -> None:
        if self.seconds < 0:
            raise ValueError("seconds: not below 0")
        if self.kind is FaultKind.URC_FLOOD and self.seconds < _LEAST_GAP:
            raise ValueError(f"seconds: at least {_LEAST_GAP} with {self.kind}")


class Faults:
    """The faults that one modem has now. Chance is the modem's own: `name` and the kind.

    `on_change` hears of each kind that is set or cleared by hand, `on_strike` of each strike.
    """

    def __init__(self, dice: Dice | None = None, name: str = "") -> None:
        self._dice = dice or Dice(0)
        self._name = name
        self._set: dict[FaultKind, Fault] = {}
        self._chances: dict[str, Chance] = {}
        self.struck: Counter[str] = Counter()
        self.on_change: Callable[[FaultKind], None] = lambda _kind: None
        self.on_strike: Callable[[Fault], None] = lambda _fault: None

    @property
    def is_any(self) -> bool:
        """True where any fault is set."""
        return bool(self._set)

    def set(self, fault: Fault) -> None:
        """Have this fault; it replaces one of the same kind."""
        self._set[fault.kind] = fault
        self.on_change(fault.kind)

    def clear(self, kind: FaultKind | None = None) -> None:
        """Have this kind no more, or none at all."""
        for gone in list(self._set) if kind is None else [kind]:
            if self._set.pop(gone, None) is not None:
                self.on_change(gone)

    def has(self, kind: FaultKind) -> bool:
        """True where the fault is set, without using it up."""
        return bool(self._set) and kind in self._set

    def get(self, kind: FaultKind) -> Fault | None:
        """The fault that is set, without using it up."""
        return self._set.get(kind) if self._set else None

    def take(self, kind: FaultKind, command: str | None = None) -> Fault | None:
        """The fault if it strikes now; each call is one chance, at `command` where there is one."""
        if not self._set or (fault := self._set.get(kind)) is None:
            return None
        if fault.on and command is not None and fault.on.upper() != command:
            return None
        if fault.skip:
            self._set[kind] = replace(fault, skip=fault.skip - 1)
            return None
        if fault.rate < 1 and not self._chance(kind.value).strikes(fault.rate):
            return None
        if fault.count is not None:
            if fault.count <= 1:
                del self._set[kind]
            else:
                self._set[kind] = replace(fault, count=fault.count - 1)
        self.struck[kind.value] += 1
        self.on_strike(fault)
        return fault

    def place(self, kind: FaultKind, length: int) -> int:
        """Where in `length` octets the fault strikes; drawn, the same for the same seed."""
        return int(self._chance(f"{kind.value}/place").draw() * length)

    def names(self) -> list[str]:
        """The kinds that are set."""
        return sorted(self._set)

    def _chance(self, what: str) -> Chance:
        found = self._chances.get(what)
        if found is None:
            found = self._chances[what] = Chance(self._dice, f"{self._name}/{what}")
        return found
