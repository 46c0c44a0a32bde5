"""The nouns that every room shares: ids and small closed sets."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NewType

Iccid = NewType("Iccid", str)
"""Key of a card: 18–22 characters, letters A–F may occur."""
Bay = NewType("Bay", str)
"""A place in the bank; stable while `ttyUSB` numbers change."""
BatchId = NewType("BatchId", str)
"""The client's own UUID, lower case; unique for ever; also the idempotency key."""
MessageId = NewType("MessageId", int)
SegmentId = NewType("SegmentId", int)
AccountId = NewType("AccountId", str)

_NUMBER: Final = re.compile(r"\+?[0-9]*")
_LETTER: Final = re.compile(r"[^ -@\[-`{-~]")  # and all that is not ASCII
_LETTER_OR_DIGIT: Final = re.compile(r"[^ -/:-@\[-`{-~]")
_LEAST_SHOWN: Final = 8  # characters: of fewer none is shown


class Category(StrEnum):
    """What a batch is, which decides its chain of approvals (SMS-02 … SMS-04)."""

    NOTICE = "notice"
    PROMOTION = "promotion"
    OTHER = "other"


class Decision(StrEnum):
    """What an approver says."""

    APPROVE = "approve"
    REJECT = "reject"


class DesiredState(StrEnum):
    """What a person wants of a bay."""

    RUN = "run"
    PAUSED = "paused"


class NodeState(StrEnum):
    """How a daemon on the database stands."""

    UP = "up"
    DOWN = "down"  # ended in order
    LOST = "lost"  # gave no sign for long; others took over
    REMOVED = "removed"  # by a person


class Topic(StrEnum):
    """What a wake-up after commit is about."""

    WORK = "work"  # segments may have become eligible
    STOP = "stop"  # a hold, cancel, pause: look before the next submit
    SIMS = "sims"  # the register changed
    MODEMS = "modems"  # a desired state changed
    WISHES = "wishes"  # somebody asked something of a bay
    EVENTS = "events"  # rows for SSE and webhooks
    WEBHOOKS = "webhooks"  # endpoints, or what is to be delivered again
    KEYS = "keys"  # a data key was added


class EventKind(StrEnum):
    """Kinds of event rows (SSE, webhooks)."""

    BATCH = "batch"
    MESSAGE = "message"
    MODEM = "modem"
    SIM = "sim"
    CALL = "call"
    INBOX = "inbox"
    REQUEST = "request"  # an act of two persons
    ALARM = "alarm"


def mask_number(number: str) -> str:
    """A phone number fit for logs and lists: `+86138****5678` (TEL-11).

    What is no number, such as an alphanumeric sender, is masked as `mask_text` does it.
    """
    if not _NUMBER.fullmatch(number):
        return mask_text(number)
    if len(number) < _LEAST_SHOWN:
        return "*" * len(number)
    return f"{number[:-8]}****{number[-4:]}"


def mask_text(text: str) -> str:
    """A text with stars for its letters, and for its digits but near its ends.

    Left are spaces, signs, and digits among the first three and last two characters; of a text of
    fewer than eight characters no digit: `138******** **** ***********10`.
    """
    first, last = (3, 2) if len(text) >= _LEAST_SHOWN else (0, 0)
    end = len(text) - last
    inner = _LETTER_OR_DIGIT.sub("*", text[first:end])
    return _LETTER.sub("*", text[:first] + inner + text[end:])
