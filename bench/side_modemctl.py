"""modemctl as one side: approved batches, released one after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from banks import NOTICE_BLOCK, PROMOTION_BLOCK, TEXT, Staffed, number_of, open_staffed
from meters import Taken

_MOST: Final = 400.0  # messages a second, to size a chunk by
_LEAST_SECONDS: Final = 0.02  # a message of one modem, without latency
_CHUNK_SECONDS: Final = 3.0
_BLOCKS: Final = {"notice": NOTICE_BLOCK, "promotion": PROMOTION_BLOCK}
_READY_CHUNKS: Final = 4


@dataclass(slots=True, kw_only=True)
class Batches:
    """The side that is asked by batches; as a rule they are submitted and signed before."""

    staffed: Staffed
    chunk: int
    started: float
    bank: Path
    sessions: list[int]
    modems: Sequence[str]
    asked: dict[str, str] = field(default_factory=dict)
    _ready: list[tuple[list[tuple[str, str]], dict[str, str]]] = field(default_factory=list)
    _n_prepared: int = 0

    def prepare(self, n_messages: int) -> None:
        """Submit and sign so many, to be released later."""
        first, self._n_prepared = self._n_prepared, self._n_prepared + n_messages
        batches = self.staffed.prepare(n_messages, first=first)
        n_promotions = n_messages * (self.staffed.n_modems // 2) // self.staffed.n_modems
        sizes = {"notice": n_messages - n_promotions, "promotion": n_promotions}
        texts = {
            number_of(_BLOCKS[category], index): TEXT.format(n=index)
            for category, _ in batches
            for index in range(first, first + sizes[category])
        }
        self._ready.append((batches, texts))

    def top_up(self, taken: Sequence[Taken]) -> None:
        """Release batches while less than a chunk is open."""
        while len(self.asked) - len(taken) < self.chunk:
            if not self._ready:
                self.prepare(self.chunk)
            self._release()

    def ask_each(self, n_messages: int) -> None:
        """Release as many as make so many for each modem."""
        self._ready.clear()
        self.prepare(n_messages * self.staffed.n_modems)
        self._release()

    def _release(self) -> None:
        batches, texts = self._ready.pop(0)
        self.asked.update(texts)
        self.staffed.release(batches)


@contextmanager
def open_modemctl(n_modems: int, latency: float, personas: str) -> Iterator[Batches]:
    """The daemon on a bank of its own, every modem READY, with batches to release."""
    with open_staffed(
        n_modems=n_modems, latency=latency, seed=1, patience=600.0, personas=personas
    ) as staffed:
        most = min(_MOST, n_modems / max(latency, _LEAST_SECONDS))
        side = Batches(
            staffed=staffed,
            chunk=max(int(most * _CHUNK_SECONDS), 6 * n_modems),
            started=0.0,
            bank=staffed.world.bank,
            sessions=[staffed.world.daemon_pid],
            modems=sorted(port.name for port in (staffed.world.bank / "ports").iterdir()),
        )
        for _ in range(_READY_CHUNKS):
            side.prepare(side.chunk)
        # Its start ends with the bank READY; how long people took to sign is not in it.
        side.started = time.time() - staffed.import_seconds
        yield side
