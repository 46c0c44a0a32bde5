"""How the line itself behaves. Source: ITU-T V.250 §5, §6.2; at-dialects §1."""

from __future__ import annotations

from typing import Final

from simulator.conformance.check import (
    Bench,
    Check,
    Finding,
    can,
    cannot,
    not_tried,
    odd,
)
from simulator.conformance.guard import CTRL_Z, ESC

_LENGTHS: Final = (64, 128, 200, 256, 400, 512, 560, 1024)


def milliseconds(seconds: float) -> str:
    """For a person."""
    if seconds < 0.001:
        return "less than 1 ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"


def _at(bench: Bench) -> Finding:
    reply = bench.ask("AT")
    if reply.is_ok:
        return can(f"OK in {milliseconds(reply.seconds)}")
    return cannot(f"answered with {reply.told}")


def _echo_off(bench: Bench) -> Finding:
    reply = bench.ask("ATE0")
    if not reply.is_ok:
        return cannot(f"ATE0 answered with {reply.told}")
    return cannot("OK, but it goes on echoing") if bench.ask("AT").is_echoed else can("no echo")


def _echo_on(bench: Bench) -> Finding:
    reply = bench.ask("ATE1")
    is_on = bench.ask("AT").is_echoed
    bench.ask("ATE0")
    if not reply.is_ok:
        return cannot(f"ATE1 answered with {reply.told}")
    return can("echoes what is typed") if is_on else cannot("OK, but no echo comes")


def _numeric(bench: Bench) -> Finding:
    client = bench.client
    client.is_numeric = True
    off, bare = client.ask("ATV0"), client.ask("AT")
    client.ask("ATV1")
    client.is_numeric = False
    again = client.ask("AT")
    if again.final != "OK":
        return odd(f"ATV1 does not bring words back: {again.told}")
    if bare.final == "0":
        return can("V0 gives 0, V1 gives OK")
    return cannot("V0 is refused" if not off.is_ok else "V0 is taken, words come all the same")


def _quiet(bench: Bench) -> Finding:
    client = bench.client
    client.say(b"ATQ1\r")
    silent = client.say(b"AT\r")
    client.say(b"ATQ0\r")
    if not client.ask("AT").is_ok:
        return odd("results do not come back after ATQ0")
    return (
        can("Q1 silences, Q0 brings back") if not _said(silent) else cannot("Q1 silences nothing")
    )


def _said(raw: bytes) -> bool:
    return b"OK" in raw or b"ERROR" in raw or b"NOT SUPPORT" in raw


def _chain(bench: Bench) -> Finding:
    reply = bench.ask("AT+CMEE?;+CSQ")
    if not reply.is_ok:
        return cannot(f"two commands in one line: {reply.told}")
    if reply.value("+CMEE") is None or reply.value("+CSQ") is None:
        return odd("OK, but not both answers")
    return can("both are answered, one OK")


def _mixed(bench: Bench) -> Finding:
    joined = bench.ask("ATE0V1Q0")
    is_kept = bench.settings.keep("+CMEE") != ""
    blank = bench.ask("ATE0 +CMEE=1" if is_kept else "ATE0 +CMEE?")
    if joined.is_ok and blank.is_ok:
        return can("with and without ;")
    if joined.is_ok:
        return cannot("basic commands only; an extended one needs ; before it")
    return cannot(f"ATE0V1Q0: {joined.told}")


def _broken_chain(bench: Bench) -> Finding:
    if not bench.settings.keep("+CMEE"):
        return not_tried("+CMEE? tells nothing")
    reply = bench.ask("AT+CMEE=9;+CSQ")
    if reply.is_ok:
        return odd("the first refusal does not end the line")
    if reply.value("+CSQ") is not None:
        return odd("goes on after a refusal and ends with " + reply.told)
    return can("the first refusal ends the line") if reply.final else cannot("no result at all")


def _lower_case(bench: Bench) -> Finding:
    reply = bench.ask("at+csq")
    return can("as in capitals") if reply.value("+CSQ") else cannot(f"at+csq: {reply.told}")


def _blanks(bench: Bench) -> Finding:
    lines = ("AT +CSQ", "AT+CSQ ", "AT E0")
    refused = [line for line in lines if not bench.ask(line).is_ok]
    if not refused:
        return can("ignored")
    return odd(f"refuses “{refused[0]}”")


def _junk_before(bench: Bench) -> Finding:
    reply = bench.ask("0011000B91AT+CSQ")
    if reply.value("+CSQ"):
        return can("what stands before AT is ignored")
    return odd(f"junk before AT: {reply.told}")


def _junk(bench: Bench) -> Finding:
    raw = bench.client.say(b"0011000B9168310\r")
    if not bench.ask("AT").is_ok:
        return cannot("does not answer the next AT")
    return odd("answers a line without AT") if _said(raw) else can("swallowed without a word")


