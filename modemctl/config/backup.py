"""The settings of backups (SEC-07): where to, for whom, when, and how long they are kept."""

from datetime import time
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from modemctl.config.slices import Slice, Word

_SHORTEST_PLACE = 2  # `/` alone would allow everything


def _local(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("must be a local time such as 17:30")
    return value


def _place(value: Path) -> Path:
    if not value.is_absolute() or "\0" in str(value) or ".." in value.parts:
        raise ValueError("must be an absolute path")
    if len(value.parts) < _SHORTEST_PLACE:
        raise ValueError("must not be the root of all folders")
    return value


Place = Annotated[Path, AfterValidator(_place)]
Recipient = Annotated[str, StringConstraints(pattern=r"^age1[02-9ac-hj-np-z]{58}$")]
"""An age X25519 public key. Source: age-encryption.org/v1, Bech32."""


class BackupSettings(Slice):
    """Encrypted backups (SEC-07). Without `folder` and `recipients` none is made, and it alerts."""

    folder: str = Field(
        default="",
        description="Folder of the daily backup, on another disk than `paths.state_dir`; empty: "
        "none is made.",
    )
    recipients: tuple[Recipient, ...] = Field(
        default=(),
        description="age public keys (`age1…`) that backups are encrypted to; their secret keys "
        "are never on this server.",
    )
    allowed: tuple[Place, ...] = Field(
        default=(),
        description="Allow-list: `folder` and each medium must be one of these folders, or below "
        "one.",
    )
    media: dict[Word, Place] = Field(
        default_factory=dict,
        description="Label of each medium of the Friday copy → folder that it is mounted at.",
    )
    at: Annotated[time, AfterValidator(_local)] = Field(
        default=time(17, 0),
        description="When the daily backup begins, before closing; local time of the site.",
    )
    keep_days: int = Field(
        default=7, ge=1, le=3_650, description="Days of which the last backup is kept."
    )
    keep_weeks: int = Field(
        default=5, ge=0, le=520, description="Weeks of which the last backup is kept."
    )
    keep_months: int = Field(
        default=12, ge=0, le=240, description="Months of which the last backup is kept."
    )
    allow_same_disk: bool = Field(
        default=False,
        description="Take a target on the disk of `paths.state_dir` all the same: one broken disk "
        "then takes both.",
    )

    @field_validator("folder")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if value:
            _place(Path(value))
        return value

    @model_validator(mode="after")
    def _on_the_list(self) -> Self:
        named = {"folder": Path(self.folder)} if self.folder else {}
        named |= {f"media.{label}": place for label, place in self.media.items()}
        for key, place in named.items():
            if not any(place == one or one in place.parents for one in self.allowed):
                raise ValueError(f"{key} is {place}, which backup.allowed does not hold")
        if self.folder and not self.recipients:
            raise ValueError("folder without recipients: a backup is never written in clear")
        return self
