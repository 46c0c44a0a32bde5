"""Special approvals of others for whom batches are sent (SMS-09); each row carries a MAC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, insert, select

from modemctl.errors import PolicyRefused, TamperedError
from modemctl.store.tables import party_approval, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPartyApproval:
    """What two persons agreed on; `reference` names the company's own paper."""

    party: str
    reference: str
    valid_from: datetime
    valid_until: datetime
    asked_by: str
    confirmed_by: str
    request_id: str


def add(tx: Tx, new: NewPartyApproval) -> int:
    """Keep an approval; it takes the place of all earlier ones of the party. Returns its id."""
    values: dict[str, object] = {
        "party": new.party,
        "reference": new.reference,
        "valid_from": new.valid_from,
        "valid_until": new.valid_until,
        "asked_by": new.asked_by,
        "confirmed_by": new.confirmed_by,
        "request_id": new.request_id,
        "at": tx.now,
    }
    mac = tx.vault.mac("party_approval", *(_plain(value) for value in values.values()))
    approval_id: int = tx.conn.execute(
        insert(party_approval).values(**values, mac=mac).returning(party_approval.c.approval_id)
    ).scalar_one()
    return approval_id


def is_intact(vault: Vault, row: Row[tuple[object, ...]]) -> bool:
    """Whether a row is as modemctl wrote it."""
    fields = (
        row.party, row.reference, row.valid_from, row.valid_until, row.asked_by, row.confirmed_by,
        row.request_id, row.at,
    )  # fmt: skip
    try:
        vault.check_mac(row.mac, "party_approval", *map(_plain, fields))
    except TamperedError:
        return False
    return bool(row.asked_by != row.confirmed_by)


def require(conn: Connection, vault: Vault, party: str, *, at: datetime) -> None:
    """Refuse a party that is not ourselves and has no approval in force.

    Raises:
        PolicyRefused: SMS-09.
    """
    row = conn.execute(
        select(party_approval)
        .where(party_approval.c.party == party)
        .order_by(party_approval.c.approval_id.desc())
        .limit(1)
    ).first()
    if row is None:
        rule = "a batch for a third party needs the company's special approval"
    elif not is_intact(vault, row):
        rule = "the special approval's row was altered"
    elif not row.valid_from <= at < row.valid_until:
        rule = "the special approval of this third party is not in force"
    else:
        return
    raise PolicyRefused(
        "SMS-09",
        rule,
        field="party",
        value=party,
        cure="two approvers: modemctl request ask third_party PARTY --reason WHY",
    )


def _plain(value: object) -> object:
    return to_ms(value) if isinstance(value, datetime) else value
