"""Modems that nobody admitted, and modems that change places: from the API to the wire."""

import json
from pathlib import Path

import httpx2

from modemctl.model import Bay, Iccid
from modemctl.service.accounts import bootstrap
from modemctl.store import ties
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess, within

NAMES = ("left", "right")
WHY = {"reason": "test"}


class Desk:
    """Two persons at the daemon's API."""

    def __init__(self, site: Site, first_token: str, second_token: str) -> None:
        self._socket = str(site.socket)
        self._first = first_token
        self._second = second_token

    def post(self, path: str, body: dict, *, second: bool = False) -> dict:
        token = self._second if second else self._first
        way = httpx2.HTTPTransport(uds=self._socket)
        with httpx2.Client(transport=way, base_url="http://modemctl") as http:
            answer = http.post(path, json=body, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code < 300, answer.text
        return answer.json()


def facts(bank: BankProcess) -> dict[str, tuple[str, str, int]]:
    """Modem → IMEI, ICCID and PIN tries left."""
    return {
        str(one["modem"]): (
            str(one["imei"]),
            str(within(one, "card", "iccid")),
            int(str(within(one, "card", "pin_tries"))),
        )
        for one in bank.control.state()
    }


def put(folder: Path, bank: BankProcess, *modems: str) -> None:
    """Give the bays their modems, as the links of `/dev/serial/by-path` do."""
    folder.mkdir(exist_ok=True)
    for name, modem in zip(NAMES, modems, strict=True):
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to(bank.port(modem))


def alarms(site: Site, word: str) -> list[dict]:
    rows = site.query("SELECT subject, data FROM event WHERE kind = 'alarm' ORDER BY event_id")
    found = [{"subject": subject, **json.loads(data)} for subject, data in rows]
    return [one for one in found if one["alarm"] == word]


def test_unknown_modems_are_refused_admitted_by_two_and_known_again_in_another_bay(tmp_path):
    flags = ("--modems", "2", "--persona", "generic", "--pin", "1234", "--seed", "7")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        put(tmp_path / "by-path", bank, "modem01", "modem02")
        enforce = {"bank__cards": '"enforce"', "bank__modems": '"enforce"'}
        site = Site(tmp_path / "site", str(tmp_path / "by-path" / "*"), **enforce)
        first, second = (
            site.write(lambda tx, n=name: bootstrap(tx, name=n)) for name in ("root", "second")
        )
        site.add_cards(tmp_path / "bank")
        known = facts(bank)
        cards = [Iccid(known[modem][1]) for modem in ("modem01", "modem02")]
        site.write(*[
            lambda tx, b=bay, c=card: ties.bind(tx, Bay(b), c, by="anna")
            for bay, card in zip(NAMES, cards, strict=True)
        ])  # fmt: skip
        with DaemonProcess(site) as daemon:
            unknown = ("refused", "not_admitted (policy: CC-01)")
            daemon.wait_until(
                lambda: list(site.modems().values()) == [unknown] * 2, what="both refused"
            )
            assert [one[2] for one in facts(bank).values()] == [3, 3], "no PIN was tried"
            desk = Desk(site, first.token, second.token)
            body = {"imeis": [one[0] for one in known.values()], **WHY}
            desk.post("/v1/admissions", body)
            desk.post("/v1/admissions", body)
            assert set(site.modems().values()) == {unknown}, "one person is not two"
            desk.post("/v1/admissions", body, second=True)
            daemon.wait_until(lambda: site.n_ready() == 2, what="both ready")

            for modem in known:
                bank.control.unplug(modem)
            daemon.wait_until(
                lambda: {one for one, _ in site.modems().values()} == {"absent"}, what="both gone"
            )
            put(tmp_path / "by-path", bank, "modem02", "modem01")
            for modem in known:
                bank.control.plug(modem)
            moved = ("quarantined", "moved (policy: SIM-07)")
            daemon.wait_until(
                lambda: list(site.modems().values()) == [moved] * 2, what="both cards set aside"
            )
            assert sorted(one["subject"] for one in alarms(site, "modem_moved")) == [*NAMES]
            assert sorted(one["subject"] for one in alarms(site, "card_moved")) == sorted(cards)
            n_tries = len(site.query("SELECT 1 FROM pin_attempt"))
            for bay in NAMES:
                desk.post(f"/v1/modems/{bay}/bind", WHY)
            daemon.wait_until(lambda: site.n_ready() == 2, what="both ready in the other bay")
            assert n_tries == 2, "no card got a PIN in the wrong bay"

            imei = known["modem01"][0]
            desk.post(f"/v1/admissions/{imei}/expel", WHY, second=True)
            expelled = ("refused", "expelled (policy: CC-01)")
            daemon.wait_until(lambda: site.modems()["right"] == expelled, what="expelled")
            assert site.modems()["left"][0] == "ready"
