"""One simulated modem: power, card, registration, and the parts that speak for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime

from simulator.cards.card import Card, CardState
from simulator.chatter import Chatter
from simulator.clock import Timer
from simulator.faults import Fault, FaultKind, Faults
from simulator.ledger import Fact
from simulator.mailbox import Mailbox
from simulator.network.intake import OnAir
from simulator.network.network import Verdict
from simulator.network.ussd import Reply
from simulator.persona import COMMAND_ROLES, Moment, Persona, PortRole
from simulator.phone import Phone
from simulator.speech import Speech
from simulator.wire.autobaud import AutoBaud
from simulator.wire.line import OK, Answer, Later, Line, Outcome, Refused, cme
from simulator.wire.syntax import Command
from simulator.world import Port, World


class Modem:
    """One modem with all the ports of its model.

    `ports` are where its octets go out, by role; one that is missing loses them. `line` is the
    command channel that is being served, `main` the one that unsolicited lines come on.
    `on_reenumerate(seconds)` is told when the ports should go and come back, and
    `on_port_lost(seconds, kind)` when a fault takes them away.
    """

    def __init__(
        self,
        *,
        name: str,
        persona: Persona,
        imei: str,
        world: World,
        speech: Callable[[Modem], Speech],
    ) -> None:
        self.name = name
        self.persona = persona
        self.imei = imei
        self.world = world
        self.speech = speech(self)
        self.faults = Faults(world.dice, name)
        self.faults.on_change = self._fault_changed
        self.faults.on_strike = self._fault_struck
        self.card: Card | None = None
        self.ports: dict[PortRole, Port] = {}
        self.on_shut_down: Callable[[], None] = lambda: None
        self.on_reenumerate: Callable[[float], None] = lambda _seconds: None
        self.on_port_lost: Callable[[float, FaultKind], None] = lambda _seconds, _kind: None
        self.lines = {
            port.role: self._new_line(port.role)
            for port in persona.ports
            if port.role in COMMAND_ROLES
        }
        self.line = self.lines[PortRole.AT]
        self.mailbox = Mailbox(
            persona,
            clock=world.clock,
            network=world.network,
            urc=self.urc,
            full=self.speech.tell_full,
            form=self.speech.arrived,
            faults=self.faults,
        )
        self.phone = Phone(clock=world.clock, ledger=world.ledger, urc=self.urc, owner=self._owner)
        self.phone.dialect = self.speech.dialect
        self._timers: set[Timer] = set()
        self._register_timer: Timer | None = None
        self._reading_timer: Timer | None = None
        self._submit_timers: dict[Line, Timer] = {}
        self._chatter = Chatter(self, noise=self.speech.noise)
        self.has_power = True
        self.is_on = False
        self.is_hung = False
        self._mr = -1
        self.urc_role = persona.urc_role
        self._baud = AutoBaud()
        self.settings: dict[str, str] = {}
        self._reset()

    # ------------------------------------------------------------ power and card

    def switch_on(self) -> None:
        """The bank starts: the modem has long booted, nothing is said."""
        self.is_on = True
        if self.card is not None:
            self.card.power_up()
        self._card_changed()

    def reboot(self) -> None:
        """Restart: every setting and every unfinished thing is gone, the boot lines come."""
        if not self.has_power:
            return
        self._note("power", event="reboot")
        self.switch_off()
        if self.persona.reenumerates:
            seconds = self.persona.port_seconds
            self.on_reenumerate(self.persona.boot_seconds if seconds is None else seconds)
        self.boot()

    def boot(self) -> None:
        """Power is back: the boot lines come after the persona's time."""
        self.has_power = True
        if self.persona.autobaud and self.settings["+IPR"] == "0":
            self._baud.forget()
        self.after(self.persona.boot_seconds, self._booted)

    def power_down(self) -> None:
        """Switch itself off, as told; on USB its ports go with it. Only new power wakes it."""

        def leave() -> None:
            self.speech.tell(Moment.OFF)
            self._note("power", event="off")
            self.lose_power()
            if self.persona.reenumerates:
                self.on_shut_down()

        # The OK goes out first.
        self.after(0.02, leave)

    def lose_power(self) -> None:
        """Be off until `boot`."""
        self.has_power = False
        self.switch_off()

    def switch_off(self) -> None:
        """Stop, and forget what was going on."""
        self.is_on = False
        self.is_hung = False
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for timer in self._submit_timers.values():
            timer.cancel()
        self._submit_timers.clear()
        self._chatter.stop()
        self.phone.drop()
        self._leave_network()
        self.mailbox.reset()
        self._reset()

    def insert(self, card: Card | None) -> None:
        """Put a card in, or take it out (None)."""
        self.phone.drop(has_power=self.is_on)
        self._leave_network()
        before, self.card = self.card, card
        self.mailbox.insert(card)
        self._stop_reading()
        if card is not None:
            card.power_up()
        self._set_registration(0)
        if not self.is_on:
            return
        if before is not None:
            self.speech.tell(Moment.CARD_OUT)
        elif card is None:
            self.speech.tell(Moment.TRAY)
        if card is not None:
            self.speech.tell(Moment.CARD_IN)
            self._card_changed(is_told=True)

    @property
    def is_card_busy(self) -> bool:
        """True shortly after the PIN, while the modem reads the card."""
        return self._card_busy

    def require_card(self) -> Card:
        """The card, usable.

        Raises:
            Refused: missing, busy, PIN or PUK needed, dead.
        """
        card = self.card
        if card is None:
            raise Refused(self.persona.no_card)
        match card.state:
            case CardState.PIN:
                raise cme(11)
            case CardState.PUK:
                raise cme(12)
            case CardState.DEAD:
                raise cme(13)
        if self._card_busy or self.faults.take(FaultKind.SIM_BUSY):
            raise Refused(self.persona.busy_card)
        return card

    def pin_shown(self) -> None:
        """The PIN was right: the card is busy for a moment, then the search begins."""
        self._stop_reading()
        self._card_busy = True
        self.is_messaging_ready = False
        self.speech.tell(Moment.PIN_SHOWN)
        self._reading_timer = self.after(self.persona.sim_busy_seconds, self._card_ready)

    # ------------------------------------------------------------ registration

    def set_radio(self, *, is_on: bool) -> None:
        """`+CFUN`: the transmitter goes on or off."""
        self.radio = is_on
        self.mailbox.radio_changed()
        self.speech.tell(Moment.RADIO_ON if is_on else Moment.RADIO_OFF)
        if is_on:
            self._search()
        else:
            self.phone.drop(has_power=True)
            self._leave_network()
            self._set_registration(0)

    def search_again(self) -> None:
        """The network changed its mind about this card."""
        self._leave_network()
        if self.is_on:
            self._search()

    @property
    def is_registered(self) -> bool:
        """True where the network takes SMS from this modem."""
        return self.registration in {1, 5, 6, 7, 9, 10}

    @property
    def wanted_carrier(self) -> str:
        """The numeric code that `+COPS=1` insists on; empty = any."""
        return self.settings.get("+COPS=", "")

    def take_delivery(self, tpdu: bytes) -> Verdict:
        """Take what the network brings."""
        if not self.is_on or self.is_hung:
            return Verdict.NOT_NOW
        return self.mailbox.take_delivery(tpdu)

    def take_ussd(self, reply: Reply) -> None:
        """Show what the network says, in the model's own coding."""
        line = self.speech.ussd(reply)
        if line is not None:
            self.urc(line)

    # ------------------------------------------------------------ the line

    def receive(self, data: bytes, role: PortRole = PortRole.AT) -> None:
        """Octets from the client of one port; what is no command channel swallows them."""
        line = self.lines.get(role)
        if line is not None and self.is_on and not self.is_hung:
            line.receive(self._baud.hear(data))

    def urc(self, *lines: str) -> None:
        """Send unsolicited lines, where the model sends them."""
        if not self.is_on or self.is_hung or not self._baud.is_tuned:
            return
        silenced = self.persona.silenced
        if silenced and not self._chatter.is_noisy:
            lines = tuple(line for line in lines if not line.startswith(silenced))
        if lines and not self.faults.has(FaultKind.SILENCE):
            self.main.urc(*lines)

    def tell(self, lines: Iterable[str]) -> None:
        """Send lines of the persona's file, with what is true now in their braces."""
        self.urc(*(self.speech.filled(line) for line in lines))

    @property
    def main(self) -> Line:
        """The channel of the unsolicited lines."""
        return self.lines[self.urc_role]

    def speaks(self, line: Line) -> None:
        """What follows is asked on this line."""
        self.line = line

    def execute(self, command: Command) -> Outcome:
        """Carry one command out, unless a fault has another mind."""
        if self.faults.is_any and (broken := self._broken(command)) is not None:
            return broken
        return self.speech.carry_out(command) if command.name else OK

    @property
    def command_names(self) -> list[str]:
        """What it knows, as `+CLAC` lists it."""
        persona = self.persona
        own = {re.split(r"[=?]", key)[0] for key in (*persona.answers, *persona.keeps)}
        return [f"AT{name}" for name in sorted({*self.speech.names, *own})]

    def final(self, text: str) -> str:
        """A final result as the model and `+CMEE` want it."""
        return self.speech.final(text)

    def defaults(self) -> None:
        """`ATZ`, `AT&F`: the settings of power-up; card and network stay."""
        self.line.defaults()
        kept = {key: self.settings[key] for key in self.persona.nonvolatile if key in self.settings}
        self.settings = self.speech.defaults() | kept
        self.phone.ring_type = False
        self.phone.shows_caller = False

    def client_came(self, role: PortRole = PortRole.AT) -> None:
        """Somebody opened a port."""
        self._chatter.came(role)

    def client_went(self, role: PortRole = PortRole.AT) -> None:
        """Nobody has the port open any more."""
        self._chatter.went(role)

    def start_noise(self) -> None:
        """Begin the persona's chatter on every port that is listened to."""
        self._chatter.start()

    def stop_noise(self) -> None:
        """End it on the channel of the unsolicited lines."""
        self._chatter.hush(self.urc_role)

    def next_mr(self) -> int:
        """The reference of the next submit: one octet, the modem's own, wraps."""
        if not self.faults.take(FaultKind.REPEATED_MR):
            self._mr = (self._mr + 1) & 0xFF
        return 0 if self.faults.take(FaultKind.ZERO_MR) else self._mr & 0xFF

    def hang(self) -> None:
        """Stop for ever, until a reboot by other means."""
        self.is_hung = True
        for line in self.lines.values():
            line.freeze()

    def submitting(self, line: Line, timer: Timer | None) -> None:
        """Remember the segment on the air: a power failure before it is due takes it back."""
        if timer is None:
            self._submit_timers.pop(line, None)
        else:
            self._submit_timers[line] = timer

    # ------------------------------------------------------------ inside

    def _new_line(self, role: PortRole) -> Line:
        persona = self.persona

        def write(data: bytes) -> None:
            port = self.ports.get(role)
            if port is not None:
                port.write(data)

        return Line(
            self,
            clock=self.world.clock,
            faults=self.faults,
            write=write,
            max_line=persona.max_line,
            prompt=persona.prompt,
            echo=persona.echo,
        )

    def _reset(self) -> None:
        for line in self.lines.values():
            line.reset()
        self.defaults()
        self.radio = True
        self.registration = 0
        self.link_until: datetime | None = None
        self._card_busy = False
        self.is_messaging_ready = True
        self._mr = -1

    def _booted(self) -> None:
        self.is_on = True
        persona = self.persona
        in_airplane = self.settings.get(persona.airplane_setting, "0") != "0"
        self.radio = persona.boots_with_radio and not in_airplane
        self._note("power", event="booted")
        if self.card is not None:
            self.card.power_up()
        self.tell(persona.boot_lines)
        self.speech.tell(Moment.BOOT)
        self.start_noise()
        self._card_changed(is_told=True)

    def _card_changed(self, *, is_told: bool = False) -> None:
        if is_told:
            self.speech.tell_card()
        if self.card is None or self.card.state is not CardState.READY:
            return
        if is_told:
            self.pin_shown()
        else:
            self._search()

    def _card_ready(self) -> None:
        self._stop_reading()
        self.tell(self.persona.unlock_lines)
        self.speech.tell(Moment.READY)
        if self.persona.messaging_seconds:
            seconds = self.persona.messaging_seconds
            self._reading_timer = self.after(seconds, self._messaging_ready)
        else:
            self._messaging_ready()
        self._search()

    def _stop_reading(self) -> None:
        self._card_busy = False
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None

    def _messaging_ready(self) -> None:
        self.is_messaging_ready = True

    def _search(self) -> None:
        card = self.card
        if not (self.is_on and self.radio) or self.faults.has(FaultKind.RADIO_OFF):
            return
        if card is None or card.state is not CardState.READY:
            return
        self._set_registration(2)
        if self._register_timer is not None:
            self._register_timer.cancel()
        self._register_timer = self.after(self.persona.register_seconds, self._found)

    def _found(self) -> None:
        card = self.card
        if card is None:
            return
        self._set_registration(self.world.network.admission(card, self))
        if self.is_registered:
            self.world.network.attach(card, self)

    def _leave_network(self) -> None:
        if self._register_timer is not None:
            self._register_timer.cancel()
            self._register_timer = None
        self.mailbox.stop_waiting()
        if self.card is not None:
            self.world.network.detach(self.card)
        for line, timer in list(self._submit_timers.items()):
            if isinstance(timer, OnAir) and timer.is_decided:
                continue
            # It was still on the air: the network has not taken it.
            del self._submit_timers[line]
            timer.cancel()
            line.finish(Answer(final=self.speech.no_network()))

    def _set_registration(self, stat: int) -> None:
        if stat == self.registration:
            return
        was_registered = self.is_registered
        self.registration = stat
        for line in self.speech.registration():
            self.urc(line)
        if self.is_registered is not was_registered:
            self.speech.tell(Moment.UNREGISTERED if was_registered else Moment.REGISTERED)

    def _broken(self, command: Command) -> Outcome | None:
        """What a fault makes of the command; None where it is carried out."""
        faults = self.faults
        if faults.take(FaultKind.REBOOT, command.name):
            self.reboot()
            return Later.LATER
        for kind in (FaultKind.PORT_GONE, FaultKind.PORT_RENUMBERED):
            if fault := faults.take(kind, command.name):
                self.on_port_lost(fault.seconds, kind)
                # The answer goes where nobody listens.
                return OK
        return None

    def _fault_struck(self, fault: Fault) -> None:
        self._note("fault", fault=fault.kind.value)

    def _fault_changed(self, kind: FaultKind) -> None:
        match kind:
            case FaultKind.RADIO_OFF if self.is_on:
                self.set_radio(is_on=not self.faults.has(kind))
            case FaultKind.CNMI_LOST if self.faults.take(kind):
                self.mailbox.set_cnmi((0, 0, 0, 0, 0))
            case FaultKind.URC_FLOOD:
                self._chatter.flood()

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Do something later, unless the power goes before."""

        def run() -> None:
            self._timers.discard(timer)
            action()

        timer = self.world.clock.call_later(seconds, run)
        self._timers.add(timer)
        return timer

    def _note(self, kind: str, **facts: Fact) -> None:
        now = self.world.clock.now().isoformat(timespec="milliseconds")
        self.world.ledger.add(kind, time=now, **self._owner(), **facts)

    def _owner(self) -> dict[str, Fact]:
        iccid = self.card.iccid if self.card is not None else None
        return {"modem": self.name, "iccid": iccid}
