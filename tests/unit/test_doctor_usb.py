"""The USB tree of /sys, judged: controllers, hubs, dead and sleeping modems."""

from pathlib import Path

from modemctl.config import Settings
from modemctl.doctor.findings import Finding, Verdict
from modemctl.doctor.subject import Subject
from modemctl.doctor.usb import check_usb, read_devices
from tests.support.doctors import facts_of, plug

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
