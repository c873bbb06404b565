import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from launched import write_notebook

from handlib import cli, description, notebooks, runs
from handlib.checkpoints import weights_folder
from handlib.description import describe
from handlib.paths import SHIPPED, run_path
from handlib.state import alone_in


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


REPORT = "from handlib.runs import Run\nRun(run_dir).report('facts', {'lr': lr, 'steps': steps})"
PARAMETERS = "run_dir = ''\nlr = 1e-3\nsteps = 5\nflip = True\nname = 'x'\nsizes = [1]\nany = None"


def test_parameters_are_typed_by_their_defaults(notebook):
    path = notebook("n", PARAMETERS)
    given = {"lr": "1e-4", "steps": "7", "flip": "False", "name": "007"}
    assert runs.split_parameters([path], given)[path] == {
        "lr": 1e-4,
        "steps": 7,
        "flip": False,
        "name": "007",
    }
    for name, text, value in [
        ("lr", "1", 1.0),
        ("lr", "-1e-3", -1e-3),
        ("flip", "true", True),
        ("sizes", "[1, 2]", [1, 2]),
        ("sizes", "['a']", ["a"]),
        ("any", "null", None),
        ("any", "words", "words"),
        ("name", Path("a"), "a"),
    ]:
        assert runs.split_parameters([path], {name: text})[path] == {name: value}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step": "3"}, "did you mean 'steps'"),
        ({"steps": "many"}, "type int"),
        ({"steps": "1.5"}, "type int"),
        ({"lr": "fast"}, "type float"),
        ({"flip": "1"}, "type bool"),
        ({"steps": 1.5}, "type int"),
        ({"sizes": "3"}, "type list"),
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

    assert runs.run_notebooks([first, second], {"steps": "7"}) == run_dir
    said = capsys.readouterr().out
    assert "finished before;" in said and "weights" not in said
    assert runs.run_notebooks([first, second], {"steps": "8"}) != run_dir


def test_a_finished_run_whose_metrics_are_damaged_collects_them_anew(notebook, capsys):
    path = notebook("a", PARAMETERS, REPORT)
    metrics = runs.run_notebooks([path]) / "metrics.json"
    whole = metrics.read_text()
    metrics.write_text(whole[:20])
    assert cli.main(["run", str(path)]) == 0
    assert "a: done before" in capsys.readouterr().out and metrics.read_text() == whole


def test_a_stop_that_comes_too_late_leaves_no_file_in_a_finished_run(notebook):
    path = notebook("a", PARAMETERS, "from pathlib import Path\nPath(run_dir, 'STOP').touch()")
    run_dir = runs.run_notebooks([path])
    assert (run_dir / "metrics.json").exists() and not (run_dir / "STOP").exists()


