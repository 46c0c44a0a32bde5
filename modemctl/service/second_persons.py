"""Whether an account may be one of the two whom an act needs (SEC-04)."""

from __future__ import annotations

from datetime import datetime

from modemctl.errors import PolicyRefused
from modemctl.model import AccountId
from modemctl.service.principal import Scope, scopes_of
from modemctl.store import Tx
from modemctl.store.accounts import AccountKind, AccountState, find_account, list_keys
from modemctl.store.elevations import roles_of


def require_entitled(tx: Tx, account_id: AccountId, scope: Scope) -> None:
    """Refuse a word whose giver is no longer an active person with the scope."""
    account = find_account(tx.conn, tx.vault, account_id)
    if (
        account is None
        or account.kind is not AccountKind.PERSON
        or account.state is not AccountState.ACTIVE
        or scope not in scopes_of(roles_of(tx.conn, tx.vault, account, tx.now))
    ):
        name = account_id if account is None else account.name
        raise PolicyRefused(
            "SEC-04", f"account {name}, one of the two, no longer may", cure="ask anew"
        )


def require_own_hands(tx: Tx, one: AccountId, other: AccountId, *, since: datetime) -> None:
    """Refuse two whom one person could be: with a key of the other's, or of both.

    What counts is each key that opened the door at any time from `since` on, so that none is
    revoked between two words. A key that its owner renews keeps whose hands the first came from.
    """
    mine, theirs = _hands(tx, one, since), _hands(tx, other, since)
    if other in mine or one in theirs:
        rule = "one of the two has issued the other's key"
    elif mine & theirs:
        rule = "one administrator has issued the keys of both"
    else:
        return
    cure = (
        "let another administrator give one of them a new key (modemctl key reissue NAME "
        "--certificate WHY --out FILE), then ask anew"
    )
    raise PolicyRefused("SEC-04", rule, cure=cure)


def _hands(tx: Tx, account_id: AccountId, since: datetime) -> set[AccountId]:
    keys = list_keys(tx.conn, tx.vault, account_id)
    return {key.issued_by for key in keys if key.issued_by and key.opened_after(since)}
