"""To how many the same text goes within a time: a flood of one text is refused (SMS-08)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Row, insert, select

from modemctl.errors import PolicyRefused, TamperedError
from modemctl.lifecycle import BatchState
from modemctl.model import BatchId
from modemctl.policy.folding import fold
from modemctl.store.tables import batch, text_use, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault

_UNSENT: Final = (BatchState.REJECTED, BatchState.WITHDRAWN)
"""States of batches of which nothing ever left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FloodRule:
    """At most so many recipients of one text within a time; `most` 0: any number."""

    most: int
    within: timedelta


def note_use(
    tx: Tx, batch_id: BatchId, *, template: str, n_messages: int, rule: FloodRule
) -> bytes:
    """Note that a batch says this; what differs only in writing is the same text.

    Returns the text's fingerprint.

    Raises:
        PolicyRefused: SMS-08, too many would get the same text within the time, or the record of
            an earlier use was altered.
    """
    fingerprint = tx.vault.mac("text", fold(template).tight)
    before = _n_before(tx, fingerprint, tx.now - rule.within)
    if rule.most and before + n_messages > rule.most:
        raise PolicyRefused(
            "SMS-08",
            f"the same text would go to {before + n_messages} recipients within {rule.within}, "
            f"and content.same_text_recipients allows {rule.most}",
            cure="wait until earlier batches are old enough, or have the limit raised",
            field="text",
        )
    values = {"batch_id": batch_id, "fingerprint": fingerprint, "n_messages": n_messages}
    mac = tx.vault.mac("text_use", batch_id, fingerprint, to_ms(tx.now), n_messages)
    tx.conn.execute(insert(text_use).values(**values, at=tx.now, mac=mac))
    return fingerprint


def is_intact(vault: Vault, row: Row[tuple[object, ...]]) -> bool:
    """Whether a row of `text_use` is as it was written."""
    fields = (row.batch_id, row.fingerprint, to_ms(row.at), row.n_messages)
    try:
        vault.check_mac(row.mac, "text_use", *fields)
    except TamperedError:
        return False
    return True


def _n_before(tx: Tx, fingerprint: bytes, since: datetime) -> int:
    rows = tx.conn.execute(
        select(text_use, batch.c.state)
        .join(batch, batch.c.batch_id == text_use.c.batch_id)
        .where(text_use.c.fingerprint == fingerprint, text_use.c.at > since)
    )
    total = 0
    for row in rows:
        if not is_intact(tx.vault, row):
            raise PolicyRefused(
                "SMS-08",
                "the record of an earlier use of the text was altered",
                cure="modemctl audit verify names the row",
            )
        if BatchState(row.state) not in _UNSENT:
            total += row.n_messages
    return total
