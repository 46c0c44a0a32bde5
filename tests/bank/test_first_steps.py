"""The page for newcomers, typed as it stands into a shell: simulator, daemon and all."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "first-steps.md"
PATIENCE = 240.0


def test_the_first_steps_lead_to_a_bank_that_serves(tmp_path: Path) -> None:
    program = tmp_path / ".venv" / "bin" / "modemctl"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m modemctl "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    script = tmp_path / "typed.sh"
    begin = "set -em\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
    script.write_text(begin + "\n".join(blocks), encoding="utf-8")
    kept = {name: text for name, text in os.environ.items() if not name.startswith("MODEMCTL_")}
    done = subprocess.run(
        ["timeout", "200", "bash", script],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE,
        env={**kept, "PYTHONPATH": str(PAGE.parents[1])}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "8 cards: 8 locked" in done.stderr
    assert "尊敬的王芳：您的季度对账单已寄出。" in done.stdout
    assert "alarm=card_moved" in done.stdout
    assert "connection lost" in done.stdout
