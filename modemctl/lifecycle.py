"""The state tables: literal, and the only place that says which change is legal.

The diagrams in docs/architecture.md are printed from these tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar


class IllegalTransition(ValueError):
    """No row of the table allows this change."""


class ModemState(StrEnum):
    """What is true of a bay."""

    ABSENT = "absent"  # no port in this bay, or another program holds it
    PROBING = "probing"  # port open; identity and family are being found
    REFUSED = "refused"  # not on the admission list (CC-01)
    STARTING = "starting"  # init sequence that needs no card
    CHECKING = "checking"  # ICCID read twice alike, compared with the register
    QUARANTINED = "quarantined"  # card gets no PIN, sends nothing
    UNLOCKING = "unlocking"  # PIN guard, lock, storage, message routing
    SIM_WAIT = "sim_wait"  # modem well, card not usable
    SEARCHING = "searching"  # card fit, not registered on the network
    READY = "ready"  # may lease, while the bay's desired state is run
    RECOVERING = "recovering"  # the ladder
    FAILED = "failed"  # ladder spent


class ModemEvent(StrEnum):
    """What changes a modem's state."""

    PORT_SEEN = "port_seen"
    IDENTIFIED = "identified"
    NOT_ADMITTED = "not_admitted"
    ADMITTED = "admitted"
    NO_ANSWER = "no_answer"
    SIM_PRESENT = "sim_present"
    SIM_MISSING = "sim_missing"
    INIT_FAILED = "init_failed"
    FIT = "fit"
    UNFIT = "unfit"
    UNREADABLE = "unreadable"
    RELEASED = "released"
    DONE = "done"
    STOPPED = "stopped"
    SIM_READY = "sim_ready"
    REGISTERED = "registered"
    REGISTRATION_LOST = "registration_lost"
    RECOVERED = "recovered"
    LADDER_SPENT = "ladder_spent"
    RETRY = "retry"
    SIM_REMOVED = "sim_removed"
    LINK_ERROR = "link_error"
    OUT_OF_STEP = "out_of_step"
    WATCHDOG = "watchdog"
    REBOOTED = "rebooted"
    PORT_GONE = "port_gone"


_M, _E = ModemState, ModemEvent

_MODEM_OWN: Mapping[tuple[ModemState, ModemEvent], ModemState] = {
    (_M.ABSENT, _E.PORT_SEEN): _M.PROBING,
    (_M.PROBING, _E.IDENTIFIED): _M.STARTING,
    (_M.PROBING, _E.NOT_ADMITTED): _M.REFUSED,
    (_M.PROBING, _E.NO_ANSWER): _M.RECOVERING,
    (_M.REFUSED, _E.ADMITTED): _M.PROBING,
    (_M.STARTING, _E.SIM_PRESENT): _M.CHECKING,
    (_M.STARTING, _E.SIM_MISSING): _M.SIM_WAIT,
    (_M.STARTING, _E.INIT_FAILED): _M.RECOVERING,
    (_M.CHECKING, _E.FIT): _M.UNLOCKING,
    (_M.CHECKING, _E.UNFIT): _M.QUARANTINED,
    (_M.CHECKING, _E.UNREADABLE): _M.SIM_WAIT,
    (_M.QUARANTINED, _E.RELEASED): _M.CHECKING,
    (_M.UNLOCKING, _E.DONE): _M.SEARCHING,
    (_M.UNLOCKING, _E.STOPPED): _M.SIM_WAIT,
    (_M.SIM_WAIT, _E.SIM_READY): _M.CHECKING,
    (_M.SIM_WAIT, _E.RELEASED): _M.CHECKING,
    (_M.SEARCHING, _E.REGISTERED): _M.READY,
    (_M.READY, _E.REGISTRATION_LOST): _M.SEARCHING,
    (_M.SEARCHING, _E.UNFIT): _M.QUARANTINED,
    (_M.READY, _E.UNFIT): _M.QUARANTINED,
    (_M.RECOVERING, _E.RECOVERED): _M.STARTING,
    (_M.RECOVERING, _E.LADDER_SPENT): _M.FAILED,
    (_M.RECOVERING, _E.NOT_ADMITTED): _M.REFUSED,  # the reopened link led to another modem
    (_M.FAILED, _E.RETRY): _M.PROBING,
}

_LIVE = (
    _M.STARTING, _M.CHECKING, _M.QUARANTINED, _M.UNLOCKING, _M.SIM_WAIT, _M.SEARCHING, _M.READY,
)  # fmt: skip
_FROM_ANY_LIVE: Mapping[ModemEvent, ModemState] = {
    _E.SIM_REMOVED: _M.SIM_WAIT,
    _E.LINK_ERROR: _M.RECOVERING,
    _E.OUT_OF_STEP: _M.RECOVERING,
    _E.WATCHDOG: _M.RECOVERING,
    _E.REBOOTED: _M.STARTING,
    _E.NOT_ADMITTED: _M.REFUSED,
}

