"""Bays with one port, as a configuration names them."""

from modemctl.fleet.places import Place
from modemctl.model import Bay


def place_of(address: str, bay: str = "bay-01") -> Place:
    """The bay behind an address."""
    return Place(bay=Bay(bay), addresses=(address,))
