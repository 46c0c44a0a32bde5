"""Encrypting anew, with the key of the last generation, while everything runs.

A step takes a few hundred rows of one column and notes how far it is in the same transaction: what
a crash ends goes on there. Ciphertexts of either generation open meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from modemctl.errors import TamperedError
from modemctl.store import (
    calls,
    evidence,
    holds,
    identities,
    inbox,
    keys,
    optouts,
    pins,
    puks,
    sims,
    webhooks,
    wishes,
)
from modemctl.store import tables as of
from modemctl.store.transaction import Tx

_Place: TypeAlias = Callable[[RowMapping], str]

_CHUNK: Final = 200  # rows: some milliseconds of the one writer
_KEY: Final = "reseal"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedColumn:
    """A column with ciphertexts; `place` is where a row's own stands, made from `needs`."""

    column: Column[bytes]
    place: _Place
    needs: Sequence[str] = ()

    @property
    def name(self) -> str:
        """`table.column`."""
        return f"{self.column.table.name}.{self.column.name}"

    @property
    def key(self) -> Column[int]:
        """What its rows are told apart by."""
        (key,) = self.column.table.primary_key.columns
        return key


def _by(name: str, place: Callable[[str], str]) -> _Place:
    return lambda row: place(row[name])


SEALED_COLUMNS: Final[Sequence[SealedColumn]] = (
    SealedColumn(column=of.sim.c.pin_enc, place=_by("iccid", pins.pin_place)),
    SealedColumn(column=of.sim.c.pin_pending_enc, place=_by("iccid", pins.pending_place)),
    SealedColumn(column=of.sim.c.number_enc, place=_by("iccid", sims.number_place)),
    SealedColumn(column=of.sim.c.identity_enc, place=_by("iccid", identities.place_of)),
    SealedColumn(column=of.puk_request.c.puk_enc, place=_by("request_id", puks.puk_place)),
    SealedColumn(
        column=of.opt_out.c.number_enc, place=lambda row: optouts.number_place(row["number_bidx"])
    ),
    SealedColumn(column=of.legal_hold.c.number_enc, place=_by("hold_id", holds.number_place)),
    SealedColumn(
        column=of.wish.c.body_enc,
        place=wishes.body_place,
        needs=("kind", "bay", "requested_by", "at"),
    ),
    SealedColumn(column=of.wish.c.result_enc, place=_by("wish_id", wishes.result_place)),
    SealedColumn(column=of.webhook.c.secret_enc, place=_by("name", webhooks.secret_place)),
    SealedColumn(column=of.webhook.c.old_secret_enc, place=_by("name", webhooks.old_secret_place)),
    SealedColumn(
        column=of.call.c.number_enc,
        place=lambda row: calls.number_place(row["bay"], row["started_at"]),
        needs=("bay", "started_at"),
    ),
    *(
        SealedColumn(
            column=of.inbox.c[name],
            place=lambda row, name=name: inbox.place(name, row["fingerprint"]),  # type: ignore[misc]  # binds the loop's own name
            needs=("fingerprint",),
        )
        for name in ("sender_enc", "body_enc", "tpdu_enc")
    ),
    SealedColumn(
        column=of.message.c.line_enc,
        place=lambda row: evidence.line_place(row["batch_id"], row["line_no"]),
        needs=("batch_id", "line_no"),
    ),
)
"""All that the vault encrypts (a test holds it against the schema)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a rotation is: rows of older generations left, and of them those that do not open."""

    generation: int
    n_left: int
    n_broken: int
    is_over: bool


def begin(tx: Tx, generation: int, *, n_left: int) -> Progress:
    """Note that all rows go to this generation; `step` does it, whatever comes between."""
    state = {"generation": generation, "at": 0, "after": None, "left": n_left, "broken": 0}
    tx.conn.execute(delete(of.meta).where(of.meta.c.key == _KEY))
    tx.conn.execute(insert(of.meta).values(key=_KEY, value=json.dumps(state)))
    return _progress(state)


