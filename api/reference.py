"""The page `docs/api.md`, made from the application itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from api.app import describe

__all__ = ["api_markdown"]

_HEAD: Final = """\
# HTTP API

Made from the application by `./run docs`; the full document is `GET /openapi.json`.

**Where.** The Unix socket `api.unix_socket` and, unless `api.tcp_port` is 0, loopback TCP. Nothing
else listens. **Who.** `Authorization: Bearer mk_<key id>_<secret>`; on the Unix socket without that
header the peer's user id counts, if `api.peers` names an account for it. A key is shown once, lives
90 days, freezes after 15 idle days; an account holds two live ones.

**Scopes.** *any*: every account · *open*: no key needed · *(own)*: not needed for one's own.
Roles hold scopes; an account with a department sees that department only (what it does not see is
404).

**Refusals** are `application/problem+json` (RFC 9457):

| field | meaning |
|---|---|
| `type` | `urn:modemctl:problem:<kind>`; tells kinds apart |
| `title`, `status`, `detail` | the kind in words, the HTTP status, one line |
| `field`, `value`, `rule` | what it is about (value masked where personal), what is asked of it |
| `policy` | id of the company rule, such as `SMS-03`, or null |
| `cure` | what to do |
| `errors` | all faults of the request: `field`, `rule`, `value` each |

Every route may answer 401 (who?), 403 (scope or company rule), 422 (the request is wrong), 503 (the
database cannot be used now; nothing happened); the table names the others.

**Lists** are pages `{"items": […], "next": cursor}`: give `next` as `cursor` for the following
page; null is the end. Long lists and results flow as NDJSON, one JSON object a line; a broken
stream ends without its last chunk. **Times** are ISO 8601 with an offset.

**Events** (`GET /v1/events/stream`) are server-sent events: `id` is a cursor, `event` the kind,
`data` the JSON object `{"cursor", "at", "kind", "subject", "data"}`. Send `Last-Event-ID` to go on.
A `reset` says that older events were forgotten: read the state anew. Every 15 s of silence a
comment with a new `id` shows that the line is good.

"""
_OWN_STATUSES: Final = frozenset({"401", "403", "422", "503"})


def api_markdown() -> str:
    """Every route: method, address, scope, request, answer, further refusals."""
    document = describe()
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            groups.setdefault(route["tags"][-1], []).append(_row(method, path, route))
    return _HEAD + "\n".join(_sections(groups, document))


def _sections(groups: Mapping[str, list[str]], document: Mapping[str, Any]) -> Iterator[str]:
    for tag, rows in groups.items():
        yield f"## {tag}\n"
        yield "| route | scope | request | answer | also | what |\n|---|---|---|---|---|---|"
        yield from rows
        yield ""
    yield "## Schemas\n"
    yield "Fields with `?` may be left out.\n"
    for name, schema in sorted(document["components"]["schemas"].items()):
        if name.startswith("Page_"):
            continue
        if "properties" in schema:
            yield f"- **{name}**: {_fields(schema)}"
        elif "enum" in schema:
            yield f"- **{name}**: {', '.join(f'`{word}`' for word in schema['enum'])}"
    yield ""


def _row(method: str, path: str, route: Mapping[str, Any]) -> str:
    scope = f"*{route['x-scope']}*" if route["x-scope"] in {"any", "open"} else route["x-scope"]
    cells = (
        f"`{method.upper()} {path}`",
        scope + (" (own)" if route["x-own"] else ""),
        _request(route),
        _answer(route["responses"]),
        ", ".join(
            status
            for status in route["responses"]
            if not status.startswith("2") and status not in _OWN_STATUSES
        ),
        route["description"].split("\n")[0],
    )
    return f"| {' | '.join(cells)} |"


def _request(route: Mapping[str, Any]) -> str:
    asked = [
        f"`{'?' if one['in'] == 'query' else ''}{one['name']}`"
        for one in route.get("parameters", ())
        if one["in"] != "path"
    ]
    contents = route.get("requestBody", {}).get("content", {})
    return " ".join([*_bodies(contents), *asked])


def _answer(responses: Mapping[str, Any]) -> str:
    good = next(status for status in responses if status.startswith("2"))
    bodies = " ".join(_bodies(responses[good].get("content", {})))
    return f"{good} {bodies}".strip()


def _bodies(contents: Mapping[str, Any]) -> list[str]:
    """Schemas of JSON bodies, media types of others."""
    return [
        _type(body.get("schema", {})) if kind == "application/json" else f"`{kind.split(';')[0]}`"
        for kind, body in contents.items()
    ]


def _fields(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    return ", ".join(
        f"`{name}{'' if name in required else '?'}` {_type(field)}"
        for name, field in schema["properties"].items()
    )


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f"page of {name[5:-1]}" if name.startswith("Page_") else name
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "items" in schema:
        return f"[{_type(schema['items'])}]"
    kind = str(schema.get("format") or schema.get("type", ""))
    return kind or "any"
