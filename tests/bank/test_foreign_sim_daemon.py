"""The daemon as users run it, on a modem that behaves as an emulator that is not ours.

It knows no `AT` alone, no storage, no lock and no ESC between commands; its lines end in CR and its
errors in words (`test_driver_foreign_sims`). The emulator itself was driven the same way by hand.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bank.test_driver_foreign_sims import PHONE_OF_AN_EMULATOR
from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, Site
from tests.support.scripted_modem import OnSocket, ScriptedModem

ICCID = "89492220744512420642"
INCOMING = "0791947101670000040C9194712143658700C862111222436540053190BB7C07"


@contextmanager
def served(modem: ScriptedModem, folder: Path) -> Iterator[asyncio.AbstractEventLoop]:
    """The modem on a loop of its own thread, so that the test may wait for the daemon."""
    is_up, loop = threading.Event(), asyncio.new_event_loop()
    is_over = asyncio.Event()

    async def serve() -> None:
        async with OnSocket(modem, folder):
            is_up.set()
            await is_over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert is_up.wait(60)
        yield loop
    finally:
        loop.call_soon_threadsafe(is_over.set)
        thread.join(10)
        loop.close()


def test_an_emulators_modem_sends_an_approved_batch_and_receives(tmp_path: Path) -> None:
    modem = ScriptedModem()
    modem.script = dict(PHONE_OF_AN_EMULATOR)
    modem.takes_escape, modem.unknown = False, b"ERROR: UNSUPPORTED\r"
    modem.prompt, modem.payload_answer = b"> \r", b"+CMGS: 0\rOK\r"
    (tmp_path / "cards.csv").write_text(f"iccid,number,pin\n{ICCID},13800138000,4321\n")
    site = Site(tmp_path / "site", f"unix:{tmp_path / 'modem.sock'}", sims__lock='"verify"')
    site.add_cards(tmp_path)
    site.add_batch(numbers(5), template="Hello {n}")
    with served(modem, tmp_path) as loop, DaemonProcess(site) as daemon:
        daemon.wait_until(lambda: site.segments() == {"sent": 5}, what="all sent")
        news = f"+CMT: 0\r\n{INCOMING}\r\n".encode()
        loop.call_soon_threadsafe(modem.say, news)
        daemon.wait_until(
            lambda: site.query("SELECT count(*) FROM inbox") == [(1,)], what="received"
        )
        ((state, reason),) = site.modems().values()
    assert (state, reason) == ("ready", "registered in its home network")
    assert sum(text.endswith("<ctrl-z>") for text in modem.received) == 5
    assert not any("4321" in text for text in modem.received)
    data = site.query("SELECT data FROM event WHERE kind = 'alarm'")
    assert any("lock_unknown" in str(row) for row in data)
