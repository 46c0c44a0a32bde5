"""Scenarios: flags and files, the same bank for the same seed."""

from pathlib import Path

import pytest

from simulator.network.network import Rule
from simulator.story import scenario
from simulator.story.scenario import PinLock, Scenario, ScenarioError, Transport


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


# ---------------------------------------------------------------- files


def write(folder: Path, text: str) -> Path:
    file = folder / "bank.toml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("modmes = 4\n", "1: modmes: unknown key 'modmes'; did you mean modems? known: "),
        ('seed = 1\npersona = "huawie"\n', "2: persona: no persona 'huawie'"),
        ('\ntransport = "tpc"\n', '2: transport: "tpc": did you mean tcp? one of pty, tcp'),
        ("[[bays]]\nbay = 1\n[[bays]]\nbay = 77\n", "3: bays[2]: no bay 77: there are 1 to 16"),
        ("[[bays]]\nbay = 1\npin = 1234\n", "3: bays[1].pin: 1234: a text is needed (in quotes)"),
        ('[[bays]]\nbay = 1\npin = "12"\n', '3: bays[1].pin: "12": 4 to 8 digits are needed'),
        ('[[bays]]\nbay = 1\ncarrier = "O2"\n', "3: bays[1].carrier: unknown carrier 'O2'"),
        ("[[rules]]\ncms = 1\n[[rules]]\ncsm = 2\n", "4: rules[2].csm: unknown key 'csm'; did you"),
        ("[[rules]]\nrate = 1.5\n", "rate: between 0 and 1"),
        ('[[cards]]\niccid = "x"\nnumber = "1"\n', "2: cards[1].iccid: "),
        ('start = 2026-01-01T00:00:00\n', "1: start: 2026-01-01 00:00:00: write it with its zone"),
        ('latency = "soon"\n', '1: latency: "soon": seconds are needed, or a text as "90s"'),
        ("latency = true\n", "1: latency: true: seconds are needed"),
        ("time_factor = 0\n", "1: time_factor: 0: must be above 0"),
        ("[[traffic]]\nsource = 'strangers'\n", "1: traffic[1].per_minute: is missing"),
        ("[[timeline]]\ndo = 'unplug'\nmodem = 99\n", "3: timeline[1].modem: no bay 99"),
        ("[[timeline]]\ndo = 'reboot'\n[[timeline]]\ndo = 'reboot'\nmodem = 1\n",
         "1: timeline[1].modem: is missing"),
        ("[[timeline]]\ndo = 'reboot'\nmodems = 'x'\n", "3: timeline[1].modems: no modem 'x'"),
        ("[[timeline]]\ndo = 'inject_sms'\nto = 'modem99'\n", "3: timeline[1].to: no card"),
        ("[[timeline]]\ndo = 'lose_coverage'\ncarrier = 'O2'\n", "3: timeline[1].carrier: unknown"),
        ("[[timeline]]\ndo = 'unplug_hub'\nhub = 2\n", "3: timeline[1].hub: no hub 2: there are 1"),
        ("[[timeline]]\ndo = 'swap_cards'\nmodem = 1\nother = 'x'\n", "4: timeline[1].other: no"),
        ("[[traffic]]\nsource = 'callers'\nper_minute = 1\nmodems = 'x'\n", "4: traffic[1].modems"),
        ("[[rules]]\nmodem = 'x'\n", "2: rules[1].modem: unknown modem 'x'"),
        ("[[rules]]\ncarrier = 'CMCC'\n", "2: rules[1].carrier: unknown carrier 'CMCC'"),
        ("[[faults]]\nmodem = 1\nfault = 'silense'\n", "3: faults[1].fault: \"silense\": unk"),
        ("about = 'x'\nmodems = [\n", "2: not TOML: "),
        ("about = 'x'\nmodems = ?\n", "2: not TOML: Invalid value at column 10"),
        ("[[bays]]\nbay = [1]\n", '2: bays[1].bay: [1]: a number or a text as "1-4,7" is needed'),
        ("bays = ['a']\n", '1: bays[1]: "a": a table is needed, as { key = … }'),
        ("carriers = []\n", "1: carriers: []: at least one is needed"),
        ("start = 'noon'\n", '1: start: "noon": a moment is needed, as 2026-01-01T08:00:00Z'),
        ("[[timeline]]\ndo = 'set_network_error'\nrule = {cms = {}}\n", "cms: a table: a whole"),
        ("folder = '/'\n", "1: folder: unknown key 'folder'"),
    ],
)  # fmt: skip
def test_mistake_is_told_with_file_line_key_and_cure(tmp_path: Path, text: str, said: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ScenarioError) as caught:
        scenario.load(file)
    assert str(caught.value).startswith(f"{file}:")
    assert said in str(caught.value)


