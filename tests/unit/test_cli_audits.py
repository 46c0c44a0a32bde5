"""The log's spot check and papers from the shell, against the real API."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.apis import ApiBench, open_api, serving
from tests.support.commands import Done, ask

WEEK = "2026-W47"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[ApiBench]:
    peers = {os.getuid(): "root"}
    async with (
        open_api(tmp_path, peers=peers) as opened,
        serving(opened),
        asyncio.TaskGroup() as group,
    ):
        run = group.create_task(opened.services.papers.run())
        yield opened
        run.cancel()


async def as_auditor(bench: ApiBench, folder: Path, *arguments: str | Path) -> Done:
    key_file = folder / "auditor"
    if not key_file.exists():
        key_file.touch(mode=0o600)
        key_file.write_text(await bench.token_of("auditor") + "\n", encoding="ascii")
    socket = bench.settings.unix_socket
    return await ask("--socket", socket, "--key-file", key_file, *arguments)


async def test_a_weeks_sample_is_drawn_and_repeated_and_no_seed_is_chosen(bench, tmp_path):
    for n in range(20):
        await bench.store.write(lambda tx, n=n: tx.audit("anna", "thing.do", f"t{n}", {}))
    early = await as_auditor(bench, tmp_path, "audit", "sample", "--week", WEEK)
    assert early.status == 1
    assert "is not over yet" in early.err
    bench.clock.advance(2 * 86_400)
    drawn = await as_auditor(bench, tmp_path, "audit", "sample", "--week", WEEK, "--share", "40")
    assert drawn.status == 0, drawn
    seed = drawn.out.split()[1].rstrip(":")
    lines = (
        await as_auditor(bench, tmp_path, "audit", "sample", "--seed", seed, "--json")
    ).out.splitlines()
    assert f": {len(lines)} of " in drawn.out.splitlines()[0]
    assert {json.loads(line)["actor"] for line in lines} >= {"anna"}
    chosen = await as_auditor(bench, tmp_path, "audit", "sample", "--seed", "77")
    assert chosen.status == 1
    assert "nobody chooses a seed" in chosen.err
    few = await as_auditor(bench, tmp_path, "audit", "sample", "--share", "29")
    assert few.status == 2


async def test_a_weeks_screening_is_made_and_acknowledged(bench, tmp_path):
    await as_auditor(bench, tmp_path, "duties")
    bench.clock.advance(2 * 86_400)
    target = tmp_path / "w47.xlsx"
    made = await as_auditor(
        bench, tmp_path, "report", "make", "screening", "--week", WEEK, "-o", target, "--json"
    )
    assert made.status == 0, made
    assert target.read_bytes().startswith(b"PK")
    report_id = json.loads(made.out)["report_id"]
    filed = await as_auditor(
        bench, tmp_path, "report", "receive", report_id, "--reference", "卷 41"
    )
    assert filed.out.strip() == f"report {report_id} is filed by auditor-all"
    duties = (await as_auditor(bench, tmp_path, "duties", "--json")).out.splitlines()
    known = {one["duty"]: one for one in map(json.loads, duties)}
    assert known["report_screening"]["done_by"] == "auditor-all"
    assert known["report_spot_check"]["is_due"]
    assert not known["report_spot_check"]["is_overdue"]
