"""Breakers at work: a sick bay gets no lease, its share goes to others, one message tries again."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from modemctl.fleet.breaking import Breakers, Seat
from modemctl.fleet.dispatcher import Dispatcher, EncodingRules, Job
from modemctl.fleet.working import seat_of
from modemctl.policy.breakers import RULES, BreakerState, Target
from modemctl.store.modems import Facts
from modemctl.store.tables import event
from modemctl.telemetry import Telemetry
from tests.support.benches import CARDS, bay_of, bench
from tests.support.scripted_modem import OK, ScriptedModem, said
from tests.support.senders import SEAT, at_work, until

BARRED = b"\r\n+CMS ERROR: 8\r\n"
MANY_FAULTS = RULES[Target.MODEM].n_faults


def seats(n: int, carrier: str = "46000") -> list[Seat]:
    return [
        Seat(bay=bay_of(card), modem=f"m{i}", iccid=card, carrier=carrier)
        for i, card in enumerate(CARDS[:n])
    ]


async def events(b) -> list[tuple[str, str]]:
    rows = await b.store.read(lambda conn: conn.execute(event.select()).all())
    return [
        (row.subject, row.data) for row in rows if "breaker" in row.data or "carrier_" in row.data
    ]


async def test_a_modem_that_fails_again_and_again_is_left_alone_and_then_tries_once(tmp_path):
    async with bench(tmp_path) as b:
        breakers = Breakers(b.store, Telemetry(version="test"))
        gate = breakers.gate(lambda: SEAT)
        for _ in range(MANY_FAULTS):
            assert gate.enter()
            await gate.note("modem")
        assert gate.is_open
        assert not gate.enter()
        assert gate.opens_in() == RULES[Target.MODEM].first
        b.clock.advance(RULES[Target.MODEM].first)
        assert not gate.is_open
        assert gate.enter()
        assert not gate.enter(), "one trial at a time"
        gate.leave()
        assert gate.enter(), "the one before told nothing"
        await gate.note(None)
        assert breakers.states(SEAT)[Target.MODEM] is BreakerState.CLOSED
        told = [(subject, "open" in data) for subject, data in await events(b)]
        assert told == [(SEAT.bay, True), (SEAT.bay, False)]


async def test_a_card_that_goes_while_its_bay_is_being_served_ends_nobody(tmp_path):
    """The dispatcher serves many bays together: what it ends may be a bay's without a card."""
    async with bench(tmp_path) as b:
        facts = Facts(bay=SEAT.bay, port="/dev/none", iccid=SEAT.iccid)
        gate = Breakers(b.store, Telemetry(version="test")).gate(lambda: seat_of(facts))
        for _ in range(MANY_FAULTS):
            assert gate.enter()
            await gate.note("modem")
        b.clock.advance(RULES[Target.MODEM].first)
        assert gate.enter()
        facts = replace(facts, iccid=None)
        gate.leave()
        facts = replace(facts, iccid=SEAT.iccid)
        assert gate.enter(), "its trial told nothing"


async def test_messages_and_hosts_trip_nothing(tmp_path):
    async with bench(tmp_path) as b:
        breakers = Breakers(b.store, Telemetry(version="test"))
        gate = breakers.gate(lambda: SEAT)
        for blame in ("message", "host") * 50:
            assert gate.enter()
            await gate.note(blame)
        assert set(breakers.states(SEAT).values()) == {BreakerState.CLOSED}


async def test_a_modem_that_fails_every_second_message_is_left_alone_its_siblings_are_not(tmp_path):
    async with bench(tmp_path) as b:
        breakers = Breakers(b.store, Telemetry(version="test"))
        sick, *well = seats(4)
        for n in range(2 * MANY_FAULTS):
            await breakers.gate(lambda: sick).note("modem" if n % 2 else None)
            for seat in well:
                await breakers.gate(lambda seat=seat: seat).note(None)
        assert breakers.states(sick)[Target.MODEM] is BreakerState.OPEN
        assert all(breakers.enter(seat) for seat in well)


