"""The USB tree of /sys, judged: controllers, hubs, dead and sleeping modems."""

from pathlib import Path

from modemctl.config import BankSettings, PathsSettings, Settings
from modemctl.config.settings import HubPower
from modemctl.doctor.findings import Finding, Verdict
from modemctl.doctor.subject import Subject
from modemctl.doctor.usb import check_recovery, check_usb, read_devices
from tests.support.doctors import facts_of, plug, write

EC25 = {"product": "EC25-E", "bDeviceClass": "ef"}
HUB = {"product": "USB2.0 Hub", "bDeviceClass": "09"}
CONTROLLER = "pci0000:00/0000:00:14.0"


def judged(root: Path) -> list[Finding]:
    return list(check_usb(Subject.of(facts_of(root), Settings())))


def wrong(root: Path) -> dict[str, Finding]:
    return {one.check: one for one in judged(root) if one.verdict is not Verdict.OK}


def two_buses(root: Path) -> None:
    """The two root hubs of one xHCI, and of a second controller."""
    for bus, where in (("usb1", CONTROLLER), ("usb2", CONTROLLER), ("usb3", "pci0000:00/x")):
        plug(root, bus, where, ends=(1,), bDeviceClass="09", speed="480")


def test_machine_without_usb_is_well(tmp_path: Path) -> None:
    (finding,) = judged(tmp_path)
    assert finding.verdict is Verdict.OK
    assert "hidden from this container" in finding.seen


def test_endpoints_count_on_the_controller_of_both_its_buses(tmp_path: Path) -> None:
    two_buses(tmp_path)
    plug(tmp_path, "1-1", f"{CONTROLLER}/usb1", ends=(1,), **HUB)
    plug(tmp_path, "1-1.4", f"{CONTROLLER}/usb1/1-1", ends=(2, 3, 3, 3, 3), **EC25)
    plug(tmp_path, "2-1", f"{CONTROLLER}/usb2", ends=(2,), **EC25)
    by_name = {device.name: device for device in read_devices(facts_of(tmp_path))}
    assert by_name["1-1.4"].n_endpoints == 15
    assert by_name["1-1.4"].tier == 3
    assert str(by_name["1-1.4"]) == "1-1.4 (EC25-E)"
    seen = [one.seen for one in judged(tmp_path) if one.check == "USB"]
    assert seen == [
        "controller 0000:00:14.0: 3 devices (1 hubs), 20 endpoints",
        "controller x: 0 devices (0 hubs), 0 endpoints",
    ]
    assert wrong(tmp_path) == {}


def test_full_controller_is_told_before_the_next_modem_fails(tmp_path: Path) -> None:
    two_buses(tmp_path)
    for port in range(1, 6):
        plug(tmp_path, f"1-{port}", f"{CONTROLLER}/usb1", ends=(2, 3, 3, 3, 3, 1), **EC25)
    found = wrong(tmp_path)["USB"]
    assert (found.verdict, "80 endpoints" in found.seen) == (Verdict.WARN, True)
    assert "another controller" in found.cure


def test_many_small_devices_fill_the_slots(tmp_path: Path) -> None:
    two_buses(tmp_path)
    for port in range(1, 53):
        plug(tmp_path, f"1-{port}", f"{CONTROLLER}/usb1", ends=(), **EC25)
    assert "52 devices" in wrong(tmp_path)["USB"].seen


def test_modem_that_got_no_configuration_fails(tmp_path: Path) -> None:
    two_buses(tmp_path)
    plug(tmp_path, "1-3", f"{CONTROLLER}/usb1", ends=(), bConfigurationValue="", **EC25)
    found = wrong(tmp_path)["USB"]
    assert found.verdict is Verdict.FAIL
    assert "1-3 (EC25-E)" in found.seen
    assert "Not enough host controller resources" in found.cure


def test_modem_that_is_switched_off_is_no_fault_of_the_controller(tmp_path: Path) -> None:
    two_buses(tmp_path)
    plug(
        tmp_path, "1-3", f"{CONTROLLER}/usb1", ends=(), bConfigurationValue="", authorized="0",
        **EC25,
    )  # fmt: skip
    found = wrong(tmp_path)["USB"]
    assert (found.verdict, "CC-01" in found.cure) == (Verdict.WARN, True)


def test_deep_slow_and_sleepy(tmp_path: Path) -> None:
    two_buses(tmp_path)
    place = "1-1"
    for depth in range(5):
        plug(
            tmp_path, place + ".1" * depth, f"{CONTROLLER}/usb1", ends=(1,),
            speed="12" if depth == 4 else "480", **HUB,
        )  # fmt: skip
    plug(tmp_path, "1-2", f"{CONTROLLER}/usb1", ends=(3,), **EC25, **{"power/control": "auto"})
    found = wrong(tmp_path)
    assert found.keys() == {"USB depth", "USB speed", "USB sleep"}
    assert "tier 6 of 7" in found["USB depth"].seen
    assert "1-1.1.1.1.1" in found["USB speed"].seen
    assert "1-2 (EC25-E)" in found["USB sleep"].seen


def test_sleeping_hubs_and_slow_root_hubs_are_common(tmp_path: Path) -> None:
    plug(tmp_path, "usb1", CONTROLLER, ends=(1,), speed="12", **HUB, **{"power/control": "auto"})
    assert wrong(tmp_path) == {}


# ---------------------------------------------------------------- recovery


