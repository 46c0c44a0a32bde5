"""Refusals: one form, all fields, no secrets, no traceback."""

import base64
import json
import logging
import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter

from api.app import create_app
from modemctl.errors import (
    Conflict,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    PolicyRefused,
    StoreError,
    TamperedError,
)
from tests.support.apis import ApiBench, open_api

FIELDS = {
    "type", "title", "status", "detail", "field", "value", "rule", "policy", "cure", "errors",
}  # fmt: skip


@pytest.fixture
async def bench(tmp_path):
    async with open_api(tmp_path, max_json_bytes=4_096, max_list_bytes=8_192) as opened:
        yield opened


def raising(bench: ApiBench, error: Exception) -> FastAPI:
    """The real application with one more route, which raises."""
    app = create_app(bench.services, settings=bench.settings, telemetry=bench.telemetry)

    @app.get("/raise")
    async def _raise() -> None:
        raise error

    return app


async def asked(bench: ApiBench, error: Exception):
    bench.app = raising(bench, error)
    async with bench.client() as client:
        return await client.get("/raise")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidRequest("r", field="f", value="v", cure="c"), 422, "invalid-request"),
        (NotFound("r", field="f", value="v", cure="c"), 404, "not-found"),
        (Conflict("r", field="f", value="v", cure="c"), 409, "conflict"),
        (PolicyRefused("SMS-03", "r", field="f", value="v", cure="c"), 403, "policy-refused"),
        (NotPermitted("r", field="f", value="v", cure="c", policy="SEC-01"), 403, "not-permitted"),
        (NotAuthenticated("r", field="f", value="v", cure="c"), 401, "not-authenticated"),
    ],
)
async def test_each_refusal_becomes_its_problem(bench, error, status, kind):
    answer = await asked(bench, error)
    body = answer.json()
    assert answer.status_code == body["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert body.keys() == FIELDS
    assert body["type"] == f"urn:modemctl:problem:{kind}"
    assert (body["field"], body["value"], body["rule"], body["cure"]) == ("f", "v", "r", "c")
    assert body["policy"] == error.policy
    assert ("www-authenticate" in answer.headers) == (status == 401)


async def test_a_policy_refusal_is_counted_by_its_rule(bench):
    await asked(bench, PolicyRefused("SMS-03", "r"))
    assert bench.telemetry.value("modemctl_policy_refusals_total", policy="SMS-03") == 1


async def test_a_database_that_refuses_is_503_and_its_words_stay_in_the_log(bench, caplog):
    with caplog.at_level(logging.ERROR):
        answer = await asked(bench, StoreError("the database refused: disk /dev/x is full"))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json().keys() == FIELDS
    assert "/dev/x" not in answer.text
    assert "api.store_unavailable" in caplog.text


async def test_tampered_data_is_a_500_that_names_the_rule(bench):
    answer = await asked(bench, TamperedError("sim: a row that authorises carries no valid MAC"))
    assert answer.status_code == 500
    assert answer.json()["policy"] == "SEC-05"


async def test_what_nobody_foresaw_shows_no_inside(bench, caplog):
    with caplog.at_level(logging.ERROR):
        answer = await asked(bench, ZeroDivisionError("inside"))
    assert answer.status_code == 500
    assert answer.json().keys() == FIELDS
    assert "inside" not in answer.text
    assert "Traceback" not in answer.text
    assert "api.failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "test_api_problems.py" in caplog.text
    routes = {"method": "GET", "route": "/raise", "status": "500"}
    assert bench.telemetry.value("modemctl_api_requests_total", **routes) == 1


async def test_all_faults_of_a_body_are_listed_at_once(bench):
    async with bench.client(bench.admin_token) as client:
        answer = await client.post(
            "/v1/accounts", json={"kind": "robot", "roles": "x", "shoe_size": 43}
        )
    body = answer.json()
    assert answer.status_code == 422
    assert body.keys() == FIELDS
    assert {one["field"] for one in body["errors"]} == {"name", "kind", "roles", "shoe_size"}
    assert body["field"] == body["errors"][0]["field"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{", "application/json"),
        (b"13812345678", "text/plain"),
        (b'"13812345678"', "application/json"),
        (b"[13812345678]", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b"", "application/json"),
        (b'{"name": "a", "name": 1' + b"[" * 2_000, "application/json"),
    ],
)
async def test_a_body_that_is_no_object_is_refused_without_being_repeated(bench, content, kind):
    async with bench.client(bench.admin_token) as client:
        answer = await client.post("/v1/accounts", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 422
    assert answer.json().keys() == FIELDS
    assert "13812345678" not in answer.text


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (rb'{"number": 13800138000, "reason": "\ud800"}', r"\ud800"),
        (rb'{"number": "13800138000", "reason": "r", "\ud800": 1}', None),
        (rb'{"number": "13800138000", "reason": "r", "kind": {"\ud800": "\ud800"}}', None),
    ],
)
async def test_a_lone_surrogate_is_refused_and_repeated_escaped(bench, content, shown, caplog):
    token = await bench.token_of("operator")
    async with bench.client(token) as client:
        answer = await client.post(
            "/v1/opt-outs/remove", content=content, headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 422
    assert answer.json()["errors"][-1]["value"] == shown
    assert "13800138000" not in answer.text + caplog.text


async def test_the_log_of_a_failure_holds_frames_and_no_values(bench, caplog):
    error = ValueError("text of 13800138000")
    error.__cause__ = ExceptionGroup("Mr Wang", [KeyError("13800138001")])
    with caplog.at_level(logging.ERROR):
        assert (await asked(bench, error)).status_code == 500
    assert "_Wordless: ValueError" in caplog.text
    assert "_Wordless: ExceptionGroup, KeyError" in caplog.text
    assert not any(word in caplog.text for word in ("13800138000", "13800138001", "Wang"))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/accounts", 405),
        ("BREW", "/v1/accounts", 405),
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/v1/accounts/", 404),
    ],
)
async def test_unknown_addresses_and_methods_are_problems_too(bench, method, path, status):
    async with bench.client(bench.admin_token) as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().keys() == FIELDS


