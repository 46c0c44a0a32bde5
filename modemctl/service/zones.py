"""The time zones in which cards' limits run (SIM-08)."""

from __future__ import annotations

import asyncio

from modemctl.errors import InvalidRequest
from modemctl.policy.quotas import QuotaRules
from modemctl.policy.zones import known_zones
from modemctl.service.card_acts import change_card, note, required
from modemctl.service.principal import Principal, Scope
from modemctl.service.sim_views import SimView
from modemctl.store import Store, Tx, card_zones
from modemctl.store.sims import Card


class Zones:
    """Gives cards their zones."""

    def __init__(self, store: Store, quota: QuotaRules) -> None:
        self._store = store
        self._quota = quota

    async def move(
        self, who: Principal, iccid: str, *, timezone: str | None, reason: str
    ) -> SimView:
        """Let a card's days and months be those of this zone (IANA); None: of the site's.

        Those that it leaves bind it further until they have ended.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, zone, reason or card.
            PolicyRefused: SIM-08, a machine's account; SEC-05, an altered row.
            Conflict: it has this zone, or left too many lately.
        """
        who.require(Scope.SIMS_WRITE)
        who.require_person("SIM-08")
        why = required(reason)
        if timezone is not None and timezone not in await asyncio.to_thread(known_zones):
            raise InvalidRequest(
                "is not a known IANA time zone, such as Asia/Shanghai",
                field="timezone",
                value=timezone[:64],
                policy="SIM-08",
            )

        def act(tx: Tx, card: Card) -> None:
            before = card_zones.move(tx, self._quota, card.iccid, timezone)
            told = {"before": before or "", "after": timezone or "", "reason": why}
            note(tx, who, "sim.zone", card.iccid, {**told, "policy": "SIM-08"})

        return await change_card(self._store, who, iccid, act)
