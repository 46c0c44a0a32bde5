"""One process a state folder: the lock that daemon and local commands take."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modemctl.errors import ConfigError


@contextmanager
def state_lock(folder: Path) -> Iterator[None]:
    """Hold a state folder alone; made with mode 0700 if it is missing.

    Raises:
        ConfigError: another process holds it, or the folder cannot be used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        cure = "name a folder that this user may write (paths.state_dir)"
        raise ConfigError([f"state folder {folder}: {error.strerror}; {cure}"]) from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                [
                    f"state folder {folder} is in use by a running modemctl; "
                    "stop it first, or name another folder (paths.state_dir)"
                ]
            ) from None
        yield
    finally:
        os.close(fd)
