"""Restore a backup, or try whether it could be restored; without a daemon (SEC-07)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from modemctl.cli.client import Connection, Record
from modemctl.cli.errors import EXIT_REFUSED, ApiProblem, NoDaemon, Refusal, explain
from modemctl.cli.show import as_json_option, show_json

if TYPE_CHECKING:  # they take the store along
    from modemctl.config import Settings
    from modemctl.service.restoring import Opener, Restored, Tried

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_FAULTS_SHOWN: Final = 20


@click.command(
    epilog="Example: modemctl restore --verify /srv/backup/modemctl-….tar.age --identity key.txt"
)
@click.argument("file", type=_FILE)
@click.option(
    "--identity",
    required=True,
    type=_FILE,
    help="File of a recipient's secret key, as age-keygen wrote it.",
)
@click.option("--verify", is_flag=True, help="Restore into a scratch folder only, prove all of it.")
@click.option(
    "--scratch",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder for the scratch database, of its size.",
)
@click.option("--no-record", is_flag=True, help="Do not record the test with the daemon.")
@as_json_option
@click.pass_obj
def restore(
    connection: Connection,
    file: Path,
    *,
    identity: Path,
    verify: bool,
    scratch: Path | None,
    no_record: bool,
    as_json: bool,
) -> int:
    """Restore a backup into an empty state folder, or try it.

    A restored controller sends nothing by itself: the fleet is stopped, batches are held, what was
    in hand is in doubt. docs/backup.md says what to look at before somebody lifts the stop.
    """
    from modemctl.config import load

    settings = load(connection.config_path)
    if not verify:
        with _ended_as_by_hand():
            done = _restore(settings, file, identity)
        _tell_restored(done, as_json=as_json)
        return 0
    with _ended_as_by_hand():
        tried = _try(settings, file, identity, scratch)
    is_kept = no_record or tried.receipt is None
    recorded = "" if is_kept else _record(connection, tried.receipt or "")
    _tell_tried(tried, recorded, as_json=as_json)
    return EXIT_REFUSED if tried.faults else 0


@contextmanager
def _ended_as_by_hand() -> Iterator[None]:
    """A kill or a lost terminal ends the block as Ctrl-C does: what was decrypted goes."""
    numbers: list[signal.Signals] = []
    if threading.current_thread() is threading.main_thread():  # no other may say so
        numbers = [signal.SIGTERM, signal.SIGHUP]
    # `nohup` wants it to go on
    ours = [one for one in numbers if signal.getsignal(one) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _restore(settings: Settings, file: Path, identity: Path) -> Restored:
    from modemctl.service.restoring import restore as put_back

    return put_back(file, settings, opener=_opener(settings, identity))


def _try(settings: Settings, file: Path, identity: Path, scratch: Path | None) -> Tried:
    from modemctl.service.restoring import try_restore

    return try_restore(file, opener=_opener(settings, identity), scratch=scratch)


def _opener(settings: Settings, identity: Path) -> Opener:
    """The keys that a backup opens with, besides the recipient's secret one."""
    from modemctl.clock import SystemClock
    from modemctl.service.restoring import Opener
    from modemctl.vault import AuditKey, Vault

    paths = settings.paths
    return Opener(
        identity=identity,
        vault=Vault.load(paths.master_key_file, has_data=True),
        audit_key=AuditKey.load(paths.audit_key_file, has_data=True),
        clock=SystemClock(),
    )


def _record(connection: Connection, receipt: str) -> str:
    """How recording went, in words; empty where it is recorded."""
    try:
        with connection.client() as client:
            client.post("/v1/restore-tests", {"receipt": receipt})
    except (NoDaemon, ApiProblem, Refusal) as error:
        return explain(error)
    return "recorded"


def _tell_tried(tried: Tried, recorded: str, *, as_json: bool) -> None:
    manifest = tried.manifest
    if as_json:
        shown: Record = {
            "sha256": tried.sha256,
            "site": manifest.site,
            "node": manifest.node,
            "made_at": manifest.at.isoformat(),
            "schema": manifest.schema,
            "n_rows": tried.n_rows,
            "n_entries": tried.n_entries,
            "faults": list(tried.faults),
            "unchecked": list(tried.unchecked),
            "receipt": tried.receipt,
            "is_recorded": recorded == "recorded",
        }
        show_json(shown)
        return
    verdict = f"{len(tried.faults)} FAULTS" if tried.faults else "whole"
    click.echo(
        f"{manifest.site}/{manifest.node} of {manifest.at.isoformat(timespec='seconds')}:"
        f" {verdict}; {tried.n_rows} rows, {tried.n_entries} audit entries"
    )
    for fault in tried.faults[:_FAULTS_SHOWN]:
        click.echo(f"  {fault}")
    for node in tried.unchecked:
        click.echo(f"the chain of node {node} is verified on its own server: audit verify")
    if tried.receipt is None:
        return
    if recorded == "recorded":
        click.echo("restore test: recorded")
        return
    click.echo("to record this test, on the server:")
    click.echo(f"  modemctl backup tested {tried.receipt}")
    if recorded:
        click.echo(f"not recorded by itself: {recorded}", err=True)


def _tell_restored(done: Restored, *, as_json: bool) -> None:
    manifest, still = done.manifest, done.standstill
    if as_json:
        shown: Record = {
            "sha256": done.sha256,
            "made_at": manifest.at.isoformat(),
            "n_held": still.n_held,
            "n_in_doubt": still.n_in_doubt,
            "n_queued": still.n_queued,
            "n_webhooks": still.n_webhooks,
            "settings": str(done.settings),
        }
        show_json(shown)
        return
    click.echo(f"restored: as it was at {manifest.at.isoformat(timespec='seconds')}")
    click.echo(
        f"the fleet is stopped; {still.n_held} batches are held with {still.n_queued} segments that"
        f" may have left since; {still.n_in_doubt} segments are in doubt"
    )
    if still.n_webhooks:
        click.echo(f"{still.n_webhooks} webhooks are paused: modemctl webhook resume NAME")
    click.echo(f"the settings of then: {done.settings}")
    click.echo("before anybody lifts the stop: docs/backup.md, “After a restore”")


COMMANDS: Final = {"restore": restore}
