"""Families from a site's folder: what a file may say, and every mistake with its place."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.at.counters import CounterForm
from drivers.at.session import Completed, Session, urc_key
from drivers.family import Family
from drivers.interface import Identity, PinCounter, Rebooted
from drivers.registry import FAMILIES, family_of
from drivers.site_families import FORMS, FamilyFilesError, read_folder

PAGE = Path(__file__).parents[2] / "docs" / "families.md"
ACME = Identity(manufacturer="ACME Corp.", model="X100", revision="1", imei="490154203237518")


def read(folder: Path, text: str, name: str = "acme") -> Family:
    (folder / f"{name}.toml").write_text(text, "utf-8")
    (family,) = read_folder(folder, FAMILIES)
    return family


def problems(folder: Path, text: str, name: str = "acme") -> list[str]:
    (folder / f"{name}.toml").write_text(text, "utf-8")
    with pytest.raises(FamilyFilesError) as caught:
        read_folder(folder, FAMILIES)
    assert all(line.startswith(str(folder)) for line in caught.value.problems)
    return [line.removeprefix(f"{folder}/") for line in caught.value.problems]


def test_folder_that_is_absent_or_empty_holds_none(tmp_path: Path) -> None:
    assert read_folder(tmp_path / "none", FAMILIES) == ()
    (tmp_path / "README.txt").write_text("no family", "utf-8")
    assert read_folder(tmp_path, FAMILIES) == ()


def test_example_of_the_page_is_read_and_comes_before_the_built_in_families(tmp_path: Path) -> None:
    text = re.search(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert text is not None
    family = read(tmp_path, text[1])
    assert family.capabilities.family == "acme"
    assert family_of(ACME, (family, *FAMILIES)) is family
    other = Identity(manufacturer="ACME", model="Y1", revision="1", imei="490154203237518")
    assert family_of(other, (family, *FAMILIES)).capabilities.family == "generic"
    assert family.counters[1].commands[0].text == "AT+XPIN?"
    assert family.counters[1].read([["+XPIN: 3,10"]]) == PinCounter(pin=3, puk=10)
    assert family.iccid[1].read(["+XICCID: 89490123456789012345"]) == "89490123456789012345"
    assert family.urcs["+XBOOT:"].read("+XBOOT: 1", None) == Rebooted(evidence="+XBOOT: 1")
    assert family.urcs["+XTEMP:"].read("+XTEMP: 40", None) is None
    assert "RDY" in family.urcs  # Quectel's, inherited
    assert family.call_urcs == (("AT+XCALL=2", "AT+XCALL=1"),)
    assert (family.capabilities.command_gap, family.reset) == (0.02, "AT+XRESET")
    tried = set(tomllib.loads(text[1]))
    named = set(
        re.findall(r"`([a-z_]+)`", " ".join(re.findall(r"(?m)^\| (.*?) \|", PAGE.read_text())))
    )
    assert named - tried == {"more_messages", "cpin_ends_bare", "ussd_packed"}


def test_every_form_is_named_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    assert {form for form in FORMS if f"`{form}`" not in page} == set()
    assert set(FORMS) == {*(form.value for form in CounterForm), "asked-for"}


def test_what_a_file_leaves_out_is_inherited(tmp_path: Path) -> None:
    family = read(tmp_path, 'model = "X"')
    generic = FAMILIES[-1]
    assert (family.iccid, family.counters, family.cnmi) == (
        generic.iccid,
        generic.counters,
        generic.cnmi,
    )


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("model = ", "utf-8")
    (tmp_path / "latin.toml").write_bytes(b'model = "\xe9"')
    found = problems(
        tmp_path,
        """
