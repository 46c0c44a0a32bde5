"""The conformance suite: the same checks against a real modem or a persona.

Its AT client is its own: nothing here comes from the product, whose errors it would share.
"""

from __future__ import annotations

from simulator.conformance.cli import command

__all__ = ["command"]
