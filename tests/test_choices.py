"""What a notebook takes is known before a kernel starts, and wrong values are told by name."""

import json
import re
from pathlib import Path

import pytest
from launched import write_notebook

from handlib import choices, cli, runs
from handlib.augment import CHAINS
from handlib.data import FreiHANDReader, InterHandReader, RHDReader
from handlib.inference.look import VIEWS
from handlib.paths import user_paths
from handlib.presets import ModelConfig
from handlib.questions import QUESTIONS
from handlib.recipe import OPTIMIZERS, USUAL, usual


def test_the_plain_names_are_those_that_exist():
    defaults = runs.notebook_parameters(runs.notebook_path("02_train"))
    assert choices.OF_PRESET.keys() <= defaults.keys()
    choices.check_training(defaults)
    assert set(choices.CHOICES["02_train"]["augmentation"]) == set(CHAINS)
    assert set(choices.CHOICES["02_train"]["optimizer"]) == set(OPTIMIZERS)
    readers = (FreiHANDReader, InterHandReader, RHDReader)
    assert set().union(*(reader.splits for reader in readers)) == set(choices.SPLITS)
    for name, (_, left) in choices.OF_PRESET.items():
        assert defaults[name] == left  # the documented one


@pytest.mark.parametrize("notebook", choices.LEAST)
def test_a_notebook_checks_its_values_first(notebook):
    path = runs.notebook_path(notebook)
    defaults = runs.notebook_parameters(path)
    assert choices.LEAST[notebook].keys() <= defaults.keys()
    assert choices.MOST.get(notebook, {}).keys() <= choices.LEAST[notebook].keys()
    assert "seed" in choices.LEAST[notebook]  # of every notebook: a negative one draws nothing
    of_names = choices.CHOICES.get(notebook, {})
    assert of_names.keys() <= defaults.keys()
    assert ("split" in of_names) == ("split" in defaults)
    assert all((defaults[name] == "") != (name in choices.NEVER_EMPTY) for name in of_names)
    choices.check_values(notebook, defaults)
    cells = [c["source"] for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    code = "".join(line for cell in cells for line in cell)
    check = "check_training(" if notebook == "02_train" else f'check_values("{notebook}", vars())'
    assert 0 < code.find(check) < code.find("open_run(")


def test_the_ablation_has_the_questions_that_may_be_asked():
    assert tuple(QUESTIONS) == choices.CHOICES["07_ablation"]["question"]


def test_a_setting_of_another_question_is_told_so():
    with pytest.raises(runs.RunError, match="'faults' has no setting modern, but 'pieces' has"):
        runs.plan(["07_ablation"], {"only": "course project; modern"})
    with pytest.raises(runs.RunError, match=r"no setting moderm; did you mean 'modern'\?"):
        runs.plan(["07_ablation"], {"only": "moderm", "question": "pieces"})


def test_as_many_views_are_taken_as_there_are():
    assert choices.MOST["05_predict_photos"]["views"] == len(VIEWS)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lr", -1.0, r"lr is -1.0, not 0 or more; 0 takes the preset's"),
        ("lr", float("nan"), "lr is nan"),
        ("batch_size", -4, "batch_size is -4, not at least 1; 0 takes the preset's"),
        ("weight_decay", -0.5, "weight_decay is -0.5, not 0 or more; -1 takes the preset's"),
        ("average", -2.0, "average is -2.0"),
    ],
)
def test_a_number_below_0_is_the_presets_only_where_the_notebook_says_so(name, value, message):
    with pytest.raises(ValueError, match=message):
        usual("small", **{name: value})
    for unset in (None, choices.OF_PRESET[name][1]):
        assert usual("small", **{name: unset}) == USUAL["small"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("lr", "-1", "lr is -1.0"),
        ("batch_size", "-4", "batch_size is -4"),
        ("steps", "0", "steps is 0, not at least 1"),
        ("workers", "-1", "workers is -1, not at least 0"),
        ("size", "7", "size is 7, not at least 32; 0 takes the preset's"),
        ("preset", "modren", "unknown preset 'modren'; did you mean 'modern'?"),
        ("augmentation", "ful", "unknown augmentation 'ful'; did you mean 'full'?"),
        ("camera", "foo", "unknown camera 'foo'; known: weak, perspective"),
        ("optimizer", "sgd", "unknown optimizer 'sgd'; known: adam, adamw, muon"),
        ("keypoints", "files", "unknown keypoints 'files'; did you mean 'file'?"),
        ("mixed_precision", "half", "unknown mixed_precision 'half'; known: no, bf16"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_made(
    tmp_path, monkeypatch, capsys, name, text, message
):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "out"))
    for command in ("run", "sweep", "submit"):
        seed = "1,2" if command == "sweep" else "1"
        assert cli.main([command, "02_train", "-p", "seed", seed, "-p", name, text]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("notebook", "name", "text", "message"),
    [
        ("01_explore_data", "size", "16", "size is 16, not at least 32"),
        ("03_visualize_meshes", "hands", "0", "hands is 0, not at least 1"),
        ("04_evaluate", "images", "-5", "images is -5, not at least 0"),
        ("05_predict_photos", "shown", "0", "shown is 0, not at least 1"),
        ("05_predict_photos", "sure", "30", "sure is 30.0, not between 0 and 1"),
        ("05_predict_photos", "sure", "NaN", "sure is nan, not between 0 and 1"),
        ("05_predict_photos", "views", "8", "views is 8, not between 1 and 7"),
        ("06_compare_runs", "hands", "0", "hands is 0, not at least 1"),
        ("06_compare_runs", "images", "-5", "images is -5, not at least 0"),
        ("07_ablation", "seeds", "0", "seeds is 0, not at least 1"),
        ("01_explore_data", "split", "", "unknown split ''; known: train, val, test, evaluation"),
        ("03_visualize_meshes", "split", "tset", r"unknown split 'tset'; did you mean 'test'\?"),
        ("04_evaluate", "write", "freihnd", r"unknown write 'freihnd'; did you mean 'freihand'\?"),
        ("07_ablation", "question", "wat", "unknown question 'wat'; known: faults, pieces"),
        ("04_evaluate", "rank_by", "pa_mpjpe", "did you mean 'pa_mpjpe_mm'"),
        ("04_evaluate", "filter", "view=plam", "no 'plam'"),
        ("02_train", "seed", "-1", "seed is -1, not at least 0"),
        ("02_train", "data", "nowhere/FreiHAND", "data: nowhere/FreiHAND does not exist"),
        ("02_train", "init", "shiped", "no run shiped in .*; did you mean 'shipped'?"),
        ("04_evaluate", "trained", "shiped", "no run shiped in .*; did you mean 'shipped'?"),
        ("05_predict_photos", "photos", "nowhere", "photos: nowhere does not exist"),
        ("05_predict_photos", "photos", f"{__file__}, b.jpg", "photos: b.jpg does not exist"),
        ("05_predict_photos", "photos", 300 * "b.jpg,", "photos: b.jpg does not exist"),
        ("03_visualize_meshes", "photos", "tests,docs", "photos: tests,docs does not exist"),
        ("04_evaluate", "keypoints", "noisy truth", "noisy truth are for training"),
        ("03_visualize_meshes", "keypoints", "file", "'file' need keypoints_from: the detector"),
        ("02_train", "keypoints", "predicted", "'predicted' need keypoints_from: a trained run"),
        ("07_ablation", "only", "modren", "no setting modren; known: course project; "),
        ("06_compare_runs", "seed", "1", "no trained run in .*: run 02_train first"),
        ("06_compare_runs", "compared", "mine", "no trained run in .*: run 02_train first"),
    ],
)
def test_what_cannot_be_or_is_not_there_is_told_before_anything_is_made(
    tmp_path, monkeypatch, capsys, notebook, name, text, message
):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path))
    assert cli.main(["run", notebook, "-p", name, text]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("notebook", "source", "message"),
    [
        ("02_train", "file", "keypoints_from: nowhere does not exist"),
        ("02_train", "predicted", "no run nowhere in .*; known: shipped"),
        ("02_train", "noisy truth", "keypoints_from: nowhere does not exist"),
        ("03_visualize_meshes", "predicted", "no run nowhere in .*; known: shipped"),
        ("04_evaluate", "file", "keypoints_from: nowhere does not exist"),
    ],
)
def test_where_keypoints_come_from_is_looked_for_first(
    tmp_path, monkeypatch, notebook, source, message
):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path))
    given = {"keypoints": source, "keypoints_from": "nowhere"}
    given |= {"init": "random"} if notebook == "02_train" else {}
    with pytest.raises((runs.RunError, FileNotFoundError), match=message):
        runs.plan([notebook], given)
    assert list(tmp_path.iterdir()) == []
    given["keypoints_from"] = "shipped" if source == "predicted" else str(tmp_path)
    assert runs.plan([notebook], given).parameters


