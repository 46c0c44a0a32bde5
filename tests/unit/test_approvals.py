"""Approvals as pure decisions: who, what, when; and that no octet of them may change."""

import base64
import dataclasses
import json
import os
from datetime import UTC, datetime, timedelta

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws as jose
from joserfc.jwk import OctKey, OKPKey

from modemctl.config import ApprovalsSettings
from modemctl.errors import PolicyRefused
from modemctl.model import AccountId, BatchId, Decision
from modemctl.policy.approvals import (
    ApprovalRules,
    ApproverKey,
    Authority,
    BatchEvidence,
    Confirmation,
    Line,
    SignedApproval,
    Stated,
    kid_of,
    line_jcs,
    require_open,
    sign_approval,
    verify_batch,
    verify_line,
    verify_next,
)
from modemctl.policy.digest import (
    CHUNK_LINES,
    NO_LINE,
    BatchHeader,
    Totals,
    chunk_hash,
    encode_header,
    header_digest,
    leaf,
)

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SALT = bytes(range(32))
BATCH = BatchId("0d4ac6f5-6b5e-4d2e-93d0-3b4f6c3f1a11")
RULES = ApprovalRules.of("site", ApprovalsSettings())
CHAINS = {"notice": ["dm"], "promotion": ["mic", "gm"], "other": ["man"]}
STEPS = {
    "dm": ("department_manager", "retail"),
    "mic": ("manager_in_charge", "general"),
    "gm": ("general_manager", "*"),
    "man": ("manager", "retail"),
}


def seed(name):
    return name.encode().ljust(32, b"-")


def key_of(name, **changes):
    public = Ed25519PrivateKey.from_private_bytes(seed(name)).public_key().public_bytes_raw()
    values = {
        "kid": f"k-{name}",
        "account_id": AccountId(name),
        "public_key": public,
        "valid_from": NOW - DAY,
        "valid_until": NOW + 300 * DAY,
        "revoked_at": None,
    }
    return ApproverKey(**{**values, **changes})


def authority_of(name, **changes):
    kind, department = STEPS[name]
    values = {
        "kind": kind,
        "department": department,
        "account_id": AccountId(name),
        "valid_from": NOW - DAY,
        "valid_until": NOW + DAY,
        "revoked_at": None,
    }
    return Authority(**{**values, **changes})


def signed(name, header, *, step=1, key=None, at=NOW, **changes):
    values = {
        "kid": f"k-{key or name}",
        "digest": header_digest(header),
        "batch_id": BATCH,
        "step": step,
        "approver": name,
        "issued_at": at,
        "expires_at": at + 12 * HOUR,
        "decision": Decision.APPROVE,
    }
    return sign_approval(seed(key or name), **{**values, **changes})


def header_of(category="notice", **changes):
    leaves = leaves_of(LINES)
    values = {
        "site_id": "site",
        "batch_id": BATCH,
        "category": category,
        "template": "Dear {name}, interest was paid.",
        "department": "retail",
        "party": "own",
        "drafter": AccountId("drafter"),
        "submitter": AccountId("system"),
        "operator": AccountId("operator"),
        "not_before": NOW,
        "not_after": NOW + DAY,
        "card_group": None,
        "starts_itself": False,
        "n_lines": len(LINES),
        "totals": Totals(
            n_messages=3, n_segments=3, n_removed=1, removed_by={"duplicate": 1}, forcing=()
        ),
        "chunks": (chunk_hash(leaves),),
    }
    return BatchHeader(**{**values, **changes})


LINES = [
    Line(line_no=1, to="+8613800000001", variables={"name": "A"}),
    None,
    Line(line_no=3, to="+8613800000003", variables={"name": "张三"}),
    Line(line_no=4, to="10086", variables={"name": "😀"}),
]


def leaves_of(lines):
    return b"".join(
        NO_LINE if line is None else leaf(line_jcs(line), salt=SALT, line_no=line.line_no)
        for line in lines
    )


DIGEST = header_digest(encode_header(header_of()))


