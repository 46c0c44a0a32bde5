"""How a batch is shown: its view, the sheet to sign, a message's result, the estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from modemctl.errors import PolicyRefused, TamperedError
from modemctl.lifecycle import BATCH, SegmentState
from modemctl.model import AccountId, Category, Decision, mask_number
from modemctl.policy.approvals import (
    ApprovalRules,
    BatchEvidence,
    SignedApproval,
    is_void,
    wanted_step,
)
from modemctl.policy.content import render
from modemctl.policy.digest import BatchHeader, Totals, decode_header
from modemctl.policy.signatures import open_approval
from modemctl.service.previews import foresee
from modemctl.service.principal import Principal, Scope
from modemctl.service.staging import Progress
from modemctl.service.submission import SubmissionRules
from modemctl.store.batches import Batch, Sight
from modemctl.store.messages import Message
from modemctl.store.pools import Pool
from modemctl.store.signers import Signer
from modemctl.store.transaction import Json

_UNSENT = (SegmentState.QUEUED, SegmentState.LEASED, SegmentState.SUBMITTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step of the chain; all of the rest is None while it is missing."""

    step: int
    name: str
    approver: AccountId | None
    received_at: datetime | None
    decision: Decision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView:
    """A batch as people see it. `fault` says why its evidence cannot be trusted.

    `intake` is there while its list comes in; `warnings` say what stands in its way now.
    `runs_per_week`: of a standing approval; `under`: the one that a self-test's batch goes under,
    whose steps it shows.
    """

    batch: Batch
    digest: str | None
    totals: Totals | None
    confirmed_by: tuple[AccountId, ...]
    steps: tuple[StepView, ...]
    progress: Mapping[SegmentState, int]
    finish_estimate: datetime | None
    intake: Progress | None
    fault: str | None
    emergency: str | None
    list_owner: AccountId | None
    list_source: str | None
    runs_per_week: int | None
    under: str | None
    names: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    @property
    def people(self) -> frozenset[str]:
        """The accounts that it speaks of."""
        steps = {one.approver for one in self.steps if one.approver is not None}
        one = self.batch
        owners = () if self.list_owner is None else (self.list_owner,)
        named = (one.drafter, one.submitter, one.operator)
        return frozenset({*named, *owners, *self.confirmed_by, *steps})


@dataclass(frozen=True, slots=True, kw_only=True)
class SignSheet:
    """What an approver sees and signs: `payload` with `approver`, `iat`, `exp` to be filled in.

    `header` holds the text; None for who may not read it. `signers` may take the step now, `names`
    are those of the accounts in the header.
    """

    digest: str
    header: str | None = field(repr=False)
    totals: Totals
    examples: tuple[tuple[str, str], ...] = field(repr=False)
    step: int | None
    step_name: str | None
    signers: tuple[Signer, ...]
    names: Mapping[str, str]
    payload: Mapping[str, Json]


def sight_of(who: Principal, general_department: str) -> Sight | None:
    """Which batches an account sees; None sees all (SEC-01)."""
    if who.department is None:
        return None
    return Sight(department=who.department, is_general=who.department == general_department)


def may_see(sight: Sight | None, department: str, category: str) -> bool:
    """Whether a batch of this department and category is in sight."""
    if sight is None or sight.department == department:
        return True
    return sight.is_general and category != Category.NOTICE


def may_read_text(who: Principal, found: Batch) -> bool:
    """Whether the text is shown: to `pii:read`, and to who drafted or submitted it (TEL-11)."""
    return Scope.PII_READ in who.scopes or who.account_id in {found.drafter, found.submitter}


def view(
    found: Batch,
    known: BatchEvidence | TamperedError | None,
    progress: Mapping[SegmentState, int],
    *,
    rules: ApprovalRules,
    finish: datetime | None,
    intake: Progress | None,
) -> BatchView:
    """Put a batch's view together; faulty evidence is shown, not hidden."""
    header, fault = None, None
    try:
        header = None if found.header is None else decode_header(found.header)
    except PolicyRefused as refusal:
        fault = f"{refusal.policy}: {refusal.rule}"
    if isinstance(known, TamperedError):
        known, fault = None, f"SMS-01: {known}"
    if known is not None and known.standing is not None:
        known = known.standing
    confirmed = () if known is None else tuple(one.account_id for one in known.confirmations)
    standing = None if header is None else header.standing
    return BatchView(
        batch=found,
        digest=None if found.digest is None else found.digest.hex(),
        totals=None if header is None else header.totals,
        confirmed_by=confirmed,
        steps=_steps(_chain(found, header, rules), known),
        emergency=None if header is None else header.emergency,
        list_owner=None if header is None else header.list_owner,
        list_source=None if header is None else header.list_source,
        runs_per_week=None if standing is None else standing.runs_per_week,
        under=found.under,
        progress=progress,
        finish_estimate=finish,
        intake=intake,
        fault=fault,
        names={},
    )


