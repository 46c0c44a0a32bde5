"""What a modem says by itself: nothing that matters is pushed out, nothing old answers anew."""

from drivers.interface import (
    LateSubmitResult,
    LinkLost,
    Rebooted,
    Registration,
    RegistrationChanged,
    SignalChanged,
    SimChanged,
    SimState,
)
from modemctl.fleet.mailbox import Asked, LateAnswer, Mailbox
from modemctl.lifecycle import ModemEvent
from modemctl.model import SegmentId

A = Asked(segment_id=SegmentId(1), token="a")
B = Asked(segment_id=SegmentId(2), token="b")


class Heard:
    """A mailbox and how often it was told something that is nobody's."""

    def __init__(self) -> None:
        self.n_unknown = 0
        self.n_wakes = 0
        self.box = Mailbox(on_unknown=self._unknown, on_wake=self._wake)

    def _unknown(self) -> None:
        self.n_unknown += 1

    def _wake(self) -> None:
        self.n_wakes += 1

    def controls(self) -> list[ModemEvent]:
        found = []
        while (control := self.box.next_control()) is not None:
            found.append(control.event)
        return found


def registration(stat: int) -> RegistrationChanged:
    return RegistrationChanged(registration=Registration(stat=stat))


def test_any_number_of_registrations_leaves_other_controls_in_place():
    heard = Heard()
    heard.box.put(SimChanged(state=SimState.ABSENT))
    heard.box.put(Rebooted(evidence="RDY"))
    heard.box.put(LinkLost(reason="unplugged"))
    for i in range(500):
        heard.box.put(registration(i % 6))
    assert heard.controls() == [
        ModemEvent.SIM_REMOVED, ModemEvent.REBOOTED, ModemEvent.LINK_ERROR, ModemEvent.REGISTERED
    ]  # fmt: skip


def test_of_registrations_only_the_last_counts():
    heard = Heard()
    for stat in (1, 0, 1, 2):
        heard.box.put(registration(stat))
    control = heard.box.next_control()
    assert control is not None
    assert (control.event, control.reason) == (
        ModemEvent.REGISTRATION_LOST,
        "not registered, the modem searches",
    )
    assert heard.box.next_control() is None


def test_a_card_that_came_back_is_told_after_its_removal():
    heard = Heard()
    for state in (SimState.READY, SimState.ABSENT, SimState.READY):
        heard.box.put(SimChanged(state=state))
    assert heard.controls() == [ModemEvent.SIM_REMOVED, ModemEvent.SIM_READY]


def test_a_reference_that_nobody_waits_for_is_counted_and_dropped():
    heard = Heard()
    heard.box.put(LateSubmitResult(mr=41))
    heard.box.expect(A)
    heard.box.settle(42)
    heard.box.put(LateSubmitResult(mr=43))
    assert heard.box.late is None
    assert heard.n_unknown == 2


def test_a_reference_heard_before_a_submit_never_answers_it():
    heard = Heard()
    heard.box.expect(A)
    heard.box.put(LateSubmitResult(mr=41))
    heard.box.expect(B)
    assert heard.box.late is None
    heard.box.put(LateSubmitResult(mr=42))
    assert heard.box.late == LateAnswer(asked=B, mr=42)


def test_the_doubled_reference_of_the_segment_before_is_no_answer():
    heard = Heard()
    heard.box.expect(A)
    heard.box.settle(41)
    heard.box.expect(B)
    heard.box.put(LateSubmitResult(mr=41))
    assert heard.box.late is None
    heard.box.put(LateSubmitResult(mr=42))
    assert heard.box.late == LateAnswer(asked=B, mr=42)


def test_a_signal_that_the_modem_told_by_itself_is_taken_once():
    heard = Heard()
    assert heard.box.take_signal() is None
    heard.box.put(SignalChanged(rssi_dbm=-90))
    heard.box.put(SignalChanged(rssi_dbm=-71))
    assert [heard.box.take_signal(), heard.box.take_signal()] == [-71, None]