@pytest.mark.parametrize("has_length", [True, False])
async def test_a_body_over_the_cap_is_413(bench, has_length):
    async def flow():
        for _ in range(100):
            yield b"x" * 100

    async with bench.client(bench.admin_token) as client:
        answer = await client.post(
            "/v1/accounts",
            content=b"x" * 5_000 if has_length else flow(),
            headers={"Content-Type": "application/json"},
        )
    assert answer.status_code == 413
    assert answer.json()["rule"] == "the body must not exceed 4096 bytes"
    assert answer.json().keys() == FIELDS


async def test_requests_are_counted_by_route_never_by_id(bench):
    async with bench.client(bench.admin_token) as client:
        await client.get("/v1/accounts/13812345678")
        await client.get("/v1/13812345678")
        await client.request("BREW", "/v1/accounts")
    text = bench.telemetry.render().decode()
    assert "13812345678" not in text
    assert 'method="GET",route="/v1/accounts/{account_id}",status="404"' in text
    assert 'method="GET",route="unmatched",status="404"' in text
    assert 'method="other"' in text


async def test_the_first_request_makes_no_route_anew(bench, monkeypatch):
    """An included router made its routes again at the first request: 0.8 s without the loop."""
    made = []
    make = TypeAdapter.__init__

    def spy(self, *args, **kw):
        made.append(args)
        make(self, *args, **kw)

    monkeypatch.setattr(TypeAdapter, "__init__", spy)
    async with bench.client() as client:
        assert (await client.get("/nowhere")).status_code == 404
        assert (await client.get("/healthz")).status_code == 200
    assert not made


