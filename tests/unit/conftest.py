"""On which databases a test of the store runs: SQLite, or that and PostgreSQL."""

import os
from collections.abc import Iterator

import pytest

from tests.support import postgres
from tests.support.stores import Databases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    mark = metafunc.definition.get_closest_marker
    is_stores = any(
        str(getattr(value, "__module__", "")).startswith("tests.support")
        or getattr(value, "__name__", "").startswith("tests.support")
        for value in vars(metafunc.module).values()
    )
    # not MODEMCTL_…: the daemon takes those for settings
    is_asked = mark("both_databases") or (os.environ.get("BOTH_DATABASES") and is_stores)
    if is_asked and not mark("sqlite_only"):
        metafunc.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(autouse=True)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kind of database on which `open_store` opens its stores."""
    kind = getattr(request, "param", "sqlite")
    if kind == "postgresql":
        postgres.cluster()  # or the test is skipped
        Databases.is_postgresql = True
    yield kind
    if kind == "postgresql":
        Databases.clear()


def pytest_sessionfinish() -> None:
    postgres.end()
