"""A bank half of which is in turmoil: every fault, at random, from one seed; the rest is healthy.

What is done is planned before it begins, so that a seed tells the whole story.
"""

from __future__ import annotations

import csv
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from simulator.faults import FaultKind
from simulator.phone import CallOutcome, CallPlan
from tests.support.simulated import BankProcess, wait_until

K = FaultKind
_RARE = {K.HANG, K.HANG_AT_PROMPT}
"""Nothing but a loss of power ends these."""
_HARD = _RARE | {
    K.REBOOT, K.REBOOT_ON_SUBMIT, K.REBOOT_AFTER_SUBMIT, K.PORT_GONE, K.PORT_RENUMBERED,
    K.LOST_ANSWER, K.NO_ANSWER, K.SILENCE, K.NO_PROMPT,
}  # fmt: skip
"""These take a modem out of service for a while."""
_REFUSALS = (41, 500)
"""One that is tried again soon, one that proves nothing; others wait for minutes."""
_STRANGER = "+8613700000001"
BURST = 2.0
_STRANGE = " 您好，请问今天几点开门？"
_DEEDS = ("unplug", "unplug_powered", "reboot", "pull_card", "lose_coverage")
PER_HUB = 8
_HUB_EVERY = 15.0
_STALL_EVERY = 12.0
_STALL = (0.5, 2.5)
_LONG_STALL = 6.5
"""The store's own patience with a locked database is 5 s."""
_RESTART_EVERY = 20.0
_CALLED_AGAIN = 120.0
_RINGS, _COMES_UP = 12.0, 20.0
"""Who is called shortly before the daemon ends, or while it comes up, is sick: not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One thing that is done at a moment, in seconds from the beginning."""

    at: float
    modem: str
    what: str
    args: dict[str, object] = field(default_factory=dict)


class Host(Protocol):
    """The machine under the daemon."""

    def stop_daemon(self) -> None:
        """Ask the daemon to end in order."""

    def kill_daemon(self) -> None:
        """Kill the daemon where it stands."""

    def start_daemon(self) -> None:
        """Start the daemon again."""

    def stall_store(self) -> None:
        """From now on no commit is possible."""

    def free_store(self) -> None:
        """Commits are possible again."""

    @property
    def is_stalled(self) -> bool:
        """Whether a commit would have to wait now."""


