"""What a bank in turmoil must have kept: the store against the ledger, the log against peace."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from modemctl.store import inbox
from simulator.ledger import Fact
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess
from tests.support.turmoil import Turmoil
from tests.support.turmoil_host import TurmoilHost

_SENT = frozenset({"sent", "delivered", "undelivered"})
_ENDED = _SENT | {"in_doubt", "refused"}
_SPOILING = frozenset(
    {"garbage", "merged_lines", "truncated_line", "doubled_byte", "lost_byte", "late_answer"}
)
"""After these an answer may read as another one that is as good."""
_TROUBLE = ("fault", "power", "card", "registration")
_SLACK = timedelta(seconds=1)  # two processes, two clocks' readings, a commit in between
_MOVED = re.compile(r"modem\.moved\b.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment as the store knows it."""

    segment_id: int
    to: str
    seq: int
    n: int
    state: str
    bay: str
    iccid: str
    mr: int | None
    entries: Sequence[tuple[datetime, str, str]]
    """When, what it became, why."""


Sighting = tuple[str, str | None, str | None]
"""A bay, and the IMEI and ICCID that the store has for it."""


def sightings(site: Site) -> frozenset[Sighting]:
    """What the store says now of who is where."""
    return frozenset(site.query("SELECT bay, imei, iccid FROM modem"))


