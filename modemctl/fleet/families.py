"""Which families of modems are known: the site's own, then the built-in ones."""

from __future__ import annotations

from pathlib import Path

from drivers.family import Family
from drivers.registry import FAMILIES
from drivers.site_families import FamilyFilesError, read_folder
from modemctl.errors import ConfigError


def site_families(folder: Path) -> tuple[Family, ...]:
    """The families that the files of `bank.families` describe.

    Raises:
        ConfigError: files of the folder are wrong; all mistakes at once, each with its place.
    """
    try:
        return read_folder(folder, FAMILIES)
    except FamilyFilesError as error:
        raise ConfigError(error.problems) from error


def known_families(folder: Path) -> tuple[Family, ...]:
    """The site's families, then the built-in ones; the last fits every modem.

    Raises:
        ConfigError: as `site_families` does.
    """
    return (*site_families(folder), *FAMILIES)
