"""A bank whose database was lost and restored: modems come up, and nothing leaves by itself."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

from modemctl.service import backup_child
from modemctl.service.backup_child import Job
from tests.support.approved import numbers
from tests.support.backups import new_identity
from tests.support.banks import DaemonProcess, Site
from tests.support.commands import spawn
from tests.support.simulated import BankProcess


def backed_up(site: Site, target: Path) -> tuple[Path, Path]:
    """A backup of a site while no daemon runs, and the secret key that opens it."""
    identity, public = new_identity(target)
    made = backup_child.make(
        Job(
            folder=str(target), name="site.tar.age", url=site.url,
            scratch=str(site.folder / "state" / "scratch"), recipients=(public,), site="test",
            node="n1", at=datetime.now(UTC),
        )
    )  # fmt: skip
    assert made.sha256
    return target / "site.tar.age", identity


def test_a_running_batch_of_before_the_loss_waits_for_a_person(tmp_path):
    with BankProcess(tmp_path / "bank", "--modems", "2", "--seed", "7") as bank:
        site = Site(tmp_path / "site", str(tmp_path / "bank" / "ports" / "*"))
        site.add_cards(tmp_path / "bank")
        site.add_batch(numbers(6))
        file, identity = backed_up(site, tmp_path)
        shutil.rmtree(site.folder / "state")  # the disk is gone
        done = spawn(
            "-c", site.config, "restore", file, "--identity", identity, "--json"
        )  # fmt: skip
        assert done.status == 0, done
        told = json.loads(done.out)
        assert (told["n_held"], told["n_queued"], told["n_in_doubt"]) == (1, 6, 0)
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: site.n_ready() == 2, what="both READY")
        assert bank.ledger(kind="submit") == []
        assert site.segments() == {"queued": 6}
        assert site.query("SELECT state FROM batch") == [("held",)]
        assert site.query("SELECT kind FROM stop WHERE lifted_at IS NULL") == [("fleet",)]
