"""The form of a bulk send as a TOML file, and the list that goes with it."""

from __future__ import annotations

import io
import json
import threading
import tomllib
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modemctl.cli.client import Client, Json, Param, Record, in_path
from modemctl.cli.errors import ApiProblem, NoDaemon, Refusal
from modemctl.cli.show import console

if TYPE_CHECKING:  # it takes time to load
    from rich.progress import Progress

_KEYS: Final[Mapping[str, str]] = {
    "id": "batch_id",
    "batch_id": "batch_id",
    "category": "category",
    "text": "text",
    "template": "text",
    "department": "department",
    "drafter": "drafter",
    "operator": "operator",
    "party": "party",
    "not_before": "not_before",
    "not_after": "not_after",
    "card_group": "card_group",
    "starts_itself": "starts_itself",
    "strict": "is_strict",
    "is_strict": "is_strict",
    "emergency": "emergency",
    "list_owner": "list_owner",
    "list_source": "list_source",
    "runs_per_week": "runs_per_week",
    "recipients": "recipients",
}
"""Key of the form → field of the request."""
FORMS_OF_LIST: Final = ("txt", "csv", "ndjson", "xlsx")
_LOOK_EVERY: Final = 0.5  # seconds
_SUFFIXES: Final[Mapping[str, str]] = {
    **{f".{form}": form for form in FORMS_OF_LIST}, ".xls": "xlsx", ".ods": "xlsx",
}  # fmt: skip


def read_form(path: Path, *, batch_id: str | None) -> Record:
    """The request in a TOML file; with an id made here where it names none.

    Raises:
        Refusal: not TOML, unknown keys, an instant without its offset.
    """
    try:
        form = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise Refusal(f"{path}:{line}: not UTF-8", cure="save the form as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"{path}: {error}", cure="modemctl batch form shows an example") from None
    request: Record = {}
    for key, value in form.items():
        name = _KEYS.get(key)
        if name is None:
            raise Refusal(f"{path}: unknown key {key}", cure=f"known are {', '.join(_KEYS)}")
        if name in request:
            raise Refusal(f"{path}: {key} says again what another key said")
        request[name] = _json(value, f"{path}: {key}")
    own = request.get("batch_id")
    if batch_id is not None and own not in {None, batch_id}:
        raise Refusal(f"{path} names the id {own}; --id another one")
    request["batch_id"] = batch_id or own or str(uuid.uuid4())
    return request


def require_list(path: Path, list_format: str | None) -> None:
    """Look at a list before anything is begun.

    Raises:
        Refusal: it cannot be read, or nobody says of which form it is.
    """
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from None
    if list_format is None and path.suffix.lower() not in _SUFFIXES:
        forms = ", ".join(FORMS_OF_LIST)
        raise Refusal(
            f"{path}: its name does not tell the form of the list", cure=f"--format, one of {forms}"
        )


def submit(
    client: Client,
    request: Record,
    recipients: Path | None,
    *,
    list_format: str | None,
    encoding: str | None,
) -> Record:
    """Hand in a form with its list: a file of any size, or the form's own `recipients`.

    Raises:
        Refusal: no list, two lists, or the file cannot be read.
    """
    if recipients is None:
        if not request.get("recipients"):
            raise Refusal(
                "there is nobody to send to",
                cure="name a list file, or give the form `recipients`",
            )
        return client.post("/v1/batches", request)
    if "recipients" in request:
        raise Refusal(
            "the form has recipients of its own, and a list file is named too",
            cure="take `recipients` out of the form, or name no file",
        )
    batch_path = f"/v1/batches/{in_path(str(request['batch_id']))}"
    with _shown(recipients) as upload, _followed(client, batch_path, upload):
        return client.multipart(
            "/v1/batches/upload",
            fields={"request": json.dumps(request)},
            name="list",
            file=upload,
            file_name=recipients.name,
            format=list_format,
            encoding=encoding,
        )


def upload_list(client: Client, path: str, recipients: Path, **params: Param) -> Record:
    """POST a list as it is; its form goes by the file's name.

    Raises:
        Refusal: the file cannot be read.
    """
    form = _SUFFIXES.get(recipients.suffix.lower())
    if form is None:
        raise Refusal(
            f"{recipients}: the name must end in {', '.join(_SUFFIXES)}", cure="save it as .csv"
        )
    with _shown(recipients) as upload:
        return client.send_file("POST", path, upload, format=form, **params)


class CountedFile(io.BufferedReader):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, told: Callable[[int], object], bar: Progress) -> None:
        super().__init__(io.FileIO(path))
        self._told = told
        self.bar = bar

    def read(self, size: int | None = -1) -> bytes:
        """The next octets."""
        block = super().read(size)
        self._told(len(block))
        return block


@contextmanager
def _shown(path: Path) -> Iterator[CountedFile]:
    """The file, its upload shown on stderr where somebody looks.

    Raises:
        Refusal: it cannot be read.
    """
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    screen = console(err=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    bar = Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal)
    try:
        task = bar.add_task(f"uploading {path.name}", total=path.stat().st_size)
        file = CountedFile(path, lambda n_octets: bar.advance(task, n_octets), bar)
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from None
    with file, bar:
        yield file


@contextmanager
def _followed(client: Client, batch_path: str, upload: CountedFile) -> Iterator[None]:
    """Beside the upload, how far the daemon is with the list; nothing where nobody looks."""
    if upload.bar.disable:
        yield
        return
    stop = threading.Event()

    def follow() -> None:
        task = None
        while not stop.wait(_LOOK_EVERY):
            try:
                intake = client.get(batch_path).get("intake")
            except (ApiProblem, NoDaemon):
                continue  # not begun yet; what went wrong, the upload's answer says
            if not isinstance(intake, dict):
                continue
            task = upload.bar.add_task("", total=1.0) if task is None else task
            upload.bar.update(
                task,
                description=f"checking: {intake.get('n_lines')} lines",
                completed=float(str(intake.get("share"))),
            )

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join(_LOOK_EVERY)


def _json(value: object, where: str) -> Json:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Refusal(f"{where} has no offset from UTC", cure="write 2026-11-21T09:00:00+08:00")
        return value.isoformat()
    if isinstance(value, date | time):
        raise Refusal(f"{where} must be an instant", cure="write 2026-11-21T09:00:00+08:00")
    if isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list):
        return [_json(one, where) for one in value]
    if isinstance(value, dict):
        return {str(name): _json(one, where) for name, one in value.items()}
    raise Refusal(f"{where} has a value of an unknown kind")


EXAMPLE: Final = """\
category = "notice"            # notice, promotion, other
text = "尊敬的{name}：您的季度对账单已寄出。"
# {name} is filled in from the list's column of that name; {姓名} works, too
department = "sales"
drafter = "liu"                # account that drafted text and range
operator = "zhou"              # account that starts it
list_owner = "liu"             # a notice: the person who answers for the list …
list_source = "core banking, statements of Q3"   # … and where its numbers come from
# id = "…"                     # a UUID of your own; else one is made and printed
# party = "own"
# not_before = 2026-11-21T09:00:00+08:00
# not_after = 2026-11-21T18:00:00+08:00
# card_group = "north"
# starts_itself = true         # at the window, when it is approved
# strict = true                # one bad line refuses the whole list
# emergency = "why"            # one emergency approver lets it go, its chain signs afterwards
# A short list; for a long one name a file: modemctl batch submit FORM LIST
recipients = [
  { to = "+8613800000001", variables = { name = "王小明" } },
]
"""
"""A form to begin with."""
