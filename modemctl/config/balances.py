"""The settings of balances: which code asks a card's carrier for it, and what is low."""

import re
from typing import Annotated, Final, Self

from pydantic import Field, StringConstraints, model_validator

from modemctl.config.patterns import LONGEST, checked_pattern
from modemctl.config.slices import Slice

GROUPS: Final = frozenset({"amount", "owed"})
"""Groups of a pattern: an amount, with its sign, and one that is owed."""

USUAL_PATTERN: Final = (
    r"(?i)(?:欠费|owe)[^0-9\n]{0,20}(?P<owed>[0-9][0-9.,]{0,15})"
    r"|(?:余额|balance|credit)[^0-9¥￥$€+−\n-]{0,20}(?P<amount>[+−-]?[¥￥$€]?[+−-]?[0-9][0-9.,]{0,15})"
)
"""The number behind 余额, 欠费, balance, credit or owe in one line: a menu has numbers, too."""


_CHANGES: Final = re.compile(
    r"\*\*.*|##.*|[*#](?:002|004|21|61|62|67|43)[*#].*|[*#](?:0[345]2?|3[35][0-3]?)\*.*"
)
"""Codes that forward, bar or change a PIN, and ask nothing. Source: TS 22.030 §6.5.2, §6.6."""


class BalanceSettings(Slice):
    """How one carrier is asked for a card's balance."""

    code: Annotated[str, StringConstraints(pattern=r"^[*#][0-9*#]{1,20}$")] = Field(
        description="USSD code that asks for it, such as `*100#`."
    )
    pattern: Annotated[str, StringConstraints(max_length=LONGEST)] = Field(
        default=USUAL_PATTERN,
        description="Regular expression with a group `amount` (or `owed`) for it.",
    )
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(
        default="CNY", description="Currency (ISO 4217) of the amounts."
    )
    low: Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,3})?$")] = Field(
        default="0", description="An amount of no more than this is low."
    )

    @model_validator(mode="after")
    def _code_only_asks(self) -> Self:
        if _CHANGES.fullmatch(self.code):
            raise ValueError(
                "code: it would forward or bar calls or change a PIN (TS 22.030); write the one "
                "that asks for the balance"
            )
        return self

    @model_validator(mode="after")
    def _pattern_is_quick(self) -> Self:
        try:
            self.compiled()
        except ValueError as error:
            raise ValueError(f"pattern: {error}") from None
        return self

    def compiled(self) -> re.Pattern[str]:
        """The pattern; `re` keeps what it compiled."""
        return checked_pattern(self.pattern, groups=GROUPS)


class BalancesSettings(Slice):
    """Balances of cards, read over USSD (SIM-15, SIM-18); nobody is asked without a code."""

    carriers: dict[str, BalanceSettings] = Field(
        default_factory=dict,
        description="Carrier as the register names it, or `default` → a table: `code` (USSD, such "
        "as `*100#`), `pattern` (regular expression with a group `amount` or `owed`; the number "
        "behind 余额, 欠费, balance, credit, owe), `currency` (`CNY`), `low` (`0`: what is no more "
        "is low, and told).",
    )
    days: Annotated[int, Field(ge=1, le=31)] = Field(
        default=1, description="A card is asked by itself once in so many days of the site."
    )

    def of(self, carrier: str | None) -> BalanceSettings | None:
        """How a card of this carrier is asked; None where it is not."""
        return self.carriers.get(carrier or "default") or self.carriers.get("default")
