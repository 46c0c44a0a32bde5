"""How much of each limit is used, and which one a message waits for; for people, not decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import select

from modemctl.lifecycle import BatchState, CardState
from modemctl.model import Iccid
from modemctl.policy.quotas import (
    Bearer,
    Cap,
    Load,
    QuotaRules,
    Scope,
    ScopeKind,
    Zones,
    setting_of,
    zone_of_key,
)
from modemctl.store import card_zones
from modemctl.store.quotas import Book
from modemctl.store.tables import batch, sim
from modemctl.store.transaction import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One on whom caps fall; `department` says who may see it, None: whoever sees all."""

    kind: ScopeKind
    name: str
    department: str | None
    zones: Zones | None = field(default=None, compare=False)
    """Of a card: whose days and months bind it, where they are not the site's alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much of one cap is used now; `timezone`: in the days of a zone that is not the site's."""

    subject: Subject
    cap: Cap
    used: int
    timezone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """A cap that has no room for a message, and about when it will."""

    kind: ScopeKind
    name: str
    cap: Cap
    used: int
    until: datetime

    @property
    def text(self) -> str:
        """In words, with the configuration key."""
        return (
            f"{setting_of(self.kind, self.cap)}: {self.used} of {self.cap.most} are used; "
            f"room about {self.until.isoformat(timespec='seconds')} (policy: SIM-08)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A message that waits: whose it is, which cards may serve it, what it needs.

    `is_loop`: only the card whose number it goes to.
    """

    batch_id: str
    department: str
    serving: str
    card_group: str | None
    iccid: str | None
    recipient: bytes = field(repr=False)
    load: Load = field(repr=False)
    is_loop: bool = False


def subjects(tx: Tx, rules: QuotaRules) -> Sequence[Subject]:
    """All that caps fall on now: issued cards, who holds them, running batches; by kind, name."""
    found: set[Subject] = set()

    def add(kind: ScopeKind, name: str | None, department: str | None) -> None:
        if name is not None and kind in rules.by_kind:
            found.add(Subject(kind=kind, name=name, department=department))

    issued = select(*_OF_CARDS).where(sim.c.state == CardState.ISSUED)
    for row in tx.conn.execute(issued).mappings():
        zones = card_zones.binding(tx, row)
        card = Subject(
            kind=ScopeKind.SIM, name=row["iccid"], department=row["department"], zones=zones
        )
        found.add(card)
        add(ScopeKind.HOLDER, row["holder"], row["department"])
        add(ScopeKind.CARRIER, row["carrier"], None)
    live = (BatchState.RUNNING, BatchState.HELD)
    chosen = select(batch.c.batch_id, batch.c.department).where(batch.c.state.in_(live))
    for batch_id, department in tx.conn.execute(chosen):
        add(ScopeKind.BATCH, batch_id, department)
        add(ScopeKind.DEPARTMENT, department, department)
    return sorted(found, key=lambda one: (one.kind, one.name, one.department or ""))


def uses(tx: Tx, rules: QuotaRules, of: Iterable[Subject]) -> Sequence[Use]:
    """How much of their caps is used now, in the same order."""
    book = Book(tx, rules)
    known = [(one, scope) for one in of for scope in _scopes(rules, one)]
    book.read(scope for _, scope in known)
    return [
        Use(
            subject=one,
            cap=cap,
            used=book.used(scope, cap),
            timezone=zone_of_key(scope.key) if cap.span.is_calendar else None,
        )
        for one, scope in known
        for cap in scope.caps
    ]


def _scopes(rules: QuotaRules, one: Subject) -> Sequence[Scope]:
    if one.zones is not None:
        return rules.card_scopes(one.name, one.zones)
    scope = rules.scope(one.kind, one.name)
    return [] if scope is None else [scope]


def pressure(tx: Tx, rules: QuotaRules) -> Mapping[tuple[str, str], float]:
    """Kind and name → used share of the tightest limit; only departments and carriers are named."""
    found: dict[tuple[str, str], float] = {}
    for one in uses(tx, rules, subjects(tx, rules)):
        kind = one.subject.kind
        name = one.subject.name if kind in {ScopeKind.DEPARTMENT, ScopeKind.CARRIER} else ""
        key, ratio = (kind.value, name), one.used / one.cap.most
        found[key] = max(ratio, found.get(key, 0.0))
    return found


def obstacle(tx: Tx, rules: QuotaRules, waiting: Waiting) -> Obstacle | None:
    """The cap that keeps a message from any card that may serve it; None if none does."""
    book = Book(tx, rules)
    own = {
        ScopeKind.DEPARTMENT: waiting.department,
        ScopeKind.BATCH: waiting.batch_id,
        ScopeKind.RECIPIENT: waiting.recipient.hex(),
    }
    scopes = [scope for kind, name in own.items() if (scope := rules.scope(kind, name))]
    cards = {bearer.iccid: rules.scopes(bearer) for bearer in _cards(tx, waiting)}
    everybody = [*scopes, *(scope for some in cards.values() for scope in some)]
    book.read(everybody, [waiting.recipient])
    found = _first(book, scopes, waiting.load)
    if found is not None or not cards:
        return found
    blocked = [_first(book, some, waiting.load) for some in cards.values()]
    known = [one for one in blocked if one is not None]
    if len(known) < len(blocked):
        return None
    return min(known, key=lambda one: one.until)


def _first(book: Book, scopes: Sequence[Scope], load: Load) -> Obstacle | None:
    shortage = book.lacks(scopes, load)
    if shortage is None:
        return None
    scope, cap = shortage.scope, shortage.cap
    return Obstacle(
        kind=scope.kind,
        name=scope.key.partition(":")[2].partition("@")[0],
        cap=cap,
        used=book.used(scope, cap),
        until=book.fits_at(scopes, load),
    )


def _cards(tx: Tx, waiting: Waiting) -> Sequence[Bearer]:
    """The cards that may serve it now; of a message that left in part, its own alone."""
    chosen = select(*_OF_CARDS).where(
        sim.c.department == waiting.serving,
        sim.c.state == CardState.ISSUED,
        sim.c.verified_at.is_not(None),
        sim.c.is_reserved.is_(False),
        sim.c.is_paused.is_(False),
    )
    if waiting.card_group is not None:
        chosen = chosen.where(sim.c.card_group == waiting.card_group)
    if waiting.iccid is not None:
        chosen = chosen.where(sim.c.iccid == waiting.iccid)
    if waiting.is_loop:
        chosen = chosen.where(sim.c.number_bidx == waiting.recipient)
    return [
        Bearer(
            iccid=Iccid(row["iccid"]),
            holder=row["holder"],
            carrier=row["carrier"],
            zones=card_zones.binding(tx, row),
        )
        for row in tx.conn.execute(chosen).mappings()
    ]


_OF_CARDS: Final = (
    sim.c.iccid, sim.c.holder, sim.c.department, sim.c.carrier, sim.c.timezone, sim.c.zones_left,
)  # fmt: skip
