"""The sheet that an approver signs: read from its own octets, shown in two languages, signed."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modemctl.cli.client import Record, records, text_of
from modemctl.cli.errors import Refusal, printable
from modemctl.cli.show import local_time
from modemctl.clock import SystemClock
from modemctl.model import Decision

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from modemctl.policy.digest import BatchHeader


def read_header(sheet: Record, batch_id: str | None = None) -> BatchHeader:
    """The header that is signed, read from its octets: the daemon is not taken at its word.

    Raises:
        Refusal: digest or id are another batch's.
    """
    from modemctl.policy.digest import decode_header, header_digest

    if not isinstance(sheet.get("header"), str):
        raise Refusal(
            "the sheet holds no text: nothing was signed",
            cure="it is shown to those with pii:read, and to drafter and submitter",
        )
    octets = text_of(sheet, "header").encode()
    header = decode_header(octets)
    is_other = batch_id is not None and header.batch_id != batch_id
    if header_digest(octets).hex() != sheet.get("digest") or is_other:
        raise Refusal("the daemon's sheet contradicts itself: nothing was signed")
    return header


def turn_of(sheet: Record, wanted: int | None) -> int:
    """The step whose turn it is; with `wanted`, only if it is that one.

    Raises:
        Refusal: it is not, or all is signed.
    """
    turn = sheet.get("step")
    if not isinstance(turn, int):
        raise Refusal("every step of this batch is signed already")
    if wanted is not None and wanted != turn:
        raise Refusal(f"it is the turn of step {turn} ({sheet.get('step_name')}), not {wanted}")
    return turn


def show_sheet(sheet: Record, header: BatchHeader) -> None:
    """Show people what a signature on this header says, on stderr."""
    for name, value in _facts(sheet, header):
        click.echo(printable(f"{name}: {value}"), err=True)
    examples = sheet.get("examples")
    for one in examples if isinstance(examples, list) else []:
        if isinstance(one, list) and len(one) == 2:
            click.echo(printable(f"example 示例: {one[0]}  {one[1]}"), err=True)


def _facts(sheet: Record, header: BatchHeader) -> Iterator[tuple[str, str]]:
    totals, names = header.totals, sheet.get("names")
    known = names if isinstance(names, dict) else {}

    def name(account_id: str) -> str:
        return f"{known[account_id]} ({account_id})" if account_id in known else account_id

    removed = ", ".join(f"{why} {n}" for why, n in totals.removed_by.items())
    yield "batch 批次", header.batch_id
    yield "category 类别", header.category
    if header.emergency is not None:
        yield "EMERGENCY 紧急（其余审批事后补签）", header.emergency
    if header.standing is not None:
        n = header.standing.runs_per_week
        told = f"up to {n} self-tests in seven days send this 每七天至多 {n} 次自检可发送"
        yield "STANDING 常备审批", told
    yield "department 部门", header.department
    yield "for 委托方", header.party
    yield "drafter 起草人", name(header.drafter)
    yield "handed in by 提交人", name(header.submitter)
    yield "operator 操作员", name(header.operator)
    if header.list_owner is not None:
        yield "answers for the list 名单负责人", name(header.list_owner)
        yield "source of the list 名单来源", header.list_source or ""
    yield "from 开始", local_time(header.not_before.isoformat())
    yield "until 截止", local_time(header.not_after.isoformat())
    yield "starts 启动", _starts(header)
    yield "card group 卡组", header.card_group or "any 不限"
    yield "to send 发送", f"{totals.n_messages} messages, {totals.n_segments} segments (短信/条)"
    yield "taken out 剔除", removed or "none 无"
    if totals.forcing:
        yield "characters that cost 使短信变长的字符", " ".join(totals.forcing)
    yield from _estimate(header)
    yield "digest 摘要", text_of(sheet, "digest")
    yield "text 正文", header.template


def _starts(header: BatchHeader) -> str:
    if header.standing is not None:
        return "never; self-tests send under it 从不启动，由自检据此发送"
    return "by itself 自动" if header.starts_itself else "by its operator 由操作员"


def _estimate(header: BatchHeader) -> Iterator[tuple[str, str]]:
    known = header.totals.estimate
    if known is None:
        return
    late = "NOT within its window 时限内发不完"
    yield "cards 可用卡", str(known.n_cards)
    yield "cost 费用", f"at most 至多 {known.cost} {known.currency}"
    if header.standing is None:
        yield "sent by 预计发完", local_time(known.finish.isoformat()) if known.finish else late
    yield "waits for 受限于", ", ".join(known.limits) or "nothing 无"


def load_sheet(path: Path) -> Record:
    """A sheet that was saved.

    Raises:
        Refusal: it cannot be read, or is none.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refusal(f"{path} is no sheet", cure="save one: modemctl batch sheet ID --out FILE")
    return found


def sign(
    private: Ed25519PrivateKey,
    header: BatchHeader,
    *,
    step: int,
    approver: str,
    days: int,
    decision: Decision = Decision.APPROVE,
) -> str:
    """The signed word for one step of the batch behind this header, good for so many days.

    Of a standing approval it is good until that ends.
    """
    from modemctl.policy.digest import encode_header, header_digest
    from modemctl.policy.signatures import sign_approval

    now = SystemClock().now()
    return sign_approval(
        private.private_bytes_raw(),
        kid=thumbprint(private),
        digest=header_digest(encode_header(header)),
        batch_id=header.batch_id,
        step=step,
        approver=approver,
        issued_at=now,
        expires_at=now + timedelta(days=days) if header.standing is None else header.not_after,
        decision=decision,
    )


def thumbprint(private: Ed25519PrivateKey) -> str:
    """The key's id: its RFC 7638 thumbprint."""
    public = _base64url(private.public_key().public_bytes_raw())
    jwk = '{"crv":"Ed25519","kty":"OKP","x":"' + public + '"}'
    return _base64url(hashlib.sha256(jwk.encode()).digest())


def signer_of(sheet: Record, kid: str) -> str:
    """The account whose key this is, as the sheet names those who may sign the step.

    Raises:
        Refusal: it is nobody's of them.
    """
    for one in records(sheet.get("signers")):
        kids = one.get("kids")
        if isinstance(kids, list) and kid in kids:
            return text_of(one, "account_id")
    raise Refusal(
        f"no key of yours may sign step {sheet.get('step')} ({sheet.get('step_name')})",
        cure="the sheet's `signers` can: modemctl batch sheet ID; keys are registered with "
        "modemctl account approver-key NAME FILE.pub",
    )


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """An approver's private key.

    Raises:
        Refusal: unreadable, open to others, not such a key, a wrong passphrase.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        if path.stat().st_mode & 0o077:
            raise Refusal(f"{path} is open to others", cure=f"run: chmod 600 {path}")
        pem = path.read_bytes()
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from None
    password = None
    if b"ENCRYPTED" in pem:
        password = str(click.prompt("Passphrase", hide_input=True, err=True)).encode()
    try:
        key = load_pem_private_key(pem, password)
    except (ValueError, TypeError):
        cure = "is the passphrase right?" if password else "make one: modemctl key signing"
        raise Refusal(f"{path} cannot be read as a private key", cure=cure) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Refusal(f"{path} is no Ed25519 key", cure="make one: modemctl key signing")
    return key
