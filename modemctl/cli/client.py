"""The connection to the daemon: HTTP over its Unix socket."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote

import click

from modemctl.cli.errors import ApiProblem, NoDaemon, Refusal

if TYPE_CHECKING:  # 40 ms that `--help` need not wait for
    import httpx2

Json: TypeAlias = (
    "str | int | float | bool | list[Json] | dict[str, Json] | None"  # what json.loads gives
)
Record: TypeAlias = dict[str, Json]
Param: TypeAlias = "str | int | bool | list[str] | None"

_TIMEOUT: Final = 60.0
_LONG: Final = 900.0  # seconds: a list of a million lines is read and checked before the answer
_EVENT_SILENCE: Final = 60.0  # seconds: the daemon says every 15 s that it is still there
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where the daemon and its settings are, and as whom to ask."""

    config_path: Path
    socket_path: Path
    key_file: Path | None

    @contextmanager
    def client(self) -> Iterator[Client]:
        """An open client; every call raises `ApiProblem` or `NoDaemon`.

        Raises:
            Refusal: the key file cannot be used.
        """
        import httpx2

        headers = {} if self.key_file is None else {"Authorization": f"Bearer {self._token()}"}
        # There is no TLS on a Unix socket: without this, 30 ms go into loading certificates.
        transport = httpx2.HTTPTransport(uds=str(self.socket_path), verify=False)
        with httpx2.Client(
            transport=transport, base_url="http://modemctl", headers=headers, timeout=_TIMEOUT
        ) as http:
            yield Client(http, self.socket_path)

    def _token(self) -> str:
        assert self.key_file is not None
        try:
            token = self.key_file.read_bytes().decode("ascii", errors="replace").strip()
        except OSError as error:
            raise Refusal(f"key file {self.key_file}: {error.strerror}") from None
        if _TOKEN.fullmatch(token) is None:
            raise Refusal(
                f"key file {self.key_file} holds no API key",
                cure="it is one line that begins with mk_; new: modemctl key issue ACCOUNT",
            )
        return token


