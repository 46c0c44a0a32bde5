"""Under any order of acts: one card a bay, one bay a card, two persons a modem."""

import os
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from modemctl.config.settings import ListMode
from modemctl.model import AccountId, Bay, Iccid
from modemctl.policy.admission import AdmissionState, refusal
from modemctl.policy.cards import misplacement
from modemctl.store import admissions, ties
from modemctl.store.engine import create_engines
from modemctl.store.tables import admission, bay_tie, metadata
from modemctl.store.transaction import Tx
from modemctl.vault import Vault
from tests.support.stores import MASTER_KEY

EXAMPLES = 2_000 if os.environ.get("MODEMCTL_LONG") == "1" else 100
VAULT = Vault(MASTER_KEY)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
BAYS = [Bay(f"bay-{i}") for i in range(3)]
CARDS = [Iccid(f"898600000000000000{i}") for i in range(3)]
PERSONS = [AccountId(name) for name in ("anna", "bert", "chen")]
IMEI = "490154203237518"

TYING = st.lists(
    st.tuples(
        st.sampled_from(["learn", "enforce", "bind", "unbind"]),
        st.sampled_from(BAYS),
        st.sampled_from(CARDS),
    ),
    max_size=30,
)
ADMITTING = st.lists(
    st.tuples(st.sampled_from(["seen", "ask", "approve", "expel"]), st.sampled_from(PERSONS)),
    max_size=20,
)
MANY = settings(max_examples=EXAMPLES)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ties")
    writer, reader = create_engines(f"sqlite:///{folder / 't.db'}", n_readers=1)
    metadata.create_all(writer)
    yield writer
    writer.dispose()
    reader.dispose()


def open_tx(conn) -> Tx:
    return Tx(conn, now=NOW, steady=NOW, vault=VAULT, node_id="n1")


@MANY
@given(acts=TYING)
def test_a_bay_has_one_card_a_card_one_bay_and_a_persons_word_outlives_learning(engine, acts):
    expected: dict[Bay, tuple[Iccid, bool]] = {}
    with engine.begin() as conn:
        conn.execute(delete(bay_tie))
        tx = open_tx(conn)
        for verb, bay, card in acts:
            firm = [
                one for one, (held, is_firm) in expected.items()
                if is_firm and (one == bay or held == card) and (one, held) != (bay, card)
            ]  # fmt: skip
            is_here = expected.get(bay, (None, False))[0] == card
            if verb == "unbind":
                ties.unbind(tx, bay)
                expected.pop(bay, None)
                continue
            if verb == "bind":
                ties.bind(tx, bay, card, by="anna")
            elif verb == "learn":
                assert (ties.learn(tx, bay, card, ListMode.LEARN) is None) is (is_here or not firm)
            else:
                assert (ties.learn(tx, bay, card, ListMode.ENFORCE) is None) is is_here
            if verb == "bind" or (verb == "learn" and not is_here and not firm):
                expected = {one: tie for one, tie in expected.items() if tie[0] != card}
                expected[bay] = (card, verb == "bind")
        found = ties.read_many(conn, VAULT, bays=BAYS)
        assert {bay: (tie.iccid, tie.is_firm) for bay, tie in found.by_bay.items()} == expected
        assert all(tie.is_intact for tie in found.by_bay.values())
        for bay, (card, _) in expected.items():
            tie = found.by_bay[bay]
            for mode in ListMode:
                assert misplacement(mode, bay, card, of_bay=tie, of_card=tie) is None


@MANY
@given(acts=ADMITTING)
def test_whatever_persons_do_only_two_of_them_admit_and_one_expels(engine, acts):
    asked: AccountId | None = None
    is_in = is_out = False
    with engine.begin() as conn:
        conn.execute(delete(admission))
        tx = open_tx(conn)
        for verb, person in acts:
            known = admissions.read(conn, VAULT, IMEI)
            if verb == "seen":
                admissions.note_seen(tx, IMEI, BAYS[0], ListMode.ENFORCE)
            elif verb == "expel":
                admissions.expel(tx, IMEI, by=person, reason="x")
                asked, is_in, is_out = None, False, True
            elif verb == "ask":
                admissions.ask(tx, IMEI, by=person, reason="x")
                asked, is_in = (
                    person,
                    False,
                )  # an expelled one stays out until a second person says yes
            elif known is not None and known.state is AdmissionState.REQUESTED:
                if person == asked:
                    with pytest.raises(AssertionError):
                        admissions.approve(tx, known, by=person)
                else:
                    admissions.approve(tx, known, by=person)
                    is_in, is_out = True, False
            after = admissions.read(conn, VAULT, IMEI)
            assert after is None or after.is_intact
            assert (refusal(ListMode.ENFORCE, IMEI, after) is None) is is_in
            assert (refusal(ListMode.LEARN, IMEI, after) is None) is not is_out
