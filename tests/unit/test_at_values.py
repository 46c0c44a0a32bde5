"""Parsers against answers of real firmware, each with its provenance."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.at import storage, values
from drivers.errors import ProtocolError
from drivers.interface import CurrentCall, Registration, SimState

VECTORS = tomllib.loads(
    (Path(__file__).parent.parent / "vectors" / "at" / "values.toml").read_text()
)["vector"]

OF_LINES = {"imei", "text_answer", "imsi"}
PARSERS = {
    **{name: getattr(values, name) for name in dir(values) if not name.startswith("_")},
    "memories": storage.memories,
    "indication": storage.indication,
}


def parse(name: str, line: str) -> object:
    return PARSERS[name]([line] if name in OF_LINES else line)


def flat(value: object) -> Any:
    """A value as the vectors write it: a list without the trailing unknowns."""
    if isinstance(value, Registration | CurrentCall):
        parts = list(dataclasses.astuple(value))
        while parts and parts[-1] is None:
            parts.pop()
        return parts
    if isinstance(value, tuple):
        parts = [flat(part) for part in value]
        while parts and parts[-1] is None:
            parts.pop()
        return parts
    if isinstance(value, list):
        return [list(part) for part in value]
    return str(value) if isinstance(value, SimState) else value


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['parser']}: {v['line']}")
def test_line_of_real_firmware_is_read(vector: dict[str, Any]) -> None:
    if vector.get("error"):
        with pytest.raises(ProtocolError):
            parse(vector["parser"], vector["line"])
    else:
        assert flat(parse(vector["parser"], vector["line"])) == vector.get("value")


def test_no_vector_is_without_its_source() -> None:
    assert len(VECTORS) > 70
    assert all(vector["source"] for vector in VECTORS)


@pytest.mark.parametrize(
    ("cme", "cms", "state"),
    [
        (10, None, SimState.ABSENT),
        (11, None, SimState.PIN),
        (12, None, SimState.PUK),
        (14, None, SimState.BUSY),
        (13, None, SimState.OTHER),
        (3, None, None),
        (None, 310, SimState.ABSENT),
        (None, 500, None),
        (None, None, None),
    ],
)
def test_error_to_cpin_query_tells_the_card(
    cme: int | None, cms: int | None, state: SimState | None
) -> None:
    assert values.sim_state_of_error(cme=cme, cms=cms) is state


def test_imsi_never_reaches_the_error_text() -> None:
    with pytest.raises(ProtocolError) as error:
        values.imsi(["+CIMI: 26201123456789X"])
    assert "2620" not in str(error.value)


PARTS = [*'0123456789,,,,:""() -FABx', *(v["line"].partition(":")[0] + ": " for v in VECTORS)]
garbled = st.one_of(
    st.text(alphabet=st.characters(max_codepoint=255), max_size=60),
    st.lists(st.sampled_from(PARTS), max_size=30).map("".join),
    st.tuples(st.sampled_from([v["line"] for v in VECTORS]), st.integers(0, 40)).map(
        lambda cut: cut[0][: cut[1]]
    ),
)


@settings(max_examples=500)
@given(garbled)
def test_no_parser_fails_in_another_way_than_its_own(line: str) -> None:
    for name in {vector["parser"] for vector in VECTORS}:
        try:
            parse(name, line)
        except ProtocolError:
            continue


# ---------------------------------------------------------------- PDU lines

PDU = "0791947101670000040C9194712143658700C862111222436540053190BB7C07"  # MWI, 24 octets


def test_pdu_line_is_cut_behind_its_address() -> None:
    sca, tpdu = storage.split_pdu(PDU)
    assert sca.hex() == "91947101670000"
    assert len(tpdu) == 24


def test_pdu_line_without_address_is_all_tpdu() -> None:
    assert storage.split_pdu("00" + PDU[16:])[0] == b""


@pytest.mark.parametrize("text", ["", "0", "zz", "07919471", "00"])
def test_pdu_line_that_is_none_raises(text: str) -> None:
    with pytest.raises(ProtocolError):
        storage.split_pdu(text)


def test_listed_message_keeps_index_and_status() -> None:
    message = storage.listed("SM", "+CMGL: 4,1,,24", PDU)
    assert (message.memory, message.index, message.status) == ("SM", 4, 1)
    assert message.tpdu[0] == 0x04


@pytest.mark.parametrize("head", ["+CMGL: x,1,,24", "+CMGL: 1,1"])
def test_listed_message_without_index_raises(head: str) -> None:
    with pytest.raises(ProtocolError):
        storage.listed("SM", head, PDU)


@pytest.mark.parametrize(
    ("head", "payload", "expected"),
    [
        ("+CMGL: 4,1,,24", PDU, True),
        ("+CMGL: 4,1,,x", PDU, True),  # who does not say its length cannot be held to it
        ("+CMGL: 4,1,,24", PDU[:-2], False),
        ("+CMGR: 1,,24", PDU + "00", False),
        ("+CMGR: 1,,24", "zz", False),
    ],
)
def test_pdu_is_held_to_the_length_of_its_header(
    head: str, payload: str, *, expected: bool
) -> None:
    assert storage.is_whole(head, payload) is expected


def test_read_message_of_unreadable_status_counts_as_unread() -> None:
    assert storage.read("ME", 2, "+CMGR: ?,,24", PDU).status == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('+CPMS: "SM",3,50,"SM",3,50,"SM",3,50', 3),
        ('+CPMS: "SM",3,50,"ME",9,99', 3),
        ("+CPMS: SM,0,50,SM,0,50,SM,0,50", 0),
        ('+CPMS: "MT",3,50,"MT",3,50,"MT",3,50', None),  # of another memory
        ("+CPMS: 3,50,3,50", None),
        ('+CPMS: "SM",,50', None),
        ('+CPMS: "SM",-1,50', None),
    ],
)
def test_how_much_lies_in_a_memory_is_told_with_its_name_or_not_at_all(
    line: str, expected: int | None
) -> None:
    assert storage.n_used(line, "SM") == expected
