"""What each act in the audit log leaves of the row that it is about, table by table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from sqlalchemy import RowMapping, Table

from modemctl.lifecycle import BATCH, BatchState, CardState
from modemctl.policy.admission import AdmissionState
from modemctl.policy.dual import OPEN, DualState
from modemctl.store import webhooks
from modemctl.store.accounts import AccountState
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
    webhook,
)

Row: TypeAlias = tuple[object, ...]

TAKEN_OUT: Final[Row] = ("taken out and made anew",)
UNTOLD: Final[Row] = ()
"""What an entry leaves that does not say it: the row is not judged until a later one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of the log; `before` is what those before it left of the row, None for nothing."""

    action: str
    actor: str
    at: int
    details: Mapping[str, object]
    before: Row | None


Act: TypeAlias = Callable[[Entry], Row | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How entries make a table's rows: `acts` by action, `read` for what is compared.

    `subject` is the key of a row as the log writes it.
    """

    table: Table
    subject: Callable[[RowMapping], str]
    acts: Mapping[str, Act]
    read: Callable[[RowMapping], Row]


def _set(*values: object) -> Act:
    return lambda _entry: values


def _decided(state: DualState) -> Act:
    """What was over had been put back when it was decided anew: no row is right after that."""
    opened = {None, *((one.value,) for one in OPEN)}
    return lambda entry: (state.value,) if entry.before in opened else ("over",)


def _moved(state: BatchState) -> Act:
    """What was over had been put back when it was moved anew: no row is right after that."""
    over = {None, *((one.value,) for one in BatchState if BATCH[one]), UNTOLD}
    return lambda entry: (state.value,) if entry.before in over else ("over",)


def _gone(_entry: Entry) -> None:
    return None


def _ended(entry: Entry) -> Row:
    return (entry.at,)


def _ms(at: datetime | None) -> int | None:
    return None if at is None else to_ms(at)


def _tied(entry: Entry) -> Row:
    """A bay learns another card only knowing the one before; else its row had been taken out."""
    was = entry.before
    if entry.action == "bay.learn" and was and was[0] != entry.details.get("before"):
        return TAKEN_OUT
    return entry.details["iccid"], entry.action == "bay.bind", entry.actor, entry.at


def _admitting(state: AdmissionState) -> Act:
    return lambda entry: (state.value, entry.at)


def _admission(row: RowMapping) -> Row:
    is_asked = row["state"] == AdmissionState.REQUESTED  # it may tell who expelled it before
    at = row["requested_at"] if is_asked else row["decided_at"] or row["requested_at"]
    return row["state"], _ms(at)


def _card(entry: Entry) -> Row:
    """State and revision of a card; acts before schema 0022 told no revision, and no pause."""
    told = entry.details.get("after", entry.details.get("state"))
    if entry.action in _CORRECTIONS:
        told = None  # before and after of a number or a last day
    if told is None and not entry.before:
        return UNTOLD
    state = CardState(str(told)).value if told is not None else (entry.before or ("",))[0]
    return state, entry.details.get("revision", 0)


def _account(entry: Entry) -> Row:
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


def _authorised(entry: Entry) -> Row:
    """When it was ended, and until when it was to last."""
    if entry.action == "authorisation.grant":
        return None, entry.details["until"]
    if not entry.before:
        return UNTOLD
    ended, until = entry.before
    if entry.action == "authorisation.withdraw":
        return entry.at, until
    return ended, entry.details["until"]


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _approved(entry: Entry) -> Row | None:
    state = entry.details.get("state")  # earlier versions did not say whether it was the last step
    if state is None:
        return UNTOLD
    if entry.before == (state,):  # an emergency's chain signs afterwards, and moves nothing
        return entry.before
    return _moved(BatchState(str(state)))(entry)


def _case(entry: Entry) -> Row:
    return entry.details["state"], entry.details["grade"], entry.details["person"]


def _incident(entry: Entry) -> Row:
    return entry.details["level"], entry.details["state"]


def _stop_of(entry: Entry) -> Row:
    return entry.details["kind"], entry.details["target"], entry.action == "stop.place"


def _said(entry: Entry) -> Row:
    """Text and number of messages; earlier versions did not tell the text."""
    text = entry.details.get("text")
    return UNTOLD if text is None else (text, entry.details["messages"])


