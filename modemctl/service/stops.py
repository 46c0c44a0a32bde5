"""Stopping a batch, a card, a department, a node or the fleet, and what was reached (SEC-10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from modemctl.errors import InvalidRequest, NotFound, PolicyRefused, TamperedError
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.model import BatchId, mask_number
from modemctl.policy.stops import EVERYTHING, NEEDS_SECOND, StopKind, StopMemory
from modemctl.service.batch_views import may_see, sight_of
from modemctl.service.principal import Principal, Scope
from modemctl.service.second_persons import require_own_hands
from modemctl.store import Connection, Store, Tx, departments, nodes, reach, sims, stop_book
from modemctl.store import batches as batch_rows
from modemctl.store.reach import Count, Part, Reached
from modemctl.store.stop_book import Act, NewStop, Stop
from modemctl.store.transaction import Json

__all__ = [
    "BatchReach",
    "InFlight",
    "Part",
    "Reached",
    "StopKind",
    "StopMemory",
    "StopReach",
    "StopView",
    "Stops",
]

ResultT = TypeVar("ResultT")

_OF_ALL: Final = frozenset({StopKind.FLEET, StopKind.NODE})
_PAGE: Final = 1_000
_REASON_MAX: Final = 500
_TARGET_MAX: Final = 128
_LISTED: Final = 500
_IN_FLIGHT_MAX: Final = 10_000  # more than modems that a node can have


@dataclass(frozen=True, slots=True, kw_only=True)
class StopView:
    """A stop; it stands while `lifted_at` is null. `target` is empty for the fleet."""

    stop_id: str
    kind: StopKind
    target: str
    reason: str
    placed_by: str
    placed_at: datetime
    lifted_by: str | None
    lifted_at: datetime | None
    lift_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReach:
    """How many segments of a batch had left, were on their way, had not left."""

    batch_id: str
    sent: int
    in_flight: int
    unsent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """A segment that was being submitted; `state` is what became of it so far.

    `queued` says that it did not leave after all.
    """

    segment_id: int
    batch_id: str
    message_id: int
    seq: int
    iccid: str | None
    state: SegmentState
    mr: int | None
    to: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReach:
    """A stop and exactly what it found; `outcomes` counts what became of those in flight."""

    stop: StopView
    sent: int
    in_flight: int
    unsent: int
    outcomes: Mapping[SegmentState, int]
    batches: Sequence[BatchReach]
    flights: Sequence[InFlight]


class Stops:
    """Places and lifts stops; the gate before each submit obeys them."""

    def __init__(self, store: Store, *, general_department: str, memory: StopMemory) -> None:
        """`memory` is the gate's own: what this process knows of the list of stops."""
        self._store = store
        self._general = general_department
        self._memory = memory

    async def recall(self) -> None:
        """Learn the list's newest version from the audit log; once, before anything is sent."""
        self._memory.note(await self._store.read(stop_book.known_version))

    async def fault(self) -> str:
        """Why the list of stops cannot be believed, in words; empty where it can."""
        vault, memory = self._store.vault, self._memory
        found = await self._store.read(lambda conn: stop_book.standing(conn, vault, memory))
        cure = "nothing is sent; run: modemctl audit verify, and restore what it names"
        return f"{found.distrust}; {cure}" if found.distrust else ""

    async def place(self, who: Principal, kind: StopKind, target: str, reason: str) -> StopView:
        """Stop a target: no payload of it begins later than a second after the answer.

        What is stopped already keeps its first stop, which is the answer.

        Raises:
            NotPermitted: the scope is missing, or the target is not the account's to stop.
            InvalidRequest, NotFound: reason or target.
            PolicyRefused: SEC-05, the list was altered; then everything is stopped as it is.
        """
        who.require(Scope.STOPS_PLACE)
        reason = _checked(reason)
        target = _checked_target(kind, target)

        def act(tx: Tx) -> tuple[Stop, int]:
            self._require_target(tx, who, kind, target)
            self._require_known(tx.conn, who, kind, target)
            new = NewStop(
                kind=kind,
                target=target,
                reason=reason,
                act=_act_of(who),
                general_department=self._general,
            )
            placed = stop_book.place(tx, new, self._memory)
            if kind is StopKind.BATCH:
                _hold(tx, who, target, reason)
            return placed

        try:
            placed, version = await self._store.write(act, is_urgent=True)
        except TamperedError as error:
            raise _altered(error) from None
        self._memory.note(version)
        return _view(placed)

    async def lift(self, who: Principal, stop_id: str, reason: str) -> StopView:
        """Let a stop stand no more. A batch that it held stays held: `resume` it.

        Raises:
            NotPermitted, InvalidRequest, NotFound, Conflict: scope, reason, it does not stand.
            PolicyRefused: SEC-04, who placed it, or has held that one's key, does not lift it
                (fleet, department, node), or a machine; SEC-05, the list was altered.
        """
        who.require(Scope.STOPS_LIFT)
        who.require_person("SEC-04")
        reason = _checked(reason)

        def act(tx: Tx) -> tuple[Stop, int]:
            found = self._visible(tx.conn, who, stop_id)
            if found.kind in NEEDS_SECOND and found.placed_by == who.account_id:
                raise PolicyRefused(
                    "SEC-04",
                    f"who stopped the {found.kind} does not let it go on alone",
                    cure="let a second person lift the stop",
                )
            if found.kind in NEEDS_SECOND:
                require_own_hands(tx, who.account_id, found.placed_by, since=found.placed_at)
            self._require_target(tx, who, found.kind, found.target)
            return stop_book.lift(tx, stop_id, reason=reason, act=_act_of(who), memory=self._memory)

        try:
            lifted, version = await self._store.write(act)
        except TamperedError as error:
            raise _altered(error) from None
        self._memory.note(version)
        return _view(lifted)

    async def list_stops(self, who: Principal, *, only_standing: bool = True) -> Sequence[StopView]:
        """The latest stops that concern the account, newest first; of the fleet, everybody.

        Raises:
            NotPermitted: the scope is missing.
            PolicyRefused: SEC-05, a row was altered.
        """
        _require_reader(who)
        vault = self._store.vault

        def read(conn: Connection) -> Sequence[StopView]:
            found = stop_book.list_stops(conn, vault, only_standing=only_standing, limit=_LISTED)
            return [
                _view(one) for one in found if one.kind in _OF_ALL or self._concerns(conn, who, one)
            ]

        return await self._read(read)

    async def show(self, who: Principal, stop_id: str) -> StopReach:
        """A stop and its exact reach; what was in flight with what became of it so far.

        Numbers are masked without `pii:read`.

        Raises:
            NotPermitted, NotFound: scope, or no such stop in sight.
            PolicyRefused: SEC-05, its row was altered.
        """
        _require_reader(who)
        vault = self._store.vault

        def read(conn: Connection) -> StopReach:
            found = self._visible(conn, who, stop_id)
            counts = reach.count(conn, found)
            flights = reach.find(
                conn, vault, found, after=0, limit=_IN_FLIGHT_MAX, only=Part.IN_FLIGHT
            )
            return _reach(found, counts, [_flight(one, who) for one in flights])

        return await self._read(read)

    async def reach(self, who: Principal, stop_id: str) -> AsyncGenerator[Reached, None]:
        """Every segment of the reach, in order of id; numbers masked without `pii:read`.

        Raises:
            NotPermitted, NotFound, PolicyRefused: as `show`, before the first one.
        """
        _require_reader(who)
        vault, after = self._store.vault, 0
        found = await self._read(lambda conn: self._visible(conn, who, stop_id))
        while True:
            read = partial(reach.find, vault=vault, stop=found, after=after, limit=_PAGE)
            page = await self._store.read(read)
            for one in page:
                yield _masked(one, who)
            if len(page) < _PAGE:
                return
            after = page[-1].segment_id

    async def reached_numbers(
        self, who: Principal, stop_id: str
    ) -> AsyncGenerator[Sequence[str], None]:
        """To whom something left, or may have: pages of numbers, unmasked, for a list to send to.

        A number that got several messages comes several times.

        Raises:
            NotPermitted, NotFound, PolicyRefused: as `show`; SEC-05 also where a line was altered.
        """
        _require_reader(who)
        vault, after = self._store.vault, 0
        found = await self._read(lambda conn: self._visible(conn, who, stop_id))
        while True:
            read = partial(reach.find_numbers, vault=vault, stop=found, after=after, limit=_PAGE)
            page = await self._store.read(read)
            numbers = [to for to in page.values() if to is not None]
            if len(numbers) < len(page):
                raise PolicyRefused("SEC-05", "a line of the reach was altered outside modemctl")
            yield numbers
            if len(page) < _PAGE:
                return
            after = max(page)

    async def _read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        try:
            return await self._store.read(query)
        except TamperedError as error:
            raise _altered(error) from None

    def _require_target(self, tx: Tx, who: Principal, kind: StopKind, target: str) -> None:
        """Refuse what does not exist, or is not the account's to stop or let go on.

        Raises:
            NotPermitted, NotFound: see there.
        """
        if kind in _OF_ALL:
            if who.department != self._general:
                who.require_all_departments()
        elif not self._is_in_sight(tx.conn, who, kind, target):
            raise NotFound(f"no such {kind}", field="target", value=target[:40])

    def _require_known(self, conn: Connection, who: Principal, kind: StopKind, target: str) -> None:
        """Refuse a name that nothing bears: "stopped" would be believed while all goes on.

        Raises:
            NotFound: no such node or department.
        """
        if kind is StopKind.NODE and not (
            target == self._store.node_id or nodes.is_known(conn, target)
        ):
            cure = "modemctl modems show BAY names its node; all at once: modemctl stop fleet"
        elif kind is StopKind.DEPARTMENT and not (
            target in {self._general, who.department} or departments.is_known(conn, target)
        ):
            cure = "modemctl sims list names departments; all at once: modemctl stop fleet"
        else:
            return
        raise NotFound(f"no such {kind}", field="target", value=target[:40], cure=cure)

    def _visible(self, conn: Connection, who: Principal, stop_id: str) -> Stop:
        found = stop_book.find(conn, self._store.vault, stop_id)
        if found is None or not self._concerns(conn, who, found):
            raise NotFound("no such stop", field="stop_id", value=stop_id[:40])
        return found

    def _concerns(self, conn: Connection, who: Principal, found: Stop) -> bool:
        """Whether the account may see a stop's reach: of those of all, every department's."""
        if who.department is None:
            return True
        if found.kind in _OF_ALL:
            return who.department == self._general
        return self._is_in_sight(conn, who, found.kind, found.target)

    def _is_in_sight(self, conn: Connection, who: Principal, kind: StopKind, target: str) -> bool:
        if kind is StopKind.BATCH:
            found = batch_rows.find_batch(conn, target)
            sight = sight_of(who, self._general)
            return found is not None and may_see(sight, found.department, found.category)
        if kind is StopKind.CARD:
            card = sims.read(conn, self._store.vault, target)
            return card is not None and who.sees(card.department)
        return who.sees(target)


