"""Secrets in what a modem said: what they are is known by the checks, the rest by its length.

Numbers show their country code, ICCIDs their issuer, IMSIs their network, IMEIs their model.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from simulator.conformance.check import Observed
from simulator.conformance.iccid import swapped

Mask: TypeAlias = Callable[[str], str]
# What belongs to a subscriber: a message's body behind its line, and all strings of such lines.
_BODY: Final = re.compile(r"(\+(?:CMT|CDS|CBM|CMGR|CMGL): [^␍␊\r\n]*[␍␊\r\n]+)[^␍␊\r\n+]+")
_PRIVATE: Final = re.compile(r"\+(?:CLIP|CMT|CDS|CCWA|CNUM|CUSD|CMGL|CMGR): [^␍␊\r\n]*")
_LONG: Final = re.compile(r"(?<![0-9A-Fa-f])\+?[0-9][0-9A-Fa-f]{8,}(?![0-9A-Za-z])")


def shows_all(text: str) -> str:
    """The mask of somebody who wants to see everything."""
    return text


def of(seen: Observed) -> Mask:
    """A mask for all that is known of this modem and its card."""
    known: dict[str, str] = {}
    if seen.iccid:
        for form in _iccid_forms(seen.iccid):
            known[form] = _cut(form, 6)
    if seen.imsi:
        known[seen.imsi] = _cut(seen.imsi, 5)
        # EF_IMSI: parity digit in front, nibbles swapped. Source: TS 31.102 §4.2.2.
        odd = f"9{seen.imsi}" if len(seen.imsi) % 2 else f"1{seen.imsi}F"
        known[swapped(odd)] = _cut(swapped(odd), 4)
    if seen.imei:
        known[seen.imei] = _cut(seen.imei, 8)
    for number in seen.numbers:
        known[number] = _cut(number, 3)
    longest_first = sorted(known, key=len, reverse=True)

    def mask(text: str) -> str:
        text = _BODY.sub(r"\1<text>", text)
        text = _PRIVATE.sub(lambda match: re.sub(r'"[^"]+"', '"…"', match.group()), text)
        for secret in longest_first:
            text = re.sub(re.escape(secret), known[secret], text, flags=re.IGNORECASE)
        # What no check knew of: a run of digits that is long enough to be a number or an identity.
        return _LONG.sub(lambda match: _cut(match.group(), 4), text)

    return mask


def _iccid_forms(iccid: str) -> list[str]:
    padded = iccid.ljust(20, "F")
    return [swapped(padded), padded, iccid]


def _cut(secret: str, shown: int) -> str:
    return secret[:shown] + "*" * (len(secret) - shown)