MODEM: Mapping[tuple[ModemState, ModemEvent], ModemState] = {
    **{(state, event): to for state in _LIVE for event, to in _FROM_ANY_LIVE.items()},
    **{(state, _E.PORT_GONE): _M.ABSENT for state in _M if state is not _M.ABSENT},
    **_MODEM_OWN,
}


class SegmentState(StrEnum):
    """Where one segment (one TPDU) stands."""

    QUEUED = "queued"
    LEASED = "leased"
    SUBMITTING = "submitting"
    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    EXPIRED = "expired"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    IN_DOUBT = "in_doubt"
    ABANDONED = "abandoned"


_S = SegmentState
SEGMENT: Mapping[SegmentState, frozenset[SegmentState]] = {
    _S.QUEUED: frozenset({_S.LEASED, _S.EXPIRED, _S.REFUSED, _S.CANCELLED}),
    _S.LEASED: frozenset({_S.SUBMITTING, _S.QUEUED, _S.EXPIRED, _S.REFUSED, _S.CANCELLED}),
    _S.SUBMITTING: frozenset({_S.SENT, _S.QUEUED, _S.REFUSED, _S.IN_DOUBT}),
    _S.SENT: frozenset({_S.DELIVERED, _S.UNDELIVERED, _S.EXPIRED}),
    _S.IN_DOUBT: frozenset(
        {_S.SENT, _S.DELIVERED, _S.UNDELIVERED, _S.EXPIRED, _S.QUEUED, _S.ABANDONED}
    ),
    _S.DELIVERED: frozenset(),
    _S.UNDELIVERED: frozenset(),
    _S.EXPIRED: frozenset(),
    _S.REFUSED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.ABANDONED: frozenset(),
}


class MessageState(StrEnum):
    """What a whole message is; computed from its segments, never stored."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    FAILED_PARTLY_SENT = "failed_partly_sent"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    IN_DOUBT = "in_doubt"


_LEFT = frozenset({_S.SENT, _S.DELIVERED, _S.UNDELIVERED, _S.IN_DOUBT, _S.ABANDONED})
_FAILING = frozenset({_S.REFUSED, _S.UNDELIVERED, _S.ABANDONED})


def message_state(segments: Iterable[SegmentState]) -> MessageState:  # noqa: PLR0911 - one row a state
    """Map the states of all segments of a message to the message's state."""
    states = frozenset(segments)
    if not states:
        msg = "a message has at least one segment"
        raise ValueError(msg)
    if states == {_S.QUEUED}:
        return MessageState.QUEUED
    if states & {_S.QUEUED, _S.LEASED, _S.SUBMITTING}:
        return MessageState.SENDING
    if _S.IN_DOUBT in states:
        return MessageState.IN_DOUBT
    if states & (_FAILING | {_S.EXPIRED, _S.CANCELLED}) and states & (_LEFT - _FAILING):
        return MessageState.FAILED_PARTLY_SENT
    if states & _FAILING:
        return MessageState.FAILED
    if _S.EXPIRED in states:
        return MessageState.EXPIRED
    if _S.CANCELLED in states:
        return MessageState.CANCELLED
    return MessageState.DELIVERED if states == {_S.DELIVERED} else MessageState.SENT


class BatchState(StrEnum):
    """Where a batch stands."""

    DRAFT = "draft"  # staging its list
    CHECKED = "checked"  # frozen: digest exists; waits for the second person
    AWAITING_APPROVAL = "awaiting_approval"
    APPROVED = "approved"
    RUNNING = "running"
    HELD = "held"
    DONE = "done"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


_B = BatchState
BATCH: Mapping[BatchState, frozenset[BatchState]] = {
    _B.DRAFT: frozenset({_B.CHECKED, _B.WITHDRAWN, _B.EXPIRED}),
    _B.CHECKED: frozenset({_B.AWAITING_APPROVAL, _B.REJECTED, _B.WITHDRAWN, _B.EXPIRED}),
    _B.AWAITING_APPROVAL: frozenset({_B.APPROVED, _B.REJECTED, _B.WITHDRAWN, _B.EXPIRED}),
    _B.APPROVED: frozenset({_B.RUNNING, _B.HELD, _B.WITHDRAWN, _B.CANCELLED, _B.EXPIRED}),
    _B.RUNNING: frozenset({_B.HELD, _B.DONE, _B.CANCELLED, _B.EXPIRED}),
    # A standing approval never runs: what was held is in force again.
    _B.HELD: frozenset({_B.RUNNING, _B.APPROVED, _B.CANCELLED, _B.EXPIRED}),
    _B.DONE: frozenset(),
    _B.REJECTED: frozenset(),
    _B.WITHDRAWN: frozenset(),
    _B.CANCELLED: frozenset(),
    _B.EXPIRED: frozenset(),
}


