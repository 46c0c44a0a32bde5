"""Storages, routing and acknowledgement. Source: TS 27.005 §3; at-dialects §3.5, §6.8 rows 7–9."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simulator.cards.storage import Status
from simulator.commands import messages, submit
from simulator.commands.messaging import is_ucs2, refusal, require_messaging
from simulator.mailbox import Memory
from simulator.modem import Modem
from simulator.wire.line import OK, Answer, Outcome, Prompt, Refused, cms
from simulator.wire.syntax import Command, Op

__all__ = ["TABLE", "require_messaging"]


def _reading(modem: Modem) -> Memory:
    require_messaging(modem)
    memory = modem.mailbox.reading
    if memory is None:
        raise refusal(modem, "no_card")
    return memory


def _memories(modem: Modem, command: Command) -> Outcome:
    persona, mailbox = modem.persona, modem.mailbox
    choices = _choices(modem)
    if command.op is Op.TEST:
        lists = ",".join(
            f"({','.join(f'{chr(34)}{name}{chr(34)}' for name in part)})" for part in choices
        )
        return Answer(lines=(f"+CPMS: {lists}",))
    require_messaging(modem)
    if command.op is Op.SET:
        chosen = command.args
        if not 1 <= len(chosen) <= persona.n_memories:
            raise cms(302)
        if any(name not in part for name, part in zip(chosen, choices, strict=False)):
            raise cms(302)
        mailbox.memories[: len(chosen)] = chosen
    fields: list[str] = []
    for name in mailbox.memories:
        memory = mailbox.memory(name)
        assert memory is not None
        counts = f"{memory.used},{memory.capacity}"
        fields.append(f'"{name}",{counts}' if command.op is Op.READ else counts)
    return Answer(lines=(f"+CPMS: {','.join(fields)}",))


def _choices(modem: Modem) -> list[tuple[str, ...]]:
    persona = modem.persona
    later = persona.write_memories or persona.memories
    return [persona.memories, *[later] * (persona.n_memories - 1)]


def _read(modem: Modem, command: Command) -> Outcome:
    if command.op is Op.TEST:
        return OK
    memory = _reading(modem)
    index = _index(command)
    message = memory.get(index)
    if message is None:
        raise cms(321)
    line = f"+CMGR: {messages.stored(modem, message, is_listed=False)}"
    if message.status is Status.UNREAD:
        memory.mark(index, Status.READ)
    return Answer(lines=(line,))


_WORDS: Final = {word: str(status.value) for status, word in messages.WORDS.items()} | {"ALL": "4"}


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
        lines.append(f"+CMGL: {index},{messages.stored(modem, message, is_listed=True)}")
        if message.status is Status.UNREAD:
            memory.mark(index, Status.READ)
    return Answer(lines=tuple(lines))


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
            mts, dss = "0,1,2,3", "0,1,2"
            if persona.direct_needs_ack and not mailbox.phase2plus:
                mts, dss = "0,1", "0,2"
            return Answer(lines=(f"+CNMI: ({modes}),({mts}),(0,2),({dss}),(0,1)",))
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
    is_direct = mt in {2, 3} or ds == 1
    if persona.direct_needs_ack and is_direct and not (mailbox.phase2plus and bfr == 1):
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
        shown = number.encode("utf-16-be").hex().upper() if is_ucs2(modem) else number
        return Answer(lines=(f'+CSCA: "{shown}",{145 if number.startswith("+") else 129}',))
    given = command.args[0] if command.args else ""
    try:
        modem.settings["+CSCA"] = (
            bytes.fromhex(given).decode("utf-16-be") if is_ucs2(modem) else given
        )
    except ValueError as error:
        raise cms(305) from error
    return OK


TABLE: Final[dict[str, Callable[[Modem, Command], Outcome]]] = {
    **submit.TABLE,
    "+CMGR": _read,
    "+CMGL": _list,
    "+CMGD": _delete,
    "+CPMS": _memories,
    "+CNMI": _indications,
    "+CSMS": _service,
    "+CNMA": _acknowledge,
    "+CSCA": _centre,
}
