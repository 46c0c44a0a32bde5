"""An approver's key is told to be compromised while its batch is being sent."""

from modemctl.model import Category
from modemctl.service.accounts import bootstrap
from tests.bank.test_modem_swaps import Desk
from tests.support.approved import add_batch, numbers
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

SECOND = 1_000  # ms
N_EACH = 40


def test_what_a_compromised_key_approved_stops_in_mid_batch_and_all_else_goes_on(tmp_path):
    flags = ("--modems", "2", "--seed", "7", "--latency", "0.05")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        site = Site(
            tmp_path / "site", str(tmp_path / "bank" / "ports" / "*"), limits__minimum_gap="0.2"
        )
        tokens = [site.write(lambda tx: bootstrap(tx, name="root")).token] * 2
        site.add_cards(tmp_path / "bank")
        staff = site.staff
        bad = site.add_batch(numbers(N_EACH), template="from a bad key")
        good = site.write(
            lambda tx: add_batch(
                tx, staff, numbers(N_EACH, start=100), category=Category.PROMOTION,
                template="from good keys",
            )
        )  # fmt: skip
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: n_of(site, bad, "queued") < N_EACH - 4, what="some left")
            kid = staff.approvers["manager"].kid
            Desk(site, *tokens).post(f"/v1/approver-keys/{kid}/revoke", {"reason": "compromised"})
            ((state, reason, held_at),) = site.query(
                "SELECT state, reason, state_at FROM batch WHERE batch_id = ?", bad
            )
            assert (state, reason) == (
                "held",
                "an approver's key of manager was revoked: compromised",
            )
            daemon.wait_until(
                lambda: not n_of(site, good, "queued", "leased", "submitting"), what="the other one"
            )
        ((last, n_sent),) = site.query(
            "SELECT max(submitting_at), count(*) FROM segment WHERE batch_id = ?"
            " AND submitting_at IS NOT NULL",
            bad,
        )
        assert last <= held_at + SECOND
        assert 0 < n_sent < N_EACH
        assert n_of(site, bad, "queued") == N_EACH - n_sent
        texts = [str(line["text"]) for line in bank.ledger(kind="submit")]
        assert texts.count("from a bad key") == n_sent
        assert texts.count("from good keys") == N_EACH


def n_of(site: Site, batch_id: str, *states: str) -> int:
    """How many of a batch's segments stand in these states."""
    marks = ", ".join("?" * len(states))
    ((n,),) = site.query(
        f"SELECT count(*) FROM segment WHERE batch_id = ? AND state IN ({marks})",
        batch_id,
        *states,
    )
    return n
