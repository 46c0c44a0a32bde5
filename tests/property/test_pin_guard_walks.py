"""Random walks: whatever happens, no card is locked and no failed PIN is tried again.

The guard's real statements run on a database in memory; the cards are a model of what a SIM does.
"""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, func, select

from modemctl.lifecycle import CardState
from modemctl.model import Iccid
from modemctl.policy.pin_guard import AttemptOutcome, PinCommand
from modemctl.store import Tx, pin_changes, pin_tries, pins, sims
from modemctl.store.tables import metadata, pin_attempt, pin_change, pin_import, sim
from modemctl.vault import Vault
from tests.support.stores import MASTER_KEY

N_EXAMPLES = 2000 if os.environ.get("MODEMCTL_LONG") else 120
VAULT = Vault(MASTER_KEY)
ENGINE = create_engine("sqlite://")
metadata.create_all(ENGINE)
START = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)


@dataclass
class ModelCard:
    """What the plastic does: wrong takes one try, right gives three back."""

    pin: str
    counter: int = 3
    lowest: int = 3
    n_wrong: int = 0
    tried: list[tuple[str, bool]] = field(default_factory=list)

    def verify(self, pin: str) -> AttemptOutcome:
        self.tried.append((pin, pin == self.pin))
        if self.counter == 0:
            return AttemptOutcome.BLOCKED
        if pin == self.pin:
            self.counter = 3
            return AttemptOutcome.RIGHT
        self.counter -= 1
        self.n_wrong += 1
        self.lowest = min(self.lowest, self.counter)
        return AttemptOutcome.BLOCKED if self.counter == 0 else AttemptOutcome.WRONG


class World:
    """Cards, the guard's tables and the time."""

    def __init__(self, conn: Connection, cards: dict[Iccid, ModelCard]) -> None:
        self.conn = conn
        self.cards = cards
        self.now = START

    def tx(self) -> Tx:
        return Tx(self.conn, now=self.now, steady=self.now, vault=VAULT, node_id="n1")

    def register(self, vault_pins: dict[Iccid, str]) -> None:
        for table in (pin_attempt, pin_change, pin_import, sim):
            self.conn.execute(table.delete())
        new = [
            sims.NewCard(iccid=iccid, state=CardState.ISSUED, verified_at=START, verified_by="x")
            for iccid in vault_pins
        ]
        sims.add(self.tx(), new)
        pins.add_import(self.tx(), "import", vault_pins)

    def turn(
        self, iccid: Iccid, seen: int | None, reached: bool, answered: str
    ) -> pin_tries.Answer:
        request = pin_tries.TryRequest(iccid=iccid, bay="1", command=PinCommand.CPIN, counter=seen)
        (answer,) = pin_tries.claim(self.tx(), [request])
        if not isinstance(answer, pin_tries.ClearedTry):
            return answer
        outcome = AttemptOutcome.UNKNOWN
        if reached:
            real = self.cards[iccid].verify(answer.pin)
            outcome = real if answered == "answer" else AttemptOutcome.UNKNOWN
        if answered != "crash":
            result = pin_tries.AttemptResult(attempt_id=answer.attempt_id, outcome=outcome)
            pin_tries.record(self.tx(), [result])
        return answer

    def restart(self) -> None:
        pins.close_open_tries(self.tx())


ICCIDS = [Iccid(f"8986{i:016d}") for i in range(6)]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["turn", "turn", "turn", "restart", "later", "person", "spoil", "resume"]),
        st.integers(0, len(ICCIDS) - 1),
        st.sampled_from(["true", "true", "true", "none"]),
        st.booleans(),
        st.sampled_from(["answer", "answer", "lost", "crash"]),
    ),
    min_size=15,
    max_size=60,
)


def walk(world: World, steps: list[tuple[str, int, str, bool, str]], people: bool) -> None:
    for step, index, counter, reached, answered in steps:
        iccid = ICCIDS[index % len(world.cards)]
        card = world.cards[iccid]
        seen = card.counter if counter == "true" else None
        if step == "turn":
            answer = world.turn(iccid, seen, reached, answered)
            if isinstance(answer, pin_tries.ClearedTry):
                assert seen is not None
                assert seen >= 2
        elif step == "restart":
            world.restart()
        elif step == "later":
            world.now += timedelta(seconds=200)
        elif step == "person" and people:
            card.verify(card.pin)  # somebody types it into a phone
            card.tried.pop()
        elif step == "spoil" and people:
            card.counter = max(card.counter - 1, 1)  # somebody guesses elsewhere
        elif step == "resume" and people:
            open_tries = world.conn.scalar(
                select(func.count(pin_attempt.c.attempt_id)).where(
                    pin_attempt.c.outcome == AttemptOutcome.UNKNOWN.value,
                    pin_attempt.c.import_id == "import",
                )
            )
            if open_tries:
                pins.resume_import(world.tx(), "import")


