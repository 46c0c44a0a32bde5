"""Cards, people and approved batches put into a store by its own functions, without the API."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from modemctl.lifecycle import BatchState, CardState
from modemctl.model import AccountId, BatchId, Category, Decision, Iccid
from modemctl.policy.approvals import SignedApproval
from modemctl.policy.content import render
from modemctl.policy.digest import (
    CHUNK_LINES,
    BatchHeader,
    Line,
    Standing,
    Totals,
    chunk_hash,
    encode_header,
    header_digest,
    leaf,
    line_jcs,
)
from modemctl.policy.signatures import sign_approval
from modemctl.sms import plan
from modemctl.store import accounts, authorities, batches, evidence, pins, sims, staging
from modemctl.store.transaction import Tx

SITE = "test"
GENERAL = "general"
SALES = "sales"
_STEPS = {
    Category.NOTICE: ("department_manager",),
    Category.PROMOTION: ("manager_in_charge", "general_manager"),
    Category.OTHER: ("manager",),
}
_YEARS = timedelta(days=3_650)


@dataclass(frozen=True)
class Person:
    """An account with a signing key of its own."""

    account_id: AccountId
    kid: str
    seed: bytes


def add_person(tx: Tx, name: str, *, department: str | None, kind: str | None = None) -> Person:
    """A person; with `kind`, authorised to take that step (or to operate) for the department."""
    account = accounts.add_account(
        tx, name=name, kind=accounts.AccountKind.PERSON, department=department, roles=("approver",)
    )
    seed = hashlib.sha256(name.encode()).digest()
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    since, until = tx.now - timedelta(days=1), tx.now + _YEARS
    authorities.add_approver_key(
        tx,
        kid=f"kid-{name}",
        account_id=account.account_id,
        public_key=key,
        valid_from=since,
        valid_until=until,
    )
    if kind is not None:
        authorities.add_authorisation(
            tx,
            kind=kind,
            department=department or "*",
            account_id=account.account_id,
            valid_from=since,
            valid_until=until,
            granted_by=account.account_id,
        )
    return Person(account_id=account.account_id, kid=f"kid-{name}", seed=seed)


@dataclass(frozen=True)
class Staff:
    """Who is needed for batches of every category."""

    drafter: Person
    checker: Person
    operators: dict[str, Person]
    approvers: dict[str, Person]


def add_staff(tx: Tx) -> Staff:
    """Drafter, checker, operators of both departments, an approver for each step."""
    steps = [step for chain in _STEPS.values() for step in chain]
    return Staff(
        drafter=add_person(tx, "drafter", department=SALES),
        checker=add_person(tx, "checker", department=SALES),
        operators={
            name: add_person(tx, f"operator-{name}", department=name, kind="operator")
            for name in (GENERAL, SALES)
        },
        approvers={step: add_person(tx, step, department=SALES, kind=step) for step in steps},
    )


def add_cards(
    tx: Tx, iccids: Sequence[str], *, department: str = GENERAL, pin: str | None = None
) -> None:
    """Issued, verified cards; with `pin`, all from one import."""
    sims.add(
        tx,
        [
            sims.NewCard(
                iccid=Iccid(iccid),
                department=department,
                state=CardState.ISSUED,
                verified_at=tx.now,
                verified_by="tester",
            )
            for iccid in iccids
        ],
    )
    if pin is not None:
        pins.add_import(tx, str(uuid.uuid4()), {Iccid(iccid): pin for iccid in iccids})


def amend_cards(tx: Tx, iccids: Sequence[str], **facts: object) -> None:
    """Change what the register says of cards; their rows stay sealed."""
    for iccid in iccids:
        sims.amend(tx, iccid, facts)


def add_batch(
    tx: Tx,
    staff: Staff,
    recipients: Sequence[str],
    *,
    template: str = "Hello",
    category: Category = Category.OTHER,
    department: str = SALES,
    card_group: str | None = None,
    priority: int = 1,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    state: BatchState = BatchState.RUNNING,
    batch_id: str | None = None,
    standing: Standing | None = None,
) -> BatchId:
    """A confirmed, approved batch in a state; its evidence is real."""
    batch_id = BatchId(batch_id or str(uuid.uuid4()))
    opens = (not_before or tx.now - timedelta(minutes=1)).replace(microsecond=0)
    closes = (not_after or tx.now + timedelta(days=1)).replace(microsecond=0)
    operating = department if category is Category.NOTICE else GENERAL
    operator = staff.operators[operating].account_id
    nonce = hashlib.sha256(batch_id.encode()).digest()
    batches.add_draft(
        tx,
        batches.NewBatch(
            batch_id=batch_id, category=category, priority=priority, department=department,
            party="own", drafter=staff.drafter.account_id, operator=operator,
            submitter=staff.drafter.account_id, template=template, card_group=card_group,
            starts_itself=False, not_before=opens, not_after=closes, salt_nonce=nonce,
            request_digest=nonce,
        ),
    )  # fmt: skip
    lines = [Line(line_no=i, to=to, variables={"n": str(i)}) for i, to in enumerate(recipients, 1)]
    leaves, n_segments = _stage(tx, batch_id, lines, template, tx.vault.batch_salt(batch_id, nonce))
    header = encode_header(
        BatchHeader(
            site_id=SITE, batch_id=batch_id, category=category, template=template,
            department=department, party="own", drafter=staff.drafter.account_id,
            submitter=staff.drafter.account_id, operator=operator, not_before=opens,
            not_after=closes, card_group=card_group, starts_itself=False, n_lines=len(lines),
            totals=Totals(n_messages=len(lines), n_segments=n_segments, n_removed=0,
                          removed_by={}, forcing=()),
            chunks=tuple(chunk_hash(chunk) for chunk in leaves), standing=standing,
        )
    )  # fmt: skip
    digest = header_digest(header)
    staging.freeze(
        tx,
        staging.Frozen(
            batch_id=batch_id, header=header, digest=digest, n_messages=len(lines), n_removed=0,
            n_segments=n_segments,
            recipients=sorted((tx.vault.blind_index(line.to), line.line_no) for line in lines),
            chunks=[staging.Chunk(chunk_no=i, leaves=chunk) for i, chunk in enumerate(leaves)],
        ),
    )  # fmt: skip
    _approve(tx, staff, batch_id, digest, category)
    for to in (BatchState.AWAITING_APPROVAL, BatchState.APPROVED, BatchState.RUNNING):
        if state is BatchState.CHECKED:
            break
        batches.move(tx, batch_id, to)
        if to is state:
            break
    return batch_id


def _stage(
    tx: Tx, batch_id: BatchId, lines: Sequence[Line], template: str, salt: bytes
) -> tuple[list[bytes], int]:
    staged, leaves = [], []
    for line in lines:
        octets = line_jcs(line)
        leaves.append(leaf(octets, salt=salt, line_no=line.line_no))
        staged.append(
            staging.StagedLine(
                line_no=line.line_no,
                to=line.to,
                recipient_bidx=tx.vault.blind_index(line.to),
                line_enc=evidence.seal_line(tx.vault, batch_id, line.line_no, octets),
                n_segments=plan(render(template, line.variables)).n_segments,
            )
        )
    out = staging.stage(tx, staging.Slice(batch_id=batch_id, lines=staged, removed=[], chunks=[]))
    assert not out, "the test's recipients are distinct and opted in"
    chunks = [b"".join(leaves[at : at + CHUNK_LINES]) for at in range(0, len(leaves), CHUNK_LINES)]
    return chunks, sum(line.n_segments for line in staged)


def _approve(tx: Tx, staff: Staff, batch_id: BatchId, digest: bytes, category: Category) -> None:
    evidence.add_confirmation(
        tx, batch_id=batch_id, account_id=staff.checker.account_id, digest=digest
    )
    for number, step in enumerate(_STEPS[category], 1):
        person = staff.approvers[step]
        jws = sign_approval(
            person.seed, kid=person.kid, digest=digest, batch_id=batch_id, step=number,
            approver=person.account_id, issued_at=tx.now, expires_at=tx.now + timedelta(days=6),
        )  # fmt: skip
        evidence.add_approval(
            tx,
            batch_id=batch_id,
            approval=SignedApproval(
                step=number, kid=person.kid, account_id=person.account_id, jws=jws,
                received_at=tx.now,
            ),
            decision=Decision.APPROVE,
        )  # fmt: skip


def numbers(n: int, *, start: int = 0) -> list[str]:
    """`n` distinct mobile numbers."""
    return [f"+86138{start + i:08d}" for i in range(n)]
