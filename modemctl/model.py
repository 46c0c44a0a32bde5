"""The nouns that every room shares: ids and small closed sets."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

Iccid = NewType("Iccid", str)
"""Key of a card: 18–22 characters, letters A–F may occur."""
Bay = NewType("Bay", str)
"""A place in the bank; stable while `ttyUSB` numbers change."""
BatchId = NewType("BatchId", str)
"""The client's own UUID, lower case; unique for ever; also the idempotency key."""
MessageId = NewType("MessageId", int)
SegmentId = NewType("SegmentId", int)
AccountId = NewType("AccountId", str)


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


class Topic(StrEnum):
    """What a wake-up after commit is about."""

    WORK = "work"  # segments may have become eligible
    STOP = "stop"  # a hold, cancel, pause: look before the next submit
    SIMS = "sims"  # the register changed
    MODEMS = "modems"  # a desired state changed
    WISHES = "wishes"  # somebody asked something of a bay
    EVENTS = "events"  # rows for SSE and webhooks


class EventKind(StrEnum):
    """Kinds of event rows (SSE, webhooks)."""

    BATCH = "batch"
    MESSAGE = "message"
    MODEM = "modem"
    SIM = "sim"
    CALL = "call"
    INBOX = "inbox"
    ALARM = "alarm"


def mask_number(number: str) -> str:
    """A phone number fit for logs and lists: `+86138****5678` (TEL-11)."""
    if len(number) < 8:
        return "*" * len(number)
    return f"{number[:-8]}****{number[-4:]}"
