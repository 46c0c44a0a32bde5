"""How much of each limit is used, and which one a message waits for; for people, not decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, select

from modemctl.lifecycle import BatchState, CardState
from modemctl.model import Iccid
from modemctl.policy.quotas import (
    Bearer,
    Cap,
    Load,
    QuotaRules,
    Scope,
    ScopeKind,
    setting_of,
)
from modemctl.store.quotas import Book
from modemctl.store.tables import batch, sim
from modemctl.store.transaction import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One on whom caps fall; `department` says who may see it, None: whoever sees all."""

    kind: ScopeKind
    name: str
    department: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much of one cap is used now."""

    subject: Subject
    cap: Cap
    used: int


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
    """A message that waits: whose it is, which cards may serve it, what it needs."""

    batch_id: str
    department: str
    serving: str
    card_group: str | None
    iccid: str | None
    recipient: bytes = field(repr=False)
    load: Load = field(repr=False)


def subjects(conn: Connection, rules: QuotaRules) -> Sequence[Subject]:
    """All that caps fall on now: issued cards, who holds them, running batches; by kind, name."""
    found: set[Subject] = set()

    def add(kind: ScopeKind, name: str | None, department: str | None) -> None:
        if name is not None and kind in rules.by_kind:
            found.add(Subject(kind=kind, name=name, department=department))

    issued = select(sim.c.iccid, sim.c.holder, sim.c.department, sim.c.carrier)
    for row in conn.execute(issued.where(sim.c.state == CardState.ISSUED)):
        add(ScopeKind.SIM, row.iccid, row.department)
        add(ScopeKind.HOLDER, row.holder, row.department)
        add(ScopeKind.CARRIER, row.carrier, None)
    live = (BatchState.RUNNING, BatchState.HELD)
    chosen = select(batch.c.batch_id, batch.c.department).where(batch.c.state.in_(live))
    for batch_id, department in conn.execute(chosen):
        add(ScopeKind.BATCH, batch_id, department)
        add(ScopeKind.DEPARTMENT, department, department)
    return sorted(found, key=lambda one: (one.kind, one.name, one.department or ""))


def uses(tx: Tx, rules: QuotaRules, of: Iterable[Subject]) -> Sequence[Use]:
    """How much of their caps is used now, in the same order."""
    book = Book(tx, rules)
    known = [(one, scope) for one in of if (scope := rules.scope(one.kind, one.name)) is not None]
    book.read(scope for _, scope in known)
    return [
        Use(subject=one, cap=cap, used=book.used(scope, cap))
        for one, scope in known
        for cap in scope.caps
    ]


def pressure(tx: Tx, rules: QuotaRules) -> Mapping[tuple[str, str], float]:
    """Kind and name → used share of the tightest limit; only departments and carriers are named."""
    found: dict[tuple[str, str], float] = {}
    for one in uses(tx, rules, subjects(tx.conn, rules)):
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
    cards = {bearer.iccid: rules.scopes(bearer) for bearer in _cards(tx.conn, waiting)}
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
        name=scope.key.partition(":")[2],
        cap=cap,
        used=book.used(scope, cap),
        until=book.fits_at(scopes, load),
    )


def _cards(conn: Connection, waiting: Waiting) -> Sequence[Bearer]:
    """The cards that may serve it now; of a message that left in part, its own alone."""
    chosen = select(sim.c.iccid, sim.c.holder, sim.c.carrier).where(
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
    return [
        Bearer(iccid=Iccid(row.iccid), holder=row.holder, carrier=row.carrier)
        for row in conn.execute(chosen)
    ]
