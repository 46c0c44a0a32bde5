"""A card's PIN for two persons' eyes (SIM-06), and how often somebody looked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, or_, select

from modemctl.errors import Conflict, NotFound
from modemctl.policy.dual import DualKind
from modemctl.store.dual import DualRequest, of_row
from modemctl.store.pins import pin_place
from modemctl.store.sims import check_row
from modemctl.store.tables import dual_request, sim
from modemctl.store.transaction import Tx
from modemctl.vault import Vault

_LIFE: Final = timedelta(hours=24)  # of a request: one that was made unreadable is met for so long


def list_reveals(conn: Connection, vault: Vault, *, since: datetime) -> Sequence[DualRequest]:
    """The requests by which PINs were revealed since then.

    Raises:
        TamperedError: a request of that time was altered: nobody knows how many there were.
    """
    may_be = or_(dual_request.c.spent_at > since, dual_request.c.asked_at > since - _LIFE)
    found = [
        of_row(vault, row) for row in conn.execute(select(dual_request).where(may_be)).mappings()
    ]
    return [
        one
        for one in found
        if one.kind is DualKind.PIN_REVEAL and one.spent_at is not None and one.spent_at > since
    ]


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
