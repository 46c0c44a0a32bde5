"""Registers of departments' customers: whom a notice may go to, where one is kept (SMS-02)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final

from modemctl.errors import Conflict, InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.model import mask_number
from modemctl.policy.content import ContentRules
from modemctl.policy.numbers import NumberRules, Rejection, normalise
from modemctl.service.departments import require_department
from modemctl.service.judging import BadLine, Judged, JudgeRules
from modemctl.service.principal import Principal, Scope
from modemctl.service.recipients import ListFormat, Spooled
from modemctl.service.sifters import sift
from modemctl.store import Connection, Store, Tx, holds
from modemctl.store import customers as rows
from modemctl.store.customers import Import, Register
from modemctl.vault import Vault

__all__ = ["CustomerCheck", "CustomerImport", "CustomerRegisters", "Customers", "Stranger"]

_SLICE: Final = 1_000  # a transaction: rows are small and come in order
_MOST_FAULTS: Final = 1_000  # lines that an answer names
_LEAST_SOURCE: Final = 2
_MOST_SOURCE: Final = 200
_MOST_REASON: Final = 500
_MOST_NAME: Final = 128
_MOST_SEGMENTS: Final = 255
_A_TEXT: Final = "."  # lines are judged by their numbers alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger:
    """A line of a list that names no mobile, or one a second time; `masked` shows what stood."""

    line_no: int
    masked: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerImport:
    """What became of a list of customers, or would of one on trial.

    `n_known` were in the register before; `faults` are the first thousand of `n_faulty` lines.
    """

    department: str
    is_trial: bool
    n_added: int
    n_known: int
    n_faulty: int
    faults: tuple[Stranger, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRegisters:
    """Whether notices go to customers alone, and how many each department has."""

    is_enforced: bool
    registers: Sequence[Register]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerCheck:
    """Whether a number is a department's customer, and by which list."""

    department: str
    is_customer: bool
    source: str | None
    at: datetime | None
    by: str | None


@dataclass(slots=True)
class _Read:
    """What a list holds: the rows of its good lines, and its faults."""

    tokens: bytearray = field(default_factory=bytearray, repr=False)
    n_faulty: int = 0
    faults: list[Stranger] = field(default_factory=list)

    def sorted(self) -> list[bytes]:
        """Its rows in the order of their table: one page of it after the other is filled."""
        size = rows.TOKEN_OCTETS
        octets = bytes(self.tokens)
        return sorted(octets[at : at + size] for at in range(0, len(octets), size))


