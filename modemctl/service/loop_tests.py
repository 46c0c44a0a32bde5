"""Cards write to themselves: under a standing approval, and not otherwise (SMS-09, SIM-18)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import Final

from modemctl.errors import InvalidRequest, PolicyRefused, StoreError, TamperedError
from modemctl.lifecycle import CardState
from modemctl.model import Category, Iccid
from modemctl.policy.hours import is_quiet
from modemctl.policy.loops import Loop, judge_loop
from modemctl.service.batch_views import BatchView
from modemctl.service.batches import Batches, BatchRequest, Recipient, SubmissionRules
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, Tx, loop_results, loopbacks, sims
from modemctl.store.batches import Batch
from modemctl.store.engine import UNREAD, UNREADABLE, readable_cells
from modemctl.store.loopbacks import Standings

NO_APPROVAL: Final = "no SMS: no standing approval"
TEXT: Final = "modemctl self-test: a card's message to itself."
"""What cards write to themselves where a standing approval is proposed without a text."""
_MOST_CARDS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A standing approval to be asked for; `drafter` and `operator` are account ids or names.

    `text` None: a usual one; `days` None: as long as the site allows.
    """

    batch_id: str
    department: str
    drafter: str
    operator: str
    runs_per_week: int
    days: int | None = None
    text: str | None = field(default=None, repr=False)


class LoopTests:
    """Sends cards' messages to themselves, and tells what came of them."""

    def __init__(self, store: Store, batches: Batches, rules: SubmissionRules) -> None:
        self._store = store
        self._batches = batches
        self._rules = rules

    async def propose(self, who: Principal, asked: Proposal) -> BatchView:
        """Submit a standing approval to the numbers of a department's active cards.

        It then goes the way of any batch of category `other`: confirmed, signed by its chain.

        Raises:
            NotPermitted, InvalidRequest, PolicyRefused, Conflict: as a submission.
        """
        who.require(Scope.BATCHES_SUBMIT)
        lines = await self._own_numbers(asked.department)
        if not lines:
            raise InvalidRequest(
                "no active card of this department has a number",
                field="department",
                value=asked.department[:80],
                cure="modemctl sims list names the cards",
            )
        until = None
        if asked.days is not None:
            until = self._store.clock.now() + timedelta(days=asked.days)
        request = BatchRequest(
            batch_id=asked.batch_id,
            category=Category.OTHER,
            text=asked.text or TEXT,
            department=asked.department,
            drafter=asked.drafter,
            operator=asked.operator,
            not_after=until,
            runs_per_week=asked.runs_per_week,
        )
        return await self._batches.submit(who, request, lines)

    @property
    def is_quiet(self) -> bool:
        """Whether no message may leave now: its category's quiet hours."""
        return is_quiet(self._rules.quiet.get(Category.OTHER), self._store.clock.now())

    async def run(self, *, by: str, department: str | None) -> Mapping[str, str]:
        """Send under each department's standing approval; department → why nothing was sent.

        A department for which it was sent has an empty text, one without an approval none.
        """

        def find(tx: Tx) -> tuple[Standings, Standings]:
            allowed = loopbacks.allowed(tx, department=department)
            return allowed, loopbacks.held(tx, department=department)

        allowed, held = await self._store.write(find)
        unread = {**held.unread, **allowed.unread}
        told = {name: f"no SMS: batch {one}: {UNREAD}" for one, name in unread.items()}
        told |= {one.department: _told_held(one) for one in held.known}
        if self.is_quiet:
            return told | {one.department: "no SMS: quiet hours" for one in allowed.known}
        for one in allowed.known:
            name = one.department
            if told.get(name) != "":
                told[name] = await self._run_one(one, by)
        return told

    async def _run_one(self, one: Batch, by: str) -> str:
        rules = self._rules.approvals

        def act(tx: Tx) -> str:
            with readable_cells():
                return loopbacks.run(tx, one, by=by, rules=rules)

        try:
            await self._store.write(act)
        except PolicyRefused as refusal:
            return f"no SMS: {refusal.rule} (policy: {refusal.policy})"
        except TamperedError as error:
            return f"no SMS: {error}"
        except StoreError:
            raise
        except UNREADABLE:
            return f"no SMS: batch {one.batch_id}: {UNREAD}"
        return ""

    async def results(self) -> Mapping[Iccid, Loop]:
        """What came of the latest message of each card to itself."""
        vault, now = self._store.vault, self._store.clock.now()
        found = await self._store.read(lambda conn: loop_results.latest(conn, vault, now=now))
        return {iccid: judge_loop(facts, now) for iccid, facts in found.items()}

    async def _own_numbers(self, department: str) -> Sequence[Recipient]:
        vault = self._store.vault
        query = sims.Query(department=department, state=CardState.ISSUED)
        cards = await self._store.read(
            lambda conn: sims.find(conn, vault, query, after=None, limit=_MOST_CARDS)
        )
        known = [one.number for one in cards if one.number is not None and one.is_intact]
        return [Recipient(line_no=n, to=to, variables={}) for n, to in enumerate(known, 1)]


def _told_held(standing: Batch) -> str:
    since = f"{standing.state_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return (
        f"no SMS: the standing approval is held since {since} ({standing.reason});"
        f" to go on: modemctl batch resume {standing.batch_id}"
    )
