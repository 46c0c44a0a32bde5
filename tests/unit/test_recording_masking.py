"""One line at a time: which field of it gets a stand-in, and that the stand-in has its shape."""

import re

import pytest

from simulator import alphabet, pdu
from simulator.recording import messages
from simulator.recording.fields import Kind
from simulator.recording.masking import Masker, name_of
from simulator.recording.standins import Standins, luhn

KEY = b"a key for tests, and no other use"


@pytest.fixture
def masker() -> Masker:
    return Masker(Standins(KEY))


def shape(text: str) -> str:
    return re.sub(r"\d", "0", text)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('AT+CPIN="4711"', Kind.PIN),
        ("at+cpin=4711", Kind.PIN),
        ('AT+CPIN="12345678","4711"', Kind.PIN),
        ('AT+CLCK="SC",1,"4711"', Kind.PIN),
        ('AT+CPWD="SC","4711","0815"', Kind.PIN),
        ("ATD**05*12345678*4711*4711#;", Kind.PIN),
        ('AT+CMEE=1;+CPIN="4711"', Kind.PIN),
        ("ATD+8613912345678;", Kind.NUMBER),
        ("ATDT 13912345678;", Kind.NUMBER),
        ('AT+CMGS="+8613912345678"', Kind.NUMBER),
        ("AT+CMGS=13912345678", Kind.NUMBER),
        ('AT+CSCA="+8613800100500",145', Kind.NUMBER),
        ('AT+CUSD=1,"*123*4567#",15', Kind.USSD),
        ('AT+CPBW=1,"13912345678",129,""', Kind.NUMBER),
        ('AT+CCFC=0,3,"13912345678",129', Kind.NUMBER),
        ("AT+VTS=7", Kind.DTMF),
        ("AT^DTMF=1,7", Kind.DTMF),
        ('AT$QCPDPP=1,1,"4711","0815"', Kind.GUARD),
        ("AT+NEVERHEARDOF=13912345678", Kind.GUARD),
    ],
)
def test_secret_of_a_command_becomes_other_digits(masker: Masker, line: str, kind: Kind) -> None:
    made, _ = masker.command(line)
    assert masker.taken() == (kind,)
    assert shape(made) == shape(line)
    for secret in re.findall(r"(?<!\d)\d{4,}(?!\d)", line):
        assert secret not in made


@pytest.mark.parametrize(
    "line",
    [
        "AT", "ATE0", "ATE0 +CMEE=1", "AT+CMEE=1;+CREG=2", "ATX4", "AT&C1", "ATS0=0", "ATS3?",
        r"AT\Q3", "AT+CPIN?", "AT+CNMI=2,1,0,2,0", 'AT+CPMS="SM","ME","ME"', "AT+CMGS=24",
        "AT+CRSM=176,12258,0,0,10", 'AT+CLCK="SC",2', "AT+IPR=115200", "AT^CURC=0", "AT+CFUN=1,1",
        'AT+CSCS="UCS2"', 'AT+CSIM=10,"0020000100"', 'AT+CSIM=14,"00A40000022FE2"', "AT+CUSD=2",
        "ATD>3;", "AT+CMGL=4", 'AT+CMGL="ALL"', "AT+CSMP=49,167,0,0", "A/", "AT+COPS=3,2",
    ],
)  # fmt: skip
def test_command_without_secret_stays(masker: Masker, line: str) -> None:
    made, _ = masker.command(line)
    assert (made, masker.taken()) == (line, ())