class CardState(StrEnum):
    """The life of a SIM card (SIM-02, SIM-09, SIM-12)."""

    REQUESTED = "requested"
    REVIEWED = "reviewed"
    APPROVED = "approved"
    PROVISIONED = "provisioned"
    ISSUED = "issued"
    SUSPENDED_LOSS = "suspended_loss"  # 挂失
    SUSPENDED_ARREARS = "suspended_arrears"  # 停机
    SUSPENDED_PENALTY = "suspended_penalty"  # 保号停机
    LOST = "lost"
    DAMAGED = "damaged"
    RETURNED = "returned"
    CANCELLED = "cancelled"


_C = CardState
_SUSPENDED = (_C.SUSPENDED_LOSS, _C.SUSPENDED_ARREARS, _C.SUSPENDED_PENALTY)  # in this order
CARD: Mapping[CardState, frozenset[CardState]] = {
    _C.REQUESTED: frozenset({_C.REVIEWED, _C.RETURNED, _C.CANCELLED}),  # returned: refused
    _C.REVIEWED: frozenset({_C.APPROVED, _C.RETURNED, _C.CANCELLED}),
    _C.APPROVED: frozenset({_C.PROVISIONED, _C.RETURNED, _C.CANCELLED}),
    _C.PROVISIONED: frozenset({_C.ISSUED, _C.REQUESTED, _C.LOST, _C.DAMAGED, _C.RETURNED}),
    _C.ISSUED: frozenset({*_SUSPENDED, _C.LOST, _C.DAMAGED, _C.RETURNED}),
    **{state: frozenset({_C.ISSUED, _C.LOST, _C.DAMAGED, _C.RETURNED}) for state in _SUSPENDED},
    _C.LOST: frozenset({_C.CANCELLED, _C.RETURNED}),
    _C.DAMAGED: frozenset({_C.CANCELLED, _C.RETURNED}),
    _C.RETURNED: frozenset({_C.REQUESTED, _C.PROVISIONED, _C.CANCELLED}),
    _C.CANCELLED: frozenset(),
}


def advance(state: ModemState, event: ModemEvent) -> ModemState:
    """The modem's next state.

    Raises:
        IllegalTransition: the event has no meaning in this state.
    """
    try:
        return MODEM[state, event]
    except KeyError:
        raise IllegalTransition(f"modem: {event} in {state}") from None


def require_segment(before: SegmentState, after: SegmentState) -> None:
    """Check a segment's change against the table.

    Raises:
        IllegalTransition: the table has no such row.
    """
    if after not in SEGMENT[before]:
        raise IllegalTransition(f"segment: {before} → {after}")


def require_batch(before: BatchState, after: BatchState) -> None:
    """Check a batch's change against the table.

    Raises:
        IllegalTransition: the table has no such row.
    """
    if after not in BATCH[before]:
        raise IllegalTransition(f"batch: {before} → {after}")


def require_card(before: CardState, after: CardState) -> None:
    """Check a card's change against the table.

    Raises:
        IllegalTransition: the table has no such row.
    """
    if after not in CARD[before]:
        raise IllegalTransition(f"card: {before} → {after}")


_State = TypeVar("_State", SegmentState, BatchState, CardState)


def sources(table: Mapping[_State, frozenset[_State]], after: _State) -> frozenset[_State]:
    """All states from which the table allows `after` (the `:from` of a compare-and-set)."""
    return frozenset(before for before, to in table.items() if after in to)


def modem_diagram() -> str:
    """The modem's table as a Mermaid state diagram; changes from any live state stand once."""
    lines = ["stateDiagram-v2", "    [*] --> absent"]
    lines += [
        f"    {before} --> {after} : {event}" for (before, event), after in _MODEM_OWN.items()
    ]
    lines += [f"    any_live --> {after} : {event}" for event, after in _FROM_ANY_LIVE.items()]
    lines.append(f"    any_but_absent --> {_M.ABSENT} : {_E.PORT_GONE}")
    return "\n".join(lines)


def diagram(table: Mapping[_State, frozenset[_State]]) -> str:
    """A state table as a Mermaid state diagram."""
    first = next(iter(table))
    lines = ["stateDiagram-v2", f"    [*] --> {first}"]
    order = list(table)
    lines += [
        f"    {before} --> {after}"
        for before, to in table.items()
        for after in sorted(to, key=order.index)
    ]
    lines += [f"    {state} --> [*]" for state, to in table.items() if not to]
    return "\n".join(lines)
