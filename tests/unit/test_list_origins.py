"""The list of a notice names who answers for it and where it comes from (SMS-02)."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from modemctl.cli.sheets import show_sheet
from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.policy.digest import decode_header, encode_header
from modemctl.store import Tx
from modemctl.store.accounts import AccountKind, add_account
from modemctl.store.batches import find_batch
from tests.support.people import RETAIL, open_office
from tests.support.stores import open_store

SOURCE = "core banking, statements of Q3"


@asynccontextmanager
async def office_in(folder):
    async with open_store(folder) as store:
        yield await open_office(store)


async def header_of(office, shown):
    found = await office.store.read(lambda conn: find_batch(conn, shown.batch.batch_id))
    return decode_header(found.header)


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"list_owner": None}, PolicyRefused, "list_owner"),
        ({"list_source": None}, PolicyRefused, "list_source"),
        ({"list_owner": None, "list_source": None}, PolicyRefused, "list_owner"),
        ({"list_owner": "stranger"}, PolicyRefused, "list_owner"),
        ({"list_owner": "robot"}, PolicyRefused, "list_owner"),
        ({"list_owner": "nobody"}, InvalidRequest, "list_owner"),
        ({"list_owner": " "}, InvalidRequest, "list_owner"),
        ({"list_source": " x "}, InvalidRequest, "list_source"),
        ({"list_source": "x" * 201}, InvalidRequest, "list_source"),
        ({"list_source": "two\nlines"}, InvalidRequest, "list_source"),
        ({"category": "other", "list_owner": None, "list_source": "x y"}, InvalidRequest, None),
        ({"category": "other", "list_owner": "drafter"}, InvalidRequest, "list_source"),
    ],
)
async def test_who_does_not_say_it_is_refused(tmp_path, changes, error, field):
    async with office_in(tmp_path) as office:

        def robot(tx: Tx) -> None:
            kind = AccountKind.SYSTEM
            add_account(tx, name="robot", kind=kind, department=RETAIL, roles=["submitter"])

        await office.store.write(robot)
        with pytest.raises(error) as refused:
            await office.submit(**{"operator": "operator", **changes})
        kept = await office.batches.list_batches(office.who["system"])
    assert refused.value.field == (field or "list_owner")
    if error is PolicyRefused:
        assert refused.value.policy == "SMS-02"
    assert kept.items == []


async def test_both_are_signed_and_shown(tmp_path, capsys):
    async with office_in(tmp_path) as office:
        shown = await office.submit(list_owner="checker", list_source=SOURCE)
        header, owner = await header_of(office, shown), office.who["checker"].account_id
        sheet = await office.batches.sheet(office.who["checker"], shown.batch.batch_id)
        assert (shown.list_owner, shown.list_source) == (owner, SOURCE)
        assert shown.names[owner] == sheet.names[owner] == "checker"
    members = json.loads(sheet.header)
    assert (members["v"], members["list_owner"], members["list_source"]) == (3, owner, SOURCE)
    show_sheet({"names": dict(sheet.names), "digest": sheet.digest}, header)
    told = capsys.readouterr().err
    assert f"名单负责人: checker ({owner})" in told
    assert f"名单来源: {SOURCE}" in told


async def test_other_lists_may_go_without_as_those_of_earlier_versions(tmp_path):
    async with office_in(tmp_path) as office:
        header = await header_of(office, await office.submit(category="other"))
        assert (header.list_owner, header.list_source) == (None, None)
        octets = encode_header(header)
        assert json.loads(octets)["v"] == 2
        assert "list_owner" not in json.loads(octets)
        named = replace(header, list_owner=header.drafter, list_source=SOURCE)
        assert decode_header(encode_header(named)) == named
    for wrong in (
        encode_header(named).replace(b'"v":3', b'"v":2'),
        octets.replace(b'"v":2', b'"v":3'),
    ):
        with pytest.raises(PolicyRefused, match="changed"):
            decode_header(wrong)
