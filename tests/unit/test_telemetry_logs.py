import io
import logging
import os
from pathlib import Path

import pytest

from modemctl.telemetry import WIRE_LOGGER, KeyValueFormatter, clean, log_context, setup_logging


@pytest.fixture(autouse=True)
def _root_logger_as_before():
    root, wire = logging.getLogger(), logging.getLogger(WIRE_LOGGER)
    handlers, level, wire_level = root.handlers[:], root.level, wire.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    wire.setLevel(wire_level)


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_line_is_time_level_logger_event_and_facts() -> None:
    stream = io.StringIO()
    setup_logging("info", wire_log=False, stream=stream, environ={})
    with log_context(bay="07"), log_context(segment="41"):
        logging.getLogger("modemctl.fleet").info("segment.sent", extra={"mr": 9, "note": "a b"})
    logging.getLogger("modemctl.fleet").warning("bank.idle")
    first, second = lines(stream)
    assert first.endswith('Z info modemctl.fleet segment.sent bay=07 segment=41 mr=9 note="a b"')
    assert second.endswith("Z warning modemctl.fleet bank.idle")


def test_level_and_wire_log_are_obeyed() -> None:
    stream = io.StringIO()
    setup_logging("info", wire_log=False, stream=stream, environ={})
    logging.getLogger("modemctl").debug("too.fine")
    logging.getLogger(WIRE_LOGGER).error("wire.out")
    assert lines(stream) == []
    setup_logging("info", wire_log=True, stream=stream, environ={})
    logging.getLogger(WIRE_LOGGER).debug("wire.out", extra={"octets": "AT"})
    assert lines(stream)[0].endswith("debug drivers.wire wire.out octets=AT")


def test_exceptions_stay_on_one_line() -> None:
    stream = io.StringIO()
    setup_logging("info", wire_log=False, stream=stream, environ={})
    try:
        Path("/nowhere/line one\nline two").read_text()
    except FileNotFoundError:
        logging.getLogger("modemctl").exception("actor.died")
    (line,) = lines(stream)
    assert "actor.died traceback=" in line
    assert "read_text()\\n" in line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("a\r\nfake line", '"a\\r\\nfake line"'),
        ("\x1b[31mred", '"\\u001b[31mred"'),
        ("\u202eright to left", '"\\u202eright to left"'),
        ("中文", "中文"),
    ],
)
def test_text_from_outside_cannot_forge_lines(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_text_from_outside_is_cut() -> None:
    assert clean("x" * 300) == "x" * 200 + "…"


def test_message_that_is_text_from_outside_is_cleaned_too() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "a\nb", None, None)
    assert KeyValueFormatter(is_journal=False).format(record).endswith(' info x "a\\nb"')


@pytest.mark.parametrize(
    ("level", "priority"),
    [("DEBUG", 7), ("INFO", 6), ("WARNING", 4), ("ERROR", 3), ("CRITICAL", 2)],
)
def test_journal_gets_a_syslog_priority_and_no_time(level: str, priority: int) -> None:
    record = logging.LogRecord(
        "modemctl", logging.getLevelNamesMapping()[level], "", 0, "bank.up", None, None
    )
    line = KeyValueFormatter(is_journal=True).format(record)
    assert line == f"<{priority}>{level.lower()} modemctl bank.up"


def test_journal_is_recognised_by_its_stream_alone(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        setup_logging("info", wire_log=False, stream=stream, environ=environ)
        logging.getLogger("modemctl").info("bank.up")
        setup_logging("info", wire_log=False, stream=stream, environ={"JOURNAL_STREAM": "1:2"})
        logging.getLogger("modemctl").info("bank.up")
        stream.seek(0)
        first, second = stream.read().splitlines()
    assert first == "<6>info modemctl bank.up"
    assert second.endswith("Z info modemctl bank.up")
