"""Each check's verdict on modems that answer oddly, word by word, on a clock that jumps."""

from collections.abc import Mapping

import pytest

from simulator.conformance import checks
from simulator.conformance.check import Bench, Check, Finding, Verdict, Wishes
from simulator.conformance.client import Client, LineLost
from simulator.conformance.guard import Forbidden, Guard, Permit
from simulator.conformance.reply import Reply
from simulator.conformance.settings import Settings

OK = b"\r\nOK\r\n"
ERROR = b"\r\nERROR\r\n"
MUTE = b""


def told(*lines: str, final: str = "OK") -> bytes:
    return "".join(f"\r\n{line}\r\n" for line in (*lines, final) if line).encode()


class Peculiar:
    """A modem that says what a test tells it to, at once; where it is silent, time passes."""

    def __init__(self, answers: Mapping[str, bytes], other: bytes) -> None:
        self._answers = answers
        self._other = other
        self._typed = b""
        self._said = b""
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def write(self, data: bytes) -> None:
        self._typed += data.replace(b"\x1b", b"")
        while b"\r" in self._typed:
            line, _, self._typed = self._typed.partition(b"\r")
            text = line.decode("latin-1")
            # Where nothing else is said, a modem can be woken and asked for its settings.
            known = {"AT": OK, "ATQ0V1": OK, "AT+CMEE?": told("+CMEE: 1"), "": b""} | dict(
                self._answers
            )
            self._said += known.get(text, self._other)

    def read(self, limit: float) -> bytes:
        said, self._said = self._said, b""
        if not said:
            self.time += limit
        return said

    def close(self) -> None:
        pass


def bench_of(
    answers: Mapping[str, bytes],
    *,
    other: bytes = ERROR,
    permits: frozenset[Permit] = frozenset(Permit),
    **seen: object,
) -> Bench:
    modem = Peculiar(answers, other)
    client = Client(lambda: modem, Guard(permits), now=modem.now)
    wishes = Wishes(listen_seconds=0.0, ussd="*100#")
    bench = Bench(client=client, wishes=wishes, settings=Settings(client))
    bench.seen.pin_state = "READY"
    bench.seen.registration = 1
    for name, value in seen.items():
        setattr(bench.seen, name, value)
    return bench


def find(name: str, answers: Mapping[str, bytes], **seen: object) -> Finding:
    other = seen.pop("other", ERROR)
    assert isinstance(other, bytes)
    check = next(check for check in checks.ALL if check.name == name)
    return check.run(bench_of(answers, other=other, **seen))


CAN, CANNOT, ODD, NOT_TRIED = Verdict.CAN, Verdict.CANNOT, Verdict.ODD, Verdict.NOT_TRIED
CSQ = told("+CSQ: 20,99")


