"""Three workers on one store, walking at random: crashes, refusals, doubts, a clock that is set.

The store's own acts run one after the other in one transaction that is rolled back at the end, each
in a savepoint, as the journal runs them. What left is kept beside them with its true moment.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select, update

from modemctl.errors import Conflict
from modemctl.lifecycle import ModemState, SegmentState
from modemctl.model import Category, Iccid
from modemctl.policy.quotas import Bearer, Cap, Caps, Measure, QuotaRules, ScopeKind, Span
from modemctl.store import (
    card_zones,
    count_purge,
    leases,
    modems,
    outcomes,
    segments,
    sims,
    submits,
    sweeps,
)
from modemctl.store.leases import Leased, LeaseRequest, Nothing
from modemctl.store.messages import Resolution, resolve_doubts
from modemctl.store.outcomes import Doubtful, NotSent, Outcome, Took
from modemctl.store.steady import SteadyTime
from modemctl.store.submits import Cleared, SubmitRequest, Withdrawn
from modemctl.store.tables import batch, message, segment, sim
from modemctl.store.transaction import Tx
from modemctl.vault import Vault
from tests.support.approved import SALES, add_batch, add_cards, add_staff, numbers
from tests.support.benches import bay_of, rules
from tests.support.stores import MASTER_KEY, TestClock

VAULT = Vault(MASTER_KEY)
CARDS = [Iccid(f"8986000000000000{i:03d}") for i in range(3)]
START = datetime(2026, 11, 30, 14, 0, tzinfo=UTC)  # 22:00 in Shanghai, two hours before a new month
ZONE = ZoneInfo("Asia/Shanghai")
ZONES = (
    None,
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
)
_NO = NotSent(code="cms:38", title="network out of order", action="now", blame="network")
_STEPS = (-86_400, 86_400, -86_399, 86_401, -3_600, 3_600, -61, 61, -5, 5)
_WAITS = (0, 0, 0, 0, 0, 0.5, 1, 2.5, 4.9, 5, 20, 55, 59.9, 60, 61, 299, 3_300, 3_600, 7_200)


_WAITS_OF = {  # of a run that presses on such a cap
    Span.MINUTE: (0, 0, 0, 0, 0, 0.5, 1, 2.5, 4.9, 5, 20, 59.9, 61),
    Span.HOUR: (0, 0, 0, 0, 0.5, 5, 20, 61, 299, 300, 900, 3_300),
    Span.DAY: (0, 0, 0, 0, 0, 5, 61, 299, 600, 3_300),
    Span.MONTH: (0, 0, 0, 0, 0, 5, 61, 299, 3_300, 7_200),
}


@dataclass(frozen=True)
class Left:
    """A segment that left, or may have: its true moment, what the wall showed, for whom."""

    at: datetime
    wall: datetime
    bearer: Bearer
    seq: int
    place: int  # among all that left


@dataclass
class Term:
    """A zone that a card had, from its `first` segment on to its `last`; `until`: both clocks."""

    zone: ZoneInfo
    first: int = 0
    last: int | None = None
    until: tuple[datetime, datetime] | None = None

    def holds(self, one: Left) -> bool:
        return self.first <= one.place and (self.last is None or one.place <= self.last)


@dataclass
class Worker:
    """A bay's actor and what it has in hand."""

    card: Iccid
    job: Leased | None = None
    place: int = 0
    is_given: bool = False
    entry: Left | None = None


def furnish(conn: Connection, at: datetime) -> None:
    """Staff, three cards of two holders and carriers in READY bays, three approved batches."""
    tx = Tx(conn, now=at, steady=at, vault=VAULT, node_id="n1")
    add_cards(tx, CARDS)
    for i, card in enumerate(CARDS):
        facts = {"holder": f"holder {i % 2}", "carrier": f"carrier {i // 2}"}
        reseal(conn, card, facts)
    modems.save_changes(
        tx,
        [
            modems.StateChange(
                facts=modems.Facts(bay=bay_of(card), port="/dev/x", iccid=card),
                before=ModemState.SEARCHING, after=ModemState.READY, event="registered", reason="",
            )
            for card in CARDS
        ],
    )  # fmt: skip
    staff = add_staff(tx)
    window = {"not_before": at - timedelta(days=2), "not_after": at + timedelta(days=5)}
    for i, (category, template) in enumerate(
        [(Category.OTHER, "short"), (Category.OTHER, "x" * 200), (Category.PROMOTION, "z" * 320)]
    ):
        # the same twelve people in all of them
        add_batch(
            tx, staff, numbers(12), category=category, template=template, priority=i % 2,
            department=SALES, batch_id=str(UUID(int=i)), **window,
        )  # fmt: skip


