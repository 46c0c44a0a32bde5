"""Whatever /proc, /sys, /etc and /run hold: the doctor says something and does not fall over."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from modemctl.config import BankSettings, Settings
from modemctl.config.settings import HubPower
from modemctl.doctor import CHECKS
from modemctl.doctor.exposure import check_unit
from modemctl.doctor.findings import Verdict
from modemctl.doctor.subject import Subject
from tests.support.doctors import facts_of, plug, run_program, write

FILES = (
    "etc/passwd", "etc/group", "etc/systemd/system/modemctl.service",
    "etc/systemd/system/modemctl.service.d/x.conf", "etc/udev/rules.d/70-modemctl.rules",
    "proc/locks", "proc/7/status", "proc/7/limits", "proc/7/comm", "proc/net/tcp",
    "proc/net/tcp6", "proc/self/mounts", "run/udev/data/c188:0", "sys/class/tty/ttyUSB0/dev",
    "sys/bus/usb/devices/1-1/speed", "sys/bus/usb/devices/1-1/authorized",
    "sys/bus/usb/devices/1-1/bConfigurationValue", "sys/bus/usb/devices/1-1:1.0/bNumEndpoints",
    "sys/bus/usb/devices/1-1/product", "var/lib/modemctl/modemctl.db",
    "var/lib/modemctl/modemctl.db-wal", "etc/modemctl/master.key",
)  # fmt: skip
WORDS = st.sampled_from(
    ["", " ", "\n", "\x00", "0", "-1", "1.5", "unknown", "Uid:", "Gid: 1", "Groups: x", ":", "=",
     "User=", "User=x", "LimitNOFILE=", "LimitNOFILE=a:b", "ExecStart=", "ExecStart=/", "\\\n",
     "Max open files", "Max open files  a", "1: FLOCK  ADVISORY  WRITE 7", "x:x:1:1", "x:x:",
     "0: 0100007F:ZZ 0:0 0A", "1: 00:2120 0:0 0A", "E:", "E:ID_MM_PORT_IGNORE=1", "ID_MM_", "é中",
     "LoadCredential=", "LoadCredential=master.key:/etc/modemctl/master.key", "/ / nfs4", "9" * 30]
)  # fmt: skip
CONTENT = st.lists(WORDS, max_size=6).map(" ".join) | st.text(max_size=40)


def machine(root: Path) -> Subject:
    bank = BankSettings(ports=("usb", "/dev/serial/*", "tcp://h:1"), hub_power=HubPower.KERNEL)
    return Subject.of(facts_of(root), Settings(bank=bank))


@settings(max_examples=1_500 if "MODEMCTL_LONG" in os.environ else 60)
@given(st.dictionaries(st.sampled_from(FILES), CONTENT, max_size=8))
def test_no_file_of_the_machine_makes_the_doctor_fall_over(files: dict[str, str]) -> None:
    with TemporaryDirectory() as name:
        root = Path(name)
        plug(root, "1-1", "pci0000:00/usb1", ends=(3,))
        run_program(root, 7, "modemctl", "/dev/ttyUSB0")
        for file, content in files.items():
            write(root, file, content)
        subject = machine(root)
        found = [one for check in CHECKS for one in check(subject)]
        found += check_unit(subject, Path("/etc/modemctl/modemctl.toml"))
    assert len(found) > len(CHECKS)
    assert all(bool(one.cure) == (one.verdict is not Verdict.OK) for one in found), found


def test_no_pipe_in_a_files_place_is_waited_for(tmp_path: Path) -> None:
    """Nobody writes into them: whoever opens one to read waits without end."""
    plug(tmp_path, "1-1", "pci0000:00/usb1", ends=(3,))
    run_program(tmp_path, 7, "modemctl", "/dev/ttyUSB0")
    for file in FILES:
        path = tmp_path / file
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path, 0o600)
    subject = machine(tmp_path)
    found = [one for check in CHECKS for one in check(subject)]
    told = {one.check: one for one in found}
    assert (told["database"].verdict, told["master key"].verdict) == (Verdict.FAIL, Verdict.FAIL)