@settings(max_examples=N_EXAMPLES)
@given(
    steps=STEPS,
    right=st.lists(st.booleans(), min_size=6, max_size=6),
    left=st.lists(st.integers(1, 3), min_size=6, max_size=6),
)
def test_no_card_comes_below_one_try_and_no_answered_failure_repeats(steps, right, left):
    """Cards arrive with some tries burnt by others."""
    cards = {iccid: ModelCard(pin="1234", counter=n) for iccid, n in zip(ICCIDS, left, strict=True)}
    with ENGINE.connect() as conn:
        world = World(conn, cards)
        world.register({i: "1234" if ok else "9999" for i, ok in zip(ICCIDS, right, strict=True)})
        walk(world, steps, people=True)
        wrong_answers = {
            (row.iccid, row.fingerprint): row.n
            for row in conn.execute(
                select(
                    pin_attempt.c.iccid,
                    pin_attempt.c.fingerprint,
                    func.count(pin_attempt.c.attempt_id).label("n"),
                )
                .where(pin_attempt.c.outcome.in_(["wrong", "blocked"]))
                .group_by(pin_attempt.c.iccid, pin_attempt.c.fingerprint)
            )
        }
    assert all(n == 1 for n in wrong_answers.values())
    for card in cards.values():
        assert card.lowest >= 1


@settings(max_examples=N_EXAMPLES)
@given(steps=STEPS)
def test_an_import_whose_pins_are_all_wrong_burns_one_try_in_total(steps):
    cards = {iccid: ModelCard(pin="1234") for iccid in ICCIDS}
    with ENGINE.connect() as conn:
        world = World(conn, cards)
        world.register(dict.fromkeys(ICCIDS, "9999"))
        walk(world, steps, people=False)
    assert sum(card.n_wrong for card in cards.values()) <= 1
    assert min(card.lowest for card in cards.values()) >= 2


@settings(max_examples=N_EXAMPLES)
@given(steps=STEPS)
def test_a_counter_that_always_shows_three_cannot_lock_a_card(steps):
    cards = {ICCIDS[0]: ModelCard(pin="1234")}
    with ENGINE.connect() as conn:
        world = World(conn, cards)
        world.register({ICCIDS[0]: "9999"})
        for step, _, _, reached, answered in steps:
            if step == "turn":
                world.turn(ICCIDS[0], 3, reached, answered)
            elif step == "restart":
                world.restart()
            elif step == "later":
                world.now += timedelta(seconds=200)
    assert cards[ICCIDS[0]].lowest >= 1


@settings(max_examples=N_EXAMPLES)
@given(order=st.permutations(range(6)), broken=st.integers(0, 6))
def test_the_width_of_an_import_is_never_exceeded(order, broken):
    """All cards ask at once, again and again; one of them may have a wrong PIN."""
    cards = {iccid: ModelCard(pin="1234") for iccid in ICCIDS}
    allowed = [1, 2, 2, 4, 4, 4, 4, 8]
    with ENGINE.connect() as conn:
        world = World(conn, cards)
        vault_pins = dict.fromkeys(ICCIDS, "1234")
        if broken < 6:
            vault_pins[ICCIDS[broken]] = "9999"
        world.register(vault_pins)
        n_right = n_wrong = 0
        waiting = [ICCIDS[i] for i in order]
        while waiting:
            asked = [
                pin_tries.TryRequest(
                    iccid=iccid, bay="1", command=PinCommand.CPIN, counter=cards[iccid].counter
                )
                for iccid in waiting
            ]
            answers = pin_tries.claim(world.tx(), asked)
            out = [
                (iccid, answer)
                for iccid, answer in zip(waiting, answers, strict=True)
                if isinstance(answer, pin_tries.ClearedTry)
            ]
            if not out:
                break
            assert len(out) <= allowed[n_right]
            for iccid, answer in out:
                outcome = cards[iccid].verify(answer.pin)
                n_right += outcome is AttemptOutcome.RIGHT
                n_wrong += outcome is AttemptOutcome.WRONG
                done = pin_tries.AttemptResult(attempt_id=answer.attempt_id, outcome=outcome)
                pin_tries.record(world.tx(), [done])
                waiting.remove(iccid)
    assert n_wrong <= 1
    if broken == order[0]:
        assert n_right == 0
    else:
        assert n_right == (6 if broken == 6 else 5)


