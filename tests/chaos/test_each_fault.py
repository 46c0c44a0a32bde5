"""Each fault alone, once, at a modem of its own: what becomes of its segment, and that it ends."""

import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import StrEnum

import pytest

from simulator.faults import FaultKind
from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

K = FaultKind


class Verdict(StrEnum):
    """What becomes of the segment that the fault meets."""

    SENT = "sent"  # as if nothing were
    AGAIN = "again"  # did not leave, and leaves later
    DOUBT = "doubt"  # the network has it; only its report tells
    LOST = "lost"  # in doubt, and the network has it not: a person decides
    CLAIMED = "claimed"  # the modem lies: nobody can know
    EITHER = "either"  # sent or in doubt: by chance, the reference is spoilt or not


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A fault, where it strikes, and its verdict. `late`: set once the bay is READY."""

    kind: FaultKind
    verdict: Verdict
    on: str = ""
    seconds: float = 1.0
    code: int = 500
    is_late: bool = False

    @property
    def args(self) -> dict[str, object]:
        return {"fault": self.kind.value, "on": self.on, "seconds": self.seconds, "code": self.code}


def at_cmgs(kind: FaultKind, verdict: Verdict, **more) -> Case:
    return Case(kind=kind, verdict=verdict, on="+CMGS", **more)


V = Verdict
CASES = [
    at_cmgs(K.SILENCE, V.AGAIN),
    at_cmgs(K.NO_ANSWER, V.DOUBT),
    at_cmgs(K.SLOW_ANSWER, V.SENT),
    at_cmgs(K.URC_IN_ANSWER, V.SENT),
    at_cmgs(K.GARBAGE, V.EITHER),
    at_cmgs(K.MERGED_LINES, V.SENT),
    at_cmgs(K.TRUNCATED_LINE, V.EITHER),
    at_cmgs(K.DOUBLED_BYTE, V.EITHER),
    at_cmgs(K.LOST_BYTE, V.EITHER),
    at_cmgs(K.ECHO_AGAIN, V.SENT),
    at_cmgs(K.REBOOT, V.AGAIN),
    at_cmgs(K.PORT_GONE, V.AGAIN),
    at_cmgs(K.PORT_RENUMBERED, V.AGAIN),
    Case(kind=K.SLOW_OUTPUT, verdict=V.SENT, is_late=True),
    Case(kind=K.SPLIT_WRITES, verdict=V.SENT, is_late=True),
    Case(kind=K.MERGED_WRITES, verdict=V.SENT, is_late=True),
    Case(kind=K.NO_PROMPT, verdict=V.AGAIN),
    Case(kind=K.BARE_PROMPT, verdict=V.SENT),
    Case(kind=K.PROMPT_WITHOUT_CRLF, verdict=V.SENT),
    Case(kind=K.URC_AT_PROMPT, verdict=V.SENT),
    Case(kind=K.HANG_AT_PROMPT, verdict=V.LOST),
    Case(kind=K.HANG, verdict=V.LOST),
    Case(kind=K.LOST_ANSWER, verdict=V.DOUBT),
    Case(kind=K.LATE_ANSWER, verdict=V.SENT, seconds=1.0),
    Case(kind=K.CMS_ERROR, verdict=V.LOST, code=500),
    Case(kind=K.CMS_ERROR_SENT, verdict=V.DOUBT, code=500),
    Case(kind=K.OK_NOT_SENT, verdict=V.CLAIMED),
    Case(kind=K.REPEATED_MR, verdict=V.SENT),
    Case(kind=K.ZERO_MR, verdict=V.SENT),
    Case(kind=K.REBOOT_ON_SUBMIT, verdict=V.LOST),
    Case(kind=K.REBOOT_AFTER_SUBMIT, verdict=V.DOUBT),
    Case(kind=K.STORAGE_FULL, verdict=V.SENT),
    Case(kind=K.WRONG_INDEX, verdict=V.SENT),
    Case(kind=K.SIM_BUSY, verdict=V.SENT),
    Case(kind=K.HALF_ICCID, verdict=V.SENT),
    Case(kind=K.RADIO_OFF, verdict=V.EITHER, is_late=True),
    Case(kind=K.CNMI_LOST, verdict=V.SENT, is_late=True),
    Case(kind=K.URC_FLOOD, verdict=V.SENT, seconds=0.02, is_late=True),
]
NEVER_STRIKE = {K.RADIO_OFF, K.URC_FLOOD}  # they are, until they are cleared
N_EACH = 12
IS_LONG = os.environ.get("MODEMCTL_LONG") == "1"
# Those whose PIN counter is readable while the card asks for nothing.
PERSONAS = ["generic", *(["huawei", "quectel", "sim7600", "zte", "sara"] if IS_LONG else [])]
# A message that a modem had no room for comes again soon: networks wait minutes.
WORLD = """
seed = 5
latency = 0.4
[[carriers]]
name = "CHINA MOBILE"
numeric = "46000"
home = [""]
retry = 3
"""


def test_every_fault_has_its_case():
    assert {case.kind for case in CASES} == set(FaultKind)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("persona", PERSONAS)
def test_each_fault_has_its_verdict_and_passes(tmp_path, persona):
    flags = ("--modems", str(len(CASES)), "--persona", persona, "--pin-lock", "off")
    world = tmp_path / "world.toml"
    world.write_text(WORLD)
    recipients = numbers(N_EACH * len(CASES), start=50_000_000)
    with BankProcess(tmp_path / "bank", *flags, "--scenario", str(world)) as bank:
        site = Site(
            tmp_path / "site",
            str(tmp_path / "bank" / "ports" / "*"),
            bank__submit_timeout="4.0",
            bank__health_interval="1.0",
        )
        site.add_cards(tmp_path / "bank")
        site.add_batch(recipients)
        bays = {f"modem{n:02d}": case for n, case in enumerate(CASES, 1)}
        for bay, case in bays.items():
            if not case.is_late:
                bank.control.request("set_fault", {"modem": bay, **case.args})
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: site.n_ready() > len(CASES) - 6, what="nearly all ready")
            for bay, case in bays.items():
                if case.is_late:
                    bank.control.request("set_fault", {"modem": bay, **case.args})
            for bay, case in bays.items():
                if case.kind in {K.HANG, K.HANG_AT_PROMPT}:
                    daemon.wait_until(lambda b=bay: doubts(site)[b], what=f"{bay} in doubt")
                    bank.control.unplug(bay)
                    bank.control.plug(bay)
            bank.control.clear_faults(kind=K.RADIO_OFF)
            bank.control.clear_faults(kind=K.URC_FLOOD)
            daemon.wait_until(lambda: site.n_ready() == len(CASES), what="all ready", seconds=90)
            daemon.wait_until(
                lambda: not site.segments().keys() & {"queued", "leased", "submitting"},
                what="all sent",
                seconds=60,
            )
            n_lost = sum(case.verdict is V.LOST for case in CASES)
            daemon.wait_until(
                lambda: (
                    site.segments().keys() <= {"delivered", "in_doubt", "sent"}
                    and len(bank.ledger(kind="report")) == len(bank.ledger(kind="submit"))
                ),
                what="all reported",
                seconds=60,
            )
            print(site.segments(), n_lost)
        struck = {(str(one["modem"]), str(one["fault"])) for one in bank.ledger(kind="fault")}
        missed = {(b, c.kind.value) for b, c in bays.items() if c.kind not in NEVER_STRIKE} - struck
        assert not missed
        findings = judge(site, bank, bays)
    assert not findings, "\n".join(findings)


def doubts(site: Site) -> Counter[str]:
    """How often a segment of each bay became doubtful."""
    rows = site.query(
        "SELECT bay, count(*) FROM segment_journal JOIN segment USING (segment_id)"
        " WHERE after = 'in_doubt' GROUP BY bay"
    )
    return Counter(dict(rows))


def judge(site: Site, bank: BankProcess, bays: dict[str, Case]) -> list[str]:
    """Everything that is not as its verdict says."""
    numbers_of = {
        site.vault.blind_index(one): one for one in numbers(N_EACH * len(bays), start=50_000_000)
    }
    took = Counter(str(line["destination"]) for line in bank.ledger(kind="submit"))
    paths: dict[int, list[str]] = defaultdict(list)
    for segment_id, after in site.query(
        "SELECT segment_id, after FROM segment_journal ORDER BY entry_id"
    ):
        paths[segment_id].append(after)
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for segment_id, bidx, bay in site.query(
        "SELECT segment_id, recipient_bidx, segment.bay"
        " FROM segment JOIN message USING (message_id)"
    ):
        n, path = took[numbers_of[bidx]], paths[segment_id]
        is_doubted = "in_doubt" in path
        what = {(True, 1): V.DOUBT, (True, 0): V.LOST, (False, 1): V.SENT, (False, 0): V.CLAIMED}
        seen[bay][what.get((is_doubted, n), f"sent {n} times")] += 1
    findings = []
    n_again = sum(
        path[i : i + 2] == ["submitting", "queued"]
        for path in paths.values()
        for i in range(len(path))
    )
    n = sum(case.verdict is V.AGAIN for case in bays.values())
    # On a busy machine a healthy modem's prompt may be late, too: nothing was sent then.
    if not n <= n_again <= n + 5:
        findings.append(f"{n_again} segments were queued again, not {n}")
    for bay, case in bays.items():
        found = set(seen[bay]) - {V.SENT}
        match case.verdict:
            case Verdict.SENT | Verdict.AGAIN:
                is_right = not found
            case Verdict.EITHER:
                is_right = found <= {V.DOUBT}
            case _:
                is_right = found == {case.verdict} and seen[bay][case.verdict] == 1
        if not is_right:
            findings.append(f"{bay} {case.kind}: {dict(seen[bay])}, not {case.verdict}")
    return findings
