"""`db copy` ended by kill -9, wherever: one of the two databases counts, never both."""

import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from sqlalchemy import make_url

from modemctl.errors import ConfigError
from modemctl.service.site_copies import copy_site, reopen_site
from modemctl.store.key_files import load_database
from tests.support.postgres import Cluster
from tests.unit.test_site_copies import Site, cluster, ignore, opened, site, worked

__all__ = ["cluster", "site", "worked"]
ALONE = (
    "SELECT count(*), pg_sleep(0.05) FROM pg_stat_activity"
    " WHERE datname = '{}' AND backend_type = 'client backend'"
)


def copied(folder: Path, site: Site, url: str, n: int) -> subprocess.CompletedProcess[str]:
    """Copy in a process that is killed at its n-th point."""
    file = folder / "settings"
    file.write_bytes(pickle.dumps(site.settings))
    return subprocess.run(
        [sys.executable, "-m", "tests.support.copier", file, url, str(n)],
        check=False, text=True, capture_output=True,
    )  # fmt: skip


def runs(url: str) -> bool:
    """Whether a daemon would work on it."""
    with suppress(ConfigError):
        opened(url)._dispose()
        return True
    return False


def gone(cluster: Cluster, name: str | None) -> None:
    """Until the server has missed who was killed."""
    while cluster.sql(ALONE.format(name))[0][0]:
        continue


def test_a_copy_that_is_killed_leaves_one_database_that_counts(worked, cluster, tmp_path):
    def fresh(n: int) -> tuple[Site, str]:
        octets, settings = worked
        state = tmp_path / f"state{n}"
        state.mkdir()
        (state / "modemctl.db").write_bytes(octets)
        paths = settings.paths.model_copy(update={"state_dir": state})
        made = Site(settings.model_copy(update={"paths": paths}), state / "modemctl.db")
        return made, cluster.url(cluster.create())

    whole, url = fresh(0)
    points = copied(tmp_path, whole, url, 0).stdout.splitlines()
    assert points[-1] == "end"
    assert {"copying", "comparing", "seals"} <= set(points)
    last = len(points) - points[::-1].index("commit postgresql")  # the new one's, from 1
    mark = last - 1
    assert points[mark - 1] == "commit sqlite", "the old one is marked just before"
    firsts = {points.index(what) + 1 for what in points}
    for n in sorted(firsts | {*range(mark, len(points) + 1)}):
        one, url = fresh(n)
        assert copied(tmp_path, one, url, n).returncode == -signal.SIGKILL
        gone(cluster, make_url(url).database)
        old = str(load_database(one.settings.paths))
        found = runs(old), runs(url)
        if n == last:
            assert found == (False, False), points[n - 1]
            reopen_site(one.settings, one.keys)
            assert runs(old), "a word of an operator takes it into use"
        else:
            assert found == (n <= mark, n > last), points[n - 1]
        if n in {mark, last}:
            assert copy_site(one.settings, make_url(url), one.keys, ignore).faults == ()
            assert (runs(old), runs(url)) == (False, True)