def test_a_finished_run_whose_weights_are_gone_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path))
    planned = runs.plan(["02_train"], name="old")
    describe(planned.run.path, planned.parameters)
    for file in (*planned.outputs, planned.run.path / "metrics.json"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("{}")
    assert runs.run_notebooks(["02_train"], name="old") == planned.run.path
    assert "finished before, but its weights are gone; to make it anew" in capsys.readouterr().out


def test_warnings_are_shown_as_sentences(notebook):
    cells = ("import warnings\nwarnings.warn('no <hand>')", "warnings.warn('old', FutureWarning)")
    page = (runs.run_notebooks([notebook("n", "run_dir = ''", *cells)]) / "report.html").read_text()
    assert '<pre class="text">warning: no &lt;hand&gt;</pre>' in page
    assert re.search(r":1: FutureWarning: old", page)


def test_a_failed_run_names_cell_and_notebook_and_continues_after_repair(notebook, tmp_path):
    first = notebook("a", PARAMETERS, REPORT)
    flag = tmp_path / "repaired"
    second = notebook("b", PARAMETERS, f"assert open({str(flag)!r}).read() == 'yes'")
    with pytest.raises(runs.RunError, match=r"b failed in cell 3: FileNotFoundError") as caught:
        runs.run_notebooks([first, second])
    assert "notebooks/b.partial.ipynb" in str(caught.value)
    run_dir = next((tmp_path / "experiments").iterdir())
    report = (run_dir / "report.html").read_text()
    assert "FileNotFoundError" in report and 'id="a"' in report and 'id="b"' in report
    assert not (run_dir / "metrics.json").exists()
    executed = (run_dir / "notebooks" / "a.ipynb").stat().st_mtime_ns

    flag.write_text("yes")
    assert runs.run_notebooks([first, second]) == run_dir
    assert (run_dir / "notebooks" / "a.ipynb").stat().st_mtime_ns == executed
    assert (run_dir / "metrics.json").exists()


def test_a_killed_kernel_is_no_finished_notebook(notebook, tmp_path):
    flag = tmp_path / "enough memory"
    kill = f"import os\nif not os.path.exists({str(flag)!r}): os.kill(os.getpid(), 9)"
    path = notebook("café two", PARAMETERS, kill, REPORT)
    with pytest.raises(runs.RunError, match=r"was killed \(is there enough memory"):
        runs.run_notebooks([path])
    flag.touch()
    run_dir = runs.run_notebooks([path])
    assert json.loads((run_dir / "metrics.json").read_text())["facts"]["steps"] == 5
    assert [p.name for p in (run_dir / "notebooks").iterdir()] == ["café two.ipynb"]


def test_a_named_run_takes_more_notebooks_but_no_other_settings(notebook, monkeypatch):
    first, second = notebook("a", PARAMETERS), notebook("b", PARAMETERS, REPORT)
    run_dir = runs.run_notebooks([first], {"steps": 6}, "mine")
    with pytest.raises(runs.RunError, match=r"other settings of a: .*'steps': 6.*'steps': 7") as no:
        runs.run_notebooks([first], {"steps": 7}, "mine")
    assert "-p init" not in str(no.value)
    (run_dir / "model.safetensors").touch()
    with pytest.raises(runs.RunError, match="can begin with this one's weights: -p init mine"):
        runs.run_notebooks([first], {"steps": 7}, "mine")
    assert runs.run_notebooks([second], {"steps": 8}, "mine") == run_dir
    assert json.loads((run_dir / "metrics.json").read_text())["facts"]["steps"] == 8
    described = json.loads((run_dir / "run.json").read_text())
    assert described["parameters"] == {"a": {"steps": 6}, "b": {"steps": 8}}
    monkeypatch.setenv("MP_DATA", "elsewhere")
    with pytest.raises(runs.RunError, match="other settings of the environment"):
        runs.run_notebooks([first], {"steps": 6}, "mine")


def test_data_in_the_checkout_does_not_fill_a_description(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setattr(description, "PACKAGE", tmp_path / "handlib")
    (run := tmp_path / "run").mkdir()
    for name in ("a/1.jpg", "a/é.py", "handlib/new.py", *(f"b/{i}.ipynb" for i in range(60))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    description.describe(run, {})
    told = json.loads((run / "run.json").read_text())["untracked"].splitlines()
    assert told[:2] == ["handlib/new.py", "a/é.py"] and told[-1] == "and 13 other files"
    assert len(told) == 51


def test_a_run_folder_takes_one_process_at_a_time(notebook):
    path = notebook("a", PARAMETERS)
    with (
        alone_in(runs.Run(runs.runs_root() / "mine").path),
        pytest.raises(runs.RunError, match="another process is working in"),
    ):
        runs.run_notebooks([path], name="mine")


def test_names_that_would_collide_or_leave_the_folder_are_refused(notebook, tmp_path):
    path = notebook("a", PARAMETERS)
    with pytest.raises(runs.RunError, match="names of their own"):
        runs.run_notebooks([path, path])
    with pytest.raises(runs.RunError, match="name of a folder"):
        runs.run_notebooks([path], name="../b")
    with pytest.raises(runs.RunError, match="name of a folder"):
        runs.run_notebooks([path], name="..")


def test_an_interrupt_that_was_lost_is_repeated():
    """Python reports what is raised in a finalizer, and goes on."""
    before = signal.getsignal(signal.SIGINT)
    swallowed = []
    with pytest.raises(KeyboardInterrupt), notebooks._insistent_interrupts(again_s=0.05):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            swallowed.append(1)
        time.sleep(10)
    assert swallowed
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_is_not_repeated_beyond_the_notebook():
    with pytest.raises(KeyboardInterrupt), notebooks._insistent_interrupts(again_s=0.05):
        signal.raise_signal(signal.SIGINT)
    time.sleep(0.2)


def test_ctrl_c_leaves_one_line_and_no_kernel(notebook, tmp_path):
    beat = "import os, time\nprint('kernel', os.getpid(), flush=True)\ntime.sleep(60)"
    path = notebook("a", PARAMETERS, beat)
    command = [sys.executable, "-m", "handlib.cli", "run", str(path), "--name", "stopped"]
    # A long TMPDIR: the names of Unix sockets are limited to a hundred letters.
    long = tmp_path / ("long" * 20)
    long.mkdir()
    process = subprocess.Popen(
        command, stdout=-1, stderr=-1, text=True, env=os.environ | {"TMPDIR": str(long)}
    )
    heard = next(line for line in process.stdout if line.startswith("kernel"))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "\nhandlib: interrupted; the same command goes on from here\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int(heard.split()[1]), 0)
    written = [p.name for p in (tmp_path / "experiments/stopped/notebooks").iterdir()]
    assert written == ["a.partial.ipynb"]


def test_command_line_errors_are_one_line(notebook, tmp_path, monkeypatch, capsys):
    path = str(notebook("n", PARAMETERS))

    def error(*words):
        assert cli.main(["run", path, *words]) == 1
        return capsys.readouterr().err

    assert "did you mean 'steps'" in error("-p", "stepz", "3")
    assert "given twice" in error("-p", "steps", "3", "-p", "steps", "4")
    assert "type int, got '-1e-3'" in error("-p", "steps", "-1e-3")
    assert "known: 01_explore_data" in error("05_nothing")
    (tmp_path / "file").touch()
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "file"))
    assert "cannot make the run folder" in error()


def test_handlibs_own_notebooks_have_parameters():
    for name in runs.WORKFLOW:
        defaults = runs.notebook_parameters(runs.notebook_path(name))
        assert "run_dir" in defaults
        assert "seed" in defaults


def test_new_run_folders_never_collide(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path))
    assert len({runs.open_run("", "02_train").path for _ in range(5)}) == 5


