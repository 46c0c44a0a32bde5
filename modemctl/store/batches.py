"""Batches: their rows, their way through the states, their evidence."""

from __future__ import annotations

from modemctl.store.evidence import read_evidence, read_lines

__all__ = ["read_evidence", "read_lines"]
