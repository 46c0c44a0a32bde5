"""The card: state, tries, number, files. Nothing here shows a PIN to it.

Source: TS 27.007 §8.3, §8.17, §8.18, §8.65; TS 31.102 §4.2; at-dialects §3.2, §3.3.
"""

from __future__ import annotations

import re
from typing import Final

from simulator.conformance import iccid, tries
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
from simulator.conformance.guard import Permit
from simulator.conformance.reply import Reply

_ASKS_AGAIN: Final = 15
_READING_SECONDS: Final = 20
_LEAST_TRIES: Final = 3
_NO_CARD: Final = frozenset({"NOT INSERTED", "NOT READY"})
_LOCKS: Final = {
    "PS": "a lock to this card",
    "PN": "a lock to a network",
    "PU": "a lock to a network subset",
    "PP": "a lock to a provider",
    "PC": "a lock to a company",
    "FD": "fixed dialling",
}


def ask_state(bench: Bench) -> Reply:
    """Ask `+CPIN?` until the card is no longer busy, for some seconds."""
    for _ in range(_ASKS_AGAIN):
        reply = bench.ask("AT+CPIN?")
        # Source: TS 27.007 §9.2.2.1 (14 = SIM busy).
        if reply.cme != 14 and "busy" not in reply.final.lower():
            break
        bench.client.listen(1.0)
    return reply


def _state(bench: Bench) -> Finding:
    reply = ask_state(bench)
    state = reply.value("+CPIN")
    if state is None:
        bench.seen.pin_state = ""
        if reply.final:
            return cannot(f"no card, or a dead one: {reply.final}")
        return cannot("no answer")
    state = state.strip('"')
    bench.seen.pin_state = state
    bench.seen.cpin_has_ok = bool(reply.final)
    if state in _NO_CARD:
        return cannot(f"no card: {state}")
    if not reply.final:
        return odd(f"{state}, and no OK after it")
    return can(state)


def _counter(bench: Bench) -> Finding:
    found = tries.read_all(bench.ask, pin_state=bench.seen.pin_state or "")
    if not found:
        return cannot("by no known command")
    first = found[0]
    seen = bench.seen
    seen.counter_command, seen.counter_form = first.command, first.form
    seen.pin_tries, seen.puk_tries = first.pin, first.puk
    ways = ", ".join(way.command for way in found)
    if len({way.pin for way in found}) > 1:
        told = ", ".join(f"{way.command} {way.pin}" for way in found)
        return odd(f"they disagree: {told}")
    puk = f", PUK {first.puk}" if first.puk is not None else ""
    return can(f"PIN {first.pin}{puk} by {ways}")


def _counter_apdu(bench: Bench) -> Finding:
    known = bench.seen.pin_tries
    # A card that takes the empty VERIFY for a wrong PIN must have tries to lose.
    if bench.allows(Permit.PIN) or (known is not None and known >= _LEAST_TRIES):
        return _told_by_card(bench)
    why = "nobody knows how many tries are left" if known is None else f"{known} left"
    return not_tried(f"{why}, and asking so may cost one (see --pin)")


def _told_by_card(bench: Bench) -> Finding:
    pin = bench.ask('AT+CSIM=10,"0020000100"')
    word = tries.status_word(pin)
    if word is None:
        return cannot(f"+CSIM: {pin.told}")
    left = tries.of_status_word(word)
    after = tries.read_all(bench.ask, pin_state=bench.seen.pin_state or "")
    if bench.seen.pin_tries is not None and after and after[0].pin != bench.seen.pin_tries:
        return odd(f"asking cost a try: now {after[0].pin}. Never do this with this card")
    if word == "9000":
        return can("9000: no PIN is needed now")
    if left is None:
        return cannot(f"the card answers {word}")
    if bench.seen.pin_tries is None:
        bench.seen.pin_tries, bench.seen.counter_command = left, "+CSIM"
    elif left != bench.seen.pin_tries:
        return odd(f"{word}: {left} tries, but {bench.seen.counter_command} says another number")
    return can(f"{word}: {left} tries left")