@pytest.mark.parametrize(
    ("name", "answers", "verdict", "says"),
    [
        ("line.at", {"AT": ERROR}, CANNOT, "ERROR"),
        ("line.echo_off", {"ATE0": OK, "AT": b"AT\r" + OK}, CANNOT, "goes on echoing"),
        ("line.echo_on", {"ATE1": OK, "ATE0": OK}, CANNOT, "no echo comes"),
        ("line.numeric", {"ATV0": OK, "ATV1": OK}, CANNOT, "words come all the same"),
        ("line.numeric", {}, CANNOT, "refused"),
        ("line.quiet", {"ATQ1": OK, "ATQ0": OK}, CANNOT, "silences nothing"),
        ("line.chain", {}, CANNOT, "two commands"),
        ("line.chain", {"AT+CMEE?;+CSQ": told("+CMEE: 1")}, ODD, "not both"),
        ("line.mixed", {"ATE0V1Q0": OK}, CANNOT, "needs ;"),
        ("line.broken_chain", {"AT+CMEE=9;+CSQ": CSQ}, ODD, "does not end the line"),
        ("line.broken_chain", {"AT+CMEE=9;+CSQ": told("+CSQ: 1,1", final="ERROR")}, ODD, "goes on"),
        ("line.lower_case", {}, CANNOT, "ERROR"),
        ("line.blanks", {"AT +CSQ": CSQ, "AT+CSQ ": CSQ}, ODD, "refuses “AT E0”"),
        ("line.junk_before", {}, ODD, "ERROR"),
        ("line.junk", {}, ODD, "answers a line without AT"),
        ("line.lone", {"": ERROR}, ODD, "answers a lone CR and ESC"),
        ("line.ctrl_z", {"\x1a": ERROR}, ODD, "answers it"),
        ("line.ctrl_z", {"AT": ERROR}, NOT_TRIED, "not sure"),
        ("line.repeat", {"AT+CSQ": CSQ}, CANNOT, "not known"),
        ("line.repeat", {"AT+CSQ": MUTE}, NOT_TRIED, "nothing"),
        ("line.repeat", {}, NOT_TRIED, "ERROR"),
        ("line.long", {}, CAN, "takes 0 characters, refuses 64 with ERROR"),
        ("errors.unknown", {"AT+CMEE=1": OK, "AT+NOSUCHCOMMAND": OK}, ODD, "does not exist"),
        ("errors.levels", {}, CANNOT, "+CMEE=1 is refused"),
        ("identity.manufacturer", {}, CANNOT, "neither"),
        ("identity.imei", {"AT+CGSN": told("490154203237519")}, ODD, "check digit"),
        ("identity.imei", {"AT+CGSN": told("49015420323751")}, ODD, "14 digits"),
        (
            "identity.imei",
            {"AT+CGSN": told("490154203237518"), "AT+GSN": told("356000010000013")},
            ODD,
            "different ones",
        ),
        ("identity.abilities", {"AT+GCAP": told("+GCAP: +DS")}, ODD, "no +CGSM"),
        ("identity.commands", {"AT+CLAC": OK}, ODD, "empty"),
        ("identity.commands", {"AT+CLAC": told("+CLAC: +CGMI,+CGMM")}, CAN, "2 commands"),
        ("card.state", {"AT+CPIN?": told("+CPIN: NOT INSERTED")}, CANNOT, "no card"),
        ("card.state", {"AT+CPIN?": told(final="+CME ERROR: 10")}, CANNOT, "+CME ERROR: 10"),
        ("card.state", {"AT+CPIN?": told(final="+CME ERROR: 14")}, CANNOT, "+CME ERROR: 14"),
        (
            "card.tries",
            {"AT+CPINR": told("+CPINR: SIM PIN,3"), "AT+UPINCNT": told("+UPINCNT: 2,3,10,10")},
            ODD,
            "disagree",
        ),
        ("card.tries_apdu", {'AT+CSIM=10,"0020000100"': told('+CSIM: 4,"6E00"')}, CANNOT, "6E00"),
        ("card.iccid", {"AT+CCID": told("8886011234567890123")}, ODD, "does not begin with 89"),
        (
            "card.iccid",
            {"AT+CCID": told("8986011234567890123"), "AT+QCCID": told("8986011234567890124")},
            ODD,
            "different ones",
        ),
        ("card.files", {"AT+CRSM=176,12258,0,0,10": told('+CRSM: 144,0,"98"')}, ODD, "in no form"),
        ("card.locks", {}, CANNOT, "ERROR"),
        (
            "card.locks",
            {
                'AT+CLCK="SC",2': told("+CLCK: 0"),
                "AT+CLCK=?": told('+CLCK: ("SC","PN")'),
                'AT+CLCK="PN",2': told("+CLCK: 1"),
            },
            ODD,
            "PIN lock OFF; a lock to a network",
        ),
        ("card.imsi", {"AT+CIMI": told("+CIMI: 460001234567890")}, ODD, "name in front"),
        ("card.imsi", {}, CANNOT, "ERROR"),
        ("card.number", {"AT+CNUM": told('+CNUM: "x","+86139",145')}, CAN, "+86139"),
        ("card.codes", {"AT+CRSM=176,28589,0,0,4": told('+CRSM: 144,0,"000000"')}, ODD, "old card"),
        ("card.codes", {"AT+CRSM=176,28589,0,0,4": told('+CRSM: 144,0,"00000009"')}, ODD, "9"),
        ("card.codes", {"AT+CRSM=176,28589,0,0,4": told('+CRSM: 144,0,"0000000Z"')}, CANNOT, "not"),
        ("card.provider", {"AT+CRSM=176,28486,0,0,17": told('+CRSM: 144,0,"0043484')}, CANNOT,
         "names none"),
        ("network.radio", {"AT+CFUN?": told("+CFUN: 4")}, ODD, "switched off"),
        ("network.signal", {"AT+CSQ": told("+CSQ: 99,99")}, ODD, "not known (99)"),
        ("network.signal", {"AT+CSQ": told("+CSQ: good")}, ODD, "good"),
        ("network.registration", {"AT+CREG?": told("+CREG: 0,3")}, CANNOT, "denied"),
        ("network.registration", {"AT+CREG?": told("+CREG: 0,2")}, CANNOT, "searching"),
        ("network.registration", {}, CANNOT, "no state"),
        ("network.cell", {}, CANNOT, "could not be put back"),
        ("network.cell", {"AT+CREG?": told("+CREG: 1")}, CANNOT, "could not be put back"),
        ("network.cell", {"AT+CREG?": told("+CREG: 0,1")}, CANNOT, "no word of a change"),
        ("network.packet", {}, CANNOT, "neither"),
        ("network.operator", {"AT+COPS?": told("+COPS: 0")}, ODD, "no name"),
        ("network.operator", {"AT+COPS?": told('+COPS: 0,2,"46000"')}, ODD, "got 2"),
        ("network.scan", {"AT+COPS=?": told('+COPS: (2,"a")')}, CAN, "over before"),
        ("network.clock", {"AT+CCLK?": told('+CCLK: "x"')}, ODD, "x"),
        ("sms.pdu_mode", {}, CANNOT, "not read back"),
        ("sms.charsets", {"AT+CSCS=?": told('+CSCS: ("GSM","HEX")'), 'AT+CSCS="GSM"': OK,
                          "AT+CSCS?": told('+CSCS: "GSM"')}, ODD, "refuses HEX"),
        ("sms.charsets", {"AT+CSCS=?": told('+CSCS: ("GSM","UC\x80S2")'),
                          "AT+CSCS?": told('+CSCS: "GSM"')}, ODD, "no alphabet's name"),
        ("sms.storages", {"AT+CPMS=?": told('+CPMS: ("SM"),("SM"),("SM")'),
                          "AT+CPMS?": told('+CPMS: SM,0,50,SM,0,50,SM,0,50')}, CANNOT,
         "could not be put back"),
        ("sms.text_mode", {"AT+CMGF=1": OK}, CANNOT, "could not be put back"),
        ("sms.centre", {"AT+CSCA?": told('+CSCA: "",129')}, ODD, "none is stored"),
        ("sms.acknowledge", {"AT+CNMA": OK}, ODD, "nothing waits"),
        ("sms.acknowledge", {"AT+CNMA": told(final="+CMS ERROR: 302")}, ODD, "not 340"),
        ("sms.service", {}, CANNOT, "tells nothing"),
        ("sms.service", {"AT+CSMS?": told("+CSMS: 0,1,1,1")}, CANNOT, "1: ERROR"),
        ("sms.routes", {"AT+CNMI=?": told("+CNMI: (0-2),(0,2),(0),(0),(0)")}, ODD, "missing"),
        ("sms.routes", {}, CANNOT, "nothing"),
        ("sms.routes_taken", {}, CANNOT, "nothing is tried"),
        ("calls.caller", {"AT+CLIP?": told("+CLIP: 0,1")}, ODD, "+CLIP only"),
        ("calls.list", {"AT+CLCC": told("+CLCC: 1,1,0,0,0")}, ODD, "a call is on"),
        ("calls.list", {}, CANNOT, "ERROR"),
        ("calls.cause", {"AT+CEER": OK}, ODD, "without a cause"),
        ("calls.hang_up", {}, CANNOT, "+CHUP"),
        ("calls.ussd", {}, CANNOT, "not known"),
    ],
)  # fmt: skip
def test_odd_answers_get_their_verdict(
    name: str, answers: dict[str, bytes], verdict: Verdict, says: str
) -> None:
    found = find(name, answers)
    assert found.verdict is verdict, found
    assert says in found.says


