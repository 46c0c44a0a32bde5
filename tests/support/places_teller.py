"""Runs the real discovery and prints what it tells, a JSON object a line; runs in a UsbWorld."""

import asyncio
import json
import sys
from collections.abc import Mapping

from modemctl.fleet import discovery
from modemctl.fleet.discovery import Discovery
from modemctl.fleet.places import Place
from modemctl.model import Bay


def tell(places: Mapping[Bay, Place]) -> None:
    facts = {
        bay: {
            "addresses": place.addresses,
            "hub": place.usb and place.usb.hub,
            "hub_port": place.usb and place.usb.hub_port,
            "serial": place.usb and place.usb.serial,
            "folder": place.usb and str(place.usb.folder),
            "is_sure": place.is_sure,
            "note": place.note,
            "arrival": place.arrival,
        }
        for bay, place in places.items()
    }
    print(json.dumps(facts), flush=True)


async def main() -> None:
    await Discovery(sys.argv[2:], interval=float(sys.argv[1]), tell=tell).run()


discovery._FROZEN = 1.0  # the tests need not wait for five
asyncio.run(main())