@dataclass(kw_only=True)
class TurmoilJudge:
    """`findings` says everything that is wrong."""

    site: Site
    bank: BankProcess
    turmoil: Turmoil
    host: TurmoilHost
    healthy: frozenset[str]
    recipients: Sequence[str]
    seen: frozenset[Sighting]
    patience: timedelta
    """How long the daemon waits for the answer to a submit."""
    findings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ledger = self.bank.ledger()
        self._log = (self.site.folder / "daemon.log").read_text()
        self._segments = self._read_segments()
        self._took: dict[tuple[str, int], list[dict[str, Fact]]] = defaultdict(list)
        self._trouble: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
        self._late: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
        for line in self._ledger:
            kind = str(line["kind"])
            if kind == "submit":
                concat = line["concat"]
                seq = int(str(concat["seq"])) if isinstance(concat, dict) else 1
                self._took[str(line["destination"]), seq].append(line)
            elif kind in _TROUBLE and line.get("modem"):
                what = str(line.get("fault") or line.get("event") or kind)
                self._trouble[str(line["modem"])].append((_time(line), what))
        for modem, what, at in self.turmoil.acts:
            when = datetime.fromtimestamp(at).astimezone()
            self._trouble[modem].append((when, what))
        self._n_unreadable = 0
        self._ups: dict[str, list[datetime]] = defaultdict(list)
        for line in self.log_lines:
            if _fields(line).get("state") == "ready":
                when = datetime.fromisoformat(line.split(maxsplit=1)[0])
                self._ups[_fields(line)["bay"]].append(when)
        self._reports: dict[str, list[datetime]] = defaultdict(list)
        for line in self._ledger:
            if line["kind"] == "report":
                self._reports[str(line["destination"])].append(_time(line))

    def judge(self, daemon: DaemonProcess) -> None:
        """Look at everything, once the daemon has ended."""
        self._judge_sent()
        self._judge_healthy()
        self._judge_identities()
        self._judge_incoming()
        self._judge_calls()
        self._judge_log(daemon)

    @property
    def n_kinds(self) -> int:
        """How many kinds of fault struck."""
        return len(self._struck())

    def _struck(self) -> Counter[str]:
        return Counter(str(line["fault"]) for line in self._ledger if line["kind"] == "fault")

    def figures(self) -> str:
        """What happened, for a person to read."""
        struck = self._struck()
        states = Counter(one.state for one in self._segments)
        doubted = sum(bool(self._doubts(one)) for one in self._segments)
        steps = Counter(re.findall(r"modem\.ladder .*?\bstep=(\w+)", self._log))
        lines = (
            f"{len(self._segments)} segments {dict(states)}, {doubted} ever in doubt",
            f"{struck.total()} strikes of {len(struck)} kinds: {dict(struck)}",
            f"by hand {dict(Counter(what for _, what, _ in self.turmoil.acts))}",
            f"recoveries by step {dict(steps)}",
            f"daemon {[away.kind for away in self.host.absences]}, {self.host.n_stalls} stalls",
            f"{sum(map(len, self._late.values()))} doubts were older than the network's taking",
            f"{len(self.turmoil.sms)} SMS and {self.turmoil.calls.total()} calls came in,"
            f" {self._n_unreadable} spoiled ones kept beside the whole ones",
        )
        return "\n".join(lines)

    # ---------------------------------------------------------------- sending

    def _judge_sent(self) -> None:
        known = set()
        for one in self._segments:
            known.add((one.to, one.seq))
            took = self._took.get((one.to, one.seq), [])
            if one.state not in _ENDED:
                self._find(one, f"has no end: {one.state}")
            if len(took) > 1:
                self._find(one, f"was sent {len(took)} times")
            if one.state in _SENT:
                self._judge_answer(one, took)
            if one.state == "refused" and took:
                self._find(one, "is said to be refused, and the network took it")
            if one.bay in self.healthy and not self._is_well(one):
                self._find(one, f"is {one.state} at a healthy modem")
            self._judge_doubt(one)
        for what in self._took.keys() - known:
            self.findings.append(f"nobody asked for {what}")

    def _is_well(self, one: Segment) -> bool:
        """Whether it ended as it must with a modem that has no fault.

        Reports that a modem acknowledges by itself are lost while no daemon runs (design §1). What
        a kill met while it was submitted stays in doubt, also where it had not left.
        """
        if one.state == "in_doubt" and not self._took.get((one.to, one.seq)):
            return any(self._is_killed(begun, at) for begun, at, _ in self._doubts(one))
        if one.state not in {"sent", "in_doubt"}:
            return one.state == "delivered"
        return any(self._is_absent(one.bay, at) for at in self._reports.get(one.to, ()))

    def _is_absent(self, bay: str, at: datetime) -> bool:
        """Whether no daemon heard this bay then: it was away, or had not yet come up."""
        for absence in self.host.absences:
            ups = [up for up in self._ups[bay] if up > absence.until]
            if absence.since - _SLACK <= at <= min(ups, default=at):
                return True
        return False

    def _judge_answer(self, one: Segment, took: Sequence[dict[str, Fact]]) -> None:
        began = max((at for at, after, _ in one.entries if after == "submitting"), default=None)
        ended = max((at for at, after, _ in one.entries if after in _SENT), default=None)
        assert began is not None
        assert ended is not None
        faults = self._troubles(one.bay, began, ended)
        if not took:
            if "ok_not_sent" not in faults:
                self._find(one, f"is said to be sent, and was not; {sorted(faults)}")
            return
        if took[0]["iccid"] != one.iccid or took[0]["modem"] != one.bay:
            self._find(one, f"left by {took[0]['modem']}, not by {one.bay}")
        if took[0]["mr"] != one.mr and not faults & _SPOILING:
            self._find(one, f"has reference {one.mr}, the network saw {took[0]['mr']}")

    def _judge_doubt(self, one: Segment) -> None:
        """A doubt is one whose answer something withheld or spoiled (design §13)."""
        for begun, at, why in self._doubts(one):
            is_caused = self._is_killed(begun, at) or self._troubles(one.bay, begun, at)
            if self._is_late(one, begun):
                self._late[one.bay].append((begun, at))
            elif not is_caused:
                took = [str(line["time"]) for line in self._took.get((one.to, one.seq), [])]
                moments = f"given {begun:%T.%f}, taken {took}, doubted {at:%T.%f}"
                self._find(one, f"in doubt without a cause at {one.bay}: {why}; {moments}")

    def _is_late(self, one: Segment, begun: datetime) -> bool:
        """Whether the network took it when nobody waited any more: the machine had stood still."""
        took = self._took.get((one.to, one.seq))
        return bool(took) and _time(took[0]) > begun + self.patience - _SLACK

    def _is_killed(self, begun: datetime, doubted: datetime) -> bool:
        """Whether the daemon was killed between a submit's beginning and its doubt."""
        return any(
            away.is_kill and begun <= away.since + _SLACK and away.since <= doubted + _SLACK
            for away in self.host.absences
        )

    def _judge_healthy(self) -> None:
        for line in self.log_lines:
            fields = _fields(line)
            if fields.get("bay") not in self.healthy or fields.get("before") != "ready":
                continue
            when = datetime.fromisoformat(line.split(maxsplit=1)[0])
            late = self._late[fields["bay"]]
            if not any(begun <= when <= doubted + _SLACK for begun, doubted in late):
                self.findings.append(f"a healthy modem left READY: {line}")

    @property
    def log_lines(self) -> list[str]:
        """The daemon's changes of modem states."""
        return [line for line in self._log.splitlines() if _MOVED.search(line)]

    # ---------------------------------------------------------------- who is where

    def _judge_identities(self) -> None:
        states = {str(one["modem"]): one for one in self.bank.control.state()}
        for bay, imei, iccid in self.seen | sightings(self.site):
            card = states[bay]["card"]
            assert isinstance(card, dict)
            if imei not in {None, states[bay]["imei"]} or iccid not in {None, card["iccid"]}:
                self.findings.append(f"the store said that {bay} holds {imei}, {iccid}")
            if card["pin_tries"] != 3:
                self.findings.append(f"{bay}: a card with {card['pin_tries']} tries left")

    # ---------------------------------------------------------------- what came in

    def _judge_incoming(self) -> None:
        rows = self.site.write(
            lambda tx: inbox.find(tx.conn, tx.vault, inbox.Query(), before=None, limit=1_000_000)
        )
        stored = Counter((row.iccid, row.text) for row in rows if not row.is_repeat)
        sent = Counter(
            (self.turmoil.cards[one.modem]["iccid"], one.text) for one in self.turmoil.sms
        )
        for (iccid, text), n in (sent - stored).items():
            self.findings.append(f"lost {n} of {text!r:.20} to {self._bay(iccid)}")
        for (iccid, text), n in (stored - sent).items():
            if text is None and self._bay(iccid) not in self.healthy:
                # A delivery that a fault spoiled and that came once more whole: kept as unreadable.
                self._n_unreadable += n
                continue
            self.findings.append(f"{n} too many of {text!r:.20} from {self._bay(iccid)}")
        for state in self.bank.control.state():
            card = state["card"]
            assert isinstance(card, dict)
            if card["stored"] or state["me_used"] or card["waiting"]:
                left = card["stored"], state["me_used"], card["waiting"]
                self.findings.append(f"{state['modem']}: left in SM, ME, the network: {left}")

    def _bay(self, iccid: str | None) -> str:
        cards = self.turmoil.cards.items()
        return next((modem for modem, card in cards if card["iccid"] == iccid), str(iccid))

    def _judge_calls(self) -> None:
        rows = self.site.query("SELECT bay, count(*) FROM call WHERE is_incoming GROUP BY bay")
        found = {bay: n for bay, n in rows if bay in self.healthy}
        rung = {bay: n for bay, n in self.turmoil.calls.items() if bay in self.healthy}
        if found != rung:
            self.findings.append(f"calls at healthy modems: {found} stored, {rung} rang")
        n_open = self.site.query("SELECT count(*) FROM call WHERE ended_at IS NULL")
        if n_open != [(0,)]:
            self.findings.append(f"{n_open} calls without an end")

    # ---------------------------------------------------------------- the daemon itself

    def _judge_log(self, daemon: DaemonProcess) -> None:
        for line in daemon.log.read_text().splitlines():
            if re.search(
                r"actor\.failed|Traceback|Task exception|never retrieved|inbox\.lost|inbound\.lost",
                line,
            ):
                self.findings.append(f"the log says: {line[:4000]}")

    # ---------------------------------------------------------------- reading

    def _doubts(self, one: Segment) -> list[tuple[datetime, datetime, str]]:
        """From when to when it was on its way to each doubt, and why."""
        found = []
        begun = None
        for at, after, why in one.entries:
            if after == "submitting":
                begun = at
            elif after == "in_doubt":
                assert begun is not None
                found.append((begun, at, why))
        return found

    def _troubles(self, bay: str, since: datetime, until: datetime) -> set[str]:
        return {
            what
            for at, what in self._trouble.get(bay, ())
            if since - _SLACK <= at <= until + _SLACK
        }

    def _find(self, one: Segment, what: str) -> None:
        path = [after for _, after, _ in one.entries]
        self.findings.append(f"segment {one.segment_id} to {one.to}/{one.seq} {what} ({path})")

    def _read_segments(self) -> list[Segment]:
        numbers = {self.site.vault.blind_index(number): number for number in self.recipients}
        entries: dict[int, list[tuple[datetime, str, str]]] = defaultdict(list)
        for segment_id, at, after, note in self.site.query(
            "SELECT segment_id, at, after, coalesce(note, '') FROM segment_journal"
            " ORDER BY entry_id"
        ):
            entries[segment_id].append((_stored_time(at), after, note))
        rows = self.site.query(
            "SELECT segment_id, recipient_bidx, seq, n_segments, state, segment.bay,"
            " segment.iccid, mr FROM segment JOIN message USING (message_id)"
        )
        return [
            Segment(
                segment_id=row[0], to=numbers[row[1]], seq=row[2], n=row[3], state=row[4],
                bay=row[5] or "", iccid=row[6] or "", mr=row[7], entries=entries[row[0]],
            )
            for row in rows
        ]  # fmt: skip


def _time(line: dict[str, Fact]) -> datetime:
    return datetime.fromisoformat(str(line["time"]))


def _stored_time(at: object) -> datetime:
    return datetime.fromtimestamp(int(str(at)) / 1000).astimezone()


def _fields(line: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", line))
