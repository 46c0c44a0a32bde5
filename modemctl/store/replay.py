"""What the audit log says of rows that authorise, held against the rows themselves.

A row of yesterday carries yesterday's valid MAC: only the log tells that it is not the latest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sqlalchemy import Connection, RowMapping, Table, select

from modemctl.lifecycle import CardState
from modemctl.policy.admission import AdmissionState
from modemctl.store.tables import admission, audit_entry, bay_tie, sim, to_ms

_Row: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What an entry left of a row; `row` None: it took it away."""

    row: _Row | None
    by: str


def replay(conn: Connection) -> Iterator[str]:
    """Yield one line for each row that is not what the log's latest word on it says.

    Bays' ties, the admission list and the states of cards; rows of which the log never spoke are
    not judged: without the key nobody makes one. Run it in one snapshot.
    """
    for table, key, acts, read in _TABLES:
        said = _latest(conn, acts)
        held = {row[key]: read(row) for row in conn.execute(select(table)).mappings()}
        for subject, one in sorted(said.items()):
            if held.get(subject) != one.row:
                what = "is missing" if subject not in held else "was put back or changed"
                yield f"{table.name} {subject}: the row {what}: not as {one.by} left it"


def _latest(
    conn: Connection, acts: Mapping[str, Callable[[RowMapping, Mapping[str, object]], _Row | None]]
) -> Mapping[str, _Said]:
    """Each subject's last entry among these acts, over all nodes."""
    order = (audit_entry.c.at, audit_entry.c.node_id, audit_entry.c.seq)
    query = select(*audit_entry.c).where(audit_entry.c.action.in_(sorted(acts))).order_by(*order)
    said: dict[str, _Said] = {}
    for entry in conn.execute(query).mappings():
        details = json.loads(entry["details"])
        by = f"entry {entry['seq']} ({entry['action']})"
        if entry["action"] in _TYING:  # one card a bay, one bay a card
            moved = [bay for bay, one in said.items() if _is_tie_of(one, details["iccid"])]
            said |= {bay: _Said(row=None, by=by) for bay in moved}
        said[entry["subject"]] = _Said(row=acts[entry["action"]](entry, details), by=by)
    return said


def _is_tie_of(said: _Said, iccid: object) -> bool:
    return said.row is not None and said.row[0] == iccid


def _tied(entry: RowMapping, details: Mapping[str, object]) -> _Row:
    return details["iccid"], entry["action"] == "bay.bind", entry["actor"], to_ms(entry["at"])


def _tie(row: RowMapping) -> _Row:
    return row["iccid"], row["is_firm"], row["tied_by"], to_ms(row["tied_at"])


def _admitting(state: AdmissionState) -> Callable[[RowMapping, Mapping[str, object]], _Row]:
    return lambda entry, _: (state.value, to_ms(entry["at"]))


def _admission(row: RowMapping) -> _Row:
    at = row["decided_at"] or row["requested_at"]
    return row["state"], None if at is None else to_ms(at)


def _state_of(name: str) -> Callable[[RowMapping, Mapping[str, object]], _Row]:
    return lambda _, details: (CardState(str(details[name])).value,)


_TYING: Final = frozenset({"bay.learn", "bay.bind"})
_TABLES: Final[
    Sequence[
        tuple[
            Table,
            str,
            Mapping[str, Callable[[RowMapping, Mapping[str, object]], _Row | None]],
            Callable[[RowMapping], _Row],
        ]
    ]
] = (
    (
        bay_tie,
        "bay",
        {"bay.learn": _tied, "bay.bind": _tied, "bay.unbind": lambda *_: None},
        _tie,
    ),
    (
        admission,
        "imei",
        {
            "admission.request": _admitting(AdmissionState.REQUESTED),
            "admission.approve": _admitting(AdmissionState.ADMITTED),
            "admission.expel": _admitting(AdmissionState.EXPELLED),
        },
        _admission,
    ),
    (
        sim,
        "iccid",
        {
            "sim.add": _state_of("state"),
            "sim.complete": _state_of("state"),
            "sim.state": _state_of("after"),
        },
        lambda row: (row["state"],),
    ),
)
