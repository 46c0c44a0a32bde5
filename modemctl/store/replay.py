"""What the audit log says of rows that authorise, held against the rows themselves.

A row of yesterday carries yesterday's valid MAC: only the log tells that it is not the latest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, RowMapping, select

from modemctl.store import custody, departments, record_replay
from modemctl.store.audits import IN_ORDER
from modemctl.store.engine import UNREADABLE
from modemctl.store.replay_rules import RULES, TYING, UNTOLD, Act, Entry, Row, Rule
from modemctl.store.seals import named
from modemctl.store.tables import to_ms

_GARBAGE: Final[Row] = ("cells that modemctl never wrote",)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What an entry left of a row; `row` None: it took it away."""

    row: Row | None
    by: str


def replay(conn: Connection) -> Iterator[str]:
    """Yield one line for each row that is not what the log's latest word on it says.

    Those of the tables in `RULES`; rows of which the log never spoke are not judged: without the
    key nobody makes one that counts (`store.seals`). Run it in one snapshot.
    """
    for rule in RULES:
        yield from named(rule.table.name, _replay(conn, rule))
    yield from named("custody", custody.replay(conn))
    yield from record_replay.replay(conn)
    yield from named("department", departments.replay(conn))


def _replay(conn: Connection, rule: Rule) -> Iterator[str]:
    said, unread = _latest(conn, rule.acts)
    yield from unread
    held = {
        rule.subject(row): _held(rule, row) for row in conn.execute(select(rule.table)).mappings()
    }
    for subject, one in sorted(said.items()):
        if one.row != UNTOLD and held.get(subject) != one.row:
            what = "is missing" if subject not in held else "was put back or changed"
            name = rule.table.name
            yield f"{name} {subject}: the row {what}: not as {one.by} left it"


def _held(rule: Rule, row: RowMapping) -> Row:
    try:
        return rule.read(row)
    except UNREADABLE:
        return _GARBAGE


def _latest(conn: Connection, acts: Mapping[str, Act]) -> tuple[Mapping[str, _Said], list[str]]:
    """Each subject's last entry among these acts, over all nodes; a line for what says nothing."""
    said: dict[str, _Said] = {}
    unread: list[str] = []
    for row in conn.execute(IN_ORDER, {"actions": sorted(acts)}).mappings():
        subject, action = row["subject"], row["action"]
        before = said.get(subject)
        by = f"entry {row['seq']} ({action})"
        try:
            entry = Entry(
                action=action,
                actor=row["actor"],
                at=to_ms(row["at"]),
                details=_details(row["details"]),
                before=None if before is None else before.row,
            )
            if action in TYING:  # one card a bay, one bay a card
                iccid = entry.details["iccid"]
                moved = [bay for bay, one in said.items() if _is_tie_of(one, iccid)]
                said |= {bay: _Said(row=None, by=by) for bay in moved}
            said[subject] = _Said(row=acts[action](entry), by=by)
        except UNREADABLE:
            unread.append(f"{by} of {row['node_id']} does not say what it has to")
    return said, unread


def _details(text: str) -> Mapping[str, object]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError("the details of an entry are an object")
    return found


def _is_tie_of(said: _Said, iccid: object) -> bool:
    return said.row is not None and said.row[:1] == (iccid,)
