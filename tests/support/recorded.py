"""A long session with a simulated modem, and all that may not be found in a recording of it."""

from dataclasses import dataclass, field
from pathlib import Path

from simulator import alphabet, pdu
from simulator.persona import PortRole
from simulator.phone import CallOutcome, CallPlan
from simulator.recording.reader import Reader
from simulator.recording.tape import Record, Sender
from tests.support.one_modem import OneModem

KEY = b"the same key in every run of the tests"
PIN = "73918264"
NEW_PIN = "58207139"
WRONG_PIN = "19463705"
FRIEND = "+8615967041382"
CALLER = "95583461"  # too short to be masked for its length alone
CENTRE = "+8613592770416"
GSM_TEXTS = (
    "Come alone to pier twelve, bring blueprints",
    "Transfer {700} to Wladimir at dawn tonight",
)
HAN_TEXTS = ("您的验证码是叁捌柒伍，切勿转发他人", "明晚九点老地方见面谈合同细节")
USSD_CODE = "*147258936#"
Traffic = list[tuple[int, Sender, bytes]]


@dataclass
class Wire:
    """Stands at the modem's port and keeps all that goes either way, with its time."""

    bench: OneModem
    traffic: Traffic = field(default_factory=list)

    def write(self, data: bytes) -> None:
        self.traffic.append((self._ms(), Sender.MODEM, data))

    def type(self, octets: bytes, wait: float = 0.0) -> None:
        self.traffic.append((self._ms(), Sender.HOST, octets))
        self.bench.modem.receive(octets)
        self.bench.clock.advance(wait)

    def line(self, *lines: str, wait: float = 0.3) -> None:
        for line in lines:
            self.type(line.encode("latin-1") + b"\r", wait)

    def submit(self, data: pdu.UserData, wait: float = 4.0) -> None:
        sent = pdu.Submit(
            first_octet=0x31 | 0x40 * data.has_header,
            mr=0,
            destination=pdu.address(FRIEND),
            pid=0,
            validity=b"\xa7",
            data=data,
        )
        tpdu = pdu.encode_submit(sent)
        self.line(f"AT+CMGS={len(tpdu)}")
        self.type((b"\x00" + tpdu).hex().upper().encode() + b"\x1a", wait)

    def _ms(self) -> int:
        began = self.bench.ledger_start
        return int(1000 * (self.bench.clock.now() - began).total_seconds())