def _iccid(bench: Bench) -> Finding:
    found = iccid.read_all(bench.ask)
    if not found:
        return cannot("by no known command, nor from its file")
    first = found[0]
    bench.seen.iccid = first.number
    bench.seen.iccid_command, bench.seen.iccid_form = first.command, first.form
    if len({way.number for way in found}) > 1:
        return odd("different ones by " + ", ".join(way.command for way in found))
    problem = iccid.problem(first.number)
    if problem:
        return odd(f"{first.number}: {problem}")
    ways = ", ".join(f"{way.command} ({way.form})" for way in found)
    return can(f"{len(first.number)} characters by {ways}")


def _files(bench: Bench) -> Finding:
    read = bench.ask("AT+CRSM=176,12258,0,0,10")
    value = read.value("+CRSM")
    if value is None:
        return cannot(f"read (176): {read.told}")
    bare = bench.ask("AT+CRSM=192,12258").value("+CRSM")
    full = bench.ask("AT+CRSM=192,12258,0,0,255").value("+CRSM")
    missing = bench.ask("AT+CRSM=176,28671,0,0,10")
    absent = missing.value("+CRSM") or missing.told
    bench.seen.crsm_is_quoted = '"' in value
    bench.seen.crsm_is_short = bare is not None and tries.is_good_crsm(bare)
    if match := re.match(r"\d+,\d+", absent):
        bench.seen.crsm_missing = match.group()
    forms = [
        name
        for name, told in (("192,fid", bare), ("192,fid,0,0,255", full))
        if told is not None and tries.is_good_crsm(told)
    ]
    if not forms:
        return odd("read (176) yes, status (192) in no form")
    if absent.startswith("144"):
        return odd("reads a file that no card has")
    return can(f"176; {' and '.join(forms)}; no such file: {absent}")


def _imsi(bench: Bench) -> Finding:
    for _ in range(_ASKS_AGAIN):
        reply = bench.ask("AT+CIMI")
        if reply.is_ok or reply.cme not in {14, None}:
            break
        bench.client.listen(1.0)
    digits = next((line for line in reply.lines if line.strip('"').isdigit()), "").strip('"')
    if not 14 <= len(digits) <= 16:
        named = reply.value("+CIMI")
        if named is None:
            return cannot(f"+CIMI: {reply.told}")
        bench.seen.imsi = named.strip('"')
        return odd("with a name in front")
    bench.seen.imsi = digits
    held = _file(bench, 28423, 9)
    if held and iccid.swapped(held)[3 : 3 + len(digits)] != digits:
        return odd("+CIMI and the card's file differ")
    return can(f"{digits}, {len(digits)} digits" + (", as in its file" if held else ""))


def _file(bench: Bench, fid: int, length: int) -> str:
    """A transparent file's octets in hex; empty where it cannot be read."""
    value = bench.ask(f"AT+CRSM=176,{fid},0,0,{length}").value("+CRSM")
    if value is None or not tries.is_good_crsm(value):
        return ""
    data = value.rpartition(",")[2].strip('" ').upper()
    # A line cut short or with noise in it is no file.
    return data if re.fullmatch(r"(?:[0-9A-F]{2})+", data) else ""


def _number(bench: Bench) -> Finding:
    reply = bench.ask("AT+CNUM")
    if not reply.is_ok:
        return cannot(f"+CNUM: {reply.told}")
    numbers = []
    for value in reply.values("+CNUM"):
        parts = value.split(",")
        if len(parts) > 1:
            numbers.append(parts[1].strip('"'))
    bench.seen.numbers |= {number for number in numbers if number}
    return can(", ".join(numbers) if any(numbers) else "the card holds none, as most do")


def _provider(bench: Bench) -> Finding:
    name = provider_name(_file(bench, 28486, 17))
    return can(name) if name else cannot("the card names none")


def provider_name(held: str) -> str:
    """The name in EF_SPN. Source: TS 31.102 §4.2.12: octet 1 display, then the name, FF behind."""
    octets = bytes.fromhex(held)[1:] if held else b""
    if octets[:1] == b"\x80":
        return octets[1:].rstrip(b"\xff").decode("utf-16-be", "replace")
    return octets.rstrip(b"\xff").decode("latin-1")


