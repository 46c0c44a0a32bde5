"""Storages, routing and acknowledgement: at-dialects §3.5, §6.8 rows 6–9."""

from pathlib import Path

import pytest

from simulator import pdu
from simulator.network.network import Rule
from tests.support.one_modem import HELLO, OneModem


@pytest.fixture
def bench(tmp_path: Path) -> OneModem:
    bench = OneModem(tmp_path)
    bench.say("AT+CMGF=0")
    return bench


def arrive(bench: OneModem, text: str = "hi", **options: int) -> str:
    bench.network.send_text(to=bench.card, origin="10086", text=text, **options)
    return bench.terminal.take()


# ---------------------------------------------------------------- routing of messages


def test_default_routing_stores_silently(bench: OneModem) -> None:
    assert arrive(bench) == ""
    assert bench.lines("AT+CPMS?")[0].startswith('+CPMS: "SM",1,5,')


def test_mt_1_stores_and_names_the_slot(bench: OneModem) -> None:
    bench.prepare("2,1,0,0,0")
    assert arrive(bench) == '\r\n+CMTI: "SM",1\r\n'
    assert arrive(bench) == '\r\n+CMTI: "SM",2\r\n'


def test_mt_2_shows_the_whole_pdu(bench: OneModem) -> None:
    bench.prepare("2,2,0,0,0")
    said = arrive(bench).split("\r\n")
    assert said[1].startswith("+CMT: ,")
    octets = bytes.fromhex(said[2])
    sca, tpdu = pdu.split_pdu(octets)
    assert said[1] == f"+CMT: ,{len(tpdu)}"
    assert sca == pdu.service_centre("+8613800100500")
    assert pdu.decode_deliver(tpdu).data.text == "hi"
    assert bench.lines("AT+CPMS?")[0].startswith('+CPMS: "SM",0,5,')


def test_class_2_goes_to_the_card_even_when_routed_directly(bench: OneModem) -> None:
    bench.prepare("2,2,0,0,0")
    bench.say('AT+CPMS="ME","ME","ME"')
    assert arrive(bench, dcs=0x12) == '\r\n+CMTI: "SM",1\r\n'


def test_mt_3_shows_class_3_and_stores_the_rest(bench: OneModem) -> None:
    bench.prepare("2,3,0,0,0")
    assert arrive(bench, dcs=0x13).startswith("\r\n+CMT: ,")
    assert arrive(bench) == '\r\n+CMTI: "SM",1\r\n'


def test_flash_is_shown_directly_by_models_that_do(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "quectel")
    bench.prepare("2,1,0,0,0")
    assert arrive(bench, dcs=0x10).startswith("\r\n+CMT: ,")


def test_mode_0_buffers_the_news_until_another_mode(bench: OneModem) -> None:
    bench.prepare("0,1,0,0,0")
    assert arrive(bench) == ""
    assert bench.say("AT+CNMI=2,1,0,0,0") == '+CMTI: "SM",1\r\n\r\nOK'


def test_buffer_is_cleared_where_bfr_says_so(bench: OneModem) -> None:
    bench.prepare("0,1,0,0,0")
    arrive(bench)
    assert bench.say("AT+CNMI=2,1,0,0,1") == "OK"


def test_cnmi_is_read_back_completed_and_lost_at_reset(bench: OneModem) -> None:
    bench.prepare("2,1,0,2")
    assert bench.lines("AT+CNMI?") == ["+CNMI: 2,1,0,2,0", "OK"]
    bench.modem.reboot()
    bench.wait(5)
    assert bench.lines("AT+CNMI?")[-2:] == ["+CNMI: 0,0,0,0,0", "OK"]


@pytest.mark.parametrize("values", ["4,1,0,0,0", "2,4,0,0,0", "2,1,1,0,0", "2,1,0,3,0", "x"])
def test_cnmi_out_of_range_is_refused(bench: OneModem, values: str) -> None:
    assert bench.say(f"AT+CNMI={values}") == "+CMS ERROR: 303"


def test_refusing_personas_refuse_mode_2(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "huawei")
    assert bench.say("AT+CNMI=2,1,0,2,0") == "ERROR"
    assert bench.say("AT+CNMI=1,1,0,2,0") == "OK"


# ---------------------------------------------------------------- reports


def test_ds_1_shows_the_report(bench: OneModem) -> None:
    bench.prepare("2,1,0,1,0")
    said = bench.submit() + bench.wait(3)
    last = said.split("\r\n")
    assert last[-3].startswith("+CDS: ")
    report = pdu.decode_status_report(pdu.split_pdu(bytes.fromhex(last[-2]))[1])
    assert (report.mr, report.st, report.recipient.number) == (0, 0, "+491712345678")
    assert (report.discharged - report.scts).total_seconds() == 2


def test_ds_2_stores_the_report(bench: OneModem) -> None:
    bench.prepare("2,1,0,2,0")
    said = bench.submit() + bench.wait(3)
    assert said.endswith('\r\n+CDSI: "SM",1\r\n')
    listed = bench.lines("AT+CMGL=4")
    assert listed[0].startswith("+CMGL: 1,0,,")
    assert pdu.split_pdu(bytes.fromhex(listed[1]))[1][0] & 3 == 2


