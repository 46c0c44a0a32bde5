"""Whose acts a paper of the audit shows: none of them acknowledges it (SEC-05)."""

from __future__ import annotations

import json

from modemctl.errors import Conflict, PolicyRefused
from modemctl.store import Tx, audits


def require_outsider(tx: Tx, name: str, paper_id: str) -> None:
    """Refuse somebody whose own acts the paper shows, as the log kept when it was made.

    Raises:
        PolicyRefused: SEC-05, the paper shows acts of his.
        Conflict: the log does not tell of its making.
    """
    made = audits.read_subject(tx.conn, node_id=tx.node_id, action="report.make", subject=paper_id)
    if made is None:
        raise Conflict("the log does not tell of its making", cure="make it again")
    if name in json.loads(made.draft.details).get("actors", ()):
        raise PolicyRefused(
            "SEC-05",
            f"the paper shows acts of {name}'s own",
            cure="let an auditor acknowledge it who has none in it",
        )
