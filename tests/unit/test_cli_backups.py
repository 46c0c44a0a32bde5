"""The commands of backups, against a served application and without one."""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from modemctl.config import Settings
from modemctl.service.policies import Policies
from tests.support.apis import ApiBench, open_api, serving
from tests.support.backups import new_identity, settings_of
from tests.support.commands import ask, call
from tests.support.stores import AUDIT_SEED, MASTER_KEY


def written(folder: Path, settings: Settings) -> Path:
    """The settings as a file, as far as the commands need them."""
    own = settings.backup
    path = folder / "modemctl.toml"
    path.write_text(
        f"""
[site]
node = "n1"
[paths]
state_dir = "{settings.paths.state_dir}"
master_key_file = "{folder}/master.key"
audit_key_file = "{folder}/audit.key"
[backup]
folder = "{own.folder}"
allowed = ["{own.folder}"]
recipients = ["{own.recipients[0]}"]
allow_same_disk = true
""",
        encoding="utf-8",
    )
    return path


def keys_of_tests(folder: Path) -> None:
    """The key files that the tests' stores were made with."""
    for name, octets in (("master.key", MASTER_KEY), ("audit.key", AUDIT_SEED)):
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(base64.b64encode(octets) + b"\n")


@pytest.mark.timeout(120)
async def test_from_a_backup_by_hand_to_a_recorded_test_and_a_restored_folder(tmp_path):
    state, target = tmp_path / "state", tmp_path / "target"
    for folder in (state, target):
        folder.mkdir()
    identity, public = new_identity(tmp_path)
    settings = settings_of(target, state, recipients=(public,))
    config = written(tmp_path, settings)
    keys_of_tests(tmp_path)
    async with open_api(state, site=settings) as bench:
        await Policies(bench.store, settings.policy()).open()
        token = await bench.token_of("maintainer", by=await bench.second())
        (tmp_path / "key").write_text(token)
        common = ["--socket", state / "api.sock", "--key-file", tmp_path / "key", "-c", config]
        async with serving(bench):
            done = await ask(*common, "backup", "now", "--no-wait", "--json")
            assert done.status == 0, done
            asked = json.loads(done.out)
            assert asked["state"] == "working"
            await bench.services.backups.look()
            done = await ask(*common, "backup", "list")
            assert asked["name"][:20] in done.out
            file = target / asked["name"]
            bench.clock.step(_seconds_to_now(bench))
            done = await ask(*common, "restore", "--verify", file, "--identity", identity)
            assert done.status == 0, done
            assert ": whole;" in done.out
            assert "restore test: recorded" in done.out
            done = await ask(*common, "backup", "list", "--json")
            [one] = json.loads(done.out)["items"]
            assert [act["kind"] for act in one["acts"]] == ["test"]
    refused = await ask("-c", config, "restore", file, "--identity", identity)
    assert refused.status == 1
    assert "is not empty" in refused.err
    other = tmp_path / "other.toml"
    other.write_text(config.read_text().replace(str(state), str(tmp_path / "new")))
    done = await ask("-c", other, "restore", file, "--identity", identity, "--json")
    assert done.status == 0, done
    assert json.loads(done.out)["n_held"] == 0
    assert (tmp_path / "new" / "modemctl.db").exists()
    status = await ask("-c", other, "db", "status")
    assert "database fits" in status.out


def _seconds_to_now(bench: ApiBench) -> float:
    """How far the test's clock is behind the one that the command reads."""
    return (datetime.now(UTC) - bench.clock.now()).total_seconds() + 60


def test_a_wrong_identity_is_one_line_with_what_to_do(tmp_path):
    identity, public = new_identity(tmp_path)
    keys_of_tests(tmp_path)
    config = written(tmp_path, settings_of(tmp_path, tmp_path / "state", recipients=(public,)))
    (tmp_path / "backup.tar.age").write_bytes(b"age-encryption.org/v1\nnonsense")
    done = call("-c", config, "restore", "--verify", tmp_path / "backup.tar.age",
                "--identity", identity)  # fmt: skip
    assert done.status == 1
    assert "damaged" in done.err
    assert "→" in done.err
    assert "Traceback" not in done.err


@pytest.fixture
def with_a_terminal() -> Iterator[None]:
    """A lost terminal ends what is started: nobody said `nohup` before."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.timeout(60)
@pytest.mark.usefixtures("with_a_terminal")
def test_a_restore_test_that_is_killed_leaves_nothing_decrypted(tmp_path, number):
    identity, public = new_identity(tmp_path)
    keys_of_tests(tmp_path)
    config = written(tmp_path, settings_of(tmp_path, tmp_path / "state", recipients=(public,)))
    scratch, file = tmp_path / "scratch", tmp_path / "backup.tar.age"
    scratch.mkdir()
    os.mkfifo(file)
    words = ["-c", config, "restore", "--verify", file, "--identity", identity]
    with subprocess.Popen(
        [sys.executable, "-m", "modemctl", *map(str, words), "--scratch", str(scratch)],
        stderr=subprocess.DEVNULL,
    ) as process:
        out = file.open("wb")  # from here on it reads
        assert len(list(scratch.iterdir())) == 1
        process.send_signal(number)
        out.close()  # a read that began between signal and handler ends, too
        assert process.wait() == 130
    assert list(scratch.iterdir()) == []
