"""A card's PIN for two persons' eyes (SIM-06), and how often somebody looked."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from modemctl.errors import Conflict, NotFound
from modemctl.policy.dual import DualKind
from modemctl.store.pins import pin_place
from modemctl.store.sims import check_row
from modemctl.store.tables import dual_request, sim
from modemctl.store.transaction import Tx


def count_reveals(conn: Connection, *, since: datetime, by: str | None = None) -> int:
    """PINs revealed since then, by all or by one account."""
    which = [
        dual_request.c.kind == DualKind.PIN_REVEAL.value,
        dual_request.c.spent_at.is_not(None),
        dual_request.c.spent_at > since,
    ]
    if by is not None:
        which.append(dual_request.c.asked_by == by)
    n = conn.scalar(select(func.count()).select_from(dual_request).where(*which))
    assert n is not None, "a count is a number"
    return n


def open_pin(tx: Tx, iccid: str) -> str:
    """The card's PIN, decrypted for this one answer.

    Raises:
        NotFound: the vault holds none.
        Conflict: it is being changed; which one the card has taken is not proved.
        TamperedError: the row was altered, or the PIN is another card's.
    """
    row = tx.conn.execute(select(*sim.c).where(sim.c.iccid == iccid)).mappings().first()
    if row is None or row["pin_enc"] is None:
        raise NotFound("the vault holds no PIN of this card", field="iccid", value=iccid)
    check_row(tx.vault, row)
    if row["pin_pending_enc"] is not None:
        raise Conflict(
            "the PIN is being changed", cure="wait until the card has proved one", policy="SIM-06"
        )
    return tx.vault.decrypt_text(row["pin_enc"], place=pin_place(iccid))
