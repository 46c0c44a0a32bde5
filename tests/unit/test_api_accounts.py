"""Accounts, keys and authorities over HTTP."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.apis import open_api


@pytest.fixture
async def bench(tmp_path):
    async with open_api(tmp_path) as opened:
        yield opened


def base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


async def test_an_account_lives_from_making_to_revoking(bench):
    async with bench.client(bench.admin_token) as client:
        made = await client.post(
            "/v1/accounts",
            json={"name": "anna", "kind": "person", "department": "sales", "roles": ["approver"]},
        )
        assert made.status_code == 201
        account = made.json()
        where = f"/v1/accounts/{account['account_id']}"
        assert account["roles"] == ["approver"]
        again = await client.post(
            "/v1/accounts", json={"name": "anna", "kind": "person", "roles": []}
        )
        assert again.status_code == 409
        issued = (await client.post(f"{where}/keys")).json()
        assert issued["token"].startswith("mk_")
        async with bench.client(issued["token"]) as hers:
            assert (await hers.get("/v1/whoami")).json()["department"] == "sales"
            changed = await client.patch(where, json={"roles": ["checker", "submitter"]})
            assert changed.json()["roles"] == ["checker", "submitter"]
            assert changed.json()["department"] == "sales"
            await client.post(f"{where}/freeze", json={"reason": "odd hours"})
            assert (await hers.get("/v1/whoami")).status_code == 401
            await client.post(f"{where}/reactivate", json={"reason": "cleared"})
            assert (await hers.get("/v1/whoami")).status_code == 401
            await bench.confirm_all()
            assert (await hers.get("/v1/whoami")).status_code == 200
            ended = await client.post(f"{where}/revoke", json={"reason": "left"})
            assert ended.json()["state"] == "revoked"
            assert (await hers.get("/v1/whoami")).status_code == 401
        found = (await client.get("/v1/accounts", params={"name": "anna"})).json()
        assert [one["account_id"] for one in found["items"]] == [account["account_id"]]


async def test_lists_page_by_cursor(bench):
    for name in ("hq", "hall", "loans"):
        await bench.token_of("monitor", department=name)
    async with bench.client(bench.admin_token) as client:
        names, cursor = [], None
        while True:
            params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await client.get("/v1/accounts", params=params)).json()
            names += [one["name"] for one in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        wrong = await client.get("/v1/accounts", params={"cursor": "nonsense"})
    assert names == ["monitor-hall", "monitor-hq", "monitor-loans", "root"]
    assert wrong.json()["field"] == "cursor"


async def test_an_approvers_key_is_registered_raw_or_as_a_jwk(bench):
    token = await bench.token_of("approver")
    async with bench.client(token) as hers:
        account_id = (await hers.get("/v1/whoami")).json()["account_id"]
    where = f"/v1/accounts/{account_id}/approver-keys"
    raw, other = (Ed25519PrivateKey.generate().public_key().public_bytes_raw() for _ in range(2))
    async with bench.client(bench.admin_token) as client:
        first = await client.post(where, json={"public_key": base64url(raw)})
        assert first.status_code == 201
        assert (await client.get(where)).json() == []  # nothing counts before two have said so
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64url(other)}
        assert (await client.post(where, json={"jwk": jwk})).status_code == 201
        await bench.confirm_all()
        listed = (await client.get(where)).json()
        assert {one["public_key"] for one in listed} == {base64url(raw), base64url(other)}
        assert (await client.post(where, json={"jwk": jwk})).status_code == 409
        for wrong in (
            {}, {"jwk": jwk, "public_key": "AA"}, {"public_key": "!!"}, {"public_key": "AA"},
            {"jwk": jwk | {"d": "c2VjcmV0"}}, {"jwk": {"kty": "RSA"}},
            {"public_key": base64url(raw), "valid_until": "2026-01-01T00:00:00Z"},
            {"public_key": base64url(raw), "valid_until": "2027-01-01T00:00:00"},
        ):  # fmt: skip
            answer = await client.post(where, json=wrong)
            assert answer.status_code == 422, wrong
            assert "c2VjcmV0" not in answer.text
        kid = first.json()["details"]["kid"]
        ended = await client.post(f"/v1/approver-keys/{kid}/revoke", json={"reason": "compromised"})
        assert ended.json()["revoke_reason"] == "compromised"
        assert len((await client.get(where)).json()) == 2
        alarms = (await client.get("/v1/events", params={"kind": "alarm"})).json()["items"]
        assert alarms[-1]["data"] == {
            "alarm": "approver_key", "approver_key": "compromised", "kid": kid, "held": [],
        }  # fmt: skip


async def test_an_authorisation_is_granted_listed_and_withdrawn(bench):
    token = await bench.token_of("operator")
    async with bench.client(token) as hers:
        account_id = (await hers.get("/v1/whoami")).json()["account_id"]
    grant = {
        "account_id": account_id, "kind": "manager", "department": "sales",
        "valid_until": "2027-03-01T00:00:00+08:00", "reference": "F-7",
    }  # fmt: skip
    async with bench.client(bench.admin_token) as client:
        made = await client.post("/v1/authorisations", json=grant)
        assert made.status_code == 201
        await bench.confirm_all()
        listed = (await client.get("/v1/authorisations", params={"kind": "manager"})).json()
        assert listed["items"][0]["valid_from"] == "2026-11-21T04:00:00Z"
        assert listed["items"][0]["request_id"] == made.json()["request_id"]
        assert [one["authorisation_id"] for one in listed["items"]] == [1]
        ended = await client.post("/v1/authorisations/1/withdraw", json={"reason": "left"})
        assert ended.json()["revoked_at"] is not None
        missing = await client.post("/v1/authorisations/2/withdraw", json={"reason": "left"})
        assert missing.status_code == 404
        odd = await client.post("/v1/authorisations", json=grant | {"kind": "king"})
        assert odd.json()["field"] == "kind"


async def test_an_auditor_reads_and_verifies_the_log(bench):
    token = await bench.token_of("auditor")
    async with bench.client(token) as client:
        page = (await client.get("/v1/audit", params={"action": "key.issue", "limit": 1})).json()
        assert page["items"][0]["actor"] == "root"
        assert page["next"] is not None
        (report,) = (await client.post("/v1/audit/verify")).json()
        told = (await client.post("/v1/audit/verify/follow")).text.splitlines()
        *progress, last = [json.loads(line) for line in told]
        stages = dict.fromkeys(one["progress"]["stage"] for one in progress)
        assert list(stages) == ["segments", "seals", "rows"]
        assert last["reports"][0]["faults"] == []
        assert report["faults"] == []
        assert report["n_entries"] == 4


async def test_readyz_names_each_check_and_turns_503_when_one_fails(bench):
    async def wrong() -> str:
        return "clock is not synchronised; start chronyd"

    async with bench.client() as client:
        good = await client.get("/readyz")
        assert good.status_code == 200
        assert {one["name"] for one in good.json()["checks"]} == {"store_read", "store_write"}
        bench.services.health.register("clock", wrong)
        assert (await client.get("/readyz")).status_code == 200  # the answer of a moment ago
        bench.clock.advance(1)
        bad = await client.get("/readyz")
    assert bad.status_code == 503
    assert bad.json()["is_ready"] is False
    assert bad.json()["checks"][-1] == {
        "name": "clock", "is_good": False, "detail": "clock is not synchronised; start chronyd",
    }  # fmt: skip