def stated_by(header):
    return Stated(
        **{field.name: getattr(header, field.name) for field in dataclasses.fields(Stated)}
    )


def evidence_of(category="notice", header=None, **changes):
    header = header or header_of(category)
    octets = encode_header(header)
    names = CHAINS[category]
    values = {
        "batch_id": BATCH,
        "header": octets,
        "stated": stated_by(header),
        "approvals": tuple(
            SignedApproval(
                step=step,
                kid=f"k-{name}",
                account_id=AccountId(name),
                jws=signed(name, octets, step=step),
                received_at=NOW,
            )
            for step, name in enumerate(names, 1)
        ),
        "keys": {f"k-{name}": key_of(name) for name in STEPS},
        "authorities": tuple(authority_of(name) for name in STEPS),
        "confirmations": (
            Confirmation(account_id=AccountId("checker"), digest=header_digest(octets)),
        ),
    }
    return BatchEvidence(**{**values, **changes})


def with_approval(evidence, index=0, **changes):
    approvals = list(evidence.approvals)
    approvals[index] = dataclasses.replace(approvals[index], **changes)
    return dataclasses.replace(evidence, approvals=tuple(approvals))


def refusal(evidence, *, now=NOW, rules=RULES):
    with pytest.raises(PolicyRefused) as caught:
        verify_batch(evidence, rules=rules, now=now)
    return caught.value


def test_a_complete_chain_of_each_category_is_approved_and_lasts_until_its_first_end():
    for category, names in CHAINS.items():
        verified = verify_batch(evidence_of(category), rules=RULES, now=NOW + HOUR)
        assert verified.approvers == tuple(names)
        assert verified.approved_until == NOW + 12 * HOUR
        assert verified.header.category == category


# ---------------------------------------------------------------- the six cases


def test_an_unapproved_batch_is_refused():
    assert refusal(evidence_of(approvals=())).policy == "SMS-01"


def test_a_wrongly_signed_batch_is_refused():
    evidence = evidence_of()
    jws = signed("dm", evidence.header, key="gm", kid="k-dm")
    found = refusal(with_approval(evidence, jws=jws))
    assert (found.policy, found.rule) == ("SMS-01", "the approval is wrongly signed")


def test_an_expired_approval_is_refused_at_receipt_and_later():
    assert refusal(evidence_of(), now=NOW + 12 * HOUR).rule == "the approval has expired"
    late = with_approval(evidence_of(), received_at=NOW + 12 * HOUR)
    assert refusal(late, now=NOW + 12 * HOUR).rule == "the approval had expired when it arrived"
    assert refusal(late, now=NOW + 12 * HOUR).policy == "SMS-01"


@pytest.mark.parametrize("part", ["drafter", "submitter", "operator"])
def test_nobody_approves_what_is_his_own(part):
    header = header_of(**{part: AccountId("dm")})
    assert refusal(evidence_of(header=header)).policy == "SMS-11"


def test_an_approval_of_another_batch_is_refused():
    evidence = evidence_of()
    replayed = signed("dm", evidence.header, batch_id="11111111-6b5e-4d2e-93d0-3b4f6c3f1a11")
    found = refusal(with_approval(evidence, jws=replayed))
    assert (found.policy, found.rule) == ("SMS-01", "the approval was given for another batch")
    other = encode_header(header_of(party="other"))
    found = refusal(with_approval(evidence, jws=signed("dm", other)))
    assert (found.policy, found.rule) == ("SMS-01", "the batch is not what the approver signed")


