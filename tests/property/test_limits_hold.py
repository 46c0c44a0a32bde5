"""Nothing exceeds a limit: three workers, crashes, a wall clock set by a day to and fro, zones.

The judge counts what left and knows nothing of how modemctl does; here he says no, too.
"""

import os
from collections.abc import Callable

import pytest

from modemctl.policy.card_zones import CardZones
from modemctl.policy.quotas import ScopeKind, Span
from modemctl.store import card_zones
from modemctl.store.engine import create_engines
from modemctl.store.migrate import upgrade
from tests.support.limit_walks import START, VAULT, Aim, Walk, aim_of, furnish

N_RUNS = 10_000 if os.environ.get("MODEMCTL_LONG") == "1" else 300
BLOCK = 50  # runs a test: its time limit counts for each
N_ACTS = 40
FIRST = 300
"""The walks of every check: a fault that they miss is missed."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('limits') / 'l.db'}"
    upgrade(url, vault=VAULT, site_id="test", now=START)
    writer, reader = create_engines(url, n_readers=1)
    with writer.begin() as conn:
        furnish(conn, START)
    yield writer
    writer.dispose()
    reader.dispose()


@pytest.mark.parametrize("block", range(N_RUNS // BLOCK))
def test_what_left_never_exceeds_a_limit(engine, block):
    first = int(os.environ.get("MODEMCTL_SEED", "1")) + block * BLOCK
    n_submits = n_waits = 0
    faults = []
    for seed in range(first, first + BLOCK):
        with engine.connect() as conn, conn.begin() as transaction:
            walk = Walk(conn, seed)
            walk.run(N_ACTS)
            transaction.rollback()
        faults += walk.violations()
        n_submits += walk.n_submits
        n_waits += walk.n_waits
    print(f"seeds {first} … {first + BLOCK - 1}: {n_submits} submits, {n_waits} told to wait")
    assert faults == []
    assert n_submits > 5 * BLOCK, "the walks send too little to show anything"


# ---------------------------------------------------------------- the judge can say no

_DAYS = frozenset({Span.DAY, Span.MONTH})


def notice(engine, wanted: Callable[[Aim], bool], *, is_blind: bool) -> int | None:
    """The first seed of those that press on such a cap of which the judge says no."""
    for seed in range(1, FIRST + 1):
        aim = aim_of(seed)
        if aim is None or not wanted(aim):
            continue
        with engine.connect() as conn, conn.begin() as transaction:
            walk = Walk(conn, seed, is_blind=is_blind)
            walk.run(N_ACTS)
            transaction.rollback()
        if walk.violations():
            return seed
    return None


@pytest.mark.parametrize("span", list(Span))
@pytest.mark.parametrize("kind", list(ScopeKind))
def test_a_limit_that_is_not_kept_is_noticed(engine, kind, span):
    assert notice(engine, lambda aim: (aim.kind, aim.span) == (kind, span), is_blind=True)


def test_a_gap_that_is_not_kept_is_noticed(engine):
    assert notice(engine, lambda aim: aim.kind is None, is_blind=True)


_FAULTS = {
    "what was sent before counts no more": (card_zones, "_count_anew", lambda *_: None),
    "a zone that was left binds no more": (
        CardZones, "binding", lambda zones, **_: {zones.own: _DAYS},
    ),
    "the site's days count for all": (CardZones, "binding", lambda _zones, **_: {None: _DAYS}),
}  # fmt: skip


@pytest.mark.parametrize("fault", list(_FAULTS))
def test_a_zone_that_is_not_kept_is_noticed(engine, fault, monkeypatch):
    monkeypatch.setattr(*_FAULTS[fault])
    assert notice(engine, lambda aim: aim.has_zones, is_blind=False)
