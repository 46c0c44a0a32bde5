"""Registers of departments' customers, without their numbers (SMS-02).

A row is a keyed hash of department and number: nobody without the key makes one, or makes one of
another department's. What a register holds as a whole, so that no row that was removed can be put
back unseen, is a sum over its rows that is sealed beside it and stands in the log.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, insert, or_, select, update

from modemctl.errors import Conflict, TamperedError
from modemctl.store.bulk import insert_rows
from modemctl.store.tables import audit_entry, customer, customer_import, customer_seal, to_ms
from modemctl.store.transaction import Json, Tx
from modemctl.vault import Vault

TOKEN_OCTETS: Final = 16
_SUM_OCTETS: Final = 16
_MODULUS: Final = 1 << (8 * _SUM_OCTETS)
_BROKEN_OFF_AFTER: Final = timedelta(minutes=10)
_MOST_IMPORTS: Final = 20
_SPOILT: Final = -1  # `n_added` of an open list that lost a row: what it adds up to is wrong
_TAKEN_BACK: Final = -2  # and of one whose rows are being taken back: it can only begin anew
_RULE: Final = "SMS-02"
_SEALING: Final = ("customer.import", "customer.remove", "customer.erase")


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """A list of customers that was taken in."""

    import_no: int
    department: str
    source: str
    at: datetime
    by: str
    n_added: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """How many customers a department has, and its latest lists."""

    department: str
    n: int
    imports: Sequence[Import]


def token_of(vault: Vault, department: str, bidx: bytes) -> bytes:
    """The row's key of a number (its blind index) in a department's register."""
    return vault.mac("customer", department, bidx.hex())[:TOKEN_OCTETS]


def weight_of(vault: Vault, token: bytes, import_no: int) -> int:
    """What a row adds to its register's sum."""
    return int.from_bytes(vault.mac("customer_row", token.hex(), import_no)[:_SUM_OCTETS], "big")


# ---------------------------------------------------------------- asking


def known(conn: Connection, tokens: Sequence[bytes]) -> set[bytes]:
    """Which of these rows stand in a register."""
    return set(
        conn.scalars(
            select(customer.c.token)
            .join(customer_import, customer_import.c.import_no == customer.c.import_no)
            .where(customer.c.token.in_(tokens), customer_import.c.finished_at.is_not(None))
        )
    )


def strangers(
    conn: Connection, vault: Vault, department: str, indexes: Sequence[bytes]
) -> set[bytes]:
    """Which of these numbers (blind indexes) are no customers of the department."""
    tokens = {token_of(vault, department, bidx): bidx for bidx in indexes}
    ours = known(conn, list(tokens))
    return {bidx for token, bidx in tokens.items() if token not in ours}


def find(conn: Connection, vault: Vault, department: str, bidx: bytes) -> Import | None:
    """With which list a number came into a department's register; None where it is not in it.

    Raises:
        TamperedError: the list's row was altered.
    """
    token = token_of(vault, department, bidx)
    row = (
        conn.execute(
            select(*customer_import.c)
            .join(customer, customer.c.import_no == customer_import.c.import_no)
            .where(customer.c.token == token, customer_import.c.finished_at.is_not(None))
        )
        .mappings()
        .first()
    )
    return None if row is None else _import(vault, row)


def registers(conn: Connection, vault: Vault, department: str | None) -> Sequence[Register]:
    """The register of this department, or of all, with their latest lists, newest first.

    Raises:
        TamperedError: a row was altered.
    """
    names = [department] if department is not None else _departments(conn)
    return [
        Register(department=name, n=_seal(conn, vault, name)[0], imports=found)
        for name in names
        if (found := _imports(conn, vault, name))
    ]


# ---------------------------------------------------------------- changing


