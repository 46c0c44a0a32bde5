"""What the audit log says of records: rows that authorise nothing, and tell people what was done.

They carry no seal of their own, or one that leaves words out: here each is held against its entry.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from sqlalchemy import Connection, RowMapping, func, select

from modemctl.lifecycle import BatchState
from modemctl.policy.digest import decode_header
from modemctl.store import backups, customers, loopbacks
from modemctl.store.audits import IN_ORDER
from modemctl.store.seals import named
from modemctl.store.tables import (
    audit_entry,
    backup,
    backup_act,
    batch,
    batch_removed,
    card_number,
    customer_seal,
    duty,
    erasure,
    incident_note,
    legal_hold,
    purge_run,
    register_confirmation,
    stop_batch,
    stop_flight,
    wish,
)

_Row: TypeAlias = tuple[object, ...]


def replay(conn: Connection) -> Iterator[str]:
    """Yield one line for each record that is not as the log says. Run it in one snapshot."""
    for table, find in (
        (register_confirmation, _confirmations),
        (duty, _duties),
        (card_number, _accepted_numbers),
        (incident_note, _timelines),
        (stop_batch, _reaches),
        (legal_hold, _hold_words),
        (erasure, _erasures),
        (purge_run, _purges),
        (batch_removed, _removed),
        (wish, _answers),
        (batch, loopbacks.replay),
        (customer_seal, customers.replay),
        (backup, _backups),
        (backup_act, _backup_acts),
    ):
        yield from named(table.name, find(conn))


def _entries(conn: Connection, *actions: str) -> Sequence[RowMapping]:
    return conn.execute(IN_ORDER, {"actions": sorted(actions)}).mappings().all()


def _details(entry: RowMapping) -> Mapping[str, object]:
    found = json.loads(entry["details"])
    if not isinstance(found, dict):
        raise TypeError("the details of an entry are an object")
    return found


def _compare(name: str, said: Mapping[str, _Row], held: Mapping[str, _Row]) -> Iterator[str]:
    """One line for each row that differs from what was said, or of which nothing was."""
    for key in sorted(said.keys() | held.keys()):
        if key not in held:
            yield f"{name} {key}: the row is missing, the log tells of it"
        elif key not in said:
            yield f"{name} {key}: no entry of the log made it"
        elif said[key] != held[key]:
            yield f"{name} {key}: the row was put back or changed: not as the log tells it"


def _confirmations(conn: Connection) -> Iterator[str]:
    """A department's word, without which its cards are told as unconfirmed."""
    said = {
        one["subject"]: (one["actor"], one["at"]) for one in _entries(conn, "register.confirmed")
    }
    held = {
        row["department"]: (row["done_by"], row["at"])
        for row in conn.execute(select(register_confirmation)).mappings()
    }
    yield from _compare("register_confirmation", said, held)


def _duties(conn: Connection) -> Iterator[str]:
    """When a duty was done; one that begins anew was taken out in between."""
    said: dict[str, _Row] = {}
    for one in _entries(conn, "duty.begin", "duty.done"):
        is_begin = one["action"] == "duty.begin"
        if is_begin and one["subject"] in said:
            yield f"duty {one['subject']}: the row was taken out before entry {one['seq']}"
        said[one["subject"]] = ("" if is_begin else one["actor"], one["at"])
    held = {
        row["duty"]: (row["done_by"], row["done_at"])
        for row in conn.execute(select(duty)).mappings()
        if row["duty"] in said or row["done_by"]  # begun before the log told of it
    }
    yield from _compare("duty", said, held)


def _accepted_numbers(conn: Connection) -> Iterator[str]:
    """That the register is right and the card wrong is what a person said, of this number."""
    said: dict[str, str | None] = {}
    for one in _entries(conn, "sim.number_accepted", "sim.number_differs"):
        is_accepted = one["action"] == "sim.number_accepted"
        said[one["subject"]] = one["actor"] if is_accepted else None
    for row in conn.execute(select(card_number)).mappings():
        if row["accepted_by"] is not None and said.get(row["iccid"]) != row["accepted_by"]:
            yield f"card_number {row['iccid']}: nobody has accepted it, as the log tells"


def _timelines(conn: Connection) -> Iterator[str]:
    """Each line of an incident stands in the log as well."""
    said: dict[str, list[_Row]] = defaultdict(list)
    actions = select(audit_entry.c.action).where(audit_entry.c.action.like("incident.%"))
    for one in _entries(conn, *conn.scalars(actions.distinct())):
        text = _details(one).get("text")
        what = str(one["action"]).removeprefix("incident.")
        said[one["subject"]].append((one["at"], one["actor"], what, text))
    held: dict[str, list[_Row]] = defaultdict(list)
    rows = select(incident_note).order_by(incident_note.c.note_id)
    for row in conn.execute(rows).mappings():
        line = (row["at"], row["by"], row["what"], row["text"])
        held[row["incident_id"]].append(line)
    yield from _compare(
        "incident_note",
        {key: tuple(lines) for key, lines in said.items()},
        {key: tuple(lines) for key, lines in held.items()},
    )