@settings(max_examples=2_000 if os.environ.get("MODEMCTL_LONG") else 200)
@given(st.data())
def test_a_changed_octet_of_header_signature_leaves_or_line_is_refused(data):
    evidence = evidence_of("promotion")
    leaves, line = leaves_of(LINES), line_jcs(LINES[2])
    verified = verify_batch(evidence, rules=RULES, now=NOW)
    proved = {"line_no": 3, "line": line, "chunk_leaves": leaves, "salt": SALT}
    assert verify_line(verified, **proved).text == "Dear 张三, interest was paid."
    which = data.draw(st.sampled_from(["header", "jws", "chunk_leaves", "line", "salt"]))
    if which in {"header", "jws"}:
        octets = evidence.header if which == "header" else evidence.approvals[1].jws.encode()
    else:
        octets = proved[which]
    at = data.draw(st.integers(0, len(octets) - 1))
    changed = bytearray(octets)
    changed[at] ^= data.draw(st.integers(1, 255))
    if which == "header":
        altered = dataclasses.replace(evidence, header=bytes(changed))
    elif which == "jws":
        altered = with_approval(evidence, 1, jws=changed.decode("latin-1"))
    else:
        altered, proved = evidence, {**proved, which: bytes(changed)}
    with pytest.raises(PolicyRefused) as caught:
        verify_line(verify_batch(altered, rules=RULES, now=NOW), **proved)
    assert caught.value.policy == "SMS-01"


# ---------------------------------------------------------------- the chain


def test_a_step_that_is_missing_names_the_categorys_rule():
    evidence = evidence_of("promotion")
    half = dataclasses.replace(evidence, approvals=evidence.approvals[:1])
    found = refusal(half)
    assert found.policy == "SMS-03"
    assert "general_manager" in found.rule
    second = dataclasses.replace(evidence, approvals=evidence.approvals[1:])
    assert refusal(second).policy == "SMS-03"


def test_more_approvals_than_steps_are_refused():
    evidence = evidence_of()
    extra = dataclasses.replace(
        evidence.approvals[0],
        step=2,
        account_id=AccountId("gm"),
        kid="k-gm",
        jws=signed("gm", evidence.header, step=2),
    )
    both = dataclasses.replace(evidence, approvals=(*evidence.approvals, extra))
    assert refusal(both).policy == "SMS-01"


def test_one_person_counts_once_in_a_chain():
    evidence = evidence_of("promotion")
    also = dataclasses.replace(authority_of("gm"), account_id=AccountId("mic"))
    twice = dataclasses.replace(
        with_approval(
            evidence,
            1,
            kid="k-mic",
            account_id=AccountId("mic"),
            jws=signed("mic", evidence.header, step=2),
        ),
        authorities=(*evidence.authorities, also),
    )
    assert refusal(twice).policy == "SMS-11"


@pytest.mark.parametrize(
    ("category", "name", "changes", "policy"),
    [
        ("notice", "dm", {"kind": "manager"}, "SMS-02"),
        ("notice", "dm", {"department": "loans"}, "SMS-02"),
        ("notice", "dm", {"department": "*"}, "SMS-02"),
        ("notice", "dm", {"valid_from": NOW + HOUR}, "SMS-02"),
        ("notice", "dm", {"valid_until": NOW}, "SMS-02"),
        ("notice", "dm", {"revoked_at": NOW}, "SMS-02"),
        ("notice", "dm", {"account_id": AccountId("gm")}, "SMS-02"),
        ("promotion", "mic", {"department": "loans"}, "SMS-03"),
        ("other", "man", {"department": "loans"}, "SMS-04"),
    ],
)
def test_an_approver_without_authority_for_the_step_is_refused(category, name, changes, policy):
    evidence = evidence_of(category, authorities=(authority_of(name, **changes),))
    assert refusal(evidence).policy == policy


def test_an_authority_that_ended_after_receipt_still_counts():
    later = authority_of("dm", revoked_at=NOW + HOUR, valid_until=NOW + 2 * HOUR)
    verify_batch(evidence_of(authorities=(later,)), rules=RULES, now=NOW + 3 * HOUR)


def test_a_longer_chain_of_the_configuration_is_asked_for():
    chains = {**RULES.chains, "notice": ("department_manager", "manager")}
    longer = dataclasses.replace(RULES, chains=chains)
    assert refusal(evidence_of(), rules=longer).policy == "SMS-02"


def test_a_signed_rejection_is_no_approval():
    evidence = evidence_of()
    jws = signed("dm", evidence.header, decision=Decision.REJECT)
    assert refusal(with_approval(evidence, jws=jws)).rule == "the batch was rejected"


