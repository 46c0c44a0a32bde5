"""Shift hand-over: one shift tells what is open, the next one takes it by name (CC-04)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from modemctl.errors import Conflict, InvalidRequest, NotFound, PolicyRefused, TamperedError
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, Tx
from modemctl.store import handovers as rows
from modemctl.store.handovers import Handover
from modemctl.store.transaction import Json

__all__ = ["Handover", "Handovers"]

ResultT = TypeVar("ResultT")

_NOTE_MAX: Final = 2_000
_LISTED: Final = 100


class Handovers:
    """Keeps hand-overs; they tell of the whole bank."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def look(self, who: Principal) -> Mapping[str, Json]:
        """What a hand-over would tell now: nothing is kept.

        Raises:
            NotPermitted: scope, or an account of one department.
            PolicyRefused: SEC-05, the last hand-over was altered.
        """
        who.require(Scope.MODEMS_READ)
        who.require_all_departments()
        vault = self._store.vault

        def read(conn: Connection) -> Mapping[str, Json]:
            before = rows.latest(conn, vault)
            return rows.look(conn, None if before is None else before.made_at)

        return await _guarded(lambda: self._store.read(read))

    async def make(self, who: Principal, note: str) -> Handover:
        """Hand the shift over: what is open now, and the calls missed since the one before.

        Raises:
            NotPermitted, InvalidRequest: scope, an account of one department, or the note.
            PolicyRefused: CC-04, a machine; SEC-05, the one before was altered.
        """
        _require_shift(who)
        if len(note) > _NOTE_MAX:
            raise InvalidRequest(f"must have at most {_NOTE_MAX} characters", field="note")
        by, name, source = who.account_id, who.name, who.source
        return await _guarded(
            lambda: self._store.write(
                lambda tx: rows.add(tx, by=by, name=name, note=note.strip(), source=source)
            )
        )

    async def take(self, who: Principal, handover_id: str) -> Handover:
        """Take the shift over, as somebody else than who handed it over.

        Raises:
            NotPermitted, NotFound: scope, an account of one department, or no such hand-over.
            Conflict: somebody took it before.
            PolicyRefused: CC-04, who handed it over, or a machine; SEC-05, it was altered.
        """
        _require_shift(who)

        def act(tx: Tx) -> Handover:
            found = rows.find(tx.conn, tx.vault, handover_id)
            if found is None:
                raise NotFound("no such hand-over", field="handover_id", value=handover_id[:40])
            if found.taken_by is not None:
                raise Conflict(f"{found.taken_name} took the shift before", field="handover_id")
            if found.made_by == who.account_id:
                raise PolicyRefused(
                    "CC-04",
                    "who hands the shift over does not take it",
                    cure="let the next shift take it",
                )
            return rows.take(tx, found, by=who.account_id, name=who.name, source=who.source)

        return await _guarded(lambda: self._store.write(act))

    async def list_handovers(self, who: Principal) -> Sequence[Handover]:
        """The latest hand-overs, newest first.

        Raises:
            NotPermitted: scope, or an account of one department.
            PolicyRefused: SEC-05, one was altered.
        """
        who.require(Scope.MODEMS_READ)
        who.require_all_departments()
        vault = self._store.vault
        return await _guarded(
            lambda: self._store.read(lambda conn: rows.find_many(conn, vault, limit=_LISTED))
        )


def _require_shift(who: Principal) -> None:
    if Scope.BATCHES_OPERATE not in who.scopes:
        who.require(Scope.MODEMS_OPERATE)
    who.require_all_departments()
    who.require_person("CC-04")


async def _guarded(ask: Callable[[], Awaitable[ResultT]]) -> ResultT:
    try:
        return await ask()
    except TamperedError as error:
        raise PolicyRefused("SEC-05", str(error), cure="run: modemctl audit verify") from None
