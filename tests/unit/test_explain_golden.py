"""What explain says, compared with the golden files letter by letter (SEC-11)."""

import pytest

from tests.support.explain_stories import FOLDER, STORIES, told


@pytest.mark.parametrize("name", STORIES)
async def test_a_story_is_told_as_it_was(name):
    golden = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    assert await told(name) == golden, "right? then: python -m tests.support.explain_stories"


def test_each_golden_file_has_its_story():
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(STORIES)
    assert len(STORIES) >= 30
