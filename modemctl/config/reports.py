"""The settings of reports, of what cards cost, and of exports."""

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from modemctl.config.slices import Slice

Days = Annotated[int, Field(ge=1, le=3_650)]
Price = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class ReportsSettings(Slice):
    """Reports, and when one is overdue."""

    keep_days: Days = Field(
        default=30, description="Days that the file of a report is kept; its record stays."
    )
    quarter_due_days: Days = Field(
        default=15,
        description="Days after a quarter's end within which its summary is filed (SMS-05).",
    )
    screening_days: Days = Field(
        default=7,
        description="Days after a week's end within which the log's screening and spot check of "
        "that week are acknowledged (SEC-05).",
    )
    month_audit_days: Days = Field(
        default=15,
        description="Days after a month's end within which its audit is acknowledged (SEC-05).",
    )
    year_audit_days: Days = Field(
        default=31,
        description="Days after a year's end within which its audit is acknowledged (SEC-05).",
    )
    stocktake_days: Days = Field(
        default=31, description="Days between two stock-takes of the cards (SIM-11)."
    )
    idle_days: Days = Field(
        default=30, description="Days without traffic after which a card is idle (SIM-11)."
    )
    cancel_days: Days = Field(
        default=90, description="Days without traffic after which it is to be cancelled (SIM-11)."
    )


class TariffSettings(Slice):
    """Prices of one carrier, in units of the currency; 0 means free."""

    segment: Price = Field(default=0.0, description="Of one segment of an SMS.")
    minute: Price = Field(default=0.0, description="Of a begun minute of an outgoing call.")
    rent: Price = Field(default=0.0, description="Of a card a month.")

    def exactly(self, name: str) -> Decimal:
        """A price as it is written in the file."""
        return Decimal(str(getattr(self, name)))


class CostsSettings(Slice):
    """What cards cost (SIM-15)."""

    tariffs: dict[str, TariffSettings] = Field(
        default_factory=dict,
        description="Carrier as the register names it, or `default` → a table of its prices: "
        "`segment` (of one SMS segment), `minute` (begun, of an outgoing call), `rent` (a month).",
    )


class ExportsSettings(Slice):
    """Data that leave the controller (SEC-09)."""

    bulk_rows: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=100, description="From so many rows on a second person agrees to an export."
    )
    review_days: Days = Field(
        default=90, description="Days after which an export is looked at again."
    )
