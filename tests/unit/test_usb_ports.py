"""Which of a USB modem's ports is asked: the tables against the personas of the simulator."""

from itertools import permutations

import pytest

from drivers import usb_ports
from drivers.usb_ports import SPEAKING, PortRole, UsbInterface, is_bridge, rank, role_of
from simulator import persona
from simulator.persona import PortRole as SimulatedRole

_ROLE = {
    SimulatedRole.AT: PortRole.AT,
    SimulatedRole.MODEM: PortRole.SECOND,
    SimulatedRole.APP: PortRole.SECOND,
    SimulatedRole.DIAG: PortRole.DIAG,
    SimulatedRole.NMEA: PortRole.NMEA,
    SimulatedRole.AUDIO: PortRole.AUDIO,
    SimulatedRole.LOG: PortRole.OTHER,
    SimulatedRole.TRACE: PortRole.OTHER,
    SimulatedRole.SAP: PortRole.OTHER,
}
COMPOSITE = [one for one in map(persona.load, persona.names()) if len(one.ports) > 1]


@pytest.mark.parametrize("model", COMPOSITE, ids=[one.name for one in COMPOSITE])
def test_each_port_of_a_persona_has_the_role_that_the_table_says(model):
    found = [role_of(model.usb_id, UsbInterface(number=one.interface), {}) for one in model.ports]
    if model.usb_id in usb_ports._BY_ID:
        assert found == [_ROLE[one.role] for one in model.ports]
    else:  # a model without a row: each port is tried in turn
        assert set(found) == {PortRole.UNKNOWN}


def test_the_models_of_the_house_are_in_the_table():
    missing = {one.name for one in COMPOSITE if one.usb_id not in usb_ports._BY_ID}
    assert missing <= {"f5521gw"}  # added to show that nothing but its own files is needed


def role(usb_id: str, interface: UsbInterface | None = None, **marks: str) -> PortRole:
    return role_of(usb_id, interface or UsbInterface(number=0), marks)


def huawei(protocol: int, subclass: int = 2) -> PortRole:
    return role("12d1:15c1", UsbInterface(number=9, kind=(0xFF, subclass, protocol)))


def test_huawei_descriptors_tell_the_role_whatever_the_number():
    told = [huawei(0x01), huawei(0x02), huawei(0x03), huawei(0x14, 6), huawei(0x32, 1)]
    assert told == ["second", "at", "diag", "nmea", "at"]
    assert huawei(0x76) is PortRole.UNKNOWN


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("HUAWEI Mobile Connect - PCUI", "at"),
        ("ACME AT Interface", "at"),
        ("ACME Modem", "second"),
        ("ACME NMEA Port", "nmea"),
        ("Diagnostics", "diag"),
        ("PCM Voice", "audio"),
        ("", "unknown"),
    ],
)
def test_an_unknown_model_is_read_by_its_interface_string(label, expected):
    assert role("1234:5678", UsbInterface(number=0, label=label)) == expected


def test_a_mark_of_the_site_overrules_the_table():
    assert role("2c7c:0125") is PortRole.DIAG
    assert role("2c7c:0125", ID_MM_PORT_TYPE_AT_PRIMARY="1") is PortRole.AT
    assert role("2c7c:0125", ID_MM_PORT_TYPE_AT_PRIMARY="0") is PortRole.DIAG


def test_a_layout_names_at_most_one_at_port_and_each_model_has_one_layout():
    ids = [one for _, group in usb_ports._LAYOUTS for one in group.split()]
    assert len(ids) == len(set(ids))
    for layout, group in usb_ports._LAYOUTS:
        assert list(layout.values()).count(PortRole.AT) <= 1, group


def test_ports_are_asked_in_the_same_order_however_they_appear():
    ports = [
        (PortRole.SECOND, UsbInterface(number=3)),
        (PortRole.AT, UsbInterface(number=2)),
        (PortRole.UNKNOWN, UsbInterface(number=0)),
        (PortRole.UNKNOWN, UsbInterface(number=2)),
    ]
    orders = {tuple(sorted(one, key=lambda port: rank(*port))) for one in permutations(ports)}
    assert [[(one.value, at.number) for one, at in order] for order in orders] == [
        [("at", 2), ("unknown", 2), ("unknown", 0), ("second", 3)]
    ]
    assert PortRole.DIAG not in SPEAKING


def test_cdc_ports_of_an_unknown_model_are_asked_from_the_first_one_on():
    acm = [(PortRole.UNKNOWN, UsbInterface(number=n, kind=(2, 2, 1))) for n in (4, 2, 0)]
    assert [at.number for _, at in sorted(acm, key=lambda port: rank(*port))] == [0, 2, 4]


def test_bridges_are_told_by_driver_or_maker():
    assert is_bridge("0403", "ftdi_sio")
    assert is_bridge("1a86", "cdc_acm")  # CH343 and its kin
    assert is_bridge("9710", "mos7840")
    assert not is_bridge("2c7c", "option")
    assert not is_bridge("1546", "cdc_acm")
    assert not is_bridge("1234", "usbserial_generic")  # given to it by `new_id`
