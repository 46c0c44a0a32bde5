"""What may be typed at a modem: reading, a few settings, nothing around a gate."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drivers.at.command import by_hand
from modemctl.policy.console import (
    COMMAND_MAX,
    Allowed,
    Forbidden,
    Unknown,
    is_reading,
    judge,
    mask_answer,
    mask_line,
    name_of,
    time_limit,
)

GATES = {
    "SMS-01": ["AT+CMGS=20", "AT+CMGW=20", "AT+CMSS=1", "AT+CMGC=5", "AT+CNMA", "AT+CMGD=1,4"],
    "SIM-06": ['AT+CPIN="1234"', 'AT+CLCK="SC",0,"1234"', "AT+CPWD", 'AT^CPIN="1234"',
               'AT+CPIN2="1234"', 'AT+CPWD="SC","1234","4711"', 'AT*EPIN="1234"'],
    "SIM-08": ['AT+EGMR=1,7,"123456789012345"', "AT+SIMEI=123456789012345", "AT+CGSN=1234567"],
    "TEL-06": ["ATD10086;", "ATD110", "ATA", "ATH", "ATO", "A/", "AT+CHUP", "AT^DIAL=1",
               "AT+CREG?;D10086;", "AT+CSQ;+CSQ"],
    "CC-01": ["AT&F", "AT&W", "ATZ", "AT^FACTORY", 'AT+QFOTADL="http://x/y"', "AT^GODLOAD",
              "AT^U2DIAG=0", "AT^SETPORT=\"FF;10\"".replace(";", ","), 'AT+QCFG="usbcfg",1'],
    "TEL-11": ["AT+CMGR=1", "AT+CMGL=4", "AT+CMGL", "AT+CMGL?", "AT+CLCC", "AT+CPBR=1,10",
               "AT+CCFC=0,2", "AT+CUSD=1,\"*100#\"", "AT+CRSM=176,28542"],
}  # fmt: skip
SETTINGS = [
    "AT+CFUN=0", "AT+CFUN=4", "AT+COPS=0", 'AT+COPS=1,2,"46000"', 'AT+CGDCONT=1,"IP","cmnet"',
    "AT^SYSCFG=2,2,3FFFFFFF,1,2", 'AT^SYSCFGEX="0302",3FFFFFFF,1,2,7FFFFFFFFFFFFFFF,,',
    'AT+QCFG="nwscanmode"', 'AT+QCFG="band",0,1A0000800D5,0', "AT+CNMP=38", "AT+ZSNT=0,0,0",
    "AT#BND=0,3", "AT+URAT=2", "AT^SXRAT=3", "AT!BAND=09",
]  # fmt: skip


@pytest.mark.parametrize(
    "command",
    ["AT", "ATI", "ATI9", "AT&V", "AT+CSQ", "AT+CGMM", "AT+CREG?", "AT+CMGF=?", "AT^HCSQ?",
     "AT^SYSINFOEX", "AT+QNWINFO", "AT+CPIN?", "AT$QCRMCALL?", "AT+CIMI", "AT+CGSN"],
)  # fmt: skip
def test_reading_is_allowed(command):
    assert is_reading(command)
    assert judge(f" {command.lower()}\t") == Allowed(text=command, changes=False)


@pytest.mark.parametrize("name", ["CMT", "CMTI", "CDS", "CDSI", "CBM", "CBMI"])
@pytest.mark.parametrize("asked", ["?", "=?"])
def test_what_only_a_modem_says_is_not_asked(name, asked):
    """A message that is delivered just then would pass for the answer, shown and lost."""
    assert judge(f"AT+{name}{asked}") == Unknown()
    with pytest.raises(ValueError, match="by hand"):
        by_hand(f"AT+{name}{asked}", timeout=1.0)


@pytest.mark.parametrize("command", SETTINGS)
def test_settings_of_radio_and_registration_ask_for_more(command):
    assert not is_reading(command)
    name, sign, values = command.partition("=")
    assert judge(name.lower() + sign + values) == Allowed(text=command, changes=True)
    by_hand(command, timeout=1.0)  # the driver's own guard lets them pass too


@pytest.mark.parametrize(
    "name",
    ["+CMGL", "+CMGR", "+QCMGR", "^SMGL", "^SMGR", "^SMGO", "^MSGSEND", "+CPBR", "+CPBF", "^CPBR",
     "+QPBR", "#PBR", "+CPBW"],
)  # fmt: skip
@pytest.mark.parametrize("asked", ["?", "=?", "", "=1"])
def test_messages_and_phone_books_are_not_asked_for_by_any_makers_name(name, asked):
    judgement = judge(f"AT{name}{asked}")
    assert isinstance(judgement, Forbidden)
    assert judgement.policy == "TEL-11"


@pytest.mark.parametrize("command", ["AT+CMGF?", "AT+CMGF=?", "AT+CPBS?", "AT+CSMS?", "AT+CPMS?"])
def test_what_the_daemon_set_may_be_read(command):
    assert judge(command) == Allowed(text=command, changes=False)


def test_scan_takes_a_modem_out_of_service_and_asks_for_more():
    assert not is_reading("AT+COPS=?")
    assert judge("at+cops=?") == Allowed(text="AT+COPS=?", changes=True)


@pytest.mark.parametrize(
    ("command", "least"),
    [("AT+COPS=?", 180), ("AT+COPS=0", 120), ('AT+COPS=1,2,"46000"', 120), ("AT+CGATT=1", 140),
     ("AT+CFUN=0", 30), ("AT+CSQ", 10), ("AT+COPS?", 10)],
)  # fmt: skip
def test_slow_command_has_the_time_that_it_needs_and_a_quick_one_no_more(command, least):
    assert least <= time_limit(command) <= 2 * least + 10


@pytest.mark.parametrize(
    ("policy", "command"), [(policy, one) for policy, them in GATES.items() for one in them]
)
def test_what_goes_around_a_gate_is_refused_with_its_rule_and_the_way(policy, command):
    judgement = judge(command)
    assert isinstance(judgement, Forbidden)
    assert judgement.policy == policy
    assert judgement.cure
    assert "1234" not in judgement.rule + judgement.cure


@pytest.mark.parametrize(
    "command",
    ["AT+CMGF=1", "AT+CNMI=0", "AT+CPMS=\"SM\"", "AT+CMEE=0", "ATE1", "ATV0", "ATQ1", "AT&C0",
     "AT+IPR=9600", "AT+CREG=0", "ATS0=1", "AT+CSCA=\"+8613800100500\""],
)  # fmt: skip
def test_what_the_daemon_sets_itself_is_not_for_hands(command):
    judgement = judge(command)
    assert isinstance(judgement, Forbidden)
    assert "modemctl modems reset" in judgement.cure


@pytest.mark.parametrize(
    "command",
    ["", "hello", "AT+COPS=2", "AT+CFUN=1,1", "AT+CFUN=01", "AT+CSQ?x", "AT+NEW=1",
     "AT+CGDCONT=1,\"IP\",\"" + "a" * 40 + "\"", "AT+COPS=0,", "+CSQ", "AT +CSQ"],
)  # fmt: skip
def test_what_is_on_no_list_is_refused(command):
    assert isinstance(judge(command), Unknown | Forbidden)


# ---------------------------------------------------------------- no spelling slips through

DANGEROUS = re.compile(
    r"CMG[SWCDRL]|CMSS|CNMA|CPIN[^?=]|CPIN=[^?]|CPIN=$|CLCK|CPWD|EGMR|SIMEI|D[0-9*#]|DIAL|CSIM|CRSM"
)
PARTS = st.lists(
    st.sampled_from(
        ["AT", "at", "aT", "A/", "+", "^", "=", "?", "=?", ";", ",", '"', " ", "\t", "\r", "\n",
         "\x1a", "\x1b", "\x08", "\x00", "\x85", "\xa0", "\u2003", "\u200b", "\ufeff", "CMGS",
         "cmgs", "CMG", "S", "CMSS", "CMGW", "CPIN", "CPIN2", "CLCK", "CPWD", "CSQ", "COPS",
         "CFUN", "CGDCONT", "QCFG", "EGMR", "D110", "DIAL", "1234", "20", "0", "1", "ſ", "ı", "İ",
         "K", "Ｃ", "\xc3", "\xc3MGS", "1,2,", "IP", "band", "#", "!"]
    ),
    max_size=9,
).map("".join)  # fmt: skip
TYPED = st.one_of(PARTS, PARTS.map(lambda text: "AT+" + text), st.text(max_size=24))


@given(TYPED)
@example("AT+CMGſ=20")
@example("AT+CMGS=20")
@example("AT+C MGS=20")
@example("AT+CSQ\r\nAT+CMGS=20")
@example("AT+CFUN=0;+CMGS=20")
@example('AT+COPS=1,2,"46000";D110')
@example("AT+\xc3MGS=20")
@example('AT+CGDCONT=1,"IP","+CMGS=1"')
def test_no_spelling_of_a_gate_passes_the_policy(command):
    judgement = judge(command)
    if not isinstance(judgement, Allowed):
        return
    sent = judgement.text
    assert len(sent) <= COMMAND_MAX
    assert re.fullmatch(r"AT[+^$*%#_!&]?[A-Z0-9]*[=?]*[A-Za-z0-9\",._-]*", sent)
    head = sent.partition('"')[0].upper()
    assert DANGEROUS.search(head) is None or sent.endswith("?")
    assert judge(sent) == judgement, "what is sent would pass again, and no further"
    by_hand(sent, timeout=1.0)


@given(TYPED)
@example("AT+C MGS=20")
@example("AT+CM GS=20")
@example("AT^CP IN=1234")
@example("AT+\xc3MGS=20")
@example("AT+CMGS=20")
@example("AT+CSQ\x1a")
def test_no_spelling_of_a_gate_passes_the_driver(text):
    """The second guard stands alone: what a modem would understand of the octets is judged."""
    try:
        command = by_hand(text, timeout=1.0)
    except ValueError:
        return
    octets = command.text.encode("latin-1", "replace")
    heard = bytes(octet & 0x7F for octet in octets).decode("ascii").replace(" ", "").upper()
    assert re.fullmatch(r"[\x20-\x7e]+", heard), "no prompt, no escape, no second line"
    assert ";" not in heard
    assert not re.search(r"CMG[SWC]|CMSS|CNMA|CPIN=|CPIN2|CLCK=|CPWD|CSIM|EGMR|SIMEI|\^DIAL", heard)
    assert not re.match(r"ATD|ATA|A/", heard)


@given(st.text(alphabet='AT+^=?;,"CMGSD0123456789\r\x1a ', max_size=20))
def test_nothing_with_a_value_or_a_second_command_reads(command):
    if is_reading(command):
        assert ";" not in command
        assert "," not in command
        assert '"' not in command
        assert "\r" not in command
        assert not ("=" in command and not command.endswith("=?"))


# ---------------------------------------------------------------- what is told


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("+CSQ: 20,99", "+CSQ: 20,99"),
        ('+COPS: 0,2,"46000",7', '+COPS: 0,2,"46000",7'),
        ('+CREG: 2,1,"1A2B","0C3D4E5F",7', '+CREG: 2,1,"1A2B","0C3D4E5F",7'),
        ("Revision: 11.609.10.02.356", "Revision: 11.609.10.02.356"),
        ("EC25EFAR06A01M4G", "EC25EFAR06A01M4G"),
        ('+CNUM: "","+8613800001234",145', '+CNUM: "","+86138****1234",145'),
        ("460001234567890", "4600****7890"),
        ("IMEI: 867200012345678", "IMEI: 8672****5678"),
        ("^ICCID: 89860012345678901234", "^ICCID: 8986****1234"),
        ("+CCID: 8986001234567890123F", "+CCID: 8986****123F"),
        ("^ICCID: 8986 0012 3456 7890 1234", "^ICCID: 8986****1234"),
        ("8986041B201234567F", "8986****567F"),
        ("IMEI: 012345-67-890123-4", "IMEI: 0123****1234"),
        ('+CNUM: ,"+86 138 0000 1234",145', '+CNUM: ,"+86138****1234",145'),
        ("Revision: 2026-11-22 B08", "Revision: 2026-11-22 B08"),
        ('"002B0038003600310033003800300030"', '"002B****0030"'),
    ],
)
def test_answers_are_masked_as_numbers_are(line, shown):
    assert mask_line(line) == shown


@pytest.mark.parametrize(
    ("command", "line", "shown"),
    [
        ("AT+CNUM", '+CNUM: "Wang Fang","10086",129', '+CNUM: "****","10086",129'),
        ("AT+CNUM", '+CNUM: "","+8613800001234",145', '+CNUM: "","+86138****1234",145'),
        ("AT+NEW?", '+NEW: 1,"what nobody knows"', '+NEW: 1,"****"'),
        ("AT+NEW?", '+NEW: "cut off', '+NEW: "****"'),
        ("AT+NEW?", '+NEW: "46000","1A2B"', '+NEW: "46000","1A2B"'),
        ("AT+COPS?", '+COPS: 0,0,"CHINA MOBILE",7', '+COPS: 0,0,"CHINA MOBILE",7'),
        ("AT+NEW=?", '+NEW: ("on","off")', '+NEW: ("on","off")'),
        ("AT+CGMM", '+CGMM: "SIM7600"', '+CGMM: "SIM7600"'),
        ("AT+CSCA?", '+CSCA: "+8613800100500",145', '+CSCA: "+86138****0500",145'),
        ("ATI", "IMEI: 867200012345678", "IMEI: 8672****5678"),
    ],
)
def test_words_are_masked_where_they_may_be_somebodys(command, line, shown):
    assert mask_answer(command, [line, "OK"]) == (shown, "OK")


@pytest.mark.parametrize(
    "name",
    ["+CGAUTH", "$QCPDPP", "^AUTHDATA", "+CSTT", "+SAPBR", "+QICSGP", "#PDPAUTH", "+UAUTHREQ",
     "+FTPPW", "+FTPPUT", "^SICS", "^SISS", "+CWPASS", "^WIKEY", "+UPSD", "+HTTPPARA"],
)  # fmt: skip
@pytest.mark.parametrize("asked", ["?", "=?", ""])
def test_passwords_that_a_modem_keeps_are_not_asked_for(name, asked):
    judgement = judge(f"AT{name}{asked}")
    assert isinstance(judgement, Forbidden)
    assert judgement.policy == "SIM-06"


@pytest.mark.parametrize(
    "name", ["+CPOF", "+QPOWD", "+CPOWD", "^SMSO", "#SHDN", "#REBOOT", "^RESET", "!RESET",
             "^FACTORY", "^GODLOAD", "+QFOTADL", "#OTAFWDLD", "+FWUPD"],
)  # fmt: skip
@pytest.mark.parametrize("asked", ["?", "=?", ""])
def test_what_ends_a_modem_is_not_asked_whether_it_may(name, asked):
    """Some firmware carries a command out, whatever follows its name."""
    judgement = judge(f"AT{name}{asked}")
    assert isinstance(judgement, Forbidden)
    assert judgement.policy == "CC-01"


@given(st.from_regex(r"[0-9]{7,22}", fullmatch=True), st.text(max_size=8))
def test_no_long_number_is_shown_whole(digits, before):
    assert digits not in mask_line(f"{before} {digits}")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ('AT+CPIN="4711"', "AT+CPIN…"),
        (" at+cmgs=20\r4711\x1a", "AT+CMGS…"),
        ("ATD4711;", "ATD…"),
        ("AT+CSQ", "AT+CSQ"),
        ("4711", "…"),
        ("AT4711", "AT…"),
        ("AT+ＣPIN=4711", "AT+…"),
    ],
)
def test_name_of_a_command_holds_none_of_its_values(command, name):
    assert name_of(command) == name
    assert "4711" not in name_of(command)
