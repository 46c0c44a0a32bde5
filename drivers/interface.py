"""The contract between the controller and one modem.

A driver speaks to one modem over one channel. It knows no queue, no database and no policy; it
carries TPDU *octets* (TS 23.040 lives elsewhere). Expected outcomes are values; `drivers.errors`
holds what a caller cannot go on with.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

from drivers.ussd_reply import UssdHeard, UssdReply


class SimState(StrEnum):
    """What `+CPIN?` says of the card. Source: TS 27.007 §8.3."""

    READY = "ready"
    PIN = "pin"
    PUK = "puk"
    ABSENT = "absent"
    BUSY = "busy"
    OTHER = "other"


class PinOutcome(StrEnum):
    """What became of a command that carried a PIN. `UNKNOWN` = no answer: treat as a wrong try."""

    OK = "ok"
    WRONG = "wrong"
    BLOCKED = "blocked"
    NOT_ALLOWED = "not_allowed"
    UNKNOWN = "unknown"


class Blame(StrEnum):
    """Whom a refused or failed send is put down to."""

    MESSAGE = "message"
    MODEM = "modem"
    SIM = "sim"
    NETWORK = "network"
    HOST = "host"


class Action(StrEnum):
    """What the code tables recommend after a refusal; policy decides."""

    NOW = "now"
    """One retry after 2–5 s."""
    BACK = "back"
    """The same SIM, later."""
    OTHER = "other"
    """Another SIM; this one goes on unless it repeats."""
    FIX = "fix"
    """Put the modem in order, then again."""
    STOP = "stop"
    """Never again: it would be refused each time."""


class CallEventKind(StrEnum):
    """One line of a call's story, whatever vendor told it."""

    RING = "ring"
    CALLER = "caller"
    DIALLING = "dialling"
    ALERTING = "alerting"
    CONNECTED = "connected"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the modem says it is. `imei`: 15 digits, or what it tells in their place."""

    manufacturer: str
    model: str
    revision: str
    imei: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PinCounter:
    """Tries left for PIN1 and PUK1, as the modem's own counter command tells them."""

    pin: int
    puk: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Network registration. `stat` as in TS 27.007 §7.2 (1 home, 5 roaming, 6/7 SMS only)."""

    stat: int
    lac: str | None = None
    cell: str | None = None
    access_technology: int | None = None

    @property
    def is_registered(self) -> bool:
        """True where an SMS may be submitted."""
        return self.stat in {1, 5, 6, 7, 9, 10}

    @property
    def words(self) -> str:
        """The status for a person. Source: TS 27.007 §7.2."""
        return _STAT_WORDS.get(self.stat, f"network status {self.stat}")


_STAT_WORDS: Final = MappingProxyType({
    0: "not registered, and the modem does not search",
    1: "registered in its home network",
    2: "not registered, the modem searches",
    3: "the network denies registration",
    4: "no coverage, or the modem cannot tell",
    5: "registered as a guest (roaming)",
    6: "registered in its home network, for SMS only",
    7: "registered as a guest (roaming), for SMS only",
    8: "emergency calls only",
    9: "registered in its home network, CSFB not preferred",
    10: "registered as a guest (roaming), CSFB not preferred",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """One message in a modem's storage. `tpdu` without SCA; `status` 0 unread … 3 sent."""

    memory: str
    index: int
    status: int
    sca: bytes
    tpdu: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentCall:
    """One line of `+CLCC`. Source: TS 27.007 §7.18."""

    call_id: int
    is_incoming: bool
    stat: int
    number: str | None


