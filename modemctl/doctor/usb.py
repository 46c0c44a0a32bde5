"""The USB tree below each controller, as /sys/bus/usb tells it.

Source: usb-serial facts of the house; xHCI 1.2 §4.5.1 (slots), USB 2.0 §4.1.1 (seven tiers).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from modemctl.config.settings import HubPower
from modemctl.doctor.facts import Facts
from modemctl.doctor.findings import Finding, fail, ok, some, warn
from modemctl.doctor.people import READ, WRITE, may
from modemctl.doctor.subject import Subject

_DEVICES: Final = "/sys/bus/usb/devices"
_ENDPOINTS_MAX: Final = 96
"""Endpoint contexts of Intel's xHCI; other makes have more or fewer, none tells."""
_SLOTS_MAX: Final = 64
"""Devices of one xHCI, hubs included; some cards stop at 32."""
_NEARLY: Final = 0.8
_TIERS_MAX: Final = 7  # root hub and device included
_HIGH_SPEED: Final = 480  # Mbit/s
_HUB_CLASS: Final = "09"
_NAME: Final = re.compile(r"usb\d+|\d+-[\d.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A USB device. `name` is its place: `1-1.4`; `controller` the PCI device above its bus."""

    name: str
    controller: str
    product: str
    speed_mbit: int
    is_hub: bool
    is_root: bool
    is_configured: bool
    is_authorized: bool
    may_sleep: bool
    n_endpoints: int

    @property
    def tier(self) -> int:
        """How deep it hangs: the root hub is 1."""
        return 1 if self.is_root else 2 + self.name.count(".")

    def __str__(self) -> str:
        """As messages name it."""
        return f"{self.name} ({self.product})" if self.product else self.name


def read_devices(facts: Facts) -> Sequence[Device]:
    """All devices, root hubs included, by place."""
    names = facts.names(_DEVICES)
    interfaces: dict[str, list[str]] = {}
    for name in names:
        place, sign, _ = name.partition(":")
        if sign:
            interfaces.setdefault(place, []).append(name)
    controllers = {name: _controller(facts, name) for name in names if name.startswith("usb")}
    return [
        _device(facts, name, controllers, interfaces.get(name, []))
        for name in names
        if _NAME.fullmatch(name)
    ]


def _device(
    facts: Facts, name: str, controllers: Mapping[str, str], interfaces: Sequence[str]
) -> Device:
    folder = f"{_DEVICES}/{name}"
    bus = name if name.startswith("usb") else f"usb{name.partition('-')[0]}"
    ends = (facts.number(f"{_DEVICES}/{one}/bNumEndpoints", base=16) for one in interfaces)
    return Device(
        name=name,
        controller=controllers.get(bus, bus),
        product=facts.text(f"{folder}/product") or "",
        speed_mbit=facts.number(f"{folder}/speed"),  # 0 where it is `1.5` or `unknown`
        is_hub=facts.text(f"{folder}/bDeviceClass") == _HUB_CLASS,
        is_root=name.startswith("usb"),
        is_configured=facts.text(f"{folder}/bConfigurationValue") not in {"", "0"},
        is_authorized=facts.text(f"{folder}/authorized") != "0",
        may_sleep=facts.text(f"{folder}/power/control") == "auto",
        n_endpoints=1 + sum(ends),  # each device has endpoint 0
    )


def _controller(facts: Facts, bus: str) -> str:
    """What the bus hangs on; the two buses of one xHCI share it."""
    return facts.path(f"{_DEVICES}/{bus}").resolve().parent.name


def check_usb(subject: Subject) -> Iterator[Finding]:
    """Controllers, hubs and sleeping modems."""
    devices = read_devices(subject.facts)
    if not devices:
        yield ok("USB", "no USB on this machine, or it is hidden from this container")
        return
    by_controller: dict[str, list[Device]] = {}
    for device in devices:
        by_controller.setdefault(device.controller, []).append(device)
    for controller, below in sorted(by_controller.items()):
        yield _judge_controller(controller, [one for one in below if not one.is_root])
    yield from _judge_dead(devices)
    yield from _judge_hubs(devices)
    yield from _judge_sleep(devices)


def check_recovery(subject: Subject) -> Iterator[Finding]:
    """Whether the steps of recovery that the settings ask for may touch USB; they are opt-in."""
    modems = [one for one in read_devices(subject.facts) if not one.is_hub and not one.is_root]
    if not modems:
        return
    closed = [one.name for one in modems if not _may_write(subject, f"{one.name}/authorized")]
    hub_power = subject.settings.bank.hub_power
    if hub_power is HubPower.OFF:
        seen = "a hanging modem is restarted by AT commands only; unplugging it is not set up"
        yield ok("USB recovery", seen if closed else "modems may be taken off the bus and back")
    elif hub_power is HubPower.UHUBCTL and not _has_program(subject.facts, "uhubctl"):
        yield fail("USB recovery", "bank.hub_power wants uhubctl", "apt install uhubctl")
    elif closed:
        yield fail("USB recovery", f"{subject.runner.name} may not switch {some(closed)}", _INSTALL)
    else:
        yield _judge_switches(subject, hub_power, modems)


_INSTALL: Final = (
    "install systemd/usb-recovery/: its udev rule and its drop-in for the unit;"
    " or bank.hub_power = off"
)


def _judge_switches(subject: Subject, hub_power: HubPower, modems: Sequence[Device]) -> Finding:
    """The ports that the modems hang on; uhubctl also switches without the kernel's files."""
    lacking: list[str] = []
    closed: list[str] = []
    for modem in modems:
        switch = _port_switch(modem.name)
        if subject.facts.stat(f"{_DEVICES}/{switch}") is None:
            lacking.append(modem.name)
        elif not _may_write(subject, switch):
            closed.append(modem.name)
    if hub_power is HubPower.UHUBCTL:
        lacking = [one for one in lacking if not _may_ask_hub(subject, _hub(one))]
    if closed:
        seen = f"{subject.runner.name} may not switch the hub port of {some(closed)}"
        return fail("USB recovery", seen, _INSTALL)
    if lacking and hub_power is HubPower.UHUBCTL:
        seen = f"no way to the hub of {some(lacking)}: neither `disable` (kernel 6.0) nor its node"
        return fail("USB recovery", seen, "a newer kernel, or bank.hub_power = off")
    if lacking:
        seen = f"no `disable` file at the port of {some(lacking)}: kernel older than 6.0?"
        return fail("USB recovery", seen, "a newer kernel, or bank.hub_power = off")
    return ok("USB recovery", f"modems and hub ports may be switched ({hub_power})")


def _hub(device: str) -> str:
    """What a device hangs on: `1-1.4` → `1-1`, `1-4` → `usb1`."""
    above, dot, _ = device.rpartition(".")
    return above if dot else f"usb{device.partition('-')[0]}"


def _port_switch(device: str) -> str:
    """The kernel's file that switches a device's port. Source: Linux ABI, sysfs-bus-usb."""
    hub, port = _hub(device), re.split(r"[-.]", device)[-1]
    interface = f"{hub.removeprefix('usb')}-0:1.0" if hub.startswith("usb") else f"{hub}:1.0"
    return f"{interface}/{hub}-port{port}/disable"


def _may_ask_hub(subject: Subject, hub: str) -> bool:
    """Whether the hub's own node takes requests, as libusb makes them."""
    facts = subject.facts
    numbers = (facts.number(f"{_DEVICES}/{hub}/{one}") for one in ("busnum", "devnum"))
    node = "/dev/bus/usb/" + "/".join(f"{number:03d}" for number in numbers)
    return facts.stat(node) is not None and may(facts, subject.runner, node, READ | WRITE)


def _is_sys_read_only(subject: Subject) -> bool:
    """Whether the unit hides /sys from the daemon's pen, as ours does without its drop-in."""
    unit = subject.unit
    if unit is None:
        return False
    is_kept = unit.value("ProtectKernelTunables") in {"yes", "true", "1", "on"}
    return is_kept and not any(path.startswith("/sys") for path in unit.values("ReadWritePaths"))


def _may_write(subject: Subject, name: str) -> bool:
    is_open = may(subject.facts, subject.runner, f"{_DEVICES}/{name}", WRITE)
    return is_open and not _is_sys_read_only(subject)


def _has_program(facts: Facts, name: str) -> bool:
    folders = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    return any(facts.stat(f"{folder}/{name}") is not None for folder in folders)


def _judge_controller(controller: str, devices: Sequence[Device]) -> Finding:
    n_endpoints = sum(device.n_endpoints for device in devices)
    n_hubs = sum(device.is_hub for device in devices)
    seen = (
        f"controller {controller}: {len(devices)} devices ({n_hubs} hubs), {n_endpoints} endpoints"
    )
    cure = "put some modems on another controller (a PCIe card); EHCI and VIA cards take more"
    if n_endpoints > _NEARLY * _ENDPOINTS_MAX or len(devices) > _NEARLY * _SLOTS_MAX:
        return warn("USB", f"{seen}; many stop at {_ENDPOINTS_MAX} or {_SLOTS_MAX} devices", cure)
    return ok("USB", seen)


def _judge_dead(devices: Sequence[Device]) -> Iterator[Finding]:
    closed = [str(one) for one in devices if not one.is_authorized]
    if closed:
        cure = "echo 1 > /sys/bus/usb/devices/PLACE/authorized, if it is admitted (CC-01)"
        yield warn("USB", f"switched off: {some(closed)}", cure)
    dead = [str(one) for one in devices if one.is_authorized and not one.is_configured]
    if dead:
        cure = "dmesg: 'Not enough host controller resources' wants another controller"
        yield fail("USB", f"plugged in, but not configured: {some(dead)}", cure)


def _judge_hubs(devices: Sequence[Device]) -> Iterator[Finding]:
    deepest = max(devices, key=lambda device: device.tier)
    seen = f"deepest: {deepest} on tier {deepest.tier} of {_TIERS_MAX}"
    if deepest.tier >= _TIERS_MAX - 1 and deepest.is_hub:
        yield warn("USB depth", seen, "plug hubs side by side, not one into another")
    else:
        yield ok("USB depth", seen)
    slow = [str(one) for one in devices if one.is_hub and 0 < one.speed_mbit < _HIGH_SPEED]
    # A root hub of 12 Mbit/s is an old UHCI or OHCI companion: nothing need hang on it.
    slow = [name for name in slow if not name.startswith("usb")]
    if slow:
        cure = "another cable, port or hub: all modems behind it share 12 Mbit/s"
        yield warn("USB speed", f"hubs below 480 Mbit/s: {some(slow)}", cure)
    else:
        yield ok("USB speed", "no hub is slower than 480 Mbit/s")


def _judge_sleep(devices: Sequence[Device]) -> Iterator[Finding]:
    sleepy = [str(one) for one in devices if one.may_sleep and not one.is_hub]
    if sleepy:
        cure = (
            'udev: ACTION=="add", SUBSYSTEM=="usb", TEST=="power/control",'
            ' ATTR{power/control}="on"; and no powertop or TLP on a modem server'
        )
        yield warn("USB sleep", f"the kernel may suspend {some(sleepy)}", cure)
    else:
        yield ok("USB sleep", "no modem is put to sleep")
