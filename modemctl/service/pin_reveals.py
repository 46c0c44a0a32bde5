"""Showing a PIN: two persons, once, few times an hour, on record (SIM-06, SEC-04)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from modemctl.errors import NotFound, PolicyRefused, TamperedError
from modemctl.model import AccountId, EventKind
from modemctl.policy.dual import DualKind
from modemctl.service import dual
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, Tx, sims
from modemctl.store import pin_reveals as rows

__all__ = ["PinReveals", "PinView"]

_SPAN: Final = timedelta(hours=1)
_MAX_BY_ONE: Final = 3
_MAX_BY_ALL: Final = 10
"""PINs that one person, and all together, are shown within the span."""
_KEPT: Final = 100  # moments; more than are ever shown within the span


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """To whom a PIN was shown, and when, in seconds of the machine's own time."""

    by: AccountId
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PinView:
    """A card's PIN, for the one answer that carries it."""

    iccid: str
    pin: str = field(repr=False)


class PinReveals:
    """Opens the vault for a person with a colleague's consent."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shown: deque[_Shown] = deque(maxlen=_KEPT)  # who writes the rows does not write here

    async def reveal(self, who: Principal, iccid: str, *, request_id: str | None) -> PinView:
        """A card's PIN, by the permit of a second person (kind `pin_reveal`, subject the ICCID).

        Raises:
            NotPermitted: without `sims:write`.
            PolicyRefused: SEC-04, no permit, a machine; SIM-06, too many within an hour; SEC-05,
                an altered row.
            NotFound: no such card, of another department, or without a PIN in the vault.
            Conflict: the PIN is being changed.
        """
        who.require(Scope.SIMS_WRITE)
        who.require_person("SEC-04")

        def act(tx: Tx) -> str:
            card = sims.read(tx.conn, tx.vault, iccid)
            if card is None or not who.sees(card.department):
                raise NotFound("no such card in the register", field="iccid", value=iccid[:22])
            self._require_few(tx, who)
            dual.take(tx, who, request_id, kind=DualKind.PIN_REVEAL, subject=card.iccid)
            pin = rows.open_pin(tx, card.iccid)
            facts = {"request": request_id or "", "source": who.source, "policy": "SIM-06"}
            tx.audit(who.name, "pin.reveal", card.iccid, {**facts})
            tx.event(EventKind.ALARM, card.iccid, {"alarm": "pin_revealed", "policy": "SIM-06"})
            self._shown.append(_Shown(by=who.account_id, at=self._store.clock.monotonic()))
            return pin

        try:
            pin = await self._store.write(act)
        except TamperedError:
            raise PolicyRefused(
                "SEC-05",
                "the row of the card, or of a request, was altered outside modemctl",
                cure="modemctl audit verify",
            ) from None
        return PinView(iccid=iccid, pin=pin)

    def _require_few(self, tx: Tx, who: Principal) -> None:
        """Few by the requests as they stand, and few by what this daemon has shown itself."""
        since = tx.now - _SPAN
        rows_of = [one.asked_by for one in rows.list_reveals(tx.conn, tx.vault, since=since)]
        began = self._store.clock.monotonic() - _SPAN.total_seconds()
        own_of = [one.by for one in self._shown if one.at > began]
        own = max(told.count(who.account_id) for told in (rows_of, own_of))
        if own >= _MAX_BY_ONE or max(len(rows_of), len(own_of)) >= _MAX_BY_ALL:
            raise PolicyRefused(
                "SIM-06",
                f"no more than {_MAX_BY_ONE} PINs an hour to one person, {_MAX_BY_ALL} to all",
                cure="come back later",
            )