def reseal(conn: Connection, card: str, facts: dict[str, str]) -> None:
    """Change a card's row as modemctl does, with its seal."""
    row = conn.execute(select(*sim.c).where(sim.c.iccid == card)).mappings().one()
    mac = sims.row_mac(VAULT, {**row, **facts})
    conn.execute(update(sim).where(sim.c.iccid == card).values({**facts, "mac": mac}))


@dataclass(frozen=True)
class Aim:
    """The cap that a run presses on; `kind` None: the gap."""

    kind: ScopeKind | None
    measure: Measure
    span: Span

    @property
    def has_zones(self) -> bool:
        return self.kind is ScopeKind.SIM and self.span.is_calendar


AIMS = [
    Aim(kind, measure, span)
    for span in Span
    for measure in Measure
    for kind in ScopeKind
    if (kind, measure) != (ScopeKind.RECIPIENT, Measure.RECIPIENTS)
] + [Aim(None, Measure.SEGMENTS, Span.MINUTE)]
AIMS += 2 * [aim for aim in AIMS if aim.has_zones]
"""Every kind of limit there is; those that run in zones more often."""


def aim_of(seed: int) -> Aim | None:
    """What a run presses on: each in its turn, every fourth on none above the others."""
    return None if seed % 4 == 0 else AIMS[(seed - seed // 4) % len(AIMS)]


def random_rules(dice: random.Random, aim: Aim | None) -> QuotaRules:
    """Caps that bind soon, on some of those on whom they may fall; of an aim, hardly any other."""
    more: dict[ScopeKind, list[Cap]] = {}
    flat = {Span.MINUTE: (1, 6), Span.HOUR: (2, 12), Span.DAY: (2, 15)}
    if aim is not None:
        flat = {Span.MINUTE: (20, 40), Span.HOUR: (40, 60), Span.DAY: (60, 90)}
    caps = {span.value: dice.randint(*some) for span, some in flat.items()}
    gap = dice.choice([0.0, 2.5]) if aim is None else 0.0
    for kind in ScopeKind:
        for measure in Measure:
            for span in Span:
                is_aimed_at = aim == Aim(kind, measure, span)
                if (kind, measure) == (ScopeKind.RECIPIENT, Measure.RECIPIENTS):
                    continue
                if (kind, measure) == (ScopeKind.SIM, Measure.SEGMENTS) and span is not Span.MONTH:
                    if is_aimed_at:
                        caps[span.value] = dice.choice((1, 1, 2, 2, 3))
                elif is_aimed_at or dice.random() < (0.05 if aim is None else 0.004):
                    most = dice.choice((1, 1, 2, 2, 3) if is_aimed_at else (1, 2, 4, 6, 8))
                    more.setdefault(kind, []).append(Cap(measure=measure, span=span, most=most))
    if aim is not None and aim.kind is None:
        gap = dice.choice([20.0, 30.0])
    return QuotaRules(
        caps=Caps(**caps, gap=gap),
        zone=ZONE,
        more={kind: tuple(found) for kind, found in more.items()},
    )


def without(limits: QuotaRules, aim: Aim) -> QuotaRules:
    """The same but for what is aimed at, as if nobody kept it."""
    caps = limits.caps
    if aim.kind is None:
        caps = replace(caps, gap=0.0)
    elif (aim.kind, aim.measure) == (
        ScopeKind.SIM,
        Measure.SEGMENTS,
    ) and aim.span is not Span.MONTH:
        caps = replace(caps, **{aim.span.value: 1_000})
    more = {
        kind: tuple(cap for cap in found if (kind, cap.measure, cap.span) != astuple(aim))
        for kind, found in limits.more.items()
    }
    return replace(limits, caps=caps, more=more)


class Died(Exception):
    """The daemon was killed before its transaction was written."""


@dataclass
class Walk:
    """One run."""

    conn: Connection
    seed: int
    is_blind: bool = False  # what it presses on is kept by nobody
    clock: TestClock = field(default_factory=lambda: TestClock(START))
    left: list[Left] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self.aim = aim_of(self.seed)
        self.limits = random_rules(self.dice, self.aim)
        is_blind = self.is_blind and self.aim is not None
        kept = without(self.limits, self.aim) if is_blind else self.limits
        self.rules = rules(quota=kept)
        self.workers = [Worker(card=card) for card in CARDS]
        self.true = START
        self.n_submits = self.n_waits = self.n_moves = 0
        self.waits = _WAITS if self.aim is None else _WAITS_OF[self.aim.span]
        self.is_killed = False
        self.has_zones = self.aim is not None and self.aim.has_zones
        self.terms = {card: [Term(zone=ZONE)] for card in CARDS}
        self.restart()
        for card in CARDS:
            if self.has_zones and self.dice.random() < 0.3:
                self.move_zone(card)

    def run(self, n_acts: int) -> None:
        for _ in range(2 * n_acts if self.has_zones else n_acts):
            self.pass_time(self.dice.choice(self.waits))
            worker = self.dice.choice(self.workers)
            self.is_killed = self.dice.random() < 0.02
            try:
                self.work(worker)
            except Died:
                self.crash()
            self.is_killed = False
            if self.dice.random() < 0.25:
                self.dice.choice(
                    [self.set_clock, self.crash, self.actor_crash, self.sweep, self.purge,
                     self.hand_over, self.decide, self.swap, self.reboot, self.give_back,
                     self.move_zone]
                )()  # fmt: skip

    # ------------------------------------------------------------ time

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.true += timedelta(seconds=seconds)

    def set_clock(self) -> None:
        self.clock.step(self.dice.choice(_STEPS))

    def restart(self) -> None:
        self.steady = SteadyTime(self.clock, VAULT)
        self.steady.anchor(self.conn, "n1")

    def reboot(self) -> None:
        """The machine starts again; its clock was set right meanwhile."""
        self.crash()
        self.pass_time(40)
        self.clock.step((self.true - self.clock.at).total_seconds())
        self.clock.reboot(f"boot-{self.true.timestamp()}")
        self.restart()

    # ------------------------------------------------------------ acts

    @contextmanager
    def tx(self) -> Iterator[Tx]:
        with self.conn.begin_nested():
            yield Tx(
                self.conn, now=self.clock.now(), steady=self.steady.now(), vault=VAULT, node_id="n1"
            )
            if self.is_killed:
                self.is_killed = False
                raise Died

    def work(self, worker: Worker) -> None:
        if worker.job is None:
            self.lease(worker)
        elif worker.is_given:
            self.end(worker)
        else:
            self.begin(worker)

    def lease(self, worker: Worker) -> None:
        waiting = [one for one in self.workers if one.job is None]
        some = [worker, *(one for one in waiting if one is not worker and self.dice.random() < 0.5)]
        items = [
            LeaseRequest(bay=bay_of(one.card), iccid=one.card, rules=self.rules) for one in some
        ]
        with self.tx() as tx:
            found = leases.lease(tx, items)
        for one, result in zip(some, found, strict=True):
            if isinstance(result, Leased):
                one.job, one.place = result, 0
        if isinstance(found[0], Nothing):
            if self.has_zones and self.dice.random() < 0.3:
                self.move_zone(worker.card)  # as who wants to get round a limit
            else:
                self.wait_for(found[0].until)

    def begin(self, worker: Worker) -> None:
        job = worker.job
        assert job is not None
        facts = self.conn.execute(
            select(batch.c.digest, message.c.recipient_bidx)
            .join(message, message.c.batch_id == batch.c.batch_id)
            .where(message.c.message_id == job.message_id)
        ).one()
        request = SubmitRequest(
            segment_id=job.segments[worker.place][0], token=job.token, bay=job.bay, iccid=job.iccid,
            batch_id=job.batch_id, digest=facts.digest, recipient_bidx=facts.recipient_bidx,
            tpdu=b"t", rules=self.rules,
        )  # fmt: skip
        with self.tx() as tx:
            [clearance] = submits.begin_submit(tx, [request])
        if isinstance(clearance, Withdrawn):
            worker.job = None
        elif isinstance(clearance, Cleared):
            worker.is_given = True
            self.note_left(worker, facts.recipient_bidx)
        else:
            self.wait_for(clearance.until)

    def wait_for(self, until: datetime | None) -> None:
        """Go to the moment that was named, or just before it, as often as not."""
        self.n_waits += 1
        hour = timedelta(seconds=60 if self.waits is _WAITS_OF[Span.MINUTE] else 3_600)
        at = until or self.clock.now() + hour
        left = (at - self.clock.now()).total_seconds()
        if self.dice.random() < 0.7 and self.true < START + timedelta(days=2):
            self.pass_time(max(left - self.dice.choice([0, 0, 0.001, 3]), 0))

    def note_left(self, worker: Worker, recipient: bytes) -> None:
        job = worker.job
        assert job is not None
        card = self.conn.execute(select(sim).where(sim.c.iccid == job.iccid)).one()
        self.n_submits += 1
        self.left.append(
            Left(
                at=self.true,
                wall=self.clock.now(),
                bearer=Bearer(
                    iccid=job.iccid, holder=card.holder, carrier=card.carrier, department=SALES,
                    batch_id=job.batch_id, recipient=recipient,
                ),
                seq=job.segments[worker.place][1],
                place=self.n_submits,
            )
        )  # fmt: skip
        worker.entry = self.left[-1]

    def end(self, worker: Worker) -> None:
        job = worker.job
        assert job is not None
        result = self.dice.choice([Took(mr=1), Took(mr=1), Took(mr=1), _NO, Doubtful(reason="?")])
        outcome = Outcome(
            segment_id=job.segments[worker.place][0], token=job.token, result=result,
            rules=self.rules,
        )  # fmt: skip
        with self.tx() as tx:
            [state] = outcomes.record_outcome(tx, [outcome])
        worker.is_given = False
        if isinstance(result, NotSent) and state is not None:
            self.left.remove(worker.entry)
        is_over = worker.place + 1 == len(job.segments)
        if is_over or not isinstance(result, Took):
            worker.job = None
        worker.place += 1

    def give_back(self) -> None:
        worker = self.dice.choice(self.workers)
        if worker.job is not None and not worker.is_given:
            item = segments.Release(token=worker.job.token, reason="unplugged", rules=self.rules)
            with self.tx() as tx:
                segments.release(tx, [item])
            worker.job = None

    # ------------------------------------------------------------ what goes wrong

    def crash(self) -> None:
        """The daemon is killed and starts again."""
        for worker in self.workers:
            worker.job, worker.is_given = None, False
        self.restart()
        with self.tx() as tx:
            sweeps.recover(tx, self.rules)

    def actor_crash(self) -> None:
        worker = self.dice.choice(self.workers)
        job, worker.job, worker.is_given = worker.job, None, False
        if job is not None:
            with self.tx() as tx:
                sweeps.orphan(tx, job.bay, self.rules)

    def sweep(self) -> None:
        with self.tx() as tx:
            sweeps.sweep(tx, self.rules)
            self.steady.beat(tx)

    def purge(self) -> None:
        with self.tx() as tx:
            count_purge.purge(tx, ZONE)

    def hand_over(self) -> None:
        """A card changes hands."""
        card = self.dice.choice(CARDS)
        holder = f"holder {self.dice.randint(0, 2)}"
        reseal(self.conn, card, {"holder": holder})

    def move_zone(self, card: Iccid | None = None) -> None:
        """A card is given another zone."""
        card = card or self.dice.choice(CARDS)
        name = self.dice.choice(ZONES)
        with suppress(Conflict), self.tx() as tx:
            card_zones.move(tx, self.rules.quota, card, name)
            self.n_moves += 1
            self.terms[card][-1].last = self.n_submits
            self.terms[card][-1].until = (self.true, self.clock.now())
            zone = ZONE if name is None else ZoneInfo(name)
            self.terms[card].append(Term(zone=zone, first=self.n_submits + 1))

    def decide(self) -> None:
        """A person has what is in doubt sent again."""
        ids = list(
            self.conn.scalars(
                select(segment.c.segment_id).where(segment.c.state == SegmentState.IN_DOUBT)
            )
        )
        if ids:
            with self.tx() as tx:
                resolve_doubts(
                    tx,
                    Resolution(
                        segment_ids=ids[:2], to=SegmentState.QUEUED, actor="a", reason="again"
                    ),
                )

    def swap(self) -> None:
        """Two idle cards change places."""
        idle = [worker for worker in self.workers if worker.job is None]
        if len(idle) > 1:
            idle[0].card, idle[1].card = idle[1].card, idle[0].card

    # ------------------------------------------------------------ the judge

    def violations(self) -> list[str]:
        """Caps that what left exceeded, by true time and by what the wall showed."""
        found = []
        for kind, caps in self.limits.by_kind.items():
            for name in {_name(one.bearer, kind) for one in self.left}:
                own = [one for one in self.left if _name(one.bearer, kind) == name]
                terms = self.terms[name] if kind is ScopeKind.SIM else [Term(zone=ZONE)]
                for cap in caps:
                    n = max(_counts(own, cap, terms), default=0)
                    if n > cap.most:
                        found.append(f"{n} {cap.measure} of {kind} {name} in a {cap.span}: {cap}")
        found += self._short_gaps()
        return [f"seed {self.seed}: {one}" for one in found]

    def _short_gaps(self) -> Iterator[str]:
        for card in CARDS:
            moments = [one.at for one in self.left if one.bearer.iccid == card]
            for one, other in pairwise(moments):
                if (other - one).total_seconds() < self.limits.caps.gap:
                    yield f"{other - one} between two segments of {card}"


def _name(bearer: Bearer, kind: ScopeKind) -> object:
    return dict(bearer.names())[kind]


def _counts(own: list[Left], cap: Cap, terms: list[Term]) -> Iterator[int]:
    """How much of a measure fell into each window."""
    if cap.measure is not Measure.SEGMENTS:
        own = [one for one in own if one.seq == 1]  # a later part breaks no such limit
    for window in _windows(own, cap.span, terms):
        match cap.measure:
            case Measure.SEGMENTS:
                yield len(window)
            case Measure.MESSAGES:
                yield sum(one.seq == 1 for one in window)
            case Measure.RECIPIENTS:
                yield len({one.bearer.recipient for one in window if one.seq == 1})


def _windows(own: list[Left], span: Span, terms: list[Term]) -> Iterator[list[Left]]:
    if not span.is_calendar:
        length = timedelta(minutes=1) if span is Span.MINUTE else timedelta(hours=1)
        for last in own:
            yield [one for one in own if timedelta(0) <= last.at - one.at < length]
        return
    for term in terms:
        yield from _calendars(own, 10 if span is Span.DAY else 7, term)


def _calendars(own: list[Left], n: int, term: Term) -> Iterator[list[Left]]:
    """Days (n = 10) or months (7) that a zone was good for: each whole, also beyond its term.

    Of the wall's, those whole that it showed in the end; what it showed before counts up to then.
    """
    true = [(one, one.at.astimezone(term.zone).isoformat()[:n]) for one in own]
    wall = [(one, one.wall.astimezone(term.zone).isoformat()[:n]) for one in own]
    ends = (
        None
        if term.until is None
        else [at.astimezone(term.zone).isoformat()[:n] for at in term.until]
    )
    is_in = {id(one) for one in own if term.holds(one)}
    for name in {name for one, name in true if id(one) in is_in} | set(ends[:1] if ends else ()):
        found = [one for one, other in true if other == name]
        yield found if any(one.place >= term.first for one in found) else []
    for name in {name for one, name in wall if id(one) in is_in} | set(ends[1:] if ends else ()):
        is_last = ends is None or name == ends[1]
        found = [
            one for one, other in wall if other == name and (is_last or one.place <= term.last)
        ]
        yield found if any(one.place >= term.first for one in found) else []
