"""What every table is made of: times, keys, the naming of constraints."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    String,
)
from sqlalchemy.types import TypeDecorator

from modemctl.lifecycle import BatchState, CardState, SegmentState

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_NO_TIME: Final = datetime(1, 1, 1, tzinfo=UTC)  # a cell that holds none: no MAC fits this one


class UtcMs(TypeDecorator[datetime]):
    """An aware datetime, stored as UTC milliseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """To milliseconds; a naive datetime is our own error."""
        del dialect
        return self.to_cell(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """To an aware UTC datetime."""
        del dialect
        return self.from_cell(value)

    @staticmethod
    def to_cell(value: datetime | None) -> int | None:
        """As the database keeps it, on either dialect."""
        if value is None:
            return None
        assert value.tzinfo is not None, "times are aware"
        return (value - _EPOCH) // _MS

    @staticmethod
    def from_cell(value: int | None) -> datetime | None:
        """As the database kept it."""
        if value is None:
            return None
        try:
            return _EPOCH + value * _MS
        except (TypeError, OverflowError):
            return _NO_TIME


class Octets(LargeBinary):
    """Octets; a cell that holds something else reads as none, which no MAC and no key fits."""

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[object], bytes | None]:
        """What reads a cell."""
        del dialect, coltype
        return _octets


def _octets(value: object) -> bytes | None:
    return value if value is None or isinstance(value, bytes) else b""


class Name(String):
    """What a row is known by; a cell that holds no text reads as a name that no row has."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[object], str | None]:
        """What reads a cell."""
        del dialect, coltype
        return _name


def _name(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else f"?{value!r}"


class Day(TypeDecorator[date]):
    """A date; a cell that holds none reads as the first of all, which no MAC fits."""

    impl = Date
    cache_ok = True

    def result_processor(
        self, dialect: Dialect, coltype: object
    ) -> Callable[[object], date | None]:
        """What reads a cell."""
        inner = self.impl_instance.result_processor(dialect, coltype)

        def read(value: object) -> date | None:
            try:
                day = value if inner is None else inner(value)
            except (TypeError, ValueError):
                return date.min
            return day if day is None or isinstance(day, date) else date.min

        return read


def to_ms(at: datetime) -> int:
    """The stored form of a time, for statements written in SQL."""
    return (at - _EPOCH) // _MS


def from_ms(value: int) -> datetime:
    """The time behind a stored form."""
    return _EPOCH + value * _MS


KEY = BigInteger().with_variant(Integer, "sqlite")  # else SQLite does not count up by itself

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def one_of(column: str, values: type[SegmentState | BatchState | CardState]) -> CheckConstraint:
    """A column holds one of the closed set's words, in the database too."""
    words = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({words})", name=f"{column}_known")
