"""A check that hangs is told, and holds up no other."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from modemctl.clock import SystemClock
from modemctl.doctor import examine
from modemctl.doctor.facts import Facts
from modemctl.doctor.findings import Finding, Verdict, ok
from modemctl.doctor.limits import NoAnswer, within
from modemctl.doctor.subject import Subject
from tests.support.doctors import facts_of, write

LIMIT = 0.3


class Hanging:
    """Reads that come to no end until the block is left, as from a dead mount."""

    def __enter__(self) -> "Hanging":
        self._out, self._in = os.pipe()
        return self

    def read(self) -> bytes:
        return os.read(self._out, 1)

    def __exit__(self, *_: object) -> None:
        os.close(self._in)
        for thread in threading.enumerate():
            if thread.name == "check":
                thread.join(10)
        os.close(self._out)


def machine(root: Path) -> Facts:
    """With a clock that runs: the limits are of real time."""
    return replace(facts_of(root), clock=SystemClock())


def test_what_came_before_it_hung_is_told() -> None:
    with Hanging() as mount:

        def work() -> Iterator[int]:
            yield 1
            mount.read()
            yield 2

        heard = within(LIMIT, SystemClock(), work)
        assert next(heard) == 1
        with pytest.raises(NoAnswer, match=r"did not answer within 0\.3 s"):
            next(heard)


def test_failure_of_a_check_is_raised_to_who_asked() -> None:
    def work() -> Iterator[int]:
        yield 1
        raise LookupError("no such thing")

    heard = within(10.0, SystemClock(), work)
    assert next(heard) == 1
    with pytest.raises(LookupError, match="no such thing"):
        next(heard)


def test_checks_that_hang_take_together_no_longer_than_one(tmp_path: Path) -> None:
    config = write(tmp_path, "modemctl.toml", '[site]\nid = "here"\n')
    with Hanging() as mount:

        def check_disk(_: Subject) -> Iterator[Finding]:
            yield ok("room", "plenty")
            mount.read()

        def check_folders(_: Subject) -> Iterator[Finding]:
            mount.read()
            yield ok("state folder", "there")

        def check_clock(_: Subject) -> Iterator[Finding]:
            yield ok("clock", "synchronised")

        clock = SystemClock()
        begun = clock.monotonic()
        checks = (check_disk, check_folders, check_disk, check_folders, check_clock)
        facts = machine(tmp_path)
        found = {one.check: one for one in examine(facts, config, checks=checks, limit=3.0)}
        assert clock.monotonic() - begun < 9.0, "one after the other they take 12"
    assert found["settings"].verdict is Verdict.OK
    assert (found["room"].verdict, found["clock"].verdict) == (Verdict.OK, Verdict.OK)
    for name in ("disk", "folders"):
        assert found[name].verdict is Verdict.FAIL
        assert "did not answer" in found[name].seen
        assert "findmnt" in found[name].cure