def test_ds_0_swallows_the_report(bench: OneModem) -> None:
    bench.prepare("2,1,0,0,0")
    bench.submit()
    assert bench.wait(3) == ""
    assert len(bench.ledger.read(kind="report")) == 1
    assert bench.lines("AT+CMGL=4") == ["OK"]


# ---------------------------------------------------------------- acknowledgement


def test_phase_2_plus_waits_for_the_acknowledgement(bench: OneModem) -> None:
    assert bench.lines("AT+CSMS=1") == ["+CSMS: 1,1,1", "OK"]
    bench.prepare("2,2,0,1,0")
    assert arrive(bench, "one").startswith("\r\n+CMT: ")
    assert arrive(bench, "two") == ""
    assert bench.ledger.read(kind="deliver") == []
    assert bench.say("AT+CNMA").startswith("+CMT: ")
    assert bench.say("AT+CNMA=0") == "OK"
    assert [line["text"] for line in bench.ledger.read(kind="deliver")] == ["one", "two"]
    assert bench.say("AT+CNMA") == "+CMS ERROR: 340"


def test_missing_acknowledgement_ends_direct_routing_and_nothing_is_lost(
    bench: OneModem,
) -> None:
    bench.say("AT+CSMS=1")
    bench.prepare("2,2,0,1,0")
    arrive(bench, "kept")
    bench.wait(16)
    assert bench.lines("AT+CNMI?") == ["+CNMI: 2,0,0,0,0", "OK"]
    assert [line["text"] for line in bench.ledger.read(kind="deliver")] == ["kept"]
    assert bench.lines("AT+CMGL=4")[0].startswith("+CMGL: 1,0,")


def test_acknowledgement_with_length_asks_for_it(bench: OneModem) -> None:
    bench.say("AT+CSMS=1")
    bench.prepare("2,2,0,1,0")
    arrive(bench)
    assert bench.type(b"AT+CNMA=1,2\r") == "\r\n> "
    assert bench.type(b"0000\x1a") == "\r\nOK\r\n"
    assert len(bench.ledger.read(kind="deliver")) == 1


# ---------------------------------------------------------------- storages


def test_reading_makes_read_and_empty_slots_are_321(bench: OneModem) -> None:
    arrive(bench)
    assert bench.lines("AT+CMGR=1")[0].startswith("+CMGR: 0,,")
    assert bench.lines("AT+CMGR=1")[0].startswith("+CMGR: 1,,")
    assert bench.say("AT+CMGR=2") == "+CMS ERROR: 321"
    assert bench.say("AT+CMGR=99") == "+CMS ERROR: 321"


def test_listing_marks_as_read_and_filters(bench: OneModem) -> None:
    arrive(bench)
    assert len(bench.lines("AT+CMGL=0")) == 3
    assert bench.lines("AT+CMGL=0") == ["OK"]
    assert len(bench.lines("AT+CMGL=1")) == 3
    assert len(bench.lines("AT+CMGL=4")) == 3
    assert bench.say("AT+CMGL=9") == "+CMS ERROR: 305"


def test_stores_are_apart_and_mt_is_both(bench: OneModem) -> None:
    bench.prepare("2,1,0,0,0")
    arrive(bench, "card")
    bench.say('AT+CPMS="SM","SM","ME"')
    assert arrive(bench, "modem") == '\r\n+CMTI: "ME",1\r\n'
    assert bench.lines('AT+CPMS="SM","SM","SM"') == ["+CPMS: 1,5,1,5,1,5", "OK"]
    assert bench.lines('AT+CPMS="ME"')[0].startswith("+CPMS: 1,100,")
    assert bench.lines('AT+CPMS="MT"')[0].startswith("+CPMS: 2,105,")
    listed = [line for line in bench.lines("AT+CMGL=4") if line.startswith("+CMGL")]
    assert [line.split(",")[0] for line in listed] == ["+CMGL: 1", "+CMGL: 6"]
    assert bench.say("AT+CMGD=6") == "OK"
    assert bench.modem.mailbox.own.used == 0
    assert bench.say('AT+CPMS="XX"') == "+CMS ERROR: 302"


@pytest.mark.parametrize(
    ("flag", "left"), [("1", {0, 2, 3}), ("2", {0, 2}), ("3", {0}), ("4", set())]
)
def test_deletion_flags(bench: OneModem, flag: str, left: set[int]) -> None:
    arrive(bench, "unread")
    for status in (1, 2, 3):
        assert bench.type(f"AT+CMGW=24,{status}\r".encode()) == "\r\n> "
        bench.type(HELLO.encode() + b"\x1a")
    assert bench.say(f"AT+CMGD=1,{flag}") == "OK"
    lines = [line for line in bench.lines("AT+CMGL=4") if line.startswith("+CMGL")]
    assert {int(line.split(",")[1]) for line in lines} == left


