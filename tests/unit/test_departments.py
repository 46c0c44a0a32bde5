"""Departments are registered: a name that is mistyped makes nothing that belongs to nobody."""

from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import httpx2
import pytest
from sqlalchemy import delete, update

from modemctl.errors import InvalidRequest
from modemctl.store import departments as rows
from modemctl.store.accounts import AccountKind, add_account
from modemctl.store.migrate import upgrade
from modemctl.store.seals import broken_seals
from modemctl.store.tables import department
from modemctl.vault import Vault
from tests.support.apis import ApiBench, open_api
from tests.support.approved import add_cards
from tests.support.card_people import open_desk
from tests.support.departments import USUAL
from tests.support.people import RETAIL, open_office
from tests.support.stores import MASTER_KEY, TestClock, open_store, take_back

ICCID = "89860012345678901234"


@asynccontextmanager
async def admin_in(folder):
    async with open_api(folder) as bench, bench.client(bench.admin_token) as client:
        yield bench, client


async def named(client: httpx2.AsyncClient, name: str) -> dict:
    found = (await client.get("/v1/departments")).json()
    return next(one for one in found if one["name"] == name)


async def replayed(bench: ApiBench) -> list[str]:
    def look(conn):
        return [*rows.replay(conn), *broken_seals(conn, bench.store.vault)]

    return await bench.store.read(look)


async def test_a_department_is_registered_led_and_closed(tmp_path):
    async with admin_in(tmp_path) as (bench, client):
        form = {"name": "零售部", "title": "Retail", "parent": "sales"}
        made = await client.post("/v1/departments", json=form)
        assert made.status_code == 201, made.text
        assert made.json() | form == made.json()
        assert (await client.post("/v1/departments", json=form)).json() == made.json()
        other = await client.post("/v1/departments", json=form | {"title": "Loans"})
        assert (other.status_code, other.json()["field"]) == (409, "name")
        body = {"name": "wang", "kind": "person", "department": "零售部", "roles": []}
        assert (await client.post("/v1/accounts", json=body)).status_code == 201
        led = await client.put("/v1/departments/零售部/head", json={"head": "wang"})
        assert led.json()["head"] == "wang"
        assert led.json()["n_accounts"] == 1
        used = await client.post("/v1/departments/零售部/close", json={"reason": "merged"})
        assert used.status_code == 409
        assert "1 accounts" in used.json()["rule"]
        listed = (await client.get("/v1/accounts", params={"name": "wang"})).json()["items"]
        path = f"/v1/accounts/{listed[0]['account_id']}"
        assert (await client.patch(path, json={"department": "sales"})).status_code == 200
        closed = await client.post("/v1/departments/零售部/close", json={"reason": "merged"})
        assert closed.json()["state"] == "closed"
        refused = await client.post("/v1/accounts", json=body | {"name": "li"})
        assert (refused.status_code, refused.json()["rule"]) == (422, "the department is closed")
        opened = await client.post("/v1/departments", json=form | {"title": "Retail banking"})
        assert (opened.json()["state"], opened.json()["title"]) == ("active", "Retail banking")
        kept = await client.post("/v1/departments", json={"name": "零售部"})
        assert kept.json() == opened.json()
        crossed = await client.post("/v1/departments", json={"name": "零售部", "title": "sales"})
        assert crossed.status_code == 409, "its parent's name is no title of it"
        assert await replayed(bench) == []


@pytest.mark.parametrize(
    ("name", "status"), [("*", 422), (" sales", 422), ("-x", 422), ("Ｓales", 409), ("Sales", 409)]
)
async def test_a_name_that_cannot_be_or_looks_like_another_is_refused(tmp_path, name, status):
    async with admin_in(tmp_path) as (_, client):
        answer = await client.post("/v1/departments", json={"name": name})
    assert (answer.status_code, answer.json()["field"]) == (status, "name")


async def test_the_general_department_is_not_closed(tmp_path):
    async with admin_in(tmp_path) as (_, client):
        answer = await client.post("/v1/departments/general/close", json={"reason": "test"})
    assert (answer.status_code, answer.json()["policy"]) == (409, "SMS-03")


async def test_an_account_of_one_department_sees_its_own_and_registers_none(tmp_path):
    async with open_api(tmp_path) as bench:
        token = await bench.token_of("administrator", department="retail")
        async with bench.client(token) as client:
            assert [one["name"] for one in (await client.get("/v1/departments")).json()] == [
                "retail"
            ]
            answer = await client.post("/v1/departments", json={"name": "new"})
    assert (answer.status_code, answer.json()["policy"]) == (403, "SEC-01")


