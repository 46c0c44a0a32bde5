"""Lists of SIM cards as people keep them: CSV and spreadsheets, English and Chinese headings.

Every line is read before anything is refused, so that all its faults are told at once. No PIN and
no identity number is ever part of what is told.
"""

from __future__ import annotations

import asyncio
import csv
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from modemctl.errors import InvalidRequest
from modemctl.lifecycle import CardState
from modemctl.model import Iccid
from modemctl.policy.identities import Identity, IdentityKind, NoIdentity, read_identity
from modemctl.policy.numbers import NumberRules, Rejection, normalise
from modemctl.policy.zones import known_zones
from modemctl.service.characters import unfit
from modemctl.service.recipients import ListFormat, Spooled, detect_encoding
from modemctl.service.workbooks import read_rows
from modemctl.store.sims import NewCard, Ownership

ValueT = TypeVar("ValueT")

MAX_CARDS: Final = 5_000
"""Cards of one list: they are written in one transaction."""
MAX_OCTETS: Final = 8 << 20
_SHEET_OCTETS: Final = 64 << 20  # of its rows: a small workbook can unfold to many
_DELIMITERS: Final = ",\t;|"

_HEADINGS: Final[Mapping[str, frozenset[str]]] = {
    "iccid": frozenset({"iccid", "icc", "simcardnumber", "卡号", "sim卡号", "iccid号", "卡片号"}),
    "number": frozenset(
        {"number", "phone", "phonenumber", "msisdn", "mobile", "手机号", "手机号码", "号码",
         "电话", "电话号码"}
    ),
    "holder": frozenset(
        {"holder", "user", "name", "持有人", "持卡人", "使用人", "领用人", "责任人", "姓名"}
    ),
    "identity": frozenset(
        {"identity", "identitynumber", "idnumber", "idcard", "身份证号", "身份证号码", "身份证",
         "公民身份号码", "持有人身份证号", "证件号", "证件号码"}
    ),
    "identity_kind": frozenset(
        {"identitykind", "idtype", "documenttype", "证件类型", "证件种类"}
    ),
    "department": frozenset({"department", "dept", "部门", "使用部门", "所属部门"}),
    "ownership": frozenset({"ownership", "归属", "权属", "所有权", "产权", "来源"}),
    "lessor": frozenset({"lessor", "出租方", "出租人", "租赁公司", "租赁方"}),
    "carrier": frozenset({"carrier", "operator", "network", "运营商"}),
    "group": frozenset({"group", "cardgroup", "卡组", "分组"}),
    "timezone": frozenset({"timezone", "tz", "时区"}),
    "verified": frozenset({"verified", "realname", "实名", "已实名", "实名认证", "实名核验"}),
    "verified_at": frozenset({"verifiedat", "verifieddate", "核验时间", "核验日期", "实名日期"}),
    "verified_by": frozenset({"verifiedby", "核验人", "实名核验人"}),
    "state": frozenset({"state", "status", "状态"}),
    "reserved": frozenset({"reserved", "dutyline", "保留", "专用", "值班线"}),
    "pin": frozenset({"pin", "pin1", "pincode", "pin码", "pin1码"}),
}  # fmt: skip
_PASSED_OVER: Final = frozenset({"imsi", "imsi号", "modem"})
"""What carriers' lists and the simulator's tell beside it: the card itself, and its bay, say so."""
_BY_HEADING: Final = {word: name for name, words in _HEADINGS.items() for word in words}
_STATES: Final = {
    **{state.value: state for state in CardState},
    "申请": CardState.REQUESTED, "待审": CardState.REQUESTED, "已审核": CardState.REVIEWED,
    "已批准": CardState.APPROVED, "已配置": CardState.PROVISIONED, "在库": CardState.PROVISIONED,
    "已发放": CardState.ISSUED, "在用": CardState.ISSUED, "使用中": CardState.ISSUED,
    "挂失": CardState.SUSPENDED_LOSS, "停机": CardState.SUSPENDED_ARREARS,
    "保号停机": CardState.SUSPENDED_PENALTY, "丢失": CardState.LOST, "损坏": CardState.DAMAGED,
    "已退回": CardState.RETURNED, "已归还": CardState.RETURNED, "已注销": CardState.CANCELLED,
}  # fmt: skip
_OWNERSHIPS: Final = {
    "owned": Ownership.OWNED, "own": Ownership.OWNED, "自有": Ownership.OWNED,
    "leased": Ownership.LEASED, "lease": Ownership.LEASED, "租赁": Ownership.LEASED,
    "租用": Ownership.LEASED,
}  # fmt: skip
_IDENTITY_KINDS: Final = {
    **{kind.value: kind for kind in IdentityKind},
    "身份证": IdentityKind.RESIDENT_ID, "居民身份证": IdentityKind.RESIDENT_ID,
    "护照": IdentityKind.PASSPORT, "港澳居民来往内地通行证": IdentityKind.HONG_KONG_MACAO_PERMIT,
    "台湾居民来往大陆通行证": IdentityKind.TAIWAN_PERMIT, "台胞证": IdentityKind.TAIWAN_PERMIT,
    "外国人永久居留身份证": IdentityKind.FOREIGN_PERMIT,
    "营业执照": IdentityKind.BUSINESS_LICENCE, "其他": IdentityKind.OTHER,
}  # fmt: skip
_YES: Final = frozenset({"yes", "y", "true", "1", "是", "已", "已实名", "√", "✓"})
_NO: Final = frozenset({"", "no", "n", "false", "0", "否", "未", "未实名", "×"})
_ICCID: Final = re.compile(r"89[0-9A-F]{16,20}")
_ROUNDED: Final = re.compile(r"[0-9](?:\.[0-9]*)?E\+?[0-9]+|[0-9]+\.[0-9]+|[0-9]{15}0{4,7}")
_PIN: Final = re.compile(r"[0-9]{4,8}")
_TEXT_MAX: Final = {"holder": 128, "department": 128, "lessor": 128, "carrier": 64, "group": 64}
_AS_TEXT: Final = "format the column as text and enter the number again"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineError:
    """What is wrong with a line; `line_no` 0 is the list as a whole. Never tells a PIN."""

    line_no: int
    field: str
    rule: str
    cure: str = ""
    policy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardLine:
    """One good line. `given`: the columns that it fills in."""

    line_no: int
    card: NewCard
    given: frozenset[str]
    pin: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How lines are read. `by` and `now` stand for who verified where the line only says yes."""

    numbers: NumberRules
    zone: tzinfo
    by: str
    now: datetime


class _Fault(Exception):
    def __init__(self, rule: str, cure: str = "", policy: str | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.cure = cure
        self.policy = policy


async def read_cards(
    source: Spooled, list_format: ListFormat, reading: Reading, *, encoding: str | None = None
) -> tuple[Sequence[CardLine], Sequence[LineError]]:
    """The good lines of a list, and all faults of the others.

    Raises:
        InvalidRequest: no list of this format at all.
    """
    if source.n_octets > MAX_OCTETS:
        raise InvalidRequest(f"a list of cards has at most {MAX_OCTETS} octets", cure="split it")
    if list_format is ListFormat.XLSX:
        rows = await _sheet_rows(source.path)
    elif list_format in {ListFormat.CSV, ListFormat.TXT}:  # "Unicode text" of Excel has tabs
        name = encoding
        if name is None:
            name = await asyncio.to_thread(detect_encoding, source.path)
        rows = await asyncio.to_thread(_csv_rows, source.path, name)
    else:
        raise InvalidRequest(
            "a list of cards is CSV, TXT or XLSX", field="format", value=list_format
        )
    return await asyncio.to_thread(_read_rows, rows, reading)


def _read_rows(
    rows: Sequence[tuple[int, Sequence[str]]], reading: Reading
) -> tuple[Sequence[CardLine], Sequence[LineError]]:
    filled = [(line_no, cells) for line_no, cells in rows if any(cell.strip() for cell in cells)]
    if not filled:
        raise InvalidRequest("the list is empty")
    if len(filled) - 1 > MAX_CARDS:
        raise InvalidRequest(f"a list has at most {MAX_CARDS} cards", cure="split it")
    names = _names(filled[0][1])
    lines: list[CardLine] = []
    errors: list[LineError] = []
    for line_no, cells in filled[1:]:
        row = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if name}
        line, faults = _Line(line_no, row, reading).read()
        errors += faults
        if line is not None:
            lines.append(line)
    errors += _repeated(lines)
    return lines, sorted(errors, key=lambda error: error.line_no)


def _names(cells: Sequence[str]) -> Sequence[str | None]:
    """Which column is what; none may be unknown: a misspelt PIN would be lost."""
    plain = [
        re.sub(r"[\s_\-()（）]", "", unicodedata.normalize("NFKC", cell)).casefold().strip("\ufeff")
        for cell in cells
    ]
    names = [_BY_HEADING.get(word) for word in plain]
    known = [name for name in names if name is not None]
    if "iccid" not in known:
        raise InvalidRequest(
            "the first line must name the columns, ICCID (卡号) among them", policy="SIM-01"
        )
    if len(set(known)) != len(known):
        raise InvalidRequest("the first line names a column twice")
    unknown = [
        cell.strip()
        for cell, word, name in zip(cells, plain, names, strict=True)
        if name is None and word not in _PASSED_OVER
    ]
    if odd := [word for word in unknown if word]:
        raise InvalidRequest(
            f"the first line names columns that are not known: {', '.join(odd)[:120]}",
            cure=f"known are: {', '.join(_HEADINGS)}",
        )
    return names


def _repeated(lines: Sequence[CardLine]) -> Iterator[LineError]:
    for name in ("iccid", "number"):
        first: dict[str, int] = {}
        for line in lines:
            value = line.card.iccid if name == "iccid" else line.card.number
            if value is None:
                continue
            if value in first:
                rule = f"stands in line {first[value]} already"
                yield LineError(line_no=line.line_no, field=name, rule=rule, policy="SIM-01")
            first.setdefault(value, line.line_no)


class _Line:
    """One row of cells on its way to a card; collects its faults."""

    def __init__(self, line_no: int, row: Mapping[str, str], reading: Reading) -> None:
        self._line_no = line_no
        self._row = row
        self._reading = reading
        self._errors: list[LineError] = []

    def read(self) -> tuple[CardLine | None, Sequence[LineError]]:
        """The line, or None and why not."""
        iccid = self._take("iccid", _iccid)
        number = self._take("number", self._number)
        pin = self._take("pin", _pin)
        identity = self._identity()
        state = self._take("state", _state) or CardState.PROVISIONED
        ownership = self._take("ownership", _ownership) or Ownership.OWNED
        is_reserved = self._take("reserved", _yes_or_no) or False
        verified_at = self._take("verified_at", self._moment)
        is_verified = self._take("verified", _yes_or_no)
        timezone = self._take("timezone", _zone)
        texts = {name: self._take(name, _text_within(n)) for name, n in _TEXT_MAX.items()}
        if is_verified and verified_at is None:
            verified_at = self._reading.now
        if is_verified is False:
            verified_at = None
        verified_by = self._row.get("verified_by", "")[:128] or self._reading.by
        self._require(state, ownership, texts)
        self._require_fit()
        if iccid is None or self._errors:
            return None, self._errors
        card = NewCard(
            iccid=Iccid(iccid),
            number=number,
            holder=texts["holder"],
            department=texts["department"],
            ownership=ownership,
            lessor=texts["lessor"],
            carrier=texts["carrier"],
            card_group=texts["group"],
            timezone=timezone,
            state=state,
            is_reserved=is_reserved,
            verified_at=verified_at,
            verified_by=None if verified_at is None else verified_by,
            identity=identity,
        )
        given = frozenset(name for name, cell in self._row.items() if cell)
        return CardLine(line_no=self._line_no, card=card, given=given, pin=pin), ()

    def _take(self, name: str, read: Callable[[str], ValueT]) -> ValueT | None:
        cell = self._row.get(name, "")
        if not cell and name != "iccid":
            return None
        try:
            return read(cell)
        except _Fault as fault:
            self._fault(name, fault)
            return None

    def _fault(self, name: str, fault: _Fault) -> None:
        self._errors.append(
            LineError(
                line_no=self._line_no,
                field=name,
                rule=fault.rule,
                cure=fault.cure,
                policy=fault.policy,
            )
        )

    def _require_fit(self) -> None:
        for name, cell in self._row.items():
            if rule := unfit(cell):
                self._fault(name, _Fault(rule, cure="write it again"))

    def _require(
        self, state: CardState, ownership: Ownership, texts: Mapping[str, str | None]
    ) -> None:
        """What the register wants of every card in use, or of a leased one (SIM-01, SIM-05)."""
        needed = ["holder", "department"] if state is CardState.ISSUED else []
        needed += ["lessor"] if ownership is Ownership.LEASED else []
        for name in needed:
            if texts[name] is None and not any(one.field == name for one in self._errors):
                what = "a leased card" if name == "lessor" else "an issued card"
                self._fault(name, _Fault(f"{what} needs one", policy="SIM-01"))

    def _identity(self) -> Identity | None:
        """The holder's document; without a kind it is a resident's identity card."""
        kind = self._take("identity_kind", _identity_kind)
        if not self._row.get("identity") or (kind is None and self._row.get("identity_kind")):
            return None
        read = partial(_document, kind or IdentityKind.RESIDENT_ID)
        return self._take("identity", read)

    def _number(self, cell: str) -> str:
        found = normalise(cell, self._reading.numbers)
        if isinstance(found, Rejection):
            raise _Fault(f"is not a mobile number: {found}", policy="SIM-01")
        return found

    def _moment(self, cell: str) -> datetime:
        try:
            moment = datetime.fromisoformat(cell.replace("/", "-"))
        except ValueError:
            raise _Fault("must be a date such as 2026-11-21", policy="SIM-04") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._reading.zone)
        if moment > self._reading.now:
            raise _Fault("lies in the future", policy="SIM-04")
        return moment.astimezone(UTC)


def _iccid(cell: str) -> str:
    text = re.sub(r"[\s\-]", "", unicodedata.normalize("NFKC", cell)).upper()
    if _ROUNDED.fullmatch(text):
        raise _Fault("was rounded by a spreadsheet: its last digits are gone", _AS_TEXT, "SIM-01")
    text = text.rstrip("F")  # the filler of an odd number of digits
    if not _ICCID.fullmatch(text):
        raise _Fault("must begin with 89 and have 18 to 22 digits", "see the print on the card")
    return text


def _identity_kind(cell: str) -> IdentityKind:
    kind = _IDENTITY_KINDS.get(cell.casefold().replace(" ", "_"))
    if kind is None:
        raise _Fault("is no kind of document", f"known are: {', '.join(IdentityKind)}", "SIM-04")
    return kind


def _document(kind: IdentityKind, cell: str) -> Identity:
    try:
        return read_identity(kind, cell)
    except NoIdentity as error:
        raise _Fault(error.rule, error.cure, "SIM-04") from None


def _pin(cell: str) -> str:
    if not _PIN.fullmatch(cell):
        cure = "a spreadsheet drops leading zeros: format the column as text"
        raise _Fault("must have 4 to 8 digits", cure, "SIM-06")
    return cell


def _state(cell: str) -> CardState:
    state = _STATES.get(cell.casefold().replace(" ", "_"))
    if state is None:
        raise _Fault("is no state of a card", f"known are: {', '.join(CardState)}", "SIM-02")
    return state


def _ownership(cell: str) -> Ownership:
    ownership = _OWNERSHIPS.get(cell.casefold())
    if ownership is None:
        raise _Fault("must be owned (自有) or leased (租赁)", policy="SIM-01")
    return ownership


def _zone(cell: str) -> str:
    if cell not in known_zones():
        raise _Fault("is not a known IANA time zone, such as Asia/Shanghai", policy="SIM-08")
    return cell


def _yes_or_no(cell: str) -> bool:
    word = cell.casefold()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise _Fault("must be yes (是) or no (否)")


def _text_within(n_chars: int) -> Callable[[str], str]:
    def read(cell: str) -> str:
        if len(cell) > n_chars:
            raise _Fault(f"has more than {n_chars} characters")
        return cell

    return read


def _csv_rows(path: Path, encoding: str) -> Sequence[tuple[int, Sequence[str]]]:
    try:
        with path.open(encoding=encoding, newline="", errors="strict") as text:
            head = text.readline()
            text.seek(0)
            delimiter = max(_DELIMITERS, key=head.count)
            records = csv.reader(text, delimiter=delimiter)
            return [(records.line_num, record) for record in records]
    except (csv.Error, ValueError, LookupError) as error:
        raise InvalidRequest("the list is no CSV in this encoding", field="encoding") from error


async def _sheet_rows(path: Path) -> Sequence[tuple[int, Sequence[str]]]:
    async with aclosing(read_rows(path, max_octets=_SHEET_OCTETS)) as rows:
        return [row async for row in rows]
