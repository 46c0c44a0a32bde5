r"""Test vectors from a recording: commands with what a real modem sent back, octet by octet.

    {"format": "modemctl-at-session", "version": 1, "source": "recording of …", "model": "E1750", …,
     "exchanges": [{"command": "AT+CSQ", "octets": "\r\n+CSQ: 20,99\r\n\r\nOK\r\n",
                    "answer": ["+CSQ: 20,99"], "unsolicited": [], "result": "OK"}, …]}

`octets` (Latin-1) is all that came until the host spoke again, echoes left out. A command with a
payload has `prompt` and `payload`, an exchange of its own.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from simulator.recording.exchanges import Exchange, shape, story
from simulator.recording.tape import Tape, What

FORMAT: Final = "modemctl-at-session"
VERSION: Final = 1
Facts: TypeAlias = dict[str, object]

_IDENTITY: Final = {
    "manufacturer": ("AT+CGMI", "AT+GMI"),
    "model": ("AT+CGMM", "AT+GMM"),
    "revision": ("AT+CGMR", "AT+GMR"),
}


def vectors(tape: Tape) -> Facts:
    """The recording's exchanges, each form of a command with each answer once."""
    exchanges = story(tape).exchanges
    seen: set[tuple[str, ...]] = set()
    found: list[Facts] = []
    for exchange in exchanges:
        payload = exchange.payload
        behind = _octets(payload) if payload is not None else ""
        fingerprint = (shape(exchange.said), _octets(exchange), behind)
        if fingerprint in seen or not shape(exchange.said).startswith("AT"):
            continue
        seen.add(fingerprint)
        found.append({"command": exchange.said, **_facts(exchange)})
    identity = {name: _word(exchanges, forms) for name, forms in _IDENTITY.items()}
    return {
        "format": FORMAT,
        "version": VERSION,
        "source": f"recording of {tape.header.started}",
        "note": tape.header.note,
        **identity,
        "exchanges": found,
    }


def _facts(exchange: Exchange) -> Facts:
    facts: Facts = {
        "octets": _octets(exchange),
        "answer": list(exchange.answer),
        "unsolicited": [item.line for item in exchange.reactions if item.what is What.URC],
        "result": exchange.result,
    }
    if exchange.prompt:
        facts["prompt"] = exchange.prompt.decode("latin-1")
    if exchange.payload is not None:
        facts["payload"] = {"data": exchange.payload.said, **_facts(exchange.payload)}
    return facts


def _octets(exchange: Exchange) -> str:
    return b"".join(item.octets for item in exchange.reactions).decode("latin-1")


def _word(exchanges: tuple[Exchange, ...], forms: tuple[str, ...]) -> str:
    for exchange in exchanges:
        if shape(exchange.said) in forms and exchange.answer:
            return exchange.answer[0]
    return ""
