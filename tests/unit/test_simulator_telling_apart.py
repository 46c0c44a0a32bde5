"""What a bank's folder and channel say: its cards, its numbers, its paths, its ledger's pages."""

import csv
import json
from pathlib import Path

import pytest

from simulator.control import server as control
from simulator.control import serving
from simulator.control.verbs import PAGE_MOST
from simulator.reading import ScenarioError
from simulator.story import scenario
from simulator.story.scenario import Scenario
from tests.support.virtual_bank import VirtualBank, virtual_bank

_SPARE = {"iccid": "89860000000000000001", "number": "+8613911111111", "pin": "4321"}


def _ask(bank: VirtualBank, **request: object) -> dict[str, object]:
    return control.answer(bank.controller, json.dumps(request).encode())


def test_list_of_cards_has_the_spare_ones_and_none_that_there_is_not(tmp_path: Path) -> None:
    bays = [{"bay": 1, "card": "none"}]
    with virtual_bank(tmp_path, modems=2, bays=bays, cards=[_SPARE]) as bank:
        with (tmp_path / "cards.csv").open(encoding="ascii") as file:
            rows = list(csv.DictReader(file))
        assert [row["modem"] for row in rows] == ["modem02", ""]
        assert {row["iccid"] for row in rows} == set(bank.bank.cards)
        assert (rows[1]["number"], rows[1]["pin"]) == ("+8613911111111", "4321")


@pytest.mark.parametrize("number", ["13800000001", "008613800000001", "8613800000001"])
def test_two_cards_of_one_subscriber_are_refused_however_written(number: str) -> None:
    with pytest.raises(ScenarioError, match=f"two cards with number {number}"):
        scenario.override(Scenario(), {"modems": 2, "cards": [_SPARE | {"number": number}]})


async def test_path_of_the_longest_port_decides(tmp_path: Path) -> None:
    keys = {"modems": 1, "persona": "e3372", "transport": "unix", "port_sets": "all"}
    chosen = scenario.override(Scenario(), keys)
    room = 107 - len(str(tmp_path).encode()) - len("/" + "/ports/modem01")
    folder = tmp_path / ("x" * room)
    told: list[bool] = []
    with pytest.raises(ScenarioError, match="octets too long for a socket"):
        await serving.serve(chosen, folder, ready=lambda: told.append(True))
    assert (told, folder.exists()) == ([], False)


def test_ledger_is_read_in_pages(tmp_path: Path) -> None:
    with virtual_bank(tmp_path) as bank:
        for number in range(PAGE_MOST + 10):
            bank.bank.ledger.add("note", number=number)
        first = _ask(bank, do="ledger", where={"kind": "note"})
        lines = first["lines"]
        assert isinstance(lines, list)
        assert 0 < len(lines) <= PAGE_MOST
        rest = _ask(bank, do="ledger", where={"kind": "note"}, offset=first["offset"])["lines"]
        assert isinstance(rest, list)
        assert [line["number"] for line in lines + rest] == list(range(PAGE_MOST + 10))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"offset": -1}, "offset: -1: not below 0"),
        ({"offset": 10**30}, "offset:"),
        ({"limit": 0}, "limit: 0: not below 1"),
        ({"limit": PAGE_MOST + 1}, "limit: 5001: not above 5000"),
        ({"limit": None}, "limit: null: a whole number is needed"),
    ],
)
def test_page_that_there_cannot_be_is_refused(
    tmp_path: Path, query: dict[str, object], said: str
) -> None:
    with virtual_bank(tmp_path) as bank:
        answer = _ask(bank, do="ledger", **query)
        assert answer["ok"] is False
        assert said in str(answer["error"])


def test_what_the_system_refuses_is_answered(tmp_path: Path) -> None:
    with virtual_bank(tmp_path) as bank:
        (tmp_path / "ledger.jsonl").unlink()
        answer = _ask(bank, id=7, do="ledger")
        assert (answer["id"], answer["ok"]) == (7, False)
        assert "No such file" in str(answer["error"])
