"""SUBMIT, DELIVER, STATUS-REPORT: vectors with provenance, and what must not go wrong."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from modemctl.sms import (
    Address,
    Deliver,
    Element,
    MalformedTpdu,
    ReportVerdict,
    StatusReport,
    Submit,
    Unencodable,
    UserData,
    decode,
    decode_submit,
    encode_submit,
)

VECTORS = tomllib.loads(
    (Path(__file__).parent.parent / "vectors" / "sms" / "tpdus.toml").read_text("utf-8")
)["vector"]
PARTY = "0C919471214365870000"
SCTS = "62111222436540"


def told(message: Deliver | StatusReport | Submit) -> dict[str, object]:
    """The message in the words of the vectors' file."""
    address = message.sender if isinstance(message, Deliver) else message.recipient
    facts: dict[str, object] = {"number": address.text}
    if data := message.user_data:
        facts |= {"text": data.text} if data.text is not None else {"data": data.data.hex()}
        if c := data.concat:
            facts["concat"] = [c.reference, c.total, c.sequence]
        if p := data.ports:
            facts["ports"] = [p.destination, p.source]
    if isinstance(message, Submit):
        if message.encoding.sms_class is not None:
            facts["sms_class"] = message.encoding.sms_class
        if isinstance(message.validity, timedelta):
            facts["validity_minutes"] = message.validity // timedelta(minutes=1)
        elif message.validity is not None:
            facts["validity_until"] = message.validity.isoformat()
        if message.wants_report:
            facts["report"] = True
        return facts
    if message.scts is not None:
        facts["time"] = message.scts.isoformat()
    if isinstance(message, StatusReport):
        facts |= {"mr": message.mr, "st": message.st}
        if message.discharged_at is not None:
            facts["discharged"] = message.discharged_at.isoformat()
    return facts


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_vector_decodes_to_its_meaning(vector: dict[str, Any]) -> None:
    kinds = {"submit": Submit, "deliver": Deliver, "report": StatusReport}
    message = decode(bytes.fromhex(vector["tpdu"]), from_network=vector["kind"] != "submit")

    meaning = {k: v for k, v in vector.items() if k not in {"id", "source", "kind", "tpdu"}}
    assert type(message) is kinds[vector["kind"]]
    assert told(message) == meaning


@pytest.mark.parametrize(
    "vector",
    [v for v in VECTORS if v["kind"] == "submit" and v["id"] != "B16"],
    ids=lambda vector: vector["id"],
)
def test_decoded_submit_encodes_to_the_same_octets(vector: dict[str, Any]) -> None:
    octets = bytes.fromhex(vector["tpdu"])

    assert encode_submit(decode_submit(octets)) == octets


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_every_truncation_of_a_message_is_malformed(vector: dict[str, Any]) -> None:
    octets = bytes.fromhex(vector["tpdu"])
    if vector["id"] == "B7":
        octets = octets[:-2]  # what stands behind the user data is not part of the message
    for n_octets in range(len(octets)):
        with pytest.raises(MalformedTpdu):
            decode(octets[:n_octets], from_network=vector["kind"] != "submit")


# ------------------------------------------------------------------ by TP-MTI


@pytest.mark.parametrize(
    ("first", "from_network"), [("01", True), ("00", False), ("02", False), ("03", False)]
)
def test_type_that_cannot_be_a_message_in_its_direction_is_malformed(
    first: str, *, from_network: bool
) -> None:
    with pytest.raises(MalformedTpdu):
        decode(bytes.fromhex(first + PARTY + SCTS + "00"), from_network=from_network)


def test_no_octets_at_all_are_malformed() -> None:
    with pytest.raises(MalformedTpdu, match="first octet"):
        decode(b"", from_network=True)


def test_flags_of_a_deliver() -> None:
    message = decode(bytes.fromhex("A8" + PARTY + SCTS + "00"), from_network=True)

    assert isinstance(message, Deliver)
    assert message.has_more_waiting
    assert message.is_loop_prevented
    assert message.is_report_due
    assert message.has_reply_path
    assert message.user_data.text == ""


def test_deliver_says_its_class() -> None:
    message = decode(
        bytes.fromhex("04" + "0C919471214365870010" + SCTS + "05C8329BFD06"), from_network=True
    )

    assert isinstance(message, Deliver)
    assert message.encoding.sms_class == 0


def test_no_more_messages_bit_means_none_waiting() -> None:
    message = decode(bytes.fromhex("04" + PARTY + SCTS + "00"), from_network=True)

    assert isinstance(message, Deliver)
    assert not message.has_more_waiting


@pytest.mark.parametrize("time", ["00000000000000", "FFFFFFFFFFFFFF", "62139922436540"])
def test_message_with_an_impossible_time_is_kept_without_it(time: str) -> None:
    message = decode(bytes.fromhex("04" + PARTY + time + "05C8329BFD06"), from_network=True)

    assert isinstance(message, Deliver)
    assert message.scts is None
    assert message.user_data.text == "Hello"


def test_submit_report_from_the_network_says_what_it_is() -> None:
    with pytest.raises(MalformedTpdu, match="SUBMIT-REPORT"):
        decode(b"\x01\x00", from_network=True)


# ------------------------------------------------------------------ STATUS-REPORT

REPORT = "022A0C919471214365876211122243654062111222536040"


def report(tail: str, first: str = "02") -> StatusReport:
    message = decode(bytes.fromhex(first + REPORT[2:] + tail), from_network=True)
    assert isinstance(message, StatusReport)
    return message