# ---------------------------------------------------------------- inside


def _hold(tx: Tx, who: Principal, batch_id: str, reason: str) -> None:
    """The batch's state says so too; its operator lets it go on once the stop is lifted."""
    if batch_rows.move(
        tx, BatchId(batch_id), BatchState.HELD, reason=reason, only_from={BatchState.RUNNING}
    ):
        details: dict[str, Json] = {"reason": reason, "source": who.source, "policy": "SEC-10"}
        tx.audit(who.name, "batch.hold", batch_id, details)


def _require_reader(who: Principal) -> None:
    if not {Scope.STOPS_PLACE, Scope.STOPS_LIFT} & who.scopes:
        who.require(Scope.BATCHES_READ)


def _checked(reason: str) -> str:
    if not reason.strip() or len(reason) > _REASON_MAX:
        raise InvalidRequest(f"must have 1 to {_REASON_MAX} characters", field="reason")
    return reason.strip()


def _checked_target(kind: StopKind, target: str) -> str:
    if kind is StopKind.FLEET:
        if target:
            raise InvalidRequest("the fleet has no target", field="target", value=target[:40])
        return EVERYTHING
    if not target.strip() or len(target) > _TARGET_MAX:
        raise InvalidRequest(
            f"a {kind} is needed, of 1 to {_TARGET_MAX} characters", field="target"
        )
    return target.strip()


