"""What a masked number or text still shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemctl.model import mask_number, mask_text


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+8613800135678", "+86138****5678"),
        ("13800135678", "138****5678"),
        ("10086", "*****"),
        ("", ""),
        ("13800138000 Wang Xiaomin 13800138110", "138******** **** ******* *********10"),
        ("138-0013-8000", "138-****-**00"),
        ("王小明13800138000", "************00"),
        ("张三", "**"),
        ("Li 13800138000", "** *********00"),
        ("１３８００１３８０００", "***********"),
    ],
)
def test_a_masked_number_shows_its_ends_only(number, shown):
    assert mask_number(number) == shown


@given(st.text(max_size=40))
def test_a_masked_text_shows_five_digits_and_no_letter(text):
    masked = mask_text(text)
    assert len(masked) == len(text)
    assert sum(char.isdigit() for char in masked) <= 5
    assert not any(char.isalpha() for char in masked)
    if len(text) < 8:
        assert not any(char.isalnum() for char in masked)