def recovery(root: Path, power: HubPower) -> list[Finding]:
    bank = BankSettings(hub_power=power)
    settings = Settings(bank=bank, paths=PathsSettings(state_dir=Path("/var/lib/modemctl")))
    return list(check_recovery(Subject.of(facts_of(root), settings)))


def test_without_modems_nothing_is_said_of_recovery(tmp_path: Path) -> None:
    two_buses(tmp_path)
    assert recovery(tmp_path, HubPower.KERNEL) == []


def test_hub_power_needs_what_the_settings_name(tmp_path: Path) -> None:
    """Without a unit the user who asks runs the daemon; all files here are his."""
    two_buses(tmp_path)
    hub = plug(tmp_path, "1-1", f"{CONTROLLER}/usb1", ends=(1,), **HUB)
    plug(tmp_path, "1-1.2", f"{CONTROLLER}/usb1/1-1", ends=(3,), **EC25)
    (off,) = recovery(tmp_path, HubPower.OFF)
    assert off.verdict is Verdict.OK
    (kernel,) = recovery(tmp_path, HubPower.KERNEL)
    assert (kernel.verdict, "older than 6.0" in kernel.seen) == (Verdict.FAIL, True)
    write(hub / "1-1:1.0/1-1-port2", "disable", "0")
    (kernel,) = recovery(tmp_path, HubPower.KERNEL)
    assert kernel.verdict is Verdict.OK
    (uhubctl,) = recovery(tmp_path, HubPower.UHUBCTL)
    assert (uhubctl.verdict, uhubctl.cure) == (Verdict.FAIL, "apt install uhubctl")
    write(tmp_path, "usr/sbin/uhubctl")
    (uhubctl,) = recovery(tmp_path, HubPower.UHUBCTL)
    assert uhubctl.verdict is Verdict.OK


def test_hub_power_needs_the_right_to_write_the_port_of_each_modem(tmp_path: Path) -> None:
    """The daemon's user of the unit, not who asks; both files of the udev rule count."""
    tmp_path.chmod(0o755)
    write(tmp_path, "etc/passwd", "modemctl:x:990:990::/:/sbin/nologin\n")
    write(tmp_path, "etc/systemd/system/modemctl.service", "[Service]\nUser=modemctl\n")
    two_buses(tmp_path)
    hub = plug(tmp_path, "1-1", f"{CONTROLLER}/usb1", ends=(1,), **HUB)
    for place in ("1-1.1", "1-1.2"):
        modem = plug(tmp_path, place, f"{CONTROLLER}/usb1/1-1", ends=(3,), **EC25)
        (modem / "authorized").chmod(0o666)
        write(hub / f"1-1:1.0/1-1-port{place[-1]}", "disable", "0").chmod(0o666)
    (well,) = recovery(tmp_path, HubPower.KERNEL)
    assert well.verdict is Verdict.OK
    (hub / "1-1:1.0/1-1-port2/disable").chmod(0o644)
    (closed,) = recovery(tmp_path, HubPower.KERNEL)
    assert closed.verdict is Verdict.FAIL
    assert closed.seen == "modemctl may not switch the hub port of 1-1.2"
    (modem / "authorized").chmod(0o644)
    (closed,) = recovery(tmp_path, HubPower.KERNEL)
    assert closed.seen == "modemctl may not switch 1-1.2"
    (off,) = recovery(tmp_path, HubPower.OFF)
    assert off.verdict is Verdict.OK


def test_uhubctl_goes_by_the_hubs_own_node_where_the_kernel_is_old(tmp_path: Path) -> None:
    two_buses(tmp_path)
    plug(tmp_path, "1-1", f"{CONTROLLER}/usb1", ends=(1,), busnum="1", devnum="7", **HUB)
    plug(tmp_path, "1-1.2", f"{CONTROLLER}/usb1/1-1", ends=(3,), **EC25)
    write(tmp_path, "usr/sbin/uhubctl")
    (shut,) = recovery(tmp_path, HubPower.UHUBCTL)
    assert (shut.verdict, "1-1.2" in shut.seen) == (Verdict.FAIL, True)
    write(tmp_path, "dev/bus/usb/001/007")
    (node,) = recovery(tmp_path, HubPower.UHUBCTL)
    assert node.verdict is Verdict.OK


def test_our_unit_needs_its_drop_in_for_hub_power(tmp_path: Path) -> None:
    folder = Path(__file__).resolve().parents[2] / "systemd"
    unit = "etc/systemd/system/modemctl.service"
    write(tmp_path, unit, (folder / "modemctl.service").read_text(encoding="utf-8"))
    two_buses(tmp_path)
    hub = plug(tmp_path, "1-1", f"{CONTROLLER}/usb1", ends=(3,), **EC25).parent
    write(hub / "1-0:1.0/usb1-port1", "disable", "0")
    (tmp_path / "sys/bus/usb/devices/1-0:1.0").symlink_to(hub / "1-0:1.0")
    (shut,) = recovery(tmp_path, HubPower.KERNEL)
    assert (shut.verdict, "systemd/usb-recovery/" in shut.cure) == (Verdict.FAIL, True)
    drop_in = (folder / "usb-recovery/usb-recovery.conf").read_text(encoding="utf-8")
    write(tmp_path, f"{unit}.d/usb-recovery.conf", drop_in)
    (still_open,) = recovery(tmp_path, HubPower.KERNEL)
    assert still_open.verdict is Verdict.OK
