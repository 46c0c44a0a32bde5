"""Lists judged where they do not hold up the loop: short ones here, others in a child process."""

from __future__ import annotations

import asyncio
import pickle
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Final

import msgspec

from modemctl.errors import InvalidRequest
from modemctl.service import sifting, sifting_child
from modemctl.service.children import ANSWER_LIMIT, child
from modemctl.service.judging import Judge, Judged, JudgeRules
from modemctl.service.recipients import ListFormat, Reading, Recipient, Spooled

_SHORT_OCTETS: Final = 256 * 1024  # of a text: starting a process takes longer
_AHEAD: Final = 1 << 18  # octets that the child may be ahead of the database
_decoder: Final = msgspec.msgpack.Decoder(sifting.Frame)


async def sift(
    source: Spooled, list_format: ListFormat, *, encoding: str | None, rules: JudgeRules
) -> AsyncGenerator[Judged, None]:
    """The list in judged slices, line numbers ascending.

    Raises:
        InvalidRequest: not of this format, not decodable, or too much of it.
        PolicyRefused: what a line's variables make of the text.
        Conflict: other lists are being read for too long.
    """
    job = sifting.Job(path=source.path, list_format=list_format, encoding=encoding, rules=rules)
    is_short = list_format is not ListFormat.XLSX and source.n_octets <= _SHORT_OCTETS
    async with aclosing(_here(sifting.sifted(job)) if is_short else _elsewhere(job)) as frames:
        async for frame in frames:
            if frame.refusal is not None:
                raise frame.refusal.error()
            if frame.judged is None:
                return
            yield frame.judged


async def sift_lines(
    lines: Sequence[Recipient], *, rules: JudgeRules
) -> AsyncGenerator[Judged, None]:
    """A short list that needs no reading.

    Raises:
        PolicyRefused: what a line's variables make of the text.
    """
    parts = Judge(rules).judge(Reading(lines=iter(lines), share=lambda: 1.0))
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        yield part


async def _here(frames: Iterator[sifting.Frame]) -> AsyncGenerator[sifting.Frame, None]:
    while (frame := await asyncio.to_thread(next, frames, None)) is not None:
        yield frame


async def _elsewhere(job: sifting.Job) -> AsyncGenerator[sifting.Frame, None]:
    given = pickle.dumps(job)
    async with child(sifting_child.__name__, given=given, limit=_AHEAD) as process:
        while True:
            frame = await _next_frame(process)
            yield frame
            if frame.judged is None:
                return


async def _next_frame(process: Process) -> sifting.Frame:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(ANSWER_LIMIT):
            length = await process.stdout.readexactly(sifting.LENGTH_OCTETS)
            octets = await process.stdout.readexactly(int.from_bytes(length, "big"))
    except asyncio.IncompleteReadError:
        # Libraries end at a limit without a word.
        raise InvalidRequest(sifting.TOO_MUCH, cure="split it, or send it as CSV") from None
    except TimeoutError:
        raise InvalidRequest(
            "the list takes too long to read", cure="split it, or send it as CSV"
        ) from None
    return _decoder.decode(octets)
