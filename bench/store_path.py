"""The sending path's store part, without modems: lease, clearance, outcome, report, in groups.

Batches come over the API of a real daemon, with everybody's confirmation and signature; then the
daemon ends, and the acts of its actors are done to its store by themselves: one transaction takes
one step of a whole group.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from banks import NOTICE_BLOCK, PROMOTION_BLOCK, SETTINGS, Staffed, number_of
from sqlalchemy import select

from modemctl.clock import SystemClock
from modemctl.config import Settings, load
from modemctl.daemon import sending_rules
from modemctl.demo import cast
from modemctl.demo.world import open_world
from modemctl.lifecycle import BatchState, ModemState
from modemctl.model import BatchId, Bay, Iccid
from modemctl.store import Store, Tx, batches, leases, modems, outcomes, reports, submits
from modemctl.store.key_files import load_audit_key, load_vault
from modemctl.store.leases import Leased, LeaseRequest
from modemctl.store.outcomes import Outcome, Took
from modemctl.store.reports import Matching, NewReport
from modemctl.store.segments import SendingRules
from modemctl.store.submits import Cleared, SubmitRequest
from modemctl.store.tables import batch, sim
from modemctl.vault import AuditKey, Vault

STEPS: Final = ("lease", "clearance", "outcome", "report")
"""What is done for each message, in this order."""
_BLOCKS: Final = {"notice": NOTICE_BLOCK, "promotion": PROMOTION_BLOCK}
_TPDU: Final = bytes(60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A site that nobody runs: cards in READY bays, approved batches that run."""

    settings: Settings
    vault: Vault
    audit_key: AuditKey
    cards: Sequence[Iccid]
    digests: dict[BatchId, bytes]
    blocks: dict[BatchId, int]
    """Batch → block of its recipients' numbers (`banks.number_of`)."""
    _mrs: Counter[Iccid] = field(default_factory=Counter)

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.settings.paths.state_dir / "modemctl.db"

    def open(self, url: str = "") -> Store:
        """The store, or a copy of it at another address."""
        return Store(
            url or f"sqlite:///{self.database}", vault=self.vault, audit_key=self.audit_key,
            clock=SystemClock(), node_id=self.settings.site.node,
        )  # fmt: skip

    def next_mr(self, card: Iccid) -> int:
        """The network's next reference for a card."""
        self._mrs[card] += 1
        return self._mrs[card] % 256


@contextmanager
def open_site(folder: Path, *, n_cards: int, n_messages: int) -> Iterator[Site]:
    """Make a site in `folder`, with one batch for each department's cards.

    `n_messages` in all, each of one segment.
    """
    with open_world(n_modems=n_cards, latency=1.0, seed=1, keep=folder, settings=SETTINGS) as world:
        people = cast.hire(world)
        cast.write_card_list(world)
        with (
            world.client("it-technician") as technician,
            (folder / "cards.csv").open("rb") as cards,
        ):
            technician.send_file("POST", "/v1/sims/import", cards, format="csv")
        staffed = Staffed(world=world, cast=people, n_modems=n_cards, import_seconds=0.0)
        made = {BatchId(batch_id): _BLOCKS[kind] for kind, batch_id in staffed.prepare(n_messages)}
    settings = load(folder / "modemctl.toml", {})
    site = Site(
        settings=settings, vault=load_vault(settings.paths),
        audit_key=load_audit_key(settings.paths), cards=[], digests={}, blocks=made,
    )  # fmt: skip
    asyncio.run(_put_to_work(site))
    yield site


async def _put_to_work(site: Site) -> None:
    def act(tx: Tx) -> None:
        for iccid in tx.conn.scalars(select(sim.c.iccid).order_by(sim.c.iccid)):
            site.cards.append(iccid)
        changes = [
            modems.StateChange(
                facts=modems.Facts(bay=_bay_of(iccid), port="/dev/none", iccid=iccid),
                before=ModemState.SEARCHING, after=ModemState.READY, event="registered", reason="",
            )
            for iccid in site.cards
        ]  # fmt: skip
        modems.save_changes(tx, changes)
        for batch_id in site.blocks:
            batches.move(tx, batch_id, BatchState.RUNNING)
            query = select(batch.c.digest).where(batch.c.batch_id == batch_id)
            site.digests[batch_id] = tx.conn.scalars(query).one()

    async with site.open() as store:
        await store.write(act)


