"""What each data coding scheme octet says."""

from __future__ import annotations

import pytest

from modemctl.sms import (
    Alphabet,
    MessageWaiting,
    Unencodable,
    WaitingKind,
    dcs_for,
    decode_dcs,
)

GSM7, EIGHT, UCS2 = Alphabet.GSM7, Alphabet.EIGHT_BIT, Alphabet.UCS2


@pytest.mark.parametrize(
    ("dcs", "alphabet", "sms_class"),
    [
        (0x00, GSM7, None),
        (0x03, GSM7, None),
        (0x04, EIGHT, None),
        (0x08, UCS2, None),
        (0x10, GSM7, 0),
        (0x15, EIGHT, 1),
        (0x1A, UCS2, 2),
        (0x48, UCS2, None),
        (0x5B, UCS2, 3),
        (0xC8, GSM7, None),
        (0xD4, GSM7, None),
        (0xE0, UCS2, None),
        (0xEF, UCS2, None),
        (0xF0, GSM7, 0),
        (0xF3, GSM7, 3),
        (0xF4, EIGHT, 0),
        (0xF7, EIGHT, 3),
    ],
)
def test_alphabet_and_class(dcs: int, alphabet: Alphabet, sms_class: int | None) -> None:
    encoding = decode_dcs(dcs)

    assert (encoding.alphabet, encoding.sms_class) == (alphabet, sms_class)
    assert encoding.dcs == dcs
    assert not encoding.is_reserved


@pytest.mark.parametrize("dcs", [0x0C, 0x1F, 0x4C, 0x80, 0x8F, 0xBF, 0xF8, 0xFB, 0xFF])
def test_reserved_schemes_are_gsm7_and_marked(dcs: int) -> None:
    assert decode_dcs(dcs).alphabet is GSM7
    assert decode_dcs(dcs).is_reserved


def test_compression_and_auto_delete_are_bits_of_their_own() -> None:
    compressed = {dcs for dcs in range(256) if decode_dcs(dcs).is_compressed}
    deleted = {dcs for dcs in range(256) if decode_dcs(dcs).is_auto_delete}

    assert compressed == {*range(0x20, 0x40), *range(0x60, 0x80)}
    assert deleted == set(range(0x40, 0x80))


@pytest.mark.parametrize(
    ("dcs", "waiting"),
    [
        (0xC8, MessageWaiting(kind=WaitingKind.VOICEMAIL, is_active=True, is_stored=False)),
        (0xC1, MessageWaiting(kind=WaitingKind.FAX, is_active=False, is_stored=False)),
        (0xDA, MessageWaiting(kind=WaitingKind.EMAIL, is_active=True, is_stored=True)),
        (0xE3, MessageWaiting(kind=WaitingKind.OTHER, is_active=False, is_stored=True)),
        (0x00, None),
        (0xF0, None),
    ],
)
def test_message_waiting(dcs: int, waiting: MessageWaiting | None) -> None:
    assert decode_dcs(dcs).waiting == waiting


@pytest.mark.parametrize("alphabet", list(Alphabet))
@pytest.mark.parametrize("sms_class", [None, 0, 1, 2, 3])
def test_scheme_for_an_alphabet_and_class_says_both(
    alphabet: Alphabet, sms_class: int | None
) -> None:
    encoding = decode_dcs(dcs_for(alphabet, sms_class))

    assert (encoding.alphabet, encoding.sms_class) == (alphabet, sms_class)


@pytest.mark.parametrize("sms_class", [-1, 4])
def test_other_classes_are_refused(sms_class: int) -> None:
    with pytest.raises(Unencodable):
        dcs_for(GSM7, sms_class)
