"""What a bank's cards keep over a restart: secrets, counters, the lock, stored messages.

One file a card, named by its ICCID, so that banks of several seeds may share a folder. Secrets and
counters are written at each change, at once: a kill between two wrong PINs gives no try back.
Messages follow within a second. Each file is replaced whole: no reader sees half of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from simulator.cards.card import Card
from simulator.cards.storage import Status, Stored
from simulator.clock import Clock, Timer

FLUSH_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    place: int
    status: Status
    sca: str
    tpdu: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A card's state. `issued`: what the scenario said of it, to know another card by."""

    issued: tuple[str, ...]
    is_locked: bool
    pin: str
    pin_tries: int
    puk_tries: int
    pin2: str
    pin2_tries: int
    puk2_tries: int
    messages: tuple[_Message, ...]


_FORM: Final = TypeAdapter(_Kept)


class Keeper:
    """Keeps cards in `folder`; each that `adopt` got is written as it changes."""

    def __init__(self, folder: Path, *, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._issued: dict[str, tuple[str, ...]] = {}
        self._unwritten: dict[str, Card] = {}
        self._timer: Timer | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def forget(self) -> None:
        """Forget all cards that were ever kept here."""
        for path in self._folder.glob("*.json"):
            path.unlink()

    def adopt(self, card: Card) -> None:
        """Give the card back what was kept of it, and keep what becomes of it."""
        data = card.subscription
        issued = (data.pin, data.puk, data.pin2, data.puk2, str(card.is_locked))
        self._issued[card.iccid] = issued
        kept = self._read(card.iccid)
        if kept is not None and kept.issued == issued:
            _restore(card, kept)
        card.on_change = lambda: self._write(card)
        card.on_messages = lambda: self._write_soon(card)

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._unwritten = self._unwritten, {}
        for card in waiting.values():
            self._write(card)

    def _write_soon(self, card: Card) -> None:
        self._unwritten[card.iccid] = card
        if self._timer is None:
            self._timer = self._clock.call_later(FLUSH_SECONDS, self._due)

    def _due(self) -> None:
        self._timer = None
        self.flush()

    def _write(self, card: Card) -> None:
        self._unwritten.pop(card.iccid, None)
        path = self._path(card.iccid)
        new = path.with_suffix(".new")
        new.write_bytes(_FORM.dump_json(_kept(card, self._issued[card.iccid])))
        new.replace(path)

    def _read(self, iccid: str) -> _Kept | None:
        try:
            return _FORM.validate_json(self._path(iccid).read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            # Of another version, or edited by hand: the card is as new.
            return None

    def _path(self, iccid: str) -> Path:
        return self._folder / f"{iccid}.json"


def _kept(card: Card, issued: tuple[str, ...]) -> _Kept:
    messages = (
        _Message(place=place, status=slot.status, sca=slot.sca.hex(), tpdu=slot.tpdu.hex())
        for place, slot in enumerate(card.storage.slots)
        if slot is not None
    )
    return _Kept(
        issued=issued,
        is_locked=card.is_locked,
        pin=card.pin,
        pin_tries=card.pin_tries,
        puk_tries=card.puk_tries,
        pin2=card.pin2,
        pin2_tries=card.pin2_tries,
        puk2_tries=card.puk2_tries,
        messages=tuple(messages),
    )


def _restore(card: Card, kept: _Kept) -> None:
    card.is_locked = kept.is_locked
    card.pin, card.pin2 = kept.pin, kept.pin2
    card.pin_tries, card.puk_tries = kept.pin_tries, kept.puk_tries
    card.pin2_tries, card.puk2_tries = kept.pin2_tries, kept.puk2_tries
    slots: list[Stored | None] = [None] * card.storage.capacity
    for message in kept.messages:
        if message.place < len(slots):
            slots[message.place] = Stored(
                status=message.status,
                sca=bytes.fromhex(message.sca),
                tpdu=bytes.fromhex(message.tpdu),
            )
    card.storage.restore(slots)