@pytest.mark.parametrize(
    ("line", "kept", "kind"),
    [
        ('+CLIP: "+8613912345678",145,,,,0', '+CLIP: "+0000000000000",145,,,,0', Kind.NUMBER),
        ('+CNUM: ,"13912345678",129', '+CNUM: ,"00000000000",129', Kind.NUMBER),
        ('+CSCA: "+8613800100500",145', '+CSCA: "+0000000000000",145', Kind.NUMBER),
        ('+CLCC: 1,1,4,0,0,"13912345678",129,""', '+CLCC: 1,1,4,0,0,"00000000000",129,""',
         Kind.NUMBER),
        ("^DSCI: 1,1,4,0,13912345678,129", "^DSCI: 1,1,4,0,00000000000,129", Kind.NUMBER),
        ('+CMT: "13912345678",,"26/11/22,12:00:00+32"',
         '+CMT: "00000000000",,"26/11/22,12:00:00+32"', Kind.NUMBER),
        ('+CMGR: "REC READ",6,3,"13912345678",129,"26/11/22,12:00:00+32","26/11/22,12:00:09+32",0',
         '+CMGR: "REC READ",6,3,"00000000000",129,"26/11/22,12:00:00+32","26/11/22,12:00:09+32",0',
         Kind.NUMBER),
        ('+CDS: 6,3,"13912345678",129,"26/11/22,12:00:00+32","26/11/22,12:00:09+32",0',
         '+CDS: 6,3,"00000000000",129,"26/11/22,12:00:00+32","26/11/22,12:00:09+32",0',
         Kind.NUMBER),
        ("+QCCID: 89860012345678901239", "+QCCID: 89860000000000000000", Kind.ICCID),
        ("IMEI: 490154203237518", "IMEI: 490154200000000", Kind.IMEI),
        ('+CGSN: "490154203237518"', '+CGSN: "490154200000000"', Kind.IMEI),
        ("+CIMI: 460001234567890", "+CIMI: 460000000000000", Kind.IMSI),
    ],
)  # fmt: skip
def test_secret_of_an_answer_becomes_other_digits(
    masker: Masker, line: str, kept: str, kind: Kind
) -> None:
    made = masker.answer(line)
    assert made != line
    assert masker.taken() == (kind,)
    assert Masker(Standins(None)).answer(line) == kept, "all but the secret stays"
    assert Masker(Standins(None)).answer(made) == kept, "the stand-in has the secret's shape"


@pytest.mark.parametrize(
    "line",
    [
        '+CREG: 2,1,"8BE3","2BAF",7', "+CSQ: 20,99", '+CMTI: "SM",3', "+CMGS: 17", "^RSSI:18",
        "+CPIN: SIM PIN", '+CPMS: "SM",0,40,"SM",0,40,"SM",0,40', "^BOOT:27710117,0,0,0,75",
        '+COPS: 0,0,"CHINA MOBILE",7', "+CPINR: SIM PIN,3,3", '+QIND: SMS DONE',
        '+CPMS: ("SM","ME"),("SM","ME"),("SM","ME")', '+CLCK: ("SC","FD")', "+CRING: VOICE",
        "^CEND:1,5,29,16", "+CLIP: 1,1", "+GCAP: +CGSM,+DS,+ES", '+CSIM: 4,"63C3"', "+CUSD: 2",
    ],
)  # fmt: skip
def test_answer_without_secret_stays(masker: Masker, line: str) -> None:
    assert (masker.answer(line), masker.taken()) == (line, ())


@pytest.mark.parametrize(
    "line",
    [
        "Manufacturer: huawei", "11.126.16.00.60", "SIMCOM_SIM7600E-H", "Revision: SIM7600M22_V2.0",
        "EC25EFAR06A01M4G", " MULTIBAND  900E  1800", "Huawei Technologies Co., Ltd.",
        "Sierra Wireless, Incorporated", "REVISION 03.001", "1418B04SIM800L24", "GM100 1.04",
    ],
)  # fmt: skip
def test_model_keeps_its_own_words(masker: Masker, line: str) -> None:
    assert masker.bare(line, {"I"}) == line


@pytest.mark.parametrize(
    "line",
    [
        'AT+CLCK="SC"1,"73918264"', 'AT+CPWD=SC","58207139","73918264"', "AT+CPIN73918264",
        'AT+CMEE=1AT+CPIN="73918264"', 'AT+CLCK="SC",2T+CPWD="SC","58207139","73918264"',
        'AT+CPIN"73918264"', 'AT+CPIN ="73918264', 'at+clck="SC",0,73918264', 'AT+CFUN="73918264"',
        'AT+CSIM=26,"00200001083733393138323634"', "ATD+73918264", "ATE0D73918264;",
        'AT+COPS=0;+CPIN="73918264',
        'AT+CPIN="a73918264"', 'AT+CPIN="73918264"+CPIN="73918264"', "AT 73918264",
    ],
)  # fmt: skip
def test_damaged_or_odd_command_tells_no_secret(masker: Masker, line: str) -> None:
    made, _ = masker.command(line)
    assert "73918264" not in made
    assert "58207139" not in made
    assert "3733393138323634" not in made
    assert len(made) == len(line)


