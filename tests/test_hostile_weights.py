"""Checkpoints that lie: one message that names the file, whatever their check sums say."""

import json
import struct

import pytest
import torch

from handlib import checkpoints
from handlib.checkpoints import export, load_checkpoint
from handlib.model import make_model
from handlib.stream_training import read_card


@pytest.fixture(scope="module")
def sound(hand, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "sound"
    export(make_model("small", hand), folder, card={"pieces": []})
    return folder


@pytest.fixture
def change(sound, tmp_path):
    """Function that writes a file of a copy of a sound checkpoint, and its check sum with it."""

    def changed(name, content):
        for file in sound.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        (tmp_path / name).write_bytes(content)
        listing = {f.name: checkpoints._checksum(f) for f in sound.iterdir()}
        listing[name] = checkpoints._checksum(tmp_path / name)
        listing.pop("files.json")
        (tmp_path / "files.json").write_text(json.dumps(listing))
        return tmp_path

    return changed


def tensors(header, data=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def lying_weights():
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    return {
        "empty": b"",
        "no header": b"\x10" + bytes(7),
        "a header of 2**63": struct.pack("<Q", 2**63) + b"{}",
        "a header of 90 MB": struct.pack("<Q", 90 << 20) + b"{}",
        "no tensors": tensors({}),
        "other tensors": tensors({"a": one}, bytes(4)),
        "a shape of 2**40": tensors({"a": one | {"shape": [2**40]}}, bytes(4)),
        "a shape of texts": tensors({"a": one | {"shape": ["a"]}}, bytes(4)),
        "places beyond the end": tensors({"a": one | {"data_offsets": [0, 2**40]}}, bytes(4)),
        "an unknown type": tensors({"a": one | {"dtype": "O8"}}, bytes(4)),
        "a pickle": b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
    }


@pytest.mark.parametrize("name", lying_weights())
def test_weights_that_lie_are_named(change, hand, name):
    folder = change(checkpoints.WEIGHTS, lying_weights()[name])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged") as error:
        load_checkpoint(folder, hand)
    assert len(str(error.value)) < 2000


def lying_models(sound):
    about = json.loads((sound / "model.json").read_text())
    yield "a list", []
    yield "no hand", {"config": about["config"]}
    yield "no configuration", {"hand": about["hand"]}
    for field, value in (
        ("width", 10**9), ("width", -1), ("width", "48"), ("width", 4.5), ("hidden", 2**40),
        ("input_size", None), ("n_pose", [45]), ("depth", "yes"), ("backbone", 7), ("looks", 9),
        ("dropout", float("nan")), ("dropout", "x"), ("unknown", 1), ("rotation", {}),
    ):  # fmt: skip
        yield f"{field} {value}", about | {"config": about["config"] | {field: value}}


def test_descriptions_that_lie_are_named(sound, change, hand):
    for name, about in lying_models(sound):
        folder = change("model.json", json.dumps(about).encode())
        with pytest.raises(ValueError, match=r"model\.json is "):
            load_checkpoint(folder, hand)
            pytest.fail(name)


def test_other_files_of_a_checkpoint_are_named(sound, change, hand):
    for content in (b"", b"[]", b'{"a": 1, "a": 2}', b"[" * 50_000):
        with pytest.raises(ValueError, match=r"card\.json is "):
            read_card(change("card.json", content))
        folder = change("card.json", b"{}")
        (folder / "files.json").write_bytes(content)
        with pytest.raises(ValueError, match=r"files\.json is |is missing or damaged"):
            load_checkpoint(folder, hand)
    for name in ("../sound/model.json", "/etc/hostname", "a" * 5000):
        (folder / "files.json").write_text(json.dumps({name: "0"}))
        with pytest.raises(ValueError, match=r"files\.json names .* no file of it"):
            load_checkpoint(folder, hand)


def test_tensors_of_a_resumed_run_hold_no_code(tmp_path):
    class Call:
        def __reduce__(self):
            return print, ("ran",)

    torch.save({"optimizer": Call()}, tmp_path / "optimizer.pt")
    with pytest.raises(Exception, match="Weights only load failed"):
        checkpoints.load_tensors(tmp_path / "optimizer.pt")