def test_bays_differ_as_the_file_says(tmp_path: Path) -> None:
    text = """
modems = 8
persona = "generic"
per_hub = 3
[[carriers]]
name = "A"
numeric = "46000"
[[carriers]]
name = "B"
numeric = "310260"
[[bays]]
bay = "2-3"
persona = "huawei"
locked = false
[[bays]]
bay = 4
card = "89860099999999999904"
number = "+8613899999904"
imsi = "460001234567890"
pin = "4321"
puk = "12344321"
imei = "356938035643809"
[[bays]]
bay = "5,7"
card = "none"
[[bays]]
bay = 8
present = false
carrier = "B"
"""
    bays = scenario.bays(scenario.load(write(tmp_path, text)))
    assert [bay.hub for bay in bays] == [1, 1, 1, 2, 2, 2, 3, 3]
    assert [bay.persona.name for bay in bays[:4]] == ["generic", "huawei", "huawei", "generic"]
    assert has_luhn_digit(bays[1].imei)
    assert bays[1].imei.startswith(bays[1].persona.tac)
    assert [bay.is_locked for bay in bays[:4]] == [True, False, False, True]
    card = bays[3].subscription
    assert (card.iccid, card.number, card.imsi, card.pin, card.puk) == (
        "89860099999999999904", "+8613899999904", "460001234567890", "4321", "12344321",
    )  # fmt: skip
    assert bays[3].imei == "356938035643809"
    assert [bay.has_card for bay in bays] == [True] * 4 + [False, True, False, True]
    assert [bay.is_present for bay in bays] == [True] * 7 + [False]
    assert bays[7].subscription.imsi.startswith("310260")
    assert bays[7].subscription.mnc_length == 3
    assert [bay.subscription.provider for bay in bays[:2]] == ["A", "B"]


def test_two_cards_may_not_be_the_same() -> None:
    values = {"modems": 2, "bays": [{"bay": 1, "number": "+8613800000002"}]}
    with pytest.raises(ScenarioError, match=r"two cards with number \+8613800000002"):
        scenario.override(Scenario(), values)
    spare = {"iccid": "89860099999999999904", "number": "1390000"}
    with pytest.raises(ScenarioError, match="two cards with iccid"):
        scenario.override(Scenario(), {"cards": [spare, spare]})


def test_persona_may_be_a_file_beside_the_scenario(tmp_path: Path) -> None:
    generic = (Path(scenario.__file__).parents[1] / "personas" / "generic.toml").read_text("utf-8")
    (tmp_path / "mine.toml").write_text(generic.replace("GM100", "MINE"), encoding="utf-8")
    text = 'modems = 2\npersona = "mine.toml,generic"\n'
    bays = scenario.bays(scenario.load(write(tmp_path, text)))
    assert [bay.persona.model for bay in bays] == ["MINE", "GM100"]
    (tmp_path / "mine.toml").write_text("nonsense = 1\n", encoding="utf-8")
    with pytest.raises(
        ScenarioError, match=r"bank\.toml:2: persona: .*mine\.toml:1: nonsense: unknown key"
    ):
        scenario.load(tmp_path / "bank.toml")
    with pytest.raises(ScenarioError, match=r"none\.toml: No such file"):
        scenario.load(write(tmp_path, 'persona = "none.toml"\n'))


def test_all_personas_are_dealt_in_turn() -> None:
    bays = scenario.bays(Scenario(modems=40, persona="all"))
    assert len({bay.persona.name for bay in bays}) >= 14


def test_lengths_of_time_are_numbers_or_words() -> None:
    for value, seconds in (
        (90, 90.0),
        ("90s", 90.0),
        ("1h30m", 5400.0),
        ("2d", 172800.0),
        ("50ms", 0.05),
    ):
        assert scenario.override(Scenario(), {"latency": value}).latency == seconds


def test_named_scenarios_are_found_and_others_are_paths(tmp_path: Path) -> None:
    assert scenario.load(scenario.find("quiet")).modems == 4
    file = write(tmp_path, "modems = 3\n")
    assert scenario.load(scenario.find(str(file))).modems == 3
    with pytest.raises(ScenarioError, match="unknown scenario 'quite'; did you mean quiet"):
        scenario.find("quite")
    with pytest.raises(ScenarioError, match=r"none\.toml: no such file"):
        scenario.find("none.toml")
    assert scenario.summary("quiet").startswith("Four modems")


def test_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    file = tmp_path / "bank.toml"
    file.write_bytes('about = "您好"'.encode("gb18030"))
    with pytest.raises(ScenarioError, match="not UTF-8"):
        scenario.load(file)


def test_names_that_the_bank_has_may_be_used(tmp_path: Path) -> None:
    text = """
[[rules]]
modem = "modem02"
carrier = "CHINA MOBILE"
[[timeline]]
do = "inject_sms"
to = "+8613800000002"
[[timeline]]
do = "set_signal"
carrier = "CMCC"
modem = 1
signal = 5
[[timeline]]
do = "send_sms"
modem = "any"
to = "+491701"
text = "anybody"
"""
    assert len(scenario.load(write(tmp_path, text)).timeline) == 3
