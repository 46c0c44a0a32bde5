"""A bank with work for the benchmarks: the demo's world and people, as many messages as wanted."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from modemctl.cli.client import Json
from modemctl.demo import cast
from modemctl.demo.cast import Cast
from modemctl.demo.world import World, open_world

SETTINGS: Final = {
    # What is measured is the machinery: limits that do not bind.
    "limits.segments_per_minute": "100000",
    "limits.segments_per_hour": "1000000",
    "limits.segments_per_day": "10000000",
    "limits.minimum_gap": "0.0",
    "api.max_json_bytes": "67108864",
    "sms.request_reports": "true",  # each segment brings one
}
TEXT: Final = "【示例公司】您的第{n}号通知已到，请查收。回复TD退订"
"""One segment, UCS-2, as most of the real traffic."""
CHAINS: Final = {"notice": ("wang-manager",), "promotion": ("sun-in-charge", "li-general-manager")}
OPERATORS: Final = {"notice": "zhou-operator", "promotion": "wu-operator"}
NOTICE_BLOCK: Final = 9
PROMOTION_BLOCK: Final = 6
_PATIENCE: Final = 120.0
_POLL: Final = 0.2


def number_of(block: int, index: int) -> str:
    """The recipient of this index in a block."""
    return f"+8613{block}{index:08}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Staffed:
    """A world with people, cards and READY modems; `import_seconds` it took them to be so."""

    world: World
    cast: Cast
    n_modems: int
    import_seconds: float

    def n_ready(self) -> int:
        """How many modems are READY."""
        with self.world.client("it-technician") as technician:
            return sum(one.get("state") == "ready" for one in technician.pages("/v1/modems"))

    def start(self, n_messages: int) -> list[str]:
        """Submit, confirm, sign and start batches that keep every card busy; their ids."""
        ready = self.prepare(n_messages)
        self.release(ready)
        return [batch_id for _, batch_id in ready]

    def prepare(self, n_messages: int, *, first: int = 0) -> list[tuple[str, str]]:
        """Submit, confirm and sign batches for every card; category and id of each.

        Every other card is the general department's: it sends promotions, the rest notices.
        """
        n_promotions = n_messages * (self.n_modems // 2) // self.n_modems
        return [
            (category, self.approved(category, n, block=block, first=first))
            for category, n, block in (
                ("notice", n_messages - n_promotions, NOTICE_BLOCK),
                ("promotion", n_promotions, PROMOTION_BLOCK),
            )
            if n
        ]

    def release(self, ready: Sequence[tuple[str, str]]) -> None:
        """Start what was prepared."""
        for category, batch_id in ready:
            with self.world.client(OPERATORS[category]) as operator:
                operator.post(f"/v1/batches/{batch_id}/start")

    def approved(self, category: str, n_messages: int, *, block: int, first: int = 0) -> str:
        """Submit and approve a batch, to numbers of a block from `first` on; its id."""
        batch_id = self.submit(category, n_messages, block=block, first=first)
        self.approve(category, batch_id)
        return batch_id

    def submit(
        self, category: str, n_messages: int, *, block: int, first: int = 0, starts: bool = False
    ) -> str:
        """Submit a batch of one segment a message, which `starts` by itself or not; its id."""
        batch_id = str(uuid.uuid4())
        recipients: list[Json] = [
            {"to": number_of(block, index), "variables": {"n": str(index)}}
            for index in range(first, first + n_messages)
        ]
        with self.world.client("approval-system") as system:
            detail = system.post(
                "/v1/batches",
                {
                    "batch_id": batch_id,
                    "category": category,
                    "text": TEXT,
                    "department": cast.SALES,
                    "drafter": "liu-drafter",
                    "operator": OPERATORS[category],
                    "starts_itself": starts,
                    "list_owner": "liu-drafter",
                    "list_source": "made for this measurement",
                    "recipients": recipients,
                },
            )
        if detail.get("n_segments") != n_messages:
            raise RuntimeError(f"not one segment a message: {detail.get('totals')}")
        return batch_id

    def confirm(self, batch_id: str) -> str:
        """Confirm a batch as the second person; its digest."""
        with self.world.client("zhao-checker") as checker:
            digest = str(checker.get(f"/v1/batches/{batch_id}")["digest"])
            checker.post(f"/v1/batches/{batch_id}/confirm", {"digest": digest})
        return digest

    def approve(self, category: str, batch_id: str) -> None:
        """Confirm a batch and sign each step of its chain."""
        digest = self.confirm(batch_id)
        for step, name in enumerate(CHAINS[category], 1):
            jws = self.cast.signers[name].sign(digest=digest, batch_id=batch_id, step=step)
            with self.world.client(name) as approver:
                approver.post(f"/v1/batches/{batch_id}/approve", {"jws": jws})

    def hold(self, batch_ids: Sequence[str]) -> None:
        """Stop the batches."""
        for category, batch_id in zip(OPERATORS, batch_ids, strict=False):
            with self.world.client(OPERATORS[category]) as operator:
                operator.post(f"/v1/batches/{batch_id}/hold", {"reason": "benchmark over"})

    def progress(self, batch_ids: Sequence[str]) -> Counter[str]:
        """Segments of these batches by state."""
        counts: Counter[str] = Counter()
        with self.world.client("it-technician") as technician:
            for batch_id in batch_ids:
                found = technician.get(f"/v1/batches/{batch_id}").get("progress")
                assert isinstance(found, dict)
                counts.update({state: int(str(n)) for state, n in found.items()})
        return counts


@contextmanager
def open_staffed(
    *,
    n_modems: int,
    latency: float,
    seed: int,
    patience: float = _PATIENCE,
    settings: Mapping[str, str] | None = None,
    keep: Path | None = None,
    personas: str = "mixed",
) -> Iterator[Staffed]:
    """A bank whose modems are all READY, with nothing to send; `settings` beside the usual ones.

    `keep`: the folder to use, known before the bank starts in it.
    """
    with open_world(
        n_modems=n_modems,
        latency=latency,
        seed=seed,
        keep=keep,
        settings={**SETTINGS, **(settings or {})},
        personas=personas,
    ) as world:
        people = cast.hire(world)
        n_cards = cast.write_card_list(world)
        begin = time.monotonic()
        with (
            world.client("it-technician") as technician,
            (world.folder / "cards.csv").open("rb") as cards,
        ):
            technician.send_file("POST", "/v1/sims/import", cards, format="csv")
        staffed = Staffed(world=world, cast=people, n_modems=n_modems, import_seconds=0.0)
        wait_until(
            lambda: staffed.n_ready() == n_cards,
            what=f"{n_cards} modems ready",
            seconds=patience,
        )
        yield replace(staffed, import_seconds=time.monotonic() - begin)


def metrics(world: World) -> str:
    """The daemon's metrics as text."""
    import httpx2

    transport = httpx2.HTTPTransport(uds=str(world.connection.socket_path), verify=False)
    with httpx2.Client(transport=transport, base_url="http://modemctl", timeout=30) as http:
        return http.get("/metrics").raise_for_status().text


def wait_until(holds: Callable[[], bool], *, what: str, seconds: float = _PATIENCE) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not come true.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for: {what}")
        time.sleep(_POLL)
