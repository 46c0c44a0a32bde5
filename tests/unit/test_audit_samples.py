"""The spot check's draw (SEC-05): by the chain itself, at least 30 %, repeated by anybody."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemctl.errors import InvalidRequest, NotPermitted, PolicyRefused
from modemctl.policy.sampling import draw
from modemctl.service.audit_samples import AuditSamples, SampleAsk
from modemctl.store import audits as rows
from tests.support.stores import TestClock, open_store
from tests.unit.test_audits import AUDITOR, fill

ZONE = ZoneInfo("Asia/Shanghai")


def samples(store) -> AuditSamples:
    return AuditSamples(store, zone=ZONE)


def seqs(sample) -> list[int]:
    return [one.seq for one in sample.items]


async def signature(store, seq: int) -> bytes:
    (entry,) = await store.read(
        lambda conn: rows.read_entries(conn, node_id=store.node_id, numbers=[seq])
    )
    return entry.signature


@given(
    numbers=st.lists(st.integers(1, 10**9), unique=True, max_size=200),
    percent=st.integers(30, 100),
    seed=st.text(max_size=20),
)
def test_a_draw_is_never_less_than_its_share_and_each_number_is_there_once(numbers, percent, seed):
    drawn = draw(numbers, percent, seed)
    assert len(drawn) * 100 >= len(numbers) * percent > (len(drawn) - 1) * 100 or not numbers
    assert sorted(set(drawn)) == list(drawn)
    assert set(drawn) <= set(numbers)


@pytest.mark.parametrize("percent", [-1, 0, 29, 101])
def test_less_than_the_rules_ask_for_is_not_drawn(percent):
    with pytest.raises(ValueError, match="30 to 100"):
        draw([1, 2, 3], percent, "seed")


async def test_the_draw_is_the_chains_and_can_be_worked_out_by_hand(tmp_path):
    async with open_store(tmp_path) as store:
        await fill(store, 20, 4)
        drawn = await samples(store).sample(AUDITOR, SampleAsk())
        assert (drawn.n_entries, len(drawn.items)) == (20, 6)
        assert all(item.action == "thing.do" for item in drawn.items), "no group commit's own"
        sealed = b"modemctl-sample/1 span " + await signature(store, drawn.last)
        assert drawn.seed == hashlib.sha256(sealed).hexdigest()
        acts = await store.read(
            lambda conn: [
                one.seq
                for one in rows.read_chain(conn, node_id=store.node_id, after=0, limit=99)
                if one.draft.action == "thing.do"
            ]
        )
        ranked = sorted(
            acts, key=lambda seq: hashlib.sha256(f"{drawn.seed} {seq}".encode()).digest()
        )
        assert seqs(drawn) == sorted(ranked[:6])


async def test_a_week_gives_the_same_draw_however_often_and_by_whom_it_is_asked(tmp_path):
    clock = TestClock(datetime(2026, 11, 18, 4, 0, tzinfo=UTC))
    async with open_store(tmp_path, clock) as store:
        await fill(store, 30, 0)
        asked = SampleAsk(week="2026-W47")
        with pytest.raises(InvalidRequest, match="not over"):
            await samples(store).sample(AUDITOR, asked)
        clock.advance(5 * 86_400)
        one = await samples(store).sample(AUDITOR, asked)
        await store.write(lambda tx: tx.audit("x", "y", "z", {}))
        two = await samples(store).sample(replace(AUDITOR, name="another"), asked)
        assert (one.seed, seqs(one)) == (two.seed, seqs(two))
        assert len(one.items) == 9
        more = await samples(store).sample(AUDITOR, replace(asked, percent=50))
        assert set(seqs(one)) < set(seqs(more)), "a larger share adds, it does not choose anew"


async def test_a_seed_repeats_its_draw_and_nobody_makes_one_up(tmp_path):
    async with open_store(tmp_path) as store:
        await fill(store, 20, 0)
        first = await samples(store).sample(AUDITOR, SampleAsk(percent=40))
        await fill(store, 10, 0)
        again = await samples(store).sample(AUDITOR, SampleAsk(seed=first.seed))
        assert (again.percent, again.n_entries, seqs(again)) == (40, 20, seqs(first))
        for chosen in ("7", first.seed[:-1] + "g"):
            with pytest.raises(PolicyRefused) as caught:
                await samples(store).sample(AUDITOR, SampleAsk(seed=chosen))
            assert caught.value.policy == "SEC-05"


async def test_too_small_a_share_and_no_week_are_refused(tmp_path):
    async with open_store(tmp_path) as store:
        await fill(store, 3, 0)
        wrong = (
            SampleAsk(percent=29), SampleAsk(week="2026-11"), SampleAsk(week="2026-W54"),
            SampleAsk(week="2025-W53"), SampleAsk(week="2025-W40"),
        )  # fmt: skip
        for ask in wrong:
            with pytest.raises(InvalidRequest):
                await samples(store).sample(AUDITOR, ask)
        with pytest.raises(NotPermitted):
            await samples(store).sample(replace(AUDITOR, scopes=frozenset()), SampleAsk())
        with pytest.raises(NotPermitted):
            await samples(store).sample(replace(AUDITOR, department="retail"), SampleAsk())
