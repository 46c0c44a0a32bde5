"""Every route as every role: the documented scope is the one that is asked for."""

import re

import httpx2
import pytest

from modemctl.service.principal import ROLES, Scope, scopes_of
from tests.support.apis import ApiBench, open_api

NOBODY = "00000000-0000-4000-8000-000000000000"
PATH_VALUES = {
    "authorisation_id": "999999",
    "elevation_id": "999999",
    "message_id": "999999",
    "inbox_id": "999999",
    "year": "2026",
    "quarter": "4",
}
BODIES: dict[str, dict[str, object]] = {
    "POST /v1/batches": {
        "batch_id": NOBODY, "category": "notice", "text": "hello", "department": "sales",
        "drafter": "anna", "operator": "bert", "recipients": ["+8613800138000"],
    },
    "POST /v1/batches/{batch_id}/confirm": {"digest": "0" * 64},
    "POST /v1/batches/{batch_id}/approve": {"jws": "a.b.c"},
    "POST /v1/incidents": {"level": 3, "title": "test"},
    "POST /v1/incidents/{incident_id}/isolate": {"kind": "node", "target": "n9"},
    "POST /v1/incidents/{incident_id}/notes": {"text": "test"},
    "POST /v1/incidents/{incident_id}/stop": {"stop_id": NOBODY},
    "POST /v1/incidents/{incident_id}/acknowledge": {"text": "test"},
    "POST /v1/incidents/{incident_id}/close": {"cause": "test", "lessons": "test"},
    "POST /v1/incidents/{incident_id}/correction": {
        "batch_id": NOBODY, "category": "notice", "text": "hello", "department": "sales",
        "drafter": "anna", "operator": "bert",
    },
    "POST /v1/cases": {
        "policy": "SMS-06", "person": "nobody", "grade": 1, "summary": "test",
        "evidence": [{"node": "n1", "seq": 1}],
    },
    "POST /v1/cases/{case_id}/decide": {"is_violation": True, "finding": "test", "grade": 1},
    "POST /v1/cases/{case_id}/appeal": {"text": "test"},
    "POST /v1/cases/{case_id}/review": {"is_upheld": True, "text": "test"},
    "POST /v1/handovers": {},
    "POST /v1/audit/sample": {},
    "POST /v1/audit/export": {"request_id": NOBODY},
    "POST /v1/stops": {"kind": "fleet", "reason": "test"},
    "POST /v1/accounts": {"name": "a b", "kind": "person", "roles": []},
    "POST /v1/sims/{iccid}/state": {"state": "lost", "reason": "test"},
    "POST /v1/sims/{iccid}/carrier-report": {"reference": "R-1"},
    "POST /v1/sim-offboardings": {"holder": "nobody", "reason": "test"},
    "POST /v1/sims/{iccid}/verify": {"verified_by": "anna"},
    "POST /v1/admissions": {"imeis": ["490154203237518"], "reason": "test"},
    "POST /v1/sims/{iccid}/puk": {"puk": "73914682", "reason": "test"},
    "POST /v1/puk-requests/{request_id}/confirm": {"puk": "73914682"},
    "PUT /v1/accounts/{account_id}/training": {
        "hours": 8, "score": 90, "trained_on": "2026-11-01", "agreement_on": "2026-11-01",
        "reference": "c 17",
    },
    "POST /v1/accounts/{account_id}/drills": {"is_passed": True},
    "POST /v1/departments": {"name": "new"},
    "PUT /v1/departments/{name}/head": {"head": None},
    "POST /v1/elevations": {
        "account": "anna", "roles": ["checker"], "hours": 8, "reason": "test",
    },
    "POST /v1/operators": {
        "account": "anna", "department": "sales", "valid_until": "2027-01-01T00:00:00Z",
        "reference": "F-1", "undertaking": "1",
    },
    "POST /v1/requests": {
        "kind": "pin_reveal", "subject": "89860012345678901234", "reason": "test",
    },
    "POST /v1/purge/runs": {},
    "POST /v1/evidence-packages/preview": {"iccid": "898600"},
    "POST /v1/evidence-packages": {"iccid": "898600", "passphrase": "correct horse battery"},
    "POST /v1/sims/{iccid}/pin": {},
    "POST /v1/vault/rotate": {},
    "POST /v1/vault/master": {},
    "POST /v1/erasures": {"number": "13800138000", "reason": "test"},
    "POST /v1/erasures/preview": {"number": "13800138000"},
    "POST /v1/exports": {
        "content": "cards", "columns": ["iccid"], "recipient": "anna", "purpose": "test",
    },
    "POST /v1/exports/{export_id}/review": {"note": "gone"},
    "POST /v1/backups": {},
    "POST /v1/backup-copies": {"medium": "friday-a", "keeper": "anna"},
    "POST /v1/restore-tests": {"receipt": "mrt1:x"},
    "POST /v1/reports": {"kind": "stocktake"},
    "POST /v1/reports/verify": {"sha256": "0" * 64},
    "POST /v1/reports/{report_id}/receipt": {"reference": "41"},
    "POST /v1/modems/{bay}/at": {"command": "AT+CSQ"},
    "POST /v1/self-tests": {},
    "POST /v1/standing-approvals": {
        "batch_id": NOBODY, "department": "sales", "drafter": "anna", "operator": "bert",
    },
    "POST /v1/sims/{iccid}/number": {"number": "13800138000", "reason": "test"},
    "POST /v1/sims/{iccid}/zone": {"timezone": None, "reason": "test"},
    "POST /v1/sims/{iccid}/lease": {"until": "2030-01-01", "reason": "test"},
    "POST /v1/register-confirmations": {"department": "sales"},
    "POST /v1/doubt/close": {"segment_ids": [1], "reason": "test"},
    "POST /v1/doubt/resend": {"segment_ids": [1], "reason": "test"},
    "POST /v1/customers": {"department": "sales", "number": "13800138000", "source": "form 1"},
    "POST /v1/customers/remove": {
        "department": "sales", "number": "13800138001", "reason": "test",
    },
    "POST /v1/customers/check": {"department": "sales", "number": "13800138000"},
    "POST /v1/webhooks": {"name": "crm", "url": "http://127.0.0.1:65535/", "events": ["*"]},
    "POST /v1/webhooks/{name}/rotate-secret": {},
    "POST /v1/webhooks/{name}/replay": {},
    "POST /v1/opt-outs": {"number": "13800138000"},
    "POST /v1/opt-outs/remove": {"number": "13800138001", "reason": "test"},
    "PATCH /v1/accounts/{account_id}": {"roles": []},
    "POST /v1/accounts/{account_id}/keys": {},
    "POST /v1/accounts/{account_id}/keys/reissue": {"certificate": "form 31"},
    "POST /v1/accounts/{account_id}/approver-keys": {"public_key": "AAAA"},
    "POST /v1/approver-keys/{kid}/revoke": {"reason": "lost"},
    "POST /v1/authorisations": {
        "account_id": NOBODY, "kind": "manager", "department": "sales",
        "valid_until": "2027-01-01T00:00:00Z", "reference": "F-1",
    },
}  # fmt: skip
REASON = {"reason": "test"}


