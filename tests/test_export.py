"""The ONNX file gives the numbers of the network it was made of."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from handlib import cli
from handlib.checkpoints import export
from handlib.export import export_onnx
from handlib.geometry import tight_box
from handlib.inference import Predictor, made_up_photos
from handlib.inference.look import EXPAND
from handlib.model import make_model

PAGE = Path(__file__).parents[1] / "docs/onnx.md"


@pytest.mark.parametrize("preset", ["small", "modern"])  # one look and two
def test_onnxruntime_gives_the_same_hands(hand, tmp_path, preset):
    model = make_model(
        preset, hand, input_size=64, handedness=True, presence=True, camera="perspective"
    )
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(model.head[-1].weight, std=0.02, generator=generator)
    export(model, tmp_path)
    path = tmp_path / "hand.onnx"
    assert cli.main(["export", "--onnx", str(path), "--weights", str(tmp_path)]) == 0
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    assert names == ["joints", "vertices", "joints_2d", "root", "right", "present"]
    onnx.checker.check_model(path, full_check=True)
    assert {each.shape[0] for each in (*session.get_inputs(), *session.get_outputs())} == {"batch"}
    model.eval()
    for batch in (1, 3):  # any number of crops
        image = torch.randint(0, 255, (batch, 3, 64, 64), dtype=torch.uint8, generator=generator)
        K = torch.tensor([[150.0, 0, 30], [0, 155, 33], [0, 0, 1]]).repeat(batch, 1, 1)
        K[0] = torch.nan if batch == 3 else K[0]  # a camera that nobody knows
        with torch.no_grad():
            ours = model(image, K, refine=0, turns=1)
        for name, values in zip(names, session.run(None, {"image": image.numpy(), "K": K.numpy()})):
            close = {"atol": 1e-4 if name != "joints_2d" else 0.01, "rtol": 5e-5}
            np.testing.assert_allclose(values, getattr(ours, name), **close, err_msg=name)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["handlib.hand"]) == hand.name
    assert json.loads(about["handlib.config"])["input_size"] == 64
    assert json.loads(about["handlib.faces"]) == hand.faces.tolist()
    assert json.loads(about["handlib.expand"]) == EXPAND


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (".", "is a folder: give a file, as .*hand.onnx"),
        ("file/a.onnx", "file is a file: choose a folder"),
    ],
)
def test_a_file_that_cannot_be_is_refused_before_the_export(
    hand, tmp_path, monkeypatch, target, message
):
    (tmp_path / "file").touch()
    monkeypatch.setattr(torch.export, "export", None)  # it would take a minute
    with pytest.raises((ValueError, OSError), match=message):
        export_onnx(make_model("small", hand), tmp_path / target)


def test_without_onnx_the_remedy_is_said(hand, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'handlib\[onnx\]'"):
        export_onnx(make_model("small", hand), tmp_path / "a.onnx")


def test_a_model_that_sees_keypoint_maps_is_refused_in_words(hand, tmp_path):
    model = make_model("small", hand, keypoint_maps=True)
    with pytest.raises(ValueError, match=r"sees keypoint maps .* cannot be exported"):
        export_onnx(model, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


@pytest.fixture(scope="module")
def folder_of_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    assert cli.main(["export", "--onnx", str(folder / "hand.onnx")]) == 0
    return folder


@pytest.mark.parametrize("is_right", [True, False])
def test_the_program_of_the_page_says_what_handlib_does(
    hand, folder_of_file, monkeypatch, is_right
):
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (sample,) = made_up_photos(hand, 1, seed=3)
    image, box = cv2.resize(sample.image, (160, 160)), tight_box(sample.joints_2d / 2).round()
    K = np.diag([0.5, 0.5, 1]) @ sample.K
    if not is_right:
        image, box = image[:, ::-1].copy(), np.array([160 - box[2], box[1], 160 - box[0], box[3]])
    given = {"image": image, "box": box, "is_right": is_right, "K": K}
    photo, assigned = "image = cv2.cvtColor(", r"(?m)^(image|box, is_right|K) = .*\n"
    assert photo in program and len(re.findall(assigned, program)) == 3
    monkeypatch.chdir(folder_of_file)
    exec(re.sub(assigned, "", program), given)
    monkeypatch.setattr("handlib.precision.fast_in_bf16", lambda device: False)
    (ours,) = Predictor(refine=0, turns=1)([image], [box], K, is_right)
    np.testing.assert_allclose(given["joints"], ours.joints, atol=1e-4)
    np.testing.assert_allclose(given["joints_2d"], ours.joints_2d, atol=0.05)
    assert np.linalg.norm(ours.joints[0] - ours.joints[9]) > 0.05  # a hand, in metres


@pytest.mark.parametrize("turns", [0, 5])
def test_turns_that_there_are_not_are_refused(turns):
    with pytest.raises(ValueError, match=f"unknown turns {turns}; known: 1, 2, 3, 4"):
        Predictor(turns=turns)
