"""Message storages: SM on the card, ME in the modem, MT both, SR for status reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum


class Status(IntEnum):
    """A stored message's state. Source: TS 27.005 §3.1 <stat>."""

    UNREAD = 0
    READ = 1
    UNSENT = 2
    SENT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One message as it lies in a slot. `sca` with its length octet."""

    status: Status
    sca: bytes
    tpdu: bytes


class Storage:
    """A row of slots; the first has index `first` (0 on Huawei, else 1).

    `changed` is told of each change.
    """

    def __init__(
        self,
        name: str,
        *,
        capacity: int,
        first: int = 1,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.first = first
        self._changed = changed
        self._slots: list[Stored | None] = [None] * capacity
        self._used = 0

    @property
    def capacity(self) -> int:
        """How many messages fit."""
        return len(self._slots)

    @property
    def used(self) -> int:
        """How many slots are taken."""
        return self._used

    @property
    def slots(self) -> tuple[Stored | None, ...]:
        """All slots in order, the empty ones too."""
        return tuple(self._slots)

    def restore(self, slots: Iterable[Stored | None]) -> None:
        """Put back what `slots` said; what has no room is lost."""
        kept = list(slots)[: self.capacity]
        self._slots = kept + [None] * (self.capacity - len(kept))
        self._used = sum(slot is not None for slot in self._slots)

    def add(self, message: Stored) -> int | None:
        """Put a message into the first free slot; its index, or None when full."""
        if self._used == len(self._slots):
            return None
        position = self._slots.index(None)
        self._put(position, message)
        return position + self.first

    def get(self, index: int) -> Stored | None:
        """What lies at `index`; None where empty or out of range."""
        return self._slots[index - self.first] if self.holds(index) else None

    def holds(self, index: int) -> bool:
        """True where `index` is one of this storage's."""
        return 0 <= index - self.first < len(self._slots)

    def mark(self, index: int, status: Status) -> None:
        """Change a stored message's state."""
        message = self.get(index)
        if message is not None:
            self._put(index - self.first, replace(message, status=status))

    def delete(self, index: int) -> bool:
        """Empty a slot; False where it was empty."""
        if self.get(index) is None:
            return False
        self._put(index - self.first, None)
        return True

    def __iter__(self) -> Iterator[tuple[int, Stored]]:
        for position, slot in enumerate(self._slots):
            if slot is not None:
                yield position + self.first, slot

    def _put(self, position: int, message: Stored | None) -> None:
        self._used += (message is not None) - (self._slots[position] is not None)
        self._slots[position] = message
        self._changed()


class Union:
    """Several storages read as one (`MT`): the indexes of the later ones follow on."""

    def __init__(self, name: str, parts: Sequence[Storage]) -> None:
        self.name = name
        self._parts = parts
        self.first = parts[0].first

    @property
    def capacity(self) -> int:
        """How many messages fit in all of them."""
        return sum(part.capacity for part in self._parts)

    @property
    def used(self) -> int:
        """How many slots are taken in all of them."""
        return sum(part.used for part in self._parts)

    def add(self, message: Stored) -> int | None:
        """Put a message where there is room, the modem's own memory first."""
        for part, offset in reversed(self._offsets()):
            index = part.add(message)
            if index is not None:
                return index + offset
        return None

    def get(self, index: int) -> Stored | None:
        """What lies at `index`; None where empty or out of range."""
        for part, offset in self._offsets():
            if part.holds(index - offset):
                return part.get(index - offset)
        return None

    def holds(self, index: int) -> bool:
        """True where `index` is one of this storage's."""
        return 0 <= index - self.first < self.capacity

    def mark(self, index: int, status: Status) -> None:
        """Change a stored message's state."""
        for part, offset in self._offsets():
            part.mark(index - offset, status)

    def delete(self, index: int) -> bool:
        """Empty a slot; False where it was empty."""
        return any(part.delete(index - offset) for part, offset in self._offsets())

    def __iter__(self) -> Iterator[tuple[int, Stored]]:
        for part, offset in self._offsets():
            for index, message in part:
                yield index + offset, message

    def _offsets(self) -> list[tuple[Storage, int]]:
        found: list[tuple[Storage, int]] = []
        offset = 0
        for part in self._parts:
            found.append((part, offset))
            offset += part.capacity
        return found
