"""Where a batch's list comes from, and who answers for it (SMS-02)."""

from __future__ import annotations

from typing import Final

from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.model import Category

OWNED_LISTS: Final = frozenset({Category.NOTICE.value})
"""Categories whose lists name owner and source; others may."""
_MAX_OWNER: Final = 128
_LEAST_SOURCE: Final = 2
_MOST_SOURCE: Final = 200
_CURE: Final = (
    "give the form list_owner (a person of the department who answers for the list) "
    "and list_source (where its numbers come from)"
)


def check_origin(category: str, owner: str | None, source: str | None) -> None:
    """Whether a form says enough of its list: an account, and 2 to 200 characters on its source.

    Raises:
        PolicyRefused: SMS-02, the list of a notice lacks either.
        InvalidRequest: one without the other, or none that can be read.
    """
    for name, value in (("list_owner", owner), ("list_source", source)):
        if value is None and category in OWNED_LISTS:
            raise PolicyRefused(
                "SMS-02", f"the list of a {category} names owner and source", field=name, cure=_CURE
            )
    if owner is None and source is None:
        return
    if owner is None or not owner.strip() or len(owner) > _MAX_OWNER:
        raise InvalidRequest(
            f"must have 1 to {_MAX_OWNER} characters", field="list_owner", policy="SMS-02"
        )
    if source is None or not _LEAST_SOURCE <= len(source.strip()) <= _MOST_SOURCE:
        raise InvalidRequest(
            f"must have {_LEAST_SOURCE} to {_MOST_SOURCE} characters",
            field="list_source",
            policy="SMS-02",
        )
    if not source.isprintable():
        raise InvalidRequest("must be one line of plain text", field="list_source")
