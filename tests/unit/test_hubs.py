"""The blast radius: nobody pulls a hub from under a segment in flight."""

import asyncio

import pytest

from modemctl.fleet.hubs import HubBusy, Hubs, is_below
from modemctl.model import Bay

SICK, WELL, FAR, LOWER = Bay("sick"), Bay("well"), Bay("far"), Bay("lower")


def hubs() -> Hubs:
    found = Hubs()
    for bay, hub in ((SICK, "1-1"), (WELL, "1-1"), (FAR, "1-2"), (LOWER, "1-1.4")):
        found.settle(bay, hub)
    return found


@pytest.mark.parametrize(
    ("hub", "other", "expected"),
    [
        ("1-1", "1-1", True),
        ("1-1.4", "1-1", True),
        ("1-1", "1-1.4", False),
        ("1-12", "1-1", False),
        ("1-1", "usb1", True),
        ("usb1", "usb1", True),
        ("2-1", "usb1", False),
        ("11-1", "usb1", False),
    ],
)
def test_hubs_hang_below_each_other_as_the_kernel_names_them(hub, other, expected):
    assert is_below(hub, other) is expected


@pytest.mark.parametrize("sibling", [WELL, LOWER])
async def test_a_step_is_refused_while_a_sibling_has_a_segment_in_flight(sibling):
    found = hubs()
    async with found.flight(sibling):
        with pytest.raises(HubBusy, match=f"bay {sibling} has a segment in flight"):
            async with found.shaking(SICK, "1-1", patience=0.05):
                pytest.fail("it was shaken")
    async with found.shaking(SICK, "1-1", patience=0.05):
        pass


async def test_other_hubs_and_the_sick_bay_itself_hold_up_nothing():
    found = hubs()
    async with found.flight(FAR), found.flight(SICK), found.shaking(SICK, "1-1", patience=0.05):
        pass


async def test_a_step_waits_for_the_end_of_a_siblings_segment():
    found, acts = hubs(), []

    async def shake() -> None:
        async with found.shaking(SICK, "1-1", patience=10):
            acts.append("shaken")

    async with asyncio.TaskGroup() as group, found.flight(WELL):
        group.create_task(shake())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        acts.append("landed")
    assert acts == ["landed", "shaken"]


async def test_siblings_that_send_without_a_pause_let_a_step_in_before_its_patience_ends():
    """Two by turns: there is no instant at which neither has a segment in flight."""
    found, has_shaken = hubs(), False

    async def send(bay: Bay) -> None:
        while not has_shaken:
            async with found.flight(bay):
                await asyncio.sleep(0.03)

    async with asyncio.TaskGroup() as group:
        group.create_task(send(WELL))
        await asyncio.sleep(0.01)
        group.create_task(send(LOWER))
        await asyncio.sleep(0)
        try:
            async with found.shaking(SICK, "1-1", patience=1):
                pass
        finally:
            has_shaken = True


async def test_a_step_that_had_to_be_given_up_holds_up_nobody_any_more():
    found = hubs()
    async with found.flight(WELL):
        with pytest.raises(HubBusy):
            async with found.shaking(SICK, "1-1", patience=0.05):
                pytest.fail("it was shaken")
        async with asyncio.timeout(5), found.flight(LOWER):
            pass


async def test_no_segment_begins_on_a_hub_that_is_being_shaken_others_go_on():
    found, acts = hubs(), []

    async def fly(bay: Bay) -> None:
        async with found.flight(bay):
            acts.append(bay)

    async with asyncio.TaskGroup() as group, found.shaking(SICK, "1-1", patience=1):
        for bay in (WELL, LOWER, FAR, Bay("on no hub")):
            group.create_task(fly(bay))
        for _ in range(5):
            await asyncio.sleep(0)
        assert acts == [FAR, "on no hub"]
        acts.append("calm")
    assert acts[:3] == [FAR, "on no hub", "calm"]
    assert sorted(acts[3:]) == [LOWER, WELL]


async def test_two_steps_never_shake_one_hub_together():
    found = hubs()
    async with found.shaking(SICK, "1-1", patience=1):
        with pytest.raises(HubBusy, match="being shaken"):
            async with found.shaking(LOWER, "1-1.4", patience=0.05):
                pytest.fail("both at once")


async def test_a_bay_that_left_its_hub_disturbs_nobody():
    found = hubs()
    async with found.flight(WELL):
        found.settle(WELL, None)
        async with found.shaking(SICK, "1-1", patience=0.05):
            pass
