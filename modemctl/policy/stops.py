"""What a stop reaches: the fleet, a department, a card, a batch, a node.

Source: policy SEC-10.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self


class StopKind(StrEnum):
    """What one stop holds. Receiving goes on everywhere."""

    FLEET = "fleet"
    DEPARTMENT = "department"
    CARD = "card"
    BATCH = "batch"
    NODE = "node"


EVERYTHING: Final = ""
"""The target of a stop of the fleet."""

NEEDS_SECOND: Final = frozenset({StopKind.FLEET, StopKind.DEPARTMENT, StopKind.NODE})
"""Stops that somebody else than who placed them lifts (SEC-04)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """All stops that stand, asked before each lease and each submit.

    `distrust` says why the list itself cannot be believed; then it stops everything.
    """

    targets: Mapping[StopKind, frozenset[str]] = field(default_factory=dict)
    distrust: str = ""

    @classmethod
    def of(cls, stops: Collection[tuple[StopKind, str]]) -> Self:
        """The stops of these kinds and targets."""
        kinds = {kind for kind, _ in stops}
        return cls(
            targets={kind: frozenset(to for one, to in stops if one is kind) for kind in kinds}
        )

    def on_node(self, node: str) -> str | None:
        """Why nothing may leave from this node; None where something may."""
        if self.distrust:
            return self.distrust
        if StopKind.FLEET in self.targets:
            return "the fleet is stopped"
        return "the node is stopped" if self._holds(StopKind.NODE, node) else None

    def on_card(self, iccid: str) -> str | None:
        """Why nothing may leave from this card."""
        return "the card is stopped" if self._holds(StopKind.CARD, iccid) else None

    def on_batch(self, batch_id: str, departments: Collection[str]) -> str | None:
        """Why nothing of a batch may leave; `departments`: whose it is, and whose cards serve."""
        if self._holds(StopKind.BATCH, batch_id):
            return "the batch is stopped"
        if any(self._holds(StopKind.DEPARTMENT, one) for one in departments):
            return "the department is stopped"
        return None

    def _holds(self, kind: StopKind, target: str) -> bool:
        return target in self.targets.get(kind, ())


class StopMemory:
    """The newest version of the list that this process knows of; an older one is a forgery."""

    def __init__(self) -> None:
        self._version = 0

    @property
    def version(self) -> int:
        """The newest known."""
        return self._version

    def note(self, version: int) -> None:
        """A version that is committed."""
        self._version = max(self._version, version)