def _chain(found: Batch, header: BatchHeader | None, rules: ApprovalRules) -> Sequence[str]:
    """The names of its steps; none where the settings know its category no more."""
    try:
        return rules.chain(found.category) if header is None else rules.chain_of(header).steps
    except PolicyRefused:
        return ()


def _steps(chain: Sequence[str], known: BatchEvidence | None) -> tuple[StepView, ...]:
    found = () if known is None else known.approvals
    signed = {one.step: one for one in found if known is not None and not is_void(one, known)}
    return tuple(
        StepView(
            step=step,
            name=name,
            approver=signed[step].account_id if step in signed else None,
            received_at=signed[step].received_at if step in signed else None,
            decision=_decision(signed[step], known) if step in signed and known else None,
        )
        for step, name in enumerate(chain, 1)
    )


def _decision(approval: SignedApproval, known: BatchEvidence) -> Decision | None:
    """What was signed, from the signature's own words; None where it is not sound."""
    key = known.keys.get(approval.kid)
    if key is None:
        return None
    try:
        return open_approval(approval.jws, kid=key.kid, public_key=key.public_key).decision
    except PolicyRefused:
        return None


def sign_sheet(
    found: Batch,
    known: BatchEvidence | TamperedError,
    examples: Sequence[Message],
    *,
    rules: ApprovalRules,
    who: Principal,
) -> SignSheet:
    """What the next approver sees and signs, as far as `who` may see it.

    Raises:
        PolicyRefused: SMS-01, the stored header was changed.
    """
    if isinstance(known, TamperedError):
        raise PolicyRefused("SMS-01", str(known)) from known
    header = decode_header(known.header)
    chain = rules.chain_of(header).steps
    step = wanted_step(known, n_steps=len(chain))
    digest = "" if found.digest is None else found.digest.hex()
    is_masked = Scope.PII_READ not in who.scopes
    template = header.template if may_read_text(who, found) else ""
    return SignSheet(
        digest=digest,
        header=known.header.decode() if template else None,
        totals=header.totals,
        examples=tuple(_example(one, template, is_masked=is_masked) for one in examples),
        step=step,
        step_name=None if step is None else chain[step - 1],
        signers=(),
        names={},
        payload={
            "digest": digest,
            "batch_id": found.batch_id,
            "step": step,
            "decision": "approve",
            "approver": None,
            "iat": None,
            "exp": None,
        },
    )


def _example(one: Message, template: str, *, is_masked: bool) -> tuple[str, str]:
    if one.line is None:
        return ("", "this line was tampered with")
    if is_masked:
        return (mask_number(one.line.to), template)
    return (one.line.to, render(template, one.line.variables))


def result_of(one: Message, *, is_masked: bool) -> Mapping[str, Json]:
    """A message's outcome as a JSON object; times are ISO 8601, a missing one is null."""
    to = None if one.line is None else one.line.to
    return {
        "message_id": one.message_id,
        "line_no": one.line_no,
        "to": to if to is None or not is_masked else mask_number(to),
        "state": one.state,
        "iccid": one.iccid,
        "segments": [
            {
                "segment_id": part.segment_id,
                "seq": part.seq,
                "state": part.state,
                "sent_at": _iso(part.sent_at),
                "final_at": _iso(part.final_at),
                "cause": part.cause,
            }
            for part in one.segments
        ],
    }


def finish_estimate(
    found: Batch,
    progress: Mapping[SegmentState, int],
    pool: Pool,
    *,
    rules: SubmissionRules,
    now: datetime,
) -> datetime | None:
    """About when the last segment leaves, beside others; None if not within its window."""
    n_open = n_unsent(found, progress)
    if not n_open:
        return None
    each = max(1.0, found.n_segments / max(1, found.n_messages))
    n_messages = max(1, round(n_open / each))
    return foresee(found, pool, rules, n_segments=n_open, n_messages=n_messages, now=now).finish


def n_unsent(found: Batch, progress: Mapping[SegmentState, int]) -> int:
    """How many segments may still leave; none of a batch that is over."""
    return sum(progress.get(state, 0) for state in _UNSENT) if BATCH[found.state] else 0


def _iso(at: datetime | None) -> str | None:
    """A moment as the other answers write it: one form for strict parsers."""
    return None if at is None else at.isoformat().replace("+00:00", "Z")