class Session(OneModem):
    """One modem whose every octet is kept."""

    def __init__(self, folder: Path, persona: str) -> None:
        super().__init__(folder, persona, is_locked=True, echo=True, card_slots=30)
        self.ledger_start = self.clock.now()
        self.wire = Wire(self)
        self.card.pin = PIN
        self.modem.ports[PortRole.AT] = self.wire

    def secrets(self) -> dict[str, str]:
        """Every secret of the session by what it is."""
        card = self.card.subscription
        texts = enumerate((*GSM_TEXTS, *HAN_TEXTS))
        return {
            "PIN": PIN,
            "new PIN": NEW_PIN,
            "wrong PIN": WRONG_PIN,
            "PUK": card.puk,
            "IMSI": card.imsi,
            "ICCID": card.iccid,
            "IMEI": self.modem.imei,
            "own number": card.number[-8:],
            "friend": FRIEND[-8:],
            "caller": CALLER[-8:],
            "centre": CENTRE[-8:],
            "card's centre": card.service_centre[-8:],
            "USSD code": "147258936",
            **{f"text {number}": text for number, text in texts},
        }

    def play(self) -> Traffic:
        """Everything that a bank does with a modem, and its secrets with it."""
        wire = self.wire
        wire.type(b"AT\rAT\r")
        wire.line("ATI", "AT+CMEE=1", "AT+CGSN", "AT+CGSN=1", "AT+GSN", "AT+CGMI", "AT+CGMM")
        self._identify()
        wire.line("AT+CPIN?", f'AT+CPIN="{PIN}"', wait=6)
        wire.line("AT+CIMI", "AT+CNUM", "AT+CSCA?", "AT+COPS?", "AT+CRSM=176,28423,0,0,9")
        wire.line("AT+CRSM=178,28480,1,4,24", "AT+CRSM=178,28482,1,4,40", "AT+CLIP=1", "AT+CRC=1")
        self._identify()
        self._messages_in_pdu_mode()
        self._messages_in_text_mode()
        self._calls_and_ussd()
        self._lock_and_unlock()
        wire.line("ATE1", "AT+CMGF=0", f"AT+UNHEARDOF={FRIEND}", f'AT+NEWS="{GSM_TEXTS[0]}"')
        wire.type(f"{GSM_TEXTS[1]}\r".encode())
        return wire.traffic

    def _identify(self) -> None:
        self.wire.line(
            "AT+CCID", "AT+ICCID", "AT+CICCID", "AT+QCCID", "AT^ICCID?", "AT+ZICCID?", "AT#CCID",
            "AT!ICCID?", "AT^SCID", "AT+CRSM=176,12258,0,0,10", "AT#CIMI", "AT#CGSN", "AT+EGMR=0,7",
        )  # fmt: skip

    def _messages_in_pdu_mode(self) -> None:
        wire = self.wire
        wire.line("AT+CMGF=0", f'AT+CSCA="{CENTRE}"', "AT+CSCA?")
        wire.line("AT+CNMI=2,2,0,1,0", "AT+CNMI=1,2,0,1,0")
        for text in (*GSM_TEXTS, *HAN_TEXTS, GSM_TEXTS[0] * 6, HAN_TEXTS[1] * 8):
            for data in pdu.segments(text, reference=41):
                wire.submit(data)
            self.network.send_text(to=self.card, origin=FRIEND, text=text)
            self.clock.advance(5)
            wire.line("AT+CNMA", "AT+CNMA=0")
        wire.line("AT+CNMI=2,1,0,2,0", "AT+CNMI=1,1,0,2,0")
        for text in (*GSM_TEXTS, *HAN_TEXTS):
            self.network.send_text(to=self.card, origin=CALLER, text=text)
            self.clock.advance(5)
        wire.line("AT+CMGL=4", *(f"AT+CMGR={slot}" for slot in range(4)), wait=1)
        # Given up: the PDU is typed at the command line, and half of it into the prompt.
        hello = pdu.encode_submit(
            pdu.Submit(
                first_octet=1,
                mr=0,
                destination=pdu.address(FRIEND),
                pid=0,
                validity=b"",
                data=pdu.segments(GSM_TEXTS[0], reference=0)[0],
            )
        )
        wire.type(b"00" + hello.hex().encode() + b"\x1a")
        wire.line(f"AT+CMGS={len(hello)}")
        wire.type(b"00" + hello.hex().encode()[:60] + b"\x1b", 1)

    def _messages_in_text_mode(self) -> None:
        wire = self.wire
        wire.line("ATE0", "AT+CMGF=1", 'AT+CSCS="GSM"', "AT+CSDH=1")
        for echo in ("ATE0", "ATE1"):
            wire.line(echo, f'AT+CMGS="{FRIEND}"')
            wire.type(f"{GSM_TEXTS[0]}\r{GSM_TEXTS[1]}\x1a".encode(), 4)
        wire.line('AT+CMGL="ALL"', "AT+CMGR=0", "AT+CMGR=1", wait=1)
        self.network.send_text(to=self.card, origin=CALLER, text="\n".join(GSM_TEXTS))
        self.clock.advance(5)
        wire.line('AT+CMGL="ALL"', "AT+CNMI=2,2,0,0,0", "AT+CNMI=1,2,0,0,0", wait=1)
        self.network.send_text(to=self.card, origin=FRIEND, text="\n".join(GSM_TEXTS))
        self.network.send_text(to=self.card, origin=FRIEND, text=HAN_TEXTS[0])
        self.clock.advance(5)
        wire.line("AT+CNMA", 'AT+CSCS="UCS2"', "AT+CSCA?", "AT+CNUM")
        wire.line(f'AT+CMGS="{FRIEND.encode("utf-16-be").hex().upper()}"')
        wire.type(HAN_TEXTS[1].encode("utf-16-be").hex().encode() + b"\x1a", 4)
        wire.line('AT+CMGL="ALL"', 'AT+CSCS="IRA"', "AT+CMGF=0", "AT+CMGL=4", wait=1)

    def _calls_and_ussd(self) -> None:
        wire = self.wire
        plan = CallPlan(number=CALLER, outcome=CallOutcome.MISSED, rings=2, ring_seconds=1.0)
        wire.line("AT^DSCI=1", "AT+CLCC=1", "AT#ECAM=1", "AT^SLCC=1", "AT+COLP=1")
        self.modem.phone.ring(plan)
        self.clock.advance(0.5)
        wire.line("AT+CLCC")
        self.clock.advance(5)
        wire.line(f"ATD{FRIEND};", "AT+CLCC", "AT+VTS=7", "ATH", wait=2)
        packed = alphabet.pack(alphabet.to_septets(USSD_CODE)).hex().upper()
        ucs2 = USSD_CODE.encode("utf-16-be").hex().upper()
        wire.line(f'AT+CUSD=1,"{USSD_CODE}",15', f'AT+CUSD=1,"{packed}",15', wait=3)
        wire.line('AT+CSCS="UCS2"', f'AT+CUSD=1,"{ucs2}",15', 'AT+CSCS="IRA"', wait=3)
        wire.line('AT+CUSD=1,"*100#",15', f"ATD{USSD_CODE}", wait=3)

    def _lock_and_unlock(self) -> None:
        wire, puk = self.wire, self.card.subscription.puk
        wire.line(f'AT+CLCK="SC",0,"{PIN}"', f'AT+CLCK="SC",1,"{PIN}"', 'AT+CLCK="SC",2')
        wire.line(f'AT+CPWD="SC","{PIN}","{NEW_PIN}"', f'AT+CPWD="SC","{NEW_PIN}","{PIN}"')
        wire.line(*[f'AT+CLCK="SC",0,"{WRONG_PIN}"'] * 3, "AT+CPIN?")
        wire.line(f'AT+CPIN="{WRONG_PIN}","{NEW_PIN}"', f'AT+CPIN="{puk}","{NEW_PIN}"', wait=6)
        wire.line(f"AT+CPIN={NEW_PIN}", f"ATD**05*{puk}*{NEW_PIN}*{NEW_PIN}#;", "ATH")


def recorded(traffic: Traffic) -> list[Record]:
    """The records of what went by."""
    reader = Reader(KEY)
    found: list[Record] = []
    for ms, sender, data in traffic:
        found += reader.feed(sender, data, ms)
    return found + reader.close(traffic[-1][0])


def forms(secret: str) -> set[str]:
    """How a secret may stand in a file: itself, as hex, swapped, and packed at any bit, in part."""
    found = {secret, secret.encode("utf-16-be").hex(), secret.encode("utf-8").hex()}
    if secret.removeprefix("+").isalnum() and secret.isascii():
        for start in (0, 1):
            digits = secret.removeprefix("+")[start:]
            digits = digits[: len(digits) & ~1]
            found.add("".join(b + a for a, b in zip(digits[::2], digits[1::2], strict=True)))
    if alphabet.fits_gsm7(secret):
        stream = int.from_bytes(alphabet.pack(alphabet.to_septets(secret)), "little")
        size = (7 * len(alphabet.to_septets(secret)) + 7) // 8
        for shift in range(8):
            # The first and the last octet hold bits of what stands beside it.
            octets = (stream << shift).to_bytes(size + 1, "little")
            found.add(octets[1 : size - 1].hex())
    return {form.lower() for form in found if len(form) >= 7}
