"""The settings of what texts may say (SMS-08)."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, StringConstraints, field_validator

from modemctl.config.slices import Slice

_LINK: Final = re.compile(r"[^\s/?#@:]+\.[^\s/?#@:]+(/\S*)?")


class CustomerRegister(StrEnum):
    """Whether notices go to registered customers alone."""

    OFF = "off"
    ENFORCE = "enforce"


class ContentSettings(Slice):
    """What texts may say, beside the built-in rules."""

    lists: Path = Field(
        default=Path("/etc/modemctl/content.d"),
        description="Folder of the site's own lists of words and patterns, a TOML file each "
        "(`docs/content.md`); it need not exist.",
    )
    links: tuple[str, ...] = Field(
        default=(),
        description="Links that a text may hold: `example.cn` with all names below it, or one "
        "whole link such as `t.cn/Ab12`. Empty: none.",
    )
    test_numbers: tuple[Annotated[str, StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$")], ...] = (
        Field(
            default=(),
            description="Numbers of our own cards, such as `+8613800000001`, that tests of "
            "category `other` may write to (SMS-09); own cards are taken out of all other lists.",
        )
    )
    same_text_recipients: int = Field(
        default=2_000_000,
        ge=0,
        le=1_000_000_000,
        description="Recipients that one text may go to within `same_text_hours`, all batches "
        "together; 0: any number.",
    )
    same_text_hours: int = Field(
        default=24, ge=1, le=8_784, description="Hours in which the same text is counted."
    )

    customer_register: CustomerRegister = Field(
        default=CustomerRegister.OFF,
        description="`enforce`: a notice goes to the customers of its department alone, as "
        "`modemctl customer import` registered them (SMS-02). `off`: no register is asked.",
    )

    @field_validator("lists")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute() or "\0" in str(value):
            raise ValueError("must be an absolute path")
        return value

    @field_validator("links")
    @classmethod
    def _links(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for link in value:
            if not _LINK.fullmatch(link):
                raise ValueError("each link must be a name such as bank.cn, or one with its path")
        return value
