"""The control channel: line JSON over a Unix socket, its server and its client.

`{"id": 1, "do": "inject_sms", "to": "modem01", …}` → `{"id": 1, "ok": true, …}` or
`{"id": 1, "ok": false, "error": "…"}`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from simulator.bank import Bank, NoSuchThing
from simulator.faults import Fault, FaultKind
from simulator.ledger import Fact
from simulator.network import Rule
from simulator.pdu import PduError
from simulator.phone import CallOutcome, CallPlan
from simulator.scenario import ScenarioError, rule

Args: TypeAlias = Mapping[str, object]
Result: TypeAlias = dict[str, object]


class ControlError(Exception):
    """The bank refused a request; the message says why."""


class _BadRequest(ValueError):
    pass


def _text(args: Args, name: str, default: str | None = None) -> str:
    value = args.get(name, default)
    if not isinstance(value, str):
        raise _BadRequest(f"{name}: a text is needed")
    return value


def _number(args: Args, name: str, default: float) -> float:
    value = args.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _BadRequest(f"{name}: a number is needed")
    return value


def _optional(args: Args, name: str) -> int | None:
    return None if args.get(name) is None else int(_number(args, name, 0))


class Controller:
    """Carries requests out on a bank. `on_stop` is called by `stop`."""

    def __init__(self, bank: Bank, *, on_stop: Callable[[], None]) -> None:
        self._bank = bank
        self._on_stop = on_stop
        self._verbs: dict[str, Callable[[Args], Result]] = {
            "state": self._state,
            "inject_sms": self._inject_sms,
            "inject_call": self._inject_call,
            "dial": self._dial,
            "hang_up": self._hang_up,
            "set_fault": self._set_fault,
            "clear_faults": self._clear_faults,
            "set_registration": self._set_registration,
            "set_latency": self._set_latency,
            "set_network_error": self._set_network_error,
            "clear_network_errors": self._clear_network_errors,
            "reboot": self._reboot,
            "unplug": self._unplug,
            "plug": self._plug,
            "pull_card": self._pull_card,
            "insert_card": self._insert_card,
            "swap_cards": self._swap_cards,
            "ledger": self._ledger,
            "stop": self._stop,
        }

    def handle(self, line: bytes) -> bytes:
        """Answer one request line."""
        answer: Result = {"id": None}
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise _BadRequest("a request is a JSON object")
            answer["id"] = request.get("id")
            verb = self._verbs.get(str(request.get("do")))
            if verb is None:
                raise _BadRequest(f"do: one of {', '.join(self._verbs)}")
            answer |= {"ok": True, **verb(request)}
        except (ValueError, NoSuchThing, ScenarioError, PduError) as error:
            answer |= {"ok": False, "error": str(error)}
        return json.dumps(answer, separators=(",", ":")).encode() + b"\n"

    def _state(self, args: Args) -> Result:
        if "modem" in args:
            return {"modems": [self._bank.state(_text(args, "modem"))]}
        return {"modems": [self._bank.state(modem.name) for modem in self._bank.modems]}

    def _inject_sms(self, args: Args) -> Result:
        card = self._bank.card(_text(args, "to"))
        if "tpdu" in args:
            self._bank.network.send_raw(to=card, tpdu=bytes.fromhex(_text(args, "tpdu")))
            return {"segments": 1}
        segments = self._bank.network.send_text(
            to=card,
            origin=_text(args, "from", "+8613900000000"),
            text=_text(args, "text"),
            dcs=_optional(args, "dcs"),
            pid=_optional(args, "pid") or 0,
        )
        return {"segments": segments}

    def _plan(self, args: Args) -> CallPlan:
        return CallPlan(
            number=_text(args, "number", "+8613900000000"),
            outcome=CallOutcome(_text(args, "outcome", "missed")),
            rings=int(_number(args, "rings", 2)),
            seconds=_number(args, "seconds", 5.0),
            ring_seconds=_number(args, "ring_seconds", 5.0),
        )

    def _inject_call(self, args: Args) -> Result:
        modem = self._bank.modem(_text(args, "modem"))
        if not modem.is_registered:
            raise _BadRequest("the modem is not registered")
        if not modem.phone.ring(self._plan(args)):
            raise _BadRequest("the modem's line is taken")
        return {}

    def _dial(self, args: Args) -> Result:
        modem = self._bank.modem(_text(args, "modem"))
        if not modem.is_registered:
            raise _BadRequest("the modem is not registered")
        if not modem.phone.dial(self._plan(args), is_client=False):
            raise _BadRequest("the modem's line is taken")
        return {}

    def _hang_up(self, args: Args) -> Result:
        return {"ended": self._bank.modem(_text(args, "modem")).phone.hang_up()}

    def _set_fault(self, args: Args) -> Result:
        fault = Fault(
            kind=FaultKind(_text(args, "fault")),
            count=_optional(args, "count") if "count" in args else 1,
            skip=int(_number(args, "skip", 0)),
            seconds=_number(args, "seconds", 1.0),
            code=int(_number(args, "code", 500)),
        )
        self._bank.modem(_text(args, "modem")).faults.set(fault)
        return {}

    def _clear_faults(self, args: Args) -> Result:
        name = args.get("modem")
        for modem in self._bank.modems:
            if name in {None, modem.name}:
                modem.faults.clear()
        return {}

    def _set_registration(self, args: Args) -> Result:
        modem = self._bank.modem(_text(args, "modem"))
        if modem.card is None:
            raise _BadRequest("the modem has no card")
        self._bank.network.force_registration(modem.card, _optional(args, "stat"))
        modem.search_again()
        return {}

    def _set_latency(self, args: Args) -> Result:
        times = self._bank.network.times
        self._bank.network.times = replace(
            times,
            latency=_number(args, "seconds", times.latency),
            report_delay=_number(args, "report_delay", times.report_delay),
        )
        return {}

    def _set_network_error(self, args: Args) -> Result:
        self._bank.network.add_rule(_rule(args))
        return {}

    def _clear_network_errors(self, _args: Args) -> Result:
        self._bank.network.set_rules(())
        return {}

    def _reboot(self, args: Args) -> Result:
        self._bank.modem(_text(args, "modem")).reboot()
        return {}

    def _unplug(self, args: Args) -> Result:
        keeps_power = bool(args.get("keeps_power", False))
        self._bank.unplug(_text(args, "modem"), keeps_power=keeps_power)
        return {}

    def _plug(self, args: Args) -> Result:
        self._bank.plug(_text(args, "modem"))
        return {}

    def _pull_card(self, args: Args) -> Result:
        modem = self._bank.modem(_text(args, "modem"))
        iccid = modem.card.iccid if modem.card is not None else None
        self._bank.move_card(None, modem)
        return {"iccid": iccid}

    def _insert_card(self, args: Args) -> Result:
        card = self._bank.card(_text(args, "card"))
        self._bank.move_card(card, self._bank.modem(_text(args, "modem")))
        return {}

    def _swap_cards(self, args: Args) -> Result:
        bank = self._bank
        bank.swap(bank.modem(_text(args, "modem")), bank.modem(_text(args, "other")))
        return {}

    def _ledger(self, args: Args) -> Result:
        where = args.get("where", {})
        if not isinstance(where, dict):
            raise _BadRequest("where: an object of name and value")
        return {"lines": self._bank.ledger.read(**where)}

    def _stop(self, _args: Args) -> Result:
        asyncio.get_running_loop().call_soon(self._on_stop)
        return {}


def _rule(args: Args) -> Rule:
    table = args.get("rule")
    if not isinstance(table, dict):
        raise _BadRequest("rule: an object is needed")
    return rule(table)


class _Connection(asyncio.Protocol):
    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer += data
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            self._transport.write(self._controller.handle(line))


async def serve(controller: Controller, path: Path) -> asyncio.Server:
    """Listen for requests on a Unix socket that does not exist yet."""
    loop = asyncio.get_running_loop()
    return await loop.create_unix_server(lambda: _Connection(controller), str(path))


class BankControl:
    """A client of a running bank; blocking, one request at a time.

    Every method raises `ControlError` where the bank refuses.
    """

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
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
            ControlError: the bank refused, or went away.
        """
        self._count += 1
        line = json.dumps({**args, "id": self._count, "do": do})
        self._socket.sendall(line.encode() + b"\n")
        received = self._file.readline()
        if not received:
            raise ControlError("the bank is gone")
        answer: Result = json.loads(received)
        if not answer.pop("ok"):
            raise ControlError(str(answer["error"]))
        return answer

    def state(self, modem: str | None = None) -> list[dict[str, Fact]]:
        """What is true of one modem or of all."""
        args = {} if modem is None else {"modem": modem}
        return self._list("state", "modems", args)

    def inject_sms(self, to: str, text: str, *, origin: str, dcs: int | None = None) -> None:
        """Send a text to a card: by modem, ICCID or number; cut into segments where long."""
        args: dict[str, object] = {"to": to, "text": text, "from": origin}
        self.request("inject_sms", args if dcs is None else {**args, "dcs": dcs})

    def inject_tpdu(self, to: str, tpdu: bytes) -> None:
        """Send octets to a card as they are."""
        self.request("inject_sms", {"to": to, "tpdu": tpdu.hex()})

    def inject_call(self, modem: str, plan: CallPlan) -> None:
        """Let a call come in."""
        self.request("inject_call", {"modem": modem, **_plan_args(plan)})

    def dial(self, modem: str, plan: CallPlan) -> None:
        """Let a person at the stick dial."""
        self.request("dial", {"modem": modem, **_plan_args(plan)})

    def hang_up(self, modem: str) -> None:
        """Let a person at the stick hang up."""
        self.request("hang_up", {"modem": modem})

    def set_fault(self, modem: str, fault: Fault) -> None:
        """Give a modem a fault."""
        args = {"count": fault.count, "skip": fault.skip, "seconds": fault.seconds}
        facts = {"modem": modem, "fault": fault.kind.value, "code": fault.code}
        self.request("set_fault", {**facts, **args})

    def clear_faults(self, modem: str | None = None) -> None:
        """Take one modem's faults away, or all."""
        self.request("clear_faults", {"modem": modem})

    def set_registration(self, modem: str, stat: int | None) -> None:
        """Force the registration of the card in a modem; None = normal again."""
        self.request("set_registration", {"modem": modem, "stat": stat})

    def set_latency(self, seconds: float, *, report_delay: float | None = None) -> None:
        """Change the network's pace."""
        args: dict[str, object] = {"seconds": seconds}
        if report_delay is not None:
            args["report_delay"] = report_delay
        self.request("set_latency", args)

    def add_rule(self, **fields: Fact) -> None:
        """Add a network rule; the fields are those of `simulator.network.Rule`."""
        self.request("set_network_error", {"rule": fields})

    def clear_rules(self) -> None:
        """Take all network rules away."""
        self.request("clear_network_errors", {})

    def reboot(self, modem: str) -> None:
        """Let a modem restart by itself."""
        self.request("reboot", {"modem": modem})

    def unplug(self, modem: str, *, keeps_power: bool = False) -> None:
        """Take a modem's port away."""
        self.request("unplug", {"modem": modem, "keeps_power": keeps_power})

    def plug(self, modem: str) -> None:
        """Bring it back."""
        self.request("plug", {"modem": modem})

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

    def ledger(self, **where: Fact) -> list[dict[str, Fact]]:
        """The ledger's lines with these values."""
        return self._list("ledger", "lines", {"where": where})

    def stop(self) -> None:
        """Let the bank end."""
        self.request("stop", {})

    def _list(self, do: str, name: str, args: Args) -> list[dict[str, Fact]]:
        found = self.request(do, args)[name]
        assert isinstance(found, list)
        return found


def _plan_args(plan: CallPlan) -> dict[str, object]:
    return {
        "number": plan.number,
        "outcome": plan.outcome.value,
        "rings": plan.rings,
        "seconds": plan.seconds,
        "ring_seconds": plan.ring_seconds,
    }
