"""What was approved, by whom, and whether it still is: the chain of approvals (SMS-01 … SMS-04).

A batch's lines become salted leaves, 1,024 of them a chunk, the chunks' hashes stand in the header
(RFC 8785 octets), and SHA-256 of the header is what approvers sign. So one line can be proved with
its own chunk, and nothing of it can be changed afterwards without being seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from modemctl.errors import PolicyRefused
from modemctl.model import AccountId, BatchId, Decision
from modemctl.policy.chains import (
    ALL_DEPARTMENTS,
    ApprovalRules,
    chain_policy,
    force_ends,
    may_take,
)
from modemctl.policy.content import render
from modemctl.policy.digest import (
    BatchHeader,
    Line,
    chunk_hash,
    chunk_of,
    decode_header,
    header_digest,
    leaf,
    leaf_in_chunk,
    line_jcs,
    read_line,
)
from modemctl.policy.emergencies import EMERGENCY_STEP
from modemctl.policy.evidence import (
    ApproverKey,
    Authority,
    BatchEvidence,
    Confirmation,
    LineEvidence,
    SignedApproval,
    Stated,
)
from modemctl.policy.signatures import Claims, kid_of, open_approval, sign_approval
from modemctl.policy.standing import check_run, check_standing

__all__ = [
    "ALL_DEPARTMENTS",
    "EMERGENCY_STEP",
    "ApprovalRules",
    "ApproverKey",
    "Authority",
    "BatchEvidence",
    "BatchHeader",
    "Confirmation",
    "Line",
    "LineEvidence",
    "NextStep",
    "SignedApproval",
    "Stated",
    "VerifiedBatch",
    "VerifiedLine",
    "chain_policy",
    "is_void",
    "kid_of",
    "line_jcs",
    "may_take",
    "require_open",
    "sign_approval",
    "verify_batch",
    "verify_header",
    "verify_line",
    "verify_next",
    "wanted_step",
]

FUTURE_LIMIT: Final = timedelta(minutes=5)
"""How far an approver's clock may be ahead of ours."""
_ANEW: Final = "the approver reads the sheet anew and signs it"
_NEW_KEY: Final = "the approver registers a new key and signs with it"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedBatch:
    """A batch whose whole chain of approvals was checked; holds until `approved_until`."""

    batch_id: BatchId
    header: BatchHeader
    digest: bytes
    approvers: tuple[AccountId, ...]
    approved_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLine:
    """Whom a message goes to and what it says, as approved."""

    line_no: int
    to: str = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """What an arriving signature does; a renewal takes the place of one with a distrusted key.

    With the last one the batch may run. Of an emergency, others review it afterwards, until the
    chain is whole.
    """

    approval: SignedApproval
    decision: Decision
    step_name: str
    is_last: bool
    is_renewal: bool = False
    emergency: str | None = None
    is_review: bool = False
    is_whole: bool = True


def verify_batch(evidence: BatchEvidence, *, rules: ApprovalRules, now: datetime) -> VerifiedBatch:
    """Check header, second person's confirmation and every step of the chain.

    Costs little when repeated: signatures are remembered by their octets, key state is not.

    Raises:
        PolicyRefused: SMS-01 unapproved, altered, wrongly signed, expired or replayed;
            SMS-02 … SMS-04 chain not complete or not by those entitled; SMS-11 approver took
            another part; SEC-04 not confirmed; SMS-09 a self-test's batch, or what it goes under.
    """
    if decode_header(evidence.header).under is not None:
        return _verify_run(evidence, rules=rules, now=now)
    header = verify_header(evidence, rules=rules)
    chain = rules.chain_of(header)
    if not evidence.approvals:
        raise PolicyRefused("SMS-01", "the batch is not approved", cure="get it approved")
    claims = _verify_whole(evidence, header, rules=rules, now=now)
    if len(claims) < chain.n_needed:
        raise PolicyRefused(
            chain_policy(header.category),
            f"the approval of {chain.steps[len(claims)]} is missing",
            cure=f"the chain of {header.category} is {', '.join(chain.steps)}",
        )
    if any(claim.decision is not Decision.APPROVE for claim in claims):
        raise PolicyRefused("SMS-01", "the batch was rejected")
    return VerifiedBatch(
        batch_id=evidence.batch_id,
        header=header,
        digest=header_digest(evidence.header),
        approvers=tuple(claim.approver for claim in claims),
        approved_until=min(force_ends(claim, rules, header) for claim in claims[: chain.n_needed]),
    )


