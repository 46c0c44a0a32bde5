"""A client of modemctl's approvals: Python's own library and `cryptography`, nothing else.

Copy it, or read it beside `docs/approval-client.md`. As a program it signs a saved sheet:
`python approval_client.py sheet.json wang.pem APPROVER_ID`.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

FINAL = {"done", "rejected", "withdrawn", "cancelled", "expired"}


# ---------------------------------------------------------------- asking


class Refused(Exception):
    """The daemon said no; `problem` is its answer (RFC 9457)."""

    def __init__(self, status: int, problem: dict) -> None:
        self.status, self.problem = status, problem
        super().__init__(f"{status} {problem.get('policy') or ''} {problem.get('detail')}")


class Controller:
    """One account's way to the daemon; `key` is its API key (`mk_…`)."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._host, self._port, self._key = host, port, key

    def ask(self, method: str, path: str, body: dict | None = None) -> dict:
        """One request and its answer; a refusal is raised."""
        with self._send(method, path, body) as answer:
            return json.loads(answer.read())

    def lines(self, path: str) -> Iterator[dict]:
        """The objects of an NDJSON answer, one after the other."""
        with self._send("GET", path, None) as answer:
            for line in answer:
                yield json.loads(line)

    def _send(self, method: str, path: str, body: dict | None) -> http.client.HTTPResponse:
        line = http.client.HTTPConnection(self._host, self._port, timeout=60)
        head = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/json",
            "Connection": "close",
        }
        line.request(method, path, None if body is None else json.dumps(body), head)
        answer = line.getresponse()
        if answer.status >= 400:
            raise Refused(answer.status, json.loads(answer.read()))
        return answer


def submit(system: Controller, form: dict, recipients: list) -> dict:
    """Hand a batch in. Keep the id first: after a broken line the same call asks again."""
    form.setdefault("batch_id", str(uuid.uuid4()))
    body = {**form, "recipients": recipients}
    try:
        return system.ask("POST", "/v1/batches", body)
    except (OSError, http.client.HTTPException):
        return system.ask("POST", "/v1/batches", body)


def follow(system: Controller, batch_id: str, pause: float = 2.0) -> Iterator[dict]:
    """The batch at each change of its state, until it is over."""
    before = None
    while before not in FINAL:
        batch = system.ask("GET", f"/v1/batches/{batch_id}")
        if batch["state"] != before:
            yield batch
        before = batch["state"]
        time.sleep(0 if before in FINAL else pause)


# ---------------------------------------------------------------- signing


def base64url(octets: bytes) -> str:
    """Base64url (RFC 4648 §5) without padding."""
    return base64.urlsafe_b64encode(octets).decode("ascii").rstrip("=")


def key_id(private: Ed25519PrivateKey) -> str:
    """The `kid` of a key: the RFC 7638 thumbprint of its public half."""
    x = base64url(private.public_key().public_bytes_raw())
    jwk = '{"crv":"Ed25519","kty":"OKP","x":"' + x + '"}'
    return base64url(hashlib.sha256(jwk.encode("ascii")).digest())


def read_sheet(sheet: dict) -> dict:
    """The header behind a sheet's digest: show people this, and no other field of the sheet."""
    octets = sheet["header"].encode("utf-8")
    if hashlib.sha256(octets).hexdigest() != sheet["digest"]:
        raise ValueError("the sheet's header is not what its digest stands for")
    return json.loads(octets)


def signed_word(
    private: Ed25519PrivateKey,
    sheet: dict,
    approver: str,
    *,
    decision: str = "approve",
    issued_at: int | None = None,
    lifetime: int = 7 * 86_400,
) -> str:
    """The compact JWS that `approve` takes: one decision for one step of one batch."""
    now = int(time.time()) if issued_at is None else issued_at
    head = {"alg": "Ed25519", "kid": key_id(private)}
    payload = {
        "approver": approver,
        "batch_id": read_sheet(sheet)["batch_id"],
        "decision": decision,
        "digest": sheet["digest"],
        "exp": now + lifetime,
        "iat": now,
        "step": sheet["step"],
    }
    parts = [json.dumps(one, separators=(",", ":")).encode("utf-8") for one in (head, payload)]
    signing_input = ".".join(base64url(part) for part in parts)
    signature = private.sign(signing_input.encode("ascii"))
    return f"{signing_input}.{base64url(signature)}"


# ---------------------------------------------------------------- each hand's part


def confirm(checker: Controller, batch_id: str) -> dict:
    """The second person has looked at text, list and totals."""
    digest = checker.ask("GET", f"/v1/batches/{batch_id}/sheet")["digest"]
    return checker.ask("POST", f"/v1/batches/{batch_id}/confirm", {"digest": digest})


def approve(system: Controller, batch_id: str, jws: str) -> dict:
    """Bring a signature; anybody with `batches:approve` may."""
    return system.ask("POST", f"/v1/batches/{batch_id}/approve", {"jws": jws})


def decisions(batch: dict) -> list:
    """Who decided what at which step, as far as the chain has come."""
    signed = [one for one in batch["steps"] if one["decision"] is not None]
    return [(one["name"], batch["names"][one["approver"]], one["decision"]) for one in signed]


def start(operator: Controller, batch_id: str) -> dict:
    """The named operator lets it go."""
    return operator.ask("POST", f"/v1/batches/{batch_id}/start")


def withdraw(system: Controller, batch_id: str, reason: str) -> dict:
    """Take back what does not run yet."""
    return system.ask("POST", f"/v1/batches/{batch_id}/withdraw", {"reason": reason})


def main(sheet_path: str, key_path: str, approver: str) -> None:
    """Show a saved sheet and print its signature."""
    sheet = json.loads(Path(sheet_path).read_bytes())
    private = load_pem_private_key(Path(key_path).read_bytes(), password=None)
    if not isinstance(private, Ed25519PrivateKey):
        raise SystemExit("not an Ed25519 key")
    shown = {name: value for name, value in read_sheet(sheet).items() if name != "chunks"}
    sys.stderr.write(json.dumps(shown, ensure_ascii=False, indent=2) + "\n")
    sys.stdout.write(signed_word(private, sheet, approver) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:4])
