"""The files that the service manager and udev read."""

import configparser
import os
import re
import subprocess
from pathlib import Path

import pytest

from modemctl.config import load
from tests.support.tools import require_tool

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
UNIT = SYSTEMD / "modemctl.service"


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def unit_with_a_program(tmp_path: Path) -> Path:
    """The unit as it is, but with a program that exists on this machine."""
    program = tmp_path / "bin/modemctl"
    program.parent.mkdir()
    program.symlink_to("/bin/true")
    path = tmp_path / "modemctl.service"
    text = UNIT.read_text(encoding="utf-8")
    path.write_text(text.replace("/opt/modemctl/bin/modemctl", str(program)))
    return path


def test_systemd_finds_nothing_to_complain_of(unit_with_a_program: Path) -> None:
    analyze = require_tool("systemd-analyze")
    assert run(analyze, "verify", "--man=no", unit_with_a_program) == ""


def test_exposure_stays_small(unit_with_a_program: Path) -> None:
    analyze = require_tool("systemd-analyze")
    run(analyze, "security", "--offline=yes", "--threshold=20", "--no-pager", unit_with_a_program)


def test_unit_keeps_what_the_daemon_relies_on() -> None:
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parser.optionxform = str
    parser.read(UNIT)
    service = dict(parser["Service"])
    assert service["Type"] == "notify"
    assert service["RestartPreventExitStatus"] == "78"
    assert int(service["TimeoutStopSec"]) > 200
    assert int(service["LimitNOFILE"]) >= 8192
    assert service["OOMPolicy"] == "continue"
    assert service["DevicePolicy"] == "closed"
    assert (service["IPAddressDeny"], service["IPAddressAllow"]) == ("any", "localhost")
    text = UNIT.read_text(encoding="utf-8")
    for key in ("master.key", "audit.key"):
        assert f"LoadCredential={key}:/etc/modemctl/{key}\n" in text
    for device in ("char-ttyUSB", "char-ttyACM"):
        assert f"DeviceAllow={device} rw\n" in text


def test_example_configuration_loads_and_changes_nothing_silently() -> None:
    settings = load(SYSTEMD / "modemctl.toml", {})
    assert settings.site.id == "hangzhou-1"
    page = (SYSTEMD.parent / "docs" / "install.md").read_text(encoding="utf-8")
    made = re.findall(r"key bootstrap --name (\w+)", page)
    assert settings.api.peers == {0: made[0]}, "root acts as an account that is"


def test_example_paths_are_those_of_the_unit() -> None:
    settings = load(SYSTEMD / "modemctl.toml", {})
    assert settings.paths.state_dir == Path("/var/lib/modemctl")
    assert settings.api.unix_socket.parent == Path("/run/modemctl")


def test_user_and_folders_are_made(tmp_path: Path) -> None:
    sysusers, tmpfiles = require_tool("systemd-sysusers"), require_tool("systemd-tmpfiles")
    if os.geteuid() != 0:
        pytest.skip("only root may give folders away")
    etc = tmp_path / "etc"
    etc.mkdir()
    run(sysusers, f"--root={tmp_path}", SYSTEMD / "sysusers.d/modemctl.conf")
    assert re.search(r"^dialout:x:\d+:modemctl$", (etc / "group").read_text(), re.MULTILINE)
    user = re.search(r"^modemctl:x:(\d+):(\d+):", (etc / "passwd").read_text(), re.MULTILINE)
    assert user is not None
    run(tmpfiles, f"--root={tmp_path}", "--create", SYSTEMD / "tmpfiles.d/modemctl.conf")
    state, config = (tmp_path / "var/lib/modemctl").stat(), (etc / "modemctl").stat()
    assert (state.st_uid, state.st_mode & 0o777) == (int(user[1]), 0o700)
    assert (config.st_uid, config.st_gid, config.st_mode & 0o777) == (0, int(user[2]), 0o750)


def test_udev_rules_are_well_formed_and_sorted_before_modemmanager() -> None:
    (path,) = SYSTEMD.glob("*.rules")
    assert "60-serial.rules" < path.name < "77-mm"
    text = path.read_text(encoding="utf-8")
    pair = r'[A-Z]+(?:\{[\w./]+\})?(?:==|!=|=|\+=|:=)"[^"]*"'
    for line in text.splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(rf"{pair}(?:, {pair})*", line), line
    labels = re.findall(r'LABEL="(\w+)"', text)
    assert set(re.findall(r'GOTO="(\w+)"', text)) == set(labels)
    assert 'ENV{ID_MM_DEVICE_IGNORE}="1"' in text


def test_the_optional_drop_in_opens_sys_and_nothing_else(unit_with_a_program: Path) -> None:
    text = (SYSTEMD / "usb-recovery/usb-recovery.conf").read_text(encoding="utf-8")
    settings = [line for line in text.splitlines() if line and line[0] not in "#["]
    assert settings == ["ReadWritePaths=/sys/devices"]
    analyze = require_tool("systemd-analyze")
    folder = unit_with_a_program.parent / "modemctl.service.d"
    folder.mkdir()
    (folder / "usb-recovery.conf").write_text(text)
    assert run(analyze, "verify", "--man=no", unit_with_a_program) == ""


def test_the_optional_rules_give_the_group_what_the_ladder_writes() -> None:
    text = (SYSTEMD / "usb-recovery/71-modemctl-recovery.rules").read_text(encoding="utf-8")
    assert "/sys%p/authorized" in text
    assert "/sys%p/*-port*/disable" in text
    labels = re.findall(r'LABEL="(\w+)"', text)
    assert set(re.findall(r'GOTO="(\w+)"', text)) == set(labels)
    assert text.count("chgrp modemctl") == text.count("chmod g+w") == 2
