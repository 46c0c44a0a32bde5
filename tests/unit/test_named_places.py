"""Links by path name a port for good; plain device files bear whatever number they have today."""

from pathlib import Path

from modemctl.fleet.discovery import named_places

LINK = "pci-0000:00:14.0-usb-0:1.3:1.2-port0"


def machine(root: Path, *, number: int) -> None:
    """A stick whose AT port has this number now, and the host's link to it."""
    (root / f"ttyUSB{number}").touch()
    folder = root / "serial/by-path"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LINK).unlink(missing_ok=True)
    (folder / LINK).symlink_to(f"../../ttyUSB{number}")


def test_link_by_path_is_the_same_bay_whatever_the_number_is(tmp_path: Path) -> None:
    pattern = f"{tmp_path}/serial/by-path/*:1.2-port0"
    machine(tmp_path, number=0)
    (before,) = named_places([pattern], {}).values()
    (tmp_path / "ttyUSB0").unlink()
    assert list(named_places([pattern], {}).values()) != [before], "its port is gone"
    machine(tmp_path, number=7)
    (after,) = named_places([pattern], {}).values()
    assert (before.bay, after.bay) == (LINK, LINK)
    assert after.addresses == (f"{tmp_path}/serial/by-path/{LINK}",)
    assert after.usb is None, "no hub is known: starts are not spread, no USB step is taken"


def test_plain_file_is_a_bay_under_its_number(tmp_path: Path) -> None:
    machine(tmp_path, number=0)
    assert set(named_places([f"{tmp_path}/ttyUSB*"], {})) == {"ttyUSB0"}
    (tmp_path / "ttyUSB0").unlink()
    machine(tmp_path, number=7)
    assert set(named_places([f"{tmp_path}/ttyUSB*"], {})) == {"ttyUSB7"}


def test_link_and_file_of_one_port_are_one_bay(tmp_path: Path) -> None:
    machine(tmp_path, number=0)
    patterns = [f"{tmp_path}/serial/by-path/*", f"{tmp_path}/ttyUSB*"]
    assert set(named_places(patterns, {})) == {LINK}
