"""Messages: modes, storages, slots, the prompt. Nothing is sent and nothing is read.

Unread messages are never listed or read: that would mark them as read (TS 27.005 §3.4.2, §3.4.3).
Source: TS 27.005 §3, §4; at-dialects §1.2, §3.5.
"""

from __future__ import annotations

import re
from typing import Final

from simulator.conformance.check import (
    Bench,
    Check,
    Finding,
    Need,
    can,
    cannot,
    not_tried,
    odd,
)
from simulator.conformance.checks.line import milliseconds
from simulator.conformance.guard import ESC, is_settable
from simulator.conformance.reply import Reply

_QUOTED: Final = re.compile(r'"([^"]*)"')


def to_pdu_mode(bench: Bench) -> bool:
    """Make sure of PDU mode; False where the modem does not say so."""
    if not bench.settings.keep("+CMGF"):
        return False
    bench.ask("AT+CMGF=0")
    return bench.ask("AT+CMGF?").value("+CMGF") == "0"


def _pdu_mode(bench: Bench) -> Finding:
    if to_pdu_mode(bench):
        return can("set and read back")
    return cannot("AT+CMGF=0 is not read back as 0")


def _text_mode(bench: Bench) -> Finding:
    if not bench.settings.keep("+CMGF"):
        return cannot("+CMGF? tells nothing: it could not be put back, so it is not set")
    reply = bench.ask("AT+CMGF=1")
    bench.ask("AT+CMGF=0")
    return can("too") if reply.is_ok else cannot(reply.told)


def _charsets(bench: Bench) -> Finding:
    offered = _QUOTED.findall(bench.ask("AT+CSCS=?").value("+CSCS") or "")
    if not offered:
        return cannot("+CSCS=? tells none")
    bench.seen.charsets = tuple(offered)
    if not bench.settings.keep("+CSCS"):
        return cannot(f"{', '.join(offered)}; +CSCS? tells nothing, so none is tried")
    if strange := [name for name in offered if not is_settable("+CSCS", f'"{name}"')]:
        return odd(f"offers {shown(strange[0])}, which is no alphabet's name")
    refused = [name for name in offered if not bench.ask(f'AT+CSCS="{name}"').is_ok]
    bench.settings.put_back("+CSCS")
    if refused:
        return odd(f"{', '.join(offered)}; refuses {', '.join(refused)} all the same")
    return can(", ".join(offered))


def _storages(bench: Bench) -> Finding:
    test = bench.ask("AT+CPMS=?").value("+CPMS") or ""
    groups = re.findall(r'\(((?:"[A-Z]+",?)*)\)', test.replace(" ", ""))
    read = bench.ask("AT+CPMS?").value("+CPMS")
    if read is None:
        return cannot("+CPMS? tells nothing")
    used = _QUOTED.findall(read)
    bench.seen.n_memories = len(used)
    bench.seen.default_memory = used[0] if used else None
    offered = tuple(_QUOTED.findall(groups[0])) if groups else tuple(dict.fromkeys(used))
    bench.seen.memories = offered
    second = tuple(_QUOTED.findall(groups[1])) if len(groups) > 1 else ()
    bench.seen.write_memories = second if second != offered else ()
    before = bench.settings.keep("+CPMS")
    for name in offered if before else ():
        if not is_settable("+CPMS", f'"{name}"'):
            return odd(f"offers {shown(name)}, which is no storage's name")
        numbers = re.findall(r"\d+", bench.ask(f'AT+CPMS="{name}"').value("+CPMS") or "")
        if len(numbers) > 1:
            bench.seen.capacities[name] = int(numbers[1])
    if not before:
        return cannot(f"+CPMS: {shown(read)} could not be put back, so none is tried")
    is_back = bench.settings.put_back("+CPMS")
    sizes = ", ".join(f"{name} {size}" for name, size in bench.seen.capacities.items())
    if not offered or not bench.seen.capacities:
        return cannot("no storage: messages come directly or not at all")
    if len(used) != 3:
        return odd(f"{sizes}; {len(used)} places instead of 3")
    return can(sizes) if is_back else odd(f"{sizes}; does not go back to {before}")