def test_report_with_all_optional_parameters() -> None:
    message = report("00" + "07" + "41" + "08" + "0404160416")

    assert (message.pid, message.dcs) == (0x41, 0x08)
    assert message.user_data == UserData(text="ЖЖ")
    assert message.verdict is ReportVerdict.DELIVERED


def test_report_without_coding_scheme_reads_its_text_as_gsm7() -> None:
    message = report("00" + "04" + "05C8329BFD06")

    assert message.user_data == UserData(text="Hello")
    assert message.dcs is None


def test_extended_parameter_indicator_is_skipped() -> None:
    assert report("00" + "8180FF00" + "41").pid == 0x41


@pytest.mark.parametrize("tail", ["07", "0741", "074108", "07410804", "8180", "0400FF"])
def test_damage_behind_the_status_costs_no_report(tail: str) -> None:
    message = report("46" + tail)

    assert message.st == 0x46
    assert message.verdict is ReportVerdict.EXPIRED


def test_report_for_a_command_says_so() -> None:
    message = report("00", first="2A")

    assert message.is_for_command
    assert message.is_loop_prevented
    assert message.has_more_waiting


# ------------------------------------------------------------------ SUBMIT


def submit(**changes: Any) -> Submit:
    fields = {"recipient": Address.dialled("+491712345678"), "user_data": UserData(text="Hello")}
    return Submit(**(fields | changes))


def test_submit_octets_follow_its_fields() -> None:
    octets = encode_submit(
        submit(mr=7, pid=0x41, wants_report=True, rejects_duplicates=True, has_reply_path=True)
    )

    assert octets.hex().upper() == "A5070C91947121436587410005C8329BFD06"
    assert decode_submit(octets) == submit(
        mr=7, pid=0x41, wants_report=True, rejects_duplicates=True, has_reply_path=True
    )


def test_absolute_validity_keeps_its_offset() -> None:
    until = datetime(2026, 11, 30, 12, 0, tzinfo=timezone(timedelta(hours=-5, minutes=-45)))

    decoded = decode_submit(encode_submit(submit(validity=until)))

    assert isinstance(decoded.validity, datetime)
    assert decoded.validity.isoformat() == "2026-11-30T12:00:00-05:45"


@pytest.mark.parametrize(
    ("octets", "validity"),
    [
        ("00000000000000", None),
        ("01A70000000000", timedelta(hours=24)),
        ("023C0000000000", timedelta(minutes=1)),
        ("03213354000000", timedelta(hours=12, minutes=33, seconds=45)),
        ("03FF3354000000", None),
        ("04000000000000", None),
        ("42050000000000", timedelta(seconds=5)),
    ],
)
def test_enhanced_validity_is_read(octets: str, validity: timedelta | None) -> None:
    decoded = decode_submit(bytes.fromhex("0900" + PARTY + octets + "05C8329BFD06"))

    assert decoded.validity == validity
    assert decoded.user_data.text == "Hello"


@pytest.mark.parametrize(
    "changes",
    [
        {"mr": 256},
        {"mr": -1},
        {"pid": 256},
        {"dcs": 300},
        {"validity": timedelta(0)},
        {"validity": timedelta(seconds=-1)},
        {"validity": datetime(2026, 1, 1)},  # noqa: DTZ001  # a naive time is the case
        {"validity": datetime(2099, 1, 1, tzinfo=UTC)},
        {"user_data": UserData(text="я")},
        {"user_data": UserData(text="x" * 161)},
        {"user_data": UserData(text="я" * 71), "dcs": 0x08},
        {"user_data": UserData(text="\ud83d"), "dcs": 0x08},
        {"user_data": UserData(data=b"x")},
        {"user_data": UserData(text="x"), "dcs": 0x04},
        {"user_data": UserData(text="x", data=b"x")},
        {"user_data": UserData(data=bytes(141)), "dcs": 0x04},
        {"user_data": UserData(text="", header=(Element(iei=1, data=bytes(138)),))},
        {"recipient": Address(number="")},
        {"recipient": Address(number="1" * 21)},
        {"recipient": Address(number="12x4")},
        {"recipient": Address(number="12f")},
        {"recipient": Address(number="A" * 12, ton=5)},
        {"recipient": Address(number="я", ton=5)},
        {"recipient": Address(number="1", ton=8)},
        {"recipient": Address(number="1", npi=16)},
    ],
    ids=str,
)
def test_what_a_field_cannot_hold_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Unencodable):
        encode_submit(submit(**changes))


def test_octets_are_carried_where_the_scheme_is_compressed() -> None:
    message = submit(user_data=UserData(data=b"\x01\x02"), dcs=0x20)

    assert decode_submit(encode_submit(message)) == message


# ------------------------------------------------------------------ secrets


def test_neither_text_nor_number_shows_in_a_repr() -> None:
    message = submit(user_data=UserData(text="Geheimnis"))
    octets = submit(user_data=UserData(data=b"Geheimnis"), dcs=4)

    for shown in (repr(message), str(message), repr(octets)):
        assert "Geheimnis" not in shown
        assert "1712345678" not in shown


def test_reason_of_a_malformed_tpdu_tells_no_content() -> None:
    octets = bytes.fromhex("04" + PARTY + SCTS + "0A") + b"Geheim"

    with pytest.raises(MalformedTpdu) as caught:
        decode(octets, from_network=True)

    assert str(caught.value) == "cut short in the user data"
    assert caught.value.__cause__ is None