def routes_of(document: dict) -> list[tuple[str, str, dict]]:
    return [
        (method.upper(), path, route)
        for path, methods in document["paths"].items()
        for method, route in methods.items()
    ]


async def ask(client: httpx2.AsyncClient, method: str, path: str) -> httpx2.Response:
    filled = re.sub(r"{(\w+)}", lambda match: PATH_VALUES.get(match[1], NOBODY), path)
    if method in {"POST", "PATCH", "PUT"}:
        body = BODIES.get(f"{method} {path}", REASON)
        return await client.request(method, filled, json=body)
    return await client.request(method, filled)


def lacks_scope(answer: httpx2.Response, scope: str) -> bool:
    return answer.status_code == 403 and any(
        answer.json()["rule"].endswith(f"lacks {one}") for one in scope.split(" or ")
    )


@pytest.fixture
async def bench(tmp_path):
    async with open_api(tmp_path, metrics_open=False) as opened:
        yield opened


async def documented(bench: ApiBench) -> list[tuple[str, str, dict]]:
    async with bench.client() as client:
        document = (await client.get("/openapi.json")).json()
    return [one for one in routes_of(document) if one[1] != "/v1/events/stream"]


async def test_without_a_key_only_the_health_routes_answer(bench):
    open_routes = set()
    async with bench.client() as client:
        for method, path, route in await documented(bench):
            answer = await ask(client, method, path)
            if answer.status_code != 401:
                assert route["x-scope"] == "open"
                open_routes.add(path)
            else:
                assert answer.headers["www-authenticate"] == "Bearer"
    assert open_routes == {"/healthz", "/readyz"}


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic cm9vdDo=", "mk_a_b", "Bearer é"]
)
async def test_a_header_that_is_no_key_is_401(bench, header):
    async with bench.client() as client:
        answer = await client.get("/v1/whoami", headers=[(b"Authorization", header.encode())])
    assert answer.status_code == 401


@pytest.mark.parametrize("role", [*sorted(ROLES), None])
async def test_a_role_opens_exactly_the_routes_of_its_scopes(bench, role):
    roles = () if role is None else (role,)
    token = await bench.token_of(*roles)
    scopes = scopes_of(frozenset(roles))
    async with bench.client(token) as client:
        for method, path, route in await documented(bench):
            scope = route["x-scope"]
            answer = await ask(client, method, path)
            where = f"{role}: {method} {path} → {answer.status_code} {answer.text[:200]}"
            assert answer.status_code != 401, where
            assert answer.status_code != 500, where
            if scope in {"any", "open"}:
                assert answer.status_code < 400, where
                continue
            is_allowed = any(Scope(one) in scopes for one in scope.split(" or "))
            assert lacks_scope(answer, scope) != is_allowed, where


async def test_the_event_stream_asks_for_its_scope(bench):
    token = await bench.token_of("checker")
    async with bench.client(token) as client:
        answer = await client.get("/v1/events/stream")
    assert lacks_scope(answer, "events:read")


async def test_one_reads_and_renews_what_is_ones_own_without_scopes(bench):
    token = await bench.token_of()
    async with bench.client(token) as client:
        me = (await client.get("/v1/whoami")).json()
        assert me["scopes"] == []
        own = f"/v1/accounts/{me['account_id']}"
        assert (await client.get(own)).json()["name"] == me["name"]
        issued = await client.post(f"{own}/keys")
        assert issued.status_code == 201
        keys = (await client.get(f"{own}/keys")).json()
        assert len(keys) == 2
        assert all("hash" not in key and "token" not in key for key in keys)
        ended = await client.post(
            f"/v1/keys/{issued.json()['key']['key_id']}/revoke", json={"reason": "stolen"}
        )
        assert ended.status_code == 200
        assert (await client.get(f"{own}/approver-keys")).json() == []
        listed = await client.get("/v1/authorisations", params={"account_id": me["account_id"]})
        assert listed.json() == {"items": [], "next": None}


async def test_metrics_are_open_only_where_the_settings_say_so(tmp_path):
    (tmp_path / "open").mkdir()
    async with open_api(tmp_path / "open") as bench, bench.client() as client:
        answer = await client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "modemctl_build_info" in answer.text