def slots_of(bench: Bench) -> tuple[int, set[int], bool]:
    """How many messages the first storage holds, where they are, and if that is all of them."""
    value = bench.ask("AT+CPMS?").value("+CPMS") or ""
    numbers = re.findall(r",\s*(\d+)", value)
    used = int(numbers[0]) if numbers else -1
    listed = bench.ask("AT+CMGD=?").value("+CMGD") or ""
    group = re.match(r"\(([\d,\s]*)\)", listed)
    found = {int(text) for text in re.findall(r"\d+", group.group(1))} if group else set()
    for stat in (1, 2, 3):
        for entry in bench.ask(f"AT+CMGL={stat}").values("+CMGL"):
            if match := re.match(r"\d+", entry):
                found.add(int(match.group()))
    return used, found, len(found) == used


def _first_slot(bench: Bench) -> Finding:
    if not to_pdu_mode(bench):
        return not_tried("no PDU mode")
    used, found, is_all = slots_of(bench)
    if bench.seen.first_slot is not None:
        says = f"{bench.seen.first_slot}, by the draft"
        return can(says) if bench.seen.first_slot else odd(says)
    if 0 in found:
        bench.seen.first_slot = 0
        return odd("0: a message lies there")
    if used > 0 and is_all and found == set(range(1, used + 1)):
        bench.seen.first_slot = 1
        return can("1, by what lies there")
    return not_tried("seen only with messages or a draft in it (see --write)")


def _empty_slot(bench: Bench) -> Finding:
    capacity = bench.seen.capacities.get(bench.seen.default_memory or "", 0)
    _, found, is_all = slots_of(bench) if to_pdu_mode(bench) else (-1, set[int](), False)
    # Far from where the next message will come in, and inside whether slots begin at 0 or at 1.
    slot = capacity - 1
    if not is_all or slot < 2 or slot in found or slot > 999:
        return not_tried("no slot that is surely empty")
    read = bench.ask(f"AT+CMGR={slot}")
    if read.is_ok and (read.value("+CMGR") or "0,,0").replace(" ", "") != "0,,0":
        return odd("there is a message that nobody lists")
    bench.client.guard.erasable.add(slot)
    delete = bench.ask(f"AT+CMGD={slot}")
    bench.client.guard.erasable.discard(slot)
    bench.seen.empty_read, bench.seen.empty_delete = read, delete
    says = f"read: {_refusal(read)}, delete: {_refusal(delete)}"
    is_usual = read.cms == 321 or (read.is_ok and not read.lines)
    return can(says) if is_usual and delete.final else odd(says)


def _refusal(reply: Reply) -> str:
    value = reply.value("+CMGR")
    return f"+CMGR: {value}" if value is not None else reply.told


def _centre(bench: Bench) -> Finding:
    reply = bench.ask("AT+CSCA?")
    value = reply.value("+CSCA")
    if value is None:
        return cannot(f"+CSCA?: {reply.told}")
    number = value.split(",")[0].strip().strip('"')
    if not number:
        return odd("none is stored: nothing can be sent until one is set")
    bench.seen.numbers.add(number)
    return can(f"{number}")


def _wrong_length(bench: Bench) -> Finding:
    if not to_pdu_mode(bench):
        return not_tried("no PDU mode")
    told: list[str] = []
    for length in (0, 999):
        reply = bench.ask(f"AT+CMGS={length}")
        if reply.prompt:
            bench.client.enter(ESC, limit=5.0)
            told.append(f"{length}: a prompt")
        elif reply.cms in {302, 331, 310, 311, 313, 314, 500, 512, 517}:
            return not_tried(f"{reply.final}: not ready to send")
        elif reply.cms != 304:
            told.append(f"{length}: {reply.told}")
    return odd(", ".join(told)) if told else can("304 at once, no prompt")


def _prompt(bench: Bench) -> Finding:
    """Ask for the prompt and leave it by ESC: without Ctrl-Z nothing can leave."""
    if not to_pdu_mode(bench):
        return not_tried("no PDU mode: a text prompt is not asked for")
    reply = bench.ask("AT+CMGS=20")
    if not reply.prompt:
        if reply.is_silent:
            return cannot("neither a prompt nor a refusal within 10 s")
        return cannot(f"refused: {reply.final}")
    bench.seen.prompt = reply.prompt
    left = bench.client.enter(ESC, limit=5.0)
    prompt = shown(reply.prompt.decode("latin-1"))
    says = f"“{prompt}” after {milliseconds(reply.seconds)}, ESC: {left.told}"
    if reply.noise:
        return odd(f"{says}; a line comes between prompt and text")
    if reply.prompt != b"\r\n> ":
        return odd(says)
    return can(says) if left.is_ok else odd(says)