class Customers:
    """Keeps the registers of customers."""

    def __init__(
        self, store: Store, *, numbers: NumberRules, content: ContentRules, is_enforced: bool
    ) -> None:
        self._store = store
        self._numbers = numbers
        self._judge = JudgeRules(
            category="notice",
            template=_A_TEXT,
            numbers=numbers,
            content=content,
            smallest_cap=_MOST_SEGMENTS,
            salt=None,  # nobody signs these lines
        )
        self._is_enforced = is_enforced
        self._busy: set[str] = set()  # departments whose list comes in just now
        self._left: set[int] = set()  # lists of ours that did not come to their end

    async def import_list(
        self,
        who: Principal,
        spooled: Spooled,
        list_format: ListFormat,
        *,
        department: str,
        source: str,
        encoding: str | None = None,
        is_trial: bool = False,
    ) -> CustomerImport:
        """Add a list of any size to a department's register; it counts when all of it is in.

        Raises:
            NotPermitted, InvalidRequest: scope, department, source, or the list itself.
            Conflict: another list of the department is coming in.
            TamperedError: the register was altered.
        """
        await self._require_registered(who, department)
        source = _source(source)
        parts = sift(spooled, list_format, encoding=encoding, rules=self._judge)
        async with aclosing(parts):
            read = await self._read(department, parts)
        tokens = await asyncio.to_thread(read.sorted)
        if is_trial:
            n_added = len(tokens) - await self._n_known(tokens)
        else:
            n_added = await self._add(who, department, source, tokens)
        return CustomerImport(
            department=department,
            is_trial=is_trial,
            n_added=n_added,
            n_known=len(tokens) - n_added,
            n_faulty=read.n_faulty,
            faults=tuple(read.faults),
        )

    async def add(
        self, who: Principal, number: str, *, department: str, source: str
    ) -> CustomerCheck:
        """Add one number; one that is in the register stays as it was.

        Raises:
            NotPermitted, InvalidRequest: scope, department, source or number.
            Conflict: a list of the department is coming in.
            TamperedError: the register was altered.
        """
        await self._require_registered(who, department)
        bidx = self._store.vault.blind_index(self._number(number))
        if await self._found(department, bidx) is None:
            token = rows.token_of(self._store.vault, department, bidx)
            await self._add(who, department, _source(source), [token])
        return _check(department, await self._found(department, bidx))

    async def remove(self, who: Principal, number: str, *, department: str, reason: str) -> None:
        """Take a number out of a department's register. Batches that wait go on as approved.

        Raises:
            NotPermitted, InvalidRequest: scope, department, number or reason.
            NotFound: it is not in the register.
            PolicyRefused: SEC-12, a legal hold keeps what is stored of it.
            TamperedError: the register was altered.
        """
        self._require_keeper(who, department)
        wanted = self._number(number)
        if not reason.strip() or len(reason) > _MOST_REASON:
            raise InvalidRequest(f"must have 1 to {_MOST_REASON} characters", field="reason")
        bidx = self._store.vault.blind_index(wanted)

        def act(tx: Tx) -> bool:
            kept = holds.kept(tx.conn, tx.vault)
            if kept.everything or bidx in kept.numbers:
                cure = "modemctl hold list; two persons lift a hold"
                raise PolicyRefused("SEC-12", "a legal hold keeps what is stored of it", cure=cure)
            return rows.remove(tx, department, bidx, by=who.name, reason=reason.strip())

        if not await self._store.write(act):
            raise NotFound(
                "is no customer of this department", field="number", value=mask_number(wanted)
            )

    async def count(self, who: Principal, department: str | None = None) -> CustomerRegisters:
        """How many customers each department in sight has, and its latest lists.

        Raises:
            NotPermitted: scope or department.
            TamperedError: a register was altered.
        """
        who.require(Scope.CUSTOMERS_READ)
        if department is not None:
            _require_sight(who, department)
        vault, wanted = self._store.vault, department or who.department
        found = await self._store.read(lambda conn: rows.registers(conn, vault, wanted))
        return CustomerRegisters(is_enforced=self._is_enforced, registers=found)

    async def check(self, who: Principal, number: str, *, department: str) -> CustomerCheck:
        """Whether a number is in a department's register.

        Raises:
            NotPermitted, InvalidRequest: scope, department or number.
            TamperedError: the list's row was altered.
        """
        who.require(Scope.CUSTOMERS_READ)
        _require_sight(who, department)
        bidx = self._store.vault.blind_index(self._number(number))
        return _check(department, await self._found(department, bidx))

    # ------------------------------------------------------------ inside

    async def _read(self, department: str, parts: AsyncIterator[Judged]) -> _Read:
        vault, found = self._store.vault, _Read()

        def take(part: Judged) -> None:
            for one in part.good:
                found.tokens += rows.token_of(vault, department, vault.blind_index(one.to))
            found.n_faulty += len(part.bad)
            room = _MOST_FAULTS - len(found.faults)
            found.faults += [_stranger(one) for one in part.bad[: max(0, room)]]

        async for part in parts:
            await asyncio.to_thread(take, part)
        return found

    async def _n_known(self, tokens: Sequence[bytes]) -> int:
        n = 0
        for part in _parts(tokens):
            n += await self._store.read(partial(_count_known, tokens=part))
        return n

    async def _add(
        self, who: Principal, department: str, source: str, tokens: Sequence[bytes]
    ) -> int:
        """Take rows in, slice by slice; they count with the last one. Returns how many are new."""
        if department in self._busy:
            raise Conflict(
                "a list of this department's customers is coming in",
                field="department",
                cure="ask again when it is in",
            )
        self._busy.add(department)
        try:
            await self._forget_broken_off(department)
            return await self._take_in(who, department, source, tokens)
        finally:
            self._busy.discard(department)

    async def _take_in(
        self, who: Principal, department: str, source: str, tokens: Sequence[bytes]
    ) -> int:
        store, vault = self._store, self._store.vault
        import_no = await store.write(partial(rows.begin, department=department, source=source))
        self._left.add(import_no)
        n_added = total = 0
        for part in _parts(tokens):
            new = await store.write(partial(rows.keep, import_no=import_no, tokens=part))
            total += await asyncio.to_thread(_weigh, vault, new, import_no)
            n_added += len(new)
        await store.write(
            partial(rows.finish, import_no=import_no, by=who.name, n=n_added, total=total)
        )
        self._left.discard(import_no)
        return n_added

    async def _forget_broken_off(self, department: str) -> None:
        """Take back lists that never came to their end; those of other nodes after a while."""
        now, own = self._store.clock.now(), frozenset(self._left)
        gone = await self._store.read(
            lambda conn: rows.broken_off(conn, department, now=now, own=own)
        )
        for import_no in gone:
            discard = partial(rows.discard, import_no=import_no, own=own, limit=_SLICE)
            while not await self._store.write(discard):
                pass
            self._left.discard(import_no)

    async def _found(self, department: str, bidx: bytes) -> Import | None:
        vault = self._store.vault
        return await self._store.read(lambda conn: rows.find(conn, vault, department, bidx))

    def _require_keeper(self, who: Principal, department: str) -> None:
        who.require(Scope.CUSTOMERS_WRITE)
        _require_sight(who, department)

    async def _require_registered(self, who: Principal, department: str) -> None:
        """Nothing comes into the register of a department that no batch could be of (SIM-01)."""
        self._require_keeper(who, department)
        vault = self._store.vault
        await self._store.read(
            lambda conn: require_department(conn, vault, department, policy="SIM-01")
        )

    def _number(self, number: str) -> str:
        found = normalise(number, self._numbers)
        if isinstance(found, Rejection):
            raise InvalidRequest(f"is no number of a mobile: {found}", field="number")
        return found


