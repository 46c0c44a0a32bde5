"""What a driver's error means for the bay that it befell (design §8)."""

from __future__ import annotations

from drivers.errors import CommandError, DriverError, LinkError
from drivers.interface import SimState
from modemctl.fleet.moves import Moved
from modemctl.lifecycle import MODEM, ModemEvent, ModemState

_M, _E = ModemState, ModemEvent


def judge(error: DriverError, state: ModemState, *, has_port: bool) -> Moved | None:
    """What moves the bay on; None where the error means nothing in this state."""
    is_probing = state is _M.PROBING
    if tells_card(error) and not is_probing:
        if state is _M.STARTING:
            return Moved(event=_E.SIM_MISSING, reason=_without_card(error))
        is_known = (state, _E.SIM_REMOVED) in MODEM
        return Moved(event=_E.SIM_REMOVED, reason=str(error)) if is_known else None
    if isinstance(error, LinkError) and (is_probing or not has_port):
        return Moved(event=_E.PORT_GONE, reason=error.reason)
    if is_probing:
        event = _E.NO_ANSWER
    elif state is _M.STARTING:
        event = _E.INIT_FAILED
    elif state is _M.UNLOCKING and isinstance(error, CommandError):
        event = _E.STOPPED
    else:
        event = _E.LINK_ERROR if isinstance(error, LinkError) else _E.OUT_OF_STEP
    if (state, event) not in MODEM:
        return None
    return Moved(event=event, reason=str(error))


def _without_card(error: DriverError) -> str:
    cause = error.cause if isinstance(error, CommandError) else None
    return "no card" if cause is not None and cause.card is SimState.ABSENT else str(error)


def tells_card(error: DriverError) -> bool:
    """Whether an error says that the card is gone, locked or dead: no step of the ladder helps."""
    cause = error.cause if isinstance(error, CommandError) else None
    return cause is not None and cause.needs_card_check
