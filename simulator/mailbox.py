"""A modem's SMS side: storages, and the routing of what arrives by `+CNMI` and `+CSMS`.

Source: TS 27.005 §3.2 (storages), §3.4.1 (+CNMI), §3.4.4 (+CNMA); at-dialects §3.5, §6.8 rows 7–9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from simulator import pdu
from simulator.cards.card import Card
from simulator.cards.storage import Status, Storage, Stored, Union
from simulator.clock import Clock, Timer
from simulator.faults import FaultKind, Faults
from simulator.network.network import Network, Verdict
from simulator.persona import Persona

ACK_SECONDS: Final = 15.0
Memory: TypeAlias = Storage | Union


class Mailbox:
    """What one modem does with messages. `urc` sends unsolicited lines to the client.

    `full` is told the storage in which a message found no room, once until there is some; `form`
    gives the lines of a message that is shown directly.
    """

    def __init__(
        self,
        persona: Persona,
        *,
        clock: Clock,
        network: Network,
        urc: Callable[[str], None],
        full: Callable[[str], None],
        form: Callable[[bytes], str],
        faults: Faults | None = None,
    ) -> None:
        self._persona = persona
        self._clock = clock
        self._network = network
        self._urc = urc
        self._full = full
        self._form = form
        self._is_full = False
        self._faults = faults or Faults()
        self.own = Storage("ME", capacity=persona.me_slots, first=persona.first_slot)
        self.reports = Storage("SR", capacity=persona.sr_slots, first=persona.first_slot)
        self.broadcasts = Storage("BM", capacity=10, first=persona.first_slot)
        self.memories: list[str] = []
        self.card: Card | None = None
        self._pending: list[str] = []
        self._ack_timer: Timer | None = None
        self.reset()

    def reset(self) -> None:
        """Power-up: nothing is routed, the default memories are chosen."""
        self.cnmi = (0, 0, 0, 0, 0)
        self.phase2plus = False
        self.default_memories()
        self._pending.clear()
        self.stop_waiting()

    def default_memories(self) -> None:
        """Choose the model's usual memories, unless it keeps the choice."""
        if not self.memories or "+CPMS" not in self._persona.nonvolatile:
            self.memories = [self._persona.default_memory] * self._persona.n_memories

    def insert(self, card: Card | None) -> None:
        """Another card, or none; its slots are numbered as this model numbers them."""
        self.card = card
        if card is not None:
            card.storage.first = self._persona.first_slot
        self.stop_waiting()
        self.radio_changed()

    def radio_changed(self) -> None:
        """The radio went on or off, or the card changed: some models forget the routing then."""
        if self._persona.forgets_routing:
            self.cnmi = (0, 0, 0, 0, 0)

    def memory(self, name: str) -> Memory | None:
        """A storage by its name; None where it does not exist (now)."""
        card = self.card.storage if self.card is not None else None
        match name:
            case "ME":
                return self.own
            case "SM":
                return card
            case "MT":
                return Union("MT", [part for part in (card, self.own) if part is not None])
            case "SR":
                return self.reports
            case "BM":
                return self.broadcasts
        return None

    @property
    def reading(self) -> Memory | None:
        """The storage that is read, listed and deleted from."""
        return self.memory(self.memories[0])

    def set_cnmi(self, values: tuple[int, int, int, int, int]) -> None:
        """Route from now on; what was buffered in mode 0 comes now, or is dropped (bfr 1)."""
        self.cnmi = values
        if not values[0]:
            return
        pending, self._pending = self._pending, []
        if not values[4]:
            for line in pending:
                self._urc(line)

    def take_delivery(self, tpdu: bytes) -> Verdict:
        """Take what the network brings."""
        if self._ack_timer is not None:
            return Verdict.NOT_NOW
        if tpdu[0] & 3 == 2:
            return self._take_report(tpdu)
        return self._take_message(tpdu)

    def acknowledge(self, *, is_taken: bool) -> bool:
        """`+CNMA`; False where nothing waits for it."""
        if self._ack_timer is None:
            return False
        self.stop_waiting()
        if self.card is not None:
            self._network.acknowledge(self.card, is_taken=is_taken)
        return True

    @property
    def is_awaiting_ack(self) -> bool:
        """True while a direct delivery waits for `+CNMA`."""
        return self._ack_timer is not None

    def made_room(self) -> None:
        """A slot was emptied."""
        self._is_full = False
        if self.card is not None:
            self._network.memory_available(self.card)

    def with_sca(self, tpdu: bytes) -> str:
        """The PDU as the modem shows it: with the service centre that brought it."""
        return (self.service_centre() + tpdu).hex().upper()

    def service_centre(self) -> bytes:
        """The SCA octets of the card's service centre."""
        number = self.card.subscription.service_centre if self.card is not None else ""
        return pdu.service_centre(number) if number else b"\x00"

    def _take_message(self, tpdu: bytes) -> Verdict:
        klass = _class_of(tpdu)
        mt = self.cnmi[1]
        is_direct = (mt == 2 and klass != 2) or (mt == 3 and klass == 3)
        if klass == 0 and self._persona.flash_is_direct and mt:
            is_direct = True
        if is_direct:
            needs_ack = not self._persona.acknowledges_itself
            return self._show(tpdu, needs_ack=needs_ack)
        name = "SM" if klass == 2 else self.memories[-1]
        index = self._store(name, tpdu)
        if index is None:
            self._tell_full(name)
            return Verdict.NOT_NOW
        if mt:
            shown = f'"{name}"' if self._persona.cmti_is_quoted else name
            mark = self._persona.push_mark
            self._notify(f"+CMTI: {shown},{index}{mark if mark and _is_push(tpdu) else ''}")
        return Verdict.TAKEN

    def _take_report(self, tpdu: bytes) -> Verdict:
        match self.cnmi[3]:
            case 1:
                return self._show(tpdu, needs_ack=True)
            case 2:
                return self._keep_report(tpdu)
        # ds 0: the modem acknowledges to the network and forgets.
        return Verdict.TAKEN

    def _keep_report(self, tpdu: bytes) -> Verdict:
        announced = self._persona.report_slot
        name = "SR" if announced else self._persona.report_memory or self.memories[-1]
        index = self._store(name, tpdu)
        if index is None:
            self._tell_full(name)
            return Verdict.NOT_NOW
        if self._faults.take(FaultKind.WRONG_INDEX):
            index += 1
        # Some announce a place that the report is not in.
        place = announced or f'"{name}",{index}'
        self._notify(f"+CDSI: {place}")
        return Verdict.TAKEN

    def _show(self, tpdu: bytes, *, needs_ack: bool) -> Verdict:
        self._notify(self._form(tpdu))
        if not self.phase2plus or not needs_ack:
            return Verdict.TAKEN
        self._ack_timer = self._clock.call_later(ACK_SECONDS, self._ack_missed)
        return Verdict.AWAITED

    def _ack_missed(self) -> None:
        # TS 27.005 §3.4.1: without +CNMA the TA switches the direct routing off.
        self._ack_timer = None
        mode, _, bm, _, bfr = self.cnmi
        self.cnmi = (mode, 0, bm, 0, bfr)
        if self.card is not None:
            self._network.acknowledge(self.card, is_taken=False)
            self._network.memory_available(self.card)

    def _notify(self, line: str) -> None:
        if self.cnmi[0]:
            self._urc(line)
        else:
            self._pending.append(line)

    def _store(self, name: str, tpdu: bytes) -> int | None:
        memory = self.memory(name)
        if memory is None or self._faults.take(FaultKind.STORAGE_FULL):
            return None
        message = Stored(status=Status.UNREAD, sca=self.service_centre(), tpdu=tpdu)
        return memory.add(message)

    def _tell_full(self, name: str) -> None:
        if not self._is_full:
            self._is_full = True
            self._full(name)

    def stop_waiting(self) -> None:
        """No acknowledgement is expected any more."""
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None


def _class_of(tpdu: bytes) -> int | None:
    # Raw octets may be injected that are no DELIVER at all: then there is no class.
    try:
        return pdu.message_class(pdu.decode_deliver(tpdu).data.dcs)
    except pdu.PduError:
        return None


def _is_push(tpdu: bytes) -> bool:
    """True for a WAP push: addressed to port 2948. Source: WAP-167 §6.3; TS 23.040 §9.2.3.24.4."""
    try:
        header = pdu.decode_deliver(tpdu).data.header
    except pdu.PduError:
        return False
    return b"\x05\x04\x0b\x84" in header
