"""The states of an AT link and the one table of what moves it; the docs are drawn from it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where the link stands."""

    IDLE = "idle"
    """In step; nothing asked."""
    BUSY = "busy"
    """A command waits for its final result."""
    PROMPTING = "prompting"
    """`+CMGS` went out; prompt or refusal is due."""
    PROMPT = "prompt"
    """The prompt is up; the payload is ours to give."""
    SUBMITTED = "submitted"
    """Payload and Ctrl-Z went out."""
    CANCELLING = "cancelling"
    """ESC answered the prompt."""
    OUT_OF_STEP = "out_of_step"
    """An answer may still come that nobody waits for: only realignment may run."""
    REALIGNING = "realigning"
    """Asking questions whose answers are known."""
    CLOSED = "closed"
    """The channel ended."""


class Input(StrEnum):
    """What moves the link."""

    COMMAND = "command"
    SUBMISSION = "submission"
    PROMPT_UP = "prompt_up"
    PAYLOAD = "payload"
    CANCEL = "cancel"
    FINAL = "final"
    EXPIRED = "expired"
    REALIGN = "realign"
    ALIGNED = "aligned"
    CLOSE = "close"


TABLE: Mapping[State, Mapping[Input, State]] = MappingProxyType({
    State.IDLE: {
        Input.COMMAND: State.BUSY,
        Input.SUBMISSION: State.PROMPTING,
        Input.REALIGN: State.REALIGNING,
        Input.EXPIRED: State.OUT_OF_STEP,
        Input.CLOSE: State.CLOSED,
    },
    State.BUSY: {
        Input.FINAL: State.IDLE,
        Input.EXPIRED: State.OUT_OF_STEP,
        Input.CLOSE: State.CLOSED,
    },
    State.PROMPTING: {
        Input.PROMPT_UP: State.PROMPT,
        Input.FINAL: State.IDLE,
        Input.EXPIRED: State.OUT_OF_STEP,
        Input.CLOSE: State.CLOSED,
    },
    State.PROMPT: {
        Input.PAYLOAD: State.SUBMITTED,
        Input.CANCEL: State.CANCELLING,
        Input.FINAL: State.IDLE,
        Input.EXPIRED: State.OUT_OF_STEP,
        Input.CLOSE: State.CLOSED,
    },
    State.SUBMITTED: {
        Input.FINAL: State.IDLE,
        Input.EXPIRED: State.OUT_OF_STEP,
        Input.CLOSE: State.CLOSED,
    },
    State.CANCELLING: {
        Input.FINAL: State.IDLE,
        Input.EXPIRED: State.OUT_OF_STEP,
        Input.CLOSE: State.CLOSED,
    },
    State.OUT_OF_STEP: {
        Input.REALIGN: State.REALIGNING,
        Input.EXPIRED: State.OUT_OF_STEP,
        Input.CLOSE: State.CLOSED,
    },
    State.REALIGNING: {
        Input.ALIGNED: State.IDLE,
        Input.EXPIRED: State.OUT_OF_STEP,
        Input.CLOSE: State.CLOSED,
    },
    State.CLOSED: {Input.CLOSE: State.CLOSED},
})  # fmt: skip
