"""Batches for others go only while two persons' special approval is in force (SMS-09)."""

from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from modemctl.config import ApprovalsSettings
from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.policy.approvals import ApprovalRules
from modemctl.service.dual import Dual, DualKind, DualState
from modemctl.service.parties import Parties
from modemctl.store.proofs import ProofBook
from modemctl.store.replay import replay
from modemctl.store.seals import broken_seals
from tests.support.people import open_office
from tests.support.stores import open_store

OTHER = "Acme Insurance"


@asynccontextmanager
async def office_in(folder):
    async with open_store(folder) as store:
        office = await open_office(store)
        perform = Parties(own_party="own").perform
        office.dual = Dual(store, performers={DualKind.THIRD_PARTY: perform})
        yield office


async def agree(office, *, party=OTHER, days=10, asker="mic", confirmer="gm", **changes):
    until = (office.store.clock.now() + timedelta(days=days)).isoformat()
    details = {"until": until, "reference": "board 2026-17", **changes}
    asked = await office.dual.ask(
        office.who[asker], kind=DualKind.THIRD_PARTY, subject=party, details=details, reason="x"
    )
    return await office.dual.confirm(office.who[confirmer], asked.request_id)


async def refusal(doing):
    with pytest.raises(PolicyRefused) as caught:
        await doing
    assert caught.value.policy == "SMS-09"
    return caught.value.rule


async def test_another_party_is_refused_until_two_persons_say_so(tmp_path):
    async with office_in(tmp_path) as office:
        assert "special approval" in await refusal(office.submit(3, "other", party=OTHER))
        done = await agree(office)
        assert done.state is DualState.SPENT
        shown = await office.submit(3, "other", party=OTHER)
        shown = await office.start(await office.approve(shown))
        assert shown.batch.party == OTHER
        await refusal(office.submit(3, "other", party="Acme"))
        assert await office.store.read(lambda conn: list(replay(conn))) == []


async def test_one_person_alone_lets_nobody_in(tmp_path):
    async with office_in(tmp_path) as office:
        with pytest.raises(PolicyRefused, match="SEC-04"):
            await agree(office, asker="gm", confirmer="gm")
        await refusal(office.submit(3, "other", party=OTHER))


async def test_what_ends_meanwhile_ends_what_rests_on_it(tmp_path):
    async with office_in(tmp_path) as office:
        await agree(office)
        vault, rules = office.store.vault, ApprovalRules.of("site", ApprovalsSettings())
        first = await office.approve(await office.submit(3, "other", party=OTHER))
        running = await office.approve(await office.submit(2, "other", party=OTHER))
        await office.start(running)
        book, ids = ProofBook(rules), [running.batch.batch_id]

        async def gate():
            now = office.store.clock.now()
            found = await office.store.read(lambda conn: book.verified(conn, vault, ids, now=now))
            return getattr(found[ids[0]], "policy", None)

        assert await gate() is None
        await agree(office, days=0)  # a later approval that is over at once ends the earlier one
        assert "not in force" in await refusal(office.start(first))
        assert await gate() == "SMS-09"


async def test_an_altered_or_put_back_approval_counts_for_nothing(tmp_path):
    async with office_in(tmp_path) as office:
        await agree(office, days=1)
        office.store.clock.advance(2 * 86_400)
        await refusal(office.submit(3, "other", party=OTHER))
        damage = "UPDATE party_approval SET valid_until = valid_until + 864000000"
        await office.store.write(lambda tx: tx.conn.exec_driver_sql(damage) and None)
        assert "was altered" in await refusal(office.submit(3, "other", party=OTHER))
        vault = office.store.vault
        lines = await office.store.read(lambda conn: [*broken_seals(conn, vault), *replay(conn)])
        assert len([line for line in lines if line.startswith("party_approval 1")]) == 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"party": "own"}, "subject"),
        ({"reference": " "}, "details.reference"),
        ({"until": "soon"}, "details.until"),
        ({"until": "2026-12-01T00:00:00"}, "details.until"),
        ({"days": 400}, "details.until"),
        ({"from": "x"}, "details.from"),
    ],
)
async def test_an_approval_names_party_paper_and_end(tmp_path, changes, field):
    async with office_in(tmp_path) as office:
        with pytest.raises(InvalidRequest) as caught:
            await agree(office, **changes)
        assert caught.value.field == field
