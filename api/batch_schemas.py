"""What is asked and shown of batches."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api.parameters import Body, Moment
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.model import Decision
from modemctl.service.batch_views import may_read_text
from modemctl.service.batches import Batch, BatchRequest, BatchView, Recipient
from modemctl.service.emergencies import OpenEmergency
from modemctl.service.loop_tests import Proposal
from modemctl.service.principal import Principal


class NewBatch(Body):
    """The form of a bulk send (短信群发申请表)."""

    batch_id: str = Field(description="A UUID in lower case, made by the client; never reused.")
    category: str = Field(description="`notice`, `promotion`, `other`, or a configured one.")
    text: str = Field(description="The text; `{name}` stands for a variable of the line.")
    department: str
    drafter: str = Field(description="Account (id or name) that drafted text and range (SMS-11).")
    operator: str = Field(description="Account (id or name) that starts it (SMS-06).")
    party: str | None = Field(default=None, description="For whom; null: ourselves (SMS-09).")
    not_before: Moment | None = Field(default=None, description="Null: now.")
    not_after: Moment | None = Field(default=None, description="Null: as configured.")
    card_group: str | None = None
    starts_itself: bool = Field(default=False, description="Start at the window when approved.")
    is_strict: bool = Field(default=False, description="One bad line refuses the whole list.")
    emergency: str | None = Field(
        default=None,
        max_length=500,
        description="Why an emergency approver may let it go before its chain has signed.",
    )
    list_owner: str | None = Field(
        default=None,
        description="Account (id or name) of the person who answers for the list; a notice "
        "names one (SMS-02).",
    )
    list_source: str | None = Field(
        default=None,
        description="Where the list's numbers come from, 2 to 200 characters; a notice says so "
        "(SMS-02).",
    )

    runs_per_week: int | None = Field(
        default=None,
        ge=1,
        le=14,
        description="A standing approval: so many self-tests in seven days may send its text to "
        "its recipients, the department's own cards (SMS-09); it sends nothing itself.",
    )

    def request(self) -> BatchRequest:
        """The request without its list."""
        return BatchRequest(**self.model_dump(include=set(NewBatch.model_fields)))


class ListLine(Body):
    """One recipient."""

    to: str = Field(max_length=128)
    variables: dict[str, str] = Field(default_factory=dict, max_length=50)


class NewShortBatch(NewBatch):
    """A batch with its list in the same JSON body (up to `api.max_json_bytes`)."""

    recipients: list[ListLine | str] = Field(min_length=1)

    def lines(self) -> list[Recipient]:
        """The list, numbered from 1."""
        return [
            Recipient(line_no=line_no, to=one, variables={})
            if isinstance(one, str)
            else Recipient(line_no=line_no, to=one.to, variables=one.variables)
            for line_no, one in enumerate(self.recipients, 1)
        ]


class NewStanding(Body):
    """A standing approval to be asked for; its list is the department's active cards (SMS-09)."""

    batch_id: str = Field(description="A UUID in lower case, made by the client; never reused.")
    department: str
    drafter: str = Field(description="Account (id or name) that drafted it (SMS-11).")
    operator: str = Field(description="Account (id or name) of the general department's operator.")
    runs_per_week: int = Field(
        default=2, ge=1, le=14, description="Self-tests in seven days that may send."
    )
    days: int | None = Field(
        default=None, ge=1, le=90, description="Null: as long as the site allows."
    )
    text: str | None = Field(default=None, description="Null: a usual one.")

    def proposal(self) -> Proposal:
        """As the service takes it."""
        return Proposal(**self.model_dump())


class _Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class BatchSummary(_Shown):
    """A batch's row."""

    batch_id: str
    category: str
    state: BatchState
    reason: str
    department: str
    party: str
    drafter: str
    operator: str
    submitter: str
    text: str | None = Field(
        validation_alias="template",
        description="Null without `pii:read`, but for drafter and submitter.",
    )
    card_group: str | None
    starts_itself: bool
    not_before: datetime
    not_after: datetime
    n_messages: int
    n_removed: int
    n_segments: int
    created_at: datetime
    state_at: datetime

    @classmethod
    def row(cls, who: Principal, batch: Batch) -> BatchSummary:
        """The row as this account may see it."""
        row = BatchSummary.model_validate(batch)
        return row if may_read_text(who, batch) else row.model_copy(update={"text": None})


