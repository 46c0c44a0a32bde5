"""The stock-take on demand: what the register says against what the bank sees now (SIM-11)."""

from __future__ import annotations

from dataclasses import dataclass

from modemctl.policy.stocktake import IdleRules, Verdict
from modemctl.service.pages import Page, decode_text, encode_cursor
from modemctl.service.paper_cards import read_register, take_stock
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store
from modemctl.store.sims import Card

__all__ = ["StockLine", "StockTakes", "Verdict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StockLine:
    """One card. `state` None: the register does not know it; `tied_bay`: where it belongs."""

    iccid: str
    verdicts: tuple[Verdict, ...]
    state: str | None
    department: str | None
    bay: str | None
    tied_bay: str | None
    n_idle_days: int | None


class StockTakes:
    """Compares; the printed one is a report."""

    def __init__(self, store: Store, idle: IdleRules) -> None:
        self._store = store
        self._idle = idle

    async def take(
        self,
        who: Principal,
        *,
        verdict: Verdict | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[StockLine]:
        """Cards in order of ICCID; of one verdict unless None.

        Raises:
            NotPermitted, InvalidRequest: without `sims:read`; a cursor that is not ours.
        """
        who.require(Scope.SIMS_READ)
        after = decode_text(cursor)
        cards = await read_register(self._store, who.department)
        register: dict[str, Card] = {card.iccid: card for card in cards}
        found, ties = await take_stock(
            self._store, register, self._idle, sees_all=who.department is None
        )
        wanted = [
            one
            for one in found
            if one.iccid > after and (verdict is None or verdict in one.verdicts)
        ]
        lines = [
            StockLine(
                iccid=one.iccid,
                verdicts=one.verdicts,
                state=register[one.iccid].state.value if one.iccid in register else None,
                department=register[one.iccid].department if one.iccid in register else None,
                bay=one.bay,
                tied_bay=ties.get(one.iccid),
                n_idle_days=one.n_idle_days,
            )
            for one in wanted[:limit]
        ]
        more = encode_cursor(lines[-1].iccid) if len(wanted) > limit else None
        return Page(items=lines, next=more)
