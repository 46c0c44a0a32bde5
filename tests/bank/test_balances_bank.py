"""A daemon on modems that code USSD each in its own way: what is left on their cards."""

import csv
import json
import os
from pathlib import Path

from modemctl.service.accounts import bootstrap
from tests.support.approved import amend_cards
from tests.support.banks import DaemonProcess, Site
from tests.support.commands import spawn
from tests.support.simulated import BankProcess

PERSONAS = ("huawei", "zte", "simcom", "quectel")  # packed, UCS-2, spaced, text
CARRIERS = """{
 CMCC = { code = "*102#", low = "1000000" }, MENU = { code = "*101#" }, default = { code = "*100#" }
}""".replace("\n", "")


def ctl(site: Site, *arguments: str, status: int = 0) -> list[dict[str, object]]:
    """What a command tells, a record a line."""
    done = spawn("--socket", site.socket, *arguments, "--json")
    assert done.status == status, done
    return [json.loads(line) for line in done.out.splitlines()]


def test_the_test_of_bays_reads_what_is_left_however_a_modem_codes_it(tmp_path: Path) -> None:
    flags = ("--modems", "4", "--persona", ",".join(PERSONAS), "--pin-lock", "off", "--seed", "7")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        settings = {"api.peers": f'{{ {os.getuid()} = "root" }}', "balances.carriers": CARRIERS}
        site = Site(tmp_path / "site", f"{tmp_path}/bank/ports/*", **settings)
        site.write(lambda tx: bootstrap(tx, name="root"))
        site.add_cards(tmp_path / "bank")
        with (tmp_path / "bank" / "cards.csv").open(encoding="ascii") as file:
            cards = {row["modem"]: row["iccid"] for row in csv.DictReader(file)}
        first, second, *others = (cards[name] for name in sorted(cards))
        site.write(lambda tx: amend_cards(tx, [first], carrier="CMCC"))
        site.write(lambda tx: amend_cards(tx, [second], carrier="MENU"))
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: site.n_ready() == 4, what="ready")
            ctl(site, "self-test", status=1)
            found = {str(one["iccid"]): one for one in ctl(site, "sims", "balances")}
            assert set(found) == set(cards.values())
            assert (found[first]["outcome"], found[first]["state"]) == ("read", "low")
            assert found[second]["outcome"] == "no_amount"
            assert [found[one]["state"] for one in others] == ["fine", "fine"]
            assert found[first]["amount"] == found[others[0]]["amount"]
            (again,) = ctl(site, "sims", "balance", others[1], "--ask")
            assert again["reading"]["amount"] == found[others[1]]["amount"]
            (menu,) = ctl(site, "sims", "balance", second, "--ask", status=1)
            assert menu["text"].startswith("1 Balance")
            assert len(ctl(site, "sims", "balance", second, status=1)) == 2
            low = ctl(site, "sims", "balances", "--low")
            assert [one["iccid"] for one in low] == [first]
            asked = [line["text"] for line in bank.ledger(kind="ussd", direction="out")]
            assert sorted(map(str, asked)) == ["*100#"] * 3 + ["*101#"] * 2 + ["*102#"]
