"""Whether an account may be one of the two whom an act needs (SEC-04)."""

from __future__ import annotations

from modemctl.errors import PolicyRefused
from modemctl.model import AccountId
from modemctl.service.principal import Scope, scopes_of
from modemctl.store import Tx
from modemctl.store.accounts import AccountKind, AccountState, KeyState, find_account, list_keys
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


def require_own_hands(tx: Tx, one: AccountId, other: AccountId) -> None:
    """Refuse two of whom one has held the other's key: he could be both.

    A key that its owner renews keeps whose hands the first one came from.
    """
    for mine, theirs in ((one, other), (other, one)):
        keys = list_keys(tx.conn, tx.vault, mine)
        if any(key.issued_by == theirs and key.state(tx.now) is KeyState.LIVE for key in keys):
            raise PolicyRefused(
                "SEC-04",
                "one of the two has issued the other's key",
                cure="let somebody be the second whose key another administrator issued",
            )