manufacturer = "acme"
inherits = "nokia"
memories = ["SM", "XX", "YY"]
command_gap = 9
nois = ["+X:"]
""",
    )
    places = sorted(line.split(": ")[0] for line in found)
    lines = [f"acme.toml:{line}" for line in (3, 4, 4, 5, 6)]
    assert places == [*lines, "broken.toml", "latin.toml"]
    text = "\n".join(found)
    assert "inherits: allowed: cinterion, generic, huawei" in text
    assert "(got 'XX')" in text
    assert "(got 'YY')" in text
    assert "command_gap: allowed: seconds from 0 to 5 (got 9)" in text
    assert "nois: unknown key; did you mean noise?" in text


REFUSED = [
    ('reset = "AT+CPIN=1234"', "reset"),
    ("noise_off = ['AT+CPIN=\"1234\"']", "a PIN"),
    ('noise_off = [\'AT+CLCK="SC",0,"1234"\']', "the lock"),
    ('noise_off = [\'AT+CPWD="SC","1","2"\']', "a PIN's change"),
    ('noise_off = [\'AT^SLCK="SC",1,"1234"\']', "the lock by its maker's name"),
    ("noise_off = ['AT*EPIN=\"1234\"']", "a PIN by its maker's name"),
    ("noise_off = ['AT^CARDLOCK=\"12345678\"']", "a try at the modem's own lock"),
    ("noise_off = ['AT+CUSD=1,\"**04*1234*5678*5678#\"']", "a PIN's change by the network"),
    ("noise_off = ['AT+CCFC=0,3,\"+8613800138000\"']", "calls diverted"),
    ("noise_off = ['AT+CKPD=\"110S\"']", "a call by keys"),
    ("noise_off = ['AT+CRSM=0214,28486,0,0,1,\"00\"']", "a file written"),
    ("noise_off = ['AT+CRSM=32,0,1,0,8,\"31323334FFFFFFFF\"']", "VERIFY"),
    ('noise_off = ["AT+CMTI?"]', "announcements eaten"),
    ('noise_off = ["AT+CMGS=12"]', "a message"),
    ('noise_off = ["AT+CMGD=1,4"]', "all messages deleted"),
    ('noise_off = ["AT+CMGF=1"]', "text mode"),
    ('noise_off = ["AT+CNMI=2,2"]', "routing"),
    ('noise_off = ["AT+CFUN=0"]', "radio off"),
    ('noise_off = ["AT+COPS=2"]', "off the network"),
    ("noise_off = ['AT+EGMR=1,7,\"490154203237518\"']", "an IMEI"),
    ("noise_off = ['AT^PHYNUM=IMEI,490154203237518']", "an IMEI"),
    ('noise_off = ["AT+SIMEI=490154203237518"]', "an IMEI"),
    ('noise_off = ["ATD110;"]', "a call"),
    ('noise_off = ["ATE1"]', "echo"),
    ('noise_off = ["AT+X=1;+CMGD=1"]', "two commands"),
    ('noise_off = ["AT+X=1\\r"]', "a line's end"),
    ("noise_off = []", "nothing"),
    ("noise_off = [1]", "a number"),
    ("call_urcs = [[]]", "no alternative"),
    ("iccid = [{ command = 'AT+CSIM=10,\"00\"' }]", "an APDU"),
    ('iccid = [{ command = "AT+X", answer = "" }]', "no prefix"),
    ('iccid = [{ command = "AT+X", bear = true }]', "an unknown key"),
    ('iccid = ["crsm"]', "an unknown name"),
    ('pin_counter = [{ command = "AT+X?" }]', "no form"),
    ('pin_counter = [{ command = "AT+X?", form = "3,10" }]', "a form without names"),
    ('pin_counter = [{ command = "AT+X?", form = "puk1,puk2" }]', "a form without PIN1"),
    ('pin_counter = [{ command = "AT+CPIN=0000", form = "pin1" }]', "a try"),
    ('pin_counter = ["guess"]', "an unknown name"),
    ('cnmi = ["2,2,0,1,0"]', "not stored first"),
    ('noise = ["+CMTI:"]', "announcements"),
    ('noise = ["RING"]', "calls"),
    ('noise = ["+CMTI"]', "announcements without their colon"),
    ('reboot = ["+CME ERROR"]', "a final result without its colon"),
    ('cpin_ends_bare = "yes"', "a text"),
    ('reboot = ["OK"]', "a final result"),
    ('ready_signs = [""]', "nothing"),
    ('memories = "SM"', "no list"),
    ("unlock_pause = -1", "back in time"),
    ("command_gap = true", "a truth"),
    ("more_messages = 1", "a number"),
    ('manufacturer = ".*"', "all modems"),
    ('manufacturer = "("', "no expression"),
    ("manufacturer = 3", "a number"),
]


@pytest.mark.parametrize(("line", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_what_no_file_may_say_is_refused(tmp_path: Path, line: str, why: str) -> None:
    found = problems(tmp_path, f'model = "X"\n{line}\n')
    assert len(found) == 1, (why, found)
    assert found[0].startswith(f"acme.toml:2: {line.split(' ', 1)[0]}: allowed: ")


@pytest.mark.parametrize("name", ["huawei", "Acme", "a b", "x" * 40])
def test_name_of_the_file_is_the_familys(tmp_path: Path, name: str) -> None:
    assert "file name: allowed:" in problems(tmp_path, 'model = "X"', name)[0]


def test_family_for_no_modem_in_particular_is_refused(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, 'memories = ["SM"]')
    assert line == "acme.toml: manufacturer: allowed: this or model must be given"


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "families.d"
    file.write_text("", "utf-8")
    with pytest.raises(FamilyFilesError, match="not a folder"):
        read_folder(file, FAMILIES)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    writer = os.open(tmp_path / "pipe.toml", os.O_RDWR)  # else a reader would wait for ever
    os.write(writer, b"#" * 60_000)
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    try:
        found = problems(tmp_path, 'model = "X"')
    finally:
        os.close(writer)
    assert found == [f"{name}.toml: no file that can be read" for name in ("pipe", "zero")]


@pytest.mark.parametrize(
    "line",
    [
        "noise_off = ['AT+CPIN=\"4711\"']",
        "pin_counter = [{ command = 'AT+CPIN=4711', form = 'pin1' }]",
    ],
)
def test_refused_value_shows_no_pin(tmp_path: Path, line: str) -> None:
    (told,) = problems(tmp_path, f'model = "X"\n{line}\n')
    assert "CPIN" in told
    assert "4711" not in told


def test_prefix_of_an_answer_may_be_written_small(tmp_path: Path) -> None:
    entry = '{ command = "AT+XPIN?", form = "pin1,puk1", answer = "+xpin:" }'
    family = read(tmp_path, f'model = "X"\npin_counter = [{entry}]\n')
    (command,) = family.counters[0].commands
    session = Session(family.urcs)
    session.send(command, 0.0)
    session.receive_data(b"\r\n+XPIN: 3,10\r\n\r\nOK\r\n", 0.1)
    done = session.next_event()
    assert isinstance(done, Completed)
    assert [line.text for line in done.lines] == ["+XPIN: 3,10"]


@pytest.mark.parametrize("line", ["+XTEMP", "+XTEMP: 40,1", "+xtemp:"])
def test_head_without_a_colon_means_the_line_with_and_without_values(
    tmp_path: Path, line: str
) -> None:
    family = read(tmp_path, 'model = "X"\nnoise = ["+XTEMP"]\nready_signs = ["+XREADY"]\n')
    assert family.ready_signs == {"+XREADY", "+XREADY:"}
    row = family.urcs[urc_key(line)]
    assert row.read(line, None) is None


def test_head_with_a_colon_means_no_line_without(tmp_path: Path) -> None:
    family = read(tmp_path, 'model = "X"\nnoise = ["+XTEMP:"]\n')
    assert "+XTEMP:" in family.urcs
    assert "+XTEMP" not in family.urcs


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"command_gap = 1{'0' * 5_000}", "not valid TOML"),
        (f"command_gap = 0x{'f' * 6_000}", "allowed: seconds"),
        (f"noise = {'[' * 3_000}{']' * 3_000}", "not valid TOML"),
        ('manufacturer = "a{99999999999}"', "allowed: a regular expression"),
        ('manufacturer = "[[a]"', "allowed: a regular expression"),
        ("manufacturer = 2026-11-22", "allowed: a regular expression"),
        ("command_gap = nan", "allowed: seconds"),
        ("unlock_pause = inf", "allowed: seconds"),
        ("noise = [[]]", "allowed: the start of a line"),
        ("noise = [{}]", "allowed: the start of a line"),
        ('pin_counter = [{ command = ["AT+X?"], form = ["pin1"] }]', "allowed: "),
    ],
    ids=lambda text: text[:24],
)
def test_what_python_itself_stumbles_over_is_told_as_any_mistake(
    tmp_path: Path, line: str, said: str
) -> None:
    found = problems(tmp_path, f'model = "X"\n{line}\n')
    assert len(found) == 1, found
    assert said in found[0]


_VALUES = st.recursive(
    st.sampled_from(
        ['"AT+X=1"', '"+XTEMP:"', '"file"', '"cpinr"', '"wavecom"', '"x"', '""', "1", "-1", "nan",
         "true", "1979-05-27", "07:32:00", '"[["', '"a{9999999999}"', '"\\u0000"', '"2,1,0,0,0"',
         '{ command = "AT+X?", form = "pin1" }', '{ command = 1 }', "{}", '"SM"', "0x" + "f" * 6000]
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
    max_leaves=4,
)  # fmt: skip
_KEYS = st.sampled_from(
    ["inherits", "manufacturer", "model", "iccid", "pin_counter", "cnmi", "memories", "noise_off",
     "card_urcs", "call_urcs", "urc_routes", "ready_signs", "noise", "reboot", "command_gap",
     "unlock_pause", "reset", "more_messages", "cpin_ends_bare", "nois"]
)  # fmt: skip


@given(st.lists(st.tuples(_KEYS, _VALUES), max_size=4), st.text(max_size=3))
def test_any_file_is_a_family_or_a_list_of_mistakes_with_their_place(
    rows: list[tuple[str, str]], noise: str
) -> None:
    text = "\n".join(f"{key} = {value}" for key, value in rows)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "acme.toml").write_text(f"{text}\n{noise}", "utf-8", errors="replace")
        try:
            (family,) = read_folder(folder, FAMILIES)
            assert family.capabilities.family == "acme"
            told: tuple[str, ...] = ()
        except FamilyFilesError as error:
            told = error.problems or ("no problem is named",)
        place = re.compile(rf"{folder}/acme\.toml(:[0-9]+)?: .+")
        assert [one for one in told if place.match(one) is None] == []


def test_endless_file_is_refused(tmp_path: Path) -> None:
    assert "longer than" in problems(tmp_path, "#" * 70_000)[0]
