"""The departments that tests name: every store of theirs knows them."""

from datetime import datetime
from typing import Final

from sqlalchemy import create_engine

from modemctl.store.departments import register
from modemctl.vault import Vault

USUAL: Final = ("general", "hall", "hq", "loans", "other", "retail", "sales", "service", "销售部")


def register_usual(url: str, vault: Vault, *, now: datetime) -> None:
    """Register them in a database that holds none yet; no entry of the log tells it."""
    engine = create_engine(url)
    with engine.begin() as connection:
        register(connection, vault, USUAL, now=now)
    engine.dispose()
