"""The state tables: what they allow, and that the documents print them."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemctl import lifecycle
from modemctl.lifecycle import (
    BATCH,
    CARD,
    MODEM,
    SEGMENT,
    BatchState,
    CardState,
    IllegalTransition,
    MessageState,
    ModemEvent,
    ModemState,
    SegmentState,
    advance,
    message_state,
)

S = SegmentState


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ({S.QUEUED}, MessageState.QUEUED),
        ({S.QUEUED, S.SENT}, MessageState.SENDING),
        ({S.LEASED}, MessageState.SENDING),
        ({S.SUBMITTING, S.DELIVERED}, MessageState.SENDING),
        ({S.SENT, S.DELIVERED}, MessageState.SENT),
        ({S.DELIVERED}, MessageState.DELIVERED),
        ({S.IN_DOUBT, S.DELIVERED}, MessageState.IN_DOUBT),
        ({S.IN_DOUBT, S.REFUSED}, MessageState.IN_DOUBT),
        ({S.REFUSED}, MessageState.FAILED),
        ({S.UNDELIVERED}, MessageState.FAILED),
        ({S.ABANDONED}, MessageState.FAILED),
        ({S.SENT, S.REFUSED}, MessageState.FAILED_PARTLY_SENT),
        ({S.DELIVERED, S.UNDELIVERED}, MessageState.FAILED_PARTLY_SENT),
        ({S.DELIVERED, S.EXPIRED}, MessageState.FAILED_PARTLY_SENT),
        ({S.SENT, S.CANCELLED}, MessageState.FAILED_PARTLY_SENT),
        ({S.EXPIRED}, MessageState.EXPIRED),
        ({S.CANCELLED}, MessageState.CANCELLED),
        ({S.CANCELLED, S.EXPIRED}, MessageState.EXPIRED),
    ],
)
def test_a_messages_state_follows_from_its_segments(segments, message):
    assert message_state(segments) is message


def test_a_message_without_segments_is_our_own_error():
    with pytest.raises(ValueError, match="at least one"):
        message_state([])


@given(st.lists(st.sampled_from(list(SegmentState)), min_size=1, max_size=4))
def test_every_mix_of_segments_has_a_message_state(states):
    assert message_state(states) in MessageState
    assert message_state(states) is message_state(reversed(states))


@given(st.lists(st.sampled_from(list(ModemEvent)), max_size=40))
def test_any_walk_of_events_keeps_to_the_table(events):
    state = ModemState.ABSENT
    for event in events:
        if (state, event) in MODEM:
            state = advance(state, event)
        else:
            with pytest.raises(IllegalTransition):
                advance(state, event)
    assert state in ModemState


def test_every_modem_state_can_be_left_and_reached():
    assert {before for before, _ in MODEM} == set(ModemState)
    assert set(MODEM.values()) == set(ModemState)


def test_pulling_the_plug_ends_in_absent_from_everywhere():
    for state in ModemState:
        if state is not ModemState.ABSENT:
            assert advance(state, ModemEvent.PORT_GONE) is ModemState.ABSENT


def test_nothing_leads_back_into_the_queue_but_a_proof_or_a_person():
    assert lifecycle.sources(SEGMENT, S.QUEUED) == {S.LEASED, S.SUBMITTING, S.IN_DOUBT}
    assert lifecycle.sources(SEGMENT, S.SUBMITTING) == {S.LEASED}
    assert lifecycle.sources(SEGMENT, S.SENT) == {S.SUBMITTING, S.IN_DOUBT}


@pytest.mark.parametrize(
    ("require", "table"),
    [
        (lifecycle.require_segment, SEGMENT),
        (lifecycle.require_batch, BATCH),
        (lifecycle.require_card, CARD),
    ],
)
def test_require_says_exactly_what_the_table_says(require, table):
    for before in table:
        for after in table:
            if after in table[before]:
                require(before, after)
            else:
                with pytest.raises(IllegalTransition):
                    require(before, after)


def test_final_states_have_no_way_out():
    assert {state for state, to in BATCH.items() if not to} == {
        BatchState.DONE, BatchState.REJECTED, BatchState.WITHDRAWN, BatchState.CANCELLED,
        BatchState.EXPIRED,
    }  # fmt: skip
    assert {state for state, to in CARD.items() if not to} == {CardState.CANCELLED}


def test_the_documents_diagrams_are_the_tables():
    text = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    blocks = [block.strip() for block in re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)]
    for expected in (
        lifecycle.modem_diagram(),
        lifecycle.diagram(SEGMENT),
        lifecycle.diagram(BATCH),
        lifecycle.diagram(CARD),
    ):
        assert expected in blocks