class Client:
    """Requests with problems turned into exceptions."""

    def __init__(self, http: httpx2.Client, socket_path: Path) -> None:
        self._http = http
        self._socket_path = socket_path

    def get(self, path: str, **params: Param) -> Record:
        """GET a JSON object."""
        return self._record("GET", path, params=params)

    def post(self, path: str, body: Mapping[str, Json] | None = None) -> Record:
        """POST a JSON object."""
        return self._record("POST", path, body=body)

    def post_long(self, path: str, body: Mapping[str, Json] | None = None) -> Record:
        """POST what takes a while, such as copying a file; a JSON object."""
        return _object(self._send("POST", path, json=body, timeout=_LONG))

    def put(self, path: str, body: Mapping[str, Json] | None = None) -> Record:
        """PUT a JSON object."""
        return self._record("PUT", path, body=body)

    def patch(self, path: str, body: Mapping[str, Json] | None = None) -> Record:
        """PATCH a JSON object."""
        return self._record("PATCH", path, body=body)

    def delete(self, path: str, **params: Param) -> Record:
        """DELETE."""
        return self._record("DELETE", path, params=params)

    def readiness(self) -> Record:
        """What `/readyz` finds, also where the daemon is not ready (503)."""
        with self._open():
            answer = self._http.get("/readyz")
        if answer.is_error and answer.status_code != 503:
            raise _problem(answer)
        return _object(answer)

    def send_file(self, method: str, path: str, file: IO[bytes], **params: Param) -> Record:
        """Send a file's octets as the body, read while they are sent."""
        answer = self._send(
            method,
            path,
            params=_given(params),
            content=file,
            headers={"Content-Type": "application/octet-stream"},
            timeout=_LONG,
        )
        return _object(answer)

    def multipart(
        self,
        path: str,
        *,
        fields: Mapping[str, str],
        name: str,
        file: IO[bytes],
        file_name: str,
        **params: Param,
    ) -> Record:
        """POST a form with text fields and one file, which is read while it is sent."""
        answer = self._send(
            "POST",
            path,
            params=_given(params),
            data=dict(fields),
            files={name: (file_name, file)},
            timeout=_LONG,
        )
        return _object(answer)

    def pages(
        self,
        path: str,
        filters: Mapping[str, Param] | None = None,
        *,
        most: int | None = None,
        **params: Param,
    ) -> Iterator[Record]:
        """All items of a list, or the first `most`, page after page."""
        params |= filters or {}
        cursor: Json = None
        n_left = most
        while n_left is None or n_left > 0:
            page = self.get(path, **params, cursor=cursor if isinstance(cursor, str) else None)
            items = records(page.get("items"))
            yield from items if n_left is None else items[:n_left]
            n_left = None if n_left is None else n_left - len(items)
            cursor = page.get("next")
            if not cursor:
                return

    def lines(self, path: str, *, method: str = "GET", **params: Param) -> Iterator[Record]:
        """A stream of JSON lines."""
        with self._open(), self._http.stream(method, path, params=_given(params)) as answer:
            if answer.is_error:
                answer.read()
                raise _problem(answer)
            for line in answer.iter_lines():
                if line:
                    yield json.loads(line)

    def save(self, path: str, target: Path, *, body: Mapping[str, Json] | None = None) -> None:
        """Save what GET gives (POST with a `body`) in a file, whole or not at all.

        Raises:
            Refusal: the file cannot be written.
        """
        part = target.with_name(f"{target.name}.part")
        method = "GET" if body is None else "POST"
        stream = self._http.stream(method, path, json=body)
        try:
            with self._open(), stream as answer, part.open("wb") as out:
                if answer.is_error:
                    answer.read()
                    raise _problem(answer)
                for block in answer.iter_bytes():
                    out.write(block)
            part.replace(target)
        except OSError as error:
            raise Refusal(f"{target}: {error.strerror}") from None
        finally:
            if part.exists():
                part.unlink()

    def events(self, last_id: str | None = None, *, kinds: Iterable[str] = ()) -> Iterator[Record]:
        """Server-sent events as they come; ends when the daemon stops."""
        import httpx2

        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        request = self._http.stream(
            "GET",
            "/v1/events/stream",
            params={"kind": list(kinds)},
            headers=headers,
            timeout=httpx2.Timeout(_TIMEOUT, read=_EVENT_SILENCE),
        )
        with self._open(), request as answer:
            if answer.is_error:
                answer.read()
                raise _problem(answer)
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))

    def _record(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Param] | None = None,
        body: Mapping[str, Json] | None = None,
    ) -> Record:
        answer = self._send(method, path, params=_given(params or {}), json=body)
        return _object(answer)

    def _send(self, method: str, path: str, **options: object) -> httpx2.Response:
        with self._open():
            answer = self._http.request(method, path, **options)  # type: ignore[arg-type]  # passed on
        if answer.is_error:
            raise _problem(answer)
        return answer

    @contextmanager
    def _open(self) -> Iterator[None]:
        import httpx2

        try:
            yield
        except httpx2.ConnectError as error:
            raise NoDaemon(self._unreachable(str(error))) from None
        except httpx2.TimeoutException:
            raise NoDaemon(
                "the daemon did not answer in time; whether it did what was asked is not known"
                "\n  → look before you ask again: modemctl status"
            ) from None
        except httpx2.TransportError as error:
            raise NoDaemon(f"the daemon broke off: {error}") from None
        except UnicodeEncodeError:
            raise Refusal(
                "what was given holds octets that are no text in this locale",
                cure="write it in UTF-8; locale -a lists what the machine knows",
            ) from None

    def _unreachable(self, reason: str) -> str:
        path = self._socket_path
        if "ermission denied" in reason:
            return (
                f"this user may not use {path} (permission denied)\n"
                "  → join the socket's group: sudo adduser $USER modemctl, then log in anew"
            )
        return (
            f"no daemon answers on {path} ({reason})\n"
            "  → is it running? systemctl status modemctl; another place: --socket"
        )


def records(value: Json) -> list[Record]:
    """The objects of a JSON list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def text_of(record: Record, name: str) -> str:
    """A member that must be a string.

    Raises:
        NoDaemon: whoever answers is no modemctl of this version.
    """
    value = record.get(name)
    if not isinstance(value, str):
        raise NoDaemon(f"the daemon's answer has no {name}: is it of this version?")
    return value


def in_path(text: str) -> str:
    """A name as one part of an address."""
    if text in {"", ".", ".."}:
        raise click.UsageError(f"{text!r} is no name")
    return quote(text, safe="")


def _given(params: Mapping[str, Param]) -> dict[str, str | int | bool | list[str]]:
    return {name: value for name, value in params.items() if value is not None}


def _object(answer: httpx2.Response) -> Record:
    if not answer.content:
        return {}
    try:
        body = answer.json()
    except ValueError:
        raise NoDaemon("what answers on the socket does not speak JSON: is it modemctl?") from None
    return body if isinstance(body, dict) else {"items": body}


def _problem(answer: httpx2.Response) -> ApiProblem:
    try:
        body = answer.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict) or "title" not in body:
        body = {"title": f"HTTP {answer.status_code}"}
    return ApiProblem(answer.status_code, body)
