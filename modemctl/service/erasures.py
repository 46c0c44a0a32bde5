"""Erasing a person's data by two persons; keyed hashes stay (SEC-08, SEC-04)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modemctl.errors import Conflict, InvalidRequest, PolicyRefused
from modemctl.lifecycle import CardState
from modemctl.policy.dual import DualKind
from modemctl.policy.numbers import NumberRules, Rejection, normalise
from modemctl.service import dual
from modemctl.service.identities import IdentityKind, document
from modemctl.service.principal import Principal, Scope
from modemctl.service.purges import require_holds
from modemctl.store import Store, Tx, identities
from modemctl.store import erasures as rows
from modemctl.store.erasures import Findings

__all__ = ["ErasureView", "Erasures"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureView:
    """What is stored of a number. `subject`, its keyed hash, is what two persons name.

    `n_documents`: cards whose holder's identity number it is. It stands in the registers of
    `n_customer` departments' customers.

    `obstacles` says why it cannot be erased now; `n_erased`, once it was, how many rows changed.
    """

    subject: str
    n_messages: int
    n_inbox: int
    n_calls: int
    n_reports: int
    n_documents: int
    is_opted_out: bool
    n_customer: int
    obstacles: Sequence[str]
    n_erased: int | None = None


class Erasures:
    """Looks what is stored of a number, and takes it out."""

    def __init__(self, store: Store, *, numbers: NumberRules) -> None:
        self._store = store
        self._numbers = numbers

    async def preview(
        self, who: Principal, number: str, *, kind: IdentityKind | None = None
    ) -> ErasureView:
        """What is stored of a phone number or a document's, and what forbids to erase it.

        Raises:
            NotPermitted, PolicyRefused: scope, an account of one department, a machine's.
            InvalidRequest: no number.
        """
        _require(who)
        bidx = self._index(number, kind)
        store = self._store
        found = await store.read(lambda conn: rows.look(store.view(conn), bidx))
        return _view(bidx, found)

    async def erase(
        self,
        who: Principal,
        number: str,
        *,
        reason: str,
        request_id: str | None,
        kind: IdentityKind | None = None,
    ) -> ErasureView:
        """Take a person's number and texts out, by the permit of a second person (`erasure`).

        The keyed hash stays: an opt-out keeps working, and the log and every digest hold.

        Raises:
            NotPermitted, InvalidRequest: scope, an account of one department, number.
            PolicyRefused: SEC-04, no permit; SEC-12, a hold keeps it.
            Conflict: a batch with the number is not over, it is a card's own, or of a holder who
                has a card.
        """
        _require(who)
        bidx = self._index(number, kind)
        if not reason.strip():
            raise InvalidRequest("must not be empty", field="reason")
        await require_holds(self._store)

        def act(tx: Tx) -> ErasureView:
            found = rows.look(tx, bidx)
            _require_free(found)
            dual.take(tx, who, request_id, kind=DualKind.ERASURE, subject=bidx.hex())
            assert request_id is not None, "without one there is no permit"
            n_rows = rows.erase(tx, bidx, by=who.name, request_id=request_id, reason=reason.strip())
            return _view(bidx, found, n_erased=n_rows)

        view = await self._store.write(act)
        await self._store.scrub()
        return view

    def _index(self, number: str, kind: IdentityKind | None) -> bytes:
        if kind is not None:
            return identities.index_of(self._store.vault, document(number, kind))
        found = normalise(number, self._numbers)
        if isinstance(found, Rejection):
            raise InvalidRequest(f"is no number of a mobile: {found}", field="number")
        return self._store.vault.blind_index(found)


def _require(who: Principal) -> None:
    who.require(Scope.RECORDS_WRITE)
    who.require_all_departments()
    who.require_person("SEC-08")


def _require_free(found: Findings) -> None:
    if found.n_held:
        cure = "modemctl hold list; two persons lift a hold"
        raise PolicyRefused("SEC-12", "a legal hold keeps what is stored of it", cure=cure)
    if found.open_batches:
        raise Conflict(
            f"a batch with this number is not over: {', '.join(found.open_batches)}",
            field="number",
            cure="put the number on the opt-out list and wait, or cancel the batch",
            policy="SEC-08",
        )
    if found.cards:
        raise Conflict(
            f"it is the number of a card of ours: {', '.join(found.cards)}",
            field="number",
            cure="a card's number belongs to the register (SIM-01)",
            policy="SEC-08",
        )
    _require_gone(found)


def _require_gone(found: Findings) -> None:
    over = (CardState.RETURNED, CardState.CANCELLED)
    if theirs := [iccid for iccid, state in found.documents.items() if state not in over]:
        raise Conflict(
            f"its holder has a card: {', '.join(theirs)}",
            field="number",
            cure="modemctl sims offboard HOLDER, or modemctl sims state ICCID returned",
            policy="SIM-04",
        )


def _view(bidx: bytes, found: Findings, n_erased: int | None = None) -> ErasureView:
    obstacles = []
    try:
        _require_free(found)
    except (Conflict, PolicyRefused) as error:
        obstacles.append(error.rule)
    return ErasureView(
        subject=bidx.hex(),
        n_messages=found.n_messages,
        n_inbox=found.n_inbox,
        n_calls=found.n_calls,
        n_reports=found.n_reports,
        n_documents=len(found.documents),
        is_opted_out=found.is_opted_out,
        n_customer=found.n_customer,
        obstacles=obstacles,
        n_erased=n_erased,
    )