class EmergencySummary(BatchSummary):
    """A batch that one approver let go; its chain signs until `due_at`."""

    let_go_by: str
    let_go_at: datetime
    due_at: datetime
    is_overdue: bool
    entry: str = Field(description="The audit entry (node:number) that names who let it go.")

    @classmethod
    def line(cls, who: Principal, one: OpenEmergency) -> EmergencySummary:
        """The row as this account may see it."""
        row = BatchSummary.row(who, one.batch)
        more = {
            name: getattr(one, name)
            for name in cls.model_fields.keys() - BatchSummary.model_fields.keys()
        }
        return cls.model_validate({**row.model_dump(), "template": row.text, **more})


class BatchEstimate(_Shown):
    """What the batch comes to, as reckoned when its list was complete; it is signed, too.

    `cost` is decimal text, at most so much; `finish` null: not within its window; `limits` are the
    settings that make it wait.
    """

    n_cards: int
    cost: str
    currency: str
    finish: datetime | None
    limits: tuple[str, ...]


class BatchTotals(_Shown):
    """What approvers sign beside text and list; `forcing` are the characters that force UCS-2."""

    n_messages: int
    n_segments: int
    n_removed: int
    removed_by: Mapping[str, int]
    forcing: tuple[str, ...]
    estimate: BatchEstimate | None = Field(description="Null of batches of earlier versions.")


class BatchStep(_Shown):
    """One step of the chain; `approver` and what follows are null while it is missing."""

    step: int
    name: str
    approver: str | None
    received_at: datetime | None
    decision: Decision | None


class BatchIntake(_Shown):
    """How far a list that comes in just now has come; `share` is 0 … 1."""

    n_lines: int
    share: float


class BatchDetail(BatchSummary):
    """A batch with its chain and progress; `fault`: why its evidence cannot be trusted."""

    digest: str | None
    totals: BatchTotals | None
    confirmed_by: tuple[str, ...]
    steps: tuple[BatchStep, ...]
    progress: Mapping[SegmentState, int]
    finish_estimate: datetime | None
    intake: BatchIntake | None = Field(description="While its list comes in (`draft`), else null.")
    fault: str | None
    emergency: str | None = Field(description="Why its chain may sign afterwards; else null.")
    list_owner: str | None = Field(description="Account that answers for the list.")
    list_source: str | None = Field(description="Where the list's numbers come from.")
    runs_per_week: int | None = Field(
        description="Of a standing approval: self-tests in seven days that may send under it."
    )
    under: str | None = Field(
        description="The standing approval that a self-test's batch goes under; its steps show."
    )
    names: Mapping[str, str] = Field(description="Account → name, of all that stand above.")
    warnings: tuple[str, ...] = Field(
        description="What stands in its way now: nobody to sign a step, no card to send it."
    )

    @classmethod
    def of(cls, who: Principal, view: BatchView) -> Self:
        """The view as the API shows it to this account."""
        row = BatchSummary.row(who, view.batch)
        more = {
            name: getattr(view, name)
            for name in cls.model_fields.keys() - BatchSummary.model_fields.keys()
        }
        return cls.model_validate({**row.model_dump(), "template": row.text, **more})


class BatchSigner(_Shown):
    """Somebody who may sign the step now; `kids` are the keys that would count."""

    account_id: str
    name: str
    kids: tuple[str, ...]


class BatchSheet(_Shown):
    """What the next approver sees and signs: a JWS over `payload` with the nulls filled in."""

    digest: str
    header: str | None = Field(description="Holds the text: null as that is.")
    totals: BatchTotals
    examples: tuple[tuple[str, str], ...]
    step: int | None
    step_name: str | None
    signers: tuple[BatchSigner, ...]
    names: Mapping[str, str] = Field(description="Account → name, of those in the header.")
    payload: Mapping[str, str | int | None]


class RemovedLine(_Shown):
    """A line of the list that is not part of the batch; `masked` shows what stood there."""

    line_no: int
    masked: str
    reason: str
    policy: str | None


class Confirmation(Body):
    """What the second person has checked."""

    digest: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(
        description="The batch's digest, hexadecimal."
    )


class SignedWord(Body):
    """An approver's JWS (compact, `Ed25519` or `EdDSA`)."""

    jws: str = Field(max_length=8_192)


class BatchReason(Body):
    """Why; goes to the audit log."""

    reason: str = Field(min_length=1, max_length=500)
