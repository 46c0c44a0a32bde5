"""When a message that was found lying is a sign that announcements go elsewhere."""

from __future__ import annotations

from drivers.announcements import PATIENCE, Announcements

UNREAD, READ = 0, 1
LATER = PATIENCE


def listed_once() -> Announcements:
    announcements = Announcements()
    announcements.begin()
    announcements.found([UNREAD], 0.0)
    return announcements


def test_messages_from_before_are_no_sign() -> None:
    assert not listed_once().are_missing(LATER)


def test_message_that_nobody_announces_is_a_sign_after_a_while() -> None:
    announcements = listed_once()
    announcements.found([READ, UNREAD], 1.0)
    assert not announcements.are_missing(1.0 + LATER - 0.1)
    assert announcements.are_missing(1.0 + LATER)
    announcements.found([UNREAD], 3.0)
    assert announcements.are_missing(1.0 + LATER)


def test_announced_message_is_none() -> None:
    announcements = listed_once()
    announcements.announced()
    announcements.found([UNREAD], 1.0)
    assert not announcements.are_missing(1.0 + LATER)


def test_announcement_that_overtakes_nothing_but_comes_late_is_none() -> None:
    announcements = listed_once()
    announcements.found([UNREAD], 1.0)
    announcements.announced()
    assert not announcements.are_missing(1.0 + LATER)


def test_message_that_is_read_already_is_none() -> None:
    announcements = listed_once()
    announcements.found([READ], 1.0)
    assert not announcements.are_missing(1.0 + LATER)


def test_new_routing_begins_anew() -> None:
    announcements = listed_once()
    announcements.found([UNREAD], 1.0)
    announcements.begin()
    assert not announcements.are_missing(1.0 + LATER)


def test_what_is_announced_during_a_list_may_be_in_the_next_one() -> None:
    announcements = listed_once()
    announcements.announced()
    announcements.listing()
    announcements.announced()  # of one that lies where was looked before
    announcements.found([UNREAD], 1.0)
    announcements.listing()
    announcements.found([UNREAD], 2.0)
    assert not announcements.are_missing(2.0 + LATER)
    announcements.listing()
    announcements.found([UNREAD], 9.0)
    assert announcements.are_missing(9.0 + LATER)


def test_announcement_before_a_list_that_failed_counts_for_the_next() -> None:
    announcements = listed_once()
    announcements.announced()
    announcements.listing()  # and no answer
    announcements.listing()
    announcements.found([UNREAD], 1.0)
    assert not announcements.are_missing(1.0 + LATER)
