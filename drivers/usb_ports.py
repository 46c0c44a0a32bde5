"""Which of a USB modem's several serial ports takes commands: tables by USB id, then a guess.

A diagnosis port swallows octets, a position port chatters, an audio port carries samples: none of
them is ever asked `AT`. Source: the interface maps of ModemManager 1.20 and oFono 1.31, the
makers' AT manuals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class PortRole(StrEnum):
    """What a port is for, as far as it matters to who looks for the AT port."""

    AT = "at"  # commands, and all that the modem says by itself
    UNKNOWN = "unknown"
    SECOND = "second"  # a further command channel: data port, application port
    DIAG = "diag"
    NMEA = "nmea"
    AUDIO = "audio"
    OTHER = "other"  # trace, SIM access, crash dump


SPEAKING: Final = (PortRole.AT, PortRole.UNKNOWN, PortRole.SECOND)
"""Roles that may answer `AT`, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsbInterface:
    """One interface as its descriptor tells; `label` is its string, `kind` class/sub/protocol."""

    number: int
    kind: tuple[int, int, int] = (0xFF, 0xFF, 0xFF)
    label: str = ""


_Map = Mapping[int, PortRole]
_AT, _SECOND, _DIAG, _NMEA = PortRole.AT, PortRole.SECOND, PortRole.DIAG, PortRole.NMEA
_AUDIO, _OTHER = PortRole.AUDIO, PortRole.OTHER

_QUALCOMM: Final[_Map] = {0: _DIAG, 1: _NMEA, 2: _AT, 3: _SECOND}

_LAYOUTS: Final[tuple[tuple[_Map, str], ...]] = (
    # Huawei sticks whose descriptors do not tell: the data port is first, PCUI last. 1446 is a
    # stick that stayed in its first mode, 1573 the MU609, which dies of AT^GETPORTMODE.
    (
        {0: _SECOND, 1: _DIAG, 2: _AT},
        "12d1:1001 12d1:1406 12d1:140c 12d1:1436 12d1:14ac 12d1:1c05 12d1:1446",
    ),
    ({0: _SECOND, 1: _DIAG, 2: _AT, 3: _NMEA}, "12d1:1573"),
    ({0: _SECOND, 1: _AT}, "12d1:1003"),
    ({0: _SECOND, 1: _AT, 2: PortRole.UNKNOWN}, "12d1:1506"),
    # Quectel
    (_QUALCOMM, "2c7c:0121 2c7c:0125 2c7c:0191 2c7c:0195 2c7c:0296 2c7c:0306 2c7c:0512 2c7c:0800"),
    (_QUALCOMM, "05c6:9215 05c6:9090 05c6:9003"),
    # SIMCom
    ({**_QUALCOMM, 4: _AUDIO}, "1e0e:9001"),
    (_QUALCOMM, "1e0e:9205"),
    ({4: _AT, 5: _SECOND}, "1e0e:9011"),
    ({1: _SECOND, 3: _AT}, "1e0e:9100 1e0e:9200"),
    ({0: _DIAG, 1: _NMEA, 2: _SECOND, 3: _AT}, "05c6:9000"),
    # ZTE
    ({0: _DIAG, 1: _SECOND, 3: _AT}, "19d2:0031 19d2:0037 19d2:0039 19d2:0042"),
    ({0: _DIAG, 1: _SECOND, 2: _AT}, "19d2:0016 19d2:0017 19d2:0117"),
    ({0: _DIAG, 1: _SECOND, 2: _AT, 3: _SECOND}, "19d2:0083"),
    (
        {0: _AT},
        "19d2:0001 19d2:0003 19d2:0004 19d2:0005 19d2:0006 19d2:0007 19d2:0008 19d2:0009 19d2:000a",
    ),
    ({0: _DIAG, 2: _AT, 4: _SECOND}, "19d2:0002 19d2:0012 19d2:0024 19d2:0025"),
    ({0: _DIAG, 1: _AT, 3: _SECOND}, "19d2:0015 19d2:0030"),
    # Telit
    ({0: _AT, 2: _SECOND}, "1bc7:1003"),
    ({0: _AT, 2: _NMEA, 3: _SECOND}, "1bc7:1004"),
    ({0x00: _AT, 0x06: _SECOND, 0x0A: _NMEA}, "1bc7:0021"),
    ({0: _DIAG, 1: _AT, 2: _SECOND}, "1bc7:1201 1bc7:1031 1bc7:1033"),
    ({0: _DIAG, 4: _AT, 5: _SECOND}, "1bc7:1040"),
    # Sierra
    ({0: _DIAG, 2: _NMEA, 3: _AT}, "1199:68c0 1199:9071 1199:9079 1199:9091"),
    ({0: _AT, 2: _SECOND, 4: _NMEA}, "1199:c001"),
    # u-blox
    (
        {0: _AT, 2: _SECOND, 4: _SECOND, 6: _NMEA, 8: _OTHER, 10: _OTHER, 12: _OTHER},
        "1546:1102 1546:1107 1546:110a",
    ),
    ({6: _AT}, "1546:1010"),
    # Cinterion
    ({1: _NMEA}, "1e2d:0053"),
    ({0: _SECOND, 2: _AT, 4: _NMEA}, "1e2d:0061"),
    # Qualcomm's emergency loader: the modem's firmware is dead
    ({0: _OTHER}, "05c6:9008"),
)
_BY_ID: Final = {usb_id: layout for layout, ids in _LAYOUTS for usb_id in ids.split()}