def begin(tx: Tx, *, department: str, source: str) -> int:
    """Open a list; its rows count when it is finished. Returns its number.

    Raises:
        Conflict: another list of the department is under way.
    """
    young = tx.now - _BROKEN_OFF_AFTER
    if tx.conn.scalar(
        select(customer_import.c.import_no).where(
            customer_import.c.department == department,
            customer_import.c.finished_at.is_(None),
            customer_import.c.at > young,
        )
    ):
        raise Conflict(
            "a list of this department's customers is coming in",
            field="department",
            cure="wait; one that broke off is forgotten after ten minutes",
        )
    values: dict[str, object] = {
        "department": department,
        "source": source,
        "at": tx.now,
        "by": "",
        "finished_at": None,
        "n_added": 0,
    }
    number: int = tx.conn.execute(
        insert(customer_import).values(**values, mac=b"").returning(customer_import.c.import_no)
    ).scalar_one()
    return number


def keep(tx: Tx, import_no: int, tokens: Sequence[bytes]) -> Sequence[bytes]:
    """Take rows into an open list; returns those that no finished list holds already.

    Rows of a list that broke off become this one's. Each call is a sign of life of the list.

    Raises:
        Conflict: the list was taken back meanwhile.
    """
    _note_alive(tx, import_no)
    before = known(tx.conn, tokens)
    new = [token for token in tokens if token not in before]
    tx.conn.execute(delete(customer).where(customer.c.token.in_(new)))
    insert_rows(tx.conn, customer, ("token", "import_no"), [(token, import_no) for token in new])
    return new


def finish(tx: Tx, import_no: int, *, by: str, n: int, total: int) -> Import:
    """Let a list count; `n` rows of it are new, and `total` is the sum of their weights.

    Raises:
        TamperedError: the register's seal was altered.
        Conflict: it was forgotten meanwhile, or somebody who stands in it was erased.
    """
    row = (
        tx.conn.execute(
            select(*customer_import.c).where(
                customer_import.c.import_no == import_no, customer_import.c.finished_at.is_(None)
            )
        )
        .mappings()
        .first()
    )
    if row is None or row["n_added"] == _TAKEN_BACK:
        raise _taken_back()
    if row["n_added"] == _SPOILT:
        rule = "somebody who stands in the list was erased while it came in"
        raise Conflict(rule, field="department", cure="take the number out, import it again")
    values = {**row, "by": by, "finished_at": tx.now, "n_added": n}
    department = str(row["department"])
    details: dict[str, Json] = {"import": import_no, "n_added": n, "source": str(row["source"])}
    _reseal(tx, department, n, total, by=by, action="customer.import", details=details)
    changed = {name: values[name] for name in ("by", "finished_at", "n_added")}
    tx.conn.execute(
        update(customer_import)
        .where(customer_import.c.import_no == import_no)
        .values(**changed, mac=tx.vault.mac("customer_import", *_fields(values)))
    )
    return _import_of(values)


def discard(tx: Tx, import_no: int, *, own: Collection[int], limit: int) -> bool:
    """Take back up to `limit` rows of a list that broke off, at last the list; True: done.

    What is not one of `own` lists and gave a sign of life meanwhile stays as it is. From the first
    row on a list can no more be finished: half of it would count as all.
    """
    is_open = customer_import.c.finished_at.is_(None)
    ours = customer_import.c.import_no == import_no
    is_dead = _is_dead(tx.now, own)
    marked = update(customer_import).where(ours, is_open, is_dead).values(n_added=_TAKEN_BACK)
    if not tx.conn.execute(marked).rowcount:
        return True
    rows = select(customer.c.token).where(customer.c.import_no == import_no).limit(limit)
    if tokens := tx.conn.scalars(rows).all():
        tx.conn.execute(delete(customer).where(customer.c.token.in_(tokens)))
        return False
    tx.conn.execute(delete(customer_import).where(ours, is_open))
    return True


def broken_off(
    conn: Connection, department: str, *, now: datetime, own: Collection[int]
) -> Sequence[int]:
    """Lists of a department that were never finished: ours, and old ones of whichever node."""
    which = (customer_import.c.department == department, customer_import.c.finished_at.is_(None))
    found = select(customer_import.c.import_no).where(*which, _is_dead(now, own))
    return conn.scalars(found).all()