async def test_the_openapi_document_builds_and_documents_each_refusal(bench):
    async with bench.client() as client:
        document = (await client.get("/openapi.json")).json()
    assert document["info"]["title"] == "modemctl"
    problem = document["components"]["schemas"]["Problem"]
    assert problem["properties"].keys() == FIELDS
    names = document["components"]["schemas"].keys()
    references = set(_references(document))
    assert references <= {f"#/components/schemas/{name}" for name in names}
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            assert "x-scope" in route, (method, path)
            assert route["description"], (method, path)
            if path.startswith("/v1"):
                assert {"401", "403", "422", "503"} <= route["responses"].keys(), (method, path)
    assert "HTTPValidationError" not in names


def _references(node: object):
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


async def test_nothing_is_fetched_from_elsewhere(bench):
    async with bench.client() as client:
        document = (await client.get("/openapi.json")).text
    assert "http://" not in document.replace("http://json-schema.org", "")
    assert "https://" not in document
    assert json.loads(document)


@pytest.mark.parametrize("path", ["sims", "accounts", "modems", "batches"])
@pytest.mark.parametrize("key", [r'["\ud800"]', '["2026-01-01T00:00:00 x"]', '["a\u0000"]'])
async def test_a_cursor_with_a_foreign_key_is_a_422_or_the_end(bench, path, key):
    cursor = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
    async with bench.client(bench.admin_token) as client:
        answer = await client.get(f"/v1/{path}?cursor={cursor}")
    is_text = path != "batches" and "x" in key
    assert answer.status_code == (200 if is_text else 422), answer.text


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("9999-12-30T00:00:00Z", "9999-12-31T23:59:59-23:59"),
        ("9999-12-30T00:00:00Z", None),
        ("0001-01-01T00:00:00+23:59", "2026-12-31T00:00:00Z"),
    ],
)
async def test_authority_at_the_ends_of_time_is_refused(bench, begin, end):
    async with bench.client(bench.admin_token) as client:
        made = await client.post("/v1/accounts", json={"name": "p", "kind": "person", "roles": []})
        account_id = made.json()["account_id"]
        spans = {"valid_from": begin} | ({"valid_until": end} if end else {})
        key = base64.urlsafe_b64encode(bytes(range(1, 33))).decode().rstrip("=")
        answers = [
            await client.post(
                f"/v1/accounts/{account_id}/approver-keys", json={"public_key": key} | spans
            )
        ]
        if end:
            form = {"account_id": account_id, "kind": "manager", "department": "loans"}
            answers.append(
                await client.post("/v1/authorisations", json=form | spans | {"reference": "F"})
            )
        listed = await client.get("/v1/authorisations")
    assert [one.status_code for one in answers] == [422] * len(answers)
    assert {one.json()["field"] for one in answers} <= {"valid_from", "valid_until"}
    assert listed.status_code == 200


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
async def test_times_at_the_ends_of_the_calendar_break_nothing(bench, moment):
    token = await bench.token_of("operator", "submitter", "auditor")
    form = {
        "batch_id": "00000000-0000-4000-8000-000000000001", "category": "notice", "text": "t",
        "department": "loans", "drafter": "root", "operator": "root", "recipients": ["13800000001"],
    }  # fmt: skip
    async with bench.client(token) as client:
        answers = [
            await client.get(f"/v1/{path}", params={"since": moment}) for path in ("inbox", "calls")
        ]
        answers += [
            await client.post("/v1/batches", json=form | {field: moment})
            for field in ("not_before", "not_after")
        ]
    assert all(one.status_code < 500 for one in answers), [one.text for one in answers]


