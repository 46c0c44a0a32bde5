"""How much may be sent: caps on segments, messages and recipients, by whom they fall on (SIM-08).

Minute and hour slide, day and month are the site's calendar, on a card its own zone's
(`policy.card_zones`). Counts live in buckets: a sliding
window takes in every bucket that could still hold something of the last 60 s or hour, so that a sum
over whole buckets never lets more through than the cap. Limits are counted in *steady* time, which
passes as the machine runs and is never set. A calendar cap must hold in the day or month of steady
time and in that of the wall clock: whichever of them was set wrong opens nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from modemctl.config.limits import CapSettings, LimitsSettings
from modemctl.model import Iccid

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Span(StrEnum):
    """What a cap is counted over."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    is_calendar: bool
    """Whether it begins anew at a midnight instead of sliding."""

    def __init__(self, word: str) -> None:
        """Work out once what each lease asks hundreds of times."""
        self.is_calendar = word in {"day", "month"}


Zones: TypeAlias = Mapping[str | None, frozenset[Span]]
"""The zones whose calendars bind a card, and which of them; None is the site's."""


class Measure(StrEnum):
    """What is counted. A message and its recipient count with its first segment."""

    SEGMENTS = "segments"
    MESSAGES = "messages"
    RECIPIENTS = "recipients"  # distinct ones


class ScopeKind(StrEnum):
    """On whom a cap falls."""

    SIM = "sim"
    HOLDER = "holder"
    DEPARTMENT = "department"  # the one whose batch it is
    CARRIER = "carrier"
    BATCH = "batch"
    RECIPIENT = "recipient"