# ---------------------------------------------------------------- outcomes of a submit


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Why a command was refused: the code, whom it blames, and whether it proves no send.

    `code` is `cms:38`, `cme:30`, `error`, …; `title` is English for operators; `action` is the
    code table's advice. `card`: what the code says of the card, None where nothing.
    """

    code: str
    title: str
    blame: Blame
    proves_no_send: bool
    action: Action = Action.BACK
    card: SimState | None = None

    @property
    def needs_card_check(self) -> bool:
        """Whether the card is gone, locked or dead, so that nothing else is to be asked of it."""
        return self.card not in {None, SimState.READY, SimState.BUSY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The network took the segment; `mr` is the reference that its report will carry."""

    mr: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The segment provably did not leave."""

    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class InDoubt:
    """The payload may have left; `cause` where an answer came that proves nothing."""

    reason: str
    cause: Cause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """The clearance was refused; ESC answered the prompt, nothing was sent."""


SubmitOutcome: TypeAlias = Accepted | Refused | InDoubt | Withheld


# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsStored:
    """`+CMTI` or `+CDSI`: something lies in the storage; which TPDU it is, its MTI tells."""

    memory: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsDirect:
    """`+CMT` or `+CDS`: a TPDU delivered directly. `needs_ack`: waits for `acknowledge()`."""

    sca: bytes
    tpdu: bytes
    needs_ack: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationChanged:
    """`+CREG` by itself."""

    registration: Registration


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalChanged:
    """A vendor's signal URC. `rssi_dbm` is None where unknown."""

    rssi_dbm: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent:
    """One line about a call. `duration` in seconds where the modem tells it."""

    kind: CallEventKind
    is_incoming: bool | None = None
    number: str | None = None
    call_id: int | None = None
    cause: str | None = None
    duration: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SimChanged:
    """The card came, went or changed its state."""

    state: SimState


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebooted:
    """The modem restarted by itself: every setting is lost."""

    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageFull:
    """A message storage is full: the network holds further messages back."""

    memory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LateSubmitResult:
    """A `+CMGS: mr` that came after its deadline (dug up by realignment)."""

    mr: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownUrc:
    """A line that nobody asked for and no table knows."""

    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLost:
    """The channel ended; no further event follows."""

    reason: str


DriverEvent: TypeAlias = (
    SmsStored
    | SmsDirect
    | RegistrationChanged
    | SignalChanged
    | CallEvent
    | SimChanged
    | Rebooted
    | StorageFull
    | LateSubmitResult
    | UssdHeard
    | UnknownUrc
    | LinkLost
)

EventSink: TypeAlias = Callable[[DriverEvent], None]
"""Takes an event at once; never waits, never raises."""


