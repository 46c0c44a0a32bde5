"""The page for approval systems: its worked example is recomputed, its code is the example's."""

import base64
import hashlib
import importlib.util
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from modemctl.errors import PolicyRefused
from modemctl.lifecycle import BatchState
from modemctl.model import Decision
from modemctl.policy.digest import decode_header, header_digest
from modemctl.policy.signatures import open_approval
from modemctl.policy.standing import check_run, check_standing
from modemctl.service.authority_fields import thumbprint

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "approval-client.md").read_text(encoding="utf-8")
EXAMPLE = DOCS / "examples" / "approval_client.py"
WORKED = dict(
    re.findall(r"^\| ([^|]+) \| `([^`]+)` \|$", PAGE.split("### Worked example")[1], re.M)
)


@pytest.fixture
def client() -> ModuleType:
    spec = importlib.util.spec_from_file_location("approval_client", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def private() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(WORKED["private key (seed, hex)"]))


def test_every_line_of_code_on_the_page_is_the_examples() -> None:
    source = EXAMPLE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    assert len(blocks) >= 7
    for block in blocks:
        assert block in source, block


def test_the_worked_example_is_right_octet_by_octet(client: ModuleType) -> None:
    public = private().public_key().public_bytes_raw()
    assert public.hex() == WORKED["public key (hex)"]
    assert client.key_id(private()) == thumbprint(public) == WORKED["kid"]
    header = WORKED["header"].encode()
    assert hashlib.sha256(header).hexdigest() == header_digest(header).hex() == WORKED["digest"]
    read = decode_header(header)
    assert read.totals.estimate is not None
    said = json.loads(WORKED["JWS payload"])
    sheet = {"header": WORKED["header"], "digest": WORKED["digest"], "step": 1}
    jws = client.signed_word(private(), sheet, said["approver"], issued_at=said["iat"])
    assert jws == WORKED["JWS"]
    signed, _, signature = jws.rpartition(".")
    head, payload = (octets_of(part) for part in signed.split("."))
    assert (head.decode(), payload.decode()) == (WORKED["JWS header"], WORKED["JWS payload"])
    Ed25519PublicKey.from_public_bytes(public).verify(octets_of(signature), signed.encode())
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(public).verify(octets_of(signature), b"x")


def octets_of(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_the_daemon_reads_the_worked_example_as_the_page_says() -> None:
    public = bytes.fromhex(WORKED["public key (hex)"])
    claims = open_approval(WORKED["JWS"], kid=WORKED["kid"], public_key=public)
    assert claims.decision is Decision.APPROVE
    assert (claims.step, claims.digest.hex()) == (1, WORKED["digest"])
    assert claims.issued_at == datetime(2026, 11, 21, 1, tzinfo=UTC)
    with pytest.raises(PolicyRefused, match="wrongly signed"):
        open_approval(WORKED["JWS"][:-2] + "Aw", kid=WORKED["kid"], public_key=public)


def test_a_sheet_that_contradicts_itself_is_not_signed(client: ModuleType) -> None:
    sheet = {"header": WORKED["header"] + " ", "digest": WORKED["digest"], "step": 1}
    with pytest.raises(ValueError, match="digest"):
        client.signed_word(private(), sheet, "x")


def test_a_standing_approval_and_a_run_under_it_are_right_octet_by_octet() -> None:
    standing, run = (WORKED[f"{name} header"].encode() for name in ("standing", "run"))
    for name, octets in (("standing", standing), ("run", run)):
        assert header_digest(octets).hex() == WORKED[f"{name} digest"]
    above, below = decode_header(standing), decode_header(run)
    state = BatchState.APPROVED.value
    now, digest = below.not_before, header_digest(standing)
    check_standing(above)
    check_run(below, above, digest=digest, state=state, now=now)
    told, under = json.loads(standing), json.loads(run)
    differing = {name for name in told.keys() | under.keys() if told.get(name) != under.get(name)}
    assert differing == {"batch_id", "not_before", "not_after", "standing", "under"}