def test_first_slot_is_0_on_huawei(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "huawei")
    bench.prepare("1,1,0,0,0")
    assert arrive(bench) == '\r\n+CMTI: "SM",0\r\n'
    assert bench.lines("AT+CMGR=0")[0].startswith("+CMGR: 0,,")
    assert bench.say("AT+CMGD=0") == "OK"


def test_full_storage_holds_the_network_until_there_is_room(bench: OneModem) -> None:
    bench.prepare("2,1,0,0,0")
    for number in range(7):
        arrive(bench, f"m{number}")
    assert bench.network.waiting(bench.card) == 2
    assert bench.say("AT+CMGD=3") == '+CMTI: "SM",3\r\n\r\nOK'
    assert bench.network.waiting(bench.card) == 1
    bench.say("AT+CMGD=1,4")
    assert bench.network.waiting(bench.card) == 0
    assert len(bench.ledger.read(kind="deliver")) == 7


def test_stored_messages_outlive_a_reset(bench: OneModem) -> None:
    arrive(bench)
    bench.modem.reboot()
    bench.wait(5)
    assert bench.lines("AT+CPMS?")[-2].startswith('+CPMS: "SM",1,5,')


def test_stored_message_is_sent_from_its_slot(bench: OneModem) -> None:
    bench.type(b"AT+CMGW=24\r")
    assert "+CMGW: 1" in bench.type(HELLO.encode() + b"\x1a")
    assert bench.type(b"AT+CMSS=1\r") + bench.wait(1.1) == "\r\n+CMSS: 0\r\n\r\nOK\r\n"
    assert bench.say("AT+CMSS=2") == "+CMS ERROR: 321"


def test_text_mode_shows_words_and_hex_for_ucs2(bench: OneModem) -> None:
    arrive(bench, "plain")
    arrive(bench, "好")
    bench.say("AT+CMGF=1")
    listed = bench.lines('AT+CMGL="ALL"')
    assert listed[0].startswith('+CMGL: 1,"REC UNREAD","10086",,"26/11/22,20:00:05+32"')
    assert listed[1] == "plain"
    assert listed[3] == "597D"


@pytest.mark.parametrize("values", ["x,167,0,0", "17,256,0,0", "17,167,²,0"])
def test_senseless_text_parameters_fail_at_the_send(bench: OneModem, values: str) -> None:
    bench.say("AT+CMGF=1")
    bench.type(f"AT+CSMP={values}\r".encode("latin-1"))
    bench.type(b'AT+CMGS="+8613900000001"\r')
    assert bench.type(b"hi\x1a") == "\r\n+CMS ERROR: 305\r\n"


def test_service_centre_is_shown_as_the_character_set_says(bench: OneModem) -> None:
    assert bench.lines("AT+CSCA?") == ['+CSCA: "+8613800100500",145', "OK"]
    bench.say('AT+CSCA="+8613800200500",145')
    assert bench.lines("AT+CSCA?") == ['+CSCA: "+8613800200500",145', "OK"]
    bench.say('AT+CSCS="UCS2"')
    assert bench.lines("AT+CSCA?")[0].startswith('+CSCA: "002B0038')


# ---------------------------------------------------------------- sending


def test_reference_counts_per_modem_and_wraps(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, latency=0)
    bench.prepare("2,1,0,0,0")
    for expected in [*range(256), 0]:
        assert bench.submit() == f"\r\n> \r\n+CMGS: {expected}\r\n\r\nOK\r\n"
    bench.modem.reboot()
    bench.wait(5)
    assert "+CMGS: 0\r\n" in bench.submit()


def test_sending_needs_registration(bench: OneModem) -> None:
    bench.say("AT+CFUN=4")
    assert bench.say("AT+CMGS=24") == "+CMS ERROR: 331"
    bench.say("AT+CFUN=1")
    bench.wait(1)
    assert bench.type(b"AT+CMGS=24\r") == "\r\n> "


def test_power_failure_before_the_network_took_it_leaves_nothing(bench: OneModem) -> None:
    bench.prepare()
    bench.type(b"AT+CMGS=24\r")
    bench.type(HELLO.encode() + b"\x1a")
    bench.modem.switch_off()
    assert bench.wait(10) == ""
    assert bench.ledger.read(kind="submit") == []


def test_ledger_has_the_line_before_the_answer_is_written(bench: OneModem) -> None:
    bench.prepare()
    seen: list[int] = []
    write = bench.terminal.write

    def watching(data: bytes) -> None:
        if b"+CMGS:" in data:
            seen.append(len(bench.ledger.read(kind="submit")))
        write(data)

    bench.terminal.write = watching  # type: ignore[method-assign]
    bench.submit()
    assert seen == [1]


def test_network_refusal_is_the_answer_and_in_the_ledger(bench: OneModem) -> None:
    bench.prepare()
    bench.network.add_rule(Rule(destination="+49", cms=38, count=1))
    assert bench.submit() == "\r\n> \r\n+CMS ERROR: 38\r\n"
    assert [line["outcome"] for line in bench.ledger.read(kind="refused")] == ["cms:38"]
    assert "+CMGS: 1" in bench.submit()
