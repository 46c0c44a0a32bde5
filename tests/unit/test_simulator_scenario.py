"""Scenarios: flags and files, the same bank for the same seed."""

from pathlib import Path

import pytest

from simulator import scenario
from simulator.network import Rule
from simulator.scenario import PinLock, Scenario, ScenarioError, Transport


def has_luhn_digit(digits: str) -> bool:
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (2 if place % 2 else 1)
        total += value // 10 + value % 10
    return total % 10 == 0


def test_same_seed_same_bank_and_another_seed_another() -> None:
    assert scenario.bays(Scenario(modems=20, seed=7)) == scenario.bays(Scenario(modems=20, seed=7))
    one, other = (scenario.bays(Scenario(modems=20, seed=seed)) for seed in (7, 8))
    assert {bay.imei for bay in one}.isdisjoint(bay.imei for bay in other)


def test_a_bay_is_the_same_in_a_larger_bank() -> None:
    small, large = (scenario.bays(Scenario(modems=n)) for n in (8, 64))
    assert small == large[:8]


def test_identities_are_well_formed_and_unique() -> None:
    bays = scenario.bays(Scenario(modems=512))
    assert all(len(bay.imei) == 15 and has_luhn_digit(bay.imei) for bay in bays)
    iccids = [bay.subscription.iccid for bay in bays]
    assert len(set(iccids)) == len({bay.subscription.imsi for bay in bays}) == 512
    assert {len(iccid) for iccid in iccids} == {19, 20}
    assert any(iccid.startswith("898604B2") for iccid in iccids)
    assert all(has_luhn_digit(iccid) for iccid in iccids if iccid.isdigit())
    assert all(len(bay.subscription.imsi) == 15 for bay in bays)
    assert bays[0].subscription.number == "+8613800000001"
    assert (bays[0].name, bays[511].name) == ("modem001", "modem512")


def test_pins_and_locks_follow_the_scenario() -> None:
    fixed = scenario.bays(Scenario(pin="1234", pin_lock=PinLock.OFF))
    assert {bay.subscription.pin for bay in fixed} == {"1234"}
    assert not any(bay.is_locked for bay in fixed)
    mixed = scenario.bays(Scenario(pin_lock=PinLock.MIXED))
    assert len({bay.subscription.pin for bay in mixed}) > 10
    assert {bay.is_locked for bay in mixed} == {True, False}


def test_file_is_read_and_overridden(tmp_path: Path) -> None:
    file = tmp_path / "bank.toml"
    file.write_text(
        'modems = 4\npersona = "generic,quectel"\ntransport = "tcp"\nlatency = 2\n'
        '[[rules]]\ndestination = "+86139"\ncms = 38\ncount = 1\n'
    )
    read = scenario.load(file)
    assert (read.modems, read.transport, read.times.latency) == (4, Transport.TCP, 2.0)
    assert read.rules == (Rule(destination="+86139", cms=38, count=1),)
    assert [bay.persona.name for bay in scenario.bays(read)] == ["generic", "quectel"] * 2
    assert scenario.override(read, {"modems": 9}).modems == 9


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"modmes": 1}, "unknown key 'modmes'"),
        ({"modems": 0}, "modems: 0: not below 1"),
        ({"modems": "many"}, "modems"),
        ({"latency": -1}, "not below 0"),
        ({"pin": "12"}, "pin: .*`random` or 4 to 8 digits"),
        ({"persona": "nokia"}, "no persona 'nokia'"),
        ({"transport": "usb"}, "transport"),
        ({"rules": [{"cms": "x"}]}, r"rules\[1\]\.cms"),
    ],
)
def test_wrong_values_are_refused_with_their_key(values: dict[str, object], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        scenario.override(Scenario(), values)


def test_wrong_rule_is_refused_with_its_key() -> None:
    with pytest.raises(ScenarioError, match="unknown key 'cmss'"):
        scenario.rule({"cmss": 1})


def test_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bank.toml"
    file.write_text("modems = ")
    with pytest.raises(ScenarioError, match=r"bank\.toml"):
        scenario.load(file)
