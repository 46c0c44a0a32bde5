"""Each check's verdict on modems that answer oddly, word by word, on a clock that jumps."""

from collections.abc import Mapping

import pytest

from simulator.conformance import checks
from simulator.conformance.check import Bench, Finding, Verdict, Wishes
from simulator.conformance.client import Client, LineLost
from simulator.conformance.guard import Guard, Permit
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


def bench_of(answers: Mapping[str, bytes], *, other: bytes = ERROR, **seen: object) -> Bench:
    modem = Peculiar(answers, other)
    client = Client(lambda: modem, Guard(frozenset(Permit)), now=modem.now)
    bench = Bench(client=client, wishes=Wishes(listen_seconds=0.0), settings=Settings(client))
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
        ("network.radio", {"AT+CFUN?": told("+CFUN: 4")}, ODD, "switched off"),
        ("network.signal", {"AT+CSQ": told("+CSQ: 99,99")}, ODD, "not known (99)"),
        ("network.signal", {"AT+CSQ": told("+CSQ: good")}, ODD, "good"),
        ("network.registration", {"AT+CREG?": told("+CREG: 0,3")}, CANNOT, "denied"),
        ("network.registration", {"AT+CREG?": told("+CREG: 0,2")}, CANNOT, "searching"),
        ("network.registration", {}, CANNOT, "no state"),
        ("network.cell", {}, CANNOT, "no word of a change"),
        ("network.packet", {}, CANNOT, "neither"),
        ("network.operator", {"AT+COPS?": told("+COPS: 0")}, ODD, "no name"),
        ("network.operator", {"AT+COPS?": told('+COPS: 0,2,"46000"')}, ODD, "got 2"),
        ("network.scan", {"AT+COPS=?": told('+COPS: (2,"a")')}, CAN, "over before"),
        ("network.clock", {"AT+CCLK?": told('+CCLK: "x"')}, ODD, "x"),
        ("sms.pdu_mode", {}, CANNOT, "not read back"),
        ("sms.charsets", {"AT+CSCS=?": told('+CSCS: ("GSM","HEX")'), 'AT+CSCS="GSM"': OK}, ODD,
         "refuses HEX"),
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
