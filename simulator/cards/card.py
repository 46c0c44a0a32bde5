"""A SIM card: PINs and PUKs with their counters, and what a modem may do with them.

A card outlives every modem that it sits in; only its PIN must be shown again after each power-up.
Source: TS 31.101 §9.5 (PIN states), TS 51.011 §9.4 (status words); its files are in `files`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from simulator.cards import files
from simulator.cards.files import EF_SMS, OPEN_FILES, SMS_RECORD, File, Subscription
from simulator.cards.storage import Status, Storage

__all__ = ["Card", "CardState", "PinRefused", "Secret", "Subscription", "require_pin"]

PIN_TRIES: Final = 3
PUK_TRIES: Final = 10


class CardState(StrEnum):
    """What `+CPIN?` says. Source: TS 27.007 §8.3."""

    READY = "READY"
    PIN = "SIM PIN"
    PUK = "SIM PUK"
    DEAD = "DEAD"


class Secret(StrEnum):
    """The card's four secrets."""

    PIN1 = "pin1"
    PUK1 = "puk1"
    PIN2 = "pin2"
    PUK2 = "puk2"


class PinRefused(Exception):
    """The card refused a PIN or PUK; `cme` is the code the modem will answer."""

    def __init__(self, cme: int) -> None:
        super().__init__(f"cme {cme}")
        self.cme = cme