def _require_sight(who: Principal, department: str) -> None:
    if not department.strip() or len(department) > _MOST_NAME:
        raise InvalidRequest(f"must have 1 to {_MOST_NAME} characters", field="department")
    if not who.sees(department):
        raise NotPermitted(
            f"account {who.name} works for department {who.department}",
            field="department",
            value=department,
            policy="SEC-01",
        )


def _source(text: str) -> str:
    source = text.strip()
    if not _LEAST_SOURCE <= len(source) <= _MOST_SOURCE or not source.isprintable():
        raise InvalidRequest(
            f"must be one line of {_LEAST_SOURCE} to {_MOST_SOURCE} characters", field="source"
        )
    return source


def _parts(tokens: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for at in range(0, len(tokens), _SLICE):
        yield tokens[at : at + _SLICE]


def _weigh(vault: Vault, tokens: Sequence[bytes], import_no: int) -> int:
    return sum(rows.weight_of(vault, token, import_no) for token in tokens)


def _count_known(conn: Connection, tokens: Sequence[bytes]) -> int:
    return len(rows.known(conn, tokens))


def _stranger(one: BadLine) -> Stranger:
    return Stranger(line_no=one.line_no, masked=one.masked, reason=one.reason)


def _check(department: str, found: Import | None) -> CustomerCheck:
    return CustomerCheck(
        department=department,
        is_customer=found is not None,
        source=None if found is None else found.source,
        at=None if found is None else found.at,
        by=None if found is None else found.by,
    )
