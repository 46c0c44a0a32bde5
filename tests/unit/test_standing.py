"""Standing approvals: what runs under one is what was signed, and nothing more (SMS-09)."""

import dataclasses
from datetime import timedelta

import pytest

from modemctl.config import ApprovalsSettings
from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.lifecycle import BatchState
from modemctl.model import AccountId, BatchId
from modemctl.policy.approvals import (
    ApprovalRules,
    BatchEvidence,
    require_open,
    verify_batch,
    verify_line,
    verify_next,
)
from modemctl.policy.digest import (
    Line,
    Standing,
    Totals,
    Under,
    chunk_hash,
    decode_header,
    encode_header,
    header_digest,
    line_jcs,
)
from modemctl.policy.standing import check_asked, require_sends
from tests.unit.test_approvals import (
    BATCH,
    DAY,
    HOUR,
    NOW,
    RULES,
    SALT,
    authority_of,
    evidence_of,
    header_of,
    key_of,
    leaves_of,
    refusal,
    signed,
    stated_by,
    with_approval,
)

RUN = BatchId("4f1c7f5e-8f0a-4c39-9a54-6f1f0b1f7c01")
OTHER = BatchId("5a2d8a6f-9f1b-4d4a-8b65-7a2a1c2a8d02")
CARDS = [Line(line_no=n, to=f"+861380000000{n}", variables={}) for n in (1, 2)]
END = NOW + 90 * DAY
LATER = NOW + 30 * DAY


def standing_header(**changes):
    values = {
        "template": "A test of our own cards.",
        "not_after": END,
        "n_lines": 2,
        "totals": Totals(n_messages=2, n_segments=2, n_removed=0, removed_by={}, forcing=()),
        "chunks": (chunk_hash(leaves_of(CARDS)),),
        "standing": Standing(runs_per_week=2),
    }
    return header_of("other", **{**values, **changes})


def standing_evidence(header=None, **changes):
    header = header or standing_header()
    evidence = evidence_of("other", header)
    long = signed("man", evidence.header, expires_at=END)
    evidence = with_approval(evidence, jws=long)
    lasting = tuple(
        dataclasses.replace(one, valid_until=NOW + 365 * DAY) for one in evidence.authorities
    )
    values = {"authorities": lasting, "state": BatchState.APPROVED.value}
    return dataclasses.replace(evidence, **{**values, **changes})


def run_header(of=None, **changes):
    of = of or standing_header()
    digest = header_digest(encode_header(of))
    values = {
        "batch_id": RUN,
        "not_before": LATER,
        "not_after": LATER + HOUR,
        "standing": None,
        "under": Under(batch_id=of.batch_id, digest=digest),
    }
    return dataclasses.replace(of, **{**values, **changes})


def run_evidence(header=None, standing=None, **changes):
    header = header or run_header()
    values = {
        "batch_id": header.batch_id,
        "header": encode_header(header),
        "stated": stated_by(header),
        "approvals": (),
        "keys": {},
        "authorities": (),
        "confirmations": (),
        "state": BatchState.RUNNING.value,
        "standing": standing or standing_evidence(),
    }
    return BatchEvidence(**{**values, **changes})


def refused_run(evidence, *, now=LATER):
    return refusal(evidence, now=now)


# ---------------------------------------------------------------- the standing approval itself


def test_headers_without_the_new_members_keep_their_octets():
    octets = encode_header(header_of())
    assert b"standing" not in octets
    assert b"under" not in octets
    with_it = encode_header(standing_header())
    assert b'"standing":{"runs_per_week":2}' in with_it
    assert decode_header(with_it) == standing_header()
    run = encode_header(run_header())
    told = header_digest(with_it).hex()
    assert f'"under":{{"batch_id":"{BATCH}","digest":"{told}"}}'.encode() in run
    assert decode_header(run) == run_header()


def test_its_signatures_hold_until_its_window_ends():
    verified = verify_batch(standing_evidence(), rules=RULES, now=LATER)
    assert verified.approved_until == END
    assert refusal(standing_evidence(), now=END).rule == "the approval has expired"
    ordinary = standing_evidence(standing_header(standing=None))
    assert refusal(ordinary, now=LATER).rule == "the approval has expired"
    shorter = with_approval(
        standing_evidence(),
        jws=signed("man", standing_evidence().header, expires_at=NOW + 20 * DAY),
    )
    assert refusal(shorter, now=LATER).rule == "the approval has expired"