@pytest.mark.parametrize("given", [{}, {"init": "shipped"}, {"preset": "small", "init": "shipped"}])
def test_a_network_that_sees_keypoints_does_not_begin_with_the_shipped_weights(given):
    seen = {"keypoints": "noisy truth"}
    with pytest.raises(ValueError, match=r"weights see no keypoints.*give -p init random"):
        runs.plan(["02_train"], given | seen)
    choices.check_training({"preset": "modern", "init": "random"} | seen)
    choices.check_training({"preset": "small", "init": ""} | seen)


def test_photos_may_be_several_with_commas_between_them(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "out"))
    one, other = tmp_path / "a.jpg", tmp_path / "b"
    one.touch()
    other.mkdir()

    def run_of(photos):
        return runs.plan(["05_predict_photos"], {"photos": photos}).run.path

    before = run_of(f"{one},{other}")
    assert before.name.startswith("05_predict_photos-photos=a.jpg_b-")
    (other / "1.jpg").touch()
    assert run_of(f"{one},{other}") != before  # another run where what is there has changed
    (tmp_path / "a.jpg,b").touch()
    assert user_paths(f"{tmp_path}/a.jpg,b") == [tmp_path / "a.jpg,b"]
    assert user_paths(f"{one} , ~/c.jpg,") == [one, Path.home() / "c.jpg"]


