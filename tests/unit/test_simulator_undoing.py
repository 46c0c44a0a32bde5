"""What lasts is taken back from the very modems and cards that had it; `any` has its own draws."""

from pathlib import Path

import pytest

from simulator.reading import ScenarioError
from tests.support.virtual_bank import VirtualBank, virtual_bank


def _lost(bank: VirtualBank) -> list[str]:
    return [one.name for one in bank.bank.modems if one.registration != 1]


def test_coverage_that_one_modem_lost_comes_back_there(tmp_path: Path) -> None:
    tables = [
        {"at": 10, "do": "lose_coverage", "modem": "any", "lasts": 10},
        {"at": 11, "every": 0.1, "times": 30, "do": "hang_up", "modem": "any"},
    ]
    for seed in range(1, 6):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with virtual_bank(folder, modems=8, seed=seed, timeline=tables) as bank:
            bank.wait(15)
            assert len(_lost(bank)) == 1, f"seed {seed}"
            bank.wait(60)
            assert _lost(bank) == [], f"seed {seed}"


def test_signal_that_one_modem_had_is_taken_back_there(tmp_path: Path) -> None:
    table = {"at": 10, "do": "set_signal", "modem": "any", "signal": -1, "lasts": 10}
    with virtual_bank(tmp_path, modems=8, timeline=[table]) as bank:
        bank.wait(15)
        assert len(_lost(bank)) == 1
        bank.wait(60)
        assert _lost(bank) == []


def test_coverage_lost_everywhere_comes_back_everywhere(tmp_path: Path) -> None:
    table = {"at": 10, "do": "lose_coverage", "lasts": 10}
    with virtual_bank(tmp_path, timeline=[table]) as bank:
        bank.wait(15)
        assert len(_lost(bank)) == 3
        bank.wait(60)
        assert _lost(bank) == []


@pytest.mark.parametrize("away", [False, True])
def test_cut_off_is_lifted_from_the_card_wherever_it_is(tmp_path: Path, away: bool) -> None:
    moved = {"do": "pull_card"} if away else {"do": "swap_cards", "other": 2}
    tables = [
        {"at": 10, "do": "cut_off", "modem": 1, "lasts": 20},
        {"at": 15, "modem": 1, **moved},
    ]
    with virtual_bank(tmp_path, timeline=tables) as bank:
        card = bank.bank.card("+8613800000001")
        bank.wait(20)
        assert bank.bank.network.account(card).bar is not None
        bank.wait(60)
        assert bank.bank.network.account(card).bar is None
        outcomes = [line["outcome"] for line in bank.ledger(kind="story")]
        assert outcomes == ["done"] * 3


def test_forced_registration_is_taken_back_from_the_card(tmp_path: Path) -> None:
    tables = [
        {"at": 10, "do": "set_registration", "modem": 1, "stat": 3, "lasts": 20},
        {"at": 15, "do": "swap_cards", "modem": 1, "other": 2},
    ]
    with virtual_bank(tmp_path, timeline=tables) as bank:
        bank.wait(25)
        assert _lost(bank) == ["modem02"]
        bank.wait(60)
        assert _lost(bank) == []


def test_verbs_about_cards_take_a_card_instead_of_a_modem(tmp_path: Path) -> None:
    with virtual_bank(tmp_path) as bank:
        bank.wait(5)
        card = bank.bank.card("+8613800000002")
        answer = bank.do("cut_off", card=card.iccid)
        assert answer == {"modem": "modem02", "iccid": card.iccid}
        bank.do("pull_card", modem=2)
        assert bank.do("lift", card="+8613800000002") == {"modem": None, "iccid": card.iccid}
        bank.do("set_balance", card=card.iccid, balance="3.5")
        assert str(bank.bank.network.account(card).balance) == "3.5"
        with pytest.raises(ScenarioError, match="card: either a card or a modem"):
            bank.do("lift", card=card.iccid, modem=1)
        with pytest.raises(ScenarioError, match="modem: is missing"):
            bank.do("lift")
        with pytest.raises(ScenarioError, match="unknown key 'card'"):
            bank.do("reboot", card=card.iccid)


@pytest.mark.parametrize("modem", [1, "1", [1], "modem01"])
def test_places_are_named_as_modems_are_everywhere(tmp_path: Path, modem: object) -> None:
    with virtual_bank(tmp_path) as bank:
        bank.wait(5)
        bank.do("set_signal", modem=modem, signal=-1)
        bank.wait(5)
        assert _lost(bank) == ["modem01"]
        bank.do("set_signal", modems=modem)
        bank.do("lose_coverage", modems="2-3")
        bank.wait(5)
        assert _lost(bank) == ["modem02", "modem03"]


@pytest.mark.parametrize("other", [2, "2", "modem02"])
def test_cards_are_swapped_with_a_modem_by_name_or_number(tmp_path: Path, other: object) -> None:
    with virtual_bank(tmp_path) as bank:
        cards = [modem.card for modem in bank.bank.modems]
        bank.do("swap_cards", modem=1, other=other)
        assert [modem.card for modem in bank.bank.modems] == [cards[1], cards[0], cards[2]]


@pytest.mark.parametrize("other", ["1-2", True, ""])
def test_cards_are_swapped_with_one_modem_only(tmp_path: Path, other: object) -> None:
    with virtual_bank(tmp_path) as bank, pytest.raises(ScenarioError, match=r"other: .*one modem"):
        bank.do("swap_cards", modem=3, other=other)


def test_place_that_there_is_not_is_told_before_the_story_begins(tmp_path: Path) -> None:
    table = {"do": "lose_coverage", "modem": "modem99"}
    with (
        pytest.raises(ScenarioError, match=r"timeline\[1\]\.modem: no modem"),
        virtual_bank(tmp_path, timeline=[table]),
    ):
        pass


def _chosen(folder: Path, *, others: bool) -> list[object]:
    """The modems that a story's entry rebooted; others may draw meanwhile."""
    folder.mkdir()
    told = [{"at": 10, "every": 10, "times": 8, "do": "reboot", "modem": "any"}]
    if others:
        told.append({"at": 5, "every": 7, "times": 9, "do": "hang_up", "modem": "any"})
    with virtual_bank(folder, modems=16, timeline=told) as bank:
        for _ in range(10):
            bank.wait(10)
            if others:
                bank.do("hang_up", modem="any")
        return [line["modem"] for line in bank.ledger(kind="power", event="reboot")]


def test_any_of_an_entry_does_not_hang_on_what_others_draw(tmp_path: Path) -> None:
    alone = _chosen(tmp_path / "alone", others=False)
    assert len(set(alone)) > 2
    assert _chosen(tmp_path / "beside", others=True) == alone


def test_any_of_a_connection_does_not_hang_on_its_other_verbs(tmp_path: Path) -> None:
    def chosen(folder: Path, *, others: bool) -> list[object]:
        folder.mkdir()
        with virtual_bank(folder, modems=16) as bank:
            draws = bank.controller.draws("control/1")
            found: list[object] = []
            for _ in range(8):
                found.append(bank.controller.act("hang_up", {"modem": "any"}, draws)["modem"])
                if others:
                    bank.controller.act("reboot", {"modem": "any"}, draws)
                    other = bank.controller.draws("control/2")
                    bank.controller.act("hang_up", {"modem": "any"}, other)
            return found

    alone = chosen(tmp_path / "alone", others=False)
    assert len(set(alone)) > 2
    assert chosen(tmp_path / "beside", others=True) == alone
