"""Every refusal as `application/problem+json` (RFC 9457); the only place that maps errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from itertools import pairwise
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from api.texts import UNFIT_TEXT
from modemctl.errors import (
    Conflict,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    PolicyRefused,
    RequestError,
    StoreError,
    TamperedError,
)

__all__ = [
    "PROBLEM_JSON",
    "Fault",
    "Problem",
    "answer_faults",
    "answer_problem",
    "install",
    "problems",
    "unforeseen",
]

PROBLEM_JSON: Final = "application/problem+json"

_STATUS: Final[Mapping[type[RequestError], HTTPStatus]] = {
    InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    PolicyRefused: HTTPStatus.FORBIDDEN,
    NotPermitted: HTTPStatus.FORBIDDEN,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
}
_WORDS: Final[Mapping[type[Exception], tuple[str, str]]] = {
    InvalidRequest: ("invalid-request", "The request is wrong"),
    NotFound: ("not-found", "There is no such thing"),
    Conflict: ("conflict", "Not in the present state"),
    PolicyRefused: ("policy-refused", "A company rule forbids it"),
    NotPermitted: ("not-permitted", "The account may not do this"),
    NotAuthenticated: ("not-authenticated", "Nobody known asks"),
    StoreError: ("store-unavailable", "The database cannot be used now"),
    TamperedError: ("tampered", "Stored data was changed outside the controller"),
    Exception: ("internal-error", "The controller failed"),
}
_HTTP_WORDS: Final[Mapping[int, tuple[str, str]]] = {
    404: ("no-such-route", "There is no such address"),
    405: ("method-not-allowed", "The address does not know this method"),
    413: ("too-large", "The body is too large"),
}
_SHOWN: Final = 80  # characters of an offending value
_HIDDEN: Final = frozenset(
    {
        "authorization",
        "command",
        "identity_number",
        "jws",
        "number",
        "passphrase",
        "pin",
        "puk",
        "recipients",
        "text",
        "to",
        "x",
    }
)  # fields whose values are secret or personal

_RULES: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_type": "must be a text",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must have the form {pattern}",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "enum": "must be one of {expected}",
    "literal_error": "must be one of {expected}",
    "list_type": "must be a list",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "model_attributes_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "uuid_parsing": "must be a UUID",
    "uuid_type": "must be a UUID",
    "timezone_aware": "must name its time zone",
    "datetime_from_date_parsing": "must be a moment such as 2026-11-22T08:00:00+08:00",
    "datetime_parsing": "must be a moment such as 2026-11-22T08:00:00+08:00",
    "datetime_type": "must be a moment such as 2026-11-22T08:00:00+08:00",
    "date_type": "must be a date such as 2026-11-22",
    "date_parsing": "must be a date such as 2026-11-22",
    "date_from_datetime_parsing": "must be a date such as 2026-11-22",
    "date_from_datetime_inexact": "must be a date such as 2026-11-22",
}
"""By pydantic's name of a fault: what a person reads; the names in braces are its facts."""

_CURES: Final[Mapping[str, str]] = {UNFIT_TEXT: "write the text again, without what stands there"}
_AS_TEXT: Final = "str"  # what pydantic calls the text of "a text or an object"
_log = logging.getLogger(__name__)


class Fault(BaseModel):
    """One thing that is wrong with a request."""

    field: str | None
    rule: str
    value: str | None = None
    policy: str | None = None
    cure: str = ""


class Problem(BaseModel):
    """A refusal (RFC 9457). `policy` is the id of the company rule that it serves."""

    type: str = Field(description="`urn:modemctl:problem:<kind>`; tells kinds of problems apart.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened, in one line.")
    field: str | None = Field(default=None, description="The field or parameter it is about.")
    value: str | None = Field(default=None, description="Its value; masked where personal.")
    rule: str = Field(description="What is asked of it.")
    policy: str | None = Field(default=None, description="Company rule, such as `SMS-03`.")
    cure: str = Field(default="", description="What to do about it.")
    errors: list[Fault] = Field(default_factory=list, description="All faults of the request.")


