"""Cards on their way through the guard, each frozen at one point of one command, until `kill -9`.

Run as `python -m tests.support.frozen_fleet FOLDER`: it reads `plan.json` there, unlocks every
card with the fleet's own code, and says `frozen` once all that freeze by themselves have done so.
Frozen at `answer_out` are those whose modem has done the command and owes the answer.
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from drivers.interface import Driver
from drivers.registry import probe
from modemctl.config.settings import LockMode, PinMode, SimsSettings
from modemctl.fleet.checking import Fit, check_card
from modemctl.fleet.unlocking import unlock
from modemctl.store import Store, pin_tries, puks
from modemctl.telemetry import Telemetry
from tests.support.stores import open_store


class Secret(StrEnum):
    """What carries a secret to the card."""

    CPIN = "CPIN"
    CLCK = "CLCK"
    CPWD = "CPWD"
    PUK = "PUK"


class Point(StrEnum):
    """Where a card freezes, in the order of things."""

    BEFORE_COMMIT = "before_commit"
    AFTER_COMMIT = "after_commit"
    ANSWER_OUT = "answer_out"
    BEFORE_RECORD = "before_record"
    AFTER_RECORD = "after_record"


@dataclass(frozen=True)
class Freeze:
    """One card's place in the plan."""

    modem: str
    port: str
    command: Secret
    point: Point


class Freezer:
    """Counts who has frozen; nobody thaws."""

    def __init__(self, n: int) -> None:
        self._n_left = n

    async def freeze(self) -> None:
        self._n_left -= 1
        if self._n_left == 0:
            print("frozen", flush=True)
        await asyncio.Event().wait()


class FreezingStore:
    """The real store; one card stops before or after its requests go through."""

    def __init__(self, store: Store, freeze: Freeze, freezer: Freezer) -> None:
        self._store = store
        self._freeze = freeze
        self._freezer = freezer
        self._cleared: int | str | None = None

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    async def write_in_set(self, act, item):
        freeze = self._freeze
        is_ours = self._is_claim_of_ours(act, item)
        if is_ours and freeze.point is Point.BEFORE_COMMIT:
            await self._freezer.freeze()
        is_record = act in {pin_tries.record, puks.record} and self._cleared == _key(item)
        if is_record and freeze.point is Point.BEFORE_RECORD:
            await self._freezer.freeze()
        answer = await self._store.write_in_set(act, item)
        if is_record and freeze.point is Point.AFTER_RECORD:
            await self._freezer.freeze()
        if is_ours and isinstance(answer, pin_tries.ClearedTry | puks.ClearedPuk):
            self._cleared = _key(answer)
            if freeze.point is Point.AFTER_COMMIT:
                await self._freezer.freeze()
        return answer

    def _is_claim_of_ours(self, act, item) -> bool:
        if act is puks.claim:
            return self._freeze.command is Secret.PUK
        is_try = act is pin_tries.claim and item.wants_try and not item.is_peek
        return is_try and item.command == self._freeze.command.value


def _key(item) -> int | str | None:
    return getattr(item, "attempt_id", None) or getattr(item, "request_id", None)


async def start(driver: Driver, store: Store, bay: str, *, pin: PinMode = PinMode.KEEP):
    """Check and unlock a card as its actor does."""
    found = await check_card(driver, store, bay)
    assert isinstance(found, Fit), found
    settings = SimsSettings(lock=LockMode.ENFORCE, pin=pin)
    telemetry = Telemetry(version="test")
    return await unlock(driver, store, found.iccid, bay, settings, telemetry=telemetry)


async def _run(store: Store, freeze: Freeze, freezer: Freezer) -> None:
    driver = await probe(freeze.port, lambda event: None)
    await driver.initialise()
    freezing = FreezingStore(store, freeze, freezer)
    pin = PinMode.RANDOM if freeze.command is Secret.CPWD else PinMode.KEEP
    await start(driver, freezing, freeze.modem, pin=pin)
    raise AssertionError(f"{freeze} went through")


async def main(folder: Path) -> None:
    """Freeze all of the plan."""
    plan = [
        Freeze(
            modem=one["modem"],
            port=one["port"],
            command=Secret(one["command"]),
            point=Point(one["point"]),
        )
        for one in json.loads((folder / "plan.json").read_text())
    ]
    freezer = Freezer(sum(one.point is not Point.ANSWER_OUT for one in plan))
    async with open_store(folder) as store, asyncio.TaskGroup() as group:
        for one in plan:
            group.create_task(_run(store, one, freezer))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
