"""A card keeps its secrets, counters, lock and messages from one run of the bank to the next."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import serial

from simulator.cards.card import Card, PinRefused, Subscription
from simulator.cards.keeping import FLUSH_SECONDS, Keeper
from simulator.cards.storage import Status, Stored
from simulator.clock import VirtualClock
from simulator.control.server import BankControl
from tests.support.simulated import BankProcess, wait_until

FLAGS = ("--modems", "1", "--persona", "generic", "--pin", "1234", "--latency", "0.01")
MESSAGE = Stored(status=Status.UNREAD, sca=b"\x00", tpdu=b"\x04\x01")


def subscription(**facts: str) -> Subscription:
    values = {
        "iccid": "898604B2742763950001",
        "imsi": "460002711150001",
        "number": "+8613800000002",
        "pin": "1234",
        "puk": "87654321",
    }
    return Subscription(**{**values, **facts})


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))


def kept(folder: Path, clock: VirtualClock, *, is_locked: bool = True, **facts: str) -> Card:
    card = Card(subscription(**facts), is_locked=is_locked, slots=5)
    Keeper(folder, clock=clock).adopt(card)
    return card


def fail(card: Card, pin: str = "0000") -> None:
    with pytest.raises(PinRefused):
        card.enter_pin(pin)


# ---------------------------------------------------------------- the keeper


def test_wrong_pin_is_written_at_once(tmp_path: Path, clock: VirtualClock) -> None:
    fail(kept(tmp_path, clock))
    again = kept(tmp_path, clock)
    assert again.pin_tries == 2
    fail(again)
    assert kept(tmp_path, clock).pin_tries == 1


def test_all_that_a_card_knows_comes_back(tmp_path: Path, clock: VirtualClock) -> None:
    card = kept(tmp_path, clock)
    for _ in range(3):
        fail(card)
    with pytest.raises(PinRefused):
        card.enter_puk("00000000", "5555")
    blocked = kept(tmp_path, clock)
    assert (blocked.state, blocked.pin_tries, blocked.puk_tries) == ("SIM PUK", 0, 9)
    blocked.enter_puk("87654321", "5555")
    blocked.change_pin2("2345", "6789")
    with pytest.raises(PinRefused):
        blocked.verify_pin2("0000")
    blocked.set_lock(enabled=False, pin="5555")
    again = kept(tmp_path, clock)
    again.power_up()
    assert (again.pin, again.pin2, again.pin2_tries) == ("5555", "6789", 2)
    assert (again.is_locked, again.state) == (False, "READY")


def test_messages_follow_within_a_second_and_keep_their_places(
    tmp_path: Path, clock: VirtualClock
) -> None:
    card = kept(tmp_path, clock)
    for _ in range(3):
        card.storage.add(MESSAGE)
    card.storage.delete(2)
    card.storage.mark(3, Status.READ)
    assert kept(tmp_path, clock).storage.used == 0
    clock.advance(FLUSH_SECONDS)
    again = kept(tmp_path, clock)
    assert [(index, message.status) for index, message in again.storage] == [
        (1, Status.UNREAD),
        (3, Status.READ),
    ]
    assert again.storage.get(1) == MESSAGE


def test_wrong_pin_writes_the_messages_that_wait_too(tmp_path: Path, clock: VirtualClock) -> None:
    card = kept(tmp_path, clock)
    card.storage.add(MESSAGE)
    fail(card)
    assert kept(tmp_path, clock).storage.used == 1


@pytest.mark.parametrize("facts", [{"pin": "9999"}, {"puk": "11111111"}, {"is_locked": False}])
def test_card_that_was_issued_otherwise_is_another_card(
    tmp_path: Path, clock: VirtualClock, facts: dict[str, object]
) -> None:
    fail(kept(tmp_path, clock))
    assert kept(tmp_path, clock, **facts).pin_tries == 3


def test_cards_of_two_banks_in_one_folder_do_not_mix(tmp_path: Path, clock: VirtualClock) -> None:
    fail(kept(tmp_path, clock))
    assert kept(tmp_path, clock, iccid="898604B2742763950002").pin_tries == 3
    assert kept(tmp_path, clock).pin_tries == 2


def test_forgetting_makes_all_cards_new(tmp_path: Path, clock: VirtualClock) -> None:
    fail(kept(tmp_path, clock))
    Keeper(tmp_path, clock=clock).forget()
    assert kept(tmp_path, clock).pin_tries == 3


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pin": 1}'])
def test_file_that_is_none_of_ours_is_a_new_card(
    tmp_path: Path, clock: VirtualClock, text: str
) -> None:
    (tmp_path / "898604B2742763950001.json").write_text(text)
    assert kept(tmp_path, clock).pin_tries == 3


def test_smaller_card_loses_what_has_no_room(tmp_path: Path, clock: VirtualClock) -> None:
    card = kept(tmp_path, clock)
    for _ in range(5):
        card.storage.add(MESSAGE)
    clock.advance(FLUSH_SECONDS)
    small = Card(subscription(), is_locked=True, slots=2)
    Keeper(tmp_path, clock=clock).adopt(small)
    assert small.storage.used == 2


# ---------------------------------------------------------------- the process


@contextmanager
def killed(folder: Path, *flags: str) -> Iterator[BankControl]:
    """A bank that ends by SIGKILL."""
    command = [sys.executable, "-m", "simulator", "--dir", str(folder), *FLAGS, *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready")
    control = BankControl(folder / "control.sock")
    try:
        yield control
    finally:
        control.close()
        process.kill()
        process.wait(60)
        process.stdout.close()
    assert process.returncode == -signal.SIGKILL


def ask(folder: Path, *commands: str) -> list[str]:
    """The answers of modem01, line by line."""
    said: list[str] = []
    with serial.Serial(str(folder / "ports" / "modem01"), timeout=5) as port:
        for command in ("ATE0", "AT+CMEE=1", *commands):
            port.write(command.encode() + b"\r")
            while True:
                octets = port.readline()
                assert octets, f"no answer to {command}"
                line = octets.decode().strip()
                said += [line] if line else []
                if line in {"OK", "ERROR"} or line.startswith("+CME ERROR"):
                    break
    return said


def test_try_that_was_burnt_stays_burnt_over_a_kill(tmp_path: Path) -> None:
    with killed(tmp_path):
        assert "+CME ERROR: 16" in ask(tmp_path, 'AT+CPIN="0000"')
    with killed(tmp_path) as control:
        assert "+CPINR: SIM PIN,2,3" in ask(tmp_path, "AT+CPINR")
        assert "+CME ERROR: 16" in ask(tmp_path, 'AT+CPIN="0001"')
        state = control.state("modem01")[0]["card"]
        assert isinstance(state, dict)
        assert state["pin_tries"] == 1
    with BankProcess(tmp_path, *FLAGS):
        ask(tmp_path, 'AT+CPIN="0002"')
        assert "+CPIN: SIM PUK" in ask(tmp_path, "AT+CPIN?")
    with BankProcess(tmp_path, *FLAGS, "--fresh"):
        assert "+CPIN: SIM PIN" in ask(tmp_path, "AT+CPIN?")


def test_messages_and_a_new_pin_are_there_after_a_clean_end(tmp_path: Path) -> None:
    with BankProcess(tmp_path, *FLAGS) as bank:
        ask(tmp_path, 'AT+CPIN="1234"', 'AT+CPWD="SC","1234","8642"')
        wait_until(lambda: bank.control.state("modem01")[0]["registration"] == 1, what="home")
        bank.control.inject_sms("modem01", "hi", origin="10086")
        wait_until(lambda: _stored(bank.control) == 1, what="stored")
    assert [path.stem for path in (tmp_path / "cards").iterdir()] == [_iccid(tmp_path)]
    with BankProcess(tmp_path, *FLAGS) as bank:
        with (tmp_path / "cards.csv").open(encoding="ascii") as file:
            assert [row["pin"] for row in csv.DictReader(file)] == ["8642"]
        assert _stored(bank.control) == 1
        assert "+CME ERROR: 16" in ask(tmp_path, 'AT+CPIN="1234"')
        assert ask(tmp_path, 'AT+CPIN="8642"')[-1] == "OK"


def test_other_seed_in_the_same_folder_has_its_own_cards(tmp_path: Path) -> None:
    with BankProcess(tmp_path, *FLAGS):
        ask(tmp_path, 'AT+CPIN="0000"')
    with BankProcess(tmp_path, *FLAGS, "--seed", "2"):
        assert "+CPINR: SIM PIN,3,3" in ask(tmp_path, "AT+CPINR")
    with BankProcess(tmp_path, *FLAGS):
        assert "+CPINR: SIM PIN,2,3" in ask(tmp_path, "AT+CPINR")
    files = list((tmp_path / "cards").glob("*.json"))
    assert all(json.loads(path.read_text())["pin"] == "1234" for path in files)


def _stored(control: BankControl) -> object:
    card = control.state("modem01")[0]["card"]
    assert isinstance(card, dict)
    return card["stored"]


def _iccid(folder: Path) -> str:
    with (folder / "cards.csv").open(encoding="ascii") as file:
        return next(csv.DictReader(file))["iccid"]
