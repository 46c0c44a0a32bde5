"""Child process: lets python-gammu decode and encode PDUs, one JSON object a line.

gammu is C code that reads hostile octets; a crash must cost this process, not the tests.
Lines in: {"pdu": hex} to decode, {"text": …, "unicode": bool} to encode into PDUs (SUBMIT).
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import gammu

# `EncodePDU` puts this before the TPDU: an SMSC field of one octet.
_SMSC_OF_NOTHING = bytes.fromhex("0181")


def decode(pdu: bytes) -> dict[str, object]:
    """What gammu reads, in plain words."""
    try:
        sms = gammu.DecodePDU(pdu, False)
    except gammu.GSMError as error:
        return {"error": str(error.args[0].get("Text"))}
    text = sms["Text"]
    udh = sms["UDH"]
    return {
        "number": sms["Number"],
        # Behind the first NUL stands memory that gammu never wrote.
        "text": None if isinstance(text, bytes) else text.split("\0")[0],
        "data": text.hex() if isinstance(text, bytes) else None,
        "type": sms["Type"],
        "coding": sms["Coding"],
        "class": sms["Class"],
        "mr": sms["MessageReference"],
        "st": sms["DeliveryStatus"],
        "reply": bool(sms["ReplyViaSameSMSC"]),
        "reject": bool(sms["RejectDuplicates"]),
        "validity": sms["SMSC"]["Validity"],
        "udh": udh["Text"].hex(),
        "udh_type": udh["Type"],
        "part": [udh["ID8bit"], udh["ID16bit"], udh["PartNumber"], udh["AllParts"]],
        "time": _time(sms["DateTime"]),
        "discharged": _time(sms["SMSCDateTime"]),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def encode(request: dict[str, Any]) -> dict[str, object]:
    """gammu's segments of a text as TPDUs."""
    info = {
        "Class": -1,
        "Unicode": request["unicode"],
        "Entries": [{"ID": "ConcatenatedTextLong", "Buffer": request["text"]}],
    }
    pdus = []
    for sms in gammu.EncodeSMS(info):
        sms["SMSC"] = {"Location": 1, "Number": ""}
        sms["Number"] = request["number"]
        sms["Type"] = request["type"]
        pdu = gammu.EncodePDU(sms, request["type"])
        pdus.append(pdu.hex())
    return {"pdus": pdus}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        answer = decode(bytes.fromhex(request["pdu"])) if "pdu" in request else encode(request)
        sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
