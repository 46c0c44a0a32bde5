"""Sending messages and storing them to be sent. Source: TS 27.005 §3.5, §4; at-dialects §1.2."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from simulator import pdu
from simulator.cards.storage import Status, Stored
from simulator.commands.messaging import is_ucs2, refusal, require_messaging
from simulator.faults import FaultKind
from simulator.modem import Modem
from simulator.network.network import NotTaken, Offer, Taken
from simulator.wire.line import OK, Answer, Later, Outcome, Prompt, cms, edited
from simulator.wire.syntax import Command, Op

_MAX_TPDU: Final = 164


def _send(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    require_messaging(modem)
    if not modem.is_registered:
        raise refusal(modem, "no_network")
    if modem.settings["+CMGF"] == "1":
        return _send_text(modem, command)
    length = _length(command)
    return Prompt(take=lambda payload: _submit(modem, _tpdu(modem, payload, length)))


def _send_text(modem: Modem, command: Command) -> Outcome:
    return text_prompt(modem, command.args[0] if command.args else "")


def text_prompt(modem: Modem, number: str, concat: pdu.Concat | None = None) -> Prompt:
    """Ask for a text to be sent to `number`; `concat` where it is one segment of a longer one.

    Raises:
        Refused: 305 that is no number.
    """
    try:
        # The number is in the character set too. Source: TS 27.005 §3.1 <da>.
        plain = bytes.fromhex(number).decode("utf-16-be") if is_ucs2(modem) else number
        destination = pdu.address(plain)
    except ValueError as error:
        raise cms(305) from error

    def take(payload: bytes) -> Answer | Later:
        return _submit(modem, _text_submit(modem, destination, payload, concat))

    return Prompt(take=take, is_text=True)


def _text_submit(
    modem: Modem, destination: pdu.Address, payload: bytes, concat: pdu.Concat | None
) -> bytes:
    first_octet, validity, pid = _text_parameters(modem.settings["+CSMP"])
    text = edited(payload.decode("latin-1")).replace("\r", "\n")
    if is_ucs2(modem):
        try:
            text = bytes.fromhex(text).decode("utf-16-be")
        except ValueError as error:
            raise cms(305) from error
    try:
        parts = [pdu.segment(text, concat)] if concat else pdu.segments(text, reference=0)
    except pdu.PduError as error:
        raise cms(305) from error
    if len(parts) > 1:
        raise cms(305)
    submit = pdu.Submit(
        first_octet=first_octet | (0x40 if concat else 0),
        mr=0,
        destination=destination,
        pid=pid,
        validity=bytes((validity,)) if first_octet & 0x18 == 0x10 else b"",
        data=parts[0],
    )
    return pdu.encode_submit(submit)


def _text_parameters(given: str) -> tuple[int, int, int]:
    """First octet, relative validity and PID of `+CSMP`. Source: TS 27.005 §3.5.2."""
    fields = given.split(",")
    values = [17, 167, 0]
    for place, field in enumerate(fields[:3]):
        if field:
            if not (field.isdigit() and int(field) <= 255):
                raise cms(305)
            values[place] = int(field)
    return values[0], values[1], values[2]


def _length(command: Command) -> int:
    args = command.args
    if not args or not args[0].isdigit() or not 1 <= int(args[0]) <= _MAX_TPDU:
        raise cms(304)
    return int(args[0])


def _tpdu(modem: Modem, payload: bytes, length: int) -> bytes:
    try:
        octets = bytes.fromhex(payload.decode("ascii").strip())
    except (ValueError, UnicodeDecodeError) as error:
        raise refusal(modem, "hex") from error
    try:
        _, tpdu = pdu.split_pdu(octets)
    except pdu.PduError as error:
        raise refusal(modem, "length") from error
    if len(tpdu) != length:
        raise refusal(modem, "length")
    return tpdu


def _submit(modem: Modem, tpdu: bytes, *, label: str = "+CMGS") -> Answer | Later:
    try:
        submit = pdu.decode_submit(tpdu)
    except pdu.PduError as error:
        raise refusal(modem, "tpdu") from error
    # The card or the network may have gone while the prompt was up.
    card = require_messaging(modem)
    if not modem.is_registered:
        raise refusal(modem, "no_network")
    faults = modem.faults
    if faults.take(FaultKind.HANG):
        modem.hang()
        return Later.LATER
    if fault := faults.take(FaultKind.CMS_ERROR):
        raise cms(fault.code)
    if faults.take(FaultKind.REBOOT_ON_SUBMIT):
        modem.reboot()
        return Later.LATER
    mr = modem.next_mr()
    if faults.take(FaultKind.OK_NOT_SENT):
        return Answer(lines=(f"{label}: {mr}",))
    offer = Offer(modem=modem.name, card=card, mr=mr, tpdu=tpdu, submit=submit)
    return _offer(modem, offer, label=label)


def _offer(modem: Modem, offer: Offer, *, label: str) -> Later:
    # The line is busy before the network is asked: with no latency it answers at once.
    line = modem.line
    finish = line.ticket()

    def done(outcome: Taken | NotTaken) -> None:
        modem.submitting(line, None)
        _hold_link(modem)
        if isinstance(outcome, NotTaken):
            finish(Answer(final=f"+CMS ERROR: {outcome.code}"))
            return
        faults = modem.faults
        answer = Answer(lines=(f"{label}: {offer.mr}",))
        if faults.take(FaultKind.REBOOT_AFTER_SUBMIT):
            modem.reboot()
        elif fault := faults.take(FaultKind.CMS_ERROR_SENT):
            finish(Answer(final=f"+CMS ERROR: {fault.code}"))
        elif fault := faults.take(FaultKind.LATE_ANSWER):
            modem.world.clock.call_later(fault.seconds, lambda: finish(answer))
        elif faults.take(FaultKind.LOST_ANSWER):
            finish(Answer(final=""))
        else:
            finish(answer)

    def leave() -> None:
        modem.submitting(line, modem.world.network.submit(offer, done))

    seconds = _link_seconds(modem)
    if seconds > 0:
        modem.submitting(line, modem.world.clock.call_later(seconds, leave))
    else:
        leave()
    return Later.LATER


def _link_seconds(modem: Modem) -> float:
    """How long the model needs to get its link to the network; none while `+CMMS` holds one.

    A network without latency is there to measure with: then nothing takes time.
    """
    if modem.world.network.times.latency <= 0:
        return 0.0
    now = modem.world.clock.now()
    is_open = modem.link_until is not None and now <= modem.link_until
    mode = modem.settings["+CMMS"]
    if mode == "1" and modem.link_until is not None and not is_open:
        # The gap was too long: the model is back at 0 by itself. Source: TS 27.005 §3.5.6.
        mode = modem.settings["+CMMS"] = "0"
    return 0.0 if is_open and mode != "0" else modem.persona.submit_seconds


def _hold_link(modem: Modem) -> None:
    modem.link_until = None
    if modem.settings["+CMMS"] != "0":
        seconds = timedelta(seconds=modem.persona.link_seconds)
        modem.link_until = modem.world.clock.now() + seconds


def _write(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    require_messaging(modem)
    if modem.settings["+CMGF"] == "1":
        raise cms(303)
    length = _length(command)
    args = command.args
    status = Status(int(args[1])) if len(args) > 1 and args[1] in {"0", "1", "2", "3"} else None

    def take(payload: bytes) -> Answer:
        tpdu = _tpdu(modem, payload, length)
        memory = modem.mailbox.memory(modem.mailbox.memories[1])
        message = Stored(status=Status.UNSENT if status is None else status, sca=b"\x00", tpdu=tpdu)
        index = memory.add(message) if memory is not None else None
        if index is None:
            raise refusal(modem, "full")
        return Answer(lines=(f"+CMGW: {index}",))

    return Prompt(take=take)


def _send_stored(modem: Modem, command: Command) -> Outcome:
    require_messaging(modem)
    memory = modem.mailbox.memory(modem.mailbox.memories[1])
    message = memory.get(_index(command)) if memory is not None else None
    if message is None:
        raise cms(321)
    return _submit(modem, message.tpdu, label="+CMSS")


def _index(command: Command) -> int:
    args = command.args
    if not args or not args[0].isdigit():
        raise cms(321)
    return int(args[0])


TABLE: Final[dict[str, Callable[[Modem, Command], Outcome]]] = {
    "+CMGS": _send,
    "+CMGW": _write,
    "+CMSS": _send_stored,
}
