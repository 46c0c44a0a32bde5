"""Message commands. Source: TS 27.005 §3, §4; at-dialects §3.5, §6.8 rows 5–9."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from simulator import pdu
from simulator.card import Card, CardState
from simulator.faults import FaultKind
from simulator.line import OK, Answer, Later, Outcome, Prompt, Refused, cms
from simulator.mailbox import Memory
from simulator.network import NotTaken, Offer, Taken
from simulator.storage import Status, Stored
from simulator.syntax import Command, Op

if TYPE_CHECKING:
    from simulator.modem import Modem

_MEMORIES: Final = ("SM", "ME", "MT", "SR")
_MAX_TPDU: Final = 164


def require_messaging(modem: Modem) -> Card:
    """The card, or the refusal of SMS commands while it is not usable.

    Raises:
        Refused: CMS 310, 311, 313, 314, 316, or the model's own code for "not yet".
    """
    card = modem.card
    if card is None:
        raise cms(310)
    code = {CardState.PIN: 311, CardState.PUK: 316, CardState.DEAD: 313}.get(card.state)
    if code is not None:
        raise cms(code)
    if modem.is_card_busy or modem.faults.take(FaultKind.SIM_BUSY):
        raise cms(314)
    if not modem.is_messaging_ready:
        raise cms(modem.persona.messaging_code)
    return card


def _reading(modem: Modem) -> Memory:
    require_messaging(modem)
    memory = modem.mailbox.reading
    if memory is None:
        raise cms(310)
    return memory


# ---------------------------------------------------------------- sending


def _send(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    require_messaging(modem)
    if not modem.is_registered:
        raise cms(331)
    if modem.settings["+CMGF"] == "1":
        return _send_text(modem, command)
    length = _length(command)
    return Prompt(take=lambda payload: _submit(modem, _tpdu(payload, length)))


def _send_text(modem: Modem, command: Command) -> Outcome:
    try:
        destination = pdu.address(command.args[0])
    except (IndexError, pdu.PduError) as error:
        raise cms(305) from error

    def take(payload: bytes) -> Answer | Later:
        return _submit(modem, _text_submit(modem, destination, payload))

    return Prompt(take=take, is_text=True)


def _text_submit(modem: Modem, destination: pdu.Address, payload: bytes) -> bytes:
    first_octet, validity, pid = _text_parameters(modem.settings["+CSMP"])
    text = payload.decode("latin-1").replace("\r", "\n")
    if modem.settings["+CSCS"] == "UCS2":
        try:
            text = bytes.fromhex(text).decode("utf-16-be")
        except ValueError as error:
            raise cms(305) from error
    parts = pdu.segments(text, reference=0)
    if len(parts) > 1:
        raise cms(305)
    submit = pdu.Submit(
        first_octet=first_octet,
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


def _tpdu(payload: bytes, length: int) -> bytes:
    try:
        _, tpdu = pdu.split_pdu(bytes.fromhex(payload.decode("ascii").strip()))
    except (ValueError, UnicodeDecodeError) as error:
        raise cms(304) from error
    if len(tpdu) != length:
        raise cms(304)
    return tpdu


def _submit(modem: Modem, tpdu: bytes, *, label: str = "+CMGS") -> Answer | Later:
    try:
        submit = pdu.decode_submit(tpdu)
    except pdu.PduError as error:
        raise cms(304) from error
    # The card or the network may have gone while the prompt was up.
    card = require_messaging(modem)
    if not modem.is_registered:
        raise cms(331)
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

    seconds = modem.persona.submit_seconds
    if seconds > 0:
        modem.submitting(line, modem.world.clock.call_later(seconds, leave))
    else:
        leave()
    return Later.LATER


# ---------------------------------------------------------------- storages


def _memories(modem: Modem, command: Command) -> Outcome:
    mailbox = modem.mailbox
    if command.op is Op.TEST:
        names = ",".join(f'"{name}"' for name in _MEMORIES)
        return Answer(lines=(f"+CPMS: ({names}),({names}),({names})",))
    require_messaging(modem)
    if command.op is Op.SET:
        chosen = command.args
        if not 1 <= len(chosen) <= 3 or any(mailbox.memory(name) is None for name in chosen):
            raise cms(302)
        mailbox.memories[: len(chosen)] = chosen
    fields: list[str] = []
    for name in mailbox.memories:
        memory = mailbox.memory(name)
        assert memory is not None
        counts = f"{memory.used},{memory.capacity}"
        fields.append(f'"{name}",{counts}' if command.op is Op.READ else counts)
    return Answer(lines=(f"+CPMS: {','.join(fields)}",))


def _read(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    memory = _reading(modem)
    index = _index(command)
    message = memory.get(index)
    if message is None:
        raise cms(321)
    line = f"+CMGR: {_shown(modem, message)}"
    if message.status is Status.UNREAD:
        memory.mark(index, Status.READ)
    return Answer(lines=(line,))


_WORDS: Final = {
    "REC UNREAD": "0",
    "REC READ": "1",
    "STO UNSENT": "2",
    "STO SENT": "3",
    "ALL": "4",
}


def _list(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=("+CMGL: (0-4)",))
    memory = _reading(modem)
    wanted = (command.args or ["0"])[0]
    wanted = _WORDS.get(wanted, wanted)
    if wanted not in {"0", "1", "2", "3", "4"}:
        raise cms(305)
    lines: list[str] = []
    for index, message in memory:
        if wanted not in {"4", str(message.status.value)}:
            continue
        lines.append(f"+CMGL: {index},{_shown(modem, message)}")
        if message.status is Status.UNREAD:
            memory.mark(index, Status.READ)
    return Answer(lines=tuple(lines))


def _shown(modem: Modem, message: Stored) -> str:
    if modem.settings["+CMGF"] == "0":
        pdu_hex = (message.sca + message.tpdu).hex().upper()
        return f"{message.status.value},,{len(message.tpdu)}\r\n{pdu_hex}"
    word = next(word for word, value in _WORDS.items() if value == str(message.status.value))
    kind = message.tpdu[0] & 3
    if kind == 2:
        report = pdu.decode_status_report(message.tpdu)
        when = f'"{_text_time(report.scts)}","{_text_time(report.discharged)}"'
        return f'"{word}",6,{report.mr},"{report.recipient.number}",145,{when},{report.st}'
    if kind == 1:
        sent = pdu.decode_submit(message.tpdu)
        return f'"{word}","{sent.destination.number}",\r\n{_text_body(modem, sent.data)}'
    got = pdu.decode_deliver(message.tpdu)
    head = f'"{word}","{got.origin.number}",,"{_text_time(got.scts)}"'
    return f"{head}\r\n{_text_body(modem, got.data)}"


def _text_time(moment: datetime) -> str:
    offset = moment.utcoffset()
    quarters = int(offset.total_seconds()) // 900 if offset else 0
    return f"{moment:%y/%m/%d,%H:%M:%S}{quarters:+03d}"


def _text_body(modem: Modem, data: pdu.UserData) -> str:
    text = data.text
    # Source: TS 27.005 §3.1 <data>: hex pairs for 8-bit, UCS-2 and whatever has a header.
    if text is None or data.has_header:
        return data.octets.hex().upper()
    if modem.settings["+CSCS"] == "UCS2" or pdu.coding(data.dcs) is pdu.Coding.UCS2:
        return text.encode("utf-16-be", "surrogatepass").hex().upper()
    return text


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
        tpdu = _tpdu(payload, length)
        memory = modem.mailbox.memory(modem.mailbox.memories[1])
        message = Stored(status=Status.UNSENT if status is None else status, sca=b"\x00", tpdu=tpdu)
        index = memory.add(message) if memory is not None else None
        if index is None:
            raise cms(322)
        return Answer(lines=(f"+CMGW: {index}",))

    return Prompt(take=take)


def _send_stored(modem: Modem, command: Command) -> Outcome:
    require_messaging(modem)
    memory = modem.mailbox.memory(modem.mailbox.memories[1])
    message = memory.get(_index(command)) if memory is not None else None
    if message is None:
        raise cms(321)
    return _submit(modem, message.tpdu, label="+CMSS")


def _delete(modem: Modem, command: Command) -> Outcome:
    memory = _reading(modem)
    if command.op is Op.TEST:
        indexes = ",".join(str(index) for index, _ in memory)
        return Answer(lines=(f"+CMGD: ({indexes}),(0-4)",))
    index = _index(command)
    flag = [*command.args, "0"][1] or "0"
    wanted = {"1": {1}, "2": {1, 3}, "3": {1, 2, 3}, "4": {0, 1, 2, 3}}.get(flag)
    if wanted is None:
        if not memory.holds(index):
            raise cms(321)
        memory.delete(index)
    else:
        for found, message in list(memory):
            if message.status in wanted:
                memory.delete(found)
    modem.mailbox.made_room()
    return OK


def _index(command: Command) -> int:
    args = command.args
    if not args or not args[0].isdigit():
        raise cms(321)
    return int(args[0])


# ---------------------------------------------------------------- routing


def _indications(modem: Modem, command: Command) -> Outcome:
    mailbox, persona = modem.mailbox, modem.persona
    match command.op:
        case Op.TEST:
            modes = ",".join(map(str, persona.cnmi_modes))
            return Answer(lines=(f"+CNMI: ({modes}),(0,1,2,3),(0,2),(0,1,2),(0,1)",))
        case Op.READ:
            return Answer(lines=(f"+CNMI: {','.join(map(str, mailbox.cnmi))}",))
    given = command.args
    if len(given) > 5 or not all(arg.isdigit() for arg in given if arg):
        raise cms(303)
    values = [int(arg) if arg else old for arg, old in zip(given, mailbox.cnmi, strict=False)]
    values += list(mailbox.cnmi[len(values) :])
    mode, mt, bm, ds, bfr = values
    if mode in persona.cnmi_refused_modes or ds in persona.cnmi_refused_reports:
        raise Refused(persona.cnmi_refusal)
    if persona.cnmi_only and ",".join(map(str, values)) not in persona.cnmi_only:
        raise Refused(persona.cnmi_refusal)
    if mode not in persona.cnmi_modes or mt > 3 or bm not in {0, 2} or ds > 2 or bfr > 1:
        raise cms(303)
    mailbox.set_cnmi((mode, mt, bm, ds, bfr))
    return OK


def _service(modem: Modem, command: Command) -> Outcome:
    match command.op:
        case Op.TEST:
            return Answer(lines=("+CSMS: (0,1)",))
        case Op.READ:
            return Answer(lines=(f"+CSMS: {int(modem.mailbox.phase2plus)},1,1,1",))
    if command.args[:1] not in (["0"], ["1"]):
        raise cms(303)
    modem.mailbox.phase2plus = command.args[0] == "1"
    return Answer(lines=("+CSMS: 1,1,1",))


def _acknowledge(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return Answer(lines=("+CNMA: (0-2)",))
    mailbox = modem.mailbox
    args = command.args
    if not mailbox.is_awaiting_ack:
        raise cms(340)
    if len(args) > 1 and args[1] not in {"", "0"}:
        if not modem.persona.prompted_ack:
            raise Refused("ERROR")

        def take(_payload: bytes) -> Answer:
            mailbox.acknowledge(is_taken=args[0] != "2")
            return OK

        return Prompt(take=take)
    mailbox.acknowledge(is_taken=args[:1] != ["2"])
    return OK


def _centre(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    card = require_messaging(modem)
    if command.op is Op.READ:
        number = modem.settings.get("+CSCA", card.subscription.service_centre)
        shown = number.encode("utf-16-be").hex().upper() if _is_ucs2(modem) else number
        return Answer(lines=(f'+CSCA: "{shown}",{145 if number.startswith("+") else 129}',))
    given = command.args[0] if command.args else ""
    try:
        modem.settings["+CSCA"] = (
            bytes.fromhex(given).decode("utf-16-be") if _is_ucs2(modem) else given
        )
    except ValueError as error:
        raise cms(305) from error
    return OK


def _is_ucs2(modem: Modem) -> bool:
    return modem.settings["+CSCS"] == "UCS2"


TABLE: Final = {
    "+CMGS": _send,
    "+CMGW": _write,
    "+CMSS": _send_stored,
    "+CMGR": _read,
    "+CMGL": _list,
    "+CMGD": _delete,
    "+CPMS": _memories,
    "+CNMI": _indications,
    "+CSMS": _service,
    "+CNMA": _acknowledge,
    "+CSCA": _centre,
}
