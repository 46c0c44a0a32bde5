"""A draft in a storage, and its deletion: only with a person's flag.

Source: TS 27.005 §3.5.3 (`+CMGW`), §3.5.4 (`+CMGD`), §4.4.
"""

from __future__ import annotations

from typing import Final

from simulator import pdu
from simulator.conformance.check import Bench, Check, Finding, Need, can, cannot, not_tried, odd
from simulator.conformance.checks.messages import slots_of, to_pdu_mode
from simulator.conformance.guard import CTRL_Z, Permit


def _draft(bench: Bench) -> Finding:
    """Write a draft, see where it lies, read it back, delete it: that one and no other."""
    memory = bench.settings.keep("+CPMS").split(",")
    if not to_pdu_mode(bench) or len(memory) < 2:
        return not_tried("no PDU mode or no storage to write to")
    # Reading and deleting go to the first place, writing to the second: make them one.
    if not bench.ask(f"AT+CPMS={memory[1]},{memory[1]}").is_ok:
        return not_tried("reading and writing storage cannot be made one")
    finding = _draft_in(bench)
    bench.settings.put_back("+CPMS")
    return finding


def _draft_in(bench: Bench) -> Finding:
    parts = pdu.segments("conformance draft", reference=0)
    before = slots_of(bench)
    submit = pdu.Submit(
        first_octet=0x01, mr=0, destination=pdu.address("00000"), pid=0, validity=b"", data=parts[0]
    )
    tpdu = pdu.encode_submit(submit)
    asked = bench.ask(f"AT+CMGW={len(tpdu)}")
    if not asked.prompt:
        return cannot(f"+CMGW: {asked.told}")
    payload = b"00" + tpdu.hex().upper().encode()
    bench.client.guard.announce_payload("+CMGW", payload)
    reply = bench.client.enter(payload + CTRL_Z, limit=20.0)
    value = reply.value("+CMGW")
    if value is None or not value.strip().isdigit():
        if reply.is_silent:
            bench.client.realign(avoid="+CMGW")
        return cannot(f"+CMGW: {reply.told}")
    slot = int(value)
    bench.seen.first_slot = first_of(slot, before)
    held = bench.ask(f"AT+CMGR={slot}")
    if tpdu.hex().upper() not in "".join(held.lines).upper():
        return odd(f"written to slot {slot}, but something else lies there: not deleted")
    bench.client.guard.erasable.add(slot)
    deleted = bench.ask(f"AT+CMGD={slot}")
    bench.client.guard.erasable.discard(slot)
    says = f"slot {slot}, read back"
    return can(f"{says}, deleted") if deleted.is_ok else odd(f"{says}, NOT deleted: {deleted.told}")


def first_of(slot: int, before: tuple[int, set[int], bool]) -> int | None:
    """The first slot of a storage, by where a draft came to lie; None where that does not tell."""
    _, found, is_all = before
    if slot == 0 or 0 in found:
        return 0
    # Slot 1 may be the first, or the second behind a message that nobody listed.
    return 1 if is_all else None


CHECKS: Final = (
    Check(
        name="sms.draft", title="a draft (+CMGW, +CMGD)", clause="TS 27.005 §3.5.3",
        run=_draft, need=Need.CARD, permit=Permit.WRITE, suffers="Drafts cannot be kept.",
    ),
)  # fmt: skip
