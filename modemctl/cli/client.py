"""The connection to the daemon: HTTP over its Unix socket."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import click
import httpx2

from modemctl.cli.errors import ApiProblem, NoDaemon

Json: TypeAlias = (
    "str | int | float | bool | list[Json] | dict[str, Json] | None"  # what json.loads gives
)
Record: TypeAlias = dict[str, Json]

_TIMEOUT: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where the daemon and its settings are, and as whom to ask."""

    config_path: Path
    socket_path: Path
    key_file: Path | None

    @contextmanager
    def client(self) -> Iterator[Client]:
        """An open client; every call raises `ApiProblem` or `NoDaemon`."""
        headers = {}
        if self.key_file is not None:
            try:
                headers["Authorization"] = f"Bearer {self.key_file.read_text().strip()}"
            except OSError as error:
                raise click.UsageError(f"key file {self.key_file}: {error.strerror}") from None
        transport = httpx2.HTTPTransport(uds=str(self.socket_path))
        with httpx2.Client(
            transport=transport, base_url="http://modemctl", headers=headers, timeout=_TIMEOUT
        ) as http:
            yield Client(http, self.socket_path)


class Client:
    """Requests with problems turned into exceptions."""

    def __init__(self, http: httpx2.Client, socket_path: Path) -> None:
        self._http = http
        self._socket_path = socket_path

    def get(self, path: str, **params: str | int | None) -> Record:
        """GET a JSON object."""
        return self._record("GET", path, params=params)

    def post(self, path: str, body: Mapping[str, Json] | None = None) -> Record:
        """POST a JSON object."""
        return self._record("POST", path, body=body)

    def put(self, path: str, body: Mapping[str, Json] | None = None) -> Record:
        """PUT a JSON object."""
        return self._record("PUT", path, body=body)

    def delete(self, path: str) -> Record:
        """DELETE."""
        return self._record("DELETE", path)

    def upload(self, method: str, path: str, file: Path, *, content_type: str) -> Record:
        """Send a file as it is."""
        with file.open("rb") as content:
            answer = self._send(
                method, path, content=content, headers={"Content-Type": content_type}
            )
        return _object(answer)

    def pages(self, path: str, **params: str | int | None) -> Iterator[Record]:
        """All items of a list, page after page."""
        cursor: Json = None
        while True:
            page = self.get(path, **params, cursor=cursor if isinstance(cursor, str) else None)
            yield from records(page.get("items"))
            cursor = page.get("next")
            if not cursor:
                return

    def lines(self, path: str, **params: str | int | None) -> Iterator[Record]:
        """A stream of JSON lines."""
        with self._open(), self._http.stream("GET", path, params=_given(params)) as answer:
            if answer.is_error:
                answer.read()
                raise _problem(answer)
            for line in answer.iter_lines():
                if line:
                    yield json.loads(line)

    def events(self, last_id: str | None = None) -> Iterator[Record]:
        """Server-sent events as they come; ends when the daemon stops."""
        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        request = self._http.stream("GET", "/v1/events/stream", headers=headers, timeout=None)
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
        params: Mapping[str, str | int | None] | None = None,
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
        try:
            yield
        except httpx2.ConnectError as error:
            raise NoDaemon(
                f"no daemon answers on {self._socket_path} ({error})\n"
                "  → is it running? systemctl status modemctl; another place: --socket"
            ) from None
        except httpx2.TransportError as error:
            raise NoDaemon(f"the daemon broke off: {error}") from None


def records(value: Json) -> list[Record]:
    """The objects of a JSON list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _given(params: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in params.items() if value is not None}


def _object(answer: httpx2.Response) -> Record:
    if not answer.content:
        return {}
    body = answer.json()
    return body if isinstance(body, dict) else {"items": body}


def _problem(answer: httpx2.Response) -> ApiProblem:
    try:
        body = answer.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict) or "title" not in body:
        body = {"title": f"HTTP {answer.status_code}"}
    return ApiProblem(answer.status_code, body)
