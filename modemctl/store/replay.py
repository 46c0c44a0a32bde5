"""What the audit log says of rows that authorise, held against the rows themselves.

A row of yesterday carries yesterday's valid MAC: only the log tells that it is not the latest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from sqlalchemy import Connection, RowMapping, Table, select

from modemctl.lifecycle import BATCH, BatchState, CardState
from modemctl.policy.admission import AdmissionState
from modemctl.policy.dual import OPEN, DualState
from modemctl.store import custody, departments, record_replay
from modemctl.store.accounts import AccountState
from modemctl.store.audits import IN_ORDER
from modemctl.store.engine import UNREADABLE
from modemctl.store.seals import named
from modemctl.store.tables import (
    account,
    admission,
    api_key,
    approver_key,
    authorisation,
    batch,
    bay_tie,
    data_key,
    dual_request,
    elevation,
    export_note,
    handover,
    incident,
    legal_hold,
    modem,
    opt_out,
    paper,
    party_approval,
    policy_version,
    qualification,
    sim,
    stop,
    text_use,
    to_ms,
    violation_case,
)

_Row: TypeAlias = tuple[object, ...]

_TAKEN_OUT: Final[_Row] = ("taken out and made anew",)
_GARBAGE: Final[_Row] = ("cells that modemctl never wrote",)
_UNTOLD: Final[_Row] = ()
"""What an entry leaves that does not say it: the row is not judged until a later one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """An entry of the log; `before` is what those before it left of the row, None for nothing."""

    action: str
    actor: str
    at: int
    details: Mapping[str, object]
    before: _Row | None


