"""A part of the audit log as a file: two persons agree, a third one checks it without modemctl."""

import asyncio
import dataclasses
import json
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.service.audit_bundle import check
from modemctl.service.audit_export import AuditExports
from modemctl.service.dual import Dual, DualKind
from modemctl.service.principal import Principal, Scope
from modemctl.store.accounts import AccountKind, add_account
from modemctl.vault import AuditKey
from tests.support.stores import AUDIT_SEED, TestClock, open_store
from tests.unit.test_audits import AUDITOR, fill

KEY = AuditKey(AUDIT_SEED)
PAGE = Path(__file__).parents[2] / "docs/audit.md"


async def auditors(store) -> list[Principal]:
    def act(tx):
        return [
            add_account(
                tx,
                name=name,
                kind=AccountKind.PERSON,
                department=None,
                roles=["auditor", "exporter"],
            )
            for name in ("audrey", "bert")
        ]

    return [
        dataclasses.replace(
            AUDITOR, account_id=one.account_id, name=one.name, is_person=True,
            scopes=frozenset({Scope.AUDIT_READ, Scope.EXPORTS_MAKE, Scope.REQUESTS_USE}),
        )
        for one in await store.write(act)
    ]  # fmt: skip


async def permit(store, audrey, bert) -> str:
    dual = Dual(store)
    asked = await dual.ask(
        audrey, kind=DualKind.EXPORT, subject="audit", details={"recipient": "court"}, reason="7/26"
    )
    await dual.confirm(bert, asked.request_id)
    return asked.request_id


def exports(store) -> AuditExports:
    return AuditExports(store, site_id="test", audit_public_key=KEY.public_octets())


async def octets_of(store, who, request_id, *, since=None, until=None) -> bytes:
    lines = await exports(store).export(who, since=since, until=until, request_id=request_id)
    return b"".join([line async for line in lines])


@pytest.fixture
async def bundle(tmp_path) -> bytes:
    async with open_store(tmp_path) as store:
        await fill(store)
        audrey, bert = await auditors(store)
        return await octets_of(store, audrey, await permit(store, audrey, bert))


def faults_of(octets: bytes) -> tuple[str, ...]:
    return check(octets.splitlines(keepends=True), KEY.public).faults


async def by_script(folder: Path, octets: bytes) -> tuple[int, str]:
    """What the script of the documentation says, run by a plain interpreter."""
    [script] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(script.splitlines()) <= 42
    (folder / "check.py").write_text(script, encoding="utf-8")
    (folder / "audit.ndjson").write_bytes(octets)
    command = [sys.executable, "-I", "check.py", "audit.ndjson", KEY.public_octets().hex()]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=folder, capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout + done.stderr


async def test_an_export_is_whole_for_modemctl_and_for_the_script_of_the_page(tmp_path, bundle):
    found = check(bundle.splitlines(keepends=True), KEY.public)
    assert found.faults == ()
    assert (found.node_id, found.first) == ("n1", 1)
    assert found.n_entries == found.last == 11  # the permit's own entries are the last of them
    assert await by_script(tmp_path, bundle) == (0, "whole: 11 entries of n1, the last is 11\n")


def edited(octets: bytes) -> bytes:
    return octets.replace(b'"actor":"anna"', b'"actor":"alma"', 1)


def cut(octets: bytes) -> bytes:
    lines = octets.splitlines(keepends=True)
    return b"".join([*lines[:-2], lines[-1]])


def shortened(octets: bytes) -> bytes:
    """Without an entry in the middle, the closing line made to fit as far as one can."""
    lines = octets.splitlines(keepends=True)
    return b"".join([*lines[:3], *lines[4:]])


def closed_by_another(octets: bytes) -> bytes:
    *lines, last = octets.splitlines(keepends=True)
    closing = json.loads(last)
    closing["signature"] = AuditKey(bytes(32)).sign(b"x").hex()
    return b"".join(lines) + json.dumps(closing).encode() + b"\n"


@pytest.mark.parametrize("attack", [edited, cut, shortened, closed_by_another])
async def test_each_change_of_a_file_shows(tmp_path, bundle, attack):
    changed = attack(bundle)
    assert changed != bundle
    assert faults_of(changed)
    status, said = await by_script(tmp_path, changed)
    assert status != 0
    assert "whole" not in said


def test_a_file_of_another_key_shows(bundle):
    found = check(bundle.splitlines(keepends=True), AuditKey(bytes(32)).public)
    assert "the file names another public key than the one given" in found.faults


@pytest.mark.parametrize("octets", [b"", b"{}\n", b"[1]\n[2]\n", b"\xff\n"])
def test_what_is_no_export_is_refused(octets):
    with pytest.raises(ValueError, match="no whole export"):
        check(octets.splitlines(keepends=True), KEY.public)


async def test_a_part_begins_and_ends_where_its_time_does(tmp_path):
    clock = TestClock()
    async with open_store(tmp_path, clock) as store:
        await fill(store, 3, 0)
        clock.advance(3_600)
        since = clock.now()
        await fill(store, 2, 0)
        clock.advance(3_600)
        until = clock.now()
        await fill(store, 2, 0)
        audrey, bert = await auditors(store)
        request_id = await permit(store, audrey, bert)
        octets = await octets_of(store, audrey, request_id, since=since, until=until)
        found = check(octets.splitlines(keepends=True), KEY.public)
        assert (found.first, found.last, found.faults) == (4, 5, ())
        later = until + timedelta(days=1)
        with pytest.raises(InvalidRequest):
            await octets_of(store, audrey, request_id, since=later)


async def test_each_export_takes_two_persons_and_counts_once(tmp_path):
    async with open_store(tmp_path) as store:
        await fill(store, 2, 0)
        audrey, bert = await auditors(store)
        with pytest.raises(PolicyRefused) as caught:
            await octets_of(store, audrey, None)
        assert caught.value.policy == "SEC-04"
        request_id = await permit(store, audrey, bert)
        with pytest.raises(PolicyRefused):
            await octets_of(store, bert, request_id)
        await octets_of(store, audrey, request_id)
        with pytest.raises(PolicyRefused):
            await octets_of(store, audrey, request_id)