def remove(tx: Tx, department: str, bidx: bytes, *, by: str, reason: str) -> bool:
    """Take a number out of a department's register; False if it was not in it.

    Raises:
        TamperedError: the register's seal was altered.
    """
    return _take_out(tx, department, bidx, by=by, action="customer.remove", reason=reason)


def erase(tx: Tx, bidx: bytes) -> int:
    """Take an erased person's number out of all registers; returns how many held it (SEC-08).

    Raises:
        TamperedError: a register's seal was altered.
    """
    names = _departments(tx.conn)
    _forget_coming(tx, [token_of(tx.vault, name, bidx) for name in names])
    return sum(
        _take_out(tx, name, bidx, by=tx.node_id, action="customer.erase", reason="erased")
        for name in names
    )


def n_registers(conn: Connection, vault: Vault, bidx: bytes) -> int:
    """How many registers hold a number."""
    return len(known(conn, [token_of(vault, name, bidx) for name in _departments(conn)]))


# ---------------------------------------------------------------- proving


def is_import_intact(vault: Vault, row: RowMapping) -> bool:
    """Whether the row of a list is as modemctl wrote it; of an open one nothing counts."""
    if row["finished_at"] is None:
        return True
    return hmac.compare_digest(row["mac"], vault.mac("customer_import", *_fields({**row})))


def is_register_intact(conn: Connection, vault: Vault, department: str) -> bool:
    """Whether a department's register holds the very rows that its seal stands for."""
    n, total = _seal(conn, vault, department)
    rows = conn.execute(
        select(customer.c.token, customer.c.import_no)
        .join(customer_import, customer_import.c.import_no == customer.c.import_no)
        .where(
            customer_import.c.department == department, customer_import.c.finished_at.is_not(None)
        )
    )
    n_found = found = 0
    for row in rows:
        n_found += 1
        found += weight_of(vault, row.token, row.import_no)
    return (n_found, found % _MODULUS) == (n, total)


def replay(conn: Connection) -> Iterator[str]:
    """Yield a line for each register whose seal is not the one of the log's latest word on it."""
    told: dict[str, tuple[int, str]] = {}
    entries = conn.execute(
        select(audit_entry.c.subject, audit_entry.c.details)
        .where(audit_entry.c.action.in_(_SEALING))
        .order_by(audit_entry.c.at, audit_entry.c.node_id, audit_entry.c.seq)
    )
    for entry in entries:
        details = json.loads(entry.details)
        told[entry.subject] = (details["n"], details["total"])
    held = {row.department: (row.n, row.total.hex()) for row in conn.execute(select(customer_seal))}
    for name, seal in sorted(told.items()):
        if held.get(name) != seal:
            what = "is missing" if name not in held else "was put back or changed"
            yield f"customer_seal {name}: the row {what}: not as the log left it"


# ---------------------------------------------------------------- inside


def _departments(conn: Connection) -> Sequence[str]:
    names = select(customer_import.c.department).distinct()
    return conn.scalars(names.order_by(customer_import.c.department)).all()


def _is_dead(now: datetime, own: Collection[int]) -> ColumnElement[bool]:
    """A list that is ours, or gave no sign of life for long; `at` is its last one."""
    is_silent = customer_import.c.at <= now - _BROKEN_OFF_AFTER
    return or_(customer_import.c.import_no.in_(own), is_silent)


def _note_alive(tx: Tx, import_no: int) -> None:
    comes_in = (
        customer_import.c.import_no == import_no,
        customer_import.c.finished_at.is_(None),
        customer_import.c.n_added != _TAKEN_BACK,
    )
    if not tx.conn.execute(update(customer_import).where(*comes_in).values(at=tx.now)).rowcount:
        raise _taken_back()


def _taken_back() -> Conflict:
    cure = "import the list again"
    return Conflict("the list was taken back meanwhile", field="department", cure=cure)


