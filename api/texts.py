"""Texts that could not be kept are refused before anything reads them, on each database alike."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from modemctl.service.characters import unfit

__all__ = ["UNFIT_TEXT", "require_fit", "unfit_texts"]

UNFIT_TEXT: Final = "unfit_text"
"""The fault's type among those that pydantic names."""

Fact = dict[str, object]
_Place = tuple[str | int, ...]

_ESCAPED: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
"""Only so can a JSON body in UTF-8 hold one; whole characters may be escaped like this as well."""


async def require_fit(request: Request) -> None:
    """Refuse NUL and half characters in address, parameters and JSON body.

    A body that a route reads as a stream is its own.

    Raises:
        RequestValidationError: each text that holds one, by its place.
    """
    faults = list(_faults(dict(request.path_params), ("path",)))
    for name, value in request.query_params.multi_items():
        faults += _faults(value, ("query", name))
    route = request.scope.get("route")
    if isinstance(route, APIRoute) and route.body_field is not None:
        faults += unfit_texts(await request.body(), "body")
    if faults:
        raise RequestValidationError(faults)


def unfit_texts(octets: bytes, where: str) -> list[Fact]:
    """The texts of a JSON document that could not be kept; what is no JSON holds none."""
    if _ESCAPED.search(octets) is None:
        return []
    try:
        return list(_faults(json.loads(octets), (where,)))
    except (ValueError, RecursionError):
        return []  # told by who reads it


def _faults(value: object, place: _Place) -> Iterator[Fact]:
    if isinstance(value, str):
        if rule := unfit(value):
            yield {"type": UNFIT_TEXT, "loc": place, "msg": rule, "input": value}
    elif isinstance(value, dict):
        for name, one in value.items():
            if rule := unfit(name):
                yield {"type": UNFIT_TEXT, "loc": (*place, name), "msg": rule, "input": None}
            else:
                yield from _faults(one, (*place, name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _faults(one, (*place, number))