def test_a_job_finds_its_data_elsewhere_and_a_run_its_weights_later(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path))
    assert runs.plan(["02_train"], {"data": "nowhere"}, here=False).parameters
    for notebook, name in (("04_evaluate", "trained"), ("06_compare_runs", "compared")):
        assert runs.plan(["02_train", notebook], {name: "mine"}, name="mine").parameters


def test_a_notebook_of_the_users_own_may_take_other_values(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "out"))
    book = write_notebook(tmp_path / "02_train.ipynb", "1", parameters="camera = ''\nlr = 0.0")
    planned = runs.plan([book], {"camera": "front", "lr": "-1"})
    assert planned.parameters == {"02_train": {"camera": "front", "lr": -1.0}}


def test_a_setting_of_a_network_is_told_by_name():
    with pytest.raises(ValueError, match=r"unknown camera 'weka'; did you mean 'weak'\?"):
        ModelConfig(camera="weka").check()
    with pytest.raises(ValueError, match=r"unknown looks 3; known: 1, 2"):
        ModelConfig(looks=3).check()


def test_a_mistyped_notebook_has_a_suggestion():
    with pytest.raises(runs.RunError, match=r"no notebook '02_tran'; did you mean '02_train'\?"):
        runs.notebook_path("02_tran")


def test_a_data_folder_of_the_environment_is_told_by_its_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path))
    monkeypatch.setenv("MP_DATA", "nowhere")
    with pytest.raises(runs.RunError, match="MP_DATA: nowhere does not exist"):
        runs.plan(["01_explore_data"])
    assert runs.plan(["01_explore_data"], {"data": str(tmp_path)})