def verify_header(evidence: BatchEvidence, *, rules: ApprovalRules) -> BatchHeader:
    """Check that the signed header is whole, of this batch and site, and confirmed (SEC-04).

    Raises:
        PolicyRefused: SMS-01 altered or replayed; SEC-04 not confirmed by a second person.
    """
    header = _own_header(evidence, rules)
    if header.under is not None:
        raise PolicyRefused("SMS-09", "a self-test's batch is neither confirmed nor signed")
    if header.standing is not None:
        check_standing(header)
    own = {header.drafter, header.submitter, header.operator}
    others = [one for one in evidence.confirmations if one.account_id not in own]
    if not others:
        raise PolicyRefused(
            "SEC-04",
            "no second person has confirmed text and list",
            cure="somebody other than drafter, submitter and operator confirms the digest",
        )
    if header_digest(evidence.header) not in {one.digest for one in others}:
        raise PolicyRefused("SMS-01", "the batch was changed after it was confirmed")
    return header


def verify_next(
    evidence: BatchEvidence, jws: str, *, kid: str, rules: ApprovalRules, now: datetime
) -> NextStep:
    """Check a signature that arrives now as the step that is wanted next (`wanted_step`).

    `evidence.keys` holds the key of `kid`, if it is registered, and `evidence.authorities` what
    its owner may do.

    Raises:
        PolicyRefused: as `verify_batch`; SMS-01 also when the chain is complete already.
    """
    header = verify_header(evidence, rules=rules)
    chain = rules.chain_of(header)
    step = wanted_step(evidence, n_steps=len(chain.steps))
    if step is None:
        raise PolicyRefused("SMS-01", "the chain of approvals is complete already")
    key = evidence.keys.get(kid)
    approval = SignedApproval(
        step=step,
        kid=kid,
        account_id=AccountId("") if key is None else key.account_id,
        jws=jws,
        received_at=now,
    )
    sound = tuple(one for one in evidence.approvals if not is_void(one, evidence))
    extended = replace(evidence, approvals=(*sound, approval))
    reviewed = step if step > chain.n_needed else None
    claims = _verify_steps(extended, header, rules=rules, now=now, reviewed=reviewed)
    return NextStep(
        approval=approval,
        decision=claims[step].decision,
        step_name=chain.steps[step - 1],
        is_last=wanted_step(extended, n_steps=chain.n_needed) is None,
        is_renewal=any(one.step == step for one in evidence.approvals),
        emergency=header.emergency,
        is_review=reviewed is not None,
        is_whole=wanted_step(extended, n_steps=len(chain.steps)) is None,
    )


def wanted_step(evidence: BatchEvidence, *, n_steps: int) -> int | None:
    """The step that is signed next: the first that is missing, or whose key is distrusted now.

    None where the chain is complete.
    """
    sound = {one.step for one in evidence.approvals if not is_void(one, evidence)}
    return next((step for step in range(1, n_steps + 1) if step not in sound), None)


def is_void(approval: SignedApproval, evidence: BatchEvidence) -> bool:
    """Whether it must be given anew; one whose key is unknown is no approval but tampering."""
    key = evidence.keys.get(approval.kid)
    return key is not None and key.is_distrusted


