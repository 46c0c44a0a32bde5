"""Departments: names that cards, batches and accounts tell; no table of their own."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select

from modemctl.store.tables import account, authorisation, batch, sim

_TELLING: Final = (account.c.department, authorisation.c.department, sim.c.department,
                   batch.c.department)  # fmt: skip


def is_known(conn: Connection, name: str) -> bool:
    """Whether any account, authorisation, card or batch is of this department."""
    return any(
        conn.execute(select(column).where(column == name).limit(1)).first() is not None
        for column in _TELLING
    )


def has_cards(conn: Connection, name: str) -> bool:
    """Whether a card is of this department."""
    return (
        conn.execute(select(sim.c.iccid).where(sim.c.department == name).limit(1)).first()
        is not None
    )
