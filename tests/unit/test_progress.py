"""The progress clock: who makes no progress is sent on, who rests or waits for others is not."""

import asyncio

import pytest

from modemctl.fleet import progress
from modemctl.fleet.moves import Interrupted
from modemctl.fleet.progress import ENDS, LIMITS, Progress
from modemctl.lifecycle import MODEM, ModemEvent, ModemState
from tests.unit.test_actor import OneCard, bay, reach

QUICK = dict.fromkeys(LIMITS, 0.2)


class Stay:
    """A stay that waits for nothing that will ever come."""

    def __init__(self, *, excused: bool = False) -> None:
        self.answers: int | None = 0
        self.excused = excused
        self.was_cut = False
        self.hung_in: list[ModemState] = []
        self.stuck = asyncio.Event()
        self.n_cut = 0
        self.clock = Progress(
            n_answers=lambda: self.answers,
            is_excused=lambda: self.excused,
            on_hang=self.hung_in.append,
            on_stuck=self.stuck.set,
            submit_timeout=0.5,
        )

    async def hang(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.was_cut = True

    async def hang_at_each_step(self, n_steps: int) -> None:
        """Its clean-up hangs as well, and the clean-up of that."""
        try:
            await asyncio.Event().wait()
        finally:
            self.n_cut += 1
            if n_steps > 1:
                await self.hang_at_each_step(n_steps - 1)

    async def work(self, n_turns: int) -> str:
        for _ in range(n_turns):
            await asyncio.sleep(0.05)
            self.clock.mark()
        return "done"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(progress, "LIMITS", QUICK)
    monkeypatch.setattr(progress, "_EXCUSED_FOR", 0.05)
    monkeypatch.setattr(progress, "_CLEAN_UP", 0.05)


def test_each_state_but_absent_has_a_limit_and_a_legal_end():
    assert set(LIMITS) == set(ModemState) - {ModemState.ABSENT} == set(ENDS)
    assert all((state, event) in MODEM for state, event in ENDS.items())


def test_a_modem_that_is_not_admitted_is_never_let_in_by_the_watchdog():
    assert ENDS[ModemState.REFUSED] is not ModemEvent.ADMITTED


@pytest.mark.parametrize("state", [ModemState.PROBING, ModemState.CHECKING, ModemState.READY])
async def test_a_stay_in_which_nothing_moves_is_cut_off(quick, state):
    stay = Stay()
    with pytest.raises(Interrupted) as caught:
        await stay.clock.watch(state, stay.hang)
    assert caught.value.event is ENDS[state]
    assert stay.was_cut
    assert stay.hung_in == [state]


@pytest.mark.parametrize("n_steps", [2, 3])
async def test_a_stay_whose_clean_up_hangs_is_cut_again(quick, n_steps):
    stay = Stay()
    with pytest.raises(Interrupted) as caught:
        await stay.clock.watch(ModemState.READY, lambda: stay.hang_at_each_step(n_steps))
    assert caught.value.event is ModemEvent.WATCHDOG
    assert stay.n_cut == n_steps
    assert stay.hung_in == [ModemState.READY], "one hang, however often it was cut"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert not stay.stuck.is_set()


async def test_a_clean_up_that_waits_for_the_store_is_not_cut_off(quick):
    """It saves what became of a segment: cut off, nobody would know."""
    stay = Stay()

    async def save() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stay.excused = True
            await asyncio.sleep(0.4)
        return "saved"

    assert await stay.clock.watch(ModemState.READY, save) == "saved"
    assert not stay.stuck.is_set()


async def test_a_stay_that_nothing_ends_is_told_of(quick):
    stay = Stay()
    async with asyncio.TaskGroup() as group:
        walker = group.create_task(
            stay.clock.watch(ModemState.READY, lambda: stay.hang_at_each_step(99))
        )
        async with asyncio.timeout(60):
            await stay.stuck.wait()
        assert not walker.done()
        while not walker.done():
            walker.cancel()
            await asyncio.sleep(0)
    assert walker.cancelled(), "somebody else's cancellation is no hang"


async def test_the_end_of_the_daemon_is_no_hang(quick):
    stay = Stay()
    async with asyncio.TaskGroup() as group:
        walker = group.create_task(
            stay.clock.watch(ModemState.READY, lambda: stay.hang_at_each_step(2))
        )
        async with asyncio.timeout(60):
            while not stay.n_cut:
                await asyncio.sleep(0.01)
        walker.cancel()
        await asyncio.wait([walker])
    assert walker.cancelled()


async def test_a_stay_that_goes_on_is_left_alone(quick):
    stay = Stay()
    assert await stay.clock.watch(ModemState.SEARCHING, lambda: stay.work(8)) == "done"


async def test_a_rest_that_was_chosen_is_no_hang(quick):
    stay = Stay()

    async def rest() -> str:
        loop = asyncio.get_running_loop()
        stay.clock.mark(rests_until=loop.time() + 0.5)
        await asyncio.sleep(0.5)
        return "rested"

    assert await stay.clock.watch(ModemState.FAILED, rest) == "rested"


async def test_answers_of_the_modem_are_progress_but_not_where_others_may_have_asked(quick):
    stay = Stay()

    async def answer() -> None:
        for _ in range(40):
            await asyncio.sleep(0.05)
            assert stay.answers is not None
            stay.answers += 1

    await stay.clock.watch(ModemState.UNLOCKING, answer)
    with pytest.raises(Interrupted):
        await stay.clock.watch(ModemState.READY, answer)


async def test_who_waits_for_others_is_cut_off_only_after_them(quick):
    stay = Stay(excused=True)
    async with asyncio.TaskGroup() as group:
        watched = group.create_task(_told(stay))
        await asyncio.sleep(0.5)
        assert not stay.was_cut
        stay.excused = False
    assert watched.result() is ModemEvent.WATCHDOG


async def test_who_has_waited_long_for_others_has_all_its_own_time_then(quick, monkeypatch):
    monkeypatch.setitem(QUICK, ModemState.PROBING, 1.0)
    stay = Stay(excused=True)
    stay.answers = None  # nobody counts: the link is being opened

    async def wait_then_open() -> str:
        await asyncio.sleep(1.5)
        stay.excused = False
        await asyncio.sleep(0.4)
        return "opened"

    assert await stay.clock.watch(ModemState.PROBING, wait_then_open) == "opened"
    assert stay.hung_in == []


async def _told(stay: Stay) -> ModemEvent:
    with pytest.raises(Interrupted) as caught:
        await stay.clock.watch(ModemState.STARTING, stay.hang)
    return caught.value.event


async def test_time_limits_of_the_stay_itself_stay_what_they_are(quick):
    async def fail() -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        await Stay().clock.watch(ModemState.READY, fail)


async def test_a_lock_that_nobody_gives_back_sends_a_ready_bay_to_recovery(tmp_path, monkeypatch):
    """The walker waits for a turn on the channel that never comes."""
    modem = OneCard()
    async with bay(tmp_path, modem, health_interval=0.1, submit_timeout=0.1) as (actor, _):
        await reach(actor, ModemState.SEARCHING)
        monkeypatch.setattr(progress, "LIMITS", {**LIMITS, ModemState.READY: 0.2})
        modem.tell_registration(1)
        await reach(actor, ModemState.READY)
        lock = actor._link.driver._channel._lock
        await lock.acquire()
        await reach(actor, ModemState.RECOVERING)
        assert actor.reason == "nothing moved for 0.3 s"
        telemetry = actor._ground.telemetry
        assert telemetry.value("modemctl_hangs_total", state="ready") == 1
        lock.release()
        await reach(actor, ModemState.READY)
