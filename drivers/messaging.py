"""Messages in a modem: where they land, how they are announced, listed, read and deleted."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import deque
from collections.abc import Sequence

from drivers.at import storage, values
from drivers.at.channel import Channel
from drivers.at.command import asking, plain
from drivers.at.session import AnswerLine
from drivers.dialogue import Dialogue, setting
from drivers.errors import CommandError, ProtocolError
from drivers.family import SHOW_DIRECTLY, Family
from drivers.interface import Capabilities, EventSink, Identity, StoredMessage, UnknownUrc

_log = logging.getLogger(__name__)

N_READINGS = 3
"""Of a slot whose PDU is not as long as its header says."""

LIST_TIMEOUT = 120.0
"""Seconds for a storage of which nobody knows how much lies there. Source: ModemManager waits as
long, smstools3 for 60."""

_LIST_BASE = 30.0  # of an empty storage; most answer at once
_LIST_EACH = 1.0  # a message takes 0.4 s at 9600 bit/s, a slow card 0.5

_LISTED = {"SM", "ME", "SR"}
"""Memories that incoming messages and reports may land in (`MT` is both `SM` and `ME`)."""


class Messaging(Dialogue):
    """The part of a driver that arranges for messages and handles those that lie there."""

    def __init__(
        self, channel: Channel, identity: Identity, family: Family, sink: EventSink
    ) -> None:
        super().__init__(channel, identity, family, sink)
        self._capabilities = family.capabilities
        self._memories: tuple[str, ...] = family.memories
        self._n_arguments = 3  # of `+CPMS`
        self._may_select = True
        self._routes = deque(family.urc_routes)
        # Selecting a memory and acting on a slot of it are two commands that nothing may part:
        # a slot of another memory would be read, or deleted.
        self._storage = asyncio.Lock()

    @property
    def capabilities(self) -> Capabilities:
        """The family's row, corrected by what this modem refused."""
        return self._capabilities

    # ---- set-up

    async def configure_messaging(self) -> None:
        """Set PDU mode, storage, routing, and the URCs of registration and calls."""
        await self._run(plain("AT+CMGF=0", timeout=10.0))
        if not await self._is_in_pdu_mode():  # it would take a length for a number
            raise ProtocolError("it stays in text mode", "AT+CMGF?")
        await self._try(f"AT+CSMS={self._family.csms}")
        async with self._storage:
            await self._choose_memory()
        await self._route_messages()
        if not await self._try("AT+CREG=2"):
            await self._try("AT+CREG=1")
        for text in ("AT+COPS=3,2", "AT+CLIP=1", "AT+CRC=1"):
            await self._try(text)
        for alternatives in self._family.call_urcs:
            await self._try_first(alternatives)
        await self._bring_urcs_here()
        if self._family.capabilities.more_messages:
            keeps = await self._try("AT+CMMS=2")
            self._capabilities = dataclasses.replace(self._capabilities, more_messages=keeps)

    async def _bring_urcs_here(self) -> None:
        """Have unsolicited lines come to this port, by the first way that is accepted."""
        self._announcements.begin()
        for commands in list(self._routes):
            accepted = [await self._try(text) for text in commands]
            if all(accepted):
                return
            if len(self._routes) > 1:
                self._routes.popleft()

    async def _reroute(self) -> None:
        """The way in use brought no announcements: go on to the next; after the last, all again."""
        self._routes.popleft()
        if not self._routes:
            self._routes.extend(self._family.urc_routes)
        await self._bring_urcs_here()
        _log.warning(
            "driver.rerouted",
            extra={"model": self._identity.model, "by": "; ".join(self._routes[0])},
        )

    async def messaging_is_set(self) -> bool:
        """Compare `+CMGF?` and `+CNMI?` with what was set; what is not told counts as set.

        Where messages were found that nobody announced, their lines are fetched from where they
        go: by the family's next way.
        """
        if self._routing is None:
            return False
        if self._routes and self._announcements.are_missing(asyncio.get_running_loop().time()):
            await self._reroute()
        is_in_pdu_mode = await self._is_in_pdu_mode()
        kept = await self._kept_routing()
        return is_in_pdu_mode and self._routes_as_set(kept)

    def _routes_as_set(self, kept: list[str] | None) -> bool:
        # None where it told of a restart in the meantime.
        wanted = self._routing
        return wanted is not None and (kept is None or kept[:4] == wanted[:4])

    async def _is_in_pdu_mode(self) -> bool:
        told = await self._told("AT+CMGF?")
        return not told or values.answer_fields(told[0])[0] == "0"

    async def _choose_memory(self) -> None:
        """Let messages land in the first of the family's memories that the modem has."""
        self._may_select = True
        offered = await self._offered_memories()
        if offered and not any(offered):
            self._memory, self._memories = None, ()  # all is shown directly
            return
        self._n_arguments = len(offered) or 3
        wanted = [m for m in self._family.memories if not offered or m in offered[-1]]
        failure: CommandError | None = None
        for memory in wanted or list(self._family.memories):
            try:
                await self._run(setting(_cpms(memory, self._n_arguments), timeout=10.0))
            except CommandError as error:
                failure = error
            else:
                self._memory = memory
                readable = offered[0] if offered else self._family.memories
                others = [m for m in readable if m in _LISTED and m != memory]
                self._memories = (memory, *others)
                return
        assert failure is not None
        if offered or not failure.may_be_unknown:
            raise failure
        await self._take_what_is_there()

    async def _take_what_is_there(self) -> None:
        """It does not know `+CPMS`: what it lists, it stores in a memory of its own choice."""
        self._memory = self._family.memories[0]
        self._memories, self._may_select = (self._memory,), False
        try:
            await self._listed(self._memory)
        except CommandError as error:
            if not error.may_be_unknown:
                raise
            self._memory, self._memories = None, ()

    async def _offered_memories(self) -> list[tuple[str, ...]]:
        """The memories for each argument of `+CPMS`; old firmware lacks the test form: []."""
        told = await self._told("AT+CPMS=?")
        return storage.memories(told[0]) if told else []

    async def _has_no_storage(self) -> bool:
        offered = await self._offered_memories()
        return bool(offered) and not any(offered)

    async def _route_messages(self) -> None:
        """Set the first `+CNMI` that is accepted *and* kept: some firmware takes and ignores."""
        failure: CommandError | None = None
        for wanted in self._family.cnmi if self._memories else SHOW_DIRECTLY:
            try:
                await self._run(setting(f"AT+CNMI={wanted}", timeout=10.0))
            except CommandError as error:
                failure = error
                continue
            kept = await self._kept_routing()
            if kept is not None and kept[:4] != wanted.split(",")[:4]:
                continue
            self._keep_routing(wanted.split(","))
            return
        if failure is None:
            raise ProtocolError("no +CNMI value is kept", self._family.capabilities.family)
        kept = await self._kept_routing()
        is_routed = kept is not None and kept[1:2] in (["1"], ["2"], ["3"])
        if not failure.may_be_unknown or not (is_routed or self._memories):
            raise failure  # nothing that comes in would be seen
        self._keep_routing(kept or ["0"] * 5)

    def _keep_routing(self, routing: list[str]) -> None:
        """From now on messages take this way; without announcements the storage is looked into."""
        self._routing = routing
        if routing[1:2] == ["0"]:
            _log.warning("driver.no_announcements", extra={"model": self._identity.model})
        reports = routing[3:4] not in ([], ["0"])
        self._capabilities = dataclasses.replace(self._capabilities, reports=reports)

    async def _kept_routing(self) -> list[str] | None:
        told = await self._told("AT+CNMI?")
        return values.answer_fields(told[0]) if told else None

    # ---- storage

    async def list_messages(self) -> Sequence[StoredMessage]:
        """List every memory that messages may land in."""
        found: list[StoredMessage] = []
        async with self._storage:
            self._announcements.listing()
            for memory in self._memories:
                if await self._select(memory):
                    found += await self._listed(memory)
        statuses = [message.status for message in found]
        self._announcements.found(statuses, asyncio.get_running_loop().time())
        return found

    async def _listed(self, memory: str) -> list[StoredMessage]:
        timeout = await self._time_to_list(memory)
        command = asking("AT+CMGL=4", timeout=timeout, has_payload=True)
        found: list[StoredMessage] = []
        try:
            lines = (await self._run(command)).lines
        except CommandError as error:
            if _is_empty_slot(error):  # so some answer where nothing is stored
                return found
            raise
        for line in lines:
            index = values.integer(values.answer_fields(line.text)[0])
            if line.payload is not None and storage.is_whole(line.text, line.payload):
                found.append(storage.listed(memory, line.text, line.payload))
            elif index is not None:  # its PDU was garbled on the way: ask for it alone
                message = await self._read(memory, index)
                found += [] if message is None else [message]
        return found

    async def _time_to_list(self, memory: str) -> float:
        """Seconds that the list may take: by what lies there, for a lost answer costs them all."""
        try:
            answer = await self._run(asking("AT+CPMS?", timeout=10.0))
        except CommandError:
            return LIST_TIMEOUT
        n_used = storage.n_used(answer.lines[-1].text, memory) if answer.lines else None
        if n_used is None:
            return LIST_TIMEOUT
        return min(_LIST_BASE + _LIST_EACH * n_used, LIST_TIMEOUT)

    async def read_message(self, memory: str, index: int) -> StoredMessage | None:
        """Read one slot."""
        async with self._storage:
            await self._select(memory, is_needed=True)
            return await self._read(memory, index)

    async def _read(self, memory: str, index: int) -> StoredMessage | None:
        """Read one slot; what lost octets on the way is asked for again, it is deleted after."""
        readings: list[AnswerLine] = []
        for _ in range(N_READINGS):
            head = await self._read_once(index)
            if head is None:
                return None
            readings.append(head)
            if storage.is_whole(head.text, head.payload or ""):
                break
        else:
            if len({head.payload for head in readings}) > 1:
                raise ProtocolError("no two readings are alike", "+CMGR:")
            # Who says the same each time counts in another way.
        last = readings[-1]
        try:
            return storage.read(memory, index, last.text, last.payload or "")
        except ProtocolError:
            if storage.is_text(values.answer_fields(last.text)[0]):
                raise
            # What some modems store is no PDU and never will be: no reason to serve nobody.
            self._sink(UnknownUrc(line=f"<{memory} {index} holds no PDU>"))
            return None

    async def _read_once(self, index: int) -> AnswerLine | None:
        """The header and PDU of a slot; None where it is empty."""
        command = asking(f"AT+CMGR={int(index)}", timeout=10.0, has_payload=True)
        try:
            answer = await self._run(command)
        except CommandError as error:
            if _is_empty_slot(error):
                return None
            raise
        if not answer.lines:
            return None
        head = answer.lines[0]
        if head.payload is None and values.integer(values.answer_fields(head.text)[-1]) == 0:
            return None  # `+CMGR: 0,,0`
        return head

    async def delete_message(self, memory: str, index: int) -> None:
        """Delete one slot."""
        async with self._storage:
            await self._select(memory, is_needed=True)
            try:
                await self._run(plain(f"AT+CMGD={int(index)}", timeout=30.0))
            except CommandError as error:
                if not _is_empty_slot(error):
                    raise

    async def acknowledge(self) -> None:
        """Send `+CNMA` where the modem waits for it."""
        if self._family.csms == 0:
            return
        try:
            await self._run(plain("AT+CNMA", timeout=3.0))
        except CommandError as error:
            if error.cms != 340:
                raise

    async def _select(self, memory: str, *, is_needed: bool = False) -> bool:
        """Make `memory` the one that is read; false where an unneeded one is refused.

        One argument leaves alone where messages land. Where a modem wants all of them, only the
        memory that messages land in anyway can be read.
        """
        if self._memory == memory or not self._may_select:
            return True
        self._memory = None  # unknown, should the answer be lost
        lands_here = memory == self._memories[0]
        try:
            await self._run(setting(_cpms(memory, 1), timeout=10.0))
        except CommandError:
            if lands_here and await self._try(_cpms(memory, self._n_arguments)):
                self._memory = memory
                return True
            if is_needed or lands_here:
                raise
            return False
        self._memory = memory
        return True


def _cpms(memory: str, n_arguments: int) -> str:
    return "AT+CPMS=" + ",".join([f'"{memory}"'] * n_arguments)


def _is_empty_slot(error: CommandError) -> bool:
    return error.cms == 321 or error.cme in {21, 22}