# ---------------------------------------------------------------- the driver


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a family can do, as data. Fields are added by families that need them."""

    family: str
    pin_counter: bool
    reports: bool
    more_messages: bool = False
    command_gap: float = 0.0
    submit_timeout: float = 180.0


class Driver(Protocol):
    """One modem, one channel: commands are never pipelined; several callers wait in turn.

    Every coroutine raises `CommandTimeout`, `OutOfStep`, `LinkError`, `ProtocolError`, and
    `CommandError` unless it returns the refusal as a value. After `CommandTimeout` only
    `realign()` and `close()` are allowed.
    """

    @property
    def identity(self) -> Identity:
        """Who the modem is; known from the probe on."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """The family's row."""
        ...

    @property
    def n_answers(self) -> int:
        """Commands answered so far: who looks twice sees whether the modem makes progress."""
        ...

    async def initialise(self) -> None:
        """Run the init sequence that needs no card (echo, `+CMEE`, noise off, `+CFUN=1`)."""
        ...

    async def sim_state(self) -> SimState:
        """Ask `+CPIN?`."""
        ...

    async def read_iccid(self) -> str:
        """Read the card's ICCID once: 18–22 characters, no F padding; letters A–F may occur."""
        ...

    async def read_imsi(self) -> str:
        """Read the IMSI (6 to 16 digits); needs an unlocked card."""
        ...

    async def own_number(self) -> str | None:
        """The card's number as it stands on it (`+CNUM`); None where none was written, as usual."""
        ...

    async def pin_counter(self) -> PinCounter | None:
        """Tries left by the model's own command; None where it does not tell."""
        ...

    async def enter_pin(self, pin: str) -> PinOutcome:
        """Send `+CPIN`. Never called without the PIN guard."""
        ...

    async def enter_puk(self, puk: str, new_pin: str) -> PinOutcome:
        """Unblock a card that asks for its PUK, and set its PIN. Never without the PUK's guard."""
        ...

    async def lock_enabled(self) -> bool | None:
        """Whether the card asks for its PIN at power-up (`+CLCK="SC",2`); None = not told."""
        ...

    async def set_lock(self, *, enabled: bool, pin: str) -> PinOutcome:
        """Switch the PIN lock (`+CLCK="SC"`); a wrong PIN burns a try."""
        ...

    async def change_pin(self, *, old: str, new: str) -> PinOutcome:
        """Change PIN1 (`+CPWD="SC"`); a wrong old PIN burns a try."""
        ...

    async def wait_sim_usable(self) -> None:
        """Wait after the PIN until SMS commands are served (bounded; `CommandTimeout` if not)."""
        ...

    async def configure_messaging(self) -> None:
        """PDU mode, storage, `+CNMI`, call and registration URCs; read back where it matters."""
        ...

    async def messaging_is_set(self) -> bool:
        """Whether what `configure_messaging` set still holds, as far as the modem tells.

        False after a restart that nothing announced, or where another program changed it. Where
        announcements of messages are missing, their way is mended first.
        """
        ...

    async def list_messages(self) -> Sequence[StoredMessage]:
        """Everything in the storages that incoming messages and reports may land in."""
        ...

    async def read_message(self, memory: str, index: int) -> StoredMessage | None:
        """Read one slot; None where it is empty."""
        ...

    async def delete_message(self, memory: str, index: int) -> None:
        """Delete one slot; an empty slot is no error."""
        ...

    async def acknowledge(self) -> None:
        """`+CNMA` for the direct delivery that waits for it; "none expected" is no error."""
        ...

    async def registration(self) -> Registration:
        """Ask `+CREG?`."""
        ...

    async def signal_dbm(self) -> int | None:
        """Ask `+CSQ`; None where unknown."""
        ...

    async def temperature_c(self) -> int | None:
        """How warm the modem is (°C, its warmest sensor); None where it does not tell."""
        ...

    async def operator(self) -> str | None:
        """The registered network's numeric code (MCC+MNC) or name; None without one."""
        ...

    async def current_calls(self) -> Sequence[CurrentCall]:
        """Ask `+CLCC`."""
        ...

    async def ask_ussd(self, code: str, *, packed: bytes, timeout: float) -> UssdReply | None:
        """Ask the network a USSD code (digits, * and #); its first answer ends the session.

        `packed`: the code as packed septets, which some families want. Commands of others run
        while the answer is awaited. None: no answer came within `timeout` seconds of the modem's
        consent, or `give_up_ussd` was called.
        """
        ...

    def give_up_ussd(self) -> None:
        """Let `ask_ussd` wait no longer; it ends its session in order."""
        ...

    async def submit(self, n_octets: int, payload: Awaitable[bytes | None]) -> SubmitOutcome:
        """Announce a TPDU of `n_octets`, send the octets once `payload` yields them.

        `AT+CMGS=<n_octets>` goes out at once; the TPDU only after `payload` resolved, which is
        after the caller has durably noted that it is about to leave. `None` → ESC, `Withheld`.
        A failure before the payload raises; one after it is `InDoubt`, never an exception.
        Source: TS 27.005 §4.3.
        """
        ...

    async def command(self, text: str, *, timeout: float = 10.0) -> Sequence[str]:
        """One raw AT command for the maintenance console; the answer's lines with the final.

        An error result is the last line, not an exception. ValueError for what no person may
        send by hand: messages, PINs past their guard, calls, another IMEI, chained commands.
        """
        ...

    async def realign(self) -> None:
        """Bring an out-of-step link back into step, or raise `OutOfStep`."""
        ...

    async def reset(self) -> None:
        """Restart the modem (`+CFUN=1,1` or the vendor's command); the channel may end."""
        ...

    async def close(self) -> None:
        """Close the channel; bounded, idempotent, never blocks the loop."""
        ...
