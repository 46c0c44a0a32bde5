"""A holder's identity number in the register: encrypted, found by its keyed hash alone (SIM-13).

The card's MAC covers kind and hash where there is one, so that rows of before need no new seal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import select, update

from modemctl.errors import TamperedError
from modemctl.policy.identities import Identity, IdentityKind
from modemctl.store.tables import sim
from modemctl.store.transaction import Tx
from modemctl.vault import Vault

IDENTITY: Final = (sim.c.identity_kind, sim.c.identity_bidx)
"""What a card's MAC covers of it; the ciphertext fits the hash, or the card is not intact."""

NONE: Final[Mapping[str, object]] = {
    "identity_kind": None, "identity_enc": None, "identity_bidx": None,
}  # fmt: skip
"""The columns of a card whose holder's document is not known."""

_ERASED: Final = b""
_KINDS: Final = frozenset(IdentityKind)


def place_of(iccid: str) -> str:
    """Where a card's identity number stands, for the vault."""
    return f"sim.identity_enc:{iccid}"


def columns_of(vault: Vault, iccid: str, identity: Identity | None) -> Mapping[str, object]:
    """The columns that keep a holder's document."""
    if identity is None:
        return NONE
    return {
        "identity_kind": identity.kind.value,
        "identity_enc": vault.encrypt_text(identity.number, place=place_of(iccid)),
        "identity_bidx": index_of(vault, identity),
    }


def index_of(vault: Vault, identity: Identity) -> bytes:
    """The keyed hash by which a document is found."""
    return vault.blind_index(identity.indexed)


def read(vault: Vault, row: Mapping[str, object]) -> tuple[IdentityKind | None, str | None]:
    """Kind and number of a card's row; of an erased one the kind alone.

    Raises:
        TamperedError: the number is not the one that was written there.
    """
    word, sealed = row["identity_kind"], row["identity_enc"]
    if word is None and sealed is None:
        return None, None
    if word not in _KINDS or not isinstance(sealed, bytes):
        raise TamperedError("sim: an identity number was changed or moved")
    kind = IdentityKind(str(word))
    octets = vault.decrypt(sealed, place=place_of(str(row["iccid"])))
    if octets == _ERASED:
        return kind, None
    number = octets.decode()
    if row["identity_bidx"] != index_of(vault, Identity(kind=kind, number=number)):
        raise TamperedError("sim: an identity number was changed or moved")
    return kind, number


def cards_of(tx: Tx, bidx: bytes) -> Mapping[str, str]:
    """The cards on which this document stands or stood, and their states."""
    found = select(sim.c.iccid, sim.c.state).where(sim.c.identity_bidx == bidx)
    return {row.iccid: row.state for row in tx.conn.execute(found.order_by(sim.c.iccid))}


def erase(tx: Tx, bidx: bytes) -> int:
    """Take the number out wherever this document stands; kind and keyed hash stay (SEC-08)."""
    found: Sequence[str] = [*cards_of(tx, bidx)]
    for iccid in found:
        sealed = tx.vault.encrypt(_ERASED, place=place_of(iccid))
        tx.conn.execute(update(sim).where(sim.c.iccid == iccid).values(identity_enc=sealed))
    return len(found)
