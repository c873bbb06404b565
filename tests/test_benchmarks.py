import subprocess
import sys
from pathlib import Path

RUNNER = Path(__file__).parents[1] / "benchmarks" / "run.py"


def test_one_command_measures_every_part_and_writes_the_page(tmp_path):
    out = tmp_path / "benchmarks.md"
    command = [sys.executable, str(RUNNER), "--tiny", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    text = out.read_text()
    for part in ("hand layer", "six transforms", "scores", "generator", "--help", "training loop"):
        assert part in text
