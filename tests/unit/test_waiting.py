"""A card that cannot be used: its modem is restarted where it may be the reason, and only there."""

import pytest
from sqlalchemy import select

from drivers.at.command import secret
from modemctl.fleet.waiting import may_be_modems
from modemctl.lifecycle import ModemState
from modemctl.model import Bay
from modemctl.policy.pin_guard import StopReason
from modemctl.store.tables import event, pin_attempt
from modemctl.store.wishes import WishKind
from tests.support.scripted_modem import OK
from tests.unit.test_actor import OneCard, ask, bay, reach, until

RESTART = "AT+CFUN=1,1"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("modemctl.fleet.waiting._POLL", 0.01)
    monkeypatch.setattr("modemctl.fleet.waiting._LONGEST_POLL", 0.01)
    monkeypatch.setattr("modemctl.fleet.link._BOOT_POLL", 0.02)
    monkeypatch.setattr("modemctl.fleet.ladder.Ladders.pause", lambda *_: 0.0)


class Restarts(OneCard):
    """Notes its restarts, and what they cure."""

    def __init__(self) -> None:
        super().__init__()
        self.stat = 1
        self.n_restarts = 0
        self.cured: dict[str, object] = {}
        self.script[RESTART] = self._restart

    def _restart(self, text: str) -> bytes:
        self.n_restarts += 1
        self.script |= self.cured
        return OK


async def ladder(store) -> list[str]:
    rows = await store.read(lambda conn: conn.execute(event.select()).all())
    return [row.data for row in rows if '"ladder"' in row.data]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("AT+CCID", b"\r\n+CME ERROR: 100\r\n"),  # iccid_unreadable
        ("AT+CMGF=0", b"\r\n+CMS ERROR: 302\r\n"),  # messaging is not served
        ("AT+CPIN?", b"\r\n+CME ERROR: 13\r\n"),  # sim_other
    ],
)
async def test_a_modem_that_lost_touch_with_its_card_is_restarted_and_serves(
    tmp_path, question, answer
):
    modem = Restarts()
    modem.cured = {question: modem.script[question]}
    modem.script[question] = answer
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.READY)
        assert modem.n_restarts == 1
        [told] = await ladder(store)
        assert '"ladder":"reset"' in told
        assert '"before":"restart for its card: ' in told
        assert '"after":"recovered"' in told
        assert actor._recovery._ladder.climb(0.0, offered={"realign"}) == "realign", "not climbed"


async def test_restarts_for_a_card_that_stays_dead_keep_to_the_budget_and_end_in_no_failure(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("modemctl.fleet.waiting._EACH_RESTART", 4)
    modem = Restarts()
    modem.script["AT+CCID"] = b"\r\n+CME ERROR: 100\r\n"
    seen = set()
    async with bay(tmp_path, modem) as (actor, store):

        async def skipped() -> bool:
            return any('"skipped"' in told for told in await ladder(store))

        while not await skipped():
            await until(lambda: seen.add(actor.state) or True)
        assert modem.n_restarts == 6
        assert ModemState.FAILED not in seen


async def test_a_bay_without_a_card_is_never_restarted_for_it(tmp_path):
    modem = Restarts()
    modem.script["AT+CPIN?"] = b"\r\n+CME ERROR: 10\r\n"
    async with bay(tmp_path, modem) as (actor, _):
        await reach(actor, ModemState.SIM_WAIT)
        await until(lambda: modem.n_asked("AT+CPIN?") > 40)
        assert modem.n_restarts == 0
        assert actor.reason == "no card"


async def test_what_only_a_person_can_change_restarts_nothing(tmp_path):
    async with bay(tmp_path, Restarts()) as (actor, _):
        await reach(actor, ModemState.READY)
        driver = actor._link.driver
        reasons = {*StopReason, "sim_puk", "pin_wrong", "pin_blocked", "waits_canary", "no card"}
        curable = {one for one in reasons if may_be_modems(one, driver)}
        assert curable == {StopReason.COUNTER_UNKNOWN}


async def test_a_modem_that_did_not_answer_a_pin_is_restarted_before_the_second_try(
    tmp_path, monkeypatch
):
    """Two tries may get lost, no third: the second is worth a modem that works."""
    monkeypatch.setitem(secret.__kwdefaults__, "timeout", 0.2)
    modem = Restarts()
    modem.pin_state = "SIM PIN"

    def opened(text: str) -> bytes:
        modem.pin_state = "READY"
        return OK

    modem.cured = {'AT+CPIN="1234"': opened}
    modem.script['AT+CPIN="1234"'] = None
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.READY)
        tries = await store.read(
            lambda conn: conn.scalars(
                select(pin_attempt.c.outcome).order_by(pin_attempt.c.attempt_id)
            ).all()
        )
        assert tries == ["unburnt", "right"]
        sent = [line for line in modem.received if line in {RESTART, 'AT+CPIN="1234"'}]
        assert sent == ['AT+CPIN="1234"', RESTART, 'AT+CPIN="1234"']
        [told] = await ladder(store)
        assert '"ladder":"reset"' in told


async def test_nobody_pulls_the_hub_from_under_a_pin(tmp_path):
    """A PIN that is cut off is a try that tells nothing, and only two may."""
    modem = Restarts()
    modem.pin_state = "SIM PIN"
    seen = []
    async with bay(tmp_path, modem) as (actor, _):
        hubs = actor._ground.hubs
        hubs.settle(actor._bay, "1-1")

        def opened(text: str) -> bytes:
            seen.append(hubs._busy_sibling(Bay("bay-8"), "1-1"))
            modem.pin_state = "READY"
            return OK

        modem.script['AT+CPIN="1234"'] = opened
        await reach(actor, ModemState.READY)
        assert seen == [actor._bay]
        assert hubs._busy_sibling(Bay("bay-8"), "1-1") is None


async def test_a_reset_that_a_person_asks_for_restarts_the_modem(tmp_path):
    """Not only the line is looked at, which is in step and would say that all is well."""
    modem = Restarts()
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.READY)
        await ask(store, WishKind.RESET)
        actor.call()
        await until(lambda: modem.n_restarts == 1)
        await reach(actor, ModemState.READY)
        [told] = await ladder(store)
        assert '"ladder":"reset"' in told
        assert '"before":"reset by a person"' in told
