"""The network on the wire: cards that call and write each other, USSD, coverage, limits."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.simulated import BankProcess, wait_until
from tests.support.wire import Wire

SCENARIO = """
modems = 3
persona = "generic,quectel,huawei"
pin_lock = "off"
seed = 4
latency = 0.05
report_delay = 0.1

[[carriers]]
name = "CHINA MOBILE"
short = "CMCC"
numeric = "46000"
price = 0.10
balance = 1

[[carriers.limits]]
count = 3
per = "hour"
beyond = "denied"
cms = 10

[[carriers]]
name = "CHN-UNICOM"
numeric = "46001"
guests = ["46000"]
share = 0
"""

ONE, TWO, THREE = "+8613800000001", "+8613800000002", "+8613800000003"
# To modem02, "hello world", no report wanted.
TPDU = "11000D91683108000000F20000A70BE8329BFD06DDDF723619"


class Desk:
    """A bank with a client at each modem."""

    def __init__(self, bank: BankProcess, wires: list[Wire]) -> None:
        self.bank = bank
        self.wires = wires

    def until(self, place: int, *parts: str) -> str:
        """Read from a modem until all these parts came."""
        said = self.wires[place].until(lambda found: all(part.encode() in found for part in parts))
        return said.decode("latin-1")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("closed_world")
    scenario = folder / "bank.toml"
    scenario.write_text(SCENARIO, "utf-8")
    with BankProcess(folder / "bank", "--scenario", str(scenario)) as bank, ExitStack() as stack:
        wires = [stack.enter_context(Wire(bank.port(f"modem0{n}"))) for n in (1, 2, 3)]
        for wire in wires:
            for line in ("ATE0", "AT+CMEE=1", "AT+CLIP=1", "AT+CMGF=0"):
                wire.ask(line)
        wires[2].ask("AT^CURC=0")
        wait_until(
            lambda: all(state["registration"] == 1 for state in bank.control.state()),
            what="all are registered",
        )
        yield Desk(bank, wires)


def test_a_call_rings_at_the_other_modem_and_both_hear_its_end(desk: Desk) -> None:
    one, two = desk.wires[:2]
    one.ask(f"ATD{TWO};")
    said = desk.until(1, "+CLIP")
    assert said == f'\r\nRING\r\n\r\n+CLIP: "{ONE}",145,,,,0\r\n'
    two.ask("ATA")
    assert one.lines("AT+CLCC") == [f'+CLCC: 1,0,0,0,0,"{TWO}",145,""']
    assert two.lines("AT+CLCC") == [f'+CLCC: 1,1,0,0,0,"{ONE}",145,""']
    two.ask("AT+CHUP")
    desk.until(0, "NO CARRIER")
    assert {line["modem"]: line["outcome"] for line in desk.bank.ledger(kind="call")} == {
        "modem01": "answered",
        "modem02": "answered",
    }


def test_a_busy_card_and_its_own_words(desk: Desk) -> None:
    one, two, three = desk.wires
    one.ask(f"ATD{TWO};")
    desk.until(1, "RING")
    three.ask(f"ATD{ONE};")
    said = desk.until(2, "^CEND")
    assert said.replace("\r\n\r\n", "\r\n").strip() == "^ORIG:1,0\r\n^CEND:1,0,104,17"
    one.ask("ATH")
    desk.until(1, "NO CARRIER")
    assert two.lines("AT+CLCC") == []


def test_ussd_menus_in_each_model_s_coding(desk: Desk) -> None:
    one, _, three = desk.wires
    one.ask('AT+CUSD=1,"*101#",15')
    assert desk.until(0, '",15') == '\r\n+CUSD: 1,"1 Balance\n2 My number\n3 Service",15\r\n'
    one.ask('AT+CUSD=1,"2",15')
    assert desk.until(0, '",15') == f'\r\n+CUSD: 0,"{ONE}",15\r\n'
    three.ask('AT+CUSD=1,"AA180C3602",15')
    assert desk.until(2, '",15').startswith('\r\n+CUSD: 0,"C2303B')
    two = desk.wires[1]
    two.ask('AT+CUSD=1,"*102#",15')
    chinese = "您的余额为1.00元".encode("utf-16-be").hex().upper()
    assert desk.until(1, '",72') == f'\r\n+CUSD: 0,"{chinese}",72\r\n'


def test_lost_coverage_is_told_and_a_guest_roams(desk: Desk) -> None:
    two = desk.wires[1]
    two.ask("AT+CREG=1")
    desk.bank.control.request("lose_coverage", {"carrier": "CMCC", "modem": "modem02"})
    assert desk.until(1, "+CREG: 5") == "\r\n+CREG: 2\r\n\r\n+CREG: 5\r\n"
    assert two.lines("AT+COPS?") == ['+COPS: 0,0,"CHN-UNICOM",7']
    desk.bank.control.request("restore_coverage", {})
    assert desk.until(1, "+CREG: 1") == "\r\n+CREG: 2\r\n\r\n+CREG: 1\r\n"


def test_a_card_writes_to_the_other_until_its_carrier_has_enough(desk: Desk) -> None:
    one, two = desk.wires[:2]
    two.ask("AT+CNMI=2,1,0,0,0")
    one.ask("AT+CREG=1")
    for n in range(1, 4):
        one.ask(f"AT+CMGS={len(TPDU) // 2}", b"> ")
        one.type(f"00{TPDU}\x1a".encode())
        desk.until(0, "+CMGS", "OK")
        assert desk.until(1, "+CMTI") == f'\r\n+CMTI: "ME",{n}\r\n'
    one.ask(f"AT+CMGS={len(TPDU) // 2}", b"> ")
    one.type(f"00{TPDU}\x1a".encode())
    said = desk.until(0, "+CMS ERROR: 10", "+CREG: 3")
    assert "+CMGS" not in said
    one.ask('AT+CUSD=1,"*100#",15', b"\r\n+CME ERROR: 30\r\n")
    desk.bank.control.request("lift", {"modem": "modem01"})
    desk.until(0, "+CREG: 1")
    one.ask('AT+CUSD=1,"*100#",15')
    assert desk.until(0, '",15') == '\r\n+CUSD: 0,"Balance 0.70 CNY",15\r\n'
    texts = [line["text"] for line in desk.bank.ledger(kind="deliver", modem="modem02")]
    assert texts == ["hello world"] * 3
