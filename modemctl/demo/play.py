"""The demo's acts, from an empty folder to the verdict."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Final

from modemctl.cli.client import Client, Json, Record
from modemctl.cli.errors import ApiProblem
from modemctl.demo import cast, script
from modemctl.demo.cast import Cast
from modemctl.demo.script import Planned
from modemctl.demo.verdict import Verdict, compare_counts, judge, read_ledger
from modemctl.demo.view import View
from modemctl.demo.world import DemoError, World

_STRANGER: Final = "+8613700000001"
_INCOMING: Final = (
    ("+8613700000002", "请问周末营业吗？"),
    ("+8613700000003", "Please call me back. Thank you!"),
    ("+8613700000004", "我的地址变更为：" + "朝阳区建国路八十八号院三号楼二单元一〇一室，" * 5),
)
_POLL: Final = 0.25
_CHAIN: Final = {
    "notice": ("wang-manager",),
    "promotion": ("sun-in-charge", "li-general-manager"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the demo was asked to play."""

    n_modems: int
    n_messages: int
    latency: float
    seed: int


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came out; `differences` empty means that both sides agree."""

    verdict: Verdict
    n_calls: int
    n_inbox: int
    n_refused_batches: int
    n_opted_out: int
    seconds: float
    messages_per_second: float
    line_utilisation: float
    differences: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Json]:
        """The summary as one flat object, for scripts."""
        states = self.verdict.states
        return {
            "accepted": self.verdict.accepted,
            "sent": self.verdict.segments_in_store,
            "delivered": states["delivered"],
            "failed": sum(states[name] for name in ("failed", "failed_partly_sent", "expired")),
            "of_these_opted_out": self.n_opted_out,
            "in_doubt": states["in_doubt"],
            "segments_in_ledger": self.verdict.segments_in_ledger,
            "duplicates_in_ledger": len(self.verdict.duplicates),
            "missing_in_ledger": len(self.verdict.missing),
            "refused_batches": self.n_refused_batches,
            "calls_recorded": self.n_calls,
            "inbox": self.n_inbox,
            "seconds": round(self.seconds, 2),
            "messages_per_second": round(self.messages_per_second, 2),
            "line_utilisation": round(self.line_utilisation, 3),
            "agrees": not self.differences,
            "differences": list(self.differences),
        }


class Play:
    """One performance."""

    def __init__(self, world: World, plan: Plan, view: View) -> None:
        self._world = world
        self._plan = plan
        self._view = view
        self._random = Random(plan.seed)  # noqa: S311 - texts, not secrets
        self._cast = Cast(account_ids={}, signers={})

    def perform(self) -> Outcome:
        """Play all acts.

        Raises:
            DemoError: something did not happen in time.
        """
        started = time.monotonic()
        self._view.act("people and keys")
        self._cast = cast.hire(self._world)
        self._view.act("SIM register: import cards, unlock them, PIN guard watching")
        self._register_cards()
        self._wait_for_bank()
        n_promotion = self._plan.n_messages // 2
        first = script.notice(self._plan.n_messages - n_promotion, self._random)
        second = script.promotion(n_promotion, self._random)
        self._view.act("what must not leave: an unapproved and an altered batch")
        refused = [self._try_unapproved(), self._try_altered()]
        self._view.act("a notice and a promotion: confirmed, signed, started")
        digest = self._submit(second)
        barred = self._opt_out(second)
        self._agree(second, digest)
        self._agree(first, self._submit(first))
        self._post("zhou-operator", f"/v1/batches/{first.batch_id}/start")
        self._view.act("incoming: three texts, two calls")
        self._incoming()
        self._view.act("sending")
        self._watch([first, second])
        return self._close([first, second], refused, barred, started)

    # ------------------------------------------------------------ acts

    def _register_cards(self) -> None:
        n_cards = cast.write_card_list(self._world)
        with (
            self._world.client("it-technician") as technician,
            (self._world.folder / "cards.csv").open("rb") as cards,
        ):
            answer = technician.send_file("POST", "/v1/sims/import", cards, format="csv")
        if answer.get("n_added") != n_cards:
            raise DemoError(f"not all cards were imported: {answer}")
        self._view.note(f"{n_cards} cards imported from a CSV with Chinese headings")

    def _wait_for_bank(self) -> None:
        def is_up(technician: Client) -> bool:
            modems = list(technician.pages("/v1/modems"))
            self._view.modems(modems)
            ready = sum(1 for modem in modems if modem.get("state") == "ready")
            return ready == self._plan.n_modems

        self._until("it-technician", is_up, limit=120, what="all modems ready")
        self._view.note(f"{self._plan.n_modems} modems ready, every card PIN-locked and unlocked")

    def _agree(self, planned: Planned, digest: str) -> None:
        """Let a second person confirm, let the chain sign."""
        confirmation: Record = {"digest": digest}
        self._post("zhao-checker", f"/v1/batches/{planned.batch_id}/confirm", confirmation)
        self._sign(planned, digest)

    def _submit(self, planned: Planned) -> str:
        """Submit a batch; returns its digest."""
        detail = self._post("approval-system", "/v1/batches", planned.request)
        totals = detail.get("totals")
        n_segments = totals.get("n_segments") if isinstance(totals, dict) else "?"
        self._view.note(
            f"{planned.request['category']}: {len(planned.texts)} messages, {n_segments} segments"
        )
        return str(detail["digest"])

    def _sign(self, planned: Planned, digest: str) -> None:
        for step, name in enumerate(_CHAIN[str(planned.request["category"])], 1):
            jws = self._cast.signers[name].sign(digest=digest, batch_id=planned.batch_id, step=step)
            self._post(name, f"/v1/batches/{planned.batch_id}/approve", {"jws": jws})
            self._view.note(f"{planned.request['category']}: step {step} signed by {name}")

    def _try_unapproved(self) -> str | None:
        planned = script.forged("unapproved")
        self._submit(planned)
        return self._start_refused(planned, "unapproved batch")

    def _try_altered(self) -> str | None:
        planned = script.forged("altered")
        self._agree(planned, self._submit(planned))
        _alter(self._world.database, planned.batch_id)
        return self._start_refused(planned, "batch altered in the database")

    def _start_refused(self, planned: Planned, what: str) -> str | None:
        try:
            self._post("zhou-operator", f"/v1/batches/{planned.batch_id}/start")
        except ApiProblem as problem:
            policy = problem.problem.get("policy")
            self._view.refusal(f"{what}: {problem}")
            return None if policy is None else str(policy)
        return None

    def _opt_out(self, planned: Planned) -> set[str]:
        """Somebody on the promotion's list answers TD before it starts."""
        number = next(reversed(planned.texts), None)
        if number is None:
            return set()
        self._control_sms(number, "TD")

        def is_noted(operator: Client) -> bool:
            return any(one.get("number") == number for one in operator.pages("/v1/opt-outs"))

        self._until("wu-operator", is_noted, limit=30, what="the opt-out noted")
        self._view.note("opt-out by SMS noted: TD")
        return {number}

    def _incoming(self) -> None:
        for number, text in _INCOMING:
            self._control_sms(number, text)
        names = self._modem_names()
        self._world.control(
            do="inject_call", modem=names[0], number=_STRANGER, outcome="missed", rings=3,
            ring_seconds=0.4,
        )  # fmt: skip
        self._world.control(
            do="inject_call", modem=names[-1], number=_STRANGER, outcome="answered", rings=2,
            ring_seconds=0.4, seconds=1.0,
        )  # fmt: skip

    def _watch(self, batches: Sequence[Planned]) -> None:
        """Show progress until every message has its final state."""
        final = {"delivered", "undelivered", "expired", "refused", "cancelled"}

        def is_over(technician: Client) -> bool:
            details = [technician.get(f"/v1/batches/{one.batch_id}") for one in batches]
            self._view.batches(details)
            self._view.modems(list(technician.pages("/v1/modems")))
            return all(_is_over(detail, final) for detail in details)

        self._until("it-technician", is_over, limit=self._send_limit(), what="all messages final")

    def _close(
        self,
        batches: Sequence[Planned],
        refused: Sequence[str | None],
        barred: set[str],
        started: float,
    ) -> Outcome:
        n_texts, n_calls = len(_INCOMING) + len(barred), 2

        def has_all(technician: Client) -> bool:
            return len(list(technician.pages("/v1/calls"))) >= n_calls and all(
                call.get("ended_at") for call in technician.pages("/v1/calls")
            )

        self._until("it-technician", has_all, limit=30, what="both calls recorded")
        with self._world.client("wu-operator") as operator:
            results = [
                line
                for one in batches
                for line in operator.lines(f"/v1/batches/{one.batch_id}/results")
            ]
            inbox = [one for one in operator.pages("/v1/inbox") if one.get("kind") != "part"]
            calls = list(operator.pages("/v1/calls"))
        lines = self._world.ledger()
        planned = {to: text for one in batches for to, text in one.texts.items()}
        verdict = judge(planned, results, read_ledger(lines), barred=barred)
        rate, utilisation = _rates(lines, self._plan)
        n_refused = sum(1 for policy in refused if policy)
        outcome = Outcome(
            verdict=verdict,
            n_calls=len(calls),
            n_inbox=len(inbox),
            n_refused_batches=n_refused,
            n_opted_out=len(barred),
            seconds=time.monotonic() - started,
            messages_per_second=rate,
            line_utilisation=utilisation,
            differences=verdict.differences,
        )
        outcome.differences += compare_counts("calls recorded", n_calls, len(calls))
        outcome.differences += compare_counts("messages in the inbox", n_texts, len(inbox))
        outcome.differences += compare_counts("batches refused", len(refused), n_refused)
        seen = sorted(str(one.get("text")) for one in inbox)
        sent = sorted([text for _, text in _INCOMING] + ["TD"] * len(barred))
        outcome.differences += [] if seen == sent else ["the inbox holds other texts than came in"]
        return outcome

    # ------------------------------------------------------------ small things

    def _post(self, name: str, path: str, body: Record | None = None) -> Record:
        with self._world.client(name) as client:
            return client.post(path, body)

    def _control_sms(self, number: str, text: str) -> None:
        to = self._random.choice(self._modem_names())
        self._world.control(**{"do": "inject_sms", "to": to, "from": number, "text": text})

    def _modem_names(self) -> list[str]:
        return sorted(path.name for path in (self._world.bank / "ports").iterdir())

    def _until(
        self, name: str, condition: Callable[[Client], bool], *, limit: float, what: str
    ) -> None:
        deadline = time.monotonic() + limit
        with self._world.client(name) as client:
            while not condition(client):
                if time.monotonic() > deadline:
                    raise DemoError(f"waited {limit:.0f} s in vain for: {what}")
                self._view.wait(_POLL)

    def _send_limit(self) -> float:
        per_modem = 3 * self._plan.n_messages / self._plan.n_modems
        return 120 + per_modem * (self._plan.latency + 0.5) * 2


