"""Coverage and signals that are changed for one, for some, for all: the last word counts."""

import pytest

from simulator.network.carriers import Carrier, Coverage

_A = Carrier(name="A", numeric="46000", signal=20)
_B = Carrier(name="B", numeric="46001", signal=12)


@pytest.fixture
def coverage() -> Coverage:
    return Coverage((_A, _B))


def test_signal_for_all_holds_where_one_had_another(coverage: Coverage) -> None:
    coverage.set_signal("A", "modem01", 5)
    coverage.set_signal("", "", 9)
    assert [coverage.signal(_A, name) for name in ("modem01", "modem02")] == [9, 9]


def test_configured_signal_for_all_takes_every_change_back(coverage: Coverage) -> None:
    coverage.set_signal("", "modem01", -1)
    coverage.set_signal("B", "", 3)
    coverage.set_signal("", "", None)
    assert [coverage.signal(one, "modem01") for one in (_A, _B)] == [20, 12]


def test_configured_signal_at_one_modem_leaves_the_others_changed(coverage: Coverage) -> None:
    coverage.set_signal("", "", 3)
    coverage.set_signal("", "modem01", None)
    assert [coverage.signal(_A, name) for name in ("modem01", "modem02")] == [20, 3]


def test_signal_of_a_carrier_everywhere_comes_after_that_of_a_modem(coverage: Coverage) -> None:
    coverage.set_signal("", "modem01", 3)
    coverage.set_signal("A", "", 7)
    assert [coverage.signal(one, "modem01") for one in (_A, _B)] == [7, 3]


def test_one_modem_is_restored_where_all_is_lost(coverage: Coverage) -> None:
    coverage.lose("", "")
    coverage.restore("", "modem01")
    assert [coverage.signal(_A, name) for name in ("modem01", "modem02")] == [20, -1]
    coverage.restore("", "")
    assert coverage.signal(_A, "modem02") == 20
    coverage.lose("", "")
    assert coverage.signal(_A, "modem01") == -1


def test_one_carrier_is_restored_where_all_is_lost(coverage: Coverage) -> None:
    coverage.lose("", "modem01")
    coverage.restore("A", "")
    assert [coverage.signal(one, "modem01") for one in (_A, _B)] == [20, -1]


def test_what_is_restored_without_being_lost_stays_in_reach(coverage: Coverage) -> None:
    coverage.restore("A", "modem01")
    coverage.lose("A", "")
    assert coverage.signal(_A, "modem01") == -1
