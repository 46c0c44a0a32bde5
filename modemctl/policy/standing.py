"""Standing approvals: under one, self-tests send loop-back messages to our own cards (SMS-09).

A standing approval is an ordinary batch of category `other` whose signed header says so. It never
runs. Each self-test makes a batch of its own under it, with the same text and list; nobody signs
that one: it is proved by what it shares with the standing one.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.lifecycle import BatchState
from modemctl.model import Category
from modemctl.policy.content import variables_of
from modemctl.policy.digest import BatchHeader

LONGEST: Final = timedelta(days=90)
"""No standing approval lasts longer, whatever the configuration says."""
RUN_LASTS: Final = timedelta(hours=1)
"""The window of a self-test's batch: what has not left by then does not."""
WEEK: Final = timedelta(days=7)
MOST_RUNS: Final = 14
"""Runs in seven days that may be signed: two a day are a test, more is traffic."""

_CURE: Final = "have a new standing approval signed: modemctl batch propose-self-test"


def check_standing(header: BatchHeader) -> None:
    """Check what a signed header says of itself as a standing approval.

    Raises:
        PolicyRefused: SMS-09, no standing approval may look like that.
    """
    assert header.standing is not None, "asked of standing approvals only"
    wrong = (
        (header.category != Category.OTHER, f"its category is {Category.OTHER}"),
        (header.under is not None or header.emergency is not None, "it is nothing else besides"),
        (header.starts_itself, "it never starts"),
        (header.totals.n_removed > 0, "its list holds what is sent and no more"),
        (bool(variables_of(header.template)), "its text is the same for all"),
        (header.not_after - header.not_before > LONGEST, f"it lasts {LONGEST.days} days at most"),
        (
            not 1 <= header.standing.runs_per_week <= MOST_RUNS,
            f"it allows 1 to {MOST_RUNS} runs a week",
        ),
    )
    for is_wrong, rule in wrong:
        if is_wrong:
            raise PolicyRefused("SMS-09", f"of a standing approval: {rule}", cure=_CURE)


def check_run(
    run: BatchHeader, standing: BatchHeader, *, digest: bytes, state: str, now: datetime
) -> None:
    """Check that a self-test's batch is what its standing approval allows, and nothing more.

    `digest` and `state` are the standing approval's.

    Raises:
        PolicyRefused: SMS-09, it differs, or the standing approval is not in force.
    """
    under = run.under
    if under is None or standing.standing is None:
        raise PolicyRefused("SMS-09", "a self-test's batch goes under a standing approval only")
    if under.batch_id != standing.batch_id or not hmac.compare_digest(under.digest, digest):
        raise PolicyRefused("SMS-09", "the self-test's batch goes under another approval")
    if state != BatchState.APPROVED:
        raise PolicyRefused("SMS-09", f"the standing approval is {state}", cure=_CURE)
    if not standing.not_before <= now < standing.not_after:
        raise PolicyRefused("SMS-09", "the standing approval is not in force", cure=_CURE)
    same = replace(
        run,
        batch_id=standing.batch_id,
        not_before=standing.not_before,
        not_after=standing.not_after,
        under=None,
        standing=standing.standing,
    )
    if same != standing or run.standing is not None:
        raise PolicyRefused("SMS-09", "the self-test's batch is not what was approved")
    _check_window(run, standing)


def require_sends(header: BatchHeader) -> None:
    """Refuse what only stands behind others and sends nothing itself.

    Raises:
        PolicyRefused: SMS-09, a standing approval.
    """
    if header.standing is not None:
        raise PolicyRefused(
            "SMS-09",
            "a standing approval sends nothing itself",
            cure="modemctl self-test --sms sends under it",
        )


def check_asked(
    runs_per_week: int,
    category: str,
    text: str,
    not_after: datetime,
    *,
    starts_itself: bool,
    longest: timedelta,
    now: datetime,
) -> None:
    """Check what a client asks for as a standing approval.

    Raises:
        InvalidRequest: a field is wrong.
        PolicyRefused: SMS-09, of another category.
    """
    if category != Category.OTHER:
        raise PolicyRefused(
            "SMS-09",
            f"a standing approval is of category {Category.OTHER}",
            field="category",
            value=category[:40],
            cure=f"submit it as {Category.OTHER}",
        )
    if not 1 <= runs_per_week <= MOST_RUNS:
        rule = f"must lie between 1 and {MOST_RUNS}"
        raise InvalidRequest(rule, field="runs_per_week", value=str(runs_per_week))
    if variables_of(text):
        raise InvalidRequest("a standing approval's text is the same for all", field="text")
    if starts_itself:
        raise InvalidRequest("a standing approval never starts", field="starts_itself")
    if not_after > now + longest:
        raise InvalidRequest(
            f"a standing approval lasts {longest.days} days at most",
            field="not_after",
            value=not_after.isoformat(),
        )


def _check_window(run: BatchHeader, standing: BatchHeader) -> None:
    is_within = standing.not_before <= run.not_before and run.not_after <= standing.not_after
    if not is_within or not timedelta(0) < run.not_after - run.not_before <= RUN_LASTS:
        raise PolicyRefused(
            "SMS-09", "a self-test's window is short and lies within its standing approval's"
        )
