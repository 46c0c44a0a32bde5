"""Plays a USB bus through umockdev; runs under its preload library, told what to do on stdin.

Each line of input is a JSON list `[verb, arguments…]`; each gets one line of output.
"""

import ctypes
import json
import select
import shutil
import socket
import sys
from pathlib import Path

library = ctypes.CDLL("libumockdev.so.0")
library.umockdev_testbed_new.restype = ctypes.c_void_p
for name in ("get_root_dir", "add_devicev"):
    getattr(library, f"umockdev_testbed_{name}").restype = ctypes.c_char_p
BED = ctypes.c_void_p(library.umockdev_testbed_new())
ROOT = Path(library.umockdev_testbed_get_root_dir(BED).decode())


def strings(values: dict[str, str]) -> ctypes.Array:
    flat = [one.encode() for pair in values.items() for one in pair]
    return (ctypes.c_char_p * (len(flat) + 1))(*flat, None)


def add(subsystem: str, name: str, parent: str | None, attributes: dict, properties: dict) -> str:
    """A device below another one; its path in /sys."""
    path = library.umockdev_testbed_add_devicev(
        BED,
        subsystem.encode(),
        name.encode(),
        None if parent is None else parent.encode(),
        strings(attributes),
        strings(properties),
    )
    assert path is not None, name
    return path.decode()


def link(path: str, target: str) -> None:
    """A symbolic link in the pretended /dev or /sys; without a target it is removed."""
    place = ROOT / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() or place.exists():
        place.unlink()
    if target:
        place.symlink_to(target)


def event(path: str, action: str) -> None:
    library.umockdev_testbed_uevent(BED, path.encode(), action.encode())


def remove(path: str) -> None:
    library.umockdev_testbed_remove_device(BED, path.encode())


def wait_for_listeners() -> None:
    """Wait until each has room for news: umockdev ends where a slow one has not."""
    for place in ROOT.glob("event*"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
            try:
                way.connect(str(place))
            except OSError:  # nobody listens there any more
                continue
            _, ready, _ = select.select([], [way], [], 60)
            assert ready, "a listener takes nothing"


print(ROOT, flush=True)
for line in sys.stdin:
    verb, *arguments = json.loads(line)
    wait_for_listeners()
    outcome = {"add": add, "link": link, "event": event, "remove": remove}[verb](*arguments)
    print(json.dumps(outcome), flush=True)
shutil.rmtree(ROOT, ignore_errors=True)
