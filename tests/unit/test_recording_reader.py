"""Both directions of a session, followed: what is a command, an answer, an echo, a payload."""

import re

import pytest

from simulator.recording.reader import Reader
from simulator.recording.tape import Record, Sender, What

Step = tuple[str, str]
SUBMIT = "0031000C919471214365870000A70BE8329BFD06DDDF723619"


def read(*steps: Step) -> list[Record]:
    """Feed `(">", host's octets)` and `("<", modem's octets)`, a second apart."""
    reader = Reader(b"a key for tests, and no other use")
    found: list[Record] = []
    for second, (arrow, text) in enumerate(steps):
        sender = Sender.HOST if arrow == ">" else Sender.MODEM
        found += reader.feed(sender, text.encode("latin-1"), 1000 * second)
    return found + reader.close(1000 * len(steps))


def kinds(records: list[Record]) -> list[tuple[What, str]]:
    return [(record.what, re.sub(r"\d", "0", record.line)) for record in records]


def test_echo_answer_and_result_are_told_apart() -> None:
    records = read((">", "AT+CSQ\r"), ("<", "AT+CSQ\r\r\n+CSQ: 20,99\r\n\r\nOK\r\n"))
    assert [(record.what, record.data) for record in records] == [
        (What.COMMAND, "AT+CSQ\r"),
        (What.ECHO, "AT+CSQ\r"),
        (What.ANSWER, "\r\n+CSQ: 20,99\r\n"),
        (What.RESULT, "\r\nOK\r\n"),
    ]


def test_echo_of_an_escape_is_an_echo() -> None:
    records = read((">", "\x1b\r"), ("<", "\x1b\r"), (">", "AT\r"), ("<", "AT\r\r\nOK\r\n"))
    assert [(record.what, record.data) for record in records][2:] == [
        (What.ECHO, "\x1b"), (What.COMMAND, "AT\r"), (What.ECHO, "\rAT\r"),
        (What.RESULT, "\r\nOK\r\n"),
    ]  # fmt: skip


def test_line_of_itself_is_no_answer() -> None:
    records = read(
        ("<", "\r\n^RSSI:18\r\n"),
        (">", "AT+CGMM\r"),
        ("<", "\r\n^RSSI:19\r\n\r\nE1750\r\n\r\nOK\r\n\r\nRING\r\n"),
    )
    assert [record.what for record in records] == [
        What.URC, What.COMMAND, What.URC, What.ANSWER, What.RESULT, What.URC,
    ]  # fmt: skip


def test_list_of_commands_is_no_echo() -> None:
    records = read((">", "AT+CLAC\r"), ("<", "AT+CLAC\r\r\nAT+CLAC\r\nATZ\r\nATD\r\n\r\nOK\r\n"))
    assert kinds(records)[1:] == [
        (What.ECHO, "AT+CLAC"), (What.ECHO, "AT+CLAC"), (What.ANSWER, "ATZ"), (What.ANSWER, "ATD"),
        (What.RESULT, "OK"),
    ]  # fmt: skip


@pytest.mark.parametrize("prompt", ["\r\n> ", "\r\n>", "> ", "\r> "])
def test_prompt_is_seen_in_every_form_before_its_line_ends(prompt: str) -> None:
    records = read(
        (">", "AT+CMGS=24\r"),
        ("<", prompt),
        (">", SUBMIT + "\x1a"),
        ("<", "\r\n+CMGS: 7\r\n\r\nOK\r\n"),
    )
    assert [record.what for record in records] == [
        What.COMMAND, What.PROMPT, What.PAYLOAD, What.ANSWER, What.RESULT,
    ]  # fmt: skip
    assert records[1].data.strip() == ">"
    assert records[2].masked == ("pdu",)
    assert records[2].ms == 2000
    assert len(records[2].line) == len(SUBMIT)


def test_pdu_typed_where_no_prompt_was_is_masked() -> None:
    """kannel takes `+CMS ERROR` for the prompt."""
    records = read(
        (">", "AT+CMGS=24\r"),
        ("<", "\r\n+CMS ERROR: 38\r\n"),
        (">", SUBMIT + "\x1a"),
        (">", "AT+CSQ\r"),
        ("<", "\r\n+CSQ: 20,99\r\n\r\nOK\r\n"),
    )
    payload = records[2]
    assert payload.what is What.PAYLOAD
    assert payload.masked == ("pdu",)
    assert SUBMIT[8:20] not in payload.data
    assert [record.what for record in records[3:]] == [What.COMMAND, What.ANSWER, What.RESULT]


def test_text_of_several_lines_is_masked_with_its_echo() -> None:
    body = ("Come alone\r", "to pier AT+12\x1a")
    records = read(
        (">", 'AT+CMGS="10086"\r'),
        ("<", "\r\n> "),
        (">", body[0]),
        ("<", "Come alone\r\r\n> "),
        (">", body[1]),
        ("<", "to pier AT+12\x1a\r\n+CMGS: 1\r\n\r\nOK\r\n"),
    )
    whole = "".join(record.data for record in records)
    for word in ("Come", "alone", "pier", "10086"):
        assert word not in whole
    said = [record.what for record in records]
    assert said.count(What.PROMPT) == 2
    assert said.count(What.ECHO) == 2
    assert said[-2:] == [What.ANSWER, What.RESULT]