PDU = {"AT+CMGF=0": OK, "AT+CMGF?": told("+CMGF: 0")}


@pytest.mark.parametrize(
    ("name", "answers", "verdict", "says"),
    [
        ("sms.prompt", {"AT+CMGS=20": told(final="+CMS ERROR: 302")}, CANNOT, "302"),
        ("sms.length", {"AT+CMGS=0": told(final="+CMS ERROR: 512")}, NOT_TRIED, "not ready"),
        ("sms.length", {"AT+CMGS=0": told(final="+CMS ERROR: 303"),
                        "AT+CMGS=999": told(final="+CMS ERROR: 304")}, ODD, "0: +CMS ERROR: 303"),
        ("sms.first_slot", {"AT+CPMS?": told('+CPMS: "SM",2,50'),
                            "AT+CMGD=?": told("+CMGD: (1,2),(0-4)")}, CAN, "1, by what"),
        ("sms.first_slot", {"AT+CPMS?": told('+CPMS: "SM",2,50'),
                            "AT+CMGD=?": told("+CMGD: (0,2),(0-4)")}, ODD, "a message lies there"),
        ("sms.first_slot", {"AT+CPMS?": told('+CPMS: "SM",2,50'),
                            "AT+CMGL=1": told("+CMGL: 2,1,,24", "0011")}, NOT_TRIED, "seen only"),
        ("sms.empty_slot", {"AT+CPMS?": told('+CPMS: "SM",2,50')}, NOT_TRIED, "surely empty"),
    ],
)  # fmt: skip
def test_messages_are_judged_without_reading_one(
    name: str, answers: dict[str, bytes], verdict: Verdict, says: str
) -> None:
    found = find(name, PDU | answers, default_memory="SM", capacities={"SM": 50})
    assert found.verdict is verdict, found
    assert says in found.says


