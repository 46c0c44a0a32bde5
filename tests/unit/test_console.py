"""What may be typed at a modem: reading alone, nothing personal, nothing around a gate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemctl.policy.console import is_reading


@pytest.mark.parametrize(
    "command",
    ["AT", "ATI", "ATI9", "AT&V", "AT+CSQ", "AT+CGMM", "AT+CREG?", "AT+CMGF=?", "AT^HCSQ?",
     "AT^SYSINFOEX", "AT+QNWINFO", "AT+CPIN?", "AT$QCRMCALL?"],
)  # fmt: skip
def test_reading_is_allowed(command):
    assert is_reading(command)


@pytest.mark.parametrize(
    "command",
    [
        "", "A/", "ATD10086;", "ATA", "ATH", "ATZ", "AT&F", "ATE0", "ATO", "at+csq",
        "AT+CMGS=20", "AT+CMGW=20", "AT+CMSS=1", "AT+CMGC=5", "AT+CNMA", "AT+CMGD=1,4",
        "AT+CMGR=1", "AT+CMGL=4", "AT+CMGL", "AT+CMGL?", "AT+CIMI", "AT+CNUM", "AT+CLCC",
        "AT+CPBR=1,10", "AT+CCFC=0,2",
        'AT+CPIN="1234"', 'AT+CLCK="SC",0,"1234"', "AT+CPWD", "AT+CSIM=10,\"0020000108\"",
        "AT+CRSM=176,28542", 'AT+EGMR=1,7,"123456789012345"', "AT+SIMEI=123456789012345",
        "AT+CFUN=0", "AT+CUSD=1,\"*100#\"", "AT+COPS=?", "AT+COPS=2", "AT+CMUX=0",
        "AT+CSQ;+CMGS=20", "AT+CSQ\rAT+CMGS=20", "AT+CSQ\x1a", "AT+CSQ ", "AT+CREG?\n",
        "AT+CREG?;D10086;",
    ],
)  # fmt: skip
def test_all_else_is_not(command):
    assert not is_reading(command)


@given(st.text(alphabet='AT+^=?;,"CMGSD0123456789\r\x1a ', max_size=20))
def test_nothing_with_a_value_or_a_second_command_passes(command):
    if is_reading(command):
        assert ";" not in command
        assert "," not in command
        assert '"' not in command
        assert "\r" not in command
        assert not ("=" in command and not command.endswith("=?"))