def _lone_endings(bench: Bench) -> Finding:
    names = {b"\r": "a lone CR", b"\n": "a lone LF", ESC + b"\r": "ESC"}
    answered = [name for data, name in names.items() if _said(bench.client.say(data))]
    if not bench.ask("AT").is_ok:
        return cannot("does not answer the next AT")
    return odd(f"answers {' and '.join(answered)}") if answered else can("swallowed without a word")


def _ctrl_z(bench: Bench) -> Finding:
    # It must be sure that no prompt is up: its OK proves the command line.
    if not bench.ask("AT").is_ok:
        return not_tried("not sure to be at the command line")
    raw = bench.client.say(CTRL_Z + b"\r")
    if not bench.ask("AT").is_ok:
        return cannot("does not answer the next AT")
    return odd("answers it") if _said(raw) else can("swallowed without a word")


def _repeat(bench: Bench) -> Finding:
    # Where it was silent, other lines were typed to wake it: A/ would repeat one of those.
    reply = bench.ask("AT+CSQ")
    if not reply.is_ok or reply.value("+CSQ") is None:
        return not_tried(f"AT+CSQ: {reply.told}")
    raw = bench.client.say(b"A/", listen=1.0)
    bench.ask("AT")
    return can("repeats the line at once") if b"+CSQ:" in raw else cannot("not known")


def _long_lines(bench: Bench) -> Finding:
    longest = 0
    for length in _LENGTHS:
        reply = bench.ask("AT" + "E0" * (length // 2))
        if not reply.is_ok:
            bench.seen.max_line = longest
            if reply.is_silent:
                return odd(f"takes {longest} characters, falls silent at {length}")
            return can(f"takes {longest} characters, refuses {length} with {reply.told}")
        longest = length
    bench.seen.max_line = longest
    return can(f"takes {longest} characters and perhaps more")


CHECKS: Final = (
    Check(
        name="line.at", title="AT", clause="V.250 §5.2.1", run=_at, is_essential=True,
        suffers="Nothing works: every client begins with it.",
    ),
    Check(
        name="line.echo_off", title="echo off (ATE0)", clause="V.250 §6.2.4", run=_echo_off,
        suffers="Clients without an echo filter take their own command for its answer.",
    ),
    Check(
        name="line.echo_on", title="echo on (ATE1)", clause="V.250 §6.2.4", run=_echo_on,
        suffers="gammu finds answers by the echo before them: it times out.",
    ),
    Check(
        name="line.numeric", title="numbers for results (ATV0)", clause="V.250 §6.2.6",
        run=_numeric, suffers="Rarely used; a stray ATV0 of another client stays unnoticed.",
    ),
    Check(
        name="line.quiet", title="results off (ATQ1)", clause="V.250 §6.2.5", run=_quiet,
        suffers="Rarely used.",
    ),
    Check(
        name="line.chain", title="several commands in a line", clause="V.250 §5.2.3", run=_chain,
        suffers="smstools sends AT+CMEE=1;+CREG=2 at each start.",
    ),
    Check(
        name="line.mixed", title="basic and extended in a line", clause="V.250 §5.2.2, §5.4",
        run=_mixed, suffers="ofono begins with ATE0 +CMEE=1.",
    ),
    Check(
        name="line.broken_chain", title="a refusal ends the line", clause="V.250 §5.2.4",
        run=_broken_chain, suffers="A client believes that all of its line was done.",
    ),
    Check(
        name="line.lower_case", title="small letters", clause="V.250 §5.2.1", run=_lower_case,
        suffers="People at a terminal, some scripts.",
    ),
    Check(
        name="line.blanks", title="blanks in the line", clause="V.250 §5.2.1", run=_blanks,
        suffers="ofono puts one between commands.",
    ),
    Check(
        name="line.junk_before", title="junk before AT", clause="V.250 §5.2.1", run=_junk_before,
        suffers="The first command after noise on the line is lost.",
    ),
    Check(
        name="line.junk", title="a line without AT", clause="V.250 §5.2.1", run=_junk,
        suffers="kannel types a PDU at the command line after an error: an answer to it is"
        " taken for the next command's.",
    ),
    Check(
        name="line.lone", title="ESC, CR or LF at rest", clause="V.250 §5.2.1", run=_lone_endings,
        suffers="gammu, kannel and smstools begin with it: one answer too many shifts all others.",
    ),
    Check(
        name="line.ctrl_z", title="Ctrl-Z at rest", clause="V.250 §5.2.1", run=_ctrl_z,
        suffers="smstools and kannel type it to leave a prompt that may not be there.",
    ),
    Check(
        name="line.repeat", title="repeat (A/)", clause="V.250 §5.2.4", run=_repeat,
        suffers="Hardly anybody.",
    ),
    Check(
        name="line.long", title="long lines", clause="V.250 §5.2.1", run=_long_lines,
        suffers="A line that is too long must be refused, not be cut and half done.",
    ),
)  # fmt: skip