@pytest.mark.parametrize(
    "line",
    [
        '+CMGL: 1,REC READ","73918264",,"26/11/22,20:01:34+32"', '+CR: "REC READ","73918264",,',
        '+CSQ: 20,99+CNUM: "","73918264",129', '^CONF:1AT+CLCK="SC",0,"73918264"',
        "^DSCI 1,0,2,0,**05*73918264*58207139#,129", "OKAT+CPIN=73918264", 'IMEI: "73918264"',
        "^CEND:1,10,104,6T+CPIN73918264", "+CMGS: 73918264", "+CLIP:73918264,129",
    ],
)  # fmt: skip
@pytest.mark.parametrize("names", [set(), {"I"}, {"+CGSN"}, {"+CIMI", "+CCID"}])
def test_damaged_answer_tells_no_secret(masker: Masker, line: str, names: set[str]) -> None:
    made = masker.answer(line) if name_of(line) is not None else masker.bare(line, names)
    assert "73918264" not in made
    assert "58207139" not in made
    assert len(made) == len(line)


@pytest.mark.parametrize(
    "line",
    [
        "Meet me at noon",
        "at noon tomorrow",
        "ATTENTION please",
        "cat food",
        "AT dinner",
        "AT+ noon",
    ],
)
def test_text_that_holds_the_letters_at_is_masked(masker: Masker, line: str) -> None:
    made, _ = masker.command(line)
    for word in re.findall(r"[A-Za-z]{4,}", line):
        assert word not in made
    assert len(made) == len(line)


def test_serial_numbers_are_masked_in_an_identity(masker: Masker) -> None:
    assert "A1B2C3" not in masker.bare("S/N: A1B2C3D4", {"I"})
    assert "LL23" not in masker.bare("FSN: LL2345X678901", {"I"})


def test_same_number_has_the_same_standin_in_every_form(masker: Masker) -> None:
    standins = Standins(KEY)
    tail = standins.number("13912345678")[-8:]
    assert standins.number("+8613912345678").endswith(tail)
    as_ucs2 = masker.value(Kind.NUMBER, "13912345678".encode("utf-16-be").hex().upper())
    assert bytes.fromhex(as_ucs2).decode("utf-16-be") == standins.number("13912345678")
    swapped = pdu.address("+8613912345678").octets[2:]
    assert messages.swapped(messages.bcd(swapped, standins)).rstrip("F").endswith(tail)
    assert Standins(b"another key").number("13912345678") != standins.number("13912345678")


def test_check_digit_is_right_where_it_was() -> None:
    standins = Standins(KEY)
    imei = standins.imei("490154203237518")
    assert imei[:8] == "49015420"
    assert luhn(imei[:-1]) == imei[-1]
    iccid = "8986001234567890123"
    iccid += luhn(iccid)
    made = standins.iccid(iccid)
    assert made[:6] == "898600"
    assert made != iccid
    assert luhn(made[:-1]) == made[-1]
    assert re.fullmatch(r"898600[A-F]\d{13}", standins.iccid("898600B2191234567890"[:20]))
    assert standins.iccid("8986001234567890123f")[-1] == "f"


