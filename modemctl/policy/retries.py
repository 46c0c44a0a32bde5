"""What becomes of a segment that provably did not leave: again, on another card, or never."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """Where the next try may go."""

    AGAIN = "again"  # any card of the batch, also the same
    OTHER_CARD = "other_card"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTry:
    """`after` is seconds from now."""

    verdict: Verdict
    after: float


_SOON: Final = 3.0
_N_SOON: Final = 2
_BACK_OFF: Final = (30.0, 120.0, 600.0, 1_800.0, 7_200.0)
_N_CARDS: Final = 3  # that many cards refused it: then it is the message, whatever the code says


def next_try(action: str, blame: str, *, n_tries: int, is_bound: bool, spread: float) -> NextTry:
    """Decide by the code table's recommendation (`now, back, other, fix, stop`) and blame.

    Args:
        action: what the table of codes recommends; `again` where nothing was refused at all.
        blame: `message, modem, sim, network, host`; only a message's own fault fails it at once.
            `host` means that the modem understands us in another way than we mean it (it may have
            restarted unseen): another modem may not.
        n_tries: submits so far, this one included.
        is_bound: an earlier segment of the message left, so the card may not change.
        spread: −1 … 1; moves the back-off by up to a fifth, so that not all come back together.
    """
    if action == "again":
        return NextTry(verdict=Verdict.AGAIN, after=0.0)
    if _is_hopeless(action, blame, n_tries):
        return NextTry(verdict=Verdict.NEVER, after=0.0)
    if action in {"other", "stop"} and not is_bound:
        return NextTry(verdict=Verdict.OTHER_CARD, after=0.0)
    if action in {"now", "fix"} and n_tries <= _N_SOON:
        return NextTry(verdict=Verdict.AGAIN, after=_SOON)
    n_before = n_tries - 1 if action == "back" else n_tries - 1 - _N_SOON
    seconds = _BACK_OFF[max(0, min(n_before, len(_BACK_OFF) - 1))]
    return NextTry(verdict=Verdict.AGAIN, after=seconds * (1 + 0.2 * spread))


def _is_hopeless(action: str, blame: str, n_tries: int) -> bool:
    if action == "stop":
        return blame == "message" or n_tries >= _N_CARDS
    return action == "other" and blame != "sim" and n_tries >= _N_CARDS