@pytest.mark.parametrize("header", ["+CMGL: 1,", "+CMGR: "])
def test_body_of_a_listed_text_is_masked_whatever_it_looks_like(header: str) -> None:
    command = "AT+CMGL" if "L" in header else "AT+CMGR"
    said = f'\r\n{header}"REC READ","10086",,"26/11/22,12:00:00+32"\r\n'
    body = "+CSQ: my word is swordfish\r\nRING the bell\r\n+CPIN: swordfish\r\n"
    records = read((">", f"{command}=1\r"), ("<", said + body + "\r\nOK\r\n"), (">", "AT\r"))
    assert [record.what for record in records[2:5]] == [What.PAYLOAD] * 3
    assert not re.search("swordfish|bell|RING|10086", "".join(r.data for r in records))
    assert records[5].what is What.RESULT
    assert '"26/11/22,12:00:00+32"' in records[1].data


def test_text_that_comes_of_itself_is_masked_to_its_last_line() -> None:
    said = '\r\n+CMT: "10086",,"26/11/22,12:00:00+32"\r\nOK\r\nsecond line\r\n+FOO: third one\r\n'
    whole = "".join(record.data for record in read(("<", said), (">", "AT\r"), ("<", "OK\r\n")))
    assert not re.search("second|line|third", whole)


def test_ussd_text_of_several_lines_is_masked() -> None:
    said = "\r\n+CUSD: 0,\"Balance 45.10\nBonus 17\nsee 'Offers'\",15\r\n"
    records = read((">", 'AT+CUSD=1,"*100#",15\r'), ("<", "\r\nOK\r\n" + said), (">", "AT\r"))
    whole = "".join(record.data for record in records)
    assert not re.search(r"Balance|45\.10|Bonus|17|Offers|\*100#", whole)
    assert whole.count("\n") == 6


def test_bare_identity_is_typed_by_what_was_asked() -> None:
    records = read(
        (">", "AT+CIMI\r"),
        ("<", "\r\n460001234567890\r\n\r\nOK\r\n"),
        (">", "AT+CGSN\r"),
        ("<", "\r\n490154203237518\r\n\r\nOK\r\n"),
        (">", "AT+CCID\r"),
        ("<", "\r\n8986001234567890123f\r\n\r\nOK\r\n"),
        ("<", "\r\n490154203237518\r\n"),
    )
    found = {record.masked: record.line for record in records if record.masked}
    assert found[("imsi",)].startswith("46000")
    assert found[("imei",)].startswith("49015420")
    assert found[("iccid",)].startswith("898600")
    assert found[("iccid",)].endswith("f")
    assert not found[("unknown",)].startswith("49015420"), "nobody had asked"


def test_result_that_comes_late_still_ends_its_command() -> None:
    """kannel goes on at `+CPIN: READY` and leaves the OK unread."""
    records = read(
        (">", "AT+CPIN?\r"),
        ("<", "\r\n+CPIN: READY\r\n"),
        (">", "AT+CIMI\r"),
        ("<", "\r\nOK\r\n\r\n460001234567890\r\n\r\nOK\r\n"),
    )
    assert records[-2].masked == ("imsi",)
    assert [record.what for record in records[-3:]] == [What.RESULT, What.ANSWER, What.RESULT]


def test_half_a_line_at_the_end_is_masked_too() -> None:
    records = read((">", 'AT+CPIN="7391'))
    assert re.fullmatch(r'AT\+CPIN="\d{4}', records[0].data)
    assert "7391" not in records[0].data
    records = read((">", "AT+CNUM\r"), ("<", '\r\n+CNUM: "","1391234'))
    assert "1391234" not in records[-1].data


def test_endless_line_is_masked_piece_by_piece() -> None:
    records = read((">", "AT" + "swordfish" * 1200 + "\r"), ("<", "swordfish" * 1200))
    whole = "".join(record.data for record in records)
    assert "swordfish" not in whole
    assert len(whole) == 2 * 9 * 1200 + 3
    assert max(len(record.data) for record in records) <= 4096


def test_numeric_results_end_commands() -> None:
    records = read((">", "ATV0\r"), ("<", "ATV0\r0\r"), (">", "AT+NO\r"), ("<", "AT+NO\r4\r"))
    assert [record.what for record in records] == [
        What.COMMAND, What.ECHO, What.RESULT, What.COMMAND, What.ECHO, What.RESULT,
    ]  # fmt: skip


def test_times_are_those_of_the_first_octet_and_never_run_back() -> None:
    records = read(
        ("<", "\r\n"), ("<", "^RSS"), (">", "AT\r"), ("<", "I:18\r\n"), ("<", "\r\nOK\r\n")
    )
    assert [(record.ms, record.what) for record in records] == [
        (2000, What.COMMAND), (2000, What.URC), (4000, What.RESULT),
    ]  # fmt: skip


