"""The ONNX file gives the numbers of the network it was made of."""

import json

import numpy as np
import onnxruntime
import pytest
import torch

from handlib import cli
from handlib.checkpoints import export
from handlib.export import export_onnx
from handlib.model import make_model


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
    model.eval()
    for batch in (1, 3):  # any number of crops
        image = torch.randint(0, 255, (batch, 3, 64, 64), dtype=torch.uint8, generator=generator)
        K = torch.tensor([[150.0, 0, 30], [0, 155, 33], [0, 0, 1]]).repeat(batch, 1, 1)
        K[0] = torch.nan if batch == 3 else K[0]  # a camera that nobody knows
        with torch.no_grad():
            ours = model(image, K, refine=0, turns=1)
        for name, values in zip(names, session.run(None, {"image": image.numpy(), "K": K.numpy()})):
            close = 1e-4 if name != "joints_2d" else 0.01
            np.testing.assert_allclose(values, getattr(ours, name), atol=close, err_msg=name)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["handlib.hand"]) == hand.name
    assert json.loads(about["handlib.config"])["input_size"] == 64
    assert json.loads(about["handlib.faces"]) == hand.faces.tolist()


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