def shown(said: str) -> str:
    """What was said, with the line's ends made visible."""
    text = said.replace("\r", "␍").replace("\n", "␊").replace("\x1b", "␛")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def _acknowledge(bench: Bench) -> Finding:
    test = bench.ask("AT+CNMA=?")
    reply = bench.ask("AT+CNMA")
    forms = test.value("+CNMA") or test.told
    if reply.cms == 340:
        return can(f"340, none is waited for; forms {forms}")
    return odd("OK though nothing waits for it") if reply.is_ok else odd(f"{reply.told}, not 340")


def _further(bench: Bench) -> Finding:
    commands = ("+CMMS", "+CGSMS", "+CSMP", "+CSDH", "+CSCB")
    known = [name for name in commands if bench.ask(f"AT{name}?").value(name) is not None]
    missing = [name for name in commands if name not in known]
    return can(", ".join(known) + (f"; not {', '.join(missing)}" if missing else ""))


CHECKS: Final = (
    Check(
        name="sms.pdu_mode", title="PDU mode (+CMGF=0)", clause="TS 27.005 §3.2.3",
        run=_pdu_mode, is_essential=True, need=Need.CARD,
        suffers="Careful clients send by PDU only: this modem cannot be used.",
    ),
    Check(
        name="sms.text_mode", title="text mode (+CMGF=1)", clause="TS 27.005 §3.2.3",
        run=_text_mode, need=Need.CARD, suffers="People at a terminal, simple scripts.",
    ),
    Check(
        name="sms.charsets", title="alphabets (+CSCS)", clause="TS 27.007 §5.5", run=_charsets,
        suffers="Text mode, USSD and names come in the wrong letters.",
    ),
    Check(
        name="sms.storages", title="storages (+CPMS)", clause="TS 27.005 §3.2.2", run=_storages,
        need=Need.CARD, is_essential=True,
        suffers="Received messages cannot be found, a full storage is not seen.",
    ),
)  # fmt: skip

SLOTS: Final = (
    Check(
        name="sms.first_slot", title="first slot", clause="TS 27.005 §3.1 <index>",
        run=_first_slot, need=Need.CARD,
        suffers="A client that begins at 1 never sees the message in 0.",
    ),
    Check(
        name="sms.empty_slot", title="an empty slot", clause="TS 27.005 §3.4.3, §3.5.4",
        run=_empty_slot, need=Need.CARD,
        suffers="A reader cannot tell “nothing there” from an error.",
    ),
    Check(
        name="sms.centre", title="service centre (+CSCA?)", clause="TS 27.005 §3.3.1",
        run=_centre, need=Need.CARD, is_essential=True,
        suffers="Without a centre nothing is sent; gammu reads it before each message.",
    ),
    Check(
        name="sms.length", title="a wrong length (+CMGS=0)", clause="TS 27.005 §4.3, §3.2.5",
        run=_wrong_length, need=Need.NETWORK,
        suffers="A client's wrong length ends in a prompt that waits for ever.",
    ),
    Check(
        name="sms.prompt", title="the prompt, left by ESC", clause="TS 27.005 §4.3", run=_prompt,
        need=Need.NETWORK, is_essential=True,
        suffers="gammu and python-gsmmodem wait for “> ” with its blank, until they time out.",
    ),
    Check(
        name="sms.acknowledge", title="+CNMA without a message", clause="TS 27.005 §3.4.4, §4.6",
        run=_acknowledge, need=Need.CARD,
        suffers="A client that acknowledges twice takes the answer for a fault.",
    ),
    Check(
        name="sms.further", title="further commands", clause="TS 27.005 §3.5", run=_further,
        need=Need.CARD, suffers="+CMMS saves a second per message; the others are for text mode.",
    ),
)  # fmt: skip