def require_open(batch: VerifiedBatch, *, now: datetime) -> None:
    """Check the signed window and the approval's own end.

    Raises:
        PolicyRefused: SMS-01, too early or too late.
    """
    if now < batch.header.not_before:
        raise PolicyRefused("SMS-01", "the approved window has not begun")
    if now >= batch.header.not_after:
        raise PolicyRefused("SMS-01", "the approved window is over")
    if now >= batch.approved_until:
        raise PolicyRefused("SMS-01", "the approval has expired", cure="get a new batch approved")


def verify_line(
    batch: VerifiedBatch, *, line_no: int, line: bytes, chunk_leaves: bytes, salt: bytes
) -> VerifiedLine:
    """Prove one stored line with its chunk; the text is rendered from the signed template.

    Raises:
        PolicyRefused: SMS-01, the line or its chunk is not what was approved.
    """
    header = batch.header
    chunk_no = chunk_of(line_no)
    if line_no < 1 or chunk_no >= len(header.chunks):
        raise PolicyRefused("SMS-01", "the line is not part of the approved list")
    if chunk_hash(chunk_leaves) != header.chunks[chunk_no]:
        raise PolicyRefused("SMS-01", "the list was changed after approval")
    if leaf(line, salt=salt, line_no=line_no) != leaf_in_chunk(chunk_leaves, line_no):
        raise PolicyRefused("SMS-01", "the recipient's line was changed after approval")
    proved = read_line(line)
    if proved.line_no != line_no:
        raise PolicyRefused("SMS-01", "the line is another one's")
    text = render(header.template, proved.variables)
    return VerifiedLine(line_no=line_no, to=proved.to, text=text)


def stated_by(header: BatchHeader) -> Stated:
    """What a batch's row has to say beside this header."""
    return Stated(
        category=header.category,
        department=header.department,
        template=header.template,
        card_group=header.card_group,
        not_before=header.not_before,
        not_after=header.not_after,
        starts_itself=header.starts_itself,
        drafter=header.drafter,
        operator=header.operator,
        submitter=header.submitter,
    )


# ---------------------------------------------------------------- one step after the other


def _verify_run(evidence: BatchEvidence, *, rules: ApprovalRules, now: datetime) -> VerifiedBatch:
    """A self-test's batch is proved by its standing approval, whole and at this moment (SMS-09)."""
    run, standing = _own_header(evidence, rules), evidence.standing
    above = None if standing is None else decode_header(standing.header)
    if standing is None or above is None or above.standing is None or above.under is not None:
        raise PolicyRefused("SMS-09", "a self-test's batch goes under a standing approval only")
    proved = verify_batch(standing, rules=rules, now=now)
    check_run(run, proved.header, digest=proved.digest, state=standing.state, now=now)
    return replace(
        proved,
        batch_id=evidence.batch_id,
        header=run,
        digest=header_digest(evidence.header),
    )


def _own_header(evidence: BatchEvidence, rules: ApprovalRules) -> BatchHeader:
    header = decode_header(evidence.header)
    if header.batch_id != evidence.batch_id or header.site_id != rules.site_id:
        raise PolicyRefused("SMS-01", "the header belongs to another batch or site")
    if stated_by(header) != evidence.stated:
        raise PolicyRefused("SMS-01", "the batch was changed after it was frozen")
    return header


def _verify_whole(
    evidence: BatchEvidence, header: BatchHeader, *, rules: ApprovalRules, now: datetime
) -> Sequence[Claims]:
    numbers = sorted(one.step for one in evidence.approvals)
    if numbers != list(range(1, len(numbers) + 1)):
        raise PolicyRefused(chain_policy(header.category), "a step of the chain was passed over")
    return list(_verify_steps(evidence, header, rules=rules, now=now).values())


