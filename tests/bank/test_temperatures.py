"""Simulated models that have a sensor tell their temperature to the product's drivers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulator import persona
from tests.support.models import EVERY
from tests.support.rigs import Rig, RigBank
from tests.support.simulated import BankProcess

TOLD: dict[str, int | None] = {
    "quectel": 31,
    "ec20": 36,
    "eg06": 41,  # of three sensors, one of which is not there
    "sim7600": 29,
    "e3372": 32,  # tenths, and one sensor that is not there
    "le910": 25,  # behind the level of an alarm
    "m35": None,
    "simcom": None,
    "huawei": None,
    "sara": None,
}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigBank]:
    flags = ("--persona", ",".join(TOLD), "--modems", str(len(TOLD)))
    with BankProcess(tmp_path_factory.mktemp("bank"), *flags) as process:
        yield RigBank(process, {model: EVERY[model] for model in TOLD})


async def test_who_has_a_sensor_tells_it_and_who_has_none_is_asked_once(bank: RigBank) -> None:
    told: dict[str, list[int | None]] = {}

    async def body(rig: Rig) -> None:
        await rig.driver.initialise()
        first, n_answers = await rig.driver.temperature_c(), rig.driver.n_answers
        told[rig.driver.identity.model] = [first, await rig.driver.temperature_c()]
        assert rig.driver.n_answers - n_answers == (first is not None)

    await bank.for_each(body)
    models = {persona.load(name).model: degrees for name, degrees in TOLD.items()}
    assert told == {model: [degrees] * 2 for model, degrees in models.items()}