@pytest.mark.parametrize(
    "changes",
    [
        {"not_after": END + timedelta(seconds=1)},
        {"starts_itself": True},
        {"standing": Standing(runs_per_week=0)},
        {"standing": Standing(runs_per_week=15)},
        {"emergency": "the branch in the east is flooded"},
        {"template": "A test for {name}."},
        {
            "totals": Totals(
                n_messages=2, n_segments=2, n_removed=1, removed_by={"duplicate": 1}, forcing=()
            )
        },
    ],
)
def test_what_no_standing_approval_looks_like_is_refused_whoever_signed(changes):
    found = refusal(standing_evidence(standing_header(**changes)))
    assert (found.policy, found.rule.partition(":")[0]) == ("SMS-09", "of a standing approval")


def test_a_notice_is_no_standing_approval():
    header = dataclasses.replace(standing_header(), category="notice")
    assert refusal(evidence_of("notice", header)).policy == "SMS-09"


def test_it_sends_nothing_itself():
    with pytest.raises(PolicyRefused) as caught:
        require_sends(standing_header())
    assert caught.value.policy == "SMS-09"
    require_sends(header_of())
    require_sends(run_header())


def test_its_chain_signs_it_as_any_other():
    evidence = dataclasses.replace(standing_evidence(), approvals=(), state="")
    jws = signed("man", evidence.header, expires_at=END)
    step = verify_next(evidence, jws, kid="k-man", rules=RULES, now=NOW)
    assert step.is_last
    assert refusal(evidence).rule == "the batch is not approved"


# ---------------------------------------------------------------- what runs under it


def test_a_run_is_proved_by_what_it_goes_under():
    verified = verify_batch(run_evidence(), rules=RULES, now=LATER)
    assert verified.batch_id == RUN
    assert verified.header == run_header()
    assert verified.digest == header_digest(encode_header(run_header()))
    assert verified.approvers == ("man",)
    assert verified.approved_until == END
    require_open(verified, now=LATER)
    leaves, line = leaves_of(CARDS), line_jcs(CARDS[1])
    proved = verify_line(verified, line_no=2, line=line, chunk_leaves=leaves, salt=SALT)
    assert (proved.to, proved.text) == ("+8613800000002", "A test of our own cards.")
    forged = line_jcs(dataclasses.replace(CARDS[1], to="+8613912345678"))
    with pytest.raises(PolicyRefused):
        verify_line(verified, line_no=2, line=forged, chunk_leaves=leaves, salt=SALT)


@pytest.mark.parametrize(
    "changes",
    [
        {"template": "Buy now."},
        {"chunks": (chunk_hash(leaves_of(CARDS[:1])),)},
        {"n_lines": 3},
        {"totals": Totals(n_messages=1, n_segments=1, n_removed=0, removed_by={}, forcing=())},
        {"department": "loans"},
        {"operator": AccountId("somebody")},
        {"drafter": AccountId("somebody")},
        {"submitter": AccountId("somebody")},
        {"party": "somebody"},
        {"category": "notice"},
        {"card_group": "gold"},
        {"starts_itself": True},
        {"emergency": "the branch in the east is flooded"},
        {"list_owner": AccountId("drafter"), "list_source": "nowhere"},
        {"standing": Standing(runs_per_week=2)},
        {"not_after": LATER + HOUR + timedelta(seconds=1)},
        {"not_after": LATER},
        {"not_before": NOW - HOUR, "not_after": NOW},
        {"not_before": END - HOUR / 2, "not_after": END + HOUR / 2},
        {"under": Under(batch_id=OTHER, digest=header_digest(encode_header(standing_header())))},
        {"under": Under(batch_id=BATCH, digest=bytes(32))},
    ],
)
def test_a_run_that_differs_in_anything_is_refused(changes):
    found = refused_run(run_evidence(run_header(**changes)))
    assert found.policy == "SMS-09"