TEXTS = ["Meet me at 7, bring 500€ [cash]", "验证码 482913，请勿告知他人", "x" * 153, "ΔΦ é ñ {^}"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("reference", [None, 77])
def test_pdu_keeps_everything_but_number_and_text(text: str, reference: int | None) -> None:
    standins = Standins(KEY)
    whole = text if reference is None else text * 4
    for data in pdu.segments(whole, reference=reference or 0):
        sent = pdu.Submit(
            first_octet=0x31 | 0x40 * data.has_header, mr=3, pid=0, validity=b"\xa7", data=data,
            destination=pdu.address("+8613912345678"),
        )  # fmt: skip
        octets = pdu.service_centre("+8613800100500") + pdu.encode_submit(sent)
        made = messages.message(octets, standins, is_from_host=True)
        assert len(made) == len(octets)
        centre, tpdu = pdu.split_pdu(made)
        found = pdu.decode_submit(tpdu)
        assert centre[:2] == octets[:2]
        assert (found.first_octet, found.mr, found.validity) == (sent.first_octet, 3, b"\xa7")
        assert found.destination.number == f"+{standins.number('8613912345678')}"
        assert (found.data.dcs, found.data.length) == (data.dcs, data.length)
        assert found.data.concat == data.concat
        assert data.text is not None
        assert found.data.text is not None
        assert len(found.data.text) == len(data.text)
        assert found.data.text != data.text
        kinds = [(char.isspace(), char.isdigit(), ord(char) > 0x2FFF) for char in found.data.text]
        assert kinds == [(c.isspace(), c.isdigit(), ord(c) > 0x2FFF) for c in data.text]


def test_alphanumeric_sender_and_report_keep_their_lengths() -> None:
    standins = Standins(KEY)
    # at-dialects §5.6 forms: a DELIVER from a name, a STATUS-REPORT with optional parameters.
    name = pdu.address("ShopBank").octets
    deliver = b"\x04" + name + bytes.fromhex("0000") + bytes(7) + b"\x02" + alphabet.pack(b"Hi")
    made = messages.message(b"\x00" + deliver, standins, is_from_host=False)
    assert len(made) == 1 + len(deliver)
    assert made[1:4] == deliver[:3]
    assert b"".join((name[2:],)) not in made
    report = bytes.fromhex("0603") + pdu.address("13912345678").octets + bytes(14) + b"\x00\x00"
    made = messages.message(b"\x00" + report, standins, is_from_host=False)
    assert made[-16:] == report[-16:]
    assert pdu.address("13912345678").octets not in made


def test_octets_that_are_no_message_are_masked_whole(masker: Masker) -> None:
    broken = "0031000C919471214365870000A70BE8329BFD06DDDF7236"  # an octet is missing
    made = masker.payload(broken, is_text=False)
    assert re.fullmatch(r"[0-9A-F]{48}", made)
    assert sum(a == b for a, b in zip(made, broken, strict=True)) < 20


def test_files_of_the_card_keep_their_form() -> None:
    standins = Standins(KEY)
    iccid = bytes.fromhex("98680010325476981032")
    made = messages.card_file(12258, iccid, standins)
    assert messages.swapped(made) == standins.iccid(messages.swapped(iccid))
    imsi = bytes.fromhex("084906001032547698")
    made = messages.card_file(28423, imsi, standins)
    assert messages.swapped(made[1:])[1:] == standins.imsi(messages.swapped(imsi[1:])[1:])
    assert made[:2] == imsi[:2]
    assert messages.card_file(28486, b"\x00CMCC\xff", standins) == b"\x00CMCC\xff"
    assert messages.card_file(4711, b"whatever it is", standins) != b"whatever it is"


def test_pin_in_an_apdu_is_masked_and_the_question_for_tries_is_not(masker: Masker) -> None:
    made, _ = masker.command('AT+CSIM=26,"002000010834373131FFFFFFFF"')
    assert re.fullmatch(r'AT\+CSIM=26,"0020000108(3\d){4}F{8}"', made)
    assert "34373131" not in made


@pytest.mark.parametrize(
    "code", ["*123*4567#", "AA180C3602", "002A003100300030003400350023", "Balance 10.00 CNY"]
)
def test_ussd_is_masked_in_plain_packed_and_ucs2_form(masker: Masker, code: str) -> None:
    made = masker.value(Kind.USSD, code)
    assert len(made) == len(code)
    assert made != code
    if code == "AA180C3602":
        septets = alphabet.unpack(bytes.fromhex(made), 5)
        assert re.fullmatch(r"\*\d\d\d#", alphabet.from_septets(septets))
    if code.startswith("002A"):
        assert re.fullmatch(r"\*\d{5}#", bytes.fromhex(made).decode("utf-16-be"))


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ('AT+CPBS="FD","8251"', "8251"),
        ('AT*EPIN="8251"', "8251"),
        ("AT+CTFR=7654321", "7654321"),
        ("AT+CHLD=4*7654321", "7654321"),
        ('AT+CFUN="8251"', "8251"),
        ('AT+CPIN="825', "825"),
        ("AT+CPIN=\xb2\xb2\xb2\xb28251", "8251"),
        ('AT+CSIM=18,"002000010838323531"', "3531"),
        ('AT+CSIM=26,"0C200001083132333435363738"', "3738"),
        ('AT+CSIM=28,"002000010838323531FFFFFFFF00"', "38323531"),
    ],
)
def test_secret_in_a_command_known_as_harmless_is_masked(
    masker: Masker, line: str, secret: str
) -> None:
    made, _ = masker.command(line)
    assert secret not in made
    assert len(made) == len(line)


