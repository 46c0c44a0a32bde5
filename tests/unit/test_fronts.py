"""A batch is reckoned beside the others that use its cards, as it then goes."""

from datetime import timedelta

import pytest

from modemctl.config import LimitsSettings, Settings
from modemctl.config.limits import BatchCaps
from modemctl.lifecycle import ModemState
from modemctl.model import Category, DesiredState
from modemctl.service.previews import foresee, pool_of
from modemctl.service.submission import SubmissionRules
from modemctl.store import batches, modems
from modemctl.store.leases import Leased
from modemctl.store.outcomes import Took
from modemctl.store.submits import Cleared, NotYet
from tests.support.approved import SALES, numbers
from tests.support.benches import CARDS, bay_of, bench

PAUSED = DesiredState.PAUSED
PACE = LimitsSettings(segments_per_minute=6, segments_per_hour=100, minimum_gap=2.5)


async def told(b, rules, batch_id, n):
    """What is foreseen of a batch of `n` segments."""

    def read(conn):
        found = batches.find_batch(conn, batch_id)
        pool = pool_of(b.store.view(conn), found, rules)
        return foresee(found, pool, rules, n_segments=n, n_messages=n, now=b.store.clock.now())

    return await b.store.read(read)


async def last_leaves(b, cards, batch_id, n) -> float:
    """Send all that may go; seconds until the last of a batch's `n` has left."""
    start, left, jobs = b.clock.at, 0, {}
    while left < n:
        idle = [card for card in cards if card not in jobs]
        found = await b.lease(*idle) if idle else []
        taken = zip(idle, found, strict=True)
        jobs |= {card: one for card, one in taken if isinstance(one, Leased)}
        for card, job in list(jobs.items()):
            begun = await b.begin(job)
            if isinstance(begun, NotYet):
                continue
            del jobs[card]
            if isinstance(begun, Cleared):
                await b.end(job, Took(mr=1))
                left += job.batch_id == batch_id
        b.clock.advance(2.5)
        assert b.clock.at < start + timedelta(hours=20)
    return (b.clock.at - start).total_seconds()


@pytest.mark.parametrize(
    ("front", "n_front", "n_ahead"),
    [
        ({}, 0, 0),
        ({}, 30, 30),
        ({}, 200, 60),  # in turn: of the longer one as many as of this
        ({"priority": 0}, 90, 90),
        ({"priority": 2}, 90, 0),
    ],
)
async def test_the_last_leaves_about_when_it_was_told(tmp_path, front, n_front, n_ahead):
    rules = SubmissionRules.of(Settings(limits=PACE))
    async with bench(tmp_path, quota=rules.quota) as b:
        far = {"not_after": b.clock.at + timedelta(hours=23)}
        if n_front:
            await b.batch(recipients=numbers(n_front, start=500), **far, **front)
        own = await b.batch(60, **far)
        foreseen = await told(b, rules, own, 60)
        words = [one for one in foreseen.limits if one.startswith("other batches")]
        assert words == ([f"other batches 其他批次: {n_ahead}"] if n_ahead else [])
        seconds = (foreseen.finish - b.clock.at).total_seconds()
        took = await last_leaves(b, CARDS[:6], own, 60)
    print(f"{n_front} in front: foreseen {seconds:.0f} s, took {took:.0f} s")
    assert seconds == pytest.approx(took, rel=0.1, abs=10)


async def test_a_batchs_own_cap_is_not_used_up_by_others(tmp_path):
    limits = PACE.model_copy(update={"batch": BatchCaps(segments_per_day=10)})
    rules = SubmissionRules.of(Settings(limits=limits))
    async with bench(tmp_path, quota=rules.quota) as b:
        far = {"not_after": b.clock.at + timedelta(hours=9)}
        await b.batch(recipients=numbers(10, start=500), **far)
        own = await b.batch(10, **far)
        foreseen = await told(b, rules, own, 10)
        assert foreseen.finish is not None
        assert "limits.batch.segments_per_day" not in foreseen.limits


async def test_others_cards_and_other_times_are_not_in_front(tmp_path):
    rules = SubmissionRules.of(Settings(limits=PACE))
    async with bench(tmp_path, quota=rules.quota) as b:
        soon = b.clock.at + timedelta(hours=1)
        await b.batch(recipients=numbers(9, start=500), department=SALES, category=Category.NOTICE)
        await b.batch(recipients=numbers(9, start=600), not_before=soon,
                      not_after=soon + timedelta(hours=1))  # fmt: skip
        own = await b.batch(5, not_after=soon, department=SALES)
        foreseen = await told(b, rules, own, 5)
        assert [one for one in foreseen.limits if one.startswith("other")] == []


async def test_a_batch_that_may_begin_after_the_last_has_left_is_not_in_front(tmp_path):
    rules = SubmissionRules.of(Settings(limits=PACE))
    async with bench(tmp_path, quota=rules.quota) as b:
        far = b.clock.at + timedelta(hours=9)
        for hours, n in ((0, 20), (0.01, 30), (8, 40)):
            since = b.clock.at + timedelta(hours=hours)
            some = numbers(n, start=1_000 * n)
            await b.batch(recipients=some, not_before=since, not_after=far)
        own = await b.batch(60, not_after=far)
        foreseen = await told(b, rules, own, 60)
        assert foreseen.finish < b.clock.at + timedelta(hours=1)
        (words,) = (one for one in foreseen.limits if one.startswith("other"))
        assert words == "other batches 其他批次: 50"


async def test_cards_in_modems_that_do_not_send_now_are_not_reckoned_with(tmp_path):
    rules = SubmissionRules.of(Settings(limits=PACE))
    async with bench(tmp_path, quota=rules.quota) as b:
        far = {"not_after": b.clock.at + timedelta(hours=23)}
        own = await b.batch(60, **far)
        later = await b.batch(60, **far, not_before=b.clock.at + timedelta(hours=2))
        all_cards = (await told(b, rules, own, 60)).finish
        await b.store.write(lambda tx: [fall(tx, card) for card in CARDS[:2]])
        found = await told(b, rules, own, 60)
        assert found.finish > all_cards
        assert "cards not ready 未就绪的卡: 2" in found.limits
        await b.store.write(lambda tx: modems.set_desired(tx, bay_of(CARDS[2]), PAUSED))
        paused = await told(b, rules, own, 60)
        assert paused.finish > found.finish
        assert "cards not ready 未就绪的卡: 3" in paused.limits
        tomorrow = await told(b, rules, later, 60)
        assert not any("not ready" in one for one in tomorrow.limits), "they may work by then"


def fall(tx, card):
    facts = modems.Facts(bay=bay_of(card), port=None, family=None, iccid=card)
    change = modems.StateChange(
        facts=facts, before=ModemState.READY, after=ModemState.RECOVERING, event="link_error",
        reason="",
    )  # fmt: skip
    modems.save_changes(tx, [change])
