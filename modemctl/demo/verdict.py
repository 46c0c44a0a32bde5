"""The verdict: the daemon's store against the simulated network's ledger, number by number."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from modemctl.cli.client import Json, Record, records


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerView:
    """What the network took: per recipient its segments in the order of their sequence number."""

    n_segments: int
    texts: Mapping[str, str]
    duplicates: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The figures of both sides and everything in which they differ."""

    accepted: int
    states: Counter[str]
    segments_in_store: int
    segments_in_ledger: int
    duplicates: Sequence[str]
    missing: Sequence[str]
    differences: list[str] = field(default_factory=list)


def read_ledger(lines: Iterable[Record]) -> LedgerView:
    """Fold the ledger's submits: join the segments of each recipient, find what came twice."""
    parts: dict[str, dict[int, str]] = defaultdict(dict)
    duplicates: list[str] = []
    n_segments = 0
    for line in lines:
        if line.get("kind") != "submit":
            continue
        n_segments += 1
        to = str(line["destination"])
        to = to if to.startswith("+") else f"+{to}"
        concat = line.get("concat")
        seq = concat.get("seq") if isinstance(concat, dict) else 1
        assert isinstance(seq, int)
        if seq in parts[to]:
            duplicates.append(f"{to} segment {seq}")
        parts[to][seq] = str(line.get("text"))
    texts = {to: "".join(text for _, text in sorted(of.items())) for to, of in parts.items()}
    return LedgerView(n_segments=n_segments, texts=texts, duplicates=duplicates)


def judge(
    planned: Mapping[str, str], results: Sequence[Record], ledger: LedgerView, *, barred: set[str]
) -> Verdict:
    """Compare what was asked, what the store says, and what the network took.

    Args:
        planned: recipient → the text that must have arrived.
        results: the store's messages, as the API gives them, unmasked.
        ledger: the network's side.
        barred: recipients that opted out before their turn: nothing may have gone to them.
    """
    states = Counter(str(one["state"]) for one in results)
    left = {"sent", "delivered", "undelivered"}
    n_left = sum(
        1 for one in results for part in records(one.get("segments")) if part["state"] in left
    )
    due = {to: text for to, text in planned.items() if to not in barred}
    missing = sorted(to for to in due if to not in ledger.texts)
    verdict = Verdict(
        accepted=len(results),
        states=states,
        segments_in_store=n_left,
        segments_in_ledger=ledger.n_segments,
        duplicates=ledger.duplicates,
        missing=missing,
    )
    found = verdict.differences
    found += [f"sent twice: {what}" for what in ledger.duplicates]
    found += [f"not in the ledger: {to}" for to in missing]
    found += [f"{to} got another text" for to in due if ledger.texts.get(to, due[to]) != due[to]]
    found += [f"nobody asked for: {to}" for to in ledger.texts if to not in planned]
    found += [f"opted out, and still sent to: {to}" for to in barred if to in ledger.texts]
    found += [f"in the store, not asked for: {to}" for to in _recipients(results) - set(planned)]
    found += [
        f"accepted, and gone from the store: {to}" for to in set(planned) - _recipients(results)
    ]
    if n_left != ledger.n_segments:
        found.append(f"segments that left: store {n_left}, ledger {ledger.n_segments}")
    return verdict


def _recipients(results: Iterable[Record]) -> set[str]:
    return {str(one["to"]) for one in results}


def compare_counts(what: str, expected: Json, seen: Json) -> list[str]:
    """One line if two figures differ."""
    return [] if expected == seen else [f"{what}: expected {expected}, got {seen}"]
