"""The database and what it knows of the cards' PINs, read without the daemon."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from modemctl.config import PurgeMode
from modemctl.doctor.findings import Finding, fail, ok, some, warn
from modemctl.doctor.people import READ, asker, may
from modemctl.doctor.rights import key_of
from modemctl.doctor.subject import Subject
from modemctl.errors import ConfigError, StoreError
from modemctl.service.locks import LockState
from modemctl.service.purges import retention
from modemctl.store import addresses
from modemctl.store.card_locks import LockRow
from modemctl.store.engine import SCHEMA_REVISION, sqlite_path
from modemctl.store.key_files import load_database
from modemctl.store.peek import Condition, PinCensus, ServerFacts, peek, peek_server
from modemctl.vault import Vault

_PATIENCE: Final = 10.0  # seconds for the check of the pages; a gibibyte takes some three
_RESTORE: Final = "stop the daemon, restore a copy, then: modemctl audit verify --offline"
_WORDS: Final = {
    "proved": "proved", "unproved": "not tried yet", "failed": "wrong", "blocked": "PUK needed",
    "none": "without a PIN",
}  # fmt: skip


def check_database(subject: Subject) -> Iterator[Finding]:
    """It opens, is whole, and is of this version, key and site; and how the PINs stand."""
    path = sqlite_path(subject.settings.paths.database_url)
    if path is None:
        yield from _check_server(subject)
        return
    facts = subject.facts
    found = facts.stat(path)
    is_others = facts.uid not in {0, subject.runner.uid}
    if found is None:
        is_hidden = facts.stat(path.parent) is None or not may(facts, subject.runner, path, READ)
        if is_hidden and is_others:
            yield warn("database", f"{path} cannot be seen as this user", "sudo modemctl doctor")
        else:
            yield fail("database", f"{path} does not exist", "modemctl db upgrade")
        return
    if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for, without end
        yield fail("database", f"{path} is no file", "name the database's file (paths.database)")
        return
    if is_others and not may(facts, asker(facts), path, READ):
        yield warn("database", f"{path} is closed to this user", "sudo modemctl doctor")
        return
    try:
        condition = peek(
            facts.path(path),
            is_in_use=subject.daemon is not None,
            clock=facts.clock,
            patience=_PATIENCE,
            cutoffs=retention(subject.settings.retention).cutoffs(facts.clock.now()),
        )
    except StoreError as error:
        yield fail("database", f"{path}: {error}", _cure_of(path, str(error)))
        return
    yield from _judge(subject, path, condition)


def _cure_of(path: Path, error: str) -> str:
    if "ermission" in error or "unable to open" in error:
        return f"sudo modemctl doctor; the daemon's user must own {path}"
    if "waits to be read in" in error:
        return "systemctl start modemctl"
    return _RESTORE


def _judge(subject: Subject, path: Path, condition: Condition) -> Iterator[Finding]:
    if condition.faults:
        yield fail("database", f"{path} is damaged: {some(condition.faults, 2)}", _RESTORE)
        return
    if condition.revision is None:
        what = "is not modemctl's, or empty"
        yield fail("database", f"{path} {what}", "modemctl db upgrade, or name another one")
        return
    size = f"{subject.facts.path(path).stat().st_size / 1_048_576:.1f} MiB"
    whole = "whole" if condition.is_read_whole else f"no damage in the first {_PATIENCE:.0f} s"
    yield ok("database", f"{path}, {size}, {whole}")
    yield _judge_schema(condition)
    if condition.is_copied:
        seen = "it was copied elsewhere: no daemon starts on it"
        yield fail("copied", seen, "name the copy (paths.database); docs/postgresql.md")
    yield _judge_journal(subject, condition)
    yield from _judge_rows(subject, condition)


def _check_server(subject: Subject) -> Iterator[Finding]:
    """A database on PostgreSQL, asked as the daemon would ask."""
    shown = subject.settings.paths.database_url
    cutoffs = retention(subject.settings.retention).cutoffs(subject.facts.clock.now())
    try:
        url = load_database(subject.settings.paths)
        condition, server = peek_server(url, cutoffs=cutoffs)
    except ConfigError as error:
        seen, _, cure = error.problems[0].partition("; ")
        yield fail("database", seen, cure or "sudo modemctl doctor")
        return
    except StoreError as error:
        yield fail("database", f"{shown}: {error}", addresses.cure(str(error)))
        return
    if condition.revision is None:
        seen = f"{shown} is not modemctl's, or empty"
        yield fail("database", seen, "modemctl db upgrade, or name another one")
        return
    size = f"{server.n_octets / 1_048_576:.1f} MiB"
    yield ok("database", f"{shown}, {size}, PostgreSQL {server.version}")
    yield _judge_schema(condition)
    yield _judge_session(subject, server)
    yield from _judge_rows(subject, condition)


def _judge_session(subject: Subject, server: ServerFacts) -> Finding:
    """Whose daemons work on the database: each name belongs to one."""
    if not server.daemons:
        return ok("session", "no daemon works on the database")
    told = ", ".join(f"{one.node_id} from {one.place}" for one in server.daemons)
    seen, node = f"nodes that work on the database: {told}", subject.settings.site.node
    if subject.daemon is not None or node not in {one.node_id for one in server.daemons}:
        return ok("session", seen)
    cure = "a daemon here would be kept out: end that one, or give this a name (site.node)"
    return warn("session", seen, cure)


def _judge_schema(condition: Condition) -> Finding:
    if condition.revision == SCHEMA_REVISION:
        return ok("schema", f"{condition.revision}, as this version needs it")
    seen = f"{condition.revision}; this version needs {SCHEMA_REVISION}"
    cure = "stop the daemon, modemctl db upgrade (or install the newer modemctl)"
    return fail("schema", seen, cure)


def _judge_rows(subject: Subject, condition: Condition) -> Iterator[Finding]:
    """What stands in it."""
    yield from _judge_owner(subject, condition)
    if condition.pins is not None:
        yield from judge_pins(condition.pins)
    if condition.locks:
        yield judge_locks(condition.locks)
    if condition.n_holds is not None:
        yield _judge_retention(subject, condition, condition.n_holds)
    if condition.n_emergencies:
        seen = f"let go, and not signed by their chain yet: {condition.n_emergencies}"
        yield warn("emergencies", seen, "modemctl batch emergencies; their approvers sign")
    if condition.n_webhooks and not subject.settings.webhooks.allow:
        seen = f"{condition.n_webhooks} set up, and webhooks.allow names no host: they get nothing"
        cure = 'name their hosts below [webhooks]: allow = ["crm.example.com"] (docs/webhooks.md)'
        yield warn("webhooks", seen, cure)


def _judge_journal(subject: Subject, condition: Condition) -> Finding:
    """A daemon sets WAL when it opens the database; where it could not, something is odd."""
    if condition.is_wal:
        return ok("journal", "WAL: readers and the writer do not wait for each other")
    if subject.daemon is None:
        return ok("journal", "no WAL yet; the daemon's first start sets it")
    seen = "no WAL, though a daemon runs: readers and the writer wait for each other"
    return warn("journal", seen, "systemctl restart modemctl; is the disk local?")


def _judge_owner(subject: Subject, condition: Condition) -> Iterator[Finding]:
    """The database belongs to this master key and site."""
    key = key_of(subject.facts, subject.settings)
    if key is None:
        pass  # what is wrong with the key file, or whose it is, stands elsewhere
    elif Vault(key).check_value in {condition.key_check, condition.key_next}:
        yield ok("key and data", "the database was made with this master key")
    else:
        seen = "the database was made with another master key"
        yield fail("key and data", seen, "restore the right master key")
    site = subject.settings.site.id
    if condition.site_id != site:
        seen = f"the database is of site {condition.site_id}, the settings name {site}"
        yield warn("site", seen, "correct site.id, or name this site's database")


def _judge_retention(subject: Subject, condition: Condition, n_holds: int) -> Finding:
    """Who removes what was kept long enough, when that was last, how many holds keep from it."""
    is_by_hand = subject.settings.retention.purge is PurgeMode.BY_HAND
    last = condition.purged_at
    day = "none yet" if last is None else f"last on {last.date().isoformat()}"
    holds = f"legal holds in force: {n_holds}"
    seen = f"purged {'by two persons' if is_by_hand else 'by itself'}, {day}; {holds}"
    if is_by_hand and condition.has_old:
        cure = "modemctl purge preview tells what, and what holds keep; two persons purge"
        return warn("retention", f"{seen}; some rows are due", cure)
    return ok("retention", seen)


def judge_locks(rows: Sequence[LockRow]) -> Finding:
    """Who asks for a PIN at power-up (SIM-07), as the modems told last."""
    counts = Counter(row.lock for row in rows)
    told = ", ".join(f"{counts[state]} {state}" for state in LockState if counts[state])
    seen = f"{len(rows)} cards in use or in a bay: {told}"
    if counts.keys() - {LockState.LOCKED, LockState.UNKNOWN}:
        return warn("PIN locks", seen, "modemctl sims locks says which, and why")
    return ok("PIN locks", seen)


def judge_pins(pins: PinCensus) -> Iterator[Finding]:
    """How the cards' PINs stand, in one line, and what holds the guard back."""
    n_cards = sum(pins.cards.values())
    told = ", ".join(f"{n} {_WORDS.get(state, state)}" for state, n in sorted(pins.cards.items()))
    seen = f"{n_cards} cards: {told}" if n_cards else "no card is registered"
    n_bad = pins.cards.get("failed", 0) + pins.cards.get("blocked", 0)
    if n_bad:
        cure = "modemctl sims list; correct the PIN and import it again, or use the PUK"
        yield warn("PINs", seen, cure)
    else:
        yield ok("PINs", seen)
    if pins.stopped:
        n = len(pins.stopped)
        seen = f"{n} imports stopped ({some(pins.stopped, 2)}); {pins.n_waiting} cards wait"
        yield warn("PIN guard", seen, "docs/runbooks/ModemctlPinGuardStopped.md")
