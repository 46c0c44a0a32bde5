"""Huawei's own commands and call lines. Source: at-dialects §3.3, §3.7, §3.8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulator.card import CardState
from simulator.commands.basic import reboot
from simulator.commands.settings import keep
from simulator.commands.sim import card_of
from simulator.line import Answer, Outcome
from simulator.phone import Call
from simulator.syntax import Command

if TYPE_CHECKING:
    from simulator.modem import Modem


class Calls:
    """`^ORIG`, `^CONF`, `^CONN`, `^CEND`: said without being asked."""

    def dialling(self, call: Call) -> list[str]:
        """The call leaves."""
        return [f"^ORIG:{call.call_id},0"]

    def alerting(self, call: Call) -> list[str]:
        """The other side rings."""
        return [f"^CONF:{call.call_id}"]

    def ringing(self, call: Call) -> list[str]:
        """Nothing beside RING."""
        del call
        return []

    def connected(self, call: Call) -> list[str]:
        """Somebody answered."""
        return [f"^CONN:{call.call_id},0"]

    def ended(self, call: Call, *, seconds: int, cause: int, is_local: bool) -> list[str]:
        """29 = ended here, 104 = ended by the network; then the Q.850 cause."""
        return [f"^CEND:{call.call_id},{seconds},{29 if is_local else 104},{cause}"]


def _chatter(modem: Modem, command: Command) -> Outcome:
    answer = keep(modem, command)
    modem.stop_noise()
    modem.start_noise()
    return answer


def _tries(modem: Modem, _command: Command) -> Outcome:
    card = card_of(modem)
    asked = {CardState.PIN: card.pin_tries, CardState.PUK: card.puk_tries}.get(card.state, "")
    counters = f"{card.puk_tries},{card.pin_tries},10,3"
    return Answer(lines=(f"^CPIN: {card.state.value},{asked},{counters}",))


def _iccid(modem: Modem, _command: Command) -> Outcome:
    return Answer(lines=(f"^ICCID: {card_of(modem).iccid.upper().ljust(20, 'F')}",))


TABLE: Final = {
    "^CURC": _chatter,
    "^CPIN": _tries,
    "^ICCID": _iccid,
    "^RESET": reboot,
}
