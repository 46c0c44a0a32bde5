"""Which card belongs into which bay (SIM-07): one card a bay, one bay a card, with a MAC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, delete, insert, or_, select

from modemctl.config.settings import ListMode
from modemctl.errors import TamperedError
from modemctl.model import Bay, EventKind, Iccid, Topic
from modemctl.policy.cards import Tie, Unfitness, misplacement
from modemctl.store.tables import bay_tie, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Ties:
    """The ties of some bays and cards."""

    by_bay: Mapping[Bay, Tie]
    by_card: Mapping[Iccid, Tie]

    def fault(self, mode: ListMode, bay: Bay, iccid: Iccid) -> Unfitness | None:
        """Why a card may not be used in a bay; None where it may."""
        return misplacement(
            mode, bay, iccid, of_bay=self.by_bay.get(bay), of_card=self.by_card.get(iccid)
        )

    def is_tied(self, bay: Bay, iccid: Iccid) -> bool:
        """Whether this card belongs into this bay."""
        tie = self.by_bay.get(bay)
        return tie is not None and tie.iccid == iccid

    def before(self, bay: Bay, iccid: Iccid) -> Mapping[str, str]:
        """Which other card belongs into the bay, which other bay the card belongs into."""
        of_bay, of_card = self.by_bay.get(bay), self.by_card.get(iccid)
        return {
            **({} if of_bay is None or of_bay.iccid == iccid else {"before": of_bay.iccid}),
            **({} if of_card is None or of_card.bay == bay else {"from_bay": of_card.bay}),
        }


def read_many(
    conn: Connection, vault: Vault, *, bays: Iterable[str] = (), iccids: Iterable[str] = ()
) -> Ties:
    """All ties of these bays and of these cards."""
    chosen = or_(bay_tie.c.bay.in_(sorted(set(bays))), bay_tie.c.iccid.in_(sorted(set(iccids))))
    ties = [_tie(vault, row) for row in conn.execute(select(bay_tie).where(chosen)).mappings()]
    return Ties(by_bay={tie.bay: tie for tie in ties}, by_card={tie.iccid: tie for tie in ties})


def learn(tx: Tx, bay: Bay, iccid: Iccid, mode: ListMode) -> Unfitness | None:
    """Note that a bay holds a fit card, where the bank learns; why it may not, None where it may.

    A bay that held another one, or a card from another bay, is an alarm (SIM-07).
    """
    ties = read_many(tx.conn, tx.vault, bays=[bay], iccids=[iccid])
    fault = ties.fault(mode, bay, iccid)
    if fault is not None or mode is not ListMode.LEARN or ties.is_tied(bay, iccid):
        return fault
    before = ties.before(bay, iccid)
    _put(tx, bay, iccid, by=tx.node_id, is_firm=False)
    tx.audit(tx.node_id, "bay.learn", bay, {"iccid": iccid, **before, "policy": "SIM-07"})
    if before:
        facts = {"alarm": "card_moved", "bay": bay, "became": "tied", "policy": "SIM-07"}
        tx.event(EventKind.ALARM, iccid, {**facts, **before})
    return None


def bind(tx: Tx, bay: Bay, iccid: Iccid, *, by: str) -> Ties:
    """Tie a card to a bay, by a person's word; the ties of both before."""
    before = read_many(tx.conn, tx.vault, bays=[bay], iccids=[iccid])
    _put(tx, bay, iccid, by=by, is_firm=True)
    return before


def unbind(tx: Tx, bay: Bay) -> Tie | None:
    """Take a bay's tie away; None where it had none."""
    before = read_many(tx.conn, tx.vault, bays=[bay]).by_bay.get(bay)
    if before is not None:
        tx.conn.execute(delete(bay_tie).where(bay_tie.c.bay == bay))
        tx.event(EventKind.MODEM, bay, {"expected_iccid": None})
        tx.wake(Topic.SIMS, Topic.STOP)
    return before


def _put(tx: Tx, bay: Bay, iccid: Iccid, *, by: str, is_firm: bool) -> None:
    """Tie; what tied either of the two to something else is gone."""
    tx.conn.execute(delete(bay_tie).where(or_(bay_tie.c.bay == bay, bay_tie.c.iccid == iccid)))
    values: dict[str, object] = {
        "bay": bay,
        "iccid": iccid,
        "is_firm": is_firm,
        "tied_by": by,
        "tied_at": tx.now,
    }
    mac = tx.vault.mac("bay_tie", bay, iccid, is_firm, by, to_ms(tx.now))
    tx.conn.execute(insert(bay_tie).values({**values, "mac": mac}))
    tx.event(EventKind.MODEM, bay, {"expected_iccid": iccid, "is_learned": not is_firm})
    if is_firm:  # what is learned forbids nobody anything: hundreds learn at one start
        tx.wake(Topic.SIMS, Topic.STOP)


def _tie(vault: Vault, row: RowMapping) -> Tie:
    is_intact = True
    try:
        vault.check_mac(
            row["mac"],
            "bay_tie",
            row["bay"],
            row["iccid"],
            row["is_firm"],
            row["tied_by"],
            to_ms(row["tied_at"]),
        )
    except TamperedError:
        is_intact = False
    return Tie(
        bay=Bay(row["bay"]),
        iccid=Iccid(row["iccid"]),
        is_firm=row["is_firm"],
        tied_by=row["tied_by"],
        tied_at=row["tied_at"],
        is_intact=is_intact,
    )
