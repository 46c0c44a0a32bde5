"""The one time that cards' rows are sealed anew: when their MAC came to cover all of a card."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, RowMapping, bindparam, select, update

from modemctl.errors import TamperedError
from modemctl.store.sims import row_mac
from modemctl.store.tables import sim, to_ms
from modemctl.vault import Vault


def seal_cards(conn: Connection, vault: Vault) -> Sequence[str]:
    """Seal each card whose former MAC fits; the ICCIDs of those that it does not fit.

    Those were altered before, and stay as they are: nothing is built on them.
    """
    altered: list[str] = []
    seals: list[dict[str, object]] = []
    for row in conn.execute(select(*sim.c)).mappings():
        try:
            vault.check_mac(row["mac"], "sim", *_former_fields(row))
        except TamperedError:
            altered.append(row["iccid"])
        else:
            seals.append({"id": row["iccid"], "seal": row_mac(vault, {**row})})
    if seals:
        conn.execute(_SEAL, seals)
    return sorted(altered)


def _former_fields(row: RowMapping) -> tuple[object, ...]:
    """What the MAC covered before (schema 0001 to 0021)."""
    verified_at: datetime | None = row["verified_at"]
    return (
        row["iccid"],
        row["department"],
        row["state"],
        None if verified_at is None else to_ms(verified_at),
        row["ownership"],
        bool(row["is_reserved"]),
        row["card_group"],
        bool(row["is_paused"]),
    )


_SEAL: Final = update(sim).where(sim.c.iccid == bindparam("id")).values(mac=bindparam("seal"))
