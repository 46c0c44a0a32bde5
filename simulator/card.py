"""A SIM card: PIN and PUK with their counters, elementary files, message storage.

A card outlives every modem that it sits in; only its PIN must be shown again after each power-up.
Source: TS 31.101 §9.5 (PIN states), TS 31.102 §4.2 (files), TS 51.011 §9.4 (status words).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from simulator.storage import Storage

PIN_TRIES = 3
PUK_TRIES = 10

EF_ICCID = 12258
EF_IMSI = 28423
EF_GID1 = 28478
EF_GID2 = 28479
EF_MSISDN = 28480
EF_SMSP = 28482
EF_SPN = 28486
EF_AD = 28589
EF_ECC = 28599

_OPEN_FILES = frozenset({EF_ICCID, EF_ECC})


class CardState(StrEnum):
    """What `+CPIN?` says. Source: TS 27.007 §8.3."""

    READY = "READY"
    PIN = "SIM PIN"
    PUK = "SIM PUK"
    DEAD = "DEAD"


class PinRefused(Exception):
    """The card refused a PIN or PUK; `cme` is the code the modem will answer."""

    def __init__(self, cme: int) -> None:
        super().__init__(f"cme {cme}")
        self.cme = cme


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What is printed on and stored in a card. `iccid` without filler."""

    iccid: str
    imsi: str
    number: str
    pin: str
    puk: str
    provider: str = "CMCC"
    service_centre: str = "+8613800100500"
    mnc_length: int = 2


class Card:
    """One card. `is_locked`: asks for its PIN at power-up."""

    def __init__(self, subscription: Subscription, *, is_locked: bool, slots: int = 40) -> None:
        self.subscription = subscription
        self.is_locked = is_locked
        self.pin = subscription.pin
        self.pin_tries = PIN_TRIES
        self.puk_tries = PUK_TRIES
        self.slots = slots
        self.storage = Storage("SM", capacity=slots)
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
        if self.state is CardState.DEAD:
            raise PinRefused(13)
        if self.state is not CardState.PUK:
            raise PinRefused(3)
        _require_pin(new_pin)
        if puk != self.subscription.puk:
            self.puk_tries -= 1
            raise PinRefused(13 if self.puk_tries == 0 else 16)
        self.pin = new_pin
        self.pin_tries = PIN_TRIES
        self.puk_tries = PUK_TRIES
        # Unblocking a disabled PIN enables it. Source: TS 31.101 §9.5.3.
        self.is_locked = True
        self._shown = True

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

    def change_pin(self, old: str, new: str) -> None:
        """Change PIN1; only while the lock is on.

        Raises:
            PinRefused: 3 the lock is off, 50 malformed new PIN, else as `enter_pin`.
        """
        if not self.is_locked:
            raise PinRefused(3)
        _require_pin(new)
        self._verify(old)
        self.pin = new
        self._shown = True

    def read_file(self, fid: int) -> bytes | None:
        """A file's octets; None where there is no such file.

        Raises:
            PinRefused: 11 the file needs the PIN.
        """
        if fid not in _OPEN_FILES and fid in _FILES and self.state is not CardState.READY:
            raise PinRefused(11)
        return self._file(fid)

    def _file(self, fid: int) -> bytes | None:
        data = self.subscription
        imsi = f"{'9' if len(data.imsi) % 2 else '1'}{data.imsi}"
        files = {
            EF_ICCID: swap_nibbles(data.iccid.upper().ljust(20, "F")),
            EF_IMSI: b"\x08" + swap_nibbles(imsi.ljust(16, "F")),
            EF_SPN: b"\x00" + data.provider.encode("ascii")[:16].ljust(16, b"\xff"),
            EF_AD: bytes((0, 0, 0, data.mnc_length)),
            EF_ECC: bytes.fromhex("11F211F009F1"),
            EF_MSISDN: _record(data.number, fid),
            EF_SMSP: _record(data.service_centre, fid),
        }
        return files.get(fid)

    def _verify(self, pin: str) -> None:
        if self.state is CardState.DEAD:
            raise PinRefused(13)
        if self.pin_tries == 0:
            raise PinRefused(12)
        if pin != self.pin:
            self.pin_tries -= 1
            if self.pin_tries == 0:
                self._shown = False
                raise PinRefused(12)
            raise PinRefused(16)
        self.pin_tries = PIN_TRIES


_FILES = frozenset({EF_ICCID, EF_IMSI, EF_MSISDN, EF_SMSP, EF_SPN, EF_AD, EF_ECC})


def swap_nibbles(digits: str) -> bytes:
    """BCD with the low nibble first, as cards keep numbers."""
    return bytes.fromhex("".join(b + a for a, b in zip(digits[::2], digits[1::2], strict=True)))


def _require_pin(pin: str) -> None:
    if not (4 <= len(pin) <= 8 and pin.isascii() and pin.isdigit()):
        raise PinRefused(50)


def _record(number: str, fid: int) -> bytes:
    digits = number.removeprefix("+")
    padded = digits.ljust(len(digits) + len(digits) % 2, "F")
    coded = b"\x91" + swap_nibbles(padded)
    coded = bytes((len(coded),)) + coded
    if fid == EF_MSISDN:
        # Alpha identifier (empty), number, capability and extension. Source: TS 31.102 §4.2.26.
        return b"\xff" * 10 + coded.ljust(12, b"\xff") + b"\xff\xff"
    # Alpha, indicators (only the service centre present), DA, SCA, PID, DCS, VP. §4.2.27.
    return b"\xff" * 10 + b"\xfd" + b"\xff" * 12 + coded.ljust(12, b"\xff") + b"\xff" * 3