def _alter(database: Path, batch_id: str) -> None:
    """What an attacker with the database, but no keys, would do: change one octet of the text."""
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        (header,) = connection.execute(
            "SELECT header FROM batch WHERE batch_id = ?", (batch_id,)
        ).fetchone()
        altered = header.replace(b"{greeting}{body}", b"{greeting}!body}", 1)
        connection.execute("UPDATE batch SET header = ? WHERE batch_id = ?", (altered, batch_id))


def _is_over(detail: Record, final: set[str]) -> bool:
    progress = detail.get("progress")
    if not isinstance(progress, dict):
        return False
    return all(not count for state, count in progress.items() if state not in final)


def _rates(lines: Sequence[Record], plan: Plan) -> tuple[float, float]:
    """Segments a second, and line utilisation, while every modem had work."""
    times: dict[str, list[float]] = {}
    for line in lines:
        if line.get("kind") == "submit":
            at = datetime.fromisoformat(str(line["time"])).timestamp()
            times.setdefault(str(line["modem"]), []).append(at)
    if not times:
        return 0.0, 0.0
    begin = max(min(of) for of in times.values())
    end = min(max(of) for of in times.values())
    n_full = sum(1 for of in times.values() for at in of if begin < at <= end)
    if len(times) < plan.n_modems or end <= begin:
        everything = sorted(at for of in times.values() for at in of)
        span = everything[-1] - everything[0]
        return (len(everything) / span if span > 0 else 0.0), 0.0
    rate = n_full / (end - begin)
    return rate, rate * plan.latency / plan.n_modems
