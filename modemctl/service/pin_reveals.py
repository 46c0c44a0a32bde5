"""Showing a PIN: two persons, once, few times an hour, on record (SIM-06, SEC-04)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from modemctl.errors import NotFound, PolicyRefused, TamperedError
from modemctl.model import EventKind
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PinView:
    """A card's PIN, for the one answer that carries it."""

    iccid: str
    pin: str = field(repr=False)


class PinReveals:
    """Opens the vault for a person with a colleague's consent."""

    def __init__(self, store: Store) -> None:
        self._store = store

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
            _require_few(tx, who)
            dual.take(tx, who, request_id, kind=DualKind.PIN_REVEAL, subject=card.iccid)
            pin = rows.open_pin(tx, card.iccid)
            facts = {"request": request_id or "", "source": who.source, "policy": "SIM-06"}
            tx.audit(who.name, "pin.reveal", card.iccid, {**facts})
            tx.event(EventKind.ALARM, card.iccid, {"alarm": "pin_revealed", "policy": "SIM-06"})
            return pin

        try:
            return PinView(iccid=iccid, pin=await self._store.write(act))
        except TamperedError:
            raise PolicyRefused(
                "SEC-05",
                "the card's row was altered outside modemctl",
                cure="modemctl audit verify",
            ) from None


def _require_few(tx: Tx, who: Principal) -> None:
    since = tx.now - _SPAN
    own = rows.count_reveals(tx.conn, since=since, by=who.account_id)
    if own >= _MAX_BY_ONE or rows.count_reveals(tx.conn, since=since) >= _MAX_BY_ALL:
        raise PolicyRefused(
            "SIM-06",
            f"no more than {_MAX_BY_ONE} PINs an hour to one person, {_MAX_BY_ALL} to all",
            cure="come back later",
        )
