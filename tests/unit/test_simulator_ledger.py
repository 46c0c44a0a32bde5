"""The ledger's file: whole lines, whatever happened to the process or the disk before."""

import resource
from pathlib import Path

import pytest

from simulator import ledger
from simulator.ledger import Ledger
from tests.support.virtual_bank import virtual_bank


def test_line_that_a_killed_run_left_torn_spoils_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b'{"n":1,"kind":"submit"}\n{"n":2,"ki')
    book = Ledger(path)
    book.add("power", event="boot")
    book.close()
    found = [(line["n"], line["kind"]) for line in ledger.read(path)]
    assert found == [(1, "submit"), (3, "power")]
    assert ledger.page(path, {}, offset=0, limit=10)[1] == path.stat().st_size


def test_ledger_that_ended_well_is_gone_on_with_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for _ in range(2):
        book = Ledger(path)
        book.add("power", event="boot")
        book.close()
    assert [line["n"] for line in ledger.read(path)] == [1, 2]
    assert path.read_bytes().count(b"\n") == 2


def test_line_that_the_disk_took_half_of_does_not_spoil_the_next(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    book.add("power", event="boot")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (book.path.stat().st_size + 12, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            book.add("power", event="gone")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    book.add("power", event="back")
    assert [line["event"] for line in book.read()] == ["boot", "back"]
    book.close()


def test_page_from_the_middle_of_a_line_begins_with_the_next(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    for event in ("boot", "off"):
        book.add("power", event=event)
    found, _ = ledger.page(book.path, {}, offset=5, limit=10)
    assert [line["event"] for line in found] == ["off"]
    book.close()


def test_ledger_and_cards_are_for_their_owner_alone(tmp_path: Path) -> None:
    with virtual_bank(tmp_path, modems=1):
        modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("cards.csv", "ledger.jsonl")]
    assert modes == [0o600, 0o600]