async def test_accounts_authorities_and_operators_name_registered_departments(tmp_path):
    async with admin_in(tmp_path) as (bench, client):
        body = {"name": "wang", "kind": "person", "department": "retial", "roles": []}
        answer = await client.post("/v1/accounts", json=body)
        problem = answer.json()
        assert (answer.status_code, problem["field"], problem["value"]) == (
            422, "department", "retial",
        )  # fmt: skip
        assert problem["cure"].startswith("did you mean retail? Else an administrator registers")
        assert problem["cure"].endswith("modemctl department add retial")
        made = await client.post("/v1/accounts", json=body | {"department": "retail"})
        account_id = made.json()["account_id"]
        path = f"/v1/accounts/{account_id}"
        assert (await client.patch(path, json={"department": "retial"})).status_code == 422
        until = (bench.clock.now() + timedelta(days=9)).isoformat()
        grant = {
            "account_id": account_id, "kind": "manager", "department": "retial",
            "valid_until": until, "reference": "form 1",
        }  # fmt: skip
        assert (await client.post("/v1/authorisations", json=grant)).json()["value"] == "retial"
        all_of_them = await client.post("/v1/authorisations", json=grant | {"department": "*"})
        assert all_of_them.status_code == 201, all_of_them.text
        token = await bench.token_of("approver")
        form = {
            "account": "wang", "department": "retial", "valid_until": until, "reference": "f",
            "undertaking": "1",
        }  # fmt: skip
        async with bench.client(token) as manager:
            answer = await manager.post("/v1/operators", json=form)
    assert (answer.status_code, answer.json()["policy"]) == (422, "SMS-06")


async def test_a_list_of_cards_names_each_line_and_one_command_for_all(tmp_path):
    lines = "iccid,department\n" + "".join(
        f"8986001234567890123{i},{name}\n"
        for i, name in enumerate(("sales", "slaes", "零售部", "slaes"))
    )
    async with admin_in(tmp_path) as (bench, client):
        path = "/v1/sims/import?format=csv"
        token = await bench.token_of("technician")
        async with bench.client(token) as technician:
            told = await technician.post(path + "&dry_run=true", content=lines.encode())
            faults = told.json()["errors"]
            assert [(one["field"], one["policy"]) for one in faults] == [
                ("line 3: department", "SIM-01"),
                ("line 4: department", "SIM-01"),
                ("line 5: department", "SIM-01"),
            ], told.text
            assert faults[0]["rule"] == "the department is not registered: slaes"
            assert faults[0]["cure"].startswith("did you mean sales?")
            assert faults[1]["cure"].endswith("modemctl department add slaes '零售部'")
            await client.post("/v1/departments", json={"name": "零售部"})
            good = lines.replace("slaes", "sales")
            done = await technician.post(path, content=good.encode())
            assert done.json()["n_added"] == 4, done.text
        assert (await named(client, "零售部"))["n_cards"] == 1


async def test_a_card_is_asked_for_by_a_registered_department_alone(tmp_path):
    async with open_api(tmp_path) as bench:
        token = await bench.token_of("card_requester")
        form = {"department": "retial", "holder": "王芳", "purpose": "x", "reason": "y"}
        async with bench.client(token) as client:
            answer = await client.post(f"/v1/sims/{ICCID}/request", json=form)
    assert (answer.status_code, answer.json()["policy"]) == (422, "SIM-05")


async def test_a_pools_card_has_the_registered_head_as_holder(tmp_path):
    async with open_api(tmp_path) as bench, AsyncExitStack() as stack:
        desk = await open_desk(bench, stack)
        admin = await stack.enter_async_context(bench.client(bench.admin_token))
        set_to = await admin.put("/v1/departments/retail/head", json={"head": "anna"})
        assert set_to.status_code == 200, set_to.text
        asked = await desk.request("anna", ICCID, holder=None, user_name=None, is_pool=True)
        assert asked.status_code == 201, asked.text
        await desk.must("sun", ICCID, "review")
        shown = await desk.must("head", ICCID, "approve")
    assert shown["holder"] == "anna"


async def test_a_batch_of_an_unregistered_department_is_refused_at_hand_in(tmp_path):
    async with open_store(tmp_path) as store:
        office = await open_office(store)

        def close(tx):
            before = rows.find(tx.conn, tx.vault, RETAIL)
            rows.change(tx, before, state=rows.DepartmentState.CLOSED)

        await store.write(close)
        with pytest.raises(InvalidRequest, match="the department is closed") as caught:
            await office.submit(1)
    assert caught.value.policy == "SMS-01"


@pytest.mark.sqlite_only  # an older schema, by its file
async def test_names_in_use_are_registered_when_the_database_is_upgraded(tmp_path):
    async with open_store(tmp_path) as store:

        def fill(tx):
            add_cards(tx, [ICCID], department="贷款部")
            add_account(tx, name="x", kind=AccountKind.PERSON, department="east", roles=[])

        await store.write(fill)
    take_back(tmp_path, "0033")
    url = f"sqlite:///{tmp_path}/modemctl.db"
    upgrade(url, vault=Vault(MASTER_KEY), site_id="test", now=TestClock().now())
    async with open_store(tmp_path) as store:
        found = await store.read(lambda conn: rows.read_all(conn, store.vault))
    assert [one.name for one in found] == ["east", "贷款部"]


@pytest.mark.parametrize("change", ["head", "state", "gone"])
async def test_a_row_that_was_changed_or_taken_out_is_named(tmp_path, change):
    async with admin_in(tmp_path) as (bench, client):
        await client.post("/v1/departments", json={"name": "new"})

        def attack(tx):
            ours = department.c.name == "new"
            if change == "gone":
                tx.conn.execute(delete(department).where(ours))
            else:
                tx.conn.execute(update(department).where(ours).values(**{change: "closed"}))

        await bench.store.write(attack)
        assert any("department new" in line for line in await replayed(bench))
        body = {"name": "li", "kind": "person", "department": "new", "roles": []}
        answer = await client.post("/v1/accounts", json=body)
    assert answer.status_code == (422 if change == "gone" else 403)


def test_the_tests_own_departments_are_in_order():
    assert sorted(USUAL) == list(USUAL)
