"""What only a person's flag allows: a PIN, one SMS, a draft, a USSD code, a restart.

Each announces the exact octets to the guard, which lets them pass once.
Source: TS 27.005 §3.5.1, §4.3, §4.4; TS 27.007 §7.15, §8.2, §8.3.
"""

from __future__ import annotations

import contextlib
import re
from typing import Final

from simulator import alphabet, pdu
from simulator.conformance import tries
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
from simulator.conformance.checks.card import ask_state
from simulator.conformance.checks.line import milliseconds
from simulator.conformance.checks.messages import to_pdu_mode
from simulator.conformance.guard import CTRL_Z, Permit
from simulator.conformance.port import PortGone
from simulator.conformance.reply import Reply

_LEAST_TRIES: Final = 3
_MOST_TRIES: Final = 5
_LEAST_FORCED: Final = 2
# An EG06 answered after 135 s; u-blox' manual says up to 180.
_SUBMIT_SECONDS: Final = 180.0
_READY_SECONDS: Final = 30
_PAUSE: Final = 3.0
_REPORT_SECONDS: Final = 30
_USSD_SECONDS: Final = 60
# Some modems hold their OK back until the network has answered.
_USSD_LIMIT: Final = 30.0
_RESTART_SECONDS: Final = 90.0
_HAN: Final = "测试"


def _enter_pin(bench: Bench) -> Finding:
    seen, wishes = bench.seen, bench.wishes
    if seen.pin_state != "SIM PIN":
        return not_tried("the card asks for no PIN")
    # Read again: what was read some time ago may no longer hold.
    left = tries.fewest(bench.ask)
    least = _LEAST_FORCED if wishes.is_forced else _LEAST_TRIES
    if left is None:
        return cannot("not tried: nobody knows how many tries are left")
    if left > _MOST_TRIES:
        return cannot(f"not tried: {left} is no PIN's counter")
    if left < least:
        cure = "" if wishes.is_forced or left < _LEAST_FORCED else " (--force tries at 2)"
        return cannot(f"not tried: {left} left{cure}")
    line = f'AT+CPIN="{wishes.pin}"'
    bench.client.guard.announce_line(Permit.PIN, line)
    reply = bench.client.ask(line, secret=wishes.pin)
    if not reply.is_ok:
        seen.pin_tries = None
        return cannot(f"{reply.told}; it will not be tried again")
    if seen.family in {"huawei", "generic"}:
        # Old firmware of Huawei restarts when it is asked too much too early.
        bench.client.listen(_PAUSE)
    for _ in range(_READY_SECONDS):
        seen.pin_state = (ask_state(bench).value("+CPIN") or "").strip('"')
        if bench.has_card:
            break
        bench.client.listen(1.0)
    says = f"taken in {milliseconds(reply.seconds)}, now {seen.pin_state}"
    return can(says) if bench.has_card else odd(says)


# ---------------------------------------------------------------- sending


def _send(bench: Bench) -> Finding:
    return _send_text(bench, bench.wishes.text)


def _send_han(bench: Bench) -> Finding:
    if not bench.wishes.is_ucs2:
        return not_tried("--ucs2 sends one in Chinese")
    return _send_text(bench, f"{_HAN} {bench.wishes.text}"[:70])


def _send_text(bench: Bench, text: str) -> Finding:
    parts = pdu.segments(text, reference=0)
    if len(parts) != 1:
        return not_tried("the text does not fit into one SMS")
    if not to_pdu_mode(bench):
        return not_tried("no PDU mode")
    route = _route_reports(bench)
    tpdu = pdu.encode_submit(
        pdu.Submit(
            # SUBMIT, relative validity, a report is asked for. Source: TS 23.040 §9.2.3.
            first_octet=0x31,
            mr=0,
            destination=pdu.address(bench.wishes.number),
            pid=0,
            validity=b"\xa7",
            data=parts[0],
        )
    )
    asked = bench.ask(f"AT+CMGS={len(tpdu)}")
    if not asked.prompt:
        return cannot(f"no prompt: {asked.told}")
    payload = b"00" + tpdu.hex().upper().encode()
    bench.client.guard.announce_payload("+CMGS", payload)
    reply = bench.client.enter(payload + CTRL_Z, limit=_SUBMIT_SECONDS)
    if reply.is_silent:
        bench.client.realign(avoid="+CMGS")
        return cannot("no result: it may have been sent or not. Do not send it again by itself")
    return _sent(bench, reply, route)


def _sent(bench: Bench, reply: Reply, route: str) -> Finding:
    value = reply.value("+CMGS")
    if not reply.is_ok or value is None:
        return cannot(f"{reply.told} after {milliseconds(reply.seconds)}")
    bench.seen.submit_seconds = reply.seconds
    number = re.match(r"\d+", value)
    if number is None:
        return odd(f"sent after {milliseconds(reply.seconds)}, but its reference is “{value}”")
    mr = int(number.group())
    says = f"reference {mr} after {milliseconds(reply.seconds)}"
    return can(f"{says}; {_report(bench, mr)}" if route else f"{says}; no report route")


def _route_reports(bench: Bench) -> str:
    """Have reports told, the surest way that the modem takes."""
    if not bench.settings.keep("+CNMI"):
        return ""
    wanted = sorted(bench.seen.cnmi_taken, key=lambda values: (values[2] != 1, -values[0]))
    for mode, mt, ds in wanted:
        line = f"{mode},{mt},0,{ds},{bench.seen.cnmi_taken[mode, mt, ds]}"
        if mt == 1 and ds in {1, 2} and bench.ask(f"AT+CNMI={line}").is_ok:
            return line
    return ""


