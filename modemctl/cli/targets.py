"""Files that a command writes: new ones, refused before anything is asked of the daemon.

What is made once (an export's passphrase, a permit of two persons) is not lost to a full name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modemctl.cli.errors import Refusal

if TYPE_CHECKING:
    from click import Context, Parameter


class NewPath(click.Path):
    """The path of a file or folder that is not there yet, in a folder that is."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self, value: str | os.PathLike[str], param: Parameter | None, ctx: Context | None
    ) -> Path:
        """The path.

        Raises:
            Refusal: something is there, or it cannot be made.
        """
        del param, ctx
        path = Path(value)
        if os.path.lexists(path):
            raise Refusal(f"{path} exists already", cure="name a new one, or take it away first")
        if not path.parent.is_dir():
            raise Refusal(f"{path}: there is no folder {path.parent}", cure="make it first")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise Refusal(f"{path}: this user may not write into {path.parent}")
        return path