def test_a_signature_for_one_step_serves_no_other():
    evidence = evidence_of("promotion")
    jws = signed("gm", evidence.header, step=1)
    assert refusal(with_approval(evidence, 1, jws=jws)).policy == "SMS-01"


# ---------------------------------------------------------------- time and keys


def test_an_approval_from_the_future_is_refused_beyond_five_minutes():
    evidence = evidence_of()
    soon = signed("dm", evidence.header, at=NOW + timedelta(minutes=5))
    verify_batch(with_approval(evidence, jws=soon), rules=RULES, now=NOW)
    late = signed("dm", evidence.header, at=NOW + timedelta(minutes=5, seconds=1))
    assert refusal(with_approval(evidence, jws=late)).policy == "SMS-01"


def test_no_approval_outlasts_the_sites_longest_age():
    evidence = evidence_of()
    jws = signed("dm", evidence.header, expires_at=NOW + 3_000 * HOUR)
    long = with_approval(evidence, jws=jws)
    verify_batch(long, rules=RULES, now=NOW + 167 * HOUR)
    assert refusal(long, now=NOW + 168 * HOUR).policy == "SMS-01"


@pytest.mark.parametrize(
    "changes",
    [
        {"valid_from": NOW + HOUR},
        {"valid_until": NOW},
        {"revoked_at": NOW},
        {"revoked_at": NOW + HOUR, "is_distrusted": True},
        {"account_id": AccountId("gm")},
        {"public_key": key_of("gm").public_key},
    ],
)
def test_a_key_that_does_not_count_proves_nothing(changes):
    found = refusal(evidence_of(keys={"k-dm": key_of("dm", **changes)}))
    assert found.policy == "SMS-01"


def test_a_key_that_was_replaced_later_still_proves_what_came_before():
    key = key_of("dm", revoked_at=NOW + HOUR, valid_until=NOW + HOUR)
    verify_batch(evidence_of(keys={"k-dm": key}), rules=RULES, now=NOW + 2 * HOUR)


def test_an_unregistered_key_proves_nothing():
    assert refusal(evidence_of(keys={})).policy == "SMS-01"


# ---------------------------------------------------------------- header and second person


@pytest.mark.parametrize(
    "confirmations",
    [
        (),
        (
            Confirmation(
                account_id=AccountId("drafter"), digest=header_digest(encode_header(header_of()))
            ),
            Confirmation(
                account_id=AccountId("system"), digest=header_digest(encode_header(header_of()))
            ),
        ),
    ],
)
def test_a_batch_needs_the_word_of_a_second_person(confirmations):
    assert refusal(evidence_of(confirmations=confirmations)).policy == "SEC-04"


def test_the_operator_is_no_checker_of_what_he_sends():
    confirmed = (Confirmation(account_id=AccountId("operator"), digest=DIGEST),)
    assert refusal(evidence_of(confirmations=confirmed)).policy == "SEC-04"


@pytest.mark.parametrize("names", [("dm",), ("checker", "dm")])
def test_who_checked_the_list_does_not_approve_it(names):
    words = (Confirmation(account_id=AccountId(name), digest=DIGEST) for name in names)
    assert refusal(evidence_of(confirmations=tuple(words))).policy == "SMS-11"


def test_a_batch_that_is_not_what_the_second_person_saw_is_refused():
    seen = (Confirmation(account_id=AccountId("checker"), digest=bytes(32)),)
    assert refusal(evidence_of(confirmations=seen)).policy == "SMS-01"


def test_a_batch_of_another_site_is_refused():
    assert refusal(evidence_of(header=header_of(site_id="elsewhere"))).policy == "SMS-01"


def test_evidence_under_another_id_is_refused():
    other = dataclasses.replace(evidence_of(), batch_id=BatchId("other"))
    assert refusal(other).policy == "SMS-01"