class ChangingWorld(World):
    """One proved card whose PIN is changed again and again, with falls at any point."""

    def __init__(self, conn: Connection, card: ModelCard) -> None:
        super().__init__(conn, {ICCIDS[0]: card})
        self.card = card
        self.is_open = True
        self.n_made = 0
        self.register({ICCIDS[0]: card.pin})
        self.turn(ICCIDS[0], 3, True, "answer")

    def change(self, reached: bool, answered: str) -> None:
        """`+CPWD`, where the guard lets it leave."""
        self.n_made += 1
        new_pin = f"{90417365 + self.n_made}"
        request = pin_tries.TryRequest(
            iccid=ICCIDS[0], bay="1", command=PinCommand.CPWD, counter=self.card.counter,
            new_pin=new_pin,
        )  # fmt: skip
        (answer,) = pin_tries.claim(self.tx(), [request])
        if not isinstance(answer, pin_tries.ClearedTry):
            return
        outcome = AttemptOutcome.UNKNOWN
        if reached:
            real = self.card.verify(answer.pin)
            if real is AttemptOutcome.RIGHT:
                self.card.pin = new_pin
            outcome = real if answered == "answer" else outcome
        if answered != "crash":
            result = pin_tries.AttemptResult(attempt_id=answer.attempt_id, outcome=outcome)
            pin_tries.record(self.tx(), [result])

    def power_up(self, reached: bool, answered: str) -> None:
        """The card asks for its PIN; the guard tries what it has, until it is open or stops."""
        self.is_open = False
        self.restart()
        for _ in range(4):
            n_right = sum(ok for _, ok in self.card.tried)
            answer = self.turn(ICCIDS[0], self.card.counter, reached, answered)
            self.is_open = sum(ok for _, ok in self.card.tried) > n_right
            if self.is_open or not isinstance(answer, pin_tries.ClearedTry) or not reached:
                break

    def held(self) -> set[str]:
        """What the vault has: the PIN and the pending one."""
        row = self.conn.execute(select(sim)).one()
        places = {row.pin_enc: pins.pin_place, row.pin_pending_enc: pins.pending_place}
        return {
            VAULT.decrypt_text(sealed, place=place(row.iccid))
            for sealed, place in places.items()
            if sealed is not None
        }


@settings(max_examples=N_EXAMPLES)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(
                ["change", "change", "power", "power", "restart", "later", "spoil", "old list"]
            ),
            st.booleans(),
            st.sampled_from(["answer", "answer", "lost", "crash"]),
        ),
        min_size=5,
        max_size=40,
    )
)
def test_however_changes_fall_no_pin_is_unknown_and_no_card_is_locked(steps):
    with ENGINE.connect() as conn:
        world = ChangingWorld(conn, ModelCard(pin="1234"))
        is_spoilt = False
        for n, (step, reached, answered) in enumerate(steps):
            if step == "change" and world.is_open:
                world.change(reached, answered)
            elif step == "power":
                world.power_up(reached, answered)
            elif step == "restart":
                world.restart()
            elif step == "later":
                world.now += timedelta(seconds=200)
            elif step == "spoil" and world.card.counter == 3:
                world.card.counter = 2  # somebody guesses elsewhere
                is_spoilt = True
            elif step == "old list" and not pin_changes.kept_by_vault(conn, ICCIDS):
                fresh = pins.changed(world.tx(), {ICCIDS[0]: "1234"})
                if fresh:
                    pins.add_import(world.tx(), f"import-{n}", fresh)
            assert world.card.pin in world.held()
            # A guess elsewhere and a lost answer make a right PIN look wrong: one try more is ours.
            assert world.card.lowest >= (1 if is_spoilt else 2)


def test_the_model_would_be_locked_without_the_guard():
    """The walks can fail: three wrong tries lock the model card."""
    card = ModelCard(pin="1234")
    for _ in range(3):
        card.verify("9999")
    assert card.lowest == 0
