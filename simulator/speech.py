"""What a modem asks of its model: what a command does, and what is said without one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeAlias

from simulator.network.ussd import Reply
from simulator.persona import Moment
from simulator.phone import Dialect
from simulator.wire.line import Outcome
from simulator.wire.syntax import Command

Lines: TypeAlias = list[str] | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """One modem's commands and sayings; `simulator.commands.speech` puts it together.

    `carry_out` does a command, or raises `Refused`; `names` are those that its table has, and
    `defaults` the settings after power-up. `final` is a final result as `+CMEE` wants it, `filled`
    a line of the persona's file with what is true now, `arrived` the lines of a TPDU that is shown
    directly, `ussd` those of a reply (None = the client wants none), `registration` those of the
    registration as it is now, `noise` those of its chatter; `no_network` ends a segment whose
    network went. `tell` says what belongs to a moment, `tell_card` what is seen of the card when
    it gets power, `tell_full` that a storage had no room. `dialect` tells of calls.
    """

    names: Collection[str]
    carry_out: Callable[[Command], Outcome]
    defaults: Callable[[], dict[str, str]]
    final: Callable[[str], str]
    filled: Callable[[str], str]
    arrived: Callable[[bytes], str]
    ussd: Callable[[Reply], str | None]
    registration: Callable[[], Lines]
    noise: Callable[[], Lines]
    no_network: Callable[[], str]
    tell: Callable[[Moment], None]
    tell_card: Callable[[], None]
    tell_full: Callable[[str], None]
    dialect: Dialect
