"""Every bad input and fault that docs/reliability.md lists does what is said there."""

import importlib.util
import re
from pathlib import Path

import fault_datasets  # noqa: F401
import fault_runs  # noqa: F401
import fault_settings  # noqa: F401
import fault_training  # noqa: F401
import pytest
from faults import CASES, produce

from handlib import cli

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize("case", [case for case in CASES if not case.slow], ids=str)
def test_a_fault_is_told_and_loses_nothing(case):
    outcome = produce(case)
    assert outcome.happened == case.happens, outcome.message
    assert re.search(case.says, outcome.message), outcome.message
    assert outcome.lost.startswith("nothing"), outcome.lost


def test_the_page_lists_them_all():
    page = (REPOSITORY / "docs/reliability.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    listed = [row[0].removeprefix("| ") for row in rows]
    assert [case.what for case in CASES if case.what not in listed] == []
    assert len(CASES) >= 60
    assert "Traceback" not in page
    for number in ("damaged: 0", "mixed from two steps: 0", "finished ones lost: 0"):
        assert number in page


def test_a_case_that_goes_otherwise_is_noticed(tmp_path):
    """The harness itself: a traceback is no message, and files that change are a loss."""
    from faults import Case

    def raises(at):
        yield
        raise KeyError("hand")

    def loses(at):
        (at.folder / "work").write_text("finished")
        yield
        (at.folder / "work").unlink()

    make = {name: Case("", "", "", "", "", f, False) for name, f in vars_of(raises, loses)}
    with pytest.raises(KeyError):
        produce(make["raises"])
    assert produce(make["loses"]).lost == "changed: work"


def vars_of(*functions):
    return [(function.__name__, function) for function in functions]


def test_checkpoints_survive_kills(tmp_path):
    path = REPOSITORY / "benchmarks/kill_saving.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    counts = module.kill_saving(5, tmp_path)
    assert counts["kills"] == 5
    assert not counts["lost"] + counts["damaged"] + counts["mixed"]


def test_skip_bad_is_short_for_a_parameter():
    words = ["run", "04_evaluate", "--skip-bad", "-p", "samples", "3"]
    args = cli._parser().parse_args(cli._shielded(words))
    assert args.parameter == [("skip_bad", " True"), ["samples", " 3"]]