_HUAWEI_PROTOCOLS: Final[_Map] = {
    0x01: _SECOND, 0x31: _SECOND,
    0x02: _AT, 0x32: _AT,
    0x03: _DIAG, 0x33: _DIAG,
    0x05: _NMEA, 0x06: _NMEA, 0x14: _NMEA,
}  # fmt: skip

_LABELS: Final = (
    ("pcui", _AT), ("diag", _DIAG), ("qcdm", _DIAG), ("nmea", _NMEA), ("gps", _NMEA),
    ("gnss", _NMEA), ("audio", _AUDIO), ("pcm", _AUDIO), ("voice", _AUDIO), ("trace", _OTHER),
    ("at port", _AT), ("at interface", _AT), ("modem", _SECOND),
)  # fmt: skip

_MARKS: Final = MappingProxyType(
    {
        "ID_MM_PORT_TYPE_AT_PRIMARY": _AT,
        "ID_MM_PORT_TYPE_AT_SECONDARY": _SECOND,
        "ID_MM_PORT_TYPE_AT_PPP": _SECOND,
        "ID_MM_PORT_TYPE_QCDM": _DIAG,
        "ID_MM_PORT_TYPE_GPS": _NMEA,
        "ID_MM_PORT_TYPE_AUDIO": _AUDIO,
    }
)

_GUESSED_ORDER: Final = (2, 3)  # where most Qualcomm modems have their AT ports

_BRIDGE_VENDORS: Final = frozenset({"0403", "067b", "10c4", "1a86"})
_MODEM_DRIVERS: Final = frozenset({
    "cdc_acm", "hso", "ipw", "option", "option1", "qcaux", "qcserial", "sierra",
    "usb_serial_simple", "usb_wwan",
    "usbserial_generic",  # what an administrator gave to it: bridges have drivers of their own
})  # fmt: skip


def role_of(usb_id: str, interface: UsbInterface, marks: Mapping[str, str]) -> PortRole:
    """What a port is for. `usb_id` is `vvvv:pppp`; `marks` are udev's properties of the port.

    A rule of the site (`ID_MM_PORT_TYPE_*`) comes first, then our table, then what the
    descriptor tells.
    """
    for mark, role in _MARKS.items():
        if marks.get(mark) == "1":
            return role
    table = _BY_ID.get(usb_id)
    if table is not None:
        return table.get(interface.number, PortRole.UNKNOWN)
    cls, subclass, protocol = interface.kind
    if usb_id.startswith("12d1:") and cls == 0xFF and subclass in {0x01, 0x02, 0x03, 0x06}:
        return _HUAWEI_PROTOCOLS.get(protocol, PortRole.UNKNOWN)
    label = interface.label.lower()
    return next((role for word, role in _LABELS if word in label), PortRole.UNKNOWN)


def rank(role: PortRole, interface: UsbInterface) -> tuple[int, int, int]:
    """Sorts ports that may take commands, best first.

    Raises:
        ValueError: the role is none of `SPEAKING`.
    """
    guess = (*_GUESSED_ORDER, interface.number)
    is_plain = role is PortRole.UNKNOWN and interface.kind[0] == 0xFF
    return SPEAKING.index(role), guess.index(interface.number) if is_plain else 0, interface.number


def is_bridge(vendor_id: str, driver: str) -> bool:
    """Whether a USB device is a serial bridge: each of its ports leads to a modem of its own."""
    return vendor_id in _BRIDGE_VENDORS or driver not in _MODEM_DRIVERS
