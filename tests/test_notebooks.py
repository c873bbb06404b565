"""The notebooks, run headless on tiny parameters: by papermill into one run, then by nbval."""

import ast
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import nbformat
import numpy as np
import pytest
from fake_data import write_mp

from handlib import cli, runs
from handlib.analysis import RULES
from handlib.checkpoints import export
from handlib.model import make_model
from handlib.predictions import read_course

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
TINY = {
    "preset": "small",
    "steps": 6,
    "batch_size": 8,
    "size": 64,
    "workers": 0,
    "hands": 2,
    "evaluations": 2,
}


@pytest.fixture(scope="module")
def untrained(hand, tmp_path_factory):
    """A folder of weights that tell sides."""
    folder = tmp_path_factory.mktemp("weights")
    export(make_model("small", hand, handedness=True, camera="perspective"), folder)
    return folder


@pytest.fixture(scope="module")
def finished(synthetic, tmp_path_factory):
    """A run of the whole workflow by the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MP_EXPERIMENTS", str(tmp_path_factory.mktemp("experiments")))
        given = [f"-p {name} {value}".split() for name, value in TINY.items()]
        arguments = ["-p", "data", str(synthetic), *(word for words in given for word in words)]
        assert cli.main(["run", "--name", "tiny", *arguments]) == 0
        yield runs.runs_root() / "tiny"


def test_a_split_without_answers_is_predicted_and_written(finished, tmp_path, monkeypatch, capsys):
    """The course's test split has no joints: its server has them."""
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "out"))
    write_mp(tmp_path / "mp", versions=1, size=64)
    words = ["run", "04_evaluate", "--name", "sent", "-p", "trained", str(finished)]
    words += ["-p", "data", str(tmp_path / "mp"), "-p", "write", "course", "-p", "workers", "0"]
    assert cli.main(words) == 0
    run = tmp_path / "out/sent"
    assert read_course(run / "test_preds.json.gz", 3).shape == (3, 21, 3)
    assert "has no 3D joints to score against" in (run / "report.html").read_text()
    executed = nbformat.read(run / "notebooks/04_evaluate.ipynb", as_version=4)
    assert not any("papermill-error" in str(cell.metadata) for cell in executed.cells)
    assert "evaluate" not in json.loads((run / "metrics.json").read_text())
    (tmp_path / "mp/test/00000001.jpg").write_bytes(b"broken")
    words[3] = "short"
    assert cli.main([*words, "-p", "skip_bad", "True"]) == 1  # never a shorter, shifted list
    assert "2 samples, expected 3: predict all of them" in capsys.readouterr().err
    assert not (tmp_path / "out/short/test_preds.json.gz").exists()


def test_a_run_leaves_everything_in_one_folder(finished):
    results = json.loads((finished / "metrics.json").read_text())
    assert results["train"]["steps"] == TINY["steps"]
    scores = results["evaluate"]["scores"]
    assert scores["model"]["pa_mpjpe_mm"] > 0
    assert "synthetic (stand-in hand)" in results["evaluate"]["data"]
    assert {"mean pose", "mean pose, best constant scale"} < set(scores)
    assert (
        results["official"]["scores"]["xyz_mean3d"] > results["official"]["scores"]["xyz_al_mean3d"]
    )
    assert "[" in results["paper"]["scores"]["thumb"]["AUC 20-50 mm"]
    assert results["groups"]["errors_mm"]["aligned (PA)"]["finger"]["thumb"]["n"] > 0
    judged = results["failures"]["images"]
    assert set(judged) == {*RULES, "none"} and sum(judged.values()) >= results["evaluate"]["images"]
    assert isinstance(results["faults"], list)
    for name in ("checkpoints/best/model.safetensors", "checkpoints/last", "metrics.jsonl", "film"):
        assert (finished / name).exists(), name
    figures = {path.name for path in (finished / "figures").iterdir()}
    assert {"samples.png", "training.png", "predictions.png", "mesh_3d.html", "pck.png"} <= figures
    wanted = {"film.png", "layers.png", "loss_gradients.png", "suspects.png", "distributions.png"}
    assert wanted <= figures
    assert {"error_groups.png", "calibration.png", "failures.png", "explorer.png"} <= figures
    pages = re.findall(
        r"explorer_\d+\.html", (finished / "notebooks/04_evaluate.ipynb").read_text()
    )
    assert pages and figures.issuperset(pages)
    report = html.unescape((finished / "report.html").read_text())
    assert all(f'id="{name}"' in report for name in (*runs.WORKFLOW, "scene-2"))
    assert results["evaluate"]["verdict"] in report


def test_summary_prints_model_and_baselines(finished):
    text = runs.summary(finished)
    assert "mean pose" in text
    assert "pa_mpjpe_mm" in text
    assert "stand-in hand" in text


@pytest.mark.parametrize("name", runs.WORKFLOW)
def test_executed_notebook_is_small_and_shows_figures(finished, name):
    path = finished / "notebooks" / f"{name}.ipynb"
    assert path.stat().st_size < 1e6
    outputs = [
        output
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert kinds & {"image/png", "image/jpeg"}
    assert not [o for o in outputs if o.output_type == "error"]
    if name in ("01_explore_data", "03_visualize_meshes"):
        assert "application/vnd.plotly.v1+json" in kinds


@pytest.mark.parametrize("name", runs.WORKFLOW)
def test_notebook_repeats_what_it_printed(finished, name):
    """nbval runs the executed notebook again and compares the cells marked for it."""
    path = finished / "notebooks" / f"{name}.ipynb"
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "-q"]
    command += ["-p", "no:cacheprovider", "--rootdir", str(path.parent), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=path.parent)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "NBVAL_CHECK_OUTPUT" in Path(path).read_text()


