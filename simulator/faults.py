"""Faults that a modem can be told to have, each for a number of times or until cleared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class FaultKind(StrEnum):
    """What goes wrong."""

    SILENCE = "silence"  # reads, executes nothing, answers nothing
    NO_PROMPT = "no_prompt"  # +CMGS gets neither prompt nor error
    BARE_PROMPT = "bare_prompt"  # the prompt lacks its blank
    HANG = "hang"  # after Ctrl-Z nothing leaves, nothing is answered until a reboot
    LOST_ANSWER = "lost_answer"  # after Ctrl-Z the network takes it, the answer is lost
    LATE_ANSWER = "late_answer"  # after Ctrl-Z the network takes it, the answer is late
    CMS_ERROR = "cms_error"  # after Ctrl-Z `+CMS ERROR: code`, nothing leaves
    CMS_ERROR_SENT = "cms_error_sent"  # the same answer, but the network took it
    OK_NOT_SENT = "ok_not_sent"  # `+CMGS: mr` though nothing left
    REPEATED_MR = "repeated_mr"  # the reference does not move on
    REBOOT_ON_SUBMIT = "reboot_on_submit"  # restarts at Ctrl-Z, nothing leaves
    REBOOT_AFTER_SUBMIT = "reboot_after_submit"  # the network takes it, then it restarts
    URC_IN_ANSWER = "urc_in_answer"  # an unsolicited line before the final result
    GARBAGE = "garbage"  # noise octets before an answer
    ECHO_AGAIN = "echo_again"  # echo is on again after the next command
    SLOW_OUTPUT = "slow_output"  # answers dribble octet by octet


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `count` None = until cleared; `seconds` and `code` where the kind has a use."""

    kind: FaultKind
    count: int | None = 1
    skip: int = 0
    seconds: float = 1.0
    code: int = 500


class Faults:
    """The faults that one modem has now."""

    def __init__(self) -> None:
        self._set: dict[FaultKind, Fault] = {}

    def set(self, fault: Fault) -> None:
        """Have this fault; it replaces one of the same kind."""
        self._set[fault.kind] = fault

    def clear(self) -> None:
        """Have none."""
        self._set.clear()

    def has(self, kind: FaultKind) -> bool:
        """True where the fault is set, without using it up."""
        return bool(self._set) and kind in self._set

    def take(self, kind: FaultKind) -> Fault | None:
        """The fault if it strikes now; counts it down, after letting `skip` chances pass."""
        if not self._set or (fault := self._set.get(kind)) is None:
            return None
        if fault.skip:
            self._set[kind] = replace(fault, skip=fault.skip - 1)
            return None
        if fault.count is not None:
            if fault.count <= 1:
                del self._set[kind]
            else:
                self._set[kind] = replace(fault, count=fault.count - 1)
        return fault

    def names(self) -> list[str]:
        """The kinds that are set."""
        return sorted(self._set)