ICCID_FILE = "98944000000102030405"
IMSI_FILE = "082926101032547698"


def test_answer_of_a_card_file_is_masked_whole_unless_one_question_waits() -> None:
    """An answer does not say which file it is of: both are masked as if it were the worst."""
    chained = read(
        (">", "AT+CRSM=176,28486,0,0,17;+CRSM=176,12258,0,0,10\r"),
        ("<", f'\r\n+CRSM: 144,0,"0054656C"\r\n\r\n+CRSM: 144,0,"{ICCID_FILE}"\r\n\r\nOK\r\n'),
    )
    assert ICCID_FILE not in "".join(record.data for record in chained)
    stale = read(
        (">", "AT+CRSM=176,28486,0,0,17\r"),
        (">", "AT+CRSM=176,28423,0,0,9\r"),
        ("<", f'\r\n+CRSM: 144,0,"{IMSI_FILE}"\r\n\r\nOK\r\n'),
        (">", "AT+CRSM=176,12258,0,0,10\r"),
        ("<", f'\r\n+CRSM: 144,0,"{ICCID_FILE}"\r\n\r\nOK\r\n'),
    )
    assert not re.search(f"{IMSI_FILE}|{ICCID_FILE}", "".join(record.data for record in stale))
    one = read(
        (">", "AT+CRSM=176,28486,0,0,17\r"), ("<", '\r\n+CRSM: 144,0,"0054656C"\r\n\r\nOK\r\n')
    )
    assert "0054656C" in one[1].data


def test_late_answer_of_a_file_that_is_no_longer_waited_for_is_masked() -> None:
    records = read(
        (">", "AT+CRSM=176,12258,0,0,10\r"),
        (">", "AT\r"),
        (">", "AT+CSQ\r"),
        (">", "AT+CRSM=176,28486,0,0,17\r"),
        ("<", f'\r\n+CRSM: 144,0,"{ICCID_FILE}"\r\n'),
    )
    assert ICCID_FILE not in records[-1].data


@pytest.mark.parametrize(
    ("command", "header"),
    [
        ("ATI", '+CMT: "+491700000","24/01/01,00:00:00+00"'),
        ("AT+CMGR=1;+CGMR", "+CMGR: 1,,30"),
        ("AT+CGMM", "+CMT: ,30"),
    ],
)
def test_body_that_is_no_pdu_is_a_text_though_an_identity_was_asked(
    command: str, header: str
) -> None:
    said = f"\r\n{header}\r\nPin 8251 X7\r\nNo 99 B4\r\n\r\nOK\r\n"
    records = read((">", f"{command}\r"), ("<", said))
    assert not re.search("Pin|8251|X7|99|B4", "".join(record.data for record in records[2:]))
    assert records[-1].what is What.RESULT


def test_slot_without_a_message_is_read_as_such() -> None:
    records = read((">", "AT+CMGR=1\r"), ("<", "\r\n+CMGR: 0,,0\r\n\r\nOK\r\n"))
    assert [record.what for record in records] == [What.COMMAND, What.ANSWER, What.RESULT]


@pytest.mark.parametrize("start", ['AT+CPIN="825', 'AT+CPIN="82', "AT+CPIN=8"])
def test_echo_that_a_line_cuts_in_two_tells_no_digit_of_a_pin(start: str) -> None:
    whole = 'AT+CPIN="8251"' if '"' in start else "AT+CPIN=8251"
    rest = whole[len(start) :]
    records = read(
        (">", start),
        ("<", f"{start}\r\n+CREG: 1\r\n"),
        (">", f"{rest}\r"),
        ("<", f"{rest}\r\r\nOK\r\n"),
    )
    kept = [record.line for record in records if record.sender is Sender.MODEM]
    assert kept[1] == "+CREG: 1"
    assert kept[0] != start
    assert kept[2] != rest


@pytest.mark.parametrize("head", ["+CME ERROR: ", "+CMS ERROR:", "MODEM ERROR: "])
def test_code_that_no_modem_has_may_be_a_pin(head: str) -> None:
    records = read((">", 'AT+CPIN="8251"\r'), ("<", f"\r\n{head}8251\r\n"))
    assert records[1].what is What.RESULT
    assert re.fullmatch(rf"{re.escape(head)}(?!8251)\d{{4}}", records[1].line)
    known = read((">", "AT+CPIN?\r"), ("<", "\r\n+CME ERROR: 515\r\n"))
    assert known[1].line == "+CME ERROR: 515"


def test_digit_that_is_none_stops_nothing() -> None:
    records = read(
        (">", "AT+CRSM=176,\xb2,0,0,9\r"),
        ("<", f'\r\n+CRSM: 144,0,"{IMSI_FILE}"\r\n\r\nOK\r\n'),
        (">", 'AT+CMGS=\xb2\r\nAT+CPIN="\xb2\xb2\xb2\xb2"\r'),
    )
    assert IMSI_FILE not in "".join(record.data for record in records)