_Act: TypeAlias = Callable[[_Entry], _Row | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """How entries make a table's rows: `acts` by action, `read` for what is compared.

    `subject` is the key of a row as the log writes it.
    """

    table: Table
    subject: Callable[[RowMapping], str]
    acts: Mapping[str, _Act]
    read: Callable[[RowMapping], _Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What an entry left of a row; `row` None: it took it away."""

    row: _Row | None
    by: str


def replay(conn: Connection) -> Iterator[str]:
    """Yield one line for each row that is not what the log's latest word on it says.

    Those of the tables in `_RULES`; rows of which the log never spoke are not judged: without the
    key nobody makes one that counts (`store.seals`). Run it in one snapshot.
    """
    for rule in _RULES:
        yield from named(rule.table.name, _replay(conn, rule))
    yield from named("custody", custody.replay(conn))
    yield from record_replay.replay(conn)
    yield from named("department", departments.replay(conn))


def _replay(conn: Connection, rule: _Rule) -> Iterator[str]:
    said, unread = _latest(conn, rule.acts)
    yield from unread
    held = {
        rule.subject(row): _held(rule, row) for row in conn.execute(select(rule.table)).mappings()
    }
    for subject, one in sorted(said.items()):
        if one.row != _UNTOLD and held.get(subject) != one.row:
            what = "is missing" if subject not in held else "was put back or changed"
            name = rule.table.name
            yield f"{name} {subject}: the row {what}: not as {one.by} left it"


def _held(rule: _Rule, row: RowMapping) -> _Row:
    try:
        return rule.read(row)
    except UNREADABLE:
        return _GARBAGE


def _latest(conn: Connection, acts: Mapping[str, _Act]) -> tuple[Mapping[str, _Said], list[str]]:
    """Each subject's last entry among these acts, over all nodes; a line for what says nothing."""
    said: dict[str, _Said] = {}
    unread: list[str] = []
    for row in conn.execute(IN_ORDER, {"actions": sorted(acts)}).mappings():
        subject, action = row["subject"], row["action"]
        before = said.get(subject)
        by = f"entry {row['seq']} ({action})"
        try:
            entry = _Entry(
                action=action,
                actor=row["actor"],
                at=to_ms(row["at"]),
                details=_details(row["details"]),
                before=None if before is None else before.row,
            )
            if action in _TYING:  # one card a bay, one bay a card
                iccid = entry.details["iccid"]
                moved = [bay for bay, one in said.items() if _is_tie_of(one, iccid)]
                said |= {bay: _Said(row=None, by=by) for bay in moved}
            said[subject] = _Said(row=acts[action](entry), by=by)
        except UNREADABLE:
            unread.append(f"{by} of {row['node_id']} does not say what it has to")
    return said, unread


def _details(text: str) -> Mapping[str, object]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError("the details of an entry are an object")
    return found


def _is_tie_of(said: _Said, iccid: object) -> bool:
    return said.row is not None and said.row[:1] == (iccid,)


def _set(*values: object) -> _Act:
    return lambda _entry: values


def _decided(state: DualState) -> _Act:
    """What was over had been put back when it was decided anew: no row is right after that."""
    opened = {None, *((one.value,) for one in OPEN)}
    return lambda entry: (state.value,) if entry.before in opened else ("over",)


def _moved(state: BatchState) -> _Act:
    """What was over had been put back when it was moved anew: no row is right after that."""
    over = {None, *((one.value,) for one in BatchState if BATCH[one]), _UNTOLD}
    return lambda entry: (state.value,) if entry.before in over else ("over",)


def _gone(_entry: _Entry) -> None:
    return None


def _ended(entry: _Entry) -> _Row:
    return (entry.at,)


def _ms(at: datetime | None) -> int | None:
    return None if at is None else to_ms(at)


def _tied(entry: _Entry) -> _Row:
    """A bay learns another card only knowing the one before; else its row had been taken out."""
    was = entry.before
    if entry.action == "bay.learn" and was and was[0] != entry.details.get("before"):
        return _TAKEN_OUT
    return entry.details["iccid"], entry.action == "bay.bind", entry.actor, entry.at


def _admitting(state: AdmissionState) -> _Act:
    return lambda entry: (state.value, entry.at)


def _admission(row: RowMapping) -> _Row:
    is_asked = row["state"] == AdmissionState.REQUESTED  # it may tell who expelled it before
    at = row["requested_at"] if is_asked else row["decided_at"] or row["requested_at"]
    return row["state"], _ms(at)


def _card(entry: _Entry) -> _Row:
    """State and revision of a card; acts before schema 0022 told no revision, and no pause."""
    told = entry.details.get("after", entry.details.get("state"))
    if entry.action in _CORRECTIONS:
        told = None  # before and after of a number or a last day
    if told is None and not entry.before:
        return _UNTOLD
    state = CardState(str(told)).value if told is not None else (entry.before or ("",))[0]
    return state, entry.details.get("revision", 0)


def _account(entry: _Entry) -> _Row:
    """Department, roles and state; each act tells what it changed."""
    details = entry.details
    match entry.action:
        case "account.create":
            state = details.get("state", AccountState.ACTIVE.value)  # earlier ones did not wait
            return details.get("department"), details["roles"], state
        case "account.change":
            after = details["after"]
            assert isinstance(after, dict)
            return after["department"], after["roles"], entry.before[2] if entry.before else None
    return *(entry.before or (None, None))[:2], details["after"]


def _authorised(entry: _Entry) -> _Row:
    """When it was ended, and until when it was to last."""
    if entry.action == "authorisation.grant":
        return None, entry.details["until"]
    if not entry.before:
        return _UNTOLD
    ended, until = entry.before
    if entry.action == "authorisation.withdraw":
        return entry.at, until
    return ended, entry.details["until"]


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _approved(entry: _Entry) -> _Row | None:
    state = entry.details.get("state")  # earlier versions did not say whether it was the last step
    if state is None:
        return _UNTOLD
    if entry.before == (state,):  # an emergency's chain signs afterwards, and moves nothing
        return entry.before
    return _moved(BatchState(str(state)))(entry)


def _case(entry: _Entry) -> _Row:
    return entry.details["state"], entry.details["grade"], entry.details["person"]


def _incident(entry: _Entry) -> _Row:
    return entry.details["level"], entry.details["state"]


def _stop_of(entry: _Entry) -> _Row:
    return entry.details["kind"], entry.details["target"], entry.action == "stop.place"


def _said(entry: _Entry) -> _Row:
    """Text and number of messages; earlier versions did not tell the text."""
    text = entry.details.get("text")
    return _UNTOLD if text is None else (text, entry.details["messages"])


CARD_ACTS: Final = (
    "sim.add", "sim.complete", "sim.state", "sim.verify", "sim.pause", "sim.resume", "sim.request",
    "sim.carrier", "sim.replace", "sim.number", "sim.lease", "sim.identity",
    "sim.zone",
)  # fmt: skip
"""Acts that change a card's row; each tells the revision that it left."""

_CORRECTIONS: Final = frozenset({"sim.number", "sim.lease", "sim.zone"})  # the state stays
_TYING: Final = frozenset({"bay.learn", "bay.bind"})
_QUALIFYING: Final = ("hours", "score", "trained_on", "agreement_on", "failed_drills")
_NOTED: Final = ("recipient", "purpose", "request_id", "review_note")
_RULES: Final[Sequence[_Rule]] = (
    _Rule(
        table=account,
        subject=lambda row: str(row["name"]),
        acts=dict.fromkeys(("account.create", "account.change", "account.state"), _account),
        read=lambda row: (row["department"], json.loads(row["roles"]), row["state"]),
    ),
    _Rule(
        table=api_key,
        subject=lambda row: str(row["key_id"]),
        acts={"key.issue": _set(None), "key.revoke": _ended},
        read=lambda row: (_ms(row["revoked_at"]),),
    ),
    _Rule(
        table=approver_key,
        subject=lambda row: str(row["kid"]),
        acts={
            "approver_key.register": _set(None),
            "approver_key.revoke": lambda entry: (entry.details["reason"],),
        },
        read=lambda row: (row["revoke_reason"],),
    ),
    _Rule(
        table=authorisation,
        subject=lambda row: str(row["authorisation_id"]),
        acts=dict.fromkeys(
            ("authorisation.grant", "authorisation.hand_over", "authorisation.withdraw"),
            _authorised,
        ),
        read=lambda row: (_ms(row["revoked_at"]), _iso(row["valid_until"])),
    ),
    _Rule(
        table=batch,
        subject=lambda row: str(row["batch_id"]),
        acts={
            "batch.submit": _moved(BatchState.CHECKED),
            "batch.confirm": _moved(BatchState.AWAITING_APPROVAL),
            "batch.approve": _approved,
            "batch.reject": _moved(BatchState.REJECTED),
            "batch.withdraw": _moved(BatchState.WITHDRAWN),
            "batch.start": _moved(BatchState.RUNNING),
            "batch.resume": _moved(BatchState.RUNNING),
            "batch.hold": _moved(BatchState.HELD),
            "batch.refused": _moved(BatchState.HELD),
            "batch.cancel": _moved(BatchState.CANCELLED),
            "batch.done": _moved(BatchState.DONE),
            "batch.expired": _moved(BatchState.EXPIRED),
        },
        read=lambda row: (row["state"],),
    ),
    _Rule(  # the salt, without which no line is proved any more
        table=batch,
        subject=lambda row: str(row["batch_id"]),
        acts={"batch.submit": _set("kept"), "purge.batch": _set("destroyed")},
        read=lambda row: ("destroyed" if row["salt_nonce"] is None else "kept",),
    ),
    _Rule(
        table=paper,
        subject=lambda row: str(row["paper_id"]),
        acts=dict.fromkeys(
            ("report.ask", "report.make", "report.cancel", "report.file", "export.ask"),
            lambda entry: (entry.details["subject"], entry.details.get("filed_reference")),
        ),
        read=lambda row: (row["subject"], row["filed_reference"]),
    ),
    _Rule(
        table=export_note,
        subject=lambda row: str(row["paper_id"]),
        acts=dict.fromkeys(
            ("export.ask", "export.review"),
            lambda entry: tuple(entry.details[name] for name in _NOTED),
        ),
        read=lambda row: tuple(row[name] for name in _NOTED),
    ),
    _Rule(
        table=party_approval,
        subject=lambda row: str(row["approval_id"]),
        acts={"party.approve": lambda entry: (entry.details["party"], entry.details["until"])},
        read=lambda row: (row["party"], row["valid_until"].isoformat()),
    ),
    _Rule(
        table=text_use,
        subject=lambda row: str(row["batch_id"]),
        acts={"batch.submit": _said},
        read=lambda row: (row["fingerprint"].hex(), row["n_messages"]),
    ),
    _Rule(
        table=opt_out,
        subject=lambda row: str(row["number_bidx"].hex()),
        acts={
            "opt_out.add": lambda entry: (entry.actor, entry.details["source"], entry.at),
            "opt_out.remove": _gone,
        },
        read=lambda row: (row["by"], row["source"], to_ms(row["at"])),
    ),
    _Rule(
        table=bay_tie,
        subject=lambda row: str(row["bay"]),
        acts={"bay.learn": _tied, "bay.bind": _tied, "bay.unbind": _gone},
        read=lambda row: (row["iccid"], row["is_firm"], row["tied_by"], to_ms(row["tied_at"])),
    ),
    _Rule(
        table=modem,
        subject=lambda row: str(row["bay"]),
        acts={
            "modem.desired": lambda entry: (entry.details["desired"],),
            "bay.forget": lambda _entry: _UNTOLD,
        },
        read=lambda row: (row["desired_state"],),
    ),
    _Rule(
        table=admission,
        subject=lambda row: str(row["imei"]),
        acts={
            "admission.request": _admitting(AdmissionState.REQUESTED),
            "admission.approve": _admitting(AdmissionState.ADMITTED),
            "admission.expel": _admitting(AdmissionState.EXPELLED),
        },
        read=_admission,
    ),
    _Rule(
        table=elevation,
        subject=lambda row: str(row["elevation_id"]),
        acts={"elevation.grant": _set(None), "elevation.end": _ended},
        read=lambda row: (_ms(row["ended_at"]),),
    ),
    _Rule(
        table=qualification,
        subject=lambda row: str(row["account_id"]),
        acts=dict.fromkeys(
            ("qualification.record", "qualification.drill"),
            lambda entry: tuple(entry.details[name] for name in _QUALIFYING),
        ),
        read=lambda row: tuple(row[name] for name in _QUALIFYING),
    ),
    _Rule(
        table=dual_request,
        subject=lambda row: str(row["request_id"]),
        acts={
            "request.ask": _set(DualState.ASKED.value),
            "request.confirm": _decided(DualState.CONFIRMED),
            "request.refuse": _decided(DualState.REFUSED),
            "request.withdraw": _decided(DualState.WITHDRAWN),
            "request.spend": _decided(DualState.SPENT),
        },
        read=lambda row: (row["state"],),
    ),
    _Rule(
        table=data_key,
        subject=lambda row: f"{row['use']}:{row['generation']}",
        acts={"vault.rotate": _set(None)},
        read=lambda _row: (None,),
    ),
    _Rule(
        table=legal_hold,
        subject=lambda row: str(row["hold_id"]),
        acts={"hold.set": _set(None), "hold.lift": _ended},
        read=lambda row: (_ms(row["lifted_at"]),),
    ),
    _Rule(
        table=policy_version,
        subject=lambda row: str(row["version"]),
        acts=dict.fromkeys(
            ("policy.first", "policy.accept"), lambda entry: (entry.details["digest"],)
        ),
        read=lambda row: (row["digest"],),
    ),
    _Rule(
        table=sim,
        subject=lambda row: str(row["iccid"]),
        acts=dict.fromkeys(CARD_ACTS, _card),
        read=lambda row: (row["state"], row["revision"]),
    ),
    _Rule(
        table=violation_case,
        subject=lambda row: str(row["case_id"]),
        acts=dict.fromkeys(
            (
                "case.open",
                "case.decide",
                "case.appeal",
                "case.review",
                "case.close",
                "case.overdue",
            ),
            _case,
        ),
        read=lambda row: (row["state"], row["grade"], row["person_name"]),
    ),
    _Rule(
        table=handover,
        subject=lambda row: str(row["handover_id"]),
        acts=dict.fromkeys(
            ("handover.make", "handover.take"), lambda entry: (entry.details["is_taken"],)
        ),
        read=lambda row: (row["taken_by"] is not None,),
    ),
    _Rule(
        table=incident,
        subject=lambda row: str(row["incident_id"]),
        acts=dict.fromkeys(
            ("incident.open", "incident.acknowledge", "incident.close", "incident.overdue"),
            _incident,
        ),
        read=lambda row: (row["level"], row["state"]),
    ),
    _Rule(
        table=stop,
        subject=lambda row: str(row["stop_id"]),
        acts=dict.fromkeys(("stop.place", "stop.lift"), _stop_of),
        read=lambda row: (row["kind"], row["target"], row["lifted_at"] is None),
    ),
)