@pytest.mark.parametrize(
    "changes",
    [
        {"department": "loans"},
        {"template": "other"},
        {"category": "promotion"},
        {"card_group": "a"},
        {"not_after": NOW + 2 * DAY},
        {"starts_itself": True},
        {"operator": "else"},
    ],
)
def test_a_row_that_differs_from_the_signed_header_is_refused(changes):
    evidence = evidence_of()
    stated = dataclasses.replace(evidence.stated, **changes)
    assert refusal(dataclasses.replace(evidence, stated=stated)).policy == "SMS-01"


def test_an_unknown_category_is_refused():
    header = header_of("gossip")
    assert refusal(evidence_of(header=header)).policy == "SMS-04"


def test_the_signed_window_is_kept():
    verified = verify_batch(evidence_of(), rules=RULES, now=NOW)
    require_open(verified, now=NOW)
    for at in (NOW - timedelta(seconds=1), NOW + DAY, NOW + 13 * HOUR):
        with pytest.raises(PolicyRefused) as caught:
            require_open(verified, now=at)
        assert caught.value.policy == "SMS-01"


# ---------------------------------------------------------------- lines


def test_every_line_of_a_list_is_proved_by_its_own_chunk_only():
    lines = [
        Line(line_no=i, to=f"+86138{i:08d}", variables={"name": str(i)})
        for i in range(1, CHUNK_LINES + 3)
    ]
    chunks = [leaves_of(lines[:CHUNK_LINES]), leaves_of(lines[CHUNK_LINES:])]
    header = header_of(chunks=tuple(map(chunk_hash, chunks)), n_lines=len(lines))
    verified = verify_batch(evidence_of(header=header), rules=RULES, now=NOW)
    for line in (lines[0], lines[CHUNK_LINES - 1], lines[CHUNK_LINES], lines[-1]):
        own = chunks[(line.line_no - 1) // CHUNK_LINES]
        proved = verify_line(
            verified, line_no=line.line_no, line=line_jcs(line), chunk_leaves=own, salt=SALT
        )
        assert (proved.to, proved.line_no) == (line.to, line.line_no)
        for other, no in ((chunks[1 - chunks.index(own)], line.line_no), (own, line.line_no + 1)):
            with pytest.raises(PolicyRefused):
                verify_line(
                    verified, line_no=no, line=line_jcs(line), chunk_leaves=other, salt=SALT
                )


@pytest.mark.parametrize("line_no", [0, -1, 2, 5, 2000])
def test_a_line_that_is_not_part_of_the_list_is_refused(line_no):
    verified = verify_batch(evidence_of(), rules=RULES, now=NOW)
    line = line_jcs(Line(line_no=line_no, to="+8613800000009", variables={"name": "X"}))
    with pytest.raises(PolicyRefused) as caught:
        verify_line(verified, line_no=line_no, line=line, chunk_leaves=leaves_of(LINES), salt=SALT)
    assert caught.value.policy == "SMS-01"


TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
NAMES = st.from_regex(r"[A-Za-z_\u4e00-\u9fff][A-Za-z0-9_\u4e00-\u9fff]{0,31}", fullmatch=True)


@given(st.integers(1, 2**40), TEXTS, st.dictionaries(NAMES, TEXTS, max_size=5))
def test_a_lines_octets_are_those_of_rfc_8785(line_no, to, variables):
    octets = line_jcs(Line(line_no=line_no, to=to, variables=variables))
    assert octets == rfc8785.dumps({"n": line_no, "to": to, "vars": variables})


# ---------------------------------------------------------------- the next signature


def next_step(evidence, jws, *, now=NOW):
    return verify_next(evidence, jws, kid=kid_of(jws), rules=RULES, now=now)


def test_the_next_signature_takes_the_next_step():
    evidence = evidence_of("promotion", approvals=())
    first = next_step(evidence, signed("mic", evidence.header))
    assert (first.step_name, first.is_last) == ("manager_in_charge", False)
    evidence = dataclasses.replace(evidence, approvals=(first.approval,))
    last = next_step(evidence, signed("gm", evidence.header, step=2))
    assert (last.step_name, last.is_last, last.approval.account_id) == (
        "general_manager",
        True,
        "gm",
    )
    evidence = dataclasses.replace(evidence, approvals=(first.approval, last.approval))
    with pytest.raises(PolicyRefused, match="complete already"):
        next_step(evidence, signed("gm", evidence.header, step=3))


def test_an_unknown_signer_takes_no_step():
    evidence = evidence_of(approvals=())
    with pytest.raises(PolicyRefused, match="not registered"):
        next_step(evidence, signed("nobody", evidence.header))


# ---------------------------------------------------------------- foreign libraries


def payload_of(evidence, **changes):
    values = {
        "digest": header_digest(evidence.header).hex(),
        "batch_id": BATCH,
        "step": 1,
        "decision": "approve",
        "approver": "dm",
        "iat": int(NOW.timestamp()),
        "exp": int((NOW + HOUR).timestamp()),
    }
    return {name: one for name, one in {**values, **changes}.items() if one is not ...}


def b64(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def raw_jws(head, payload, *, name="dm"):
    """A compact JWS made by hand: header and payload as given, a right signature over them."""
    if not isinstance(payload, bytes):
        payload = json.dumps(payload).encode()
    if not isinstance(head, bytes):
        head = json.dumps(head).encode()
    text = f"{b64(head)}.{b64(payload)}"
    return f"{text}.{b64(Ed25519PrivateKey.from_private_bytes(seed(name)).sign(text.encode()))}"


@pytest.mark.parametrize(
    "head", [{"alg": "EdDSA"}, {"alg": "Ed25519"}, {"alg": "EdDSA", "typ": "JWT"}]
)
def test_signatures_of_other_libraries_are_taken(head):
    evidence = evidence_of()
    jws = raw_jws({**head, "kid": "k-dm"}, payload_of(evidence))
    verify_batch(with_approval(evidence, jws=jws), rules=RULES, now=NOW)


def test_our_signature_is_taken_by_another_library():
    evidence = evidence_of()
    key = OKPKey.import_key(Ed25519PrivateKey.from_private_bytes(seed("dm")).public_key())
    found = jose.deserialize_compact(evidence.approvals[0].jws, key, algorithms=["Ed25519"])
    assert json.loads(found.payload) == payload_of(evidence, exp=int((NOW + 12 * HOUR).timestamp()))
    assert found.headers() == {"alg": "Ed25519", "kid": "k-dm"}


def test_a_mac_with_the_public_key_as_secret_is_refused():
    evidence = evidence_of()
    secret = OctKey.import_key(key_of("dm").public_key)
    head = {"alg": "HS256", "kid": "k-dm"}
    jws = jose.serialize_compact(head, json.dumps(payload_of(evidence)), secret)
    assert (
        refusal(with_approval(evidence, jws=jws)).rule == "the algorithm of an approval is Ed25519"
    )


@pytest.mark.parametrize(
    "head",
    [
        {"alg": "none", "kid": "k-dm"},
        {"alg": "ES256", "kid": "k-dm"},
        {"kid": "k-dm"},
        {"alg": "EdDSA"},
        {"alg": "EdDSA", "kid": ""},
        {"alg": "EdDSA", "kid": 7},
        {"alg": "EdDSA", "kid": "k-gm"},
        {"alg": "EdDSA", "kid": "k-dm", "crit": ["b64"], "b64": False},
        {"alg": "EdDSA", "kid": "k-dm", "jwk": {}},
        b'{"alg":"none","alg":"EdDSA","kid":"k-dm"}',
        b"[]",
        b"{",
    ],
)
def test_other_headers_are_refused(head):
    evidence = evidence_of()
    assert (
        refusal(with_approval(evidence, jws=raw_jws(head, payload_of(evidence)))).policy == "SMS-01"
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"digest": ...}, "exactly the members"),
        ({"extra": 1}, "exactly the members"),
        ({"digest": "00"}, "digest"),
        ({"digest": "no hex"}, "digest"),
        ({"digest": 5}, "digest"),
        ({"digest": "AB" * 32}, "digest"),
        ({"step": "1"}, "step"),
        ({"step": True}, "step"),
        ({"step": 1.0}, "step must be a whole number"),
        ({"decision": "maybe"}, "decision must be one of approve, reject"),
        ({"approver": None}, "approver must be a text"),
        ({"iat": -1}, "iat"),
        ({"exp": 10**12}, "exp"),
        ({"exp": int(NOW.timestamp())}, "had expired"),
    ],
)
def test_other_payloads_are_refused_by_name(changes, told):
    evidence = evidence_of()
    jws = raw_jws({"alg": "EdDSA", "kid": "k-dm"}, payload_of(evidence, **changes))
    found = refusal(with_approval(evidence, jws=jws))
    assert (found.policy, told in found.rule, bool(found.cure)) == ("SMS-01", True, True), found


