"""A PostgreSQL that a test of the bank has started ends with the session."""

from tests.support import postgres


def pytest_sessionfinish() -> None:
    postgres.end()
