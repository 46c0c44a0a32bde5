"""What a request of two persons names, by kind: one that no act ever asks for is worth nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from modemctl.policy.dual import DualKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """Why no act could use such a request: the field, the rule, and where the right one stands."""

    field: str
    rule: str
    cure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    pattern: re.Pattern[str]
    rule: str
    cure: str


def _form(pattern: str, rule: str, cure: str) -> _Form:
    return _Form(pattern=re.compile(pattern), rule=rule, cure=cure)


_ICCID: Final = _form("89[0-9A-E]{16,20}", "must be a card's ICCID", "modemctl sims list tells it")
_FORMS: Final[Mapping[DualKind, _Form]] = {
    DualKind.PIN_REVEAL: _ICCID,
    DualKind.SUSPENSION_RELEASE: _ICCID,
    DualKind.KEY_ROTATION: _form("data|master", "must be data or master", "see docs/keys.md"),
    DualKind.POLICY_CHANGE: _form(
        "[0-9a-f]{64}", "must be the digest of the settings", "modemctl policy show tells it"
    ),
    DualKind.EXPORT: _form(
        "audit|cards|opt_outs|results:.+",
        "must be audit, cards, opt_outs or results:BATCH",
        "modemctl export make without a request tells what to ask for",
    ),
    DualKind.PURGE: _form("due", "must be due", "modemctl purge preview tells what is due"),
    DualKind.ERASURE: _form(
        "[0-9a-f]{32}", "must be the keyed hash of a number", "modemctl erase preview tells it"
    ),
    DualKind.EVIDENCE_PACKAGE: _form(
        "[a-z]+:.+", "must name what the package is about", "modemctl evidence preview tells it"
    ),
    DualKind.HOLD_LIFT: _form(
        "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "must be the id of a hold",
        "modemctl hold list tells it",
    ),
}
_OF_ROWS: Final = ("columns", "recipient", "purpose", "unmasked")
"""What the second person agrees to with an export of rows."""


def misfit(kind: DualKind, subject: str, details: Collection[str]) -> Misfit | None:
    """What of a request keeps every act from using it; None where one could."""
    form = _FORMS.get(kind)
    if form is not None and not form.pattern.fullmatch(subject):
        return Misfit(field="subject", rule=form.rule, cure=form.cure)
    missing = [name for name in _OF_ROWS if name not in details]
    if kind is DualKind.EXPORT and subject != "audit" and missing:
        return Misfit(
            field="details",
            rule=f"an export of rows names its {', '.join(missing)}",
            cure="modemctl export make without a request tells what to ask for",
        )
    return None
