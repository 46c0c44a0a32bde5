"""A card at work: an outcome not saved stops it, a reference not its own is not taken."""

import asyncio
import logging
from datetime import timedelta

import pytest

from drivers.interface import CallEvent, CallEventKind
from drivers.registry import probe
from modemctl.errors import StoreError
from modemctl.fleet import sending as sending_module
from modemctl.fleet.link import Link
from modemctl.fleet.moves import Interrupted
from modemctl.fleet.receiving import Receiver
from modemctl.lifecycle import ModemEvent
from modemctl.policy.numbers import NumberRules
from modemctl.policy.quotas import Caps
from modemctl.telemetry import Telemetry
from tests.support.benches import CARDS, Bench, bay_of, bench
from tests.support.places import place_of
from tests.support.scripted_modem import OK, ScriptedModem, said
from tests.support.senders import AtWork, at_work, break_store, mend_store, until

GAP = 0.05
LONG = "x" * 300  # two segments


def references(*mrs: int):
    """A modem that takes one segment after the other under these references."""
    rest = list(mrs)
    return lambda payload: said(f"+CMGS: {rest.pop(0)}")


async def rows(b: Bench, batch_id) -> list[tuple[str, int | None]]:
    return await b.store.read(
        lambda conn: [
            (state, mr)
            for state, mr in conn.exec_driver_sql(
                "SELECT state, mr FROM segment WHERE batch_id = ? ORDER BY segment_id", (batch_id,)
            )
        ]
    )


async def test_no_segment_is_announced_while_an_outcome_cannot_be_saved(tmp_path, caplog):
    async with bench(tmp_path, caps=Caps(minute=99, hour=99, day=99, gap=GAP)) as b:
        batch_id = await b.batch(1, template=LONG)
        modem = ScriptedModem({"AT+CLCC": OK})
        modem.payload_answer = references(7, 8)
        async with at_work(b, modem) as work, asyncio.TaskGroup() as group:
            await break_store(b, "sent")
            await work.take_work()
            sending = group.create_task(work.sender.send_next())
            await until(lambda: "outcome.not_saved" in caplog.text)
            gap_ends = work.pauses[0]
            await until(lambda: any(moment > gap_ends + GAP for moment in work.pauses))
            b.clock.advance(1)
            assert work.n_announced == 1
            assert await rows(b, batch_id) == [("submitting", None), ("leased", None)]
            await mend_store(b)
            await sending
            await work.sender.close()
        assert await rows(b, batch_id) == [("sent", 7), ("sent", 8)]


async def test_a_clearance_that_the_store_gave_late_is_not_used(tmp_path, monkeypatch):
    """Who was cut off from the database for so long does not know what others did meanwhile."""
    monkeypatch.setattr(sending_module, "_LATE", -1.0)
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        modem = ScriptedModem({"AT+CLCC": OK})
        async with at_work(b, modem) as work:
            await work.take_work()
            await work.sender.send_next()
            await work.sender.close()
        assert work.n_announced == 1
        assert not any("ctrl-z" in line for line in modem.received)
        [(state, mr)] = await rows(b, batch_id)
        assert state in {"queued", "leased"}, "it may be tried again"
        assert mr is None


async def test_a_clock_that_is_set_back_stops_no_card_for_a_day(tmp_path):
    async with bench(tmp_path, caps=Caps(minute=99, hour=99, day=99, gap=GAP)) as b:
        day = timedelta(days=2)
        window = {"not_before": b.clock.at - day, "not_after": b.clock.at + day}
        await b.batch(1, **window)
        modem = ScriptedModem({"AT+CLCC": OK})
        modem.payload_answer = references(7, 8)
        async with at_work(b, modem) as work:
            await work.take_work()
            await work.sender.send_next()
            later = await b.batch(1, **window)  # leased while the gap is open
            await work.take_work()
            b.clock.step(-86_400)
            b.clock.advance(60)
            soon = asyncio.get_running_loop().time() + 2 * GAP
            await work.sender.send_next()
            assert work.pauses
            assert all(moment <= soon for moment in work.pauses)
            await work.sender.close()
        assert await rows(b, later) == [("sent", 8)]


async def test_an_outcome_that_the_store_does_not_take_is_told_loudly(tmp_path, caplog):
    async with bench(tmp_path) as b:
        await b.batch(1)
        modem = ScriptedModem({"AT+CLCC": OK})

        async def end_it_elsewhere() -> None:
            await b.store.write(
                lambda tx: tx.conn.exec_driver_sql("UPDATE segment SET lease_token = 'x'") and None
            )
            modem.say(said("+CMGS: 7"))

        modem.payload_answer = None
        async with at_work(b, modem) as work, asyncio.TaskGroup() as group:
            await work.take_work()
            sending = group.create_task(work.sender.send_next())
            await modem.until(lambda: any("ctrl-z" in line for line in modem.received))
            await end_it_elsewhere()
            await sending
            await work.sender.close()
        [record] = [one for one in caplog.records if one.message == "outcome.not_taken"]
        assert record.levelno == logging.ERROR