def _act_of(who: Principal) -> Act:
    return Act(by=who.account_id, name=who.name, source=who.source)


def _altered(error: TamperedError) -> PolicyRefused:
    return PolicyRefused(
        "SEC-05",
        f"{error}; nothing is sent until it is right again",
        cure="run: modemctl audit verify, and restore what it names",
    )


def _view(one: Stop) -> StopView:
    return StopView(
        stop_id=one.stop_id,
        kind=one.kind,
        target=one.target,
        reason=one.reason,
        placed_by=one.placed_name,
        placed_at=one.placed_at,
        lifted_by=one.lifted_name,
        lifted_at=one.lifted_at,
        lift_reason=one.lift_reason,
    )


def _reach(found: Stop, counts: Sequence[Count], flights: Sequence[InFlight]) -> StopReach:
    def total(part: Part, batch_id: str | None = None) -> int:
        return sum(one.n for one in counts if one.part is part and batch_id in {None, one.batch_id})

    outcomes: Counter[SegmentState] = Counter(one.state for one in flights)
    return StopReach(
        stop=_view(found),
        sent=total(Part.SENT),
        in_flight=total(Part.IN_FLIGHT),
        unsent=total(Part.UNSENT),
        outcomes=outcomes,
        batches=[
            BatchReach(
                batch_id=batch_id,
                sent=total(Part.SENT, batch_id),
                in_flight=total(Part.IN_FLIGHT, batch_id),
                unsent=total(Part.UNSENT, batch_id),
            )
            for batch_id in dict.fromkeys(one.batch_id for one in counts)
        ],
        flights=flights,
    )


def _flight(one: Reached, who: Principal) -> InFlight:
    return InFlight(
        segment_id=one.segment_id,
        batch_id=one.batch_id,
        message_id=one.message_id,
        seq=one.seq,
        iccid=one.iccid,
        state=one.state,
        mr=one.mr,
        to=_masked(one, who).to,
    )


def _masked(one: Reached, who: Principal) -> Reached:
    if one.to is None or Scope.PII_READ in who.scopes:
        return one
    return replace(one, to=mask_number(one.to))
