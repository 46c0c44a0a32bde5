"""How long a service centre tries: TP-VP in all its forms. Source: TS 23.040 §9.2.3.12."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from simulator import pdu


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """What a SUBMIT asks for. `until` None = it names no time; `single_shot`: one attempt only."""

    until: datetime | None
    single_shot: bool = False


def read(submit: pdu.Submit, now: datetime) -> Validity:
    """The validity that a SUBMIT taken at `now` asks for; senseless octets ask for nothing."""
    octets = submit.validity
    match (submit.first_octet >> 3) & 3:
        case 2 if len(octets) == 1:
            return Validity(until=now + relative(octets[0]))
        case 3 if len(octets) == 7:
            return Validity(until=_absolute(octets))
        case 1 if len(octets) == 7:
            length = _enhanced(octets)
            until = None if length is None else now + length
            return Validity(until=until, single_shot=bool(octets[0] & 0x40))
    return Validity(until=None)


def end(asked: Validity, now: datetime, *, default: float, most: float) -> datetime:
    """When the service centre gives up, by its own default and clip, in seconds."""
    latest = now + timedelta(seconds=most)
    if asked.until is None:
        return min(now + timedelta(seconds=default), latest)
    return min(max(asked.until, now), latest)


def relative(octet: int) -> timedelta:
    """The length that a relative octet stands for: 5 minutes to 63 weeks."""
    if octet <= 143:
        return timedelta(minutes=5 * (octet + 1))
    if octet <= 167:
        return timedelta(hours=12, minutes=30 * (octet - 143))
    if octet <= 196:
        return timedelta(days=octet - 166)
    return timedelta(weeks=octet - 192)


def _absolute(octets: bytes) -> datetime | None:
    try:
        return pdu.moment(octets)
    except pdu.PduError:
        return None


def _enhanced(octets: bytes) -> timedelta | None:
    # Extension octets (bit 7) may follow the first; the value stands behind them.
    at = 1
    while octets[at - 1] & 0x80 and at < 4:
        at += 1
    value = octets[at : at + 3]
    match octets[0] & 7:
        case 1:
            return relative(value[0])
        case 2:
            return timedelta(seconds=value[0])
        case 3:
            hours, minutes, seconds = ((o & 0xF) * 10 + (o >> 4) for o in value)
            return timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return None
