"""The table of Chinese words knows every phrase that the golden stories tell."""

import re

import pytest

from modemctl.cli.explain_words import STATES, in_chinese
from modemctl.lifecycle import MessageState
from modemctl.service.messages import _WORDS
from tests.support.explain_stories import FOLDER, STORIES

FREE_TEXTS = (
    "the list was wrong", "she got it", "she asked for it", "operator determined barring",
    "network out of order", "unassigned number",
)  # fmt: skip
"""What people or the network said; it stays as it is."""
LEFT = re.compile(
    r"[A-Z]{3}-\d+|\d{4}-\d\d-\d\dT\S+|limits\.\S+|kid-\w+|<[\w ]+>|dBm|st:\w+|\bvip\b|drafter"
    r"|general_manager|manager_in_charge|department_manager|manager|general|sales"
)
SENTENCE = re.compile(r"(?:It (.+)\.|\d\d [\d:]{8}  (.+)  \(.*?\)(?: \[.*\])?|[\w ]+: (.+))")


@pytest.mark.parametrize("name", STORIES)
def test_a_story_has_no_english_left_in_chinese(name: str) -> None:
    lines = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()[1:]
    for line in lines:
        found = SENTENCE.fullmatch(line)
        if found is None or line.endswith("may take it"):
            assert not line or line.endswith("may take it"), line
            continue
        told = in_chinese(next(one for one in found.groups() if one))
        for text in FREE_TEXTS:
            told = told.replace(text, "")
        assert not re.search("[A-Za-z]{2}", LEFT.sub("", told)), told
        assert re.search("[\u4e00-\u9fff]", told), told


@pytest.mark.parametrize("words", sorted(set(_WORDS.values())))
def test_every_step_of_a_segment_has_chinese_words(words: str) -> None:
    assert not re.search("[A-Za-z]", in_chinese(words)), in_chinese(words)


@pytest.mark.parametrize("state", MessageState)
def test_every_state_of_a_message_has_a_chinese_word(state: MessageState) -> None:
    assert not STATES[state].isascii()


def test_names_and_what_people_wrote_stay() -> None:
    told = in_chinese("signed by wang as department_manager with key n4-hy")
    assert told == "wang 以部门经理身份签名，密钥 n4-hy"
    assert in_chinese("was not sent: its batch is cancelled (wrong list)") == (
        "未发送：所属批次已取消 (wrong list)"
    )


@pytest.mark.parametrize(
    "words",
    [
        "the message goes to another card's own number (policy: SMS-09)",
        "card 89860000000000000001: the message goes to its own number (policy: SIM-18)",
    ],
)
def test_a_card_that_writes_to_itself_is_told_in_chinese(words: str) -> None:
    said = in_chinese(words)
    assert "号码" in said
    assert not re.search(r"the|message|number|card", said)