@pytest.mark.parametrize(
    "spoil",
    [
        lambda jws: jws + "=",
        lambda jws: jws + ".",
        lambda jws: jws.rpartition(".")[0],
        lambda jws: jws.replace(".", ".\n", 1),
        lambda jws: " " + jws,
        lambda jws: jws[:-1] + chr(ord(jws[-1]) + 1),
        lambda jws: "é" + jws[1:],
        lambda jws: jws + "A" * 5_000,
        lambda jws: "",
    ],
)
def test_another_spelling_of_a_signature_is_refused(spoil):
    evidence = evidence_of()
    jws = spoil(evidence.approvals[0].jws)
    assert refusal(with_approval(evidence, jws=jws)).policy == "SMS-01"
    with pytest.raises(PolicyRefused):
        verify_next(evidence_of(approvals=()), jws, kid="k-dm", rules=RULES, now=NOW)


def test_nobodys_name_or_number_stands_in_a_refusal_or_a_representation():
    evidence = evidence_of()
    verified = verify_batch(evidence, rules=RULES, now=NOW)
    line = verify_line(
        verified, line_no=3, line=line_jcs(LINES[2]), chunk_leaves=leaves_of(LINES), salt=SALT
    )
    assert "138" not in repr(line)
    assert "张三" not in repr(line)
    assert "eyJ" not in repr(evidence)