def test_a_text_prompt_is_never_asked_for() -> None:
    bench = bench_of({"AT+CMGF=0": OK, "AT+CMGF?": told("+CMGF: 1")})
    check = next(check for check in checks.ALL if check.name == "sms.prompt")
    assert check.run(bench).verdict is Verdict.NOT_TRIED
    assert not any(b"+CMGS" in data for data in bench.client.guard.typed)


def test_no_slot_is_deleted_that_was_not_seen_empty() -> None:
    answers = PDU | {
        "AT+CPMS?": told('+CPMS: "SM",0,50'),
        "AT+CMGR=49": told("+CMGR: 1,,24", "079194710167"),
    }
    bench = bench_of(answers, default_memory="SM", capacities={"SM": 50})
    check = next(check for check in checks.ALL if check.name == "sms.empty_slot")
    assert "nobody lists" in check.run(bench).says
    assert not any(b"+CMGD=4" in data for data in bench.client.guard.typed)


def test_a_draft_is_not_written_where_the_storage_is_not_known() -> None:
    bench = bench_of(PDU)
    check = next(check for check in checks.ALL if check.name == "sms.draft")
    assert check.run(bench).verdict is Verdict.NOT_TRIED
    assert not any(b"+CMGW" in data for data in bench.client.guard.typed)


def test_a_mute_modem_is_given_up_after_some_questions_that_differ() -> None:
    bench = bench_of({"AT+CMEE?": MUTE, "ATQ0V1": MUTE}, other=MUTE)
    with pytest.raises(LineLost):
        bench.ask("AT+CSQ")
    asked = [data for data in bench.client.guard.typed if data.endswith(b"?\r")]
    assert len(set(asked)) == len(asked) == 4
    assert b"AT+CSQ?\r" not in asked
    assert not any(b"\x1a" in data for data in bench.client.guard.typed)


VERIFY = 'AT+CSIM=10,"0020000100"'


@pytest.mark.parametrize(("known", "permits", "is_typed"), [
    (None, frozenset(), False), (2, frozenset(), False), (3, frozenset(), True),
    (None, frozenset({Permit.PIN}), True),
])  # fmt: skip
def test_an_empty_verify_is_typed_only_where_it_may_cost_a_try(
    known: int | None, permits: frozenset[Permit], is_typed: bool
) -> None:
    bench = bench_of({VERIFY: told('+CSIM: 4,"63C3"')}, permits=permits, pin_tries=known)
    found = check_of("card.tries_apdu").run(bench)
    assert (VERIFY.encode() + b"\r" in bench.client.guard.typed) is is_typed
    assert found.verdict is (CAN if is_typed else NOT_TRIED)


def check_of(name: str) -> Check:
    return next(check for check in checks.ALL if check.name == name)


