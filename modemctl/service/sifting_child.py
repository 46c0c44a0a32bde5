"""A list sifted in a process of its own: `python -m modemctl.service.sifting_child`.

What is to be done comes on stdin from our own daemon; written to stdout are frames, each a length
of four octets and a `Frame` as MessagePack. This process opens whatever people upload: it has
limits, and no key.
"""

from __future__ import annotations

import os
import pickle
import resource
import sys
from typing import IO, Final

import msgspec

from modemctl.service.sifting import LENGTH_OCTETS, TOO_MUCH, Frame, Job, Refusal, sifted

MAX_MEMORY: Final = 640 * 1024 * 1024
"""Octets of address space: a full sheet of three columns, or two million lines, need less."""
MAX_CPU: Final = 900
"""Seconds of CPU: two million lines with variables take a tenth of it."""

_NICENESS: Final = 5  # sending goes first
_encoder: Final = msgspec.msgpack.Encoder()


def main(source: IO[bytes], out: IO[bytes]) -> None:
    """Sift what `source` asks for."""
    job = pickle.load(source)  # noqa: S301 - from the daemon that started us, by its own pipe
    assert isinstance(job, Job)
    try:
        for frame in sifted(job):
            _write(out, frame)
    except MemoryError:
        refusal = Refusal(rule=TOO_MUCH, cure="", field=None, value=None, policy=None)
        _write(out, Frame(refusal=refusal))
    out.flush()


def _write(out: IO[bytes], frame: Frame) -> None:
    octets = _encoder.encode(frame)
    out.write(len(octets).to_bytes(LENGTH_OCTETS, "big") + octets)


def limit_itself() -> None:
    """Take no more than a list may need: a small file can unfold to gigabytes."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU, MAX_CPU))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICENESS)


if __name__ == "__main__":
    limit_itself()
    main(sys.stdin.buffer, sys.stdout.buffer)
