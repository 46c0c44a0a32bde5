"""A report written in a process of its own: `python -m modemctl.service.paper_child`.

From the daemon that started it come, pickled on stdin, a `Writing` and then the report's blocks,
ended by None; on stdout goes one `Written`. Setting pages takes memory that a long-lived process
would never give back. This process has limits, no key and no database.
"""

from __future__ import annotations

import os
import pickle
import resource
import sys
from collections.abc import Iterator
from typing import IO, Final

import msgspec

from modemctl.policy.papers import Block
from modemctl.service.paper_printing import Writing, write

MAX_MEMORY: Final = 2 << 30
"""Octets of address space; pages of 3,000 rows need 500 MB of memory."""
MAX_CPU: Final = 600
"""Seconds of CPU."""

_NICENESS: Final = 5  # sending goes first


def _given(source: IO[bytes]) -> Iterator[Block]:
    while True:
        block = pickle.load(source)  # noqa: S301 - from the daemon that started us, by its own pipe
        if block is None:
            return
        yield block


def main(source: IO[bytes], out: IO[bytes]) -> None:
    """Write what `source` asks for."""
    writing = pickle.load(source)  # noqa: S301 - from the daemon that started us, by its own pipe
    assert isinstance(writing, Writing)
    out.write(msgspec.msgpack.encode(write(writing, _given(source))))
    out.flush()


def limit_itself() -> None:
    """Take no more than a report may need."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU, MAX_CPU))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICENESS)


if __name__ == "__main__":
    limit_itself()
    main(sys.stdin.buffer, sys.stdout.buffer)
