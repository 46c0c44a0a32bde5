"""Carriers: who they are, where they are heard, whom they let in, what they charge and allow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fnmatch import fnmatchcase
from itertools import count
from operator import itemgetter
from typing import Annotated, Final, Generic, TypeVar

from simulator.network.latency import Latency
from simulator.network.ussd import MENUS, Menu
from simulator.reading import Seconds, shaped

_T = TypeVar("_T")

HOME: Final = 1
SEARCHING: Final = 2
DENIED: Final = 3
ROAMING: Final = 5

_DAY: Final = 86_400.0


class Period(StrEnum):
    """What a limit counts over; it begins with the first segment."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> float:
        """Its length."""
        return {Period.MINUTE: 60.0, Period.HOUR: 3600.0, Period.DAY: _DAY}[self]


class Beyond(StrEnum):
    """What a carrier does with a card that sent more than it may."""

    REFUSE = "refuse"  # every further segment of the period gets the CMS code
    ONCE = "once"  # one segment gets the CMS code, then counting begins anew
    CUT_OFF = "cut_off"  # everything gets the CMS code, until lifted or for a time
    DENIED = "denied"  # the same, and the card is thrown out: registration denied


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A carrier's limit for each card. `lasts` in seconds; None = until it is lifted."""

    count: int
    per: Period
    beyond: Beyond = Beyond.REFUSE
    cms: int = 21
    lasts: Seconds | None = None

    def __post_init__(self) -> None:
        if self.count < 0 or (self.lasts or 0) < 0:
            raise ValueError("count, lasts: not below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """One carrier. Times in seconds, money in the carrier's currency.

    `home`: beginnings of the IMSIs that are its own (none given: its `numeric`); `guests`: of
    those that may roam here; `issuer` begins the ICCIDs of its cards. `coverage` is the signal by
    modem (a pattern), where it differs from `signal`: 0–31 as in `+CSQ`, negative = not heard.
    `per_second` segments are worked off, of which `queue` may wait; more gets CMS 42. `price` is
    for each segment; a card that cannot pay
    gets `no_credit_cms`. `validity` is for messages that name none, `validity_most` clips.
    """

    name: str
    numeric: str
    short: str = ""
    home: tuple[str, ...] = ()
    guests: tuple[str, ...] = ()
    share: int = 1
    issuer: Annotated[str, shaped(r"(\d{2,7})?", "2 to 7 digits")] = ""
    service_centre: Annotated[str, shaped(r"\+?\d{3,20}", "a number")] = "+8613800100500"
    signal: int = 20
    coverage: Mapping[str, int] = field(default_factory=dict)
    latency: Latency | None = None
    report_delay: Latency | None = None
    delivery: Latency | None = None
    per_second: float = 0.0
    queue: int = 0
    limits: tuple[Limit, ...] = ()
    price: Decimal = Decimal(0)
    balance: Decimal = Decimal("10.00")
    currency: str = "CNY"
    no_credit_cms: int = 21
    validity: Seconds = _DAY
    validity_most: Seconds = 3 * _DAY
    retry: Seconds = 300.0
    ussd: tuple[Menu, ...] = MENUS
    ussd_idle: Seconds = 60.0

    def __post_init__(self) -> None:
        if not (self.numeric.isascii() and self.numeric.isdigit() and len(self.numeric) in {5, 6}):
            raise ValueError("numeric: 5 or 6 digits (MCC and MNC)")
        if self.share < 0 or self.queue < 0 or self.price < 0:
            raise ValueError("share, queue, price: not below 0")
        times = (self.validity, self.validity_most, self.retry, self.ussd_idle, self.per_second)
        if min(times) < 0:
            raise ValueError("validity, validity_most, retry, ussd_idle, per_second: not below 0")

    @property
    def names(self) -> tuple[str, str, str]:
        """As `+COPS` shows it in the formats 0, 1, 2."""
        return self.name, self.short or self.name, self.numeric

    def owns(self, imsi: str) -> bool:
        """True where the card is the carrier's own."""
        return imsi.startswith(self.home or (self.numeric,))

    def signal_at(self, modem: str) -> int:
        """The signal there, 0–31; negative = not heard. The first fitting pattern rules."""
        for pattern, signal in self.coverage.items():
            if fnmatchcase(modem, pattern):
                return signal
        return self.signal


CMCC: Final = Carrier(name="CHINA MOBILE", short="CMCC", numeric="46000", home=("",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a card finds at a modem: the registration status and who serves it (None = nobody)."""

    stat: int
    carrier: Carrier | None


class _Changes(Generic[_T]):
    """What is not as `usual`, by carrier and modem; an empty text stands for all of them.

    The last word about a carrier at a modem counts, whether it was about that one or about more.
    """

    def __init__(self, *, usual: _T) -> None:
        self._usual = usual
        self._said: dict[tuple[str, str], tuple[int, _T]] = {}
        self._order = count()

    def set(self, carrier: str, modem: str, *, value: _T) -> None:
        """From now on there."""
        self._said = {
            (name, place): said
            for (name, place), said in self._said.items()
            if carrier not in {"", name} or modem not in {"", place}
        }
        is_hidden = any(
            (not name or carrier in {"", name}) and (not place or modem in {"", place})
            for name, place in self._said
        )
        if value != self._usual or is_hidden:
            self._said[carrier, modem] = (next(self._order), value)

    def at(self, carrier: str, modem: str) -> _T:
        """What holds for this carrier at this modem."""
        if not self._said:
            return self._usual
        keys = ((carrier, modem), ("", modem), (carrier, ""), ("", ""))
        found = [self._said[key] for key in keys if key in self._said]
        return max(found, key=itemgetter(0))[1] if found else self._usual


class Coverage:
    """All carriers, and where they are out of reach just now."""

    def __init__(self, carriers: Iterable[Carrier]) -> None:
        self.carriers = tuple(carriers) or (CMCC,)
        self._lost: _Changes[bool] = _Changes(usual=False)
        self._signals: _Changes[int | None] = _Changes(usual=None)

    def find(self, name: str) -> Carrier:
        """A carrier by name or numeric code.

        Raises:
            LookupError: there is none.
        """
        for carrier in self.carriers:
            if name in carrier.names:
                return carrier
        raise LookupError(f"no carrier {name!r}")

    def home(self, imsi: str) -> Carrier:
        """Whose card it is; the first carrier's where nobody knows it."""
        owners = [carrier for carrier in self.carriers if carrier.owns(imsi)]
        return max(owners, key=lambda carrier: _fit(carrier, imsi), default=self.carriers[0])

    def lose(self, carrier: str, modem: str) -> None:
        """Out of reach from now on; an empty text stands for all."""
        self._lost.set(carrier, modem, value=True)

    def restore(self, carrier: str, modem: str) -> None:
        """In reach again, also where more than this was lost; an empty text stands for all."""
        self._lost.set(carrier, modem, value=False)

    def set_signal(self, carrier: str, modem: str, signal: int | None) -> None:
        """Another signal from now on; None = as configured; an empty text stands for all."""
        self._signals.set(carrier, modem, value=signal)

    def signal(self, carrier: Carrier, modem: str) -> int:
        """What the modem hears of the carrier, 0–31; negative = nothing."""
        if self._lost.at(carrier.name, modem):
            return -1
        changed = self._signals.at(carrier.name, modem)
        return carrier.signal_at(modem) if changed is None else changed

    def heard(self, modem: str) -> list[Carrier]:
        """The carriers that the modem hears, the strongest first."""
        found = [(self.signal(carrier, modem), carrier) for carrier in self.carriers]
        found.sort(key=lambda pair: -pair[0])
        return [carrier for signal, carrier in found if signal >= 0]

    def place(self, imsi: str, modem: str, *, wanted: str = "") -> Place:
        """Where a card ends up: at home, as a guest, denied, or searching on.

        `wanted` is the numeric code that the client insists on.
        """
        heard = [carrier for carrier in self.heard(modem) if wanted in {"", carrier.numeric}]
        if not heard:
            return Place(stat=SEARCHING, carrier=None)
        for carrier in heard:
            if carrier.owns(imsi):
                return Place(stat=HOME, carrier=carrier)
        for carrier in heard:
            if carrier.guests and imsi.startswith(carrier.guests):
                return Place(stat=ROAMING, carrier=carrier)
        return Place(stat=DENIED, carrier=None)


def _fit(carrier: Carrier, imsi: str) -> int:
    prefixes = carrier.home or (carrier.numeric,)
    return max(len(prefix) for prefix in prefixes if imsi.startswith(prefix))