def test_a_run_goes_under_a_standing_approval_and_nothing_else():
    plain = header_of("other")
    ordinary = dataclasses.replace(evidence_of("other", plain), state=BatchState.APPROVED.value)
    told = Under(batch_id=BATCH, digest=header_digest(encode_header(plain)))
    for standing in (
        None,
        ordinary,
        run_evidence(),
        run_evidence(run_header(standing=Standing(runs_per_week=2))),
    ):
        header = run_header(plain, under=told) if standing is ordinary else run_header()
        evidence = dataclasses.replace(run_evidence(header), standing=standing)
        found = refused_run(evidence, now=NOW)
        assert (found.policy, found.rule) == (
            "SMS-09", "a self-test's batch goes under a standing approval only",
        )  # fmt: skip


@pytest.mark.parametrize("state", [one for one in BatchState if one is not BatchState.APPROVED])
def test_a_run_needs_a_standing_approval_that_is_approved_now(state):
    found = refused_run(run_evidence(standing=standing_evidence(state=state.value)))
    assert (found.policy, found.rule) == ("SMS-09", f"the standing approval is {state}")


def test_a_run_is_refused_once_what_it_goes_under_proves_nothing_any_more():
    sound = standing_evidence()
    stolen = key_of("man", revoked_at=LATER, is_distrusted=True)
    for standing, policy in (
        (dataclasses.replace(sound, keys={**sound.keys, "k-man": stolen}), "SMS-01"),
        (dataclasses.replace(sound, approvals=()), "SMS-01"),
        (dataclasses.replace(sound, confirmations=()), "SEC-04"),
        (dataclasses.replace(sound, authorities=(authority_of("dm"),)), "SMS-04"),
        (standing_evidence(standing_header(party="other")), "SMS-09"),
    ):
        assert refused_run(run_evidence(standing=standing)).policy == policy
    with pytest.raises(PolicyRefused):
        verify_batch(run_evidence(), rules=RULES, now=END)


def test_a_run_is_refused_where_its_row_says_otherwise():
    stated = dataclasses.replace(stated_by(run_header()), department="loans")
    assert refused_run(run_evidence(stated=stated)).policy == "SMS-01"
    assert refused_run(dataclasses.replace(run_evidence(), batch_id=OTHER)).policy == "SMS-01"


def test_nobody_confirms_or_signs_a_run():
    header = run_header()
    jws = signed("man", encode_header(header), batch_id=RUN)
    with pytest.raises(PolicyRefused) as caught:
        verify_next(run_evidence(header), jws, kid="k-man", rules=RULES, now=LATER)
    assert caught.value.policy == "SMS-09"


# ---------------------------------------------------------------- what may be asked for


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"category": "notice"}, "category"),
        ({"runs_per_week": 0}, "runs_per_week"),
        ({"runs_per_week": 15}, "runs_per_week"),
        ({"text": "A test for {name}."}, "text"),
        ({"starts_itself": True}, "starts_itself"),
        ({"not_after": END + timedelta(seconds=1)}, "not_after"),
    ],
)
def test_what_is_asked_for_is_checked_at_hand_in(changes, field):
    values = {
        "runs_per_week": 2, "category": "other", "text": "A test of our own cards.",
        "not_after": END, "starts_itself": False, "longest": RULES.standing_life, "now": NOW,
    }  # fmt: skip

    def ask(runs_per_week, category, text, not_after, **others):
        check_asked(runs_per_week, category, text, not_after, **others)

    ask(**values)
    with pytest.raises((PolicyRefused, InvalidRequest)) as caught:
        ask(**{**values, **changes})
    assert caught.value.field == field


def test_the_cards_that_send_are_those_of_the_department_itself():
    assert RULES.serving_department("other", "retail", is_loop=True) == "retail"
    assert RULES.serving_department("other", "retail", is_loop=False) == "general"
    assert RULES.serving_department("notice", "retail", is_loop=False) == "retail"


def test_the_configuration_shortens_it_and_never_lengthens_it():
    shorter = ApprovalRules.of("site", ApprovalsSettings(standing_days=30))
    assert shorter.standing_life == 30 * DAY
    with pytest.raises(ValueError, match="90"):
        ApprovalsSettings(standing_days=91)
