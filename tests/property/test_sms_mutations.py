"""Damaged PDUs: each decodes or is `MalformedTpdu`, nothing else, and in no time.

5,000 by default, 100,000 with MODEMCTL_LONG=1, which also measures the slowest.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemctl.sms import MalformedTpdu, decode, part_of
from modemctl.sms.tpdu import Deliver
from tests.support import sms_builder as builder

IS_LONG = os.environ.get("MODEMCTL_LONG") == "1"
COUNT = 100_000 if IS_LONG else 5_000
SEED = int(os.environ.get("MODEMCTL_SEED", "20261122"))
SLOWEST_ALLOWED = 0.050


def mutated(rng: random.Random, octets: bytes) -> bytes:
    """The octets damaged in one of the ways that lines, firmware and attackers damage them."""
    damaged = bytearray(octets)
    match rng.randrange(8):
        case 0:
            return bytes(damaged[: rng.randrange(len(damaged))])
        case 1:
            for _ in range(rng.randint(1, 8)):
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        case 2:
            for _ in range(rng.randint(1, 4)):
                damaged[rng.randrange(len(damaged))] = rng.choice((0x00, 0x7F, 0x80, 0xFF))
        case 3:
            damaged += rng.randbytes(rng.randint(1, 400))
        case 4:
            return rng.randbytes(rng.randint(0, 300))
        case 5:
            start = rng.randrange(len(damaged))
            del damaged[start : start + rng.randint(1, 10)]
        case 6:
            start = rng.randrange(len(damaged))
            damaged[start:start] = rng.randbytes(rng.randint(1, 10))
        case _:
            damaged[0] = rng.randrange(256)
    return bytes(damaged)


@pytest.mark.timeout(600)
def test_damaged_pdus_decode_or_are_malformed_and_never_slow() -> None:
    rng = random.Random(SEED)
    kinds = (builder.deliver, builder.status_report, builder.submit)
    seen: Counter[str] = Counter()
    slowest = 0.0
    for _ in range(COUNT):
        truth = rng.choice(kinds)(rng)
        octets = mutated(rng, truth.octets)
        started = time.perf_counter()
        try:
            message = decode(octets, from_network=truth.kind != "submit")
        except MalformedTpdu:
            seen["malformed"] += 1
        else:
            seen["decoded"] += 1
            if isinstance(message, Deliver):
                part_of(message)
            if message.user_data is not None and message.user_data.text is not None:
                message.user_data.text.encode()  # nothing that a database could not store
        slowest = max(slowest, time.perf_counter() - started)

    print(f"seed {SEED}: {dict(seen)}, slowest {slowest * 1000:.2f} ms")
    assert seen["malformed"]
    assert seen["decoded"]
    if IS_LONG:
        assert slowest < SLOWEST_ALLOWED


@given(st.binary(max_size=200), st.booleans())
def test_any_octets_decode_or_are_malformed(octets: bytes, from_network: bool) -> None:
    with suppress(MalformedTpdu):
        decode(octets, from_network=from_network)