def _reaches(conn: Connection) -> Iterator[str]:
    """What a stop met: the batches that ran, and the segments that cards had in hand."""
    batches: dict[str, set[object]] = defaultdict(set)
    for row in conn.execute(select(stop_batch)):
        batches[row.stop_id].add(row.batch_id)
    flights: dict[str, set[_Row]] = defaultdict(set)
    for row in conn.execute(select(stop_flight)):
        flights[row.stop_id].add((row.segment_id, row.was))
    known = set()
    for one in _entries(conn, "stop.place"):
        stop_id, details = one["subject"], _details(one)
        known.add(stop_id)
        told, in_hand = details.get("batches"), details.get("flights")
        if not isinstance(told, list) or not isinstance(in_hand, list):
            continue  # earlier versions did not tell
        if set(told) != batches[stop_id]:
            yield f"stop_batch {stop_id}: not the batches that entry {one['seq']} tells of"
        if {tuple(segment) for segment in in_hand} != flights[stop_id]:
            yield f"stop_flight {stop_id}: not the segments that entry {one['seq']} tells of"
    for stop_id in sorted((batches.keys() | flights.keys()) - known):
        yield f"stop_batch {stop_id}: no entry of the log placed this stop"


def _hold_words(conn: Connection) -> Iterator[str]:
    """Who set a legal hold and why; its seal tells what it keeps."""
    said: dict[str, _Row] = {}
    for one in _entries(conn, "hold.set", "hold.lift"):
        words = (one["actor"], _details(one)["reason"])
        is_set = one["action"] == "hold.set"
        said[one["subject"]] = (
            (*words, None, None) if is_set else (*said.get(one["subject"], ())[:2], *words)
        )
    held = {
        row["hold_id"]: (row["set_name"], row["reason"], row["lifted_name"], row["lift_reason"])
        for row in conn.execute(select(legal_hold)).mappings()
    }
    yield from _compare("legal_hold", said, held)


def _erasures(conn: Connection) -> Iterator[str]:
    """Each erasure used up the permit that its entry names."""
    said: dict[str, _Row] = {}
    for one in _entries(conn, "erasure.run"):
        details = _details(one)
        said[str(details["request"])] = (one["subject"], one["actor"], details["reason"])
    held = {
        row["request_id"]: (row["number_bidx"].hex(), row["by"], row["reason"])
        for row in conn.execute(select(erasure)).mappings()
    }
    yield from _compare("erasure", said, held)


def _purges(conn: Connection) -> Iterator[str]:
    """A purge ends once: one that is opened again would go on with the old permit."""
    said: dict[str, _Row] = {}
    for one in _entries(conn, "purge.begin", "purge.end"):
        details = _details(one)
        if one["action"] == "purge.begin":
            said[one["subject"]] = (None,)
            continue
        if said.get(one["subject"], (None,)) != (None,):
            yield f"purge_run {one['subject']}: it was opened again before entry {one['seq']}"
        said[one["subject"]] = (one["at"], details["n_batches"], details["n_rows"])
    held = {}
    for row in conn.execute(select(purge_run)).mappings():
        is_over = row["finished_at"] is not None
        counts = (row["n_batches"], row["n_rows"]) if is_over else ()
        held[row["run_id"]] = (row["finished_at"], *counts)
    yield from _compare("purge_run", said, held)


def _backups(conn: Connection) -> Iterator[str]:
    """Each backup is in the state that the log's last word on it left."""
    states = {
        "backup.make": "done",
        "backup.fail": "failed",
        "backup.remove": "removed",
    }
    said = {one["subject"]: states[one["action"]] for one in _entries(conn, *states)}
    yield from backups.replay(conn, said)


def _backup_acts(conn: Connection) -> Iterator[str]:
    """A copy on a medium and its keeper, a restore that tried a file: as its entry says."""
    said: dict[str, _Row] = {}
    for one in _entries(conn, "backup.copy", "backup.test"):
        details = _details(one)
        said[str(details["act"])] = (one["subject"], one["actor"], details.get("keeper"))
    held = {
        row["act_id"]: (row["backup_id"], row["by"], row["keeper"])
        for row in conn.execute(select(backup_act)).mappings()
    }
    yield from _compare("backup_act", said, held)


def _removed(conn: Connection) -> Iterator[str]:
    """The approvers signed how many lines were taken out, by reason."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    counted = select(
        batch_removed.c.batch_id, batch_removed.c.reason, func.count().label("n")
    ).group_by(batch_removed.c.batch_id, batch_removed.c.reason)
    for row in conn.execute(counted):
        found[row.batch_id][row.reason] = row.n
    rows = select(batch.c.batch_id, batch.c.header, batch.c.salt_nonce).where(
        batch.c.header.is_not(None), batch.c.state != BatchState.DRAFT
    )
    for row in conn.execute(rows):
        if row.salt_nonce is None:
            continue  # purged, or about to be
        wanted = decode_header(row.header).totals.removed_by
        if dict(wanted) != found.get(row.batch_id, {}):
            yield f"batch_removed {row.batch_id}: not the lines that its header counts"


def _answers(conn: Connection) -> Iterator[str]:
    """A command to a modem is done once; its row, put back, is not."""
    seen: set[object] = set()
    for one in _entries(conn, "modem.at.answered"):
        wish_id = _details(one)["wish_id"]
        if wish_id in seen:
            yield f"wish {wish_id}: it was put back, and done again before entry {one['seq']}"
        seen.add(wish_id)