def _report(bench: Bench, mr: int) -> str:
    for second in range(_REPORT_SECONDS):
        heard = [line.text for line in bench.client.unasked]
        for at, line in enumerate(heard):
            if line.startswith("+CDSI"):
                return f"a report within {second + 1} s, stored: {line}"
            if line.startswith("+CDS") and _reference_in(heard[at + 1 : at + 2]) == mr:
                return f"its report within {second + 1} s"
        bench.client.listen(1.0)
    return f"no report within {_REPORT_SECONDS} s"


def _reference_in(lines: list[str]) -> int | None:
    for line in lines:
        try:
            return pdu.decode_status_report(pdu.split_pdu(bytes.fromhex(line))[1]).mr
        except ValueError:
            return None
    return None


# ---------------------------------------------------------------- USSD and restart


def _ussd(bench: Bench) -> Finding:
    code = bench.wishes.ussd
    packed = alphabet.pack(alphabet.to_septets(code)).hex().upper()
    forms = {"plain": code, "UCS2": code.encode("utf-16-be").hex().upper(), "packed": packed}
    before = bench.settings.keep("+CSCS")
    n_heard = len(bench.client.unasked)
    order = ["packed", "plain"] if bench.seen.family == "huawei" else ["plain", "packed"]
    if before == '"UCS2"':
        order = ["UCS2"]
    told = "nothing"
    for form in order:
        line = f'AT+CUSD=1,"{forms[form]}",15'
        bench.client.guard.announce_line(Permit.USSD, line)
        reply = bench.client.ask(line, limit=_USSD_LIMIT)
        told = reply.told
        # Silence is no refusal: the code may have been carried out, and may cost money.
        if reply.is_ok or reply.is_silent:
            return _ussd_answer(bench, form, reply.value("+CUSD"), n_heard)
    return cannot(told)


def _ussd_answer(bench: Bench, form: str, value: str | None, n_heard: int) -> Finding:
    for _ in range(_USSD_SECONDS):
        lines = bench.client.unasked[n_heard:]
        heard = [line.text for line in lines if line.text.startswith("+CUSD")]
        value = value or (heard[-1].partition(":")[2] if heard else None)
        if value is not None:
            break
        bench.client.listen(1.0)
    bench.ask("AT+CUSD=2")
    if value is None:
        says = f"asked in {form} form, no answer within {_USSD_SECONDS} s"
        return cannot(f"{says}. It may have been carried out: do not ask again by itself")
    match = re.match(r'\s*(\d)(?:,\s*"(.*)"(?:,\s*(\d+))?)?', value, re.DOTALL)
    if match is None or match.group(2) is None:
        return odd(f"asked in {form} form: {value.strip()}")
    says = f"asked in {form} form, {len(match.group(2))} characters"
    return can(f"{says}, dcs {match.group(3)}") if match.group(3) else odd(f"{says}, without dcs")


def _restart(bench: Bench) -> Finding:
    client = bench.client
    line = "AT+CFUN=1,1"
    client.guard.announce_line(Permit.REBOOT, line)
    # The port may vanish with its OK still unread.
    with contextlib.suppress(PortGone):
        client.say(line.encode() + b"\r", listen=1.0)
    bench.settings.forget()
    before = len(client.unasked)
    back = client.wait_back(_RESTART_SECONDS)
    if back is None:
        return cannot(f"not back within {_RESTART_SECONDS:.0f} s")
    lines = [heard.text for heard in client.unasked[before:]]
    own = (text for text in lines if not text.upper().startswith("AT"))
    bench.seen.boot_lines = tuple(dict.fromkeys(own))
    bench.seen.boot_seconds = round(back, 1)
    bench.seen.is_echoing = client.ask("AT").is_echoed
    said = ", ".join(bench.seen.boot_lines) or "nothing"
    return can(f"back after {milliseconds(back)}, says {said}")


PIN: Final = (
    Check(
        name="card.pin", title="the PIN (+CPIN)", clause="TS 27.007 §8.3", run=_enter_pin,
        permit=Permit.PIN, suffers="The card stays locked.",
    ),
)  # fmt: skip
CHECKS: Final = (
    Check(
        name="acts.ussd", title="a USSD code", clause="TS 27.007 §7.15", run=_ussd,
        need=Need.NETWORK, permit=Permit.USSD, suffers="Balances cannot be asked for.",
    ),
    Check(
        name="acts.send", title="one SMS", clause="TS 27.005 §3.5.1, §4.3", run=_send,
        need=Need.NETWORK, permit=Permit.SEND, suffers="It is of no use for sending.",
        is_essential=True,
    ),
    Check(
        name="acts.send_han", title="one SMS in Chinese", clause="TS 23.038 §4, TS 23.040",
        run=_send_han, need=Need.NETWORK, permit=Permit.SEND, suffers="No Chinese texts.",
    ),
    Check(
        name="acts.restart", title="a restart (+CFUN=1,1)", clause="TS 27.007 §8.2",
        run=_restart, permit=Permit.REBOOT,
        suffers="A hung modem can be brought back by its power only.",
    ),
)  # fmt: skip
