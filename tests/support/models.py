"""Which family drives which simulated model, and which models a test meets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from drivers.registry import FAMILIES
from simulator import persona


def family_for(model: persona.Persona) -> str:
    """The family that a persona's `vendor` names; makers without one get the generic family."""
    if model.model.startswith(("SIMCOM_SIM8", "SIMCOM_SIM9")):
        return "simcom-2g"
    known = {family.capabilities.family for family in FAMILIES}
    return model.vendor if model.vendor in known else "generic"


def _names() -> list[str]:
    others = (Path(persona.__file__).parent / "personas" / "others").glob("*.toml")
    return [*persona.names(), *(f"others/{file.stem}" for file in others)]


EVERY: Final = {name: family_for(persona.load(name)) for name in sorted(_names())}
"""Persona → family."""

ONE_EACH: Final = {name: family for family, name in {f: n for n, f in EVERY.items()}.items()}
"""One persona of each family."""

_ODD: Final = ("e173", "others/nokia", "others/speedup", "others/gobi", "sim7600")

MET: Final = (
    EVERY
    if os.environ.get("MODEMCTL_LONG")
    else {name: EVERY[name] for name in sorted({*ONE_EACH, *_ODD})}
)
"""What the bank tests meet: one persona of each family and the odd ones, or all of them."""
