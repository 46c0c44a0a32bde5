"""Evidence packages: what is in them, who may make one, and that nobody alters one."""

import base64
import hashlib
import json

import pytest

from modemctl.errors import InvalidRequest, NotFound, PolicyRefused
from modemctl.policy.dual import DualKind
from modemctl.policy.numbers import NumberRules
from modemctl.service.packages import Packages, open_package
from modemctl.store.tables import audit_entry
from modemctl.vault import AuditKey
from tests.support.stores import AUDIT_SEED, TestClock
from tests.unit.test_audit_replay import rows_of
from tests.unit.test_records import CARD, MARY, PAUL, Archive, open_archive, receive

PHRASE = "correct horse battery"
KEY = AuditKey(AUDIT_SEED)


@pytest.fixture
async def archive(tmp_path):
    async with open_archive(tmp_path) as opened:
        opened.packages = Packages(opened.store, numbers=NumberRules(), site_id="test", key=KEY)
        yield opened


async def make(archive: Archive, **about) -> dict[str, list[dict]]:
    """A package by two persons; its files, read as its receiver reads them."""
    subject = (await archive.packages.preview(archive.anna, **about)).subject
    request_id = await archive.permit(DualKind.EVIDENCE_PACKAGE, subject)
    made = await archive.packages.make(
        archive.anna, passphrase=PHRASE, request_id=request_id, **about
    )
    sealed = base64.b64decode(made.package)
    assert made.sha256 == hashlib.sha256(sealed).hexdigest()
    assert MARY.encode() not in sealed
    files = open_package(sealed, passphrase=PHRASE, audit_public_key=bytes.fromhex(made.audit_key))
    return {
        name.removesuffix(".jsonl"): [json.loads(line) for line in octets.splitlines()]
        for name, octets in files.items()
        if name.endswith(".jsonl")
    }


async def test_a_batch_comes_with_all_that_proves_it(archive):
    batch_id = await archive.closed(MARY, PAUL)
    other = await archive.closed(PAUL)
    files = await make(archive, batch_id=batch_id)
    assert [one["batch_id"] for one in files["batch"]] == [batch_id]
    assert [json.loads(one["line"])["to"] for one in files["line"]] == [MARY, PAUL]
    leaves = bytes.fromhex(files["chunk"][0]["leaves"])
    for at, one in enumerate(files["line"]):
        own = hashlib.sha256(bytes.fromhex(one["salt"]) + one["line"].encode()).digest()
        assert leaves[32 * at : 32 * at + 32] == own == bytes.fromhex(one["leaf"])
    assert {one["kid"] for one in files["approver_key"]} == {
        one["kid"] for one in files["approval"]
    }
    assert len(files["segment"]) == 2
    assert len(files["journal"]) == 4
    assert other not in json.dumps(files)
    assert "pin" not in json.dumps(files)
    assert await archive.is_whole()


@pytest.mark.parametrize("kind", ["card", "number", "period"])
async def test_a_card_a_number_and_a_period_bring_their_traffic(archive, kind):
    await archive.closed(MARY, PAUL)
    await receive(archive, MARY, "hello from Mary")
    await receive(archive, PAUL, "hello from Paul")
    now = TestClock().now()
    about = {
        "card": {"iccid": CARD},
        "number": {"number": MARY},
        "period": {"since": now.replace(hour=0), "until": now.replace(hour=23)},
    }[kind]
    files = await make(archive, **about)
    senders = [one["sender"] for one in files["inbox"]]
    assert senders == ([MARY] if kind == "number" else [MARY, PAUL])
    assert [one["number"] for one in files["call"]] == senders
    assert [json.loads(one["line"])["to"] for one in files["line"]] == senders
    assert files["inbox"][0]["body"] == "hello from Mary"


async def test_nobody_makes_one_alone_or_of_something_else(archive):
    one, other = await archive.closed(MARY), await archive.closed(PAUL)
    request_id = await archive.permit(DualKind.EVIDENCE_PACKAGE, f"batch:{one}")
    for about, permit in (({"batch_id": one}, None), ({"batch_id": other}, request_id)):
        with pytest.raises(PolicyRefused) as caught:
            await archive.packages.make(archive.anna, passphrase=PHRASE, request_id=permit, **about)
        assert caught.value.policy == "SEC-04"
    with pytest.raises(NotFound):
        await archive.packages.preview(archive.anna, batch_id="x")
    with pytest.raises(InvalidRequest, match="at least 12"):
        await archive.packages.make(
            archive.anna, passphrase="short", request_id=request_id, batch_id=one
        )


async def test_a_package_that_was_altered_or_is_anothers_does_not_open(archive):
    batch_id = await archive.closed(MARY)
    request_id = await archive.permit(DualKind.EVIDENCE_PACKAGE, f"batch:{batch_id}")
    made = await archive.packages.make(
        archive.anna, passphrase=PHRASE, request_id=request_id, batch_id=batch_id
    )
    sealed, public = base64.b64decode(made.package), KEY.public_octets()
    altered = sealed[:-1] + bytes([sealed[-1] ^ 1])
    foreign = AuditKey(bytes(32)).public_octets()
    for octets, phrase, key, rule in (
        (sealed, "wrong horse battery", public, "wrong passphrase"),
        (altered, PHRASE, public, "wrong passphrase, or the file was altered"),
        (b"PK" + sealed, PHRASE, public, "is no evidence package"),
        (sealed, PHRASE, foreign, "another site's audit key"),
    ):
        with pytest.raises(InvalidRequest, match=rule):
            open_package(octets, passphrase=phrase, audit_public_key=key)
    actions = [one["action"] for one in await rows_of(archive.store, audit_entry)]
    assert {"evidence.package", "evidence.packed"} <= set(actions)