@pytest.mark.parametrize(
    "line",
    [
        'AT+CSCS="8859-1"', "AT+IPR=460800", 'AT+COPS=1,2,"46000"', 'AT^SYSCFGEX="00",3FFFFFFF,1,2',
        'AT+QURCCFG="urcport","usbat"', 'AT+CCLK="26/11/22,12:00:00+32"', "AT+CHLD=2",
        'AT+CSIM=10,"00B0000003"', 'AT+CMGL="REC UNREAD"',
    ],
)  # fmt: skip
def test_setting_of_a_command_stays(masker: Masker, line: str) -> None:
    assert (masker.command(line)[0], masker.taken()) == (line, ())


@pytest.mark.parametrize(
    ("line", "secrets"),
    [
        ('+CSSU: 2,,"654321",129', ["654321"]),
        ('#STN: 33,128,"Ihr Guthaben 17,23 EUR"', ["Ihr", "Guthaben", "17", "23", "EUR"]),
        ("+UUDTMFD: 8,100", [" 8"]),
        ('+CSIM: 10,"1234569000"', ["123456"]),
        ('+CSIM: 8,"12345678"', ["1234", "5678"]),
    ],
)
def test_secret_in_an_answer_known_as_harmless_is_masked(
    masker: Masker, line: str, secrets: list[str]
) -> None:
    made = masker.answer(line)
    assert not [secret for secret in secrets if secret in made]
    assert len(made) == len(line)


@pytest.mark.parametrize("status", ["9000", "6700", "63C3", "9F1A"])
def test_status_word_of_a_card_stays(masker: Masker, status: str) -> None:
    assert masker.answer(f'+CSIM: 4,"{status}"') == f'+CSIM: 4,"{status}"'
    assert re.fullmatch(
        rf'\+CSIM: 10,"(?!123456)[0-9A-F]{{6}}{status}"',
        masker.answer(f'+CSIM: 10,"123456{status}"'),
    )


@pytest.mark.parametrize(
    "text",
    ["８２５１４６", "〇〡〢〣〤〥", "ＡＢＣｘｙｚ", "ｱｲｳｴｵ", "㈠①卄々", "验证码：８２５１"],
)  # fmt: skip
def test_digits_and_letters_of_wide_alphabets_are_masked(masker: Masker, text: str) -> None:
    made = masker.value(Kind.USSD, text.encode("utf-16-be").hex())
    drawn = bytes.fromhex(made).decode("utf-16-be")
    assert len(drawn) == len(text)
    alike = [new for new, old in zip(drawn, text, strict=True) if new == old and old != "："]
    assert len(alike) <= 1, "one character may be drawn again by chance"
    digits = [char for char in text if "０" <= char <= "９"]
    assert len([char for char in drawn if "０" <= char <= "９"]) == len(digits)


def test_punctuation_of_wide_alphabets_stays() -> None:
    marks = "，。：！？（）【】「」、～\u3000"
    assert Standins(KEY).text(marks) == marks


def test_short_code_in_an_identity_is_masked(masker: Masker) -> None:
    for line in ("PIN 8251", "8251", "SIM:8251", "code 82514"):
        assert not re.search("8251", masker.bare(line, {"I"})), line
    for line in ("r27038 2015/03/04 21:30:23", "GSM 1800 MHz", "SWI9X15C_05.05.58.00"):
        assert masker.bare(line, {"I"}) == line
