"""A PostgreSQL that a test has started ends with the session."""

from tests.support import postgres


def pytest_sessionfinish() -> None:
    postgres.end()
