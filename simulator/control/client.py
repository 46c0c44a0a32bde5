"""A client of a running bank's control socket; blocking, one request at a time."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from simulator.control.verbs import PAGE_MOST, Source
from simulator.faults import Fault, FaultKind
from simulator.ledger import Fact
from simulator.phone import CallPlan

Args: TypeAlias = Mapping[str, object]
Result: TypeAlias = dict[str, object]
Line: TypeAlias = dict[str, Fact]


class ControlError(Exception):
    """The bank refused a request; the message says why."""


class BankControl:
    """A client of a running bank.

    `modem` is a name, a number, a range, a list (`1-4,modem07`) or `all` wherever one is asked
    for. Every method raises `ControlError` where the bank refuses or is gone. `timeout` is in
    seconds; None = as long as it takes.
    """

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        self._path = path
        self.timeout: float | None = timeout
        self._socket = _connect(path, timeout)
        self._file = self._socket.makefile("rb")
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._socket.close()

    def request(self, do: str, args: Args) -> Result:
        """Send one request and wait for its answer.

        Raises:
            ControlError: the bank refused, went away, or did not answer in time.
        """
        self._count += 1
        line = json.dumps({**args, "id": self._count, "do": do})
        try:
            self._socket.sendall(line.encode() + b"\n")
            received = self._file.readline()
        except TimeoutError as error:
            raise ControlError(f"no answer to {do} within {self.timeout} s") from error
        except OSError as error:
            raise ControlError(f"the bank is gone: {error.strerror}") from error
        if not received:
            raise ControlError("the bank is gone")
        answer: Result = json.loads(received)
        if not answer.pop("ok"):
            raise ControlError(str(answer["error"]))
        return answer

    # ------------------------------------------------------------ looking

    def state(self, modem: str | None = None) -> list[Line]:
        """What is true of some modems or of all."""
        return self._list("state", "modems", {} if modem is None else {"modem": modem})

    def ledger(self, **where: Fact) -> list[Line]:
        """The ledger's lines with these values."""
        found: list[Line] = []
        offset = 0
        while True:
            args = {"where": where, "offset": offset, "limit": PAGE_MOST}
            answer = self.request("ledger", args)
            lines, after = answer["lines"], answer["offset"]
            assert isinstance(lines, list)
            assert isinstance(after, int)
            found += lines
            if after == offset:
                return found
            offset = after

    def follow(self, where: Args | None = None, *, new: bool = False) -> Iterator[Line]:
        """The ledger's lines with these values as they come, over a connection of its own.

        `new`: only those from now on. Ends when the bank does; raises TimeoutError where nothing
        comes within the client's time limit.
        """
        link = _connect(self._path, self.timeout)
        with link, link.makefile("rb") as answers:
            request = {"id": 0, "do": "follow", "where": where or {}, "new": new}
            link.sendall(json.dumps(request).encode() + b"\n")
            first = json.loads(answers.readline() or b'{"ok":false,"error":"the bank is gone"}')
            if not first["ok"]:
                raise ControlError(str(first["error"]))
            for line in answers:
                yield json.loads(line)["line"]

    def wait_for(
        self, holds: Callable[[Line], bool], *, count: int = 1, where: Args | None = None
    ) -> Line:
        """Wait until `count` lines of the ledger, old ones counted, hold; the last of them.

        Raises:
            TimeoutError: nothing came within the client's time limit.
            ControlError: the bank ended before.
        """
        for line in self.follow(where):
            count -= holds(line)
            if count == 0:
                return line
        raise ControlError("the bank is gone")

    # ------------------------------------------------------------ messages and calls

    def inject_sms(self, to: str, text: str, *, origin: str, dcs: int | None = None) -> None:
        """Send a text to a card: by modem, ICCID or number; cut into segments where long."""
        args: dict[str, object] = {"to": to, "text": text, "from": origin}
        self.request("inject_sms", args if dcs is None else {**args, "dcs": dcs})

    def inject_tpdu(self, to: str, tpdu: bytes) -> None:
        """Send octets to a card as they are."""
        self.request("inject_sms", {"to": to, "tpdu": tpdu.hex()})

    def send_sms(self, modem: str, to: str, text: str, *, report: bool = False) -> None:
        """Let a modem send, as if a client of its first port had told it to."""
        self.request("send_sms", {"modem": modem, "to": to, "text": text, "report": report})

    def type(self, modem: str, text: str, *, enter: bool = True) -> str:
        """Write octets to a modem as a client would; what it answered at once."""
        answer = self.request("type", {"modem": modem, "text": text, "enter": enter})
        return str(answer["answer"])

    def inject_call(self, modem: str, plan: CallPlan) -> None:
        """Let a call come in."""
        self.request("inject_call", {"modem": modem, **_plan_args(plan)})

    def dial(self, modem: str, plan: CallPlan) -> None:
        """Let a person at the stick dial."""
        self.request("dial", {"modem": modem, **_plan_args(plan)})

    def hang_up(self, modem: str) -> None:
        """Let a person at the stick hang up."""
        self.request("hang_up", {"modem": modem})

    def traffic(self, source: Source, *, per_minute: float, modem: str = "all",
                **more: object) -> str:  # fmt: skip
        """Start traffic; its name. `more`: the fields of `simulator.control.verbs.Traffic`."""
        args = {"source": source.value, "per_minute": per_minute, "modem": modem, **more}
        return str(self.request("traffic", args)["name"])

    def stop_traffic(self, name: str = "") -> None:
        """End one traffic, or all."""
        self.request("stop_traffic", {"name": name})

    # ------------------------------------------------------------ faults and network

    def set_fault(self, modem: str, fault: Fault) -> None:
        """Give a modem a fault."""
        facts = {name: getattr(fault, name) for name in fault.__slots__ if name != "kind"}
        self.request("set_fault", {"modem": modem, "fault": fault.kind.value, **facts})

    def clear_faults(self, modem: str | None = None, *, kind: FaultKind | None = None) -> None:
        """Take one modem's faults away, or all; of one kind, or of all."""
        args: dict[str, object] = {"modem": modem or "all"}
        self.request("clear_faults", args if kind is None else {**args, "fault": kind.value})

    def set_registration(self, modem: str, stat: int | None) -> None:
        """Force the registration of the card in a modem; None = normal again."""
        self.request("set_registration", {"modem": modem, "stat": stat})

    def set_latency(self, seconds: float, *, report_delay: float | None = None) -> None:
        """Change the network's pace."""
        args: dict[str, object] = {"seconds": seconds}
        if report_delay is not None:
            args["report_delay"] = report_delay
        self.request("set_latency", args)

    def add_rule(self, **fields: object) -> None:
        """Add a network rule; the fields are those of `simulator.network.network.Rule`."""
        self.request("set_network_error", {"rule": fields})

    def clear_rules(self) -> None:
        """Take all network rules away."""
        self.request("clear_network_errors", {})

    def remove_rule(self, **fields: object) -> bool:
        """Take the rule with these fields away; False where there is none."""
        return bool(self.request("remove_network_error", {"rule": fields})["removed"])

    def add_call_rule(self, **fields: object) -> None:
        """Add a rule for calls to numbers outside: `simulator.network.exchange.CallRule`."""
        self.request("add_call_rule", {"rule": fields})

    def clear_call_rules(self) -> None:
        """Take all rules for calls away."""
        self.request("clear_call_rules", {})

    def set_carrier_latency(self, carrier: str, **latency: object) -> None:
        """Change how long a carrier takes, as `network.latency.Latency`; none = as configured."""
        self.request("set_carrier_latency", {"carrier": carrier, "latency": latency or None})

    def lose_coverage(self, *, carrier: str = "", modem: str = "") -> None:
        """Take the network away: of a carrier, at a modem, or everywhere."""
        self.request("lose_coverage", {"carrier": carrier, "modem": modem})

    def restore_coverage(self, *, carrier: str = "", modem: str = "") -> None:
        """Bring it back."""
        self.request("restore_coverage", {"carrier": carrier, "modem": modem})

    def set_signal(self, signal: int | None, *, carrier: str = "", modem: str = "") -> None:
        """Change what is heard, 0–31, -1 nothing; None = as configured."""
        self.request("set_signal", {"carrier": carrier, "modem": modem, "signal": signal})

    def cut_off(self, modem: str, *, cms: int = 21, denied: bool = False) -> None:
        """Let the carrier cut the card in a modem off."""
        self.request("cut_off", {"modem": modem, "cms": cms, "denied": denied})

    def lift(self, modem: str) -> None:
        """Let it send again."""
        self.request("lift", {"modem": modem})

    def set_balance(self, modem: str, balance: str) -> None:
        """Set the money of the card in a modem, as `"3.50"`."""
        self.request("set_balance", {"modem": modem, "balance": balance})

    def push_ussd(self, modem: str, text: str) -> None:
        """Let the network begin a USSD session."""
        self.request("push_ussd", {"modem": modem, "text": text})

    # ------------------------------------------------------------ power and cards

    def reboot(self, modem: str) -> None:
        """Let a modem restart by itself."""
        self.request("reboot", {"modem": modem})

    def unplug(self, modem: str, *, keeps_power: bool = False) -> None:
        """Take a modem's ports away."""
        self.request("unplug", {"modem": modem, "keeps_power": keeps_power})

    def plug(self, modem: str, *, renumbered: bool = False) -> None:
        """Bring them back."""
        self.request("plug", {"modem": modem, "renumbered": renumbered})

    def unplug_hub(self, hub: int) -> None:
        """Unplug every modem of a hub."""
        self.request("unplug_hub", {"hub": hub})

    def plug_hub(self, hub: int) -> None:
        """Plug every modem of a hub."""
        self.request("plug_hub", {"hub": hub})

    def pull_card(self, modem: str) -> str | None:
        """Take the card out; its ICCID."""
        found = self.request("pull_card", {"modem": modem})["iccid"]
        return found if isinstance(found, str) else None

    def insert_card(self, modem: str, card: str) -> None:
        """Put a card (ICCID or number) into a modem."""
        self.request("insert_card", {"modem": modem, "card": card})

    def swap_cards(self, modem: str, other: str) -> None:
        """Exchange two modems' cards."""
        self.request("swap_cards", {"modem": modem, "other": other})

    def stop(self) -> None:
        """Let the bank end."""
        self.request("stop", {})

    def _list(self, do: str, name: str, args: Args) -> list[Line]:
        found = self.request(do, args)[name]
        assert isinstance(found, list)
        return found


def _connect(path: Path, timeout: float | None) -> socket.socket:
    link = socket.socket(socket.AF_UNIX)
    try:
        link.settimeout(timeout)
        link.connect(str(path))
    except BaseException:
        link.close()
        raise
    return link


def _plan_args(plan: CallPlan) -> dict[str, object]:
    facts = {name: getattr(plan, name) for name in plan.__slots__}
    return {name: value for name, value in facts.items() if value is not None}