def test_ablation_trains_every_setting_and_reports_each_seed(finished, synthetic):
    given = {"data": str(synthetic), "workers": 0, "steps": 4, "seeds": 1, "batch_size": 2}
    run_dir = runs.run_notebooks(["07_ablation"], given)
    report = json.loads((run_dir / "metrics.json").read_text())["ablation"]
    assert next(iter(report["each"])) == "course project"
    assert len(report["each"]) == 13
    assert all(len(scores) == 1 for scores in report["each"].values())
    assert float(report["scores"]["+ handlib's network"]["PA-MPJPE (mm)"]) > 0
    assert (run_dir / "figures" / "ablation.png").exists()
    pretrained = [path.parent for path in run_dir.glob("trainings/*/pretrain")]
    files = [
        (pretrained[0] / stage / "checkpoints/last/trainer.json") for stage in ("pretrain", "")
    ]
    taken = [json.loads(file.read_text())["step"] for file in files]
    assert (len(pretrained), taken) == (1, [1, 3])


def test_modern_is_taken_apart(finished, synthetic):
    given = {"question": "pieces", "only": "modern; without the second look;boukhayma2019"}
    given |= {"data": str(synthetic), "workers": 0, "steps": 2, "seeds": 1, "batch_size": 2}
    run_dir = runs.run_notebooks(["07_ablation"], given)
    each = json.loads((run_dir / "metrics.json").read_text())["ablation"]["each"]
    assert list(each) == ["modern", "without the second look", "boukhayma2019"]
    folders = [f"pieces-{name.replace(' ', '_')}-0" for name in each]
    files = [run_dir / "trainings" / f / "checkpoints/last/model.json" for f in folders]
    trained = [json.loads(file.read_text())["config"] for file in files]
    assert [config["looks"] for config in trained] == [2, 1, 1]
    assert trained[0] | {"looks": 1} == trained[1]
    assert trained[2]["backbone"] == "resnet-34"
    given["only"] = "modern; without legs"
    with pytest.raises(runs.RunError, match="no setting without legs; did you mean 'without "):
        runs.run_notebooks(["07_ablation"], given)


def test_runs_are_compared_on_the_same_images(finished, synthetic):
    given = {"data": str(synthetic), "workers": 0, "compared": finished.name, "images": 4}
    run_dir = runs.run_notebooks(["06_compare_runs"], given)
    results = json.loads((run_dir / "metrics.json").read_text())
    assert list(results["compare"]["runs"]) == [finished.name]
    rows = results["differences"]["rows"]
    assert rows[finished.name]["verdict"] == "the reference"
    assert "[" in rows["mean pose"]["error"]  # of the same images, with its interval
    figures = {path.name for path in (run_dir / "figures").iterdir()}
    assert figures == {"histories.png", "intervals.png", "side_by_side.png"}


def test_hands_are_found_in_made_up_and_given_photos(hand, untrained, tmp_path, monkeypatch):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path))
    given = {"weights": str(untrained), "shown": 2, "sure": 0.0, "views": 2, "refine": 2}
    run_dir = runs.run_notebooks(["05_predict_photos"], given)
    results = json.loads((run_dir / "metrics.json").read_text())
    assert len(results["photos"]) >= 2 and "pictures of noise" in results["confidence"]
    figures = {path.name for path in (run_dir / "figures").iterdir()}
    assert {"found.png", "failed.png", "heatmaps.png", "photo_3d.html"} <= figures
    assert len(list((run_dir / "predictions").glob("*.obj"))) == 2
    photo = tmp_path / "wall.png"
    cv2.imwrite(str(photo), np.full((60, 90, 3), 128, np.uint8))
    (tmp_path / "b").mkdir()
    shutil.copy(photo, other := tmp_path / "b" / "wall.png")
    again = runs.run_notebooks(
        ["05_predict_photos"],
        {"weights": str(untrained), "photos": f"{photo},{other},{other.parent}", "sure": 1.0},
    )
    assert json.loads((again / "metrics.json").read_text())["photos"] == {
        str(path): {"side": "none found"} for path in (photo, other)
    }


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_parameter_is_used(path):
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    given, *rest = (ast.parse(cell.source) for cell in cells)
    names = {target.id for line in given.body for target in line.targets}
    used = {n.id for tree in rest for n in ast.walk(tree) if isinstance(n, ast.Name)}
    assert names <= used, names - used


def test_evaluation_alone_takes_the_newest_trained_run(finished, synthetic):
    given = {"data": str(synthetic), "workers": 0, "split": "evaluation", "images": 6}
    run_dir = runs.run_notebooks(["04_evaluate"], given)
    assert run_dir != finished
    executed = (run_dir / "notebooks" / "04_evaluate.ipynb").read_text()
    assert f"model: {finished}" in executed
    told = json.loads((run_dir / "metrics.json").read_text())["evaluate"]
    assert "evaluation split" in told["data"] and told["images"] == 6


def test_notebooks_run_from_any_folder(synthetic, tmp_path, monkeypatch):
    """Paths come from parameters or the package, never from the working directory."""
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "experiments"))
    monkeypatch.chdir(tmp_path)
    run_dir = runs.run_notebooks(["01_explore_data"], {"data": str(synthetic)})
    assert (run_dir / "figures" / "samples.png").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["experiments"]