# ---------------------------------------------------------------- octets that are no header or line


def spoiled(**changes):
    members = json.loads(encode_header(header_of()))
    return json.dumps({**members, **changes}).encode()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        encode_header(header_of()) + b" ",
        encode_header(header_of()).replace(b'"v":1', b'"v":2'),
        spoiled(totals=[]),
        spoiled(totals={**json.loads(encode_header(header_of()))["totals"], "forcing": {}}),
        spoiled(chunks={}),
        spoiled(chunks=["zz"]),
        spoiled(n_lines=2**70),
        spoiled(n_lines="4"),
        spoiled(not_before="0001-01-01T00:00:00+14:00"),
        spoiled(starts_itself=1),
    ],
)
def test_octets_that_are_no_header_of_ours_are_refused(octets):
    evidence = dataclasses.replace(evidence_of(), header=octets)
    assert refusal(evidence).policy == "SMS-01"


@pytest.mark.parametrize(
    "octets",
    [b"", b"[]", b"{}", b'{"n":2,"to":"1","vars":[]}', b'{"n":null,"to":"1","vars":{}}',
     b'{"n":7,"to":"+8613800000002","vars":{"name":"x"}}'],
)  # fmt: skip
def test_a_proved_leaf_that_is_no_line_or_another_one_is_refused(octets):
    leaves = leaves_of(LINES[:1]) + leaf(octets, salt=SALT, line_no=2)
    header = header_of(chunks=(chunk_hash(leaves),))
    verified = verify_batch(evidence_of(header=header), rules=RULES, now=NOW)
    with pytest.raises(PolicyRefused) as caught:
        verify_line(verified, line_no=2, line=octets, chunk_leaves=leaves, salt=SALT)
    assert caught.value.policy == "SMS-01"