def _bay_of(card: Iccid) -> Bay:
    return Bay(f"bench-{card[-6:]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What so many messages cost; seconds by step, CPU of this process in all."""

    n_messages: int
    seconds: dict[str, float]
    cpu_s: float

    @property
    def ms_each(self) -> float:
        """Milliseconds a message, all steps."""
        return 1000 * sum(self.seconds.values()) / self.n_messages


async def send(site: Site, store: Store, *, group: int, n_groups: int, warm: int = 2) -> Cost:
    """Carry groups of messages through all steps; the first `warm` groups are not counted.

    Raises:
        RuntimeError: a message did not go its way.
    """
    rules = sending_rules(site.settings)
    seconds = dict.fromkeys(STEPS, 0.0)
    cpu = _cpu()
    for n in count():
        if n == warm:
            seconds, cpu = dict.fromkeys(STEPS, 0.0), _cpu()
        if n == warm + n_groups:
            break
        cards = [site.cards[(n * group + i) % len(site.cards)] for i in range(group)]
        for step, spent in (await _send_group(site, store, rules, cards)).items():
            seconds[step] += spent
    return Cost(n_messages=group * n_groups, seconds=seconds, cpu_s=_cpu() - cpu)


async def _send_group(
    site: Site, store: Store, rules: SendingRules, cards: Sequence[Iccid]
) -> dict[str, float]:
    began = time.perf_counter()
    asked = [LeaseRequest(bay=_bay_of(card), iccid=card, rules=rules) for card in cards]
    leased = [
        one for one in await store.write(lambda tx: leases.lease(tx, asked))
        if isinstance(one, Leased)
    ]  # fmt: skip
    at_lease = time.perf_counter()
    submitting = [_submit(site, one, card, rules) for one, card in zip(leased, cards, strict=True)]
    at_ready = time.perf_counter()
    cleared = await store.write(lambda tx: submits.begin_submit(tx, submitting))
    at_clearance = time.perf_counter()
    _require("cleared", cleared, holds=all(isinstance(one, Cleared) for one in cleared))
    taken = [
        Outcome(segment_id=one.segment_id, token=one.token, rules=rules,
                result=Took(mr=site.next_mr(one.iccid)))
        for one in submitting
    ]  # fmt: skip
    await store.write(lambda tx: outcomes.record_outcome(tx, taken))
    at_outcome = time.perf_counter()
    found = [
        _report(site, one, outcome, at=store.clock)
        for one, outcome in zip(leased, taken, strict=True)
    ]
    at_reports = time.perf_counter()
    matched = await store.write(lambda tx: reports.add(tx, found))
    ended = time.perf_counter()
    _require("matched", matched, holds=all(one.matching is Matching.MATCHED for one in matched))
    return {
        "lease": at_lease - began,
        "clearance": at_clearance - at_ready,
        "outcome": at_outcome - at_clearance,
        "report": ended - at_reports,
    }


def _number(site: Site, one: Leased) -> str:
    return number_of(site.blocks[one.batch_id], one.line_no - 1)


def _submit(site: Site, one: Leased, card: Iccid, rules: SendingRules) -> SubmitRequest:
    return SubmitRequest(
        segment_id=one.segments[0][0], token=one.token, bay=one.bay, iccid=card,
        batch_id=one.batch_id, digest=site.digests[one.batch_id],
        recipient_bidx=site.vault.blind_index(_number(site, one)), tpdu=_TPDU, rules=rules,
    )  # fmt: skip


def _report(site: Site, one: Leased, outcome: Outcome, *, at: SystemClock) -> NewReport:
    assert isinstance(outcome.result, Took)
    card = next(card for card in site.cards if _bay_of(card) == one.bay)
    now = at.now()
    return NewReport(
        iccid=card, bay=one.bay, recipient=_number(site, one), mr=outcome.result.mr, st=0,
        scts=now, discharged_at=now, tpdu=_TPDU + one.token.encode(),
    )  # fmt: skip


def _require(what: str, found: object, *, holds: bool) -> None:
    if not holds:
        raise RuntimeError(f"not all were {what}: {found}")


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