async def test_a_crowd_of_incoming_events_goes_before_the_next_segment(tmp_path):
    """Each takes several commands, the line is busy with one submit after the other."""
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        modem = ScriptedModem()
        modem.payload_answer = said("+CMGS: 7")
        async with at_work(b, modem) as work, asyncio.TaskGroup() as group:
            await work.take_work()
            work.mailbox.is_listening = True
            for _ in range(20):
                work.mailbox.put(CallEvent(kind=CallEventKind.RING))
            sending = group.create_task(work.sender.send_next())
            await until(lambda: len(work.pauses) > 3)
            assert work.n_announced == 0
            work.mailbox.take_items()
            await sending
            await work.sender.close()
        assert await rows(b, batch_id) == [("sent", 7)]


# ---------------------------------------------------------------- a stray reference


def receiver(b: Bench, work) -> Receiver:
    numbers = NumberRules(region="CN")
    link = Link(
        place_of("unix:/none"), probe=probe, budget=asyncio.Semaphore(1), mailbox=work.mailbox
    )  # never opened: a late answer is settled without the modem
    telemetry = Telemetry(version="test")
    return Receiver(b.store, telemetry, bay=bay_of(CARDS[0]), numbers=numbers, link=link)


async def test_a_stray_reference_never_settles_a_later_doubt(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(2)
        modem = ScriptedModem({"AT+CLCC": OK})
        modem.payload_answer = said("+CMGS: 41") + b"\r\n+CMGS: 41\r\n"
        async with at_work(b, modem, timeout=0.3) as work:
            await work.take_work()
            await work.sender.send_next()
            modem.say(b"\r\n+CMGS: 40\r\n")  # some older answer, hours late
            await work.driver.current_calls()
            await work.take_work()
            modem.payload_answer = None
            with pytest.raises(Interrupted):
                await work.sender.send_next()
            await receiver(b, work).settle_late()
            await work.sender.close()
        assert await rows(b, batch_id) == [("sent", 41), ("in_doubt", None)]


async def test_the_late_answer_of_the_submit_in_doubt_settles_it(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        modem = ScriptedModem({"AT+CLCC": OK})
        modem.payload_answer = None
        async with at_work(b, modem, timeout=0.2) as work:
            await work.take_work()
            with pytest.raises(Interrupted) as caught:
                await work.sender.send_next()
            assert caught.value.event is ModemEvent.OUT_OF_STEP
            assert await rows(b, batch_id) == [("in_doubt", None)]
            modem.say(said("+CMGS: 43"))
            await work.driver.realign()
            await receiver(b, work).settle_late()
            await work.sender.close()
        assert await rows(b, batch_id) == [("sent", 43)]
        assert work.mailbox.late is None


async def test_a_late_answer_waits_for_a_store_that_fails(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        modem = ScriptedModem({"AT+CLCC": OK})
        modem.payload_answer = None
        async with at_work(b, modem, timeout=0.2) as work:
            await work.take_work()
            with pytest.raises(Interrupted):
                await work.sender.send_next()
            modem.say(said("+CMGS: 43"))
            await work.driver.realign()
            await break_store(b, "sent")
            with pytest.raises(StoreError):
                await receiver(b, work).settle_late()
            await mend_store(b)
            await receiver(b, work).settle_late()
            await work.sender.close()
        assert await rows(b, batch_id) == [("sent", 43)]


# ---------------------------------------------------------------- an actor that fails


@pytest.mark.parametrize("is_given", [True, False], ids=["given", "at the prompt"])
async def test_who_fails_during_a_submit_leaves_no_segment_submitting(tmp_path, is_given):
    sign = "ctrl-z" if is_given else "AT+CMGS="
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1)
        modem = ScriptedModem()
        modem.payload_answer = None
        if not is_given:
            modem.prompt = b""  # it never comes

        async def fail() -> None:
            await modem.until(lambda: any(sign in line for line in modem.received))
            raise RuntimeError("a fault of ours while receiving")

        async def send_while_failing(work: AtWork) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(work.sender.send_next())
                group.create_task(fail())

        async with at_work(b, modem) as work:
            await work.take_work()
            with pytest.raises(ExceptionGroup):
                await send_while_failing(work)
            await work.sender.close()
            expected = [("in_doubt" if is_given else "queued", None)]
            async with asyncio.timeout(10):
                while await rows(b, batch_id) != expected:
                    await asyncio.sleep(0.01)  # it may be leased again and given back


async def test_a_modem_that_refuses_our_commands_is_put_in_order(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(3)
        modem = ScriptedModem()
        modem.script |= {f"AT+CMGS={n}": b"\r\n+CMS ERROR: 303\r\n" for n in range(10, 30)}
        async with at_work(b, modem) as work:
            for _ in range(2):
                await work.take_work()
                await work.sender.send_next()
                await until(lambda: work.sender.rest_until <= asyncio.get_running_loop().time())
            await work.take_work()
            with pytest.raises(Interrupted) as caught:
                await work.sender.send_next()
            await work.sender.close()
        assert caught.value.event is ModemEvent.WATCHDOG
        assert await rows(b, batch_id) == [("queued", None)] * 3, "no message is to blame"
