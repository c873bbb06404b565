"""Valid small files of every kind that handlib reads, and who reads them: what fuzzing begins with.

``TARGETS`` maps a name to (file name, valid content, function of the path).
"""

import hashlib
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from handlib import checkpoints, compare, predictions, runlog, stream_training
from handlib.data import annotations, freihand, interhand, keypoints, photos, rhd
from handlib.data.synthesize import _is_finished
from handlib.inference.command import read_camera
from handlib.mano import pickles
from handlib.presets import ModelConfig
from handlib.reading import read_json

_POINTS = np.arange(63).reshape(21, 3) + 1.5
_BONES = np.random.default_rng(0).normal(0, 30, (42, 3)).round(2) + [0, 0, 500]


def text_of(value):
    return json.dumps(value).encode()


def _coco(wholes=1):
    hand = {"id": 1, "image_id": 7, "keypoints": _POINTS.ravel().tolist(), "bbox": [9, 8, 40, 30]}
    body = {"id": 2, "image_id": 7, "lefthand_kpts": hand["keypoints"], "righthand_kpts": []}
    body |= {"lefthand_valid": True, "lefthand_box": [1, 2, 3, 4], "righthand_valid": False}
    images = [{"id": 7, "file_name": "a.jpg", "width": 80, "height": 60}]
    return text_of({"images": images, "annotations": [hand, *[body] * wholes]})


def _read_coco(path):
    (path.parent / "a.jpg").touch()
    photos.read_coco_hands(path)


def _find_keypoints(path):
    sample = SimpleNamespace(path=path.parent / "a.jpg", is_right=None, size=(80, 60), box=None)
    return keypoints.KeypointFiles(path.parent)(sample)


def _people():
    hand = np.c_[_POINTS[:, :2], np.ones(21)].ravel().tolist()
    return text_of({"people": [{"hand_right_keypoints_2d": hand, "hand_left_keypoints_2d": []}]})


def _landmarks():
    hand = [{"x": x / 80, "y": y / 80, "z": 0.0} for x, y, _ in _POINTS.tolist()]
    return text_of({"hand_landmarks": [hand], "handedness": [[{"score": 0.9}]]})


def _rhd():
    camera = {"focal": [299.0, 299.0], "princpt": [160.0, 160.0]}
    image = {"id": 3, "file_name": "a.png", "cam_param": camera}
    hand = {"image_id": 3, "joint_cam": _BONES[:21].tolist(), "hand_type": "left"}
    return text_of({"images": [image], "annotations": [hand]})


def _rhd_pickle():
    row = {"xyz": _BONES / 1000, "uv_vis": _BONES, "K": np.eye(3)}
    return pickle.dumps({0: row, 1: row}, protocol=2)


_VALID = [[1]] * 42
_INTERHAND = {
    "data": {
        "images": [
            {
                "id": 5,
                "file_name": "a.jpg",
                "width": 40,
                "capture": 3,
                "camera": "4",
                "frame_idx": 0,
            }
        ],
        "annotations": [{"image_id": 5, "joint_valid": _VALID}],
    },
    "camera": {
        "3": {
            "campos": {"4": [1.0, 2.0, 3.0]},
            "camrot": {"4": np.eye(3).tolist()},
            "focal": {"4": [70.0, 70.0]},
            "princpt": {"4": [20.0, 20.0]},
        }
    },
    "joint_3d": {"3": {"0": {"world_coord": _BONES.tolist(), "joint_valid": _VALID}}},
    "MANO_NeuralAnnot": {"3": {"0": {"right": {"pose": [0.1] * 48, "shape": [0.5] * 10}}}},
}


def _interhand_reader(kind):
    """Reads one of the four files, the others being sound."""

    def read(path):
        paths = []
        for name, content in _INTERHAND.items():
            paths.append(path if name == kind else path.with_name(f"sound-{name}.json"))
            if name != kind and not paths[-1].exists():
                paths[-1].write_bytes(text_of(content))
        interhand._build(*paths)

    return read


def _model():
    config = vars(ModelConfig())
    return text_of({"config": config, "hand": {"name": "stand-in hand", "fingerprint": "0" * 12}})


def _trainer():
    return text_of({"config": {"lr": 0.1}, "loss_weights": {"pose": 1.0}, "samples": 9, "step": 3})


