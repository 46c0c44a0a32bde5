"""How answers are read: finals, noise, echo, counters, card numbers, masks."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.conformance import iccid, masks, toml, tries
from simulator.conformance.check import Observed
from simulator.conformance.checks.card import provider_name
from simulator.conformance.checks.drafting import first_of
from simulator.conformance.checks.identity import luhn_is_right
from simulator.conformance.reply import Buffer, Reply


def read(command: str, *pieces: bytes, is_numeric: bool = False) -> Reply:
    buffer = Buffer(command, is_numeric=is_numeric, ends_on_call=False)
    for piece in pieces:
        buffer.feed(piece)
    return buffer.reply(0.0)


def answered(command: str, *lines: str) -> Reply:
    return read(command, "".join(f"\r\n{line}\r\n" for line in (*lines, "OK")).encode())


# ---------------------------------------------------------------- replies


@pytest.mark.parametrize(
    ("raw", "final", "lines"),
    [
        (b"AT+CSQ\r\r\n+CSQ: 20,99\r\n\r\nOK\r\n", "OK", ("+CSQ: 20,99",)),
        (b"\r\n+CSQ:20,99\r\nOK\r\n", "OK", ("+CSQ:20,99",)),
        (b"\r\n^RSSI:18\r\n\r\n+CSQ: 20,99\r\n\r\n+CMTI: \"SM\",1\r\n\r\nOK\r\n", "OK",
         ("+CSQ: 20,99",)),
        (b"\0\0\r\n+CME ERROR: 100\r\n", "+CME ERROR: 100", ()),
        (b"\r\nCOMMAND NOT SUPPORT\r\n", "COMMAND NOT SUPPORT", ()),
        (b"\r\nNO CARRIER\r\n", "", ("NO CARRIER",)),
        (b"\r\n+CSQ: 20,99\r\n\r\nO", "", ("+CSQ: 20,99",)),
        (b"\r\r\n+CSQ: 20,99\r\r\n\r\r\nOK\r\r\n", "OK", ("+CSQ: 20,99",)),
    ],
)  # fmt: skip
def test_the_end_of_an_answer_is_found_through_noise(
    raw: bytes, final: str, lines: tuple[str, ...]
) -> None:
    reply = read("AT+CSQ", raw)
    assert (reply.final, reply.lines) == (final, lines)
    assert reply.is_echoed is raw.startswith(b"AT")


@given(st.lists(st.integers(1, 6), max_size=40))
def test_an_answer_is_the_same_however_it_is_cut(sizes: list[int]) -> None:
    raw = b'AT+CREG?\r\r\n^BOOT:1,2\r\n\r\n+CREG: 2,1,"8BE3","2BAF"\r\n\r\nOK\r\n'
    pieces, at = [], 0
    for size in sizes:
        pieces.append(raw[at : at + size])
        at += size
    whole = read("AT+CREG?", raw)
    cut = read("AT+CREG?", *pieces, raw[at:])
    assert (cut.final, cut.lines, cut.noise) == (whole.final, whole.lines, whole.noise)
    assert whole.value("+CREG") == '2,1,"8BE3","2BAF"'


def test_numbers_are_results_only_where_they_are_expected() -> None:
    assert read("AT", b"0\r", is_numeric=True).is_ok
    assert read("AT+CGSN", b"\r\n4\r\n").final == ""


@pytest.mark.parametrize("prompt", [b"\r\n> ", b"\r\n>", b"> "])
def test_prompts_are_kept_to_the_octet(prompt: bytes) -> None:
    assert read("AT+CMGS=20", b"AT+CMGS=20\r" + prompt).prompt == prompt
    assert read("AT+CSQ", b"AT+CSQ\r" + prompt).prompt == b""


def test_a_line_after_the_prompt_is_noise() -> None:
    reply = read("AT+CMGS=20", b'\r\n> \r\n+CMTI: "SM",1\r\n')
    assert (reply.prompt, reply.noise) == (b"\r\n> ", ('+CMTI: "SM",1',))


# ---------------------------------------------------------------- counters


@pytest.mark.parametrize(
    ("command", "lines", "pin", "puk"),
    [
        ("+CPINR", ("+CPINR: SIM PIN2,1,3", "+CPINR: SIM PIN,2,3", "+CPINR: SIM PUK,9,10"), 2, 9),
        ("+CPINR", ('+CPINR: "SIM PIN",3', '+CPINR: "SIM PUK",10'), 3, 10),
        ("^CPIN?", ("^CPIN: SIM PIN,2,10,2,10,3",), 2, 10),
        ("^CPIN?", ("^CPIN: READY,,10,3,10,3",), 3, 10),
        ("+QPINC?", ('+QPINC: "P2",3,10', '+QPINC: "SC",1,9'), 1, 9),
        ("+SPIC", ("+SPIC: 3,3,10,10",), 3, 10),
        ("+SPIC", ("+SPIC: 2,9,3,10",), 2, 9),
        ("+ZPINPUK=?", ("+ZPINPUK: 3,10",), 3, 10),
        ("#PCT", ("#PCT: 2",), 2, None),
        ("+UPINCNT", ("+UPINCNT: 3,3,10,10",), 3, 10),
        ("+CPINC?", ("+CPINC: 1,2,9,8",), 1, 9),
        ('^SPIC="SC"', ("^SPIC: 3",), 3, None),
        ("+QTRPIN", ("+QTRPIN: 2,3,10,10",), 2, 10),
        ("+CPNNUM", ("PIN1=2; PUK1=9; PIN2=3; PUK2=10",), 2, 9),
    ],
)
def test_every_vendors_counter_is_read(
    command: str, lines: tuple[str, ...], pin: int, puk: int | None
) -> None:
    def ask(line: str) -> Reply:
        if line == f"AT{command}":
            return answered(line, *lines)
        return read(line, b"\r\nERROR\r\n")

    found = tries.read_all(ask, pin_state="SIM PIN")
    assert [(way.command, way.pin, way.puk) for way in found] == [(command, pin, puk)]


def test_telits_counter_means_nothing_once_the_card_is_open() -> None:
    found = tries.read_all(lambda line: answered(line, "#PCT: 3"), pin_state="READY")
    assert "#PCT" not in {way.command for way in found}


def test_a_bare_ok_or_another_commands_line_is_no_counter() -> None:
    assert tries.read_all(answered, pin_state="SIM PIN") == []
    assert tries.read_all(lambda line: answered(line, "+CSQ: 3,3"), pin_state="SIM PIN") == []


@pytest.mark.parametrize(
    ("slot", "found", "is_all", "first"),
    [
        (0, set(), True, 0),
        (1, set(), True, 1),
        (4, {1, 2, 3}, True, 1),
        (4, {0, 1, 2, 3}, True, 0),
        (1, set(), False, None),
        (0, {1, 2}, False, 0),
    ],
)
def test_a_draft_tells_the_first_slot_only_where_all_others_are_known(
    slot: int, found: set[int], is_all: bool, first: int | None
) -> None:
    assert first_of(slot, (len(found), found, is_all)) == first


@pytest.mark.parametrize(("word", "left"), [("63C3", 3), ("63C0", 0), ("6983", 0), ("6D00", None)])
def test_status_words_tell_tries(word: str, left: int | None) -> None:
    assert tries.of_status_word(word) == left


# ---------------------------------------------------------------- card numbers


@pytest.mark.parametrize(
    ("command", "line", "number", "form"),
    [
        ("^ICCID?", "^ICCID: 8986011234567890123F", "8986011234567890123", "named F"),
        ("^ICCID?", "^ICCID: 98681021436587092143", "89860112345678901234", "named swapped"),
        ("+CCID", "89860112345678901234", "89860112345678901234", "bare"),
        ("+CCID", "8986011234567890123f", "8986011234567890123", "bare f"),
        ("+CCID", '+CCID: "898604B2051682010001"', "898604B2051682010001", "named quoted"),
        ("+CICCID", "+ICCID: 898604B2051682010001", "898604B2051682010001", "named"),
        ("#CCID", "#CCID: 8939101234567890123", "8939101234567890123", "named"),
    ],
)
def test_every_form_of_a_card_number_comes_to_the_same(
    command: str, line: str, number: str, form: str
) -> None:
    def ask(asked: str) -> Reply:
        if asked == f"AT{command}":
            return answered(asked, line)
        return read(asked, b"\r\nERROR\r\n")

    assert [(way.command, way.number, way.form) for way in iccid.read_all(ask)] == [
        (command, number, form)
    ]


@pytest.mark.parametrize("quote", ['"', ""])
def test_a_card_number_is_read_from_its_file(quote: str) -> None:
    def ask(asked: str) -> Reply:
        if "+CRSM" in asked:
            return answered(asked, f"+CRSM: 144,0,{quote}98681021436587092143{quote}")
        return read(asked, b"\r\nERROR\r\n")

    assert [way.number for way in iccid.read_all(ask)] == ["89860112345678901234"]


@pytest.mark.parametrize(
    ("number", "is_good"),
    [("898604B2051682010001", True), ("8986", False), ("99860112345678901234", False),
     ("8986A112345678901234", False)],
)  # fmt: skip
def test_odd_card_numbers_are_named(number: str, is_good: bool) -> None:
    assert (iccid.problem(number) == "") is is_good


def test_a_check_digit_is_checked() -> None:
    assert luhn_is_right("490154203237518")
    assert not luhn_is_right("490154203237519")


@pytest.mark.parametrize(
    ("held", "name"),
    [
        ("01434D4343FFFFFFFFFFFFFFFFFFFFFFFF", "CMCC"),
        ("00804E2D56FD79FB52A8FFFFFFFFFFFFFF", "中国移动"),
        ("", ""),
    ],
)
def test_a_providers_name_is_read_in_both_codings(held: str, name: str) -> None:
    assert provider_name(held) == name


# ---------------------------------------------------------------- masks and TOML


def test_everything_that_is_known_is_masked_in_every_form() -> None:
    seen = Observed(
        iccid="898604B2051682010001", imsi="460001234567890", imei="490154203237518",
        numbers={"+8613800100500"},
    )  # fmt: skip
    mask = masks.of(seen)
    for text in (
        "898604B2051682010001", "98684 0", "98864042506128100010",
        '+CRSM: 144,0,"089406002143658709"',
        "460001234567890", "490154203237518", '+CSCA: "+8613800100500",145', "00112233445566",
    ):  # fmt: skip
        masked = mask(text)
        assert "0123456789"[3:] not in masked
        assert max((len(run) for run in _digits(masked)), default=0) <= 8, masked
    assert mask("IMEI 490154203237518") == "IMEI 49015420*******"
    assert mask("2026-11-22 04:45 BD_MF190V1.0.0B04") == "2026-11-22 04:45 BD_MF190V1.0.0B04"


@pytest.mark.parametrize(
    "text",
    [
        '+CMT: "10086",,"26/11/22,12:00:00+32"␍␊Dear Wang, your code␍␊␍␊OK␍␊',
        "\r\n+CMT: ,24\r\nDear Wang\r\n",
        '+CLIP: "10086",129,"Wang"',
        '+CUSD: 0,"Dear Wang: 10086",15',
        '+CNUM: "Wang","10086",129',
        "+CMGR: 0,,24␍␊Dear Wang␍␊OK␍␊",
    ],
)
def test_what_belongs_to_a_subscriber_is_not_shown(text: str) -> None:
    masked = masks.of(Observed())(text)
    assert "10086" not in masked
    assert "Wang" not in masked
    assert masked.startswith(text[:5])


def test_a_message_that_comes_in_between_is_no_answer() -> None:
    raw = b'\r\n+CMT: "10086",,"26/11/22"\r\nOK\r\n\r\n+CSQ: 20,99\r\n\r\nOK\r\n'
    reply = read("AT+CSQ", raw)
    assert reply.lines == ("+CSQ: 20,99",)
    assert reply.noise == ('+CMT: "10086",,"26/11/22"', "OK")


def _digits(text: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in text).split()


@settings(max_examples=60)
@given(st.text(max_size=20), st.lists(st.text(max_size=6), max_size=3))
def test_what_is_written_as_toml_is_read_back(text: str, items: list[str]) -> None:
    text = text.encode("utf-8", "ignore").decode()
    items = [item.encode("utf-8", "ignore").decode() for item in items]
    written = toml.table({"+CSQ?": text, "list": items, "n": 3, "is": True}, name="a")
    assert tomllib.loads(written)["a"] == {"+CSQ?": text, "list": items, "n": 3, "is": True}
