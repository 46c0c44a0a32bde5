"""Segments joined again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from modemctl.sms import (
    Address,
    Concat,
    Deliver,
    Part,
    PartKey,
    UserData,
    join,
    may_belong,
    missing,
    part_of,
)

KEY = PartKey(sender="+4917", reference=7, total=3, is_wide=False)


def part(sequence: int, text: str, ucs2: bytes = b"") -> Part:
    return Part(key=KEY, sequence=sequence, text=text, ucs2=ucs2)


def deliver(content: UserData) -> Deliver:
    return Deliver(sender=Address.dialled("+4917"), scts=None, user_data=content)


def test_parts_join_in_any_order() -> None:
    assert join([part(2, "b"), part(3, "c"), part(1, "a")]) == "abc"


def test_join_waits_for_every_part() -> None:
    assert join([]) is None
    assert join([part(1, "a"), part(3, "c")]) is None
    assert missing([part(1, "a"), part(3, "c")]) == (2,)
    assert missing([]) == ()
    assert missing([part(n, "x") for n in (1, 2, 3)]) == ()


def test_part_that_came_twice_counts_once() -> None:
    assert join([part(1, "a"), part(2, "b"), part(2, "b"), part(3, "c"), part(1, "z")]) == "abc"


def test_character_that_its_sender_cut_in_two_is_whole_again() -> None:
    halves = [b"\x00H\xd8\x3d", b"\xde\x00", b"\x00!"]
    parts = [part(n, half.decode("utf-16-be", "replace"), half) for n, half in enumerate(halves, 1)]

    assert join(parts) == "H😀!"


def test_parts_of_mixed_alphabets_join_by_their_texts() -> None:
    assert join([part(1, "a"), part(2, "я", b"\x04\x4f"), part(3, "c")]) == "aяc"


def test_deliver_of_a_longer_message_is_a_part() -> None:
    concat = Concat(reference=7, total=3, sequence=2)

    found = part_of(deliver(UserData(text="b", header=(concat.element,), ucs2=b"\x00b")))

    assert found == part(2, "b", b"\x00b")


def test_whole_message_and_octets_are_no_part() -> None:
    concat = Concat(reference=7, total=3, sequence=2)

    assert part_of(deliver(UserData(text="b"))) is None
    assert part_of(deliver(UserData(data=b"b", header=(concat.element,)))) is None


def test_width_of_the_reference_is_part_of_the_key() -> None:
    narrow = part_of(
        deliver(UserData(text="", header=(Concat(reference=7, total=2, sequence=1).element,)))
    )
    wide = part_of(
        deliver(
            UserData(
                text="", header=(Concat(reference=7, total=2, sequence=1, is_wide=True).element,)
            )
        )
    )

    assert narrow is not None
    assert wide is not None
    assert narrow.key != wide.key


def test_times_far_apart_are_two_messages() -> None:
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    limit = timedelta(minutes=30)

    assert may_belong(noon, noon + timedelta(minutes=30), within=limit)
    assert may_belong(noon + timedelta(minutes=5), noon, within=limit)
    assert not may_belong(noon, noon + timedelta(minutes=31), within=limit)
    assert may_belong(None, noon, within=limit)
    assert may_belong(noon, None, within=limit)


def test_neither_text_nor_sender_shows_in_a_repr() -> None:
    assert "Geheim" not in repr(part(1, "Geheim", b"Geheim"))
    assert "+4917" not in repr(part(1, "a"))