def _take_out(tx: Tx, department: str, bidx: bytes, *, by: str, action: str, reason: str) -> bool:
    """Rows of a list that is still coming in, or broke off, do not count: they stay."""
    token = token_of(tx.vault, department, bidx)
    is_whole = customer_import.c.finished_at.is_not(None)
    gone = tx.conn.execute(
        delete(customer)
        .where(
            customer.c.token == token,
            customer.c.import_no.in_(select(customer_import.c.import_no).where(is_whole)),
        )
        .returning(customer.c.import_no)
    ).first()
    if gone is None:
        return False
    weight = weight_of(tx.vault, token, gone.import_no)
    details: dict[str, Json] = {"reason": reason}
    _reseal(tx, department, -1, -weight, by=by, action=action, details=details)
    return True


def _forget_coming(tx: Tx, tokens: Sequence[bytes]) -> None:
    """Take these rows out of lists that are not finished; such a list can only begin anew."""
    is_open = customer_import.c.finished_at.is_(None)
    numbers = select(customer_import.c.import_no).where(is_open)
    gone = tx.conn.scalars(
        delete(customer)
        .where(customer.c.token.in_(tokens), customer.c.import_no.in_(numbers))
        .returning(customer.c.import_no)
    ).all()
    spoilt = update(customer_import).where(customer_import.c.import_no.in_(gone), is_open)
    tx.conn.execute(spoilt.values(n_added=_SPOILT))


def _reseal(
    tx: Tx,
    department: str,
    n: int,
    total: int,
    *,
    by: str,
    action: str,
    details: Mapping[str, Json],
) -> None:
    """Change a register's seal by so much, and say so in the log."""
    n_before, before = _seal(tx.conn, tx.vault, department)
    n_after = n_before + n
    octets = ((before + total) % _MODULUS).to_bytes(_SUM_OCTETS, "big")
    mac = tx.vault.mac("customer_seal", department, n_after, octets.hex())
    tx.conn.execute(delete(customer_seal).where(customer_seal.c.department == department))
    tx.conn.execute(
        insert(customer_seal).values(department=department, n=n_after, total=octets, mac=mac)
    )
    facts: dict[str, Json] = {"n": n_after, "total": octets.hex(), "policy": _RULE}
    tx.audit(by, action, department, {**details, **facts})


def _seal(conn: Connection, vault: Vault, department: str) -> tuple[int, int]:
    row = conn.execute(
        select(customer_seal).where(customer_seal.c.department == department)
    ).first()
    if row is None:
        if _imports(conn, vault, department):
            raise TamperedError("customer_seal: the row is missing")
        return 0, 0
    vault.check_mac(row.mac, "customer_seal", row.department, row.n, row.total.hex())
    return row.n, int.from_bytes(row.total, "big")


def _imports(conn: Connection, vault: Vault, department: str) -> Sequence[Import]:
    rows = conn.execute(
        select(*customer_import.c)
        .where(
            customer_import.c.department == department, customer_import.c.finished_at.is_not(None)
        )
        .order_by(customer_import.c.import_no.desc())
        .limit(_MOST_IMPORTS)
    ).mappings()
    return [_import(vault, row) for row in rows]


def _import(vault: Vault, row: RowMapping) -> Import:
    if not is_import_intact(vault, row):
        raise TamperedError("customer_import: the row was not written by modemctl")
    return _import_of({**row})


def _import_of(row: Mapping[str, object]) -> Import:
    at = row["finished_at"]
    assert isinstance(at, datetime)
    return Import(
        import_no=int(str(row["import_no"])),
        department=str(row["department"]),
        source=str(row["source"]),
        at=at,
        by=str(row["by"]),
        n_added=int(str(row["n_added"])),
    )


def _fields(row: Mapping[str, object]) -> tuple[object, ...]:
    times = (row["at"], row["finished_at"])
    whens = [to_ms(one) if isinstance(one, datetime) else None for one in times]
    names = ("import_no", "department", "source", "by", "n_added")
    return (*(row[name] for name in names), *whens)