def _endpoint(entry: Entry) -> Row:
    return tuple(entry.details[name] for name in webhooks.REPLAYED)


CARD_ACTS: Final = (
    "sim.add", "sim.complete", "sim.state", "sim.verify", "sim.pause", "sim.resume", "sim.request",
    "sim.carrier", "sim.replace", "sim.number", "sim.lease", "sim.identity",
    "sim.zone",
)  # fmt: skip
"""Acts that change a card's row; each tells the revision that it left."""

_CORRECTIONS: Final = frozenset({"sim.number", "sim.lease", "sim.zone"})  # the state stays
TYING: Final = frozenset({"bay.learn", "bay.bind"})
"""Acts after which the card is in no other bay, and the bay has no other card."""
_QUALIFYING: Final = ("hours", "score", "trained_on", "agreement_on", "failed_drills")
_NOTED: Final = ("recipient", "purpose", "request_id", "review_note")
RULES: Final[Sequence[Rule]] = (
    Rule(
        table=account,
        subject=lambda row: str(row["name"]),
        acts=dict.fromkeys(("account.create", "account.change", "account.state"), _account),
        read=lambda row: (row["department"], json.loads(row["roles"]), row["state"]),
    ),
    Rule(
        table=api_key,
        subject=lambda row: str(row["key_id"]),
        acts={"key.issue": _set(None), "key.revoke": _ended},
        read=lambda row: (_ms(row["revoked_at"]),),
    ),
    Rule(
        table=approver_key,
        subject=lambda row: str(row["kid"]),
        acts={
            "approver_key.register": _set(None),
            "approver_key.revoke": lambda entry: (entry.details["reason"],),
        },
        read=lambda row: (row["revoke_reason"],),
    ),
    Rule(
        table=authorisation,
        subject=lambda row: str(row["authorisation_id"]),
        acts=dict.fromkeys(
            ("authorisation.grant", "authorisation.hand_over", "authorisation.withdraw"),
            _authorised,
        ),
        read=lambda row: (_ms(row["revoked_at"]), _iso(row["valid_until"])),
    ),
    Rule(
        table=batch,
        subject=lambda row: str(row["batch_id"]),
        acts={
            "batch.submit": _moved(BatchState.CHECKED),
            "batch.run": _moved(BatchState.RUNNING),
            "batch.confirm": _moved(BatchState.AWAITING_APPROVAL),
            "batch.approve": _approved,
            "batch.reject": _moved(BatchState.REJECTED),
            "batch.withdraw": _moved(BatchState.WITHDRAWN),
            "batch.start": _moved(BatchState.RUNNING),
            "batch.resume": _moved(BatchState.RUNNING),
            "batch.release": _moved(BatchState.APPROVED),
            "batch.hold": _moved(BatchState.HELD),
            "batch.refused": _moved(BatchState.HELD),
            "batch.cancel": _moved(BatchState.CANCELLED),
            "batch.done": _moved(BatchState.DONE),
            "batch.expired": _moved(BatchState.EXPIRED),
        },
        read=lambda row: (row["state"],),
    ),
    Rule(  # the salt, without which no line is proved any more
        table=batch,
        subject=lambda row: str(row["batch_id"]),
        acts={
            "batch.submit": _set("kept"),
            "batch.run": _set("kept"),
            "purge.batch": _set("destroyed"),
        },
        read=lambda row: ("destroyed" if row["salt_nonce"] is None else "kept",),
    ),
    Rule(
        table=paper,
        subject=lambda row: str(row["paper_id"]),
        acts=dict.fromkeys(
            ("report.ask", "report.make", "report.cancel", "report.file", "export.ask"),
            lambda entry: (entry.details["subject"], entry.details.get("filed_reference")),
        ),
        read=lambda row: (row["subject"], row["filed_reference"]),
    ),
    Rule(
        table=export_note,
        subject=lambda row: str(row["paper_id"]),
        acts=dict.fromkeys(
            ("export.ask", "export.review"),
            lambda entry: tuple(entry.details[name] for name in _NOTED),
        ),
        read=lambda row: tuple(row[name] for name in _NOTED),
    ),
    Rule(
        table=party_approval,
        subject=lambda row: str(row["approval_id"]),
        acts={"party.approve": lambda entry: (entry.details["party"], entry.details["until"])},
        read=lambda row: (row["party"], row["valid_until"].isoformat()),
    ),
    Rule(
        table=text_use,
        subject=lambda row: str(row["batch_id"]),
        acts={"batch.submit": _said},
        read=lambda row: (row["fingerprint"].hex(), row["n_messages"]),
    ),
    Rule(
        table=opt_out,
        subject=lambda row: str(row["number_bidx"].hex()),
        acts={
            "opt_out.add": lambda entry: (entry.actor, entry.details["source"], entry.at),
            "opt_out.remove": _gone,
        },
        read=lambda row: (row["by"], row["source"], to_ms(row["at"])),
    ),
    Rule(
        table=bay_tie,
        subject=lambda row: str(row["bay"]),
        acts={"bay.learn": _tied, "bay.bind": _tied, "bay.unbind": _gone},
        read=lambda row: (row["iccid"], row["is_firm"], row["tied_by"], to_ms(row["tied_at"])),
    ),
    Rule(
        table=modem,
        subject=lambda row: str(row["bay"]),
        acts={
            "modem.desired": lambda entry: (entry.details["desired"],),
            "bay.forget": lambda _entry: UNTOLD,
        },
        read=lambda row: (row["desired_state"],),
    ),
    Rule(
        table=admission,
        subject=lambda row: str(row["imei"]),
        acts={
            "admission.request": _admitting(AdmissionState.REQUESTED),
            "admission.approve": _admitting(AdmissionState.ADMITTED),
            "admission.expel": _admitting(AdmissionState.EXPELLED),
        },
        read=_admission,
    ),
    Rule(
        table=elevation,
        subject=lambda row: str(row["elevation_id"]),
        acts={"elevation.grant": _set(None), "elevation.end": _ended},
        read=lambda row: (_ms(row["ended_at"]),),
    ),
    Rule(
        table=qualification,
        subject=lambda row: str(row["account_id"]),
        acts=dict.fromkeys(
            ("qualification.record", "qualification.drill"),
            lambda entry: tuple(entry.details[name] for name in _QUALIFYING),
        ),
        read=lambda row: tuple(row[name] for name in _QUALIFYING),
    ),
    Rule(
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
    Rule(
        table=data_key,
        subject=lambda row: f"{row['use']}:{row['generation']}",
        acts={"vault.rotate": _set(None)},
        read=lambda _row: (None,),
    ),
    Rule(
        table=legal_hold,
        subject=lambda row: str(row["hold_id"]),
        acts={"hold.set": _set(None), "hold.lift": _ended},
        read=lambda row: (_ms(row["lifted_at"]),),
    ),
    Rule(
        table=policy_version,
        subject=lambda row: str(row["version"]),
        acts=dict.fromkeys(
            ("policy.first", "policy.accept"), lambda entry: (entry.details["digest"],)
        ),
        read=lambda row: (row["digest"],),
    ),
    Rule(
        table=sim,
        subject=lambda row: str(row["iccid"]),
        acts=dict.fromkeys(CARD_ACTS, _card),
        read=lambda row: (row["state"], row["revision"]),
    ),
    Rule(
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
    Rule(
        table=handover,
        subject=lambda row: str(row["handover_id"]),
        acts=dict.fromkeys(
            ("handover.make", "handover.take"), lambda entry: (entry.details["is_taken"],)
        ),
        read=lambda row: (row["taken_by"] is not None,),
    ),
    Rule(
        table=incident,
        subject=lambda row: str(row["incident_id"]),
        acts=dict.fromkeys(
            ("incident.open", "incident.acknowledge", "incident.close", "incident.overdue"),
            _incident,
        ),
        read=lambda row: (row["level"], row["state"]),
    ),
    Rule(
        table=stop,
        subject=lambda row: str(row["stop_id"]),
        acts=dict.fromkeys(("stop.place", "stop.lift"), _stop_of),
        read=lambda row: (row["kind"], row["target"], row["lifted_at"] is None),
    ),
    Rule(
        table=webhook,
        subject=lambda row: str(row["name"]),
        acts={
            **dict.fromkeys(
                (
                    "webhook.add",
                    "webhook.pause",
                    "webhook.resume",
                    "webhook.rotate",
                    "webhook.disable",
                ),
                _endpoint,
            ),
            "webhook.remove": _gone,
        },
        read=webhooks.replayed,
    ),
)
