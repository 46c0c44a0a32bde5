"""Texts that no database, or only one, could keep: refused at the edge, on each address alike."""

import copy
import json
import re
from collections.abc import Iterator

import httpx2
import pytest

from api.texts import unfit_texts
from modemctl.service.principal import ROLES, Scope
from tests.support.apis import ApiBench, open_api
from tests.unit.test_api_permissions import BODIES, NOBODY, PATH_VALUES, REASON, documented

NUL = "anna\0bert"
HALF = "anna\ud83dbert"
LONG = "x" * 20_000
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def bench(tmp_path):
    async with open_api(tmp_path, metrics_open=False) as opened:
        yield opened


def filled(path: str, **given: str) -> str:
    """The address with a value for each of its parameters."""
    return re.sub(
        r"{(\w+)}", lambda match: given.get(match[1]) or PATH_VALUES.get(match[1], NOBODY), path
    )


def with_each_text(body: object, text: str) -> Iterator[tuple[str, object]]:
    """The body once for each text in it, which `text` stands for; and that one's place."""
    places = list(_places(body, ()))
    for place in places:
        changed = copy.deepcopy(body)
        inner = changed
        for step in place[:-1]:
            inner = inner[step]
        inner[place[-1]] = text
        yield ".".join(map(str, place)), changed


def _places(value: object, place: tuple) -> Iterator[tuple]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for step, one in pairs:
        if isinstance(one, str):
            yield (*place, step)
        elif isinstance(one, dict | list):
            yield from _places(one, (*place, step))


async def send(client: httpx2.AsyncClient, method: str, path: str, body: object):
    """Ask with a body that may hold what UTF-8 does not."""
    return await client.request(method, filled(path), content=json.dumps(body), headers=JSON)


async def with_bodies(bench: ApiBench) -> list[tuple[str, str, str, object]]:
    """Every address that takes a JSON body, its scope, and a body that it would read."""
    return [
        (method, path, route["x-scope"].split(" or ")[0], BODIES.get(f"{method} {path}", REASON))
        for method, path, route in await documented(bench)
        if "application/json" in route.get("requestBody", {}).get("content", {})
    ]


@pytest.mark.both_databases
@pytest.mark.parametrize("text", [NUL, HALF], ids=["nul", "half"])
async def test_what_no_database_keeps_is_refused_in_every_text_of_a_body(bench, text):
    asked, bad = 0, []
    async with bench.client(bench.admin_token) as client:
        for method, path, scope, body in await with_bodies(bench):
            for place, changed in with_each_text(body, text):
                asked += 1
                answer = await send(client, method, path, changed)
                field = answer.json()["field"]
                if answer.status_code != 422 or field != place or not answer.json()["cure"]:
                    bad.append(f"{method} {path} {place} ({scope}) → {answer.text}")
    assert asked > 100
    assert bad == []


@pytest.mark.both_databases
async def test_an_endless_text_never_meets_the_database(bench):
    """Asked by who may: what the service lets pass is told from what the column takes."""
    tokens: dict[str, str] = {}
    by_role: dict[str, str] = {"administrator": bench.admin_token}
    bad = []
    for method, path, scope, body in await with_bodies(bench):
        if scope not in tokens:
            role = next(role for role, scopes in sorted(ROLES.items()) if Scope(scope) in scopes)
            if role not in by_role:
                by_role[role] = await bench.token_of(role)
            tokens[scope] = by_role[role]
        async with bench.client(tokens[scope]) as client:
            for place, changed in with_each_text(body, LONG):
                answer = await send(client, method, path, changed)
                if answer.status_code >= 500:
                    bad.append(f"{method} {path} {place} → {answer.status_code}")
    assert bad == []


async def test_a_refusal_names_all_of_them_and_hides_what_is_personal(bench):
    body = {"department": NUL, "number": NUL, "source": HALF}
    async with bench.client(bench.admin_token) as client:
        answer = await send(client, "POST", "/v1/customers", body)
    found = answer.json()
    assert (found["status"], found["field"]) == (422, "department")
    assert found["value"] == "anna\\x00bert"
    assert found["rule"] == "must hold no NUL"
    assert found["cure"]
    assert [(one["field"], one["value"]) for one in found["errors"]] == [
        ("department", "anna\\x00bert"),
        ("number", None),
        ("source", "anna\\ud83dbert"),
    ]


async def test_whole_characters_may_be_escaped(bench):
    content = b'{"name": "n\\ud83d\\ude00", "note": "\\\\u0000"}'
    assert unfit_texts(content, "body") == []
    assert [one["loc"] for one in unfit_texts(b'{"a\\u0000": "\\ud83d"}', "body")] == [
        ("body", "a\0")
    ]
    assert unfit_texts(b"\\u0000", "body") == []


async def test_a_list_of_cards_names_the_cell(bench):
    content = f"iccid,holder\n8986000000000000001,{NUL}\n"
    async with bench.client(bench.admin_token) as client:
        answer = await client.post("/v1/sims/import?format=csv", content=content)
    assert answer.status_code < 500
    assert ("line 2: holder", "must hold no NUL") in [
        (one["field"], one["rule"]) for one in answer.json()["errors"]
    ]


@pytest.mark.both_databases
@pytest.mark.parametrize("text", [NUL, "x" * 4_000], ids=["nul", "long"])
async def test_no_text_of_an_address_meets_the_database_unfit(bench, text):
    bad = []
    async with bench.client(bench.admin_token) as client:
        for method, path, route in await documented(bench):
            body = BODIES.get(f"{method} {path}", REASON) if method != "GET" else None
            for one in route.get("parameters", ()):
                if one["in"] == "path":
                    url = filled(path, **{one["name"]: text.replace("\0", "%00")})
                    answer = await client.request(method, url, json=body)
                else:
                    query = {one["name"]: text}
                    answer = await client.request(method, filled(path), params=query, json=body)
                if answer.status_code >= 500 or ("\0" in text and answer.status_code != 422):
                    bad.append(f"{method} {path} {one['name']} → {answer.status_code}")
    assert bad == []