class Card:
    """One card. `is_locked`: asks for its PIN at power-up.

    What must outlive the simulator is told: `on_change` hears of secrets, counters and the lock,
    `on_messages` of the messages.
    """

    def __init__(self, subscription: Subscription, *, is_locked: bool, slots: int = 40) -> None:
        self.subscription = subscription
        self.is_locked = is_locked
        self.pin = subscription.pin
        self.pin2 = subscription.pin2
        self.pin_tries = PIN_TRIES
        self.puk_tries = PUK_TRIES
        self.pin2_tries = PIN_TRIES
        self.puk2_tries = PUK_TRIES
        self.slots = slots
        self.on_change: Callable[[], None] = lambda: None
        self.on_messages: Callable[[], None] = lambda: None
        self.storage = Storage("SM", capacity=slots, changed=self._stored)
        self._shown = not is_locked

    @property
    def iccid(self) -> str:
        """The card's number, without filler."""
        return self.subscription.iccid

    @property
    def state(self) -> CardState:
        """What the card asks for now."""
        if self.puk_tries == 0:
            return CardState.DEAD
        if self.pin_tries == 0:
            return CardState.PUK
        return CardState.READY if self._shown else CardState.PIN

    def tries(self, secret: Secret) -> int:
        """How many wrong ones it still bears."""
        match secret:
            case Secret.PIN1:
                return self.pin_tries
            case Secret.PUK1:
                return self.puk_tries
            case Secret.PIN2:
                return self.pin2_tries
        return self.puk2_tries

    def power_up(self) -> None:
        """The modem switched the card on: the PIN must be shown again where the lock is on."""
        self._shown = not self.is_locked

    def enter_pin(self, pin: str) -> None:
        """Show PIN1.

        Raises:
            PinRefused: 3 not asked for, 12 PUK needed, 13 dead, 16 wrong (a try is burnt).
        """
        if self.state is CardState.READY:
            raise PinRefused(3)
        self._verify(pin)
        self._shown = True

    def enter_puk(self, puk: str, new_pin: str) -> None:
        """Unblock with the PUK and set a new PIN.

        Raises:
            PinRefused: 3 not asked for, 13 dead, 16 wrong (a try is burnt), 50 malformed PIN.
        """
        if self.state not in {CardState.PUK, CardState.DEAD}:
            raise PinRefused(3)
        self.unblock(puk, new_pin)

    def unblock(self, puk: str, new_pin: str) -> None:
        """The same in whatever state, as a telephone's `**05*` does.

        Raises:
            PinRefused: 13 dead, 16 wrong (a try is burnt), 50 malformed PIN.
        """
        if self.puk_tries == 0:
            raise PinRefused(13)
        require_pin(new_pin)
        if puk != self.subscription.puk:
            self.puk_tries -= 1
            self.on_change()
            raise PinRefused(13 if self.puk_tries == 0 else 16)
        self.pin = new_pin
        self.pin_tries = PIN_TRIES
        self.puk_tries = PUK_TRIES
        # Unblocking a disabled PIN enables it. Source: TS 31.101 §9.5.3.
        self.is_locked = True
        self._shown = True
        self.on_change()

    def set_lock(self, *, enabled: bool, pin: str) -> None:
        """Switch the lock; the PIN is verified even where nothing changes.

        Raises:
            PinRefused: 11 the PIN has not been shown, else as `enter_pin`.
        """
        if self.state is CardState.PIN:
            raise PinRefused(11)
        self._verify(pin)
        self.is_locked = enabled
        self._shown = True
        self.on_change()

    def change_pin(self, old: str, new: str) -> None:
        """Change PIN1; only while the lock is on.

        Raises:
            PinRefused: 3 the lock is off, 50 malformed new PIN, else as `enter_pin`.
        """
        if not self.is_locked:
            raise PinRefused(3)
        require_pin(new)
        self._verify(old)
        self.pin = new
        self._shown = True
        self.on_change()

    def verify_pin2(self, pin2: str) -> None:
        """Show PIN2.

        Raises:
            PinRefused: 11 PIN1 first, 16 wrong (a try is burnt), 18 PUK2 needed.
        """
        self._require_open()
        if self.pin2_tries == 0:
            raise PinRefused(18)
        if pin2 != self.pin2:
            self.pin2_tries -= 1
            self.on_change()
            raise PinRefused(16 if self.pin2_tries else 18)
        if self.pin2_tries != PIN_TRIES:
            self.pin2_tries = PIN_TRIES
            self.on_change()

    def change_pin2(self, old: str, new: str) -> None:
        """Change PIN2.

        Raises:
            PinRefused: 50 malformed, else as `verify_pin2`.
        """
        require_pin(new)
        self.verify_pin2(old)
        self.pin2 = new
        self.on_change()

    def unblock_pin2(self, puk2: str, new_pin2: str) -> None:
        """Set a new PIN2 with the PUK2.

        Raises:
            PinRefused: 11 PIN1 first, 13 PUK2 is used up, 16 wrong (a try is burnt), 50 malformed.
        """
        self._require_open()
        if self.puk2_tries == 0:
            raise PinRefused(13)
        require_pin(new_pin2)
        if puk2 != self.subscription.puk2:
            self.puk2_tries -= 1
            self.on_change()
            raise PinRefused(16 if self.puk2_tries else 13)
        self.pin2 = new_pin2
        self.pin2_tries = PIN_TRIES
        self.puk2_tries = PUK_TRIES
        self.on_change()

    def file(self, fid: int) -> File | None:
        """A file; None where there is none of that number.

        Raises:
            PinRefused: 11 the file needs the PIN.
        """
        found = self._messages() if fid == EF_SMS else files.content(self.subscription, fid)
        if found is not None and fid not in OPEN_FILES and self.state is not CardState.READY:
            raise PinRefused(11)
        return found

    def read_file(self, fid: int) -> bytes | None:
        """A file's octets; None where there is no such file.

        Raises:
            PinRefused: 11 the file needs the PIN.
        """
        found = self.file(fid)
        return found.data if found is not None else None

    def mf_status(self) -> bytes:
        """What STATUS says of the master file: a 2G card's counters are in it."""
        if self.subscription.is_usim:
            return files.new_status()
        return files.old_status((self.pin_tries, self.puk_tries, self.pin2_tries, self.puk2_tries))

    def _messages(self) -> File:
        # A status octet, service centre, TPDU, filler. Source: TS 31.102 §4.2.25.
        records = bytearray()
        for message in self.storage.slots:
            if message is None:
                records += b"\x00" + b"\xff" * (SMS_RECORD - 1)
                continue
            octets = bytes((_RECORD_STATUS[message.status],)) + message.sca + message.tpdu
            records += octets.ljust(SMS_RECORD, b"\xff")[:SMS_RECORD]
        return File(data=bytes(records), record=SMS_RECORD)

    def _require_open(self) -> None:
        codes = {CardState.PIN: 11, CardState.PUK: 12, CardState.DEAD: 13}
        if self.state in codes:
            raise PinRefused(codes[self.state])

    def _verify(self, pin: str) -> None:
        if self.state is CardState.DEAD:
            raise PinRefused(13)
        if self.pin_tries == 0:
            raise PinRefused(12)
        if pin != self.pin:
            self.pin_tries -= 1
            if self.pin_tries == 0:
                self._shown = False
            self.on_change()
            raise PinRefused(16 if self.pin_tries else 12)
        if self.pin_tries != PIN_TRIES:
            self.pin_tries = PIN_TRIES
            self.on_change()

    def _stored(self) -> None:
        self.on_messages()


_RECORD_STATUS: Final = {Status.UNREAD: 3, Status.READ: 1, Status.UNSENT: 7, Status.SENT: 5}


def require_pin(pin: str) -> None:
    """Check a new PIN's form.

    Raises:
        PinRefused: 50, it is not 4 to 8 digits.
    """
    if not (4 <= len(pin) <= 8 and pin.isascii() and pin.isdigit()):
        raise PinRefused(50)
