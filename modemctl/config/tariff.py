"""The settings of prices: what a segment costs, for previews and reports."""

import re
from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from modemctl.config.slices import Slice

_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]{0,5})(\.[0-9]{1,6})?")

Amount = Annotated[str, StringConstraints(pattern=f"^{_AMOUNT.pattern}$")]


class TariffSettings(Slice):
    """What segments cost. Amounts are decimal text, such as `"0.045"`: no cent is lost by it."""

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = Field(
        default="CNY", description="Currency (ISO 4217) of all amounts."
    )
    segment: Amount = Field(
        default="0", description="Price of a segment on a card whose carrier is not named below."
    )
    carriers: dict[str, Amount] = Field(
        default_factory=dict,
        description="Carrier as the register names it → price of a segment on its cards.",
    )
    seconds_per_segment: float = Field(
        default=4.0,
        gt=0,
        le=600,
        allow_inf_nan=False,
        description="Seconds that a modem takes for a segment, as previews reckon while too few "
        "were sent to measure it.",
    )

    def price(self, carrier: str | None) -> Decimal:
        """What a segment costs on a card of this carrier."""
        return Decimal(self.carriers.get(carrier or "", self.segment))
