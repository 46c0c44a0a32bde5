"""Nothing exceeds a limit: three workers, crashes, and a wall clock set by a day to and fro."""

import os

import pytest

from modemctl.store.engine import create_engines
from modemctl.store.migrate import upgrade
from tests.support.limit_walks import START, VAULT, Walk, furnish

N_RUNS = 10_000 if os.environ.get("MODEMCTL_LONG") == "1" else 300
BLOCK = 50  # runs a test: its time limit counts for each
N_ACTS = 40


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
