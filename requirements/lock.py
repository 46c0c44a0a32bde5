"""Makes the hashed locks from pyproject.toml with uv, or checks that they are fresh.

Each lock begins with the SHA-256 of what it was made from, so that the check needs no network.
Usage: ./run lock [--upgrade] · ./run lock --check
"""

import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent / "pyproject.toml"
EXTRAS = ("--all-extras",)  # a wheelhouse serves sites with and without PostgreSQL
LOCKS = {
    "build.lock": ("--group", "build"),
    "runtime.lock": ("pyproject.toml", *EXTRAS),
    "dev.lock": ("pyproject.toml", *EXTRAS, "--group", "dev"),
}
COMPILE = (
    "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header",
    "--no-emit-index-url", "--python-version", "3.11",
)  # fmt: skip


def stamp(name: str) -> str:
    """The first line of a lock: what it was made from."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    inputs = {
        "how": LOCKS[name],
        "python": project["project"]["requires-python"],
        "dependencies": project["project"]["dependencies"],
        "extras": project["project"].get("optional-dependencies", {}),
        "groups": project["dependency-groups"],
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return f"# made by ./run lock; inputs sha256:{digest}\n"


def make(name: str, extra: list[str]) -> None:
    """Resolves one lock; versions that still fit are kept unless `--upgrade` is given."""
    lock = HERE / name
    command = [*COMPILE, *LOCKS[name], "--output-file", str(lock), *extra]
    subprocess.run(command, check=True, cwd=PROJECT.parent, stdout=subprocess.DEVNULL)
    lock.write_text(stamp(name) + lock.read_text(encoding="utf-8"), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    if "--check" not in arguments:
        for name in LOCKS:
            make(name, arguments)
        return 0
    stale = [
        name
        for name in LOCKS
        if not (HERE / name).read_text(encoding="utf-8").startswith(stamp(name))
    ]
    for name in stale:
        sys.stderr.write(f"requirements/{name} is older than pyproject.toml: run ./run lock\n")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
