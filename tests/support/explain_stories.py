"""What `message explain` says of messages to which everything happened that can; the golden files.

Each story is a run of the real store: batches with real approvals, leases, submits, outcomes,
reports, decisions. `python -m tests.support.explain_stories` writes the files in
tests/vectors/explain anew; look at the difference before you commit it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import update

from modemctl.config import Settings
from modemctl.config.limits import LimitsSettings, RecipientCaps
from modemctl.config.settings import SiteSettings
from modemctl.lifecycle import BatchState, CardState, ModemState
from modemctl.model import AccountId, Category, DesiredState, Iccid
from modemctl.policy.hours import is_quiet
from modemctl.policy.stops import StopKind, StopMemory
from modemctl.service.batches import Batches, SubmissionRules
from modemctl.service.doubt import Doubts
from modemctl.service.messages import Explanation, Messages
from modemctl.service.principal import Principal, Scope
from modemctl.service.stops import Stops
from modemctl.store import modems, optouts, outcomes, reports, sims, submits, sweeps
from modemctl.store.leases import Leased
from modemctl.store.outcomes import Doubtful, LateResult, NotSent, Took
from modemctl.store.reports import NewReport
from modemctl.store.segments import Release, release
from modemctl.store.tables import modem
from tests.support.approved import GENERAL, SALES, add_cards
from tests.support.benches import CARDS, Bench, bay_of, bench

FOLDER = Path(__file__).parents[1] / "vectors" / "explain"
HER = "+8613800000000"
LONG = "x" * 300
LATER = NotSent(code="cms:38", title="network out of order", action="back", blame="network")
NEVER = NotSent(code="cms:1", title="unassigned number", action="stop", blame="message")
CARDS_OWN = NotSent(code="cms:8", title="operator determined barring", action="stop", blame="sim")
ALL = frozenset(Scope) - {Scope.PII_READ}


@dataclass
class World:
    """A bench with its clock, and the services that people use."""

    b: Bench
    sub: SubmissionRules

    def who(self, name: str) -> Principal:
        person = getattr(self.b.staff, name, None) or self.b.staff.operators[name]
        return Principal(
            account_id=AccountId(person.account_id), name=name, department=None, scopes=ALL,
            source="test", is_person=True,
        )  # fmt: skip

    @property
    def batches(self) -> Batches:
        return Batches(self.b.store, self.sub)

    @property
    def doubts(self) -> Doubts:
        return Doubts(self.b.store, general_department=GENERAL)

    def wait(self, seconds: float) -> None:
        self.b.clock.advance(seconds)

    async def lease(self, card: Iccid = CARDS[0], **facts) -> Leased:
        await self.b.batch(1, **facts)
        return await self.again(card)

    async def again(self, card: Iccid = CARDS[0]) -> Leased:
        self.wait(5)
        [found] = await self.b.lease(card)
        assert isinstance(found, Leased), found
        return found

    async def submit(self, one: Leased, result, place: int = 0) -> None:
        self.wait(4)
        await self.b.begin(one, place)
        self.wait(3)
        await self.b.end(one, result, place)

    async def sent(self, *, mr: int = 7, **facts) -> Leased:
        one = await self.lease(**facts)
        await self.submit(one, Took(mr=mr))
        return one

    async def report(self, one: Leased, st: int, *, mr: int = 7) -> None:
        now = self.b.clock.now()
        self.wait(20)
        new = NewReport(
            iccid=one.iccid, bay=one.bay, recipient=HER, mr=mr, st=st, scts=now,
            discharged_at=self.b.clock.now(), tpdu=bytes([6, mr, st]),
        )  # fmt: skip
        await self.b.store.write_in_set(reports.add, new)

    async def do(self, act) -> None:
        await self.b.store.write(lambda tx: act(tx) and None)

    async def sweep(self) -> None:
        await self.b.store.write(lambda tx: sweeps.sweep(tx, self.b.rules))

    async def doubt(self) -> Leased:
        one = await self.lease()
        await self.submit(one, Doubtful(reason="no answer within 180 s"))
        self.wait(60)
        return one


Story = Callable[[World], Awaitable[None]]
STORIES: dict[str, Story] = {}


def story(tell: Story) -> Story:
    STORIES[tell.__name__] = tell
    return tell


# ---------------------------------------------------------------- sent


@story
async def sent(w: World) -> None:
    await w.sent()


@story
async def delivered(w: World) -> None:
    await w.report(await w.sent(), 0)


@story
async def not_delivered(w: World) -> None:
    await w.report(await w.sent(), 0x41)


@story
async def network_gave_up(w: World) -> None:
    await w.report(await w.sent(), 0x46)


@story
async def delivered_in_three_segments(w: World) -> None:
    one = await w.lease(template=LONG)
    for place in range(len(one.segments)):
        await w.submit(one, Took(mr=7 + place), place)
        await w.report(one, 0, mr=7 + place)


@story
async def sent_by_the_best_of_six_cards(w: World) -> None:
    facts = [{"signal_dbm": -60 - 9 * i, "breakers": "modem" if i == 0 else ""} for i in range(6)]

    def rate(tx):
        for card, values in zip(CARDS, facts, strict=False):
            tx.conn.execute(update(modem).where(modem.c.bay == bay_of(card)).values(**values))

    await w.do(rate)
    await w.b.batch(1)
    found = [one for one in await w.b.lease(*CARDS[:6]) if isinstance(one, Leased)]
    await w.submit(found[0], Took(mr=1))


@story
async def notice_sent_by_its_own_department(w: World) -> None:
    one = await w.lease(CARDS[6], category=Category.NOTICE)
    await w.submit(one, Took(mr=7))


@story
async def promotion_signed_by_two(w: World) -> None:
    await w.sent(category=Category.PROMOTION)


# ---------------------------------------------------------------- refused


@story
async def refused_by_the_network(w: World) -> None:
    await w.submit(await w.lease(), NEVER)


@story
async def failed_after_a_part_was_sent(w: World) -> None:
    one = await w.lease(template=LONG)
    await w.submit(one, Took(mr=7))
    await w.submit(one, NEVER, 1)


@story
async def opted_out_at_dispatch(w: World) -> None:
    one = await w.lease()
    await w.do(lambda tx: optouts.add_from_sms(tx, HER, "TD"))
    w.wait(4)
    await w.b.begin(one)


@story
async def opted_out_while_it_was_queued(w: World) -> None:
    await w.b.batch(1)
    await w.do(lambda tx: optouts.add(tx, HER, source="api", by="operator"))
    one = await w.again()
    w.wait(4)
    await w.b.begin(one)


@story
async def its_line_was_altered(w: World) -> None:
    one = await w.lease()
    await w.do(lambda tx: tx.conn.exec_driver_sql("UPDATE message SET line_enc = x'00'"))
    refusal = submits.Refusal(
        token=one.token, batch_id=one.batch_id, policy="SMS-01",
        rule="the recipient's line was changed after approval", is_whole_batch=False,
        rules=w.b.rules,
    )  # fmt: skip
    await w.b.store.write_in_set(submits.refuse, refusal)


@story
async def its_approval_lapsed(w: World) -> None:
    one = await w.lease(not_after=w.b.clock.at + timedelta(days=30))
    w.wait(8 * 86_400)
    await w.do(lambda tx: sweeps.recover(tx, w.b.rules))
    one = await w.again()
    await w.b.begin(one)


@story
async def its_approval_was_altered(w: World) -> None:
    one = await w.lease()
    await w.do(lambda tx: tx.conn.exec_driver_sql("UPDATE approval SET jws = jws || 'x'"))
    w.wait(4)
    await w.b.begin(one)


# ---------------------------------------------------------------- another try


@story
async def waits_for_a_new_try(w: World) -> None:
    await w.submit(await w.lease(), LATER)


@story
async def moved_to_another_card(w: World) -> None:
    await w.submit(await w.lease(), CARDS_OWN)
    w.wait(3_600)
    await w.submit(await w.again(CARDS[1]), Took(mr=9))


@story
async def refused_by_its_card_and_no_other_is_free(w: World) -> None:
    def empty(tx):
        for card in CARDS[1:6]:
            sims.set_paused(tx, card, is_paused=True)

    await w.do(empty)
    await w.submit(await w.lease(), CARDS_OWN)
    w.wait(3_600)


@story
async def given_back_by_its_bay(w: World) -> None:
    one = await w.lease()
    item = Release(token=one.token, reason="the modem went away", rules=w.b.rules)
    await w.b.store.write_in_set(release, item)
    await w.submit(await w.again(CARDS[2]), Took(mr=3))


@story
async def rest_waits_for_its_own_card(w: World) -> None:
    one = await w.lease(template=LONG)
    await w.submit(one, Took(mr=7))
    await w.submit(one, LATER, 1)
    w.wait(3_600)
    await w.do(lambda tx: sims.set_paused(tx, CARDS[0], is_paused=True))


# ---------------------------------------------------------------- doubt


@story
async def in_doubt(w: World) -> None:
    await w.doubt()


@story
async def in_doubt_after_a_crash(w: World) -> None:
    one = await w.lease()
    await w.b.begin(one)
    w.wait(60)
    await w.do(lambda tx: sweeps.recover(tx, w.b.rules))


@story
async def doubt_settled_by_a_report(w: World) -> None:
    one = await w.lease()
    await w.b.begin(one)
    await w.b.end(one, Doubtful(reason="no answer within 180 s"))
    late = LateResult(segment_id=one.segments[0][0], token=one.token, mr=7)
    w.wait(200)
    await w.b.store.write_in_set(outcomes.settle_late, late)
    await w.report(one, 0)


@story
async def doubt_sent_again_by_a_person(w: World) -> None:
    one = await w.doubt()
    ids = [one.segments[0][0]]
    await w.doubts.resend(w.who(GENERAL), ids, "she asked for it")
    await w.submit(await w.again(), Took(mr=8))


@story
async def doubt_given_up_by_a_person(w: World) -> None:
    one = await w.doubt()
    await w.doubts.close(w.who(GENERAL), [one.segments[0][0]], "she got it")


# ---------------------------------------------------------------- batches that do not run


@story
async def approved_but_not_started(w: World) -> None:
    await w.b.batch(1, state=BatchState.APPROVED)


async def _close(w: World, name: str, person: str, state: BatchState) -> None:
    batch_id = await w.b.batch(1, state=state)
    w.wait(30)
    await getattr(w.batches, name)(w.who(person), batch_id, "the list was wrong")
    await w.sweep()


@story
async def held_by_a_person(w: World) -> None:
    await _close(w, "hold", GENERAL, BatchState.RUNNING)


@story
async def cancelled(w: World) -> None:
    await _close(w, "cancel", GENERAL, BatchState.RUNNING)


@story
async def withdrawn(w: World) -> None:
    await _close(w, "withdraw", "drafter", BatchState.APPROVED)


@story
async def expired_with_its_window(w: World) -> None:
    await w.b.batch(1, not_after=w.b.clock.at + timedelta(hours=1))
    w.wait(3_601)
    await w.sweep()
    await w.sweep()


@story
async def held_after_an_outage(w: World) -> None:
    await w.b.batch(1)
    w.wait(7_200)
    away, longest = timedelta(hours=2), timedelta(hours=1)
    await w.do(lambda tx: sweeps.hold_after_outage(tx, away, longest))


# ---------------------------------------------------------------- messages that wait


@story
async def waits_for_a_card_that_asks(w: World) -> None:
    await w.b.batch(1)


@story
async def waits_for_its_window(w: World) -> None:
    await w.b.batch(1, not_before=w.b.clock.at + timedelta(hours=3))


@story
async def waits_for_the_end_of_quiet_hours(w: World) -> None:
    await w.b.batch(1, category=Category.PROMOTION)
    w.wait(10 * 3_600)


@story
async def waits_for_limits_of_all_cards(w: World) -> None:
    await w.b.batch(61, recipients=[f"+86139{i:08d}" for i in range(61)])
    for _ in range(10):
        await w.b.lease(*CARDS[:6])


@story
async def waits_for_limits_of_its_recipient(w: World) -> None:
    await w.sent()
    await w.sent(card=CARDS[1])
    await w.b.batch(1)
    await w.b.lease(CARDS[2])


@story
async def no_card_fits(w: World) -> None:
    def spoil(tx):
        sims.set_paused(tx, CARDS[0], is_paused=True)
        add_cards(tx, ["89869999999999999999"])
        tx.conn.execute(
            update(modem).where(modem.c.bay == bay_of(CARDS[1])).values(state=ModemState.FAILED)
        )
        modems.set_desired(tx, bay_of(CARDS[2]), DesiredState.PAUSED)
        tx.conn.exec_driver_sql(
            "UPDATE sim SET department = 'general ' WHERE iccid = ?", (CARDS[5],)
        )
        tx.conn.exec_driver_sql("UPDATE sim SET is_reserved = 1 WHERE iccid = ?", (CARDS[3],))

    await w.do(spoil)
    await w.do(lambda tx: sims.change_state(tx, CARDS[4], CardState.LOST))
    await w.b.batch(1)


@story
async def no_card_is_of_its_group(w: World) -> None:
    await w.b.batch(1, card_group="vip")


async def _stop(w: World, kind: StopKind, target: str) -> None:
    await w.b.batch(1)
    stops = Stops(w.b.store, general_department=GENERAL, memory=StopMemory())
    await stops.place(w.who(GENERAL), kind, target, "a complaint")


@story
async def its_department_is_stopped(w: World) -> None:
    await _stop(w, StopKind.DEPARTMENT, SALES)


@story
async def a_card_is_stopped(w: World) -> None:
    await _stop(w, StopKind.CARD, CARDS[0])


# ---------------------------------------------------------------- telling


def _settings() -> Settings:
    limits = LimitsSettings(recipient=RecipientCaps(messages_per_day=2))
    return Settings(site=SiteSettings(id="test"), limits=limits)


async def told(name: str) -> str:
    """What explain says at the end of a story, with ids that change written as words."""
    sub = SubmissionRules.of(_settings())
    rules = {
        "quota": sub.quota,
        "is_open": lambda category, at: not is_quiet(sub.quiet.get(category), at),
    }
    with TemporaryDirectory() as folder:
        async with bench(Path(folder), **rules) as b:
            world = World(b, sub)
            await STORIES[name](world)
            last = await b.store.read(
                lambda conn: conn.exec_driver_sql("SELECT max(message_id) FROM message").scalar()
            )
            found = await Messages(b.store, sub).explain(world.who(GENERAL), last)
            people = {p.account_id: n for n, p in b.staff.operators.items()}
            people |= {p.account_id: n for n, p in b.staff.approvers.items()}
            people |= {b.staff.drafter.account_id: "drafter", b.staff.checker.account_id: "checker"}
    text = _written(found)
    for number, batch_id in enumerate(sorted({found.message.batch_id}), 1):
        text = text.replace(batch_id, f"<batch {number}>")
    for account_id, person in people.items():
        text = text.replace(account_id, f"<{person}>")
    return text


def _written(found: Explanation) -> str:
    one = found.message
    lines = [
        f"message {one.message_id}, line {one.line_no}, to {one.to}, card {one.iccid}: {one.state}",
        f"It {found.summary}.",
        "",
    ]
    for moment in found.moments:
        policy = f" [{moment.policy}]" if moment.policy else ""
        lines.append(f"{moment.at:%d %H:%M:%S}  {moment.what}  ({moment.actor}){policy}")
    if found.cards:
        lines.append("")
    lines += [f"{card.iccid}: {card.why_not or 'may take it'}" for card in found.cards]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write all golden files anew."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.txt"):
        path.unlink()
    for name in STORIES:
        (FOLDER / f"{name}.txt").write_text(asyncio.run(told(name)), encoding="utf-8")


if __name__ == "__main__":
    main()