def _verify_steps(
    evidence: BatchEvidence,
    header: BatchHeader,
    *,
    rules: ApprovalRules,
    now: datetime,
    reviewed: int | None = None,
) -> Mapping[int, Claims]:
    """Each signature for itself, and that nobody signed twice; steps may be missing.

    What lets the batch run must be in force; where a step is `reviewed` afterwards, that one alone.
    """
    chain = rules.chain_of(header)
    steps = chain.steps
    checkers = {one.account_id for one in evidence.confirmations}
    taken = {header.drafter, header.submitter, header.operator, *checkers}
    claims: dict[int, Claims] = {}
    for approval in sorted(evidence.approvals, key=lambda one: one.step):
        if approval.step > len(steps):
            raise PolicyRefused("SMS-01", "there are more approvals than steps")
        step = steps[approval.step - 1]
        claim = _signed_claims(evidence, approval)
        _require_same_batch(claim, evidence, approval, step=step)
        _require_another_person(claim.approver, taken)
        _require_in_time(claim, evidence.keys[approval.kid], approval, now=now)
        counts = approval.step <= chain.n_needed if reviewed is None else approval.step == reviewed
        if counts and now >= force_ends(claim, rules, header):
            raise PolicyRefused("SMS-01", "the approval has expired", cure="get a new one")
        _require_entitled(claim.approver, evidence, approval, step=step, header=header, rules=rules)
        taken.add(claim.approver)
        claims[approval.step] = claim
    return claims


def _signed_claims(evidence: BatchEvidence, approval: SignedApproval) -> Claims:
    key = evidence.keys.get(approval.kid)
    if key is None:
        raise _unsound(
            "the approval is signed with a key that is not registered",
            cure="two administrators register its public half: modemctl account approver-key",
        )
    revoked_before = key.revoked_at is not None and key.revoked_at <= approval.received_at
    if revoked_before or key.is_distrusted:
        raise _unsound("the approval is signed with a key that was revoked", cure=_NEW_KEY)
    claims = open_approval(approval.jws, kid=approval.kid, public_key=key.public_key)
    if not claims.approver == key.account_id == approval.account_id:
        raise _unsound(
            "the approval is signed with somebody else's key",
            cure="approver is the account id of the owner of the key that kid names",
        )
    return claims


def _unsound(rule: str, *, cure: str) -> PolicyRefused:
    return PolicyRefused("SMS-01", rule, cure=cure)


def _require_same_batch(
    claims: Claims, evidence: BatchEvidence, approval: SignedApproval, *, step: str
) -> None:
    if claims.batch_id != evidence.batch_id:
        raise _unsound("the approval was given for another batch", cure=_ANEW)
    if claims.digest != header_digest(evidence.header):
        raise _unsound("the batch is not what the approver signed", cure=_ANEW)
    if claims.step != approval.step:
        raise _unsound(f"the approval was given for another step than {step}", cure=_ANEW)


def _require_another_person(approver: AccountId, taken: set[AccountId]) -> None:
    if approver in taken:
        raise PolicyRefused(
            "SMS-11",
            "an approver is neither drafter, submitter, checker, operator nor twice in a chain",
            cure="another entitled person approves",
        )


def _require_in_time(
    claims: Claims,
    key: ApproverKey,
    approval: SignedApproval,
    *,
    now: datetime,
) -> None:
    if claims.issued_at > min(now, approval.received_at) + FUTURE_LIMIT:
        raise _unsound("the approval was issued in the future", cure="set the signer's clock")
    if claims.expires_at <= claims.issued_at or approval.received_at >= claims.expires_at:
        raise _unsound("the approval had expired when it arrived", cure=_ANEW)
    if not key.valid_from <= approval.received_at < key.valid_until:
        raise _unsound("the approver's key was not valid at receipt", cure=_NEW_KEY)


def _require_entitled(
    approver: AccountId,
    evidence: BatchEvidence,
    approval: SignedApproval,
    *,
    step: str,
    header: BatchHeader,
    rules: ApprovalRules,
) -> None:
    is_entitled = any(
        one.account_id == approver
        and one.is_in_force(approval.received_at)
        and may_take(
            step,
            one,
            department=header.department,
            general_department=rules.general_department,
        )
        for one in evidence.authorities
    )
    if not is_entitled:
        raise PolicyRefused(
            chain_policy(header.category),
            f"the approver is not authorised as {step} for department {header.department}",
            cure="an account with this authorisation approves",
        )
