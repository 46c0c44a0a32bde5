"""Generated pages, locks, import contracts and the entry script say what the code says."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"house_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_fresh() -> None:
    pages = script(ROOT / "docs/generate.py").PAGES
    assert {"configuration.md", "metrics.md"} <= pages.keys()
    for name, make in pages.items():
        committed = (ROOT / "docs" / name).read_text(encoding="utf-8")
        assert committed == make(), f"docs/{name}: run ./run docs"


def test_every_setting_is_described() -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) >= 40
    for row in rows:
        assert all(cell.strip() not in {"", "None"} for cell in row.strip("|").split(" | ")), row


def test_locks_are_fresh_and_hashed_and_name_no_address() -> None:
    done = run(sys.executable, "requirements/lock.py", "--check")
    assert done.returncode == 0, done.stderr
    for lock in (ROOT / "requirements").glob("*.lock"):
        text = lock.read_text(encoding="utf-8")
        assert "://" not in text
        assert text.count("==") <= text.count("--hash=sha256:")


def test_a_changed_dependency_makes_the_locks_stale(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(project.replace('"rich>=15"', '"rich>=14"'))
    done = run(sys.executable, tmp_path / "requirements/lock.py", "--check")
    assert done.returncode == 1
    assert "requirements/runtime.lock is older than pyproject.toml" in done.stderr


@pytest.mark.parametrize("name", ["run", ".ci/run"])
def test_scripts_are_posix_shell(name: str) -> None:
    shell = shutil.which("dash") or "/bin/sh"
    done = run(shell, "-n", name)
    assert done.returncode == 0, done.stderr
    assert os.access(ROOT / name, os.X_OK)


def test_help_needs_no_set_up(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    done = run("./run", "--help", MODEMCTL_VENV=str(venv))
    assert done.returncode == 0
    assert "./run test [pytest args]" in done.stdout
    assert not venv.exists()


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    done = run("./run", "demo", MODEMCTL_VENV=str(tmp_path))
    assert done.returncode == 1
    assert "is no virtual environment" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_an_old_python_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    for name in ("python3.11", "python3.12", "python3.13", "python3.14"):
        (tmp_path / name).symlink_to(old)
    for name in ("dirname", "cat", "sha256sum", "cut", "sh"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    done = run(
        "/bin/sh", "run", "demo", PATH=str(tmp_path), MODEMCTL_VENV=str(tmp_path / "v"), PYTHON=""
    )
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed (Debian: apt install python3.11-venv)" in done.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("modemctl/newcomer.py", "", "floors of the controller"),
        ("modemctl/lifecycle.py", "import logging", "pure rooms"),
        ("drivers/at/values.py", "import drivers.at.wire", "pure rooms"),
        ("modemctl/model.py", "import modemctl.store", "floors of the controller"),
        ("api/newcomer.py", "import modemctl.store", "service is the only door"),
        ("drivers/newcomer.py", "import modemctl.errors", "drivers are a leaf"),
        ("simulator/newcomer.py", "import modemctl.errors", "the simulator shares no code"),
        ("modemctl/vault.py", "import simulator", "the product shares no code"),
        ("modemctl/vault.py", "import drivers.errors", "only the fleet speaks to modems"),
        ("modemctl/telemetry/newcomer.py", "import sqlite3", "only the store speaks SQL"),
    ],
)
def test_a_wrong_import_breaks_its_contract(
    tmp_path: Path, module: str, line: str, contract: str
) -> None:
    for package in ("modemctl", "drivers", "api", "simulator"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / module).open("a", encoding="utf-8") as source:
        source.write(f"\n{line}\n")
    lint = Path(sys.executable).with_name("lint-imports")
    done = run(lint, "--no-cache", cwd=tmp_path, PYTHONPATH=str(tmp_path), COLUMNS="200")
    assert done.returncode == 1
    broken = [text for text in done.stdout.splitlines() if " BROKEN" in text]
    assert any(contract in text for text in broken), done.stdout[-4000:]
    assert module.removesuffix(".py").replace("/", ".") in done.stdout


def test_wheel_holds_four_packages_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert packages == project["tool"]["importlinter"]["root_packages"]
    for package in packages:
        assert (ROOT / package / "py.typed").exists()