def _settings(path):
    """What ``compare`` says of a run whose files, but this one, are sound."""
    for name, content in (("model.json", _model()), ("trainer.json", _trainer())):
        if path.name != name and not (path.parent / name).exists():
            (path.parent / name).write_bytes(content)
    compare.settings(path.parent)


def _verify(path):
    (path.parent / "a").touch()
    checkpoints.verify(path.parent)


def _synthetic(path):
    freihand._source(path.parent, "public")
    _is_finished(path.parent, {"samples": 3})


_RUN = {"parameters": {"01": {"a": 1}}, "environment": {"MANO": ""}, "versions": {"python": "3"}}
_RECORD = text_of({"step": 1, "epoch": 0.5, "time": 2.0, "loss": 0.1}) + b"\n"

TARGETS = {
    "hand model": (
        "MANO_RIGHT.pkl",
        pickle.dumps({"v_template": np.ones((2, 3)), "f": [[1, 2]], "handlib_standin": "1"}, 2),
        lambda path: pickles.read_pickle(path.read_bytes(), ("v_template", "f", "handlib_standin")),
    ),
    "rhd pickle": ("anno_training.pickle", _rhd_pickle(), rhd._from_pickle),
    "rhd": ("rhd_train.json", _rhd(), rhd._from_json),
    "freihand K": (
        "training_K.json",
        text_of([np.eye(3).tolist()] * 3),
        lambda path: annotations.load_annotation(path, (3, 3)),
    ),
    "freihand scale": (
        "training_scale.json",
        text_of([0.1, 0.2]),
        lambda path: annotations.load_annotation(path, ()),
    ),
    "synthetic": ("synthetic.json", text_of({"samples": 3, "hand_model": "x"}), _synthetic),
    "coco hands": ("hands.json", _coco(), _read_coco),
    "coco keypoints": ("hands.json", _coco(0), keypoints.KeypointFiles),
    "openpose": ("a_keypoints.json", _people(), _find_keypoints),
    "mediapipe": ("a.json", _landmarks(), _find_keypoints),
    "camera": (
        "K.json",
        text_of({"K": [[500.0, 0, 300], [0, 500.0, 200], [0, 0, 1]]}),
        lambda path: read_camera([str(path)]),
    ),
    "predictions": (
        "pred.json",
        text_of([(_BONES[:21] / 1000)[None].tolist(), (_BONES[:22] / 1000)[None].tolist()]),
        predictions.read_freihand,
    ),
    "course predictions": (
        "test_preds.json",
        text_of((_BONES[:21] / 1000)[None].tolist()),
        predictions.read_course,
    ),
    "records": ("metrics.jsonl", _RECORD * 3, runlog.read_records),
    "run": ("run.json", text_of(_RUN), _settings),
    "model": ("model.json", _model(), _settings),
    "trainer": ("trainer.json", _trainer(), _settings),
    "files": (
        "files.json",
        text_of({"a": hashlib.sha256(b"").hexdigest()}),
        _verify,
    ),
    "card": (
        "card.json",
        text_of({"preset": "modern", "pieces": []}),
        lambda path: stream_training.read_card(path.parent),
    ),
    "results": ("evaluate.json", text_of({"verdict": "better"}), read_json),
} | {
    f"interhand {kind}": (f"interhand_{kind}.json", text_of(content), _interhand_reader(kind))
    for kind, content in _INTERHAND.items()
}
# What a reader may raise: an error whose message is all that a user needs.
EXPECTED = (ValueError, FileNotFoundError)
NO_PATH = ("hand model",)  # its caller adds the file's name


def fault(name, folder, content):
    """What is wrong with how target ``name`` takes ``content``: a text, or "" where it is right."""
    file_name, _, read = TARGETS[name]
    path = Path(folder) / file_name
    path.write_bytes(content)
    try:
        read(path)
    except EXPECTED as error:
        message = str(error)
        if name not in NO_PATH and str(folder) not in message:
            return f"no file in the message: {type(error).__name__}: {message[:200]}"
        too_long = len(message) > 2000 and name not in NO_PATH
        return f"{len(message)} characters of message" if too_long else ""
    except Exception as error:
        if name in NO_PATH and not isinstance(error, MemoryError | RecursionError):
            return ""
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""