def test_the_trained_run_is_the_named_the_own_or_the_newest(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path))
    for age, name in enumerate(("new", "old")):
        model = tmp_path / name / runs.CHECKPOINT
        model.parent.mkdir(parents=True)
        model.touch()
        os.utime(model, (1000 - age, 1000 - age))
    old, empty = runs.Run(tmp_path / "old"), runs.Run(tmp_path / "empty")
    assert runs.trained_run(own=old).path == old.path
    assert runs.trained_run(own=empty).path == tmp_path / "new"
    assert runs.trained_run(str(old.path), own=empty).path == old.path
    for untrained in (empty.path, tmp_path / "nothing"):
        with pytest.raises(runs.RunError, match=r"has no trained model .*: run 02_train first"):
            runs.trained_run(str(untrained))
    assert runs.trained_run("shipped", own=old).path == runs.SHIPPED


def test_where_nothing_was_trained_the_shipped_weights_are_taken(monkeypatch, tmp_path, capsys):
    """But not for another hand model, of which they do not speak: then 02 trains first."""
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "none"))
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(runs, "SHIPPED", tmp_path / "weights")
    monkeypatch.setattr(runs, "run_notebooks", lambda names: tmp_path / names[0])
    assert runs.trained_run().path == tmp_path / "weights"
    assert "come with handlib" in capsys.readouterr().out
    monkeypatch.setenv("MANO", "/models")
    assert runs.trained_run().path == tmp_path / "02_train"


