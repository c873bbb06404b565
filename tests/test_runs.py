import json

import nbformat
import pytest

from handlib import cli, runs


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """Factory of small notebooks; runs go to a temporary MP_EXPERIMENTS."""
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "experiments"))

    def make(name, parameters, *cells):
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        book = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
        first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
        book.cells = [first, *(nbformat.v4.new_code_cell(c) for c in cells)]
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(book, path)
        return path

    return make


REPORT = (
    "from handlib import runs\nruns.report_results(run_dir, 'facts', {'lr': lr, 'steps': steps})"
)
PARAMETERS = "run_dir = ''\nlr = 1e-3\nsteps = 5\nflip = True\nname = 'x'"


def test_parameters_are_typed_by_their_defaults(notebook):
    path = notebook("n", PARAMETERS)
    given = {"lr": "1e-4", "steps": "7", "flip": "false", "name": "007"}
    assert runs.split_parameters([path], given)[path] == {
        "lr": 1e-4,
        "steps": 7,
        "flip": False,
        "name": "007",
    }
    assert runs.split_parameters([path], {"lr": "1"})[path] == {"lr": 1.0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step": "3"}, "did you mean 'steps'"),
        ({"steps": "many"}, "type int"),
        ({"steps": "1.5"}, "type int"),
        ({"lr": "fast"}, "type float"),
        ({"flip": "1"}, "type bool"),
        ({"run_dir": "x"}, "no parameter 'run_dir'"),
    ],
)
def test_unknown_or_ill_typed_parameters_are_refused(notebook, given, message):
    with pytest.raises(runs.RunError, match=message):
        runs.split_parameters([notebook("n", PARAMETERS)], given)


def test_derived_values_in_the_parameters_cell_are_refused(notebook):
    with pytest.raises(runs.RunError, match="plain literals"):
        runs.notebook_parameters(notebook("n", "steps = 2 * 3"))


def test_a_run_is_one_self_describing_folder(notebook, capsys):
    first, second = notebook("a", PARAMETERS, REPORT), notebook("b", PARAMETERS, "print(steps)")
    run_dir = runs.run_notebooks([first, second], {"steps": "7"})
    assert json.loads((run_dir / "metrics.json").read_text()) == {"facts": {"lr": 1e-3, "steps": 7}}
    described = json.loads((run_dir / "run.json").read_text())
    assert described["parameters"] == {"a": {"steps": 7}, "b": {"steps": 7}}
    assert described["versions"]["torch"]
    executed = nbformat.read(run_dir / "notebooks" / "b.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text == "7\n"
    assert "steps=7" in run_dir.name

    before = (run_dir / "metrics.json").stat().st_mtime_ns
    assert runs.run_notebooks([first, second], {"steps": "7"}) == run_dir
    assert "already finished" in capsys.readouterr().out
    assert (run_dir / "metrics.json").stat().st_mtime_ns == before
    assert runs.run_notebooks([first, second], {"steps": "8"}) != run_dir


def test_a_failed_run_names_cell_and_notebook_and_continues_after_repair(notebook, tmp_path):
    first = notebook("a", PARAMETERS, REPORT)
    flag = tmp_path / "repaired"
    second = notebook("b", PARAMETERS, f"assert open({str(flag)!r}).read() == 'yes'")
    with pytest.raises(runs.RunError, match=r"b failed in cell 3: FileNotFoundError") as caught:
        runs.run_notebooks([first, second])
    assert "notebooks/b.ipynb" in str(caught.value)
    run_dir = next((tmp_path / "experiments").iterdir())
    assert not (run_dir / "metrics.json").exists()
    executed = (run_dir / "notebooks" / "a.ipynb").stat().st_mtime_ns

    flag.write_text("yes")
    assert runs.run_notebooks([first, second]) == run_dir
    assert (run_dir / "notebooks" / "a.ipynb").stat().st_mtime_ns == executed
    assert (run_dir / "metrics.json").exists()


def test_command_line_errors_are_one_line(notebook, capsys):
    path = str(notebook("n", PARAMETERS))
    assert cli.main(["run", path, "-p", "stepz", "3"]) == 1
    assert "did you mean 'steps'" in capsys.readouterr().err
    assert cli.main(["run", "05_nothing"]) == 1
    assert "handlib's own are" in capsys.readouterr().err
    assert cli.main(["run", path, "-p", "steps", "3", "-p", "steps", "4"]) == 1
    assert "given twice" in capsys.readouterr().err


def test_handlibs_own_notebooks_have_parameters():
    for name in runs.WORKFLOW:
        defaults = runs.notebook_parameters(runs.notebook_path(name))
        assert "run_dir" in defaults
        assert "seed" in defaults


def test_new_run_folders_never_collide(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path))
    assert len({runs.open_run("", "02_train").path for _ in range(5)}) == 5
