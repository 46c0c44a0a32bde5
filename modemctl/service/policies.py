"""The policy section of the settings: a changed one counts once two persons have confirmed it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modemctl.config.policy import changes, digest_of
from modemctl.errors import PolicyRefused, TamperedError
from modemctl.model import EventKind, Topic
from modemctl.policy.gates import Shut
from modemctl.policy.zones import zone_named
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, Tx, site_zones
from modemctl.store import policies as rows
from modemctl.store.dual import DualRequest
from modemctl.store.gates import UNCONFIRMED, stand_still
from modemctl.store.transaction import Json

__all__ = ["Policies", "PolicyView"]

_log = logging.getLogger(__name__)

_CURE: Final = "an administrator: modemctl policy accept --reason WHY; a colleague confirms it"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """The policy that the daemon runs with, and the one that counts.

    `changes` are what differs, as `before → after`; nothing is sent while there are any.
    """

    digest: str
    settings: Mapping[str, str]
    counts: bool
    accepted_digest: str | None
    accepted_at: datetime | None
    asked_by: str | None
    confirmed_by: str | None
    changes: Mapping[str, str]


class Policies:
    """Knows the settings' policy and holds it against what was confirmed."""

    def __init__(self, store: Store, settings: Mapping[str, str]) -> None:
        """`settings` are those that are policy, as `Settings.policy` gives them."""
        self._store = store
        self._settings = dict(settings)
        self.digest: Final = digest_of(settings)
        """What the way to the modems is shut without."""

    async def open(self) -> bool:
        """At start: note a site's first policy; hold what runs where another one counts.

        Returns whether the daemon's policy counts.
        """
        counts = await self._store.write(self._open)
        if not counts:
            _log.error("policy.unconfirmed", extra={"digest": self.digest, "cure": _CURE})
        return counts

    async def fault(self) -> str:
        """What is wrong, in words; empty where the daemon's policy counts."""
        vault = self._store.vault
        if await self._store.read(lambda conn: rows.counts(conn, vault, self.digest)):
            return ""
        return f"{UNCONFIRMED} (policy: SEC-04); {_CURE}"

    async def show(self, who: Principal) -> PolicyView:
        """What the daemon runs with, what counts, and what differs.

        Raises:
            NotPermitted: without `requests:use`.
            PolicyRefused: SEC-05, the row was altered.
        """
        who.require(Scope.REQUESTS_USE)
        try:
            return await self._store.read(self._view)
        except TamperedError:
            rule = "the row of the confirmed policy was altered outside modemctl"
            raise PolicyRefused("SEC-05", rule, cure="run: modemctl audit verify") from None

    def perform(self, tx: Tx, confirmed: DualRequest) -> None:
        """Let the daemon's policy count, as two persons say.

        Raises:
            PolicyRefused: SEC-04, they speak of other settings than those that the daemon has.
        """
        if confirmed.subject != self.digest:
            raise PolicyRefused(
                "SEC-04", "these are not the settings that the daemon runs with", cure=_CURE
            )
        asked_by, confirmed_by = confirmed.asked_name, confirmed.decided_name or ""
        self._follow_zone(tx)
        version = rows.add(
            tx, self.digest, self._settings, asked_by=asked_by, confirmed_by=confirmed_by
        )
        details = {"digest": self.digest, "asked_by": asked_by, "policy": "SEC-04"}
        tx.audit(confirmed_by, "policy.accept", str(version), {**details})
        tx.wake(Topic.WORK)

    def _follow_zone(self, tx: Tx) -> None:
        """Where the site's time zone is another one from now on, its counts follow (SIM-08)."""
        try:
            found = rows.accepted(tx.conn, tx.vault)
        except TamperedError:
            return  # nobody knows which zone it was; `audit verify` names the row
        if found is None:
            return
        before, after = rows.zone_of(found.settings), rows.zone_of(self._settings)
        if before != after:
            n = site_zones.recount(tx, zone_named(before), zone_named(after))
            facts: dict[str, Json] = {"before": before, "after": after, "n_counts": n}
            tx.audit(tx.node_id, "policy.zone", "site", {**facts, "policy": "SIM-08"})

    def _open(self, tx: Tx) -> bool:
        rows.note_first(tx, self.digest, self._settings)
        if rows.counts(tx.conn, tx.vault, self.digest):
            return True
        tx.event(EventKind.ALARM, "policy", {"alarm": "policy", "digest": self.digest})
        stand_still(tx, Shut(reason=UNCONFIRMED, policy="SEC-04", holds=True))
        return False

    def _view(self, conn: Connection) -> PolicyView:
        found = rows.accepted(conn, self._store.vault)
        before = {} if found is None else found.settings
        return PolicyView(
            digest=self.digest,
            settings=self._settings,
            counts=found is not None and found.digest == self.digest,
            accepted_digest=None if found is None else found.digest,
            accepted_at=None if found is None else found.at,
            asked_by=None if found is None else found.asked_by,
            confirmed_by=None if found is None else found.confirmed_by,
            changes=changes(before, self._settings),
        )
