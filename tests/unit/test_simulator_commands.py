"""Whatever a client types, a simulated modem answers it or asks for more; it never breaks."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import commands, persona
from tests.support.one_modem import HELLO, OneModem

# What stock clients send, in their order: at-dialects §6.1–6.7 (captures).
CLIENTS = {
    "gammu": "AT ATE1 AT+MODE=2 AT+CMEE=1 AT+CSCS? AT+CSCS=? AT+CSCS=\"HEX\" AT+CGMM AT+CGMI "
    "AT+CPROT=? AT+SYNCML=? AT$TSSPCSW=? AT+CHUP=? AT+CGMR AT+CFUN=1 AT+CGSN AT+CIMI AT+CSCA? "
    'AT+CMGF=0 AT+CPMS=? AT+CPMS="ME" AT+CPMS="SM","SM" AT+CMGL=4 AT+CNMI=? AT+CNMI=2,1,0,2,0 '
    "AT+CLIP=1 AT+CRC=1 AT+CCWA=1 AT+CUSD=1 AT+CPBS=? AT+CBC AT+CSQ AT+CREG=2 AT+CGREG=2 "
    "AT+CGATT? AT+CREG? AT+CGREG? AT+COPS=3,2 AT+COPS? AT+CMMS=2",
    "modemmanager": "ATE0 ATV1 AT+CMEE=1 ATX4 AT&C1 AT+GCAP AT+WS46=? AT+CSCS=? "
    'AT+CSCS="UCS2" AT+CSCS? AT+CGMI ATI AT*CNTI=2 AT+CGDCONT=? AT+CFUN? AT+CPIN? '
    'AT+CSIM=10,"0020000100" AT+CRSM=176,12258,0,0,10 AT+CIMI AT+CRSM=176,28589,0,0,4 '
    "AT+CRSM=176,28486,0,0,17 AT+CRSM=176,28599,0,0,15 AT+CPLS=0 AT+CPOL? AT+CNUM AT+CLCK=? "
    'AT+CLCK="SC",2 AT+CLCK="FD",2 AT+CEMODE? AT+CUSD=? AT+CNMI=? AT+CPMS=? AT+CPMS? AT+CTZU=1 '
    "AT+CCLK? AT+CESQ=? ATH AT+CLCC=? AT+IFC=? AT+IFC=2,2 AT+CIND=? AT+CMER=? AT+CGEREP=2 "
    'AT+CMGF=? AT+CPMS="SM","ME","ME" AT+CNMI=2,1,2,1,0 AT+CIND?',
    "ofono": 'AT+CSCS="GSM" AT+CBC AT+CNAP=1 AT+COLP=1 AT+CSSN=1,1 AT+VTD? AT+CLCC '
    "AT+CRSM=192,12258 AT+CPINR AT+CUAD AT+CSMS=? AT+CSMS=1 AT+CSMS? AT+CMGF=? AT+CGSMS=3 "
    "AT+CREG=? AT+CREG? AT+COPS=3,0 AT+COPS? AT+CSQ",
    "kannel": "AT ATZ AT&F ATE0 ATI AT+CSMS=? AT+IFC=2,2 AT+CPIN? AT+CSCA=\"+8613800100500\" "
    "AT+CMGF=0 AT+CSMS=1 AT+CNMI=1,2,0,1,0 AT+CPMS=\"SM\" AT+CMGR=1 AT+CMGD=1 AT+CNMA",
    "gsmmodem": "AT ATZ ATE0 AT+CFUN? AT+CLAC AT^CVOICE=? AT+VTS=? AT^DTMF=? AT^USSDMODE=? "
    "AT+WIND=? AT+ZPAS=? AT+CNUM=? AT+COPS=3,0 AT+CSMP=49,167,0,0 AT+CVHU=0 AT+CNMI=2,1,0,2",
    "smstools": "AT ATE0 AT+CMEE=1;+CREG=2 AT+CPIN? AT+CSQ AT+CREG? AT+CMGF=0 AT+CPMS? AT+CMGR=1",
}  # fmt: skip

_FINALS = ("OK", "ERROR", "COMMAND NOT SUPPORT")


def is_answered(said: str) -> bool:
    last = said.strip("\r\n").rpartition("\r\n")[2]
    # Wavecom's +CPIN? ends without a result.
    return last in _FINALS or last.startswith(("+CME ERROR: ", "+CMS ERROR: ", "+CPIN: "))


@pytest.mark.parametrize("name", persona.names())
@pytest.mark.parametrize("client", CLIENTS)
def test_every_line_of_a_stock_client_is_answered(tmp_path: Path, name: str, client: str) -> None:
    for is_locked in (True, False):
        folder = tmp_path / str(is_locked)
        folder.mkdir()
        bench = OneModem(folder, name, is_locked=is_locked)
        for line in CLIENTS[client].split(" "):
            said = bench.type(line.encode() + b"\r") + bench.wait(4)
            assert is_answered(said) or "\r\nOK\r\n" in said, (line, said)


@pytest.mark.parametrize("name", persona.names())
@settings(max_examples=60)
@given(data=st.data())
def test_no_command_with_any_parameters_breaks_the_modem(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    bench = OneModem(tmp_path_factory.mktemp("any"), name)
    known = sorted(commands.table(persona.load(name)))
    bench.network.send_text(to=bench.card, origin="10086", text="hi")
    for _ in range(data.draw(st.integers(1, 6))):
        command = data.draw(st.sampled_from(known))
        op = data.draw(st.sampled_from(["", "?", "=?", "="]))
        parameter = st.sampled_from(
            ["0", "1", "2", "3", "4", "5", "9", "255", '"SC"', '"SM"', '"ME"', '"1234"', '""', "",
             '"+8613900000001"', "x", "28480", "12258", "192", "24", '"*100#"', "15", "١", "²"]
        )  # fmt: skip
        text = ",".join(data.draw(st.lists(parameter, max_size=5))) if op in {"", "="} else ""
        bench.type(f"AT{command}{op}{text}\r".encode("latin-1", "replace"))
        bench.type(data.draw(st.sampled_from([b"", HELLO.encode() + b"\x1a", b"zz\x1a", b"\x1b"])))
        bench.wait(data.draw(st.sampled_from([0.0, 4.0, 40.0])))
    # Whatever came before: it can be brought back, and then it answers.
    bench.type(b"\x1b\r")
    bench.wait(200)
    bench.type(b"ATZ\r")
    bench.wait(10)
    assert bench.type(b"AT\r").endswith("\r\nOK\r\n")
    bench.ledger.close()