def _administrative(bench: Bench) -> Finding:
    held = _file(bench, 28589, 4)
    if not held:
        return cannot("not readable")
    if len(held) < 8:
        return odd("an old card: the network code's length is not in it")
    digits = int(held[6:8], 16) & 0x0F
    return can(f"{digits} digits") if digits in {2, 3} else odd(f"{digits} digits")


def _locks(bench: Bench) -> Finding:
    card = bench.ask('AT+CLCK="SC",2')
    own = card.value("+CLCK")
    if own is None:
        return cannot(f"not even whether the PIN is asked for: {card.told}")
    offered = bench.ask("AT+CLCK=?").value("+CLCK") or ""
    locked = []
    for facility, meaning in _LOCKS.items():
        if f'"{facility}"' not in offered:
            continue
        value = bench.ask(f'AT+CLCK="{facility}",2').value("+CLCK")
        if value is not None and value[:1] == "1":
            locked.append(meaning)
    says = f"PIN lock {'on' if own[:1] == '1' else 'OFF'}"
    return odd(f"{says}; {', '.join(locked)}") if locked else can(f"{says}, nothing else locked")


def _until_read(bench: Bench) -> Finding:
    # A card that was just put in or unlocked is read for some seconds; each maker says so in
    # numbers of its own (14, 515, 314, …), so any refusal is asked again for a while.
    for second in range(_READING_SECONDS):
        if bench.ask("AT+CIMI").is_ok and bench.ask("AT+CPMS?").is_ok:
            return can(f"usable after {second} s" if second else "usable")
        bench.client.listen(1.0)
    return odd(f"not all of it can be read after {_READING_SECONDS} s")


def _no_pin_needed(bench: Bench) -> Finding:
    state = bench.seen.pin_state
    if state == "READY":
        return _until_read(bench)
    if not state:
        return cannot("no card")
    if state == "SIM PIN":
        return not_tried("it asks for its PIN: what follows of the card is not seen (see --pin)")
    return cannot(f"it asks for {state}: a person must look after it")


CHECKS: Final = (
    Check(
        name="card.state", title="state (+CPIN?)", clause="TS 27.007 §8.3", run=_state,
        is_essential=True, suffers="A client that waits for state and OK waits in vain.",
    ),
    Check(
        name="card.tries", title="tries left", clause="TS 27.007 §8.65; vendors", run=_counter,
        suffers="Nobody who is careful tries a PIN without: the card has to be unlocked by hand.",
    ),
    Check(
        name="card.tries_apdu", title="tries left (+CSIM)", clause="TS 102 221 §11.1.9",
        run=_counter_apdu, suffers="ModemManager's way where no vendor's command is known.",
    ),
    Check(
        name="card.iccid", title="ICCID", clause="TS 102 221 §13.2; vendors", run=_iccid,
        is_essential=True, suffers="The card cannot be told from another: nobody may use it.",
    ),
    Check(
        name="card.files", title="files (+CRSM)", clause="TS 27.007 §8.18", run=_files,
        suffers="ModemManager and ofono read provider and codes from files.",
    ),
    Check(
        name="card.locks", title="locks (+CLCK)", clause="TS 27.007 §7.4", run=_locks,
        suffers="Cards without a PIN lock stay unnoticed.",
    ),
)  # fmt: skip

USABLE: Final = (
    Check(
        name="card.usable", title="ready for use", clause="TS 27.007 §8.3", run=_no_pin_needed,
        is_essential=True, suffers="No network, no messages.",
    ),
    Check(
        name="card.imsi", title="IMSI (+CIMI)", clause="TS 27.007 §5.6", run=_imsi,
        need=Need.CARD, suffers="The subscriber is not known; gammu-smsd asks at each start.",
    ),
    Check(
        name="card.number", title="own number (+CNUM)", clause="TS 27.007 §7.1", run=_number,
        need=Need.CARD, suffers="The number has to be kept in a list.",
    ),
    Check(
        name="card.provider", title="provider's name", clause="TS 31.102 §4.2.12", run=_provider,
        need=Need.CARD, suffers="The card's issuer must be guessed from the IMSI.",
    ),
    Check(
        name="card.codes", title="network code's length", clause="TS 31.102 §4.2.18",
        run=_administrative, need=Need.CARD, suffers="The home network is misread abroad.",
    ),
)  # fmt: skip
