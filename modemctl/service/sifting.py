"""A list read and judged, and the words in which its process tells the daemon (`sifting_child`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modemctl.errors import InvalidRequest, PolicyRefused, RequestError
from modemctl.service.judging import Judge, Judged, JudgeRules
from modemctl.service.recipients import ListFormat, read_lines

LENGTH_OCTETS: Final = 4
"""Of the length before each frame, big-endian."""
TOO_MUCH: Final = "the list needs more memory or time than a list may"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be sifted, and by which rules."""

    path: Path
    list_format: ListFormat
    encoding: str | None
    rules: JudgeRules = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A `RequestError` on its way to the daemon; `policy` is None for `InvalidRequest`."""

    rule: str
    cure: str
    field: str | None
    value: str | None
    policy: str | None

    def error(self) -> RequestError:
        """What it stands for."""
        if self.policy is None:
            return InvalidRequest(self.rule, cure=self.cure, field=self.field, value=self.value)
        return PolicyRefused(
            self.policy, self.rule, cure=self.cure, field=self.field, value=self.value
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A slice of the list, or why there is no more; neither: the list is at its end."""

    judged: Judged | None = None
    refusal: Refusal | None = None


def sifted(job: Job) -> Iterator[Frame]:
    """The list's frames; a refusal or an empty frame is the last one."""
    try:
        with read_lines(job.path, job.list_format, encoding=job.encoding) as reading:
            for judged in Judge(job.rules).judge(reading):
                yield Frame(judged=judged)
    except RequestError as error:
        yield Frame(
            refusal=Refusal(
                rule=error.rule,
                cure=error.cure,
                field=error.field,
                value=error.value,
                policy=error.policy,
            )
        )
    else:
        yield Frame()
