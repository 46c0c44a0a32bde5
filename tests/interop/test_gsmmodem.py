"""python-gsmmodem-new, unmodified, against `python -m simulator`: alone, then on every persona."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from simulator import persona
from simulator.phone import CallOutcome, CallPlan
from tests.support.gsmmodem_client import Client
from tests.support.simulated import BankProcess, wait_until

PERSONAS = persona.names()
CHINESE = "通知：明天停电，请提前做好准备。"


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[BankProcess]:
    flags = ("--modems", "1", "--persona", "generic", "--latency", "0.1", "--report-delay", "0.5")
    with BankProcess(tmp_path / "bank", *flags, "--pin", "1234") as bank:
        yield bank


def test_the_library_connects_sends_and_hears_reports_messages_and_calls(
    bank: BankProcess,
) -> None:
    modem = bank.control.state("modem01")[0]
    card = modem["card"]
    assert isinstance(card, dict)
    with Client(bank.port(), "answer", "1234") as client:
        assert client.next("connected") == {
            "imei": modem["imei"],
            "imsi": card["imsi"],
            "network": "CHINA MOBILE",
            "manufacturer": "Generic",
            "model": "GM100",
        }
        client.send("+8613900000001", "你好 from the library")
        # 1 = DELIVERED; the callback is for reports that nobody waits for.
        assert client.next("sent") == {"status": 1, "reference": 0}
        (sent,) = bank.ledger(kind="submit")
        assert (sent["destination"], sent["text"]) == ("+8613900000001", "你好 from the library")

        bank.control.inject_sms("modem01", "Reply {1} 好", origin="+8613912345678")
        assert client.next("sms") == {"number": "+8613912345678", "text": "Reply {1} 好"}

        plan = CallPlan(
            number="+8613912345678", outcome=CallOutcome.MISSED, rings=5, ring_seconds=0.7
        )
        bank.control.inject_call("modem01", plan)
        first = client.next("call")
        assert first == {"number": "+8613912345678", "ring": 1, "type": 0}  # 0 = VOICE
        assert client.next("call")["ring"] == 2
        assert client.next("answered") == {"is_answered": True}
        client.next("hung_up")
        wait_until(lambda: bool(bank.ledger(kind="call")), what="the call in the ledger")
        (call,) = bank.ledger(kind="call")
        assert (call["direction"], call["outcome"]) == ("in", "answered")
        assert call["rings"] in {2, 3}, "it answers at the second ring, in its own time"


# `+CPIN:"READY"` without a blank, in quotes, as some print it: the library cannot read that.
UNREAD = {"e173"}
# It asks for +CNMI=2,…; a model that refuses mode 2 cannot tell it of messages and reports.
DEAF = {name for name in PERSONAS if 2 in persona.load(name).cnmi_refused_modes}
# Its reports lie in another memory than the one they are announced in: it looks in vain.
MISLED = {name for name in PERSONAS if persona.load(name).vendor == "quectel"}


def test_the_library_sends_and_receives_on_every_persona(tmp_path: Path) -> None:
    flags = ("--modems", str(len(PERSONAS)), "--persona", ",".join(PERSONAS), "--pin-lock", "off")
    pace = ("--latency", "0.1", "--report-delay", "0.5")

    def use(at: int) -> str:
        name, modem = PERSONAS[at - 1], f"modem{at:02d}"
        try:
            with Client(bank.port(modem), "") as client, bank.connect() as control:
                connected = client.next("connected")
                assert connected["imsi"] == card_of(bank, modem)["imsi"], connected
                client.send("+8613900000001", CHINESE, waits=name not in DEAF | MISLED)
                sent = client.next("sent")
                (line,) = bank.ledger(kind="submit", modem=modem)
                assert line["text"] == CHINESE, line
                assert sent["reference"] == line["mr"], sent
                if name not in DEAF:
                    control.inject_sms(modem, "Reply {1} 好", origin="+8613912345678")
                    got = client.next("sms")
                    assert got == {"number": "+8613912345678", "text": "Reply {1} 好"}
        except AssertionError as error:
            return f"{name}: {str(error)[-500:]}"
        return ""

    places = [at for at, name in enumerate(PERSONAS, 1) if name not in UNREAD]
    with BankProcess(tmp_path / "bank", *flags, *pace) as bank, ThreadPoolExecutor(8) as pool:
        failures = [what for what in pool.map(use, places) if what]
    assert not failures, "\n".join(failures)


def card_of(bank: BankProcess, modem: str) -> dict[str, object]:
    with bank.connect() as control:
        found = control.state(modem)[0]["card"]
    assert isinstance(found, dict)
    return found
