"""The service centre: what waits, what expires, what is tried again, what cards send each other."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulator import pdu
from simulator.network.carriers import Carrier
from simulator.network.latency import Latency, Shape
from simulator.network.network import Rule
from tests.support.closed_world import OUTSIDE, ClosedWorld, submit_tpdu

HOUR = b"\x0b"


@pytest.fixture
def world(tmp_path: Path) -> ClosedWorld:
    return ClosedWorld(tmp_path)


def away(world: ClosedWorld, index: int = 1) -> None:
    assert world[index].say("AT+CFUN=4") == ["OK"]


def back(world: ClosedWorld, index: int = 1) -> None:
    assert "OK" in world[index].say("AT+CFUN=1")
    world.wait(1)


# ---------------------------------------------------------------- validity


def test_message_to_a_card_that_is_off_expires_with_st_46(world: ClosedWorld) -> None:
    away(world)
    world[0].send(submit_tpdu(world[1].number, validity=HOUR))
    world.wait(3599)
    assert (world.sts(), world.lines("expired")) == ([], [])
    world.wait(2)
    assert world.sts() == [0x46]
    (line,) = world.lines("expired")
    assert (line["destination"], line["mr"], line["st"]) == (world[1].number, 0, 0x46)
    back(world)
    assert world.lines("deliver") == []
    assert world.network.waiting(world[1].card) == 0


def test_it_is_delivered_when_the_card_returns_in_time(world: ClosedWorld) -> None:
    away(world)
    world[0].send(submit_tpdu(world[1].number, validity=HOUR))
    world.wait(3000)
    back(world)
    assert world[1].heard() == ['+CMTI: "SM",1']
    world.wait(3600)
    assert world.sts() == [0]
    assert world.lines("expired") == []


def test_a_card_that_comes_back_in_another_modem_gets_it_there(world: ClosedWorld) -> None:
    world[1].modem.insert(None)
    world[0].send_to(world[1].number)
    world.wait(60)
    world[0].modem.insert(world[1].card)
    world.wait(5)
    (line,) = world.lines("deliver")
    assert (line["modem"], line["iccid"]) == ("modem01", world[1].card.iccid)


def test_it_waits_while_the_storage_is_full(world: ClosedWorld) -> None:
    for _ in range(7):
        world[0].send_to(world[1].number)
    world.wait(1)
    assert (len(world.lines("deliver")), world.network.waiting(world[1].card)) == (5, 2)
    world[1].heard()
    assert world[1].say("AT+CMGD=2") == ['+CMTI: "SM",2', "OK"]
    assert len(world.lines("deliver")) == 6
    world.wait(86_400)
    assert sorted(map(int, map(str, world.sts()))) == [0] * 6 + [0x46]


@pytest.mark.parametrize(
    ("validity", "vpf", "seconds"),
    [
        (b"\x00", 2, 300),
        (b"\xff", 2, 7200),
        (b"", 0, 1800),
        (bytes.fromhex("023C0000000000"), 1, 60),
        (pdu.timestamp(datetime(2026, 11, 22, 12, 10, 5, tzinfo=UTC)), 3, 600),
    ],
)
def test_each_form_of_validity_with_default_and_clip(
    tmp_path: Path, validity: bytes, vpf: int, seconds: int
) -> None:
    carrier = Carrier(name="A", numeric="46000", validity=1800.0, validity_most=7200.0)
    world = ClosedWorld(tmp_path, carriers=[carrier])
    away(world)
    world[0].send(submit_tpdu(world[1].number, validity=validity, vpf=vpf))
    world.wait(seconds - 1)
    assert world.sts() == []
    world.wait(2)
    assert world.sts() == [0x46]


def test_a_single_shot_is_tried_once(world: ClosedWorld) -> None:
    away(world)
    world[0].send(submit_tpdu(world[1].number, validity=bytes.fromhex("40000000000000"), vpf=1))
    world.wait(1)
    assert world.sts() == [0x62]
    back(world)
    assert world.lines("deliver") == []


def test_an_unreachable_number_outside_expires(world: ClosedWorld) -> None:
    world.network.set_rules([Rule(unreachable=True)])
    world[0].send(submit_tpdu(OUTSIDE, validity=HOUR))
    world.wait(3599)
    assert world.sts() == []
    world.wait(2)
    assert world.sts() == [0x46]


def test_an_unreachable_number_can_come_back(world: ClosedWorld) -> None:
    world.network.set_rules([Rule(unreachable_for=600.0)])
    world[0].send(submit_tpdu(OUTSIDE, validity=HOUR))
    world[0].send(submit_tpdu(OUTSIDE, validity=b"\x00"))
    world.wait(301)
    assert world.sts() == [0x46]
    world.wait(300)
    assert world.sts() == [0x46, 0]


def test_a_rule_can_make_a_card_of_the_bank_unreachable(world: ClosedWorld) -> None:
    world.network.set_rules([Rule(unreachable_for=600.0)])
    world[0].send_to(world[1].number)
    world.wait(599)
    assert world.lines("deliver") == []
    world.wait(2)
    assert len(world.lines("deliver")) == 1
    assert world.sts() == [0]


def test_expiry_is_no_matter_of_reports(world: ClosedWorld) -> None:
    away(world)
    world[0].send(submit_tpdu(world[1].number, wants_report=False, validity=HOUR))
    world.wait(3601)
    assert (len(world.lines("expired")), world.sts()) == (1, [])


# ---------------------------------------------------------------- acknowledgement, retry


def direct(world: ClosedWorld) -> None:
    assert world[1].say("AT+CSMS=1")[-1] == "OK"
    assert world[1].say("AT+CNMI=2,2,0,1,0") == ["OK"]


def test_what_the_client_refuses_is_tried_again_later(world: ClosedWorld) -> None:
    direct(world)
    world[0].send_to(world[1].number)
    assert world[1].heard()[0].startswith("+CMT: ")
    assert world[1].say("AT+CNMA=2") == ["OK"]
    world.wait(299)
    assert world[1].heard() == []
    world.wait(2)
    assert world[1].heard()[0].startswith("+CMT: ")
    assert world[1].say("AT+CNMA") == ["OK"]
    assert len(world.lines("deliver")) == 1


def test_a_carrier_may_never_retry_by_itself(tmp_path: Path) -> None:
    world = ClosedWorld(tmp_path, carriers=[Carrier(name="A", numeric="46000", retry=0.0)])
    direct(world)
    world[0].send_to(world[1].number)
    world[1].say("AT+CNMA=2")
    world.wait(3600)
    assert world[1].heard() == []
    assert world.network.waiting(world[1].card) == 1


def test_what_is_being_shown_when_it_expires_may_still_be_acknowledged(world: ClosedWorld) -> None:
    direct(world)
    world[0].send(submit_tpdu(world[1].number, validity=bytes.fromhex("02050000000000"), vpf=1))
    world.wait(8)
    world[1].heard()
    assert world[1].say("AT+CNMA") == ["OK"]
    world.wait(30)
    assert (world.sts(), world.lines("expired")) == ([0], [])


def test_what_is_not_acknowledged_expires_after_all(world: ClosedWorld) -> None:
    direct(world)
    world[0].send(submit_tpdu(world[1].number, validity=bytes.fromhex("02050000000000"), vpf=1))
    # Without +CNMA the modem gives up after 15 s, and its routing is off.
    world.wait(40)
    assert world.network.waiting(world[1].card) == 0
    assert (len(world.lines("expired")), world.lines("deliver")) == (1, [])
    assert world.sts() == [0x46]


# ---------------------------------------------------------------- card to card


def test_segments_of_a_long_text_arrive_untouched(world: ClosedWorld) -> None:
    parts = pdu.segments("好" * 150, reference=0x42)
    for part in parts:
        world[0].send(submit_tpdu(world[1].number, data=part))
    found = world.lines("deliver")
    assert [line["concat"] for line in found] == [
        {"ref": 0x42, "total": 3, "seq": sequence} for sequence in (1, 2, 3)
    ]
    assert "".join(str(line["text"]) for line in found) == "好" * 150
    tpdus = [bytes.fromhex(str(line["tpdu"])) for line in found]
    assert [pdu.decode_deliver(tpdu).data.octets for tpdu in tpdus] == [p.octets for p in parts]


def test_sixteen_bit_references_and_ports_pass_too(world: ClosedWorld) -> None:
    # Elements 05 (ports) and 08 (16-bit concatenation) in one header.
    header = bytes.fromhex("0C 05 04 0B84 23F0 08 04 1234 02 01".replace(" ", ""))
    octets = header + b"\x00\x41\x00\x42"
    data = pdu.UserData(dcs=0x08, has_header=True, length=len(octets), octets=octets)
    world[0].send(submit_tpdu(world[1].number, data=data))
    (line,) = world.lines("deliver")
    assert line["concat"] == {"ref": 0x1234, "total": 2, "seq": 1}
    assert pdu.decode_deliver(bytes.fromhex(str(line["tpdu"]))).data == data


def test_an_alphanumeric_sender_arrives_as_it_is(world: ClosedWorld) -> None:
    world.network.send_text(to=world[1].card, origin="Bank Ltd", text="code 1234")
    (line,) = world.lines("deliver")
    assert line["from"] == "Bank Ltd"
    assert world[1].heard() == ['+CMTI: "SM",1']


def test_a_card_may_write_to_itself(world: ClosedWorld) -> None:
    # What arrives while the prompt's command runs is held back until its end.
    assert world[0].send_to(world[0].number) == ["+CMGS: 0", "OK", '+CMTI: "SM",1']
    (line,) = world.lines("deliver")
    assert (line["modem"], line["from"]) == ("modem01", world[0].number)


def test_references_of_strangers_count_per_recipient(world: ClosedWorld) -> None:
    for index in (0, 0, 1):
        world.network.send_text(to=world[index].card, origin="10086", text="好" * 80)
    found = [(line["modem"], line["concat"]) for line in world.lines("deliver")]
    assert found == [
        (modem, {"ref": reference, "total": 2, "seq": sequence})
        for modem, reference in (("modem01", 1), ("modem01", 2), ("modem02", 1))
        for sequence in (1, 2)
    ]


def order(folder: Path, seed: int) -> list[object]:
    folder.mkdir()
    spread = Latency(shape=Shape.UNIFORM, least=0.0, most=60.0)
    carrier = Carrier(name="A", numeric="46000", report_delay=spread, delivery=spread)
    world = ClosedWorld(folder, carriers=[carrier], seed=seed)
    for _ in range(8):
        world[0].send_to(OUTSIDE)
    for part in pdu.segments("好" * 250, reference=1):
        world[0].send(submit_tpdu(world[1].number, data=part, wants_report=False))
    world.wait(120)
    found = [line["mr"] for line in world.lines("report")]
    assert sorted(found) == list(range(8))
    return [*found, *(str(line["concat"]) for line in world.lines("deliver"))]


def test_spread_delays_put_reports_and_segments_out_of_order(tmp_path: Path) -> None:
    found = order(tmp_path / "a", 1)
    assert found[:8] != sorted(map(int, map(str, found[:8])))
    assert found[8:] != sorted(map(str, found[8:]))
    assert found == order(tmp_path / "b", 1)
    assert found != order(tmp_path / "c", 2)
