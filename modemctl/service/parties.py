"""Third parties for whom the company lets batches be sent: two persons say so (SMS-09)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.service.dual import DualKind
from modemctl.store import Tx, parties
from modemctl.store.dual import DualRequest

_LONGEST: Final = timedelta(days=366)
_REFERENCE_MAX: Final = 200
_PARTY_MAX: Final = 128


class Parties:
    """Gives and ends special approvals; `own_party` is ourselves and needs none."""

    def __init__(self, *, own_party: str) -> None:
        self._own_party = own_party

    def perform(self, tx: Tx, request: DualRequest) -> None:
        """Keep what two persons agreed on, in the transaction that confirms it.

        The details are `until`, `reference` and, unless it is now, `from`. A later approval of the
        same party takes its place: one whose time is over ends it.

        Raises:
            InvalidRequest: the party or a detail is wrong.
            PolicyRefused: SEC-04, nobody or the asker himself confirmed.
        """
        assert request.kind is DualKind.THIRD_PARTY, "performed for another kind"
        party, details = request.subject, request.details
        if party == self._own_party or len(party) > _PARTY_MAX:
            raise InvalidRequest("must name a third party", field="subject", value=party[:80])
        reference = details.get("reference", "").strip()
        if not reference or len(reference) > _REFERENCE_MAX:
            raise InvalidRequest(
                f"must have 1 to {_REFERENCE_MAX} characters", field="details.reference"
            )
        begin = _instant(details, "from", tx.now)
        end = _instant(details, "until", None)
        if end - begin > _LONGEST:
            raise InvalidRequest("must end within a year", field="details.until")
        confirmer = request.decided_by
        if confirmer is None or confirmer == request.asked_by:
            raise PolicyRefused("SEC-04", "two persons approve a third party")
        new = parties.NewPartyApproval(
            party=party,
            reference=reference,
            valid_from=begin,
            valid_until=end,
            asked_by=request.asked_by,
            confirmed_by=confirmer,
            request_id=request.request_id,
        )
        approval_id = parties.add(tx, new)
        facts = {"party": party, "reference": reference, "request": request.request_id}
        span = {"from": begin.isoformat(), "until": end.isoformat(), "policy": "SMS-09"}
        actor = request.decided_name or confirmer
        tx.audit(actor, "party.approve", str(approval_id), {**facts, **span})


def _instant(details: Mapping[str, str], name: str, default: datetime | None) -> datetime:
    text = details.get(name)
    if text is None and default is not None:
        return default
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InvalidRequest(
            "must be an instant such as 2026-12-31T00:00:00+08:00", field=f"details.{name}"
        )
    return found.astimezone(UTC).replace(microsecond=0)
