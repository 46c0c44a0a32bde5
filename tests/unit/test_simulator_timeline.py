"""The timeline: when entries happen, on which modems, what takes them back."""

from pathlib import Path

import pytest

from simulator.reading import ScenarioError
from simulator.story import timeline
from simulator.story.timeline import Entry
from tests.support.virtual_bank import virtual_bank


def entry(**table: object) -> Entry:
    return timeline.entries([table], do="", at=("timeline",))[0]


def story(**table: object) -> dict[str, object]:
    return {"timeline": [table]}


def test_entry_happens_once_at_its_time(tmp_path: Path) -> None:
    with virtual_bank(tmp_path, **story(at="1m30s", do="reboot", modem=2)) as bank:
        bank.wait(89.9)
        assert bank.ledger(kind="story") == []
        bank.wait(1000)
        assert bank.times(kind="power", event="reboot") == [90.0]
        (line,) = bank.ledger(kind="story")
        assert (line["do"], line["modem"], line["outcome"]) == ("reboot", "2", "done")


def test_entry_repeats_without_drift_so_many_times(tmp_path: Path) -> None:
    table = story(at=10, every=0.1, times=50, do="hang_up", modem="all")
    with virtual_bank(tmp_path, **table) as bank:
        bank.wait(100)
        times = bank.times(kind="story")
        assert len(times) == 50
        assert times == pytest.approx([10 + 0.1 * n for n in range(50)], abs=0.001)


def test_entry_without_end_goes_on_and_jitters_forward_only(tmp_path: Path) -> None:
    table = story(every=60, jitter=30, do="hang_up", modem=1)
    with virtual_bank(tmp_path, **table) as bank:
        bank.wait(3600)
        times = bank.times(kind="story")
        late = [time - 60 * n for n, time in enumerate(times)]
        assert len(times) in {60, 61}
        assert all(0 <= one < 30 for one in late)
        assert len({round(one, 3) for one in late}) > 50


def test_any_modem_is_drawn_anew_each_time(tmp_path: Path) -> None:
    with virtual_bank(tmp_path, modems=8, **story(every=60, do="reboot", modem="any")) as bank:
        bank.wait(60 * 60)
        struck = {line["modem"] for line in bank.ledger(kind="power", event="reboot")}
        assert len(struck) == 8


def test_fault_that_lasts_strikes_until_it_is_cleared(tmp_path: Path) -> None:
    table = story(at=10, lasts=20, do="set_fault", modems=[1, 2], fault="silence")
    with virtual_bank(tmp_path, **table) as bank:
        for seconds, has_it in ((9, False), (2, True), (18, True), (2, False)):
            bank.wait(seconds)
            said = [bank.do("type", modem=modem, text="AT")["answer"] for modem in (1, 2, 3)]
            assert [not one for one in said] == [has_it, has_it, False]


def test_what_lasts_is_taken_back(tmp_path: Path) -> None:
    tables = [
        {"at": 10, "lasts": 10, "do": "unplug", "modem": 1},
        {"at": 10, "lasts": 10, "do": "pull_card", "modem": 2},
        {"at": 10, "lasts": 10, "do": "set_latency", "seconds": 7},
        {"at": 10, "lasts": 10, "do": "set_registration", "modem": 3, "stat": 3},
        {"at": 10, "lasts": 10, "do": "set_network_error", "rule": {"cms": 42}},
        {"at": 10, "lasts": 10, "do": "cut_off", "modem": 3},
        {"at": 10, "lasts": 10, "do": "set_signal", "modem": "modem01", "signal": 3},
    ]
    with virtual_bank(tmp_path, timeline=tables) as bank:
        network = bank.bank.network
        cards = [modem.card for modem in bank.bank.modems]
        bank.wait(5)
        before = bank.do("state")
        bank.wait(10)
        during = bank.bank.modems
        assert not bank.bank.state("modem01")["is_plugged"]
        assert during[1].card is None
        assert during[2].registration == 3
        assert network.times.latency == 7
        assert len(network.rules) == 1
        third = cards[2]
        assert third is not None
        assert network.account(third).bar is not None
        assert network.signal("modem01", None) == 3
        bank.wait(10)
        bank.wait(100)
        assert [modem.card for modem in bank.bank.modems] == cards
        assert network.times.latency == 0.5
        assert network.rules == []
        assert network.account(third).bar is None
        assert network.signal("modem01", None) == 20
        after = bank.do("state")
        assert [one["registration"] for one in _list(after)] == [1, 1, 1]
        assert [one["is_plugged"] for one in _list(after)] == [True] * 3
        assert len(_list(before)) == 3


