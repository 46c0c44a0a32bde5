"""How warm modems say they are: the answers of four vendors, and nonsense."""

import pytest

from drivers.at.temperatures import (
    HUAWEI_TEMPERATURE,
    QUECTEL_TEMPERATURE,
    SIMCOM_TEMPERATURE,
    TELIT_TEMPERATURE,
    TemperatureQuery,
)


@pytest.mark.parametrize(
    ("query", "lines", "expected"),
    [
        (QUECTEL_TEMPERATURE, ["+QTEMP: 31,27,28"], 31),  # EC25: baseband, crystal, amplifier
        (QUECTEL_TEMPERATURE, ['+QTEMP: "qfe_wtr_pa0","-273"', '+QTEMP: "soc-thermal","41"'], 41),
        (QUECTEL_TEMPERATURE, ["+QTEMP: -12,-9,-10"], -9),
        (SIMCOM_TEMPERATURE, ["+CPMUTEMP: 29"], 29),
        (HUAWEI_TEMPERATURE, ["^CHIPTEMP: 310,325,310,280,65535"], 32),
        (HUAWEI_TEMPERATURE, ["^CHIPTEMP: 65535,65535,65535,65535,65535"], None),
        (TELIT_TEMPERATURE, ["#TEMPMEAS: 2,71"], 71),
        (TELIT_TEMPERATURE, ["#TEMPMEAS: -1,-32"], -32),
        (TELIT_TEMPERATURE, ["#TEMPMEAS: 0"], None),
        (QUECTEL_TEMPERATURE, ['+QTEMP: "cpuss-0",46', '+QTEMP: "pmic-0",255'], 46),
        (HUAWEI_TEMPERATURE, ["^CHIPTEMP: 408,405,400,410,390,390,410,410,410,420,400"], 42),
        (TELIT_TEMPERATURE, ["#TEMPMEAS: 0,9999"], None),
        (SIMCOM_TEMPERATURE, ["+CPMUTEMP: "], None),
        (SIMCOM_TEMPERATURE, ["garbage"], None),
    ],
)
def test_the_warmest_plausible_sensor_counts(
    query: TemperatureQuery, lines: list[str], expected: int | None
) -> None:
    assert query.read(lines) == expected
