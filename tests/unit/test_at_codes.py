"""The one table of error codes: whom each blames, and what proves that nothing left."""

from __future__ import annotations

import re

import pytest

from drivers.at.codes import CME, CMS, VENDOR_CMS, before_payload, cause_of
from drivers.interface import Action, Blame

# TS 24.011 annex E.2 and TS 23.040 §9.2.3.22 and TS 27.005 §3.2.5, as the manuals list them.
STANDARD = [
    1, 8, 10, 21, 27, 28, 29, 30, 38, 41, 42, 47, 50, 69, 81, 95, 96, 97, 98, 99, 111, 127,
    128, 129, 130, 143, 144, 145, 159, 160, 161, 175, 176, 192, 193, 194, 195, 196, 197, 198, 199,
    208, 209, 210, 211, 212, 213, 255,
    300, 301, 302, 303, 304, 305, 310, 311, 312, 313, 314, 315, 316, 317, 318, 320, 321, 322,
    330, 331, 332, 340, 500,
]  # fmt: skip


@pytest.mark.parametrize("code", STANDARD)
def test_code_of_the_standards_has_its_row(code: int) -> None:
    assert CMS[code].title
    assert CMS[code].clause.startswith("TS ")


@pytest.mark.parametrize("code", [197, 332, 350, 500, 512, 999, 70000])
def test_code_that_stands_for_silence_or_nothing_known_is_no_proof(code: int) -> None:
    assert not cause_of(cms=code).proves_no_send


@pytest.mark.parametrize("code", [1, 8, 17, 38, 41, 69, 96, 127, 192, 208, 255, 304, 331])
def test_refusal_by_network_centre_or_modem_is_proof(code: int) -> None:
    assert cause_of(cms=code).proves_no_send


@pytest.mark.parametrize(
    "numbers",
    [{"cms": one} for one in (0, 30, 32, 33, 35, 50)] + [{"cme": one} for one in (1, 3, 10)],
    ids=str,
)
def test_what_a_no_answer_reads_as_without_one_digit_is_no_proof(numbers: dict[str, int]) -> None:
    """`+CMS ERROR: 500` that lost an octet is `+CMS ERROR: 50`: it would be sent once more."""
    cause = cause_of(**numbers)
    assert not cause.proves_no_send
    assert before_payload(cause).proves_no_send


@pytest.mark.parametrize(
    ("vendor", "code"),
    [("cinterion", 21), ("cinterion", 52), ("wavecom", 13), ("wavecom", 54), ("wavecom", 50)],
)
def test_a_vendors_no_answer_without_one_digit_is_no_proof_there(vendor: str, code: int) -> None:
    assert not cause_of(cms=code, vendor=vendor).proves_no_send
    assert cause_of(cms=code, vendor="simcom").proves_no_send is (code != 50)


def test_plain_error_is_no_proof() -> None:
    cause = cause_of()
    assert (cause.code, cause.proves_no_send) == ("error", False)


@pytest.mark.parametrize("code", [0, 31, 100, 9999])
def test_vague_equipment_error_is_no_proof(code: int) -> None:
    assert not cause_of(cme=code).proves_no_send


def test_equipment_error_is_looked_up() -> None:
    cause = cause_of(cme=30)
    assert (cause.code, cause.blame, cause.action) == ("cme:30", Blame.NETWORK, Action.BACK)


def test_vendor_codes_mean_different_things() -> None:
    assert cause_of(cms=512, vendor="simcom").title == "SIM not ready"
    assert cause_of(cms=512, vendor="wavecom").blame is Blame.NETWORK
    assert cause_of(cms=512, vendor="cinterion").action is Action.STOP
    assert cause_of(cms=38, vendor="simcom") == cause_of(cms=38)


def test_unlisted_rp_cause_counts_as_temporary_failure() -> None:
    assert cause_of(cms=2).title == "temporary failure"
    assert cause_of(cms=2).code == "cms:2"


def test_application_codes_of_the_centre_blame_the_message() -> None:
    assert cause_of(cms=224).blame is Blame.MESSAGE
    assert cause_of(cms=254).action is Action.STOP
    assert cause_of(cms=220).blame is Blame.NETWORK


def test_before_the_payload_every_refusal_is_proof() -> None:
    assert before_payload(cause_of(cms=500)).proves_no_send


def test_every_row_is_complete_and_keyed_by_its_code() -> None:
    for table in (CMS, CME, *VENDOR_CMS.values()):
        for code, row in table.items():
            assert row.code == code
            assert re.fullmatch(r"[A-Za-z+(][^.]*", row.title)
            assert row.clause