async def test_a_carrier_at_which_every_second_message_of_all_modems_fails_is_paused_no_modem_is(
    tmp_path,
):
    async with bench(tmp_path) as b:
        breakers = Breakers(b.store, Telemetry(version="test"))
        ours, other = seats(4), seats(1, carrier="46001")[0]
        n_rounds = 0
        while breakers.states(ours[0])[Target.CARRIER] is BreakerState.CLOSED:
            n_rounds += 1
            assert n_rounds < 20
            for seat in ours:
                await breakers.gate(lambda seat=seat: seat).note("modem" if n_rounds % 2 else None)
        states = [breakers.states(seat)[Target.MODEM] for seat in ours]
        assert states == [BreakerState.CLOSED] * 4
        assert breakers.enter(other)
        b.clock.advance(RULES[Target.CARRIER].first)
        await breakers.gate(lambda: ours[0]).note(None)
        for seat in ours:
            await breakers.gate(lambda seat=seat: seat).note("modem")
        assert all(breakers.enter(seat) for seat in ours), "nothing is held against them"


async def test_a_modem_that_answers_unknown_error_to_every_second_message_gets_no_more(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(20)
        modem = ScriptedModem({"AT+CLCC": OK})
        n_sent = 0

        def answer(text: str) -> bytes:
            nonlocal n_sent
            n_sent += 1
            return b"\r\n+CMS ERROR: 500\r\n" if n_sent % 2 else said(f"+CMGS: {n_sent}")

        modem.payload_answer = answer
        async with at_work(b, modem) as work:
            gate = work.breakers.gate(lambda: SEAT)
            while not gate.is_open and n_sent < 20:
                await work.take_work()
                await work.sender.send_next()
                work.sender._rest_until = 0.0
            assert work.breakers.states(SEAT)[Target.MODEM] is BreakerState.OPEN
            assert n_sent < 2 * MANY_FAULTS
            await work.sender.close()
            assert (await b.states(batch_id))["in_doubt"] == MANY_FAULTS


async def test_a_barred_card_is_left_alone_wherever_it_is_put_its_modem_is_not(tmp_path):
    async with bench(tmp_path) as b:
        breakers = Breakers(b.store, Telemetry(version="test"))
        gate = breakers.gate(lambda: SEAT)
        for _ in range(RULES[Target.SIM].n_faults):
            await gate.note("sim")
        moved = Seat(bay=bay_of(CARDS[1]), modem="other", iccid=SEAT.iccid, carrier="46000")
        exchanged = Seat(bay=SEAT.bay, modem=SEAT.modem, iccid=CARDS[1], carrier="46000")
        assert not breakers.enter(moved)
        assert breakers.enter(exchanged)


async def test_a_network_that_fails_many_modems_pauses_its_carrier_and_one_of_them_tries(tmp_path):
    async with bench(tmp_path) as b:
        breakers = Breakers(b.store, Telemetry(version="test"))
        ours, other = seats(4), seats(1, carrier="46001")[0]
        for seat in ours[:3]:
            await breakers.gate(lambda seat=seat: seat).note("network")
        assert not any(breakers.enter(seat) for seat in ours)
        assert breakers.enter(other)
        b.clock.advance(RULES[Target.CARRIER].first)
        assert [breakers.enter(seat) for seat in ours] == [True, False, False, False]
        await breakers.gate(lambda: ours[0]).note(None)
        assert all(breakers.enter(seat) for seat in ours)
        assert [subject for subject, _ in await events(b)] == ["46000", "46000"]


async def test_one_bays_end_gives_its_trial_to_another(tmp_path):
    async with bench(tmp_path) as b:
        breakers = Breakers(b.store, Telemetry(version="test"))
        ours = seats(3)
        for seat in ours:
            await breakers.gate(lambda seat=seat: seat).note("network")
        b.clock.advance(RULES[Target.CARRIER].first)
        assert breakers.enter(ours[0])
        breakers.leave(ours[1].bay)  # which has none
        assert not breakers.enter(ours[2])
        breakers.leave(ours[0].bay)
        assert breakers.enter(ours[2])


# ---------------------------------------------------------------- with dispatcher and driver


async def served(take: "asyncio.Future[Job]") -> Job:
    async with asyncio.timeout(10):
        return await take


async def test_nothing_is_leased_to_a_bay_whose_breaker_is_open_until_its_time_is_over(tmp_path):
    async with bench(tmp_path) as b, asyncio.TaskGroup() as group:
        batch_id = await b.batch(4)
        telemetry = Telemetry(version="test")
        breakers = Breakers(b.store, telemetry)
        sick, well = seats(2)
        encoding = EncodingRules(validity=timedelta(hours=1), wants_reports=False)
        dispatcher = Dispatcher(b.store, b.rules, encoding, telemetry)
        serving = group.create_task(dispatcher.run())

        def ask(seat: Seat) -> "asyncio.Future[Job]":
            told = asyncio.get_running_loop().create_future()
            gate = breakers.gate(lambda: seat)
            dispatcher.ask(seat.bay, seat.iccid, told.set_result, gate=gate)
            return told

        for _ in range(MANY_FAULTS):
            await breakers.gate(lambda: sick).note("modem")
        refused, first = ask(sick), ask(well)  # joined in one set
        await served(first)
        await served(ask(well))
        assert not refused.done()
        assert await b.states(batch_id) == {"leased": 2, "queued": 2}
        b.clock.advance(RULES[Target.MODEM].first)
        job = await served(ask(sick))
        assert job.lease.iccid == sick.iccid
        serving.cancel()


async def test_who_finds_no_work_keeps_no_trial(tmp_path):
    async with bench(tmp_path) as b, asyncio.TaskGroup() as group:
        telemetry = Telemetry(version="test")
        breakers = Breakers(b.store, telemetry)
        one, other = seats(2)
        encoding = EncodingRules(validity=timedelta(hours=1), wants_reports=False)
        dispatcher = Dispatcher(b.store, b.rules, encoding, telemetry)
        for seat in seats(3):
            await breakers.gate(lambda seat=seat: seat).note("network")
        b.clock.advance(RULES[Target.CARRIER].first)
        serving = group.create_task(dispatcher.run())
        dispatcher.ask(one.bay, one.iccid, lambda job: None, gate=breakers.gate(lambda: one))
        await until(lambda: dispatcher._waiting[one.bay].was_served)
        assert breakers.enter(other)
        serving.cancel()


async def test_the_driver_s_refusals_open_the_breaker_of_whom_they_blame(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(20)
        modem = ScriptedModem({"AT+CLCC": OK})
        modem.payload_answer = BARRED
        async with at_work(b, modem) as work:
            gate = work.breakers.gate(lambda: SEAT)
            for _ in range(RULES[Target.SIM].n_faults):
                assert not gate.is_open
                await work.take_work()
                await work.sender.send_next()
                work.sender._rest_until = 0.0
            states = work.breakers.states(SEAT)
            assert states[Target.SIM] is BreakerState.OPEN
            assert states[Target.MODEM] is states[Target.CARRIER] is BreakerState.CLOSED
            await work.sender.close()


async def test_a_message_at_hand_is_given_back_when_its_carrier_is_paused(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        async with at_work(b, ScriptedModem({"AT+CLCC": OK})) as work:
            await work.take_work()
            for seat in seats(4)[1:]:
                await work.breakers.gate(lambda seat=seat: seat).note("network")
            await work.sender.send_next()
            assert work.n_announced == 0
            assert await b.states(batch_id) == {"queued": 1}
            await work.sender.close()
