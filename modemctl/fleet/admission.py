"""May this modem be driven at all (CC-01)? Asked once it told its IMEI, before anything else."""

from __future__ import annotations

from collections.abc import Mapping

from modemctl.config.settings import ListMode
from modemctl.fleet.checking import told
from modemctl.model import Bay
from modemctl.policy.admission import refusal
from modemctl.store import Connection, Store, admissions
from modemctl.store.modems import Facts
from modemctl.telemetry import Telemetry
from modemctl.vault import Vault


async def refused(
    store: Store, mode: ListMode, facts: Facts, *, telemetry: Telemetry
) -> str | None:
    """Why the modem in a bay may not be driven, None where it may; the list learns that it came.

    Raises:
        StoreError: the list cannot be read or written now; nothing was decided.
    """
    if mode is ListMode.OFF:
        return None
    imei, bay = facts.imei, facts.bay
    if not imei:
        found = refusal(mode, None, None)
    else:
        known = await store.read(lambda conn: admissions.read(conn, store.vault, imei))
        if known is not None and known.bay == bay:
            found = refusal(mode, imei, known)
        else:
            found = await store.write(lambda tx: admissions.note_seen(tx, imei, bay, mode))
            if known is not None and known.bay is not None:
                telemetry.count("modemctl_moves_total", kind="modem")
    return None if found is None else told(found)


def verdicts(
    conn: Connection, vault: Vault, imeis: Mapping[Bay, str], mode: ListMode
) -> Mapping[Bay, str | None]:
    """Why the modem in each of these bays may not be driven now, None where it may."""
    known = admissions.read_many(conn, vault, imeis.values())
    found = {bay: refusal(mode, imei, known.get(imei)) for bay, imei in imeis.items()}
    return {bay: None if one is None else told(one) for bay, one in found.items()}
