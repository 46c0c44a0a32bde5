"""What may be submitted: the request for a batch, checked against the site's rules."""

from __future__ import annotations

import hashlib
import re
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import rfc8785

from modemctl.config import CustomerRegister, LimitsSettings, Settings, TariffSettings
from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.model import BatchId, Category
from modemctl.policy.approvals import ApprovalRules
from modemctl.policy.content import ContentRules, has_control, variables_of
from modemctl.policy.emergencies import check_emergency
from modemctl.policy.hours import Quiet, next_open
from modemctl.policy.numbers import NumberRules
from modemctl.policy.origins import check_origin
from modemctl.policy.quotas import QuotaRules, setting_of, tightest
from modemctl.policy.standing import check_asked
from modemctl.service.content_lists import content_rules
from modemctl.sms import Unencodable, plan
from modemctl.store.texts import FloodRule

_GROUP: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MAX_TEXT: Final = 20_000
_MAX_NAME: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """What a client asks for. `drafter` and `operator` are account ids or names.

    `not_before` None means now, `not_after` None the site's usual time later. A strict list is
    refused for one bad line; else bad lines are taken out and listed. `emergency` says why one
    approver may let it go before its chain has signed. `list_owner` answers for the list, whose
    numbers come from `list_source`. With `runs_per_week` it is a standing approval: self-tests
    send under it to the department's own cards, so often a week, and it sends nothing itself.
    """

    batch_id: str
    category: str
    text: str = field(repr=False)
    department: str
    drafter: str
    operator: str
    party: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    card_group: str | None = None
    starts_itself: bool = False
    is_strict: bool = False
    emergency: str | None = None
    list_owner: str | None = None
    list_source: str | None = None
    runs_per_week: int | None = None

    def digest(self, list_sha256: bytes) -> bytes:
        """SHA-256 over request and list: tells a repeat from another batch with the same id."""
        members = {
            "batch_id": self.batch_id,
            "category": self.category,
            "text": self.text,
            "department": self.department,
            "drafter": self.drafter,
            "operator": self.operator,
            "party": self.party,
            "not_before": None if self.not_before is None else self.not_before.isoformat(),
            "not_after": None if self.not_after is None else self.not_after.isoformat(),
            "card_group": self.card_group,
            "starts_itself": self.starts_itself,
            "is_strict": self.is_strict,
            "list": list_sha256.hex(),
            **({} if self.emergency is None else {"emergency": self.emergency}),
            **({} if self.list_owner is None else {"list_owner": self.list_owner}),
            **({} if self.list_source is None else {"list_source": self.list_source}),
            **({} if self.runs_per_week is None else {"runs_per_week": self.runs_per_week}),
        }
        return hashlib.sha256(rfc8785.dumps(members)).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When a batch may send."""

    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionRules:
    """The slice of the settings that batches need."""

    approvals: ApprovalRules
    content: ContentRules
    flood: FloodRule
    test_numbers: frozenset[str] = field(repr=False)
    asks_register: bool
    region: str
    own_party: str
    default_window: timedelta
    quiet: dict[str, Quiet]
    limits: LimitsSettings
    quota: QuotaRules
    tariff: TariffSettings
    max_list_octets: int

    @classmethod
    def of(cls, settings: Settings) -> SubmissionRules:
        """The slice of these settings."""
        zone = ZoneInfo(settings.site.timezone)
        quiet: dict[str, Quiet] = {}
        for category in settings.approvals.chains:
            hours = Quiet.of(settings.hours, category, zone)
            if hours is not None:
                quiet[category] = hours
        return cls(
            approvals=ApprovalRules.of(settings.site.id, settings.approvals),
            content=content_rules(settings),
            test_numbers=frozenset(settings.content.test_numbers),
            asks_register=settings.content.customer_register is CustomerRegister.ENFORCE,
            flood=FloodRule(
                most=settings.content.same_text_recipients,
                within=timedelta(hours=settings.content.same_text_hours),
            ),
            region=settings.site.region,
            own_party=settings.approvals.own_party,
            default_window=timedelta(hours=settings.sms.validity_hours),
            quiet=quiet,
            limits=settings.limits,
            quota=QuotaRules.of(settings.limits, zone),
            tariff=settings.tariff,
            max_list_octets=settings.api.max_list_bytes,
        )

    def numbers(self, *, half_width_only: bool = False) -> NumberRules:
        """How numbers of a list are read."""
        return NumberRules(region=self.region, half_width_only=half_width_only)

    def customers_of(self, category: str, department: str) -> str | None:
        """The department whose customers alone may get a batch; None: whoever is on the list."""
        return department if self.asks_register and category == Category.NOTICE else None

    def check(self, request: BatchRequest, *, now: datetime) -> Window:
        """Check all that needs no list; the window comes with its defaults filled in.

        Raises:
            InvalidRequest: a field is wrong.
            PolicyRefused: SMS-02, SMS-04, SMS-08, SMS-09, SMS-12; SIM-08 where the text alone needs
                more segments than a limit allows.
        """
        _check_fields(request)
        self.approvals.chain(request.category)
        check_origin(request.category, request.list_owner, request.list_source)
        self.content.check(request.text, category=request.category)
        if not variables_of(request.text):
            self._check_length(request.text)
        window = self._window(request, now)
        if request.emergency is not None:
            self._check_emergency(request, window, now)
        if request.runs_per_week is not None:
            self._check_standing(request.runs_per_week, request, window, now)
        return window

    def _check_standing(
        self, runs_per_week: int, request: BatchRequest, window: Window, now: datetime
    ) -> None:
        check_asked(
            runs_per_week,
            request.category,
            request.text,
            window.not_after,
            starts_itself=request.starts_itself,
            longest=self.approvals.standing_life,
            now=now,
        )
        if request.emergency is not None:
            raise InvalidRequest("a standing approval is no emergency", field="emergency")

    def _check_emergency(self, request: BatchRequest, window: Window, now: datetime) -> None:
        check_emergency(
            request.emergency or "",
            request.category,
            window.not_after,
            rules=self.approvals.emergencies,
            now=now,
        )
        if request.starts_itself:
            raise InvalidRequest(
                "an emergency is started by its operator", field="starts_itself", value="true"
            )

    def _check_length(self, text: str) -> None:
        """All segments of a message are reserved together: they must fit the smallest cap."""
        try:
            n_segments = plan(text).n_segments
        except Unencodable:
            return  # each line is told so
        kind, cap = tightest(self.quota)
        if n_segments <= cap.most:
            return
        raise PolicyRefused(
            "SIM-08",
            f"the text needs {n_segments} segments, and {setting_of(kind, cap)} allows {cap.most}",
            field="text",
            cure=f"shorten it to {cap.most} segments, or have the limit raised",
        )

    def _window(self, request: BatchRequest, now: datetime) -> Window:
        longest = self.approvals.max_age
        not_before = _whole_ms(max(request.not_before or now, now))
        if not_before > now + longest:
            raise InvalidRequest(
                f"must lie within {longest} from now: no approval lasts longer",
                field="not_before",
                value=not_before.isoformat(),
            )
        usual = self.default_window
        if request.runs_per_week is not None:
            longest = self.approvals.standing_life
            usual = now + longest - not_before
        if request.emergency is not None:
            usual = min(usual, self.approvals.emergencies.life)
        not_after = _whole_ms(request.not_after or not_before + usual)
        if not_after <= not_before:
            raise InvalidRequest(
                "must lie after not_before and after now",
                field="not_after",
                value=not_after.isoformat(),
            )
        if not_after > now + longest:
            raise InvalidRequest(
                f"must lie within {longest} from now: no approval lasts longer",
                field="not_after",
                value=not_after.isoformat(),
            )
        quiet = self.quiet.get(request.category)
        if next_open(quiet, not_before, not_before=not_before, not_after=not_after) is None:
            raise InvalidRequest(
                "the window lies in quiet hours altogether", field="not_after", cure="widen it"
            )
        return Window(not_before=not_before, not_after=not_after)


def priority_of(category: str) -> int:
    """Notices go before all else."""
    return 0 if category == Category.NOTICE else 1


def new_batch_id(text: str) -> BatchId:
    """A client's batch id: a UUID in lower case.

    Raises:
        InvalidRequest: anything else.
    """
    try:
        is_uuid = str(uuid.UUID(text)) == text
    except ValueError:
        is_uuid = False
    if not is_uuid:
        raise InvalidRequest(
            "must be a UUID in lower case, made by the client", field="batch_id", value=text[:40]
        )
    return BatchId(text)


def _check_fields(request: BatchRequest) -> None:
    new_batch_id(request.batch_id)
    if not request.text.strip() or len(request.text) > _MAX_TEXT:
        raise InvalidRequest(f"must have 1 to {_MAX_TEXT} characters", field="text")
    if has_control(request.text):
        raise InvalidRequest("must not hold control characters", field="text")
    for name, value in (
        ("department", request.department),
        ("drafter", request.drafter),
        ("operator", request.operator),
    ):
        if not value.strip() or len(value) > _MAX_NAME:
            raise InvalidRequest(f"must have 1 to {_MAX_NAME} characters", field=name)
    if request.card_group is not None and not _GROUP.fullmatch(request.card_group):
        raise InvalidRequest("must be a word", field="card_group", value=request.card_group[:40])
    for name, at in (("not_before", request.not_before), ("not_after", request.not_after)):
        if at is not None and at.tzinfo is None:
            raise InvalidRequest("must carry its offset from UTC", field=name)


def _whole_ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)