# A setting, what `?` tells of it where it can be put back, odd answers, and who changes it.
ODD_ANSWERS = [
    ("sms.charsets", "+CSCS", '""GSM"'), ("sms.charsets", "+CSCS", "GSM"),
    ("sms.routes_taken", "+CNMI", "0,0,0,0,0^RSSI:18"), ("sms.service", "+CSMS", ""),
    ("network.cell", "+CREG", "1"), ("network.cell", "+CREG", '2,1^RSSI:18'),
    ("network.operator", "+COPS", "0,7,"), ("sms.text_mode", "+CMGF", "PDU"),
    ("sms.pdu_mode", "+CMGF", "PDU"), ("sms.storages", "+CPMS", "SM,0,50"),
    ("errors.levels", "+CMEE", "?"), ("line.mixed", "+CMEE", ""),
    ("line.broken_chain", "+CMEE", ""), ("noise.hush", "^CURC", ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "setting", "value"), ODD_ANSWERS)
def test_what_could_not_be_put_back_is_left_alone(name: str, setting: str, value: str) -> None:
    answers = {
        f"AT{setting}?": told(f"{setting}: {value}"),
        "AT+CSCS=?": told('+CSCS: ("GSM","UCS2")'),
        "AT+CPMS=?": told('+CPMS: ("SM","ME"),("SM"),("SM")'),
        "AT+CNMI=?": told("+CNMI: (0-2),(0-3),(0),(0-2),(0)"),
    }
    bench = bench_of(answers, other=OK, family="huawei", has_phase_2_plus=True)
    check_of(name).run(bench)
    assert bench.settings.changed == []
    assert not [line for line in bench.client.guard.typed if f"{setting}=".encode() in
                line.replace(b"=?", b"")]  # fmt: skip
    assert bench.settings.restore() == []


def test_what_was_changed_without_a_look_before_is_told() -> None:
    bench = bench_of({}, other=OK)
    bench.ask("AT+CMEE?;+CREG=2")
    assert bench.settings.changed == ["+CREG (it was not known)"]
    assert bench.settings.restore() == ["+CREG (its value could not be read before)"]
    bench.settings.forget()
    assert bench.settings.changed == []


def test_one_answer_lost_while_putting_back_keeps_no_other_setting_changed() -> None:
    answers = {"AT+CSMS?": told("+CSMS: 0,1,1,1"), "AT+CREG?": told("+CREG: 0,1")}
    bench = bench_of(answers, other=OK)
    assert bench.settings.keep("+CSMS") == bench.settings.keep("+CREG") == "0"

    def lost(command: str, **_: object) -> Reply:
        if command == "AT+CSMS=0":
            raise LineLost
        return asked(command)

    asked, bench.client.ask = bench.client.ask, lost
    assert bench.settings.restore() == ["+CSMS (it was 0)"]
    assert b"AT+CREG=0\r" in bench.client.guard.typed


@pytest.mark.parametrize("setting", ["+CSMS", "+CREG"])
def test_what_ascii_does_not_hold_is_refused_before_an_octet_leaves(setting: str) -> None:
    bench = bench_of({}, other=OK)
    with pytest.raises(Forbidden):
        bench.ask(f"AT{setting}=ß")
    assert bench.client.guard.typed == []


USSD = 'AT+CUSD=1,"*100#",15'


def test_a_ussd_code_whose_answer_was_lost_is_not_sent_again() -> None:
    bench = bench_of({USSD: MUTE})
    found = check_of("acts.ussd").run(bench)
    assert found.verdict is CANNOT
    assert "do not ask again" in found.says
    assert [line for line in bench.client.guard.typed if b"+CUSD=1" in line] == [
        USSD.encode() + b"\r"
    ]


def test_what_the_network_says_to_it_is_heard_though_the_result_was_lost() -> None:
    late = told('+CUSD: 0,"12 yuan",15', final="")
    bench = bench_of({USSD: MUTE, "ATQ0V1": late + OK})
    found = check_of("acts.ussd").run(bench)
    assert (found.verdict, found.says) == (CAN, "asked in plain form, 7 characters, dcs 15")


def test_a_ussd_code_takes_its_next_form_only_after_a_refusal() -> None:
    bench = bench_of({})
    assert check_of("acts.ussd").run(bench).says == "ERROR"
    assert sum(b"+CUSD=1" in line for line in bench.client.guard.typed) == 2