def test_traffic_that_lasts_ends(tmp_path: Path) -> None:
    table = story(at=10, lasts=60, do="traffic", source="strangers", per_minute=60)
    with virtual_bank(tmp_path, **table) as bank:
        bank.wait(1000)
        times = bank.times(kind="deliver")
        assert 30 < len(times) < 120
        assert times[0] >= 10
        assert times[-1] <= 70


def _list(answer: dict[str, object]) -> list[dict[str, object]]:
    found = answer["modems"]
    assert isinstance(found, list)
    return found


def test_card_that_was_not_there_does_not_come_back(tmp_path: Path) -> None:
    table = story(at=1, lasts=1, do="pull_card", modem=1)
    with virtual_bank(tmp_path, bays=[{"bay": 1, "card": "none"}], **table) as bank:
        bank.wait(10)
        assert [line["outcome"] for line in bank.ledger(kind="story")] == ["done"]


def test_what_cannot_be_done_is_told_and_the_story_goes_on(tmp_path: Path) -> None:
    tables = [
        {"at": 1, "do": "pull_card", "modem": 1},
        {"at": 2, "do": "cut_off", "modem": 1},
        {"at": 3, "do": "reboot", "modem": 1},
    ]
    with virtual_bank(tmp_path, timeline=tables) as bank:
        bank.wait(10)
        outcomes = [line["outcome"] for line in bank.ledger(kind="story")]
        assert outcomes == ["done", "refused: modem01 has no card", "done"]


def test_faults_and_traffic_are_entries_without_a_verb(tmp_path: Path) -> None:
    faults = [{"modems": "all", "fault": "cms_error", "rate": 0.5}]
    traffic = [{"source": "senders", "per_minute": 60}]
    with virtual_bank(tmp_path, faults=faults, traffic=traffic, modems=2) as bank:
        bank.wait(600)
        struck = len(bank.ledger(kind="fault", fault="cms_error"))
        taken = len(bank.ledger(kind="submit"))
        assert struck > 100
        assert 0.3 < struck / (struck + taken) < 0.7


def test_ended_story_does_nothing_more(tmp_path: Path) -> None:
    with virtual_bank(tmp_path, **story(every=1, do="hang_up", modem=1)) as bank:
        bank.wait(2.5)
        bank.controller.end()
        bank.wait(10)
        assert bank.times(kind="story") == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"at": 1}, r"timeline\[1\]\.do: is missing: one of add_call_rule"),
        ({"do": "set_fualt"}, "did you mean set_fault"),
        ({"do": "state"}, "unknown verb 'state'"),
        ({"do": "reboot"}, r"timeline\[1\]\.modem: is missing"),
        ({"do": "reboot", "modem": True}, "a modem is needed"),
        ({"do": "reboot", "modem": 1, "at": "soon"}, 'at: "soon": .*"1h30m"'),
        ({"do": "reboot", "modem": 1, "at": -1}, "at: -1: not below 0"),
        ({"do": "reboot", "modem": 1, "every": 0}, "every: 0: not below 0.001"),
        ({"do": "reboot", "modem": 1, "times": 0}, "times: 0: not below 1"),
        ({"do": "reboot", "modem": 1, "lasts": 5}, "reboot cannot be taken back"),
        ({"do": "reboot", "modem": 1, "evry": 5}, "unknown key 'evry'; did you mean every"),
        ({"do": "set_fault", "modem": 1, "fault": "silense"}, "did you mean silence"),
        ({"do": "set_fault", "modem": 1, "kind": "silence"}, "unknown key 'kind'"),
        ({"do": "traffic", "source": "x", "per_minute": 1}, "source: .*strangers"),
    ],
)
def test_wrong_entry_is_told_with_its_key(table: dict[str, object], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        entry(**table)


def test_entry_must_be_a_table_in_a_list() -> None:
    with pytest.raises(ScenarioError, match=r"a list of tables"):
        timeline.entries({"do": "reboot"}, do="", at=("timeline",))
    with pytest.raises(ScenarioError, match=r"timeline\[1\]: a table"):
        timeline.entries(["reboot"], do="", at=("timeline",))


def test_key_that_verb_and_timing_share_belongs_to_the_verb() -> None:
    found = entry(do="push_ussd", modem=1, text="x", at=3)
    assert found.timing.at == 3
    assert found.args == {"modem": 1, "text": "x"}