_HOST_DEEDS: dict[str, Callable[[Host], None]] = {
    "stop_daemon": lambda host: host.stop_daemon(),
    "kill_daemon": lambda host: host.kill_daemon(),
    "start_daemon": lambda host: host.start_daemon(),
    "stall_store": lambda host: host.stall_store(),
    "free_store": lambda host: host.free_store(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """An SMS that a stranger sent to a modem's card."""

    modem: str
    text: str


def plan(
    seed: int,
    sick: Sequence[str],
    everybody: Sequence[str],
    seconds: float,
    *,
    hub: int,
    burst: float = BURST,
    ends: bool = True,
) -> list[Deed]:
    """What happens: faults at sick modems, a hub of them pulled, SMS and calls to everybody.

    Every `burst` seconds half of the sick get new ones. Meanwhile the database stalls and, with
    `ends`, the daemon is killed and stopped in turn.
    """
    dice = random.Random(seed)
    deeds: list[Deed] = []
    kinds = [kind for kind in FaultKind for _ in range(1 if kind in _RARE else 3)]
    queue: list[FaultKind] = []
    for n in range(max(1, int(seconds / burst))):
        at = n * burst
        for modem in dice.sample(sick, max(1, len(sick) // 2)):
            for _ in range(dice.randint(1, 2)):
                if not queue:
                    queue = dice.sample(kinds, len(kinds))
                deeds += _fault(dice, at + dice.uniform(0, burst), modem, queue.pop())
        modem = dice.choice(sick)
        deeds += _deed(dice, at + dice.uniform(0, burst), modem)
    for n in range(int(seconds)):
        modem = dice.choice(everybody)
        long = " and so on" * 20 if n % 10 == 0 else _STRANGE * (6 if n % 10 == 5 else n % 3 == 1)
        deeds.append(
            Deed(at=n + dice.random(), modem=modem, what="sms", args={"text": f"in {n}.{long}"})
        )
    deeds += _host_deeds(dice, seconds, hub, ends=ends)
    deeds += _calls(dice, sick, everybody, seconds, deeds)
    return sorted(deeds, key=lambda deed: deed.at)


def _host_deeds(dice: random.Random, seconds: float, hub: int, *, ends: bool) -> list[Deed]:
    """What befalls more than one modem; the longest stall comes once."""
    deeds: list[Deed] = []

    def pair(at: float, lasts: float, what: str, back: str, **args: object) -> None:
        deeds.append(Deed(at=at, modem="", what=what, args=args))
        deeds.append(Deed(at=at + lasts, modem="", what=back, args=args))

    for n in range(1, int(seconds / _HUB_EVERY)):
        at = n * _HUB_EVERY + dice.uniform(0, 4)
        pair(at, dice.uniform(0.5, 4), "unplug_hub", "plug_hub", hub=hub)
    for n in range(1, int(seconds / _STALL_EVERY)):
        lasts = _LONG_STALL if n == 1 else dice.uniform(*_STALL)
        pair(n * _STALL_EVERY + dice.uniform(0, 2), lasts, "stall_store", "free_store")
    every = max(_RESTART_EVERY, seconds / 10)
    for n in range(1, int(seconds / every) if ends else 0):
        what = "kill_daemon" if n % 2 else "stop_daemon"
        pair(n * every + dice.uniform(0, 4), dice.uniform(0.2, 2), what, "start_daemon")
    return deeds


def _calls(
    dice: random.Random,
    sick: Sequence[str],
    everybody: Sequence[str],
    seconds: float,
    deeds: Sequence[Deed],
) -> list[Deed]:
    """The next call to one comes later: the line is engaged. Only sick ones near a restart."""
    ends = [deed.at for deed in deeds if deed.what in {"stop_daemon", "kill_daemon"}]
    called: dict[str, float] = {}
    calls: list[Deed] = []
    for n in range(int(seconds) // 4):
        at = 4 * n + dice.random()
        is_near = any(at - _COMES_UP < end < at + _RINGS for end in ends)
        everyone = sick if is_near else everybody
        if idle := [one for one in everyone if at >= called.get(one, at)]:
            calls.append(Deed(at=at, modem=dice.choice(idle), what="call"))
            called[calls[-1].modem] = at + _CALLED_AGAIN
    return calls


def _fault(dice: random.Random, at: float, modem: str, kind: FaultKind) -> list[Deed]:
    args: dict[str, object] = {
        "fault": kind.value,
        "count": 1 if kind in _HARD else dice.randint(1, 4),
        "skip": dice.randint(0, 2),
        "seconds": {K.URC_FLOOD: 0.05, K.LATE_ANSWER: dice.uniform(1, 9)}.get(
            kind, dice.uniform(0.1, 3)
        ),
    }
    if kind is K.TRUNCATED_LINE:  # a line that breaks off at one place each time is whole to us
        args["count"] = dice.randint(1, 2)
    if kind is K.CMS_ERROR:
        args["code"] = dice.choice(_REFUSALS)
    if kind in {K.RADIO_OFF, K.URC_FLOOD}:  # until cleared
        args |= {"skip": 0, "lasts": dice.uniform(1, 5)}
    if kind is K.CNMI_LOST:  # strikes when it is set, or never
        args |= {"skip": 0, "count": 1}
    deeds = [Deed(at=at, modem=modem, what="fault", args=args)]
    if kind in _RARE:  # somebody pulls the plug of what hangs, and puts it in again
        off = at + dice.uniform(5, 15)
        deeds.append(Deed(at=off, modem=modem, what="unplug", args={"keeps_power": False}))
        deeds.append(Deed(at=off + 1, modem=modem, what="plug"))
    return deeds


def _deed(dice: random.Random, at: float, modem: str) -> list[Deed]:
    what = dice.choice(_DEEDS)
    back = at + dice.uniform(0.5, 4)
    match what:
        case "unplug" | "unplug_powered":
            return [
                Deed(at=at, modem=modem, what="unplug", args={"keeps_power": what != "unplug"}),
                Deed(at=back, modem=modem, what="plug"),
            ]
        case "pull_card":
            return [Deed(at=at, modem=modem, what="pull_card"),
                    Deed(at=back, modem=modem, what="insert_card")]  # fmt: skip
        case "lose_coverage":
            return [Deed(at=at, modem=modem, what="lose_coverage"),
                    Deed(at=back, modem=modem, what="restore_coverage")]  # fmt: skip
        case _:
            return [Deed(at=at, modem=modem, what="reboot")]


class Turmoil:
    """Carries a plan out on a bank that is served, and ends it so that every modem can work."""

    def __init__(self, bank: BankProcess, sick: Sequence[str], host: Host) -> None:
        self._bank = bank
        self._host = host
        self._sick = list(sick)
        with (bank.folder / "cards.csv").open(encoding="ascii") as file:
            self.cards = {row["modem"]: row for row in csv.DictReader(file)}
        self.sms: list[Incoming] = []
        self.calls: Counter[str] = Counter()
        self.acts: list[tuple[str, str, float]] = []
        """Modem, what was done with it by hand, and when (POSIX time)."""
        self._clearing: list[tuple[float, str, str]] = []
        self._began = 0.0

    def run(self, deeds: Sequence[Deed], each_second: Callable[[], None]) -> None:
        """Do one deed after the other at its moment."""
        self._began = time.monotonic()
        seconds = 0
        for deed in deeds:
            self._wait(deed.at)
            self._do(deed)
            if deed.at >= seconds and not self._host.is_stalled:
                seconds = int(deed.at) + 1
                each_second()

    def finish(self) -> None:
        """No faults any more; what is unplugged is plugged in, what hangs gets its power anew."""
        control = self._bank.control
        control.clear_faults()
        control.restore_coverage()
        for name in self._sick:
            control.restore_coverage(modem=name)
            self._do(Deed(at=0, modem=name, what="insert_card"))
        hung = {
            str(line["modem"])
            for line in self._bank.ledger(kind="fault")
            if str(line["fault"]) in _RARE
        }
        for name in sorted(hung):
            self._do(Deed(at=0, modem=name, what="unplug", args={"keeps_power": False}))
        for name in self._sick:
            self._do(Deed(at=0, modem=name, what="plug"))

    def is_all_taken(self) -> bool:
        """Whether all has been reported, and nothing lies in a modem or waits in the network."""
        if len(self._bank.ledger(kind="report")) < len(self._bank.ledger(kind="submit")):
            return False
        for state in self._bank.control.state():
            card = state["card"]
            if not isinstance(card, dict) or card["stored"] or card["waiting"] or state["me_used"]:
                return False
        return True

    def _wait(self, at: float) -> None:
        def is_time() -> bool:
            now = time.monotonic() - self._began
            while self._clearing and self._clearing[0][0] <= now:
                _, modem, kind = self._clearing.pop(0)
                self._bank.control.clear_faults(modem, kind=FaultKind(kind))
            return now >= at

        wait_until(is_time, what=f"second {at:.0f}", seconds=600)

    def _do(self, deed: Deed) -> None:
        control, modem = self._bank.control, deed.modem
        args = dict(deed.args)
        match deed.what:
            case "fault":
                lasts = args.pop("lasts", None)
                if isinstance(lasts, float):
                    self._clearing.append((deed.at + lasts, modem, str(args["fault"])))
                    self._clearing.sort()
                    args["count"] = None
                control.request("set_fault", {"modem": modem, **args})
            case "sms":
                text = str(args["text"])
                control.inject_sms(self.cards[modem]["number"], text, origin=_STRANGER)
                self.sms.append(Incoming(modem=modem, text=text))
                return
            case "call":
                self._call(modem)
                return
            case "unplug_hub" | "plug_hub":
                names = control.request(deed.what, args)["names"]
                assert isinstance(names, list)
                self.acts += [(str(name), deed.what, time.time()) for name in names]
                return
            case what if what in _HOST_DEEDS:
                _HOST_DEEDS[what](self._host)
                return
            case "insert_card":
                (state,) = control.state(modem)
                if state["card"] is not None:
                    return
                control.insert_card(modem, self.cards[modem]["iccid"])
            case "reboot" if not control.state(modem)[0]["is_plugged"]:
                return
            case _:
                control.request(deed.what, {"modem": modem, **args})
        self.acts.append((modem, deed.what, time.time()))

    def _call(self, modem: str) -> None:
        (state,) = self._bank.control.state(modem)
        if state["is_on"] and state["registration"] in {1, 5} and not state["call"]:
            plan = CallPlan(number="+8613700000000", outcome=CallOutcome.MISSED)
            self._bank.control.inject_call(modem, plan)
            self.calls[modem] += 1