async def test_a_fault_of_a_list_names_the_entry_once_and_a_missing_body_itself(bench):
    token = await bench.token_of("submitter")
    form = {
        "batch_id": "00000000-0000-4000-8000-000000000001", "category": "notice", "text": "t",
        "department": "loans", "drafter": "root", "operator": "root",
        "recipients": [1, {"to": 5}, {"to": "13800000001", "Extra": 1}, "13800000002"], "Str": 1,
    }  # fmt: skip
    async with bench.client(token) as client:
        answer = (await client.post("/v1/batches", json=form)).json()
        empty = (await client.post("/v1/batches/x/withdraw")).json()
    assert [(one["field"], one["rule"]) for one in answer["errors"]] == [
        ("recipients.0", "must be a text or a JSON object"),
        ("recipients.1.to", "must be a text"),
        ("recipients.2.Extra", "is not known here"),
        ("Str", "is not known here"),
    ]
    assert (empty["field"], empty["rule"]) == ("body", "is missing: a JSON object")


FOREIGN = re.compile(
    r"(?i)\b(?:input|string|field|value|list|datetime|tuple|object|url) (?:should|required)|inputs"
)


async def test_no_body_is_refused_in_the_words_of_a_library(bench):
    """Each field of each request, given as everything that it is not."""
    document = create_app(
        bench.services, settings=bench.settings, telemetry=bench.telemetry
    ).openapi()
    wrong = ("", "x" * 2_000, -1, 0.5, None, True, ["x"] * 600, {"a": 1})
    rules: set[str] = set()
    async with bench.client(bench.admin_token) as client:
        for path, body in _bodies(document):
            bodies = [{}, 5, {"unheard_of": 1}]
            bodies += [{name: value} for name in body for value in wrong]
            for content in bodies:
                answer = await client.post(path, json=content)
                if answer.status_code == 422:
                    found = answer.json()
                    rules |= {one["rule"] for one in found["errors"] or [found]}
    assert "is missing" in rules
    assert "is not known here" in rules
    assert [rule for rule in sorted(rules) if FOREIGN.search(rule)] == []


def _bodies(document: dict) -> Iterator[tuple[str, list[str]]]:
    """Each address that takes JSON, and the names in it."""
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        name = schema.get("$ref", "").rpartition("/")[2]
        if name and "audit" not in path:
            known = document["components"]["schemas"][name].get("properties", {})
            yield re.sub(r"\{[^}]*\}", "nobody", path), list(known)


@pytest.mark.parametrize("since", ["0", "-1.5e-300", "1795305600"])
async def test_a_number_is_no_moment(bench, since):
    async with bench.client(bench.admin_token) as client:
        answer = await client.get("/v1/inbox", params={"since": since})
        assert answer.status_code == 422
        assert answer.json()["field"] == "since"
        assert "2026-11-22T08:00:00+08:00" in answer.json()["rule"]
        fits = await client.get("/v1/inbox", params={"since": "2026-11-22T08:00:00+08:00"})
        assert fits.status_code == 403  # it reads well; root may not see the inbox


async def test_a_parameter_that_stands_twice_is_refused_where_one_counts(bench):
    async with bench.client(bench.admin_token) as client:
        answer = await client.get("/v1/sims?department=retail&department=sales")
        assert answer.status_code == 422
        assert answer.json()["field"] == "department"
        assert answer.json()["rule"] == "stands more than once"
        assert (await client.get("/v1/batches?state=held&state=running")).status_code == 200
        assert (await client.get("/v1/events?kind=alarm&kind=batch")).status_code == 200


@pytest.mark.parametrize("query", ["departmnt=retail", "=retail", "limit=5&%E9=1"])
async def test_a_parameter_that_nobody_knows_is_refused_not_left_out(bench, query):
    async with bench.client(bench.admin_token) as client:
        answer = await client.get(f"/v1/accounts?{query}")
        assert answer.status_code == 422
        assert answer.json()["rule"] == "is not known here"
        assert (await client.get("/v1/accounts?limit=5")).status_code == 200
    async with bench.client() as client:
        assert (await client.get(f"/v1/accounts?{query}")).status_code == 401
