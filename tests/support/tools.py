"""Programs that are not Python packages: absent on a laptop, demanded in CI."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest


def require_tool(name: str) -> str:
    """The program's path; without it the test is skipped, or fails where CI demands all tools."""
    path = shutil.which(name)
    if path is not None:
        return path
    if os.environ.get("MODEMCTL_REQUIRE_TOOLS"):
        pytest.fail(f"{name} is not installed, and MODEMCTL_REQUIRE_TOOLS is set")
    pytest.skip(f"{name} is not installed")


def require_file(name: str) -> Path:
    """A file of an installed program; without it as without the program."""
    path = Path(name)
    if path.exists():
        return path
    if os.environ.get("MODEMCTL_REQUIRE_TOOLS"):
        pytest.fail(f"{name} does not exist, and MODEMCTL_REQUIRE_TOOLS is set")
    pytest.skip(f"{name} does not exist")


def require_package(name: str) -> None:
    """A Python package that only tests use; without it as without a program."""
    if importlib.util.find_spec(name) is not None:
        return
    if os.environ.get("MODEMCTL_REQUIRE_TOOLS"):
        pytest.fail(f"{name} is not installed, and MODEMCTL_REQUIRE_TOOLS is set")
    pytest.skip(f"{name} is not installed")