_BUCKET_SECONDS: Final = {Span.MINUTE: 5, Span.HOUR: 300}
_BUCKETS_BACK: Final = 12  # 12 whole buckets and the present one reach over 60 s or 3,600 s
_PREFIX: Final = {Measure.SEGMENTS: "", Measure.MESSAGES: "m:", Measure.RECIPIENTS: "r:"}
SLIDING: Final = (Span.MINUTE, Span.HOUR)
CALENDAR: Final = (Span.DAY, Span.MONTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """At most `most` of `measure` within `span`."""

    measure: Measure
    span: Span
    most: int
    column: str = field(init=False)
    """Its name among the stored counts."""

    def __post_init__(self) -> None:
        """Work out the name once."""
        object.__setattr__(self, "column", column_of(self.measure, self.span))


def column_of(measure: Measure, span: Span) -> str:
    """The name under which a measure's counts over a span are stored."""
    return f"{_PREFIX[measure]}{span}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """Segments that one card may send; `gap` is seconds between the starts of two."""

    minute: int
    hour: int
    day: int
    gap: float

    def all(self) -> tuple[Cap, ...]:
        """Each of them as a cap."""
        spans = ((Span.MINUTE, self.minute), (Span.HOUR, self.hour), (Span.DAY, self.day))
        return tuple(Cap(measure=Measure.SEGMENTS, span=span, most=n) for span, n in spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One on whom caps fall: a card, a department; `key` stands for it among the counts."""

    kind: ScopeKind
    key: str
    caps: tuple[Cap, ...]
    counts: tuple[Cap, ...]
    """What is counted: some of it may bind no more, or not yet."""

    @property
    def counts_recipients(self) -> bool:
        """Whether distinct recipients are counted here."""
        return any(cap.measure is Measure.RECIPIENTS for cap in self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Whom a segment counts for. `recipient` is the blind index of its number."""

    iccid: Iccid
    holder: str | None = None
    department: str | None = None
    carrier: str | None = None
    batch_id: str | None = None
    recipient: bytes | None = field(default=None, repr=False)
    zones: Zones | None = None
    """The card's zones that bind now, where they are not the site's alone."""

    def names(self) -> Iterable[tuple[ScopeKind, str | None]]:
        """Who that is, of each kind."""
        recipient = None if self.recipient is None else self.recipient.hex()
        return (
            (ScopeKind.SIM, self.iccid),
            (ScopeKind.HOLDER, self.holder),
            (ScopeKind.DEPARTMENT, self.department),
            (ScopeKind.CARRIER, self.carrier),
            (ScopeKind.BATCH, self.batch_id),
            (ScopeKind.RECIPIENT, recipient),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to be counted at once."""

    n_segments: int
    n_messages: int = 0
    recipient: bytes | None = field(default=None, repr=False)


def message_load(n_segments: int, *, is_first: bool, recipient: bytes) -> Load:
    """The load of some segments of a message; the message counts with its first one."""
    return Load(
        n_segments=n_segments,
        n_messages=int(is_first),
        recipient=recipient if is_first else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerZone:
    """A zone that the site had. Its days and months bind, too, until they have ended."""

    zone: tzinfo
    day_until: datetime
    month_until: datetime

    def binds(self, span: Span, moment: datetime) -> bool:
        """Whether its calendar still counts."""
        if not span.is_calendar:
            return False
        return moment < (self.day_until if span is Span.DAY else self.month_until)


_REMEMBERED: Final = 4_096  # scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRules:
    """The caps of a card, those beyond, and the zone whose days and months count.

    `former` are zones that the site had lately: what they bind is bound, too.
    """

    caps: Caps
    zone: tzinfo
    former: tuple[FormerZone, ...] = ()
    more: Mapping[ScopeKind, tuple[Cap, ...]] = field(default_factory=dict)
    by_kind: Mapping[ScopeKind, tuple[Cap, ...]] = field(init=False)
    """All caps, those of the card too."""
    mark: str = field(init=False)
    """Tells which counts are kept: a charge of other rules is never given back by these."""
    knows_recipients: bool = field(init=False)
    """Whether any cap asks who a message goes to."""
    smallest: int = field(init=False)
    """Segments that may be reserved at once; what of a message is beyond is reserved as it goes."""
    _scopes: dict[tuple[ScopeKind, str], Scope] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Work out once what follows from the caps."""
        kinds = {kind: tuple(self.more.get(kind, ())) for kind in ScopeKind}
        kinds[ScopeKind.SIM] = (*self.caps.all(), *kinds[ScopeKind.SIM])
        by_kind = {kind: caps for kind, caps in kinds.items() if caps}
        for kind, caps in by_kind.items():
            assert len({cap.column for cap in caps}) == len(caps), f"a cap of {kind} stands twice"
        counted = sorted(f"{kind} {cap.column}" for kind, caps in by_kind.items() for cap in caps)
        zones = [str(self.zone), *(f"{one.zone} {one.month_until}" for one in self.former)]
        mark = hashlib.sha256("\n".join([*zones, *counted]).encode()).hexdigest()[:8]
        object.__setattr__(self, "by_kind", MappingProxyType(by_kind))
        object.__setattr__(self, "mark", mark)
        knows = ScopeKind.RECIPIENT in by_kind or any(
            cap.measure is Measure.RECIPIENTS for caps in by_kind.values() for cap in caps
        )
        object.__setattr__(self, "knows_recipients", knows)
        object.__setattr__(self, "smallest", smallest_of(by_kind.values()))

    @classmethod
    def of(cls, limits: LimitsSettings, zone: tzinfo) -> QuotaRules:
        """The rules behind the settings."""
        return cls(
            caps=Caps(
                minute=limits.segments_per_minute,
                hour=limits.segments_per_hour,
                day=limits.segments_per_day,
                gap=limits.minimum_gap,
            ),
            zone=zone,
            more={
                ScopeKind.SIM: _caps_of(limits.sim),
                ScopeKind.HOLDER: _caps_of(limits.holder),
                ScopeKind.DEPARTMENT: _caps_of(limits.department),
                ScopeKind.CARRIER: _caps_of(limits.carrier),
                ScopeKind.BATCH: _caps_of(limits.batch),
                ScopeKind.RECIPIENT: _caps_of(limits.recipient),
            },
        )

    def site_zones(self, span: Span, *, steady: datetime, wall: datetime) -> tuple[tzinfo, ...]:
        """The zones whose days or months bind the site at a moment, its own first."""
        moment = min(steady, wall)
        return (self.zone, *(one.zone for one in self.former if one.binds(span, moment)))

    def site_buckets(self, span: Span, *, steady: datetime, wall: datetime) -> tuple[int, ...]:
        """All buckets of the site that something counts in."""
        zones = self.site_zones(span, steady=steady, wall=wall)
        found = (buckets_of(span, steady=steady, wall=wall, zone=zone) for zone in zones)
        return tuple(dict.fromkeys(bucket for some in found for bucket in some))

    def scopes(self, bearer: Bearer) -> tuple[Scope, ...]:
        """On whom a segment of this bearer falls, as far as there are caps."""
        found = [
            scope
            for kind, name in bearer.names()
            if name is not None and (scope := self.scope(kind, name)) is not None
        ]
        if bearer.zones is not None:
            found[:1] = self.card_scopes(bearer.iccid, bearer.zones)
        return tuple(found)

    def scope(self, kind: ScopeKind, name: str) -> Scope | None:
        """One of them by its name; None where no cap falls on its kind."""
        caps = self.by_kind.get(kind)
        if caps is None:
            return None
        if kind is ScopeKind.RECIPIENT:  # there are too many to remember
            return Scope(kind=kind, key=scope_key(kind, name), caps=caps, counts=caps)
        found = self._scopes.get((kind, name))
        if found is None:
            found = Scope(kind=kind, key=scope_key(kind, name), caps=caps, counts=caps)
            if len(self._scopes) >= _REMEMBERED:
                self._scopes.clear()
            self._scopes[kind, name] = found
        return found

    def card_scopes(self, iccid: str, zones: Zones) -> tuple[Scope, ...]:
        """A card in these zones: the site's first, which counts all even where it does not bind.

        So the counts of another zone can be made of them when a card comes into it.
        """
        caps, key = self.by_kind[ScopeKind.SIM], scope_key(ScopeKind.SIM, iccid)
        calendar = tuple(cap for cap in caps if cap.span.is_calendar)
        spans = zones.get(None, frozenset())
        binding = tuple(cap for cap in caps if not cap.span.is_calendar or cap.span in spans)
        here = Scope(kind=ScopeKind.SIM, key=key, caps=binding, counts=caps)
        elsewhere = (
            Scope(
                kind=ScopeKind.SIM,
                key=zoned_key(key, name),
                caps=tuple(cap for cap in calendar if cap.span in some),
                counts=calendar,
            )
            for name, some in zones.items()
            if name is not None
        )
        return (here, *elsewhere)

    def caps_of_key(self, key: str) -> tuple[Cap, ...]:
        """What is counted of whom a stored key stands for."""
        caps = self.by_kind.get(ScopeKind(key.partition(":")[0]), ())
        if zone_of_key(key) is None:
            return caps
        return tuple(cap for cap in caps if cap.span.is_calendar)


def scope_key(kind: ScopeKind, name: str) -> str:
    """What stands for one among the counts: short, and no person's name or number."""
    if kind in {ScopeKind.SIM, ScopeKind.BATCH}:
        return f"{kind}:{name}"
    return f"{kind}:{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def zoned_key(key: str, zone: str) -> str:
    """What stands for one's days and months in a zone that is not the site's."""
    return f"{key}@{zone}"


def zone_of_key(key: str) -> str | None:
    """The zone whose days and months a key stands for; None: the site's."""
    return key.partition("@")[2] or None


def smallest_of(caps: Iterable[Iterable[Cap]]) -> int:
    """The smallest cap on segments of all."""
    found = [cap.most for some in caps for cap in some if cap.measure is Measure.SEGMENTS]
    return min(found)


def tightest(rules: QuotaRules) -> tuple[ScopeKind, Cap]:
    """The cap on segments that the longest message must fit, and on whom it falls."""
    caps = [
        (kind, cap)
        for kind, some in rules.by_kind.items()
        for cap in some
        if cap.measure is Measure.SEGMENTS
    ]
    return min(caps, key=lambda one: one[1].most)


def setting_of(kind: ScopeKind, cap: Cap) -> str:
    """The configuration key behind a cap."""
    key = f"{cap.measure}_per_{cap.span}"
    is_flat = kind is ScopeKind.SIM and cap.measure is Measure.SEGMENTS
    if is_flat and cap.span is not Span.MONTH:
        return f"limits.{key}"
    return f"limits.{kind}.{key}"


def _caps_of(table: CapSettings) -> tuple[Cap, ...]:
    most = {
        (Measure.SEGMENTS, Span.MINUTE): table.segments_per_minute,
        (Measure.SEGMENTS, Span.HOUR): table.segments_per_hour,
        (Measure.SEGMENTS, Span.DAY): table.segments_per_day,
        (Measure.SEGMENTS, Span.MONTH): table.segments_per_month,
        (Measure.MESSAGES, Span.MINUTE): table.messages_per_minute,
        (Measure.MESSAGES, Span.HOUR): table.messages_per_hour,
        (Measure.MESSAGES, Span.DAY): table.messages_per_day,
        (Measure.MESSAGES, Span.MONTH): table.messages_per_month,
        (Measure.RECIPIENTS, Span.MINUTE): table.recipients_per_minute,
        (Measure.RECIPIENTS, Span.HOUR): table.recipients_per_hour,
        (Measure.RECIPIENTS, Span.DAY): table.recipients_per_day,
        (Measure.RECIPIENTS, Span.MONTH): table.recipients_per_month,
    }
    return tuple(
        Cap(measure=measure, span=span, most=n) for (measure, span), n in most.items() if n
    )


# ---------------------------------------------------------------- buckets


def bucket_of(span: Span, at: datetime, zone: tzinfo) -> int:
    """The bucket that something at this moment counts in; days and months are the zone's."""
    match span:
        case Span.DAY:
            return at.astimezone(zone).toordinal()
        case Span.MONTH:
            local = at.astimezone(zone)
            return local.year * 12 + local.month - 1
        case _:
            return (at - _EPOCH) // timedelta(seconds=_BUCKET_SECONDS[span])


def buckets_of(span: Span, *, steady: datetime, wall: datetime, zone: tzinfo) -> tuple[int, ...]:
    """All buckets that something counts in: a calendar's, by both clocks."""
    first = bucket_of(span, steady, zone)
    if not span.is_calendar:
        return (first,)
    second = bucket_of(span, wall, zone)
    return (first,) if first == second else (first, second)


def first_bucket(span: Span, at: datetime, zone: tzinfo) -> int:
    """The oldest bucket that still counts at this moment."""
    bucket = bucket_of(span, at, zone)
    return bucket if span.is_calendar else bucket - _BUCKETS_BACK


def fits_at(
    used: Mapping[int, int], cap: Cap, n: int, *, steady: datetime, wall: datetime, zone: tzinfo
) -> datetime:
    """The earliest steady moment, not before `steady`, at which `n` more fit under one cap.

    `n` must not exceed the cap. `wall` is what the other clock shows at `steady`.
    """
    assert n <= cap.most, "more than a cap never fits"
    if not cap.span.is_calendar:
        return _slides_to(used, cap, n, steady, zone)
    moment, lead = steady, wall - steady
    for _ in range(4):  # where the clocks differ, the next day of one may be full by the other
        ends = [
            next_start(cap.span, moment + shift, zone) - shift
            for shift in {timedelta(0), lead}
            if used.get(bucket_of(cap.span, moment + shift, zone), 0) + n > cap.most
        ]
        if not ends:
            break
        moment = max(ends)
    return moment


def _slides_to(
    used: Mapping[int, int], cap: Cap, n: int, steady: datetime, zone: tzinfo
) -> datetime:
    first = first_bucket(cap.span, steady, zone)
    counted = sorted((bucket, some) for bucket, some in used.items() if bucket >= first)
    total = sum(some for _, some in counted) + n
    moment = steady
    for bucket, some in counted:
        if total <= cap.most:
            break
        total -= some
        seconds = timedelta(seconds=_BUCKET_SECONDS[cap.span])
        moment = _EPOCH + (bucket + _BUCKETS_BACK + 1) * seconds
    return max(steady, moment)


def next_start(span: Span, at: datetime, zone: tzinfo) -> datetime:
    """When the next day or month of the zone begins."""
    day = at.astimezone(zone).date()
    if span is Span.MONTH:
        day = day.replace(day=1) + timedelta(days=32)
        day = day.replace(day=1)
    else:
        day += timedelta(days=1)
    return datetime.combine(day, time(0), tzinfo=zone).astimezone(UTC)
