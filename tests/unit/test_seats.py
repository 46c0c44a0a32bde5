"""When a bay's next actor starts: at once after a pulled plug, later where it is of no use."""

from modemctl.fleet.seats import Patience


def rests(n: int, *, life: float = 1.0, has_crashed: bool = False, has_port: bool = False):
    patience = Patience()
    return [patience.after(life, has_crashed=has_crashed, has_port=has_port) for _ in range(n)]


def test_a_port_that_returns_is_taken_at_once_and_a_loose_contact_waits():
    assert rests(9) == [0, 0, 4, 8, 16, 32, 60, 60, 60]


def test_a_modem_that_is_pulled_now_and_then_never_waits():
    assert rests(9, life=60.0) == [0] * 9


def test_a_held_port_is_asked_ever_more_rarely():
    assert rests(8, has_port=True) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_an_actor_that_fails_again_and_again_rests_up_to_five_minutes():
    assert rests(11, has_crashed=True, has_port=True)[-3:] == [256, 300, 300]


def test_a_long_life_is_forgiven():
    patience = Patience()
    for _ in range(6):
        patience.after(1.0, has_crashed=True, has_port=True)
    assert patience.after(3_600.0, has_crashed=True, has_port=True) == 1.0