def test_summary_has_a_line_for_each_metric(tmp_path):
    scores = {"model": {"pa_mpjpe_mm": 9.0}, "mean pose": {"pa_mpjpe_mm": 19.25}}
    about = {"hand": "stand-in", "data": "synthetic", "scores": scores, "verdict": "good"}
    runs.write_json(tmp_path / "metrics.json", {"evaluate": about})
    lines = runs.summary(tmp_path).splitlines()
    assert "pa_mpjpe_mm   9.00      19.25" in lines and "good" in lines


@pytest.mark.parametrize("stopped", ["deadline", "SIGTERM", "STOP file", "finished"])
def test_a_training_that_can_go_on_does_not_count_as_done(tmp_path, stopped):
    result = SimpleNamespace(stopped=stopped, step=3)
    run = runs.Run(tmp_path)
    if stopped == "finished":
        run.go_on_unless_stopped(result)
        return
    with pytest.raises(runs.Stopped, match="stopped after 3 steps, all saved"):
        run.go_on_unless_stopped(result)


def test_a_run_that_was_never_evaluated_is_itself_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path))
    last = tmp_path / "mine/checkpoints/last"
    last.mkdir(parents=True)
    (last / "model.safetensors").touch()
    own = runs.Run(tmp_path / "mine")
    assert runs.trained_run("", own).path == own.path
    assert runs.trained_run("mine").path == own.path  # by its name, too
    assert (run_path("mine"), run_path(str(own.path))) == (own.path, own.path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine/mine").mkdir()
    assert run_path("mine") == Path("mine")  # what is here comes first
    assert run_path("nowhere") == Path("nowhere")
    assert runs.trained_run(str(SHIPPED)).path == SHIPPED


def test_a_mistyped_run_is_told_from_one_without_a_model(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no run tinny in .*; known: shipped"):
        runs.trained_run("tinny")
    for name in ("tiny", "large"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="known: shipped"):  # they have no weights yet
        runs.trained_run("tinny")
    (tmp_path / "large/model.safetensors").touch()
    with pytest.raises(FileNotFoundError, match=r"no run larg in .*; did you mean 'large'\?"):
        runs.trained_run("larg")
    with pytest.raises(FileNotFoundError, match=r"no run nope in .*; known: large, shipped"):
        weights_folder("nope")
    with pytest.raises(FileNotFoundError, match="did you mean 'shipped'"):
        weights_folder("shiped")
    with pytest.raises(runs.RunError, match="tiny has no trained model"):
        runs.trained_run("tiny")
    assert cli.main(["export", "--onnx", "a.onnx", "--weights", "larg"]) == 1
    assert "did you mean 'large'?" in capsys.readouterr().err


def test_names_that_papermill_or_the_disk_would_not_take(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "out{x}"))
    book = write_notebook(tmp_path / "any{1}.ipynb", "print(seed)")
    assert cli.main(["run", str(book), "--name", "a{b}"]) == 0
    assert (tmp_path / "out{x}/a{b}/notebooks/any{1}.ipynb").is_file()
    for name in ("n" * 300, "", "one,other"):
        assert cli.main(["run", str(book), "--name", name]) == 1
    (tmp_path / "odd.ipynb").write_text("{}")
    assert cli.main(["run", str(tmp_path / "odd.ipynb")]) == 1


def test_a_run_without_a_name_is_another_one_where_it_sees_other_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path))
    first, checkpoint = (
        tmp_path / name / "checkpoints/best/model.safetensors" for name in ("first", "new")
    )
    for file in (first, checkpoint):
        file.parent.mkdir(parents=True)
    first.touch()
    before = runs.plan(["06_compare_runs"]).run.path
    assert runs.plan(["06_compare_runs"]).run.path == before
    checkpoint.touch()
    assert runs.plan(["06_compare_runs"]).run.path != before
    training = runs.plan(["02_train", "04_evaluate"]).run.path
    checkpoint.unlink()
    assert runs.plan(["02_train", "04_evaluate"]).run.path == training
