"""`db copy` in a process of its own that kills itself at its n-th point, or tells all of them.

    python -m tests.support.copier SETTINGS URL N     # N 0: a line a point, and no kill

SETTINGS is a pickle. Points are before each COMMIT, at the first word of each stage, and the end.
"""

import os
import pickle
import signal
import sys
from pathlib import Path

from sqlalchemy import Connection, Engine, event, make_url

from modemctl.service.site_copies import CheckProgress, SiteKeys, Streamed, copy_site
from modemctl.vault import AuditKey, Vault
from tests.support.stores import AUDIT_SEED, MASTER_KEY, TestClock


class Points:
    """What was come by so far."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._n = 0
        self._stages: set[str] = set()

    def come_by(self, what: str) -> None:
        """The end of the process, if this is the point."""
        self._n += 1
        if self._n == self._wanted:
            os.kill(os.getpid(), signal.SIGKILL)
        if not self._wanted:
            sys.stdout.write(f"{what}\n")

    def commit(self, conn: Connection) -> None:
        """Just before a COMMIT."""
        self.come_by(f"commit {conn.dialect.name}")

    def tell(self, told: Streamed | CheckProgress) -> None:
        """How far the copy is."""
        if str(told.stage) not in self._stages:
            self._stages.add(str(told.stage))
            self.come_by(str(told.stage))


def main(settings: str, url: str, wanted: str) -> None:
    """Copy the site, as far as it comes."""
    points = Points(int(wanted))
    event.listen(Engine, "commit", points.commit)
    keys = SiteKeys(vault=Vault(MASTER_KEY), audit_key=AuditKey(AUDIT_SEED), clock=TestClock())
    known = pickle.loads(Path(settings).read_bytes())
    copy_site(known, make_url(url), keys, points.tell)
    points.come_by("end")


if __name__ == "__main__":
    main(*sys.argv[1:])