_DESCRIBED: Final = {
    401: "No key, or one that is wrong, expired or frozen.",
    403: "The account lacks the scope, or a company rule forbids it (`policy`).",
    404: "No such thing, or not visible to the account.",
    409: "Right in itself, but not in the present state.",
    413: "The body is larger than the configuration allows.",
    422: "The request itself is wrong; `errors` lists every fault.",
    503: "The database cannot be used now; what was asked did not happen.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """A route's refusals, for its documentation: these and the ones that every route has."""
    return {
        status: {
            "description": text,
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, text in _DESCRIBED.items()
        if status in {401, 403, 422, 503, *statuses}
    }


def install(app: FastAPI, *, on_policy: Callable[[str], None]) -> None:
    """Map every exception that a route raises; `on_policy` hears of rules that forbade."""

    async def refused(request: Request, error: Exception) -> Response:
        del request
        assert isinstance(error, RequestError)
        if isinstance(error, PolicyRefused) and error.policy is not None:
            on_policy(error.policy)
        return _refusal(error)

    app.add_exception_handler(RequestError, refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(StoreError, _store)
    app.add_exception_handler(TamperedError, _tampered)


def answer_problem(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an answer."""
    return Response(
        problem.model_dump_json(),
        status_code=problem.status,
        media_type=PROBLEM_JSON,
        headers=dict(headers or {}),
    )


def answer_faults(faults: Sequence[Fault], *, cure: str = "") -> Response:
    """A request in which all of this is wrong; nothing of it was done."""
    first = faults[0]
    problem = _problem(InvalidRequest, HTTPStatus.UNPROCESSABLE_ENTITY, rule=first.rule, cure=cure)
    problem.field, problem.value, problem.policy = first.field, first.value, first.policy
    problem.errors = list(faults)
    where = f"{first.field}: " if first.field else ""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    problem.detail = f"{where}{first.rule}{more}"
    return answer_problem(problem)


def unforeseen() -> Response:
    """The answer to what nobody foresaw; the traceback stays in the log."""
    return answer_problem(
        _problem(
            Exception,
            HTTPStatus.INTERNAL_SERVER_ERROR,
            rule="the request met an error of the controller itself",
            cure="look for api.failed in the log and report it",
        )
    )


def _refusal(error: RequestError) -> Response:
    status = _STATUS[type(error)]
    problem = _problem(type(error), status, rule=error.rule, cure=error.cure)
    problem.field, problem.policy = error.field, error.policy
    problem.value = None if error.value is None else _writable(error.value)
    problem.detail = _writable(str(error))
    is_unknown = status is HTTPStatus.UNAUTHORIZED
    return answer_problem(problem, {"WWW-Authenticate": "Bearer"} if is_unknown else None)


async def _malformed(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError)
    faults: list[Fault] = []
    for one in error.errors():
        fault, place = _fault(one), _place(one)
        if not (place[-1:] == [_AS_TEXT] and isinstance(place[-2], int)):
            faults.append(fault)
        # A text or an object would do: of an object only what it lacks is of interest.
        elif faults and faults[-1].field == fault.field:
            faults[-1].rule = "must be a text or a JSON object"
        elif not (faults and (faults[-1].field or "").startswith(f"{fault.field}.")):
            faults.append(fault)
    return answer_faults(faults, cure=faults[0].cure)


def _place(one: Mapping[str, object]) -> list[object]:
    place = one.get("loc")
    return list(place) if isinstance(place, Sequence) else []


def _is_form(word: object) -> bool:
    return isinstance(word, str) and (word == _AS_TEXT or word[:1].isupper())


def _fault(one: Mapping[str, object]) -> Fault:
    place = _place(one)
    if one.get("type") == "json_invalid":
        return Fault(field=None, rule="must be JSON")
    if place == ["body"] and one.get("type") == "missing":
        return Fault(field="body", rule="is missing: a JSON object", cure="send what the act needs")
    # The first says where: body, query, path. Behind an entry's number stands which form was tried.
    pairs = pairwise(place)
    names = [
        str(word) for before, word in pairs if not (isinstance(before, int) and _is_form(word))
    ]
    return Fault(
        field=_writable(".".join(names)) or None,
        rule=_rule(one),
        value=None if not names or _HIDDEN & set(names) else _shown(one.get("input")),
        cure=_CURES.get(str(one.get("type")), ""),
    )


def _rule(one: Mapping[str, object]) -> str:
    """What was broken, in our words; those of a check of our own stay."""
    facts = one.get("ctx")
    words = _RULES.get(str(one.get("type")))
    if words is None:
        return str(one.get("msg", "is not valid")).removeprefix("Value error, ")
    return words.format_map(facts if isinstance(facts, Mapping) else {})


def _shown(value: object) -> str | None:
    if not isinstance(value, str | int | float | bool):
        return None
    text = _writable(str(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _writable(text: str) -> str:
    """A text that UTF-8 and a terminal can hold: JSON may escape NUL and half a character."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # the framework's word for an unreadable body
        is_json = isinstance(error.__cause__, UnicodeDecodeError)
        rule = "must be JSON in UTF-8" if is_json else f"cannot be read: {error.detail}"
        return answer_faults([Fault(field="body", rule=rule)])
    words = _HTTP_WORDS.get(error.status_code)
    kind, title = words or ("http", HTTPStatus(error.status_code).phrase)
    rule = f"{request.method} {request.url.path}" if words else str(error.detail)
    return answer_problem(
        Problem(
            type=f"urn:modemctl:problem:{kind}",
            title=title,
            status=error.status_code,
            detail=f"{title}: {rule}",
            rule=str(error.detail),
            cure="GET /openapi.json lists all addresses" if error.status_code == 404 else "",
        ),
        error.headers,
    )


async def _store(request: Request, error: Exception) -> Response:
    _log.error("api.store_unavailable", extra={"path": request.url.path, "error": str(error)})
    return answer_problem(
        _problem(
            StoreError,
            HTTPStatus.SERVICE_UNAVAILABLE,
            rule="the database must be writable; what was asked did not happen",
            cure="ask again; GET /readyz says what is wrong",
        ),
        {"Retry-After": "5"},
    )


async def _tampered(request: Request, error: Exception) -> Response:
    _log.error("api.tampered", extra={"path": request.url.path, "error": str(error)})
    problem = _problem(
        TamperedError,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        rule=str(error),
        cure="tell the auditor; run: modemctl audit verify",
    )
    problem.policy = "SEC-05"
    return answer_problem(problem)


def _problem(kind: type[Exception], status: HTTPStatus, *, rule: str, cure: str = "") -> Problem:
    word, title = _WORDS[kind]
    return Problem(
        type=f"urn:modemctl:problem:{word}",
        title=title,
        status=status,
        detail=f"{title}: {rule}",
        rule=rule,
        cure=cure,
    )
