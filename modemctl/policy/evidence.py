"""What an approval stands on, as values: signatures, keys, authorities, confirmations, lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from modemctl.model import AccountId, BatchId


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedApproval:
    """An approver's word for one step (1, 2, …), as it was received."""

    step: int
    kid: str
    account_id: AccountId
    jws: str = field(repr=False)
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproverKey:
    """An approver's registered public key (32 octets, Ed25519).

    A distrusted one (lost, compromised) proves nothing any more; one that was merely replaced
    still proves what came before.
    """

    kid: str
    account_id: AccountId
    public_key: bytes
    valid_from: datetime
    valid_until: datetime
    revoked_at: datetime | None
    is_distrusted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """An account may take the step `kind` for a department between two points of time."""

    kind: str
    department: str
    account_id: AccountId
    valid_from: datetime
    valid_until: datetime
    revoked_at: datetime | None

    def is_in_force(self, at: datetime) -> bool:
        """Whether it counted at `at`; what was revoked later counted until then."""
        is_revoked = self.revoked_at is not None and self.revoked_at <= at
        return self.valid_from <= at < self.valid_until and not is_revoked


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """A second person has checked text and list (SEC-04); `digest` is what that person saw."""

    account_id: AccountId
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the batch's row says beside its signed header; the two must agree."""

    category: str
    department: str
    template: str = field(repr=False)
    card_group: str | None
    not_before: datetime
    not_after: datetime
    starts_itself: bool
    drafter: str
    operator: str
    submitter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEvidence:
    """All that a batch's approval stands on; rows that authorise had their MACs checked.

    `state` is its row's. `standing`: what the self-test's batch goes under, where it is one.
    """

    batch_id: BatchId
    header: bytes = field(repr=False)
    stated: Stated
    approvals: tuple[SignedApproval, ...]
    keys: Mapping[str, ApproverKey]
    authorities: tuple[Authority, ...]
    confirmations: tuple[Confirmation, ...]
    state: str = ""
    standing: BatchEvidence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEvidence:
    """One message's stored line with what proves it; `salt` is the batch's."""

    batch_id: BatchId
    line_no: int
    line: bytes = field(repr=False)
    chunk_leaves: bytes = field(repr=False)
    salt: bytes = field(repr=False)