def read(conn: Connection) -> Progress | None:
    """The rotation that is under way; None where none is."""
    state = _state(conn)
    return None if state is None else _progress(state)


def step(tx: Tx) -> Progress | None:
    """Encrypt up to some hundred values anew; None where nothing is under way."""
    state = _state(tx.conn)
    if state is None:
        return None
    generation = int(str(state["generation"]))
    if tx.vault.generation < generation:  # added in a commit just now
        keys.unlock(tx.conn, tx.vault)
    at = int(str(state["at"]))
    if at >= len(SEALED_COLUMNS):
        tx.conn.execute(delete(of.meta).where(of.meta.c.key == _KEY))
        facts = {"generation": generation, "broken": int(str(state["broken"]))}
        tx.audit(tx.node_id, "vault.rotated", "data keys", {**facts, "policy": "SEC-03"})
        return Progress(
            generation=generation, n_left=0, n_broken=int(str(state["broken"])), is_over=True
        )
    one = SEALED_COLUMNS[at]
    rows = _next_rows(tx.conn, one, generation, _opened(state["after"]))
    n_broken = _reseal(tx, one, rows)
    state = {
        **state,
        "left": max(int(str(state["left"])) - len(rows) + n_broken, 0),
        "broken": int(str(state["broken"])) + n_broken,
        "after": _closed(rows[-1]["key"]) if len(rows) == _CHUNK else None,
        "at": at if len(rows) == _CHUNK else at + 1,
    }
    tx.conn.execute(update(of.meta).where(of.meta.c.key == _KEY).values(value=json.dumps(state)))
    return _progress(state)


def count_old(conn: Connection, generation: int) -> Mapping[str, int]:
    """Rows that are not of this generation, by column; those with none are left out."""
    found = {one.name: _count_old(conn, one, generation) for one in SEALED_COLUMNS}
    return {name: n for name, n in found.items() if n}


def _next_rows(
    conn: Connection, one: SealedColumn, generation: int, after: object
) -> Sequence[RowMapping]:
    table = one.column.table
    columns = [one.key.label("key"), one.key, one.column.label("sealed")]
    columns += [table.c[name] for name in one.needs]
    statement = select(*columns).where(_is_old(one, generation)).order_by(one.key).limit(_CHUNK)
    if after is not None:
        statement = statement.where(one.key > after)
    return conn.execute(statement).mappings().all()


def _reseal(tx: Tx, one: SealedColumn, rows: Sequence[RowMapping]) -> int:
    """How many do not open; those stay as they are."""
    values, n_broken = [], 0
    for row in rows:
        try:
            sealed = tx.vault.reseal(row["sealed"], place=one.place(row))
        except TamperedError:
            n_broken += 1
        else:
            values.append({"b_key": row["key"], "b_sealed": sealed})
    if values:
        ours = update(one.column.table).where(one.key == bindparam("b_key"))
        tx.conn.execute(ours.values({one.column.name: bindparam("b_sealed")}), values)
    return n_broken


def _count_old(conn: Connection, one: SealedColumn, generation: int) -> int:
    n = conn.scalar(
        select(func.count()).select_from(one.column.table).where(_is_old(one, generation))
    )
    assert n is not None, "a count is a number"
    return n


def _is_old(one: SealedColumn, generation: int) -> ColumnElement[bool]:
    first = func.substr(one.column, 1, 1)
    return and_(one.column.is_not(None), first != bytes((generation,)))


def _state(conn: Connection) -> Mapping[str, object] | None:
    text = conn.scalar(select(of.meta.c.value).where(of.meta.c.key == _KEY))
    state: Mapping[str, object] | None = None if text is None else json.loads(text)
    return state


def _progress(state: Mapping[str, object]) -> Progress:
    return Progress(
        generation=int(str(state["generation"])),
        n_left=int(str(state["left"])),
        n_broken=int(str(state["broken"])),
        is_over=False,
    )


def _closed(key: object) -> object:
    return {"hex": key.hex()} if isinstance(key, bytes) else key


def _opened(key: object) -> object:
    return bytes.fromhex(key["hex"]) if isinstance(key, dict) else key
