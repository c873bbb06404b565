import importlib.util
import statistics
import sys
import time
from types import ModuleType

import pytest
import torch
from mano_files import write_plain

from handlib.mano import ManoLayer, mano_layer
from handlib.mano.standin import standin_path

INSTALLED = importlib.util.find_spec("manopth") is not None


def test_the_backend_is_chosen_by_name(tmp_path):
    write_plain(tmp_path, "left")
    layer = mano_layer(mano_root=tmp_path, side="left", ncomps=9)
    assert isinstance(layer, ManoLayer)
    assert (layer.side, layer.ncomps) == ("left", 9)
    with pytest.raises(ValueError, match="known: handlib, manopth"):
        mano_layer("smplx")


@pytest.mark.skipif(INSTALLED, reason="manopth is installed")
def test_without_manopth_the_message_says_where_it_is_and_what_does_without():
    with pytest.raises(ImportError, match=r"hassony2/manopth .*chumpy.*backend='handlib'"):
        mano_layer("manopth")


def test_manopth_gets_its_own_arguments_and_the_folder_of_the_file(tmp_path, monkeypatch):
    given = {}
    module = ModuleType("manopth.manolayer")
    module.ManoLayer = lambda **arguments: given.update(arguments)
    monkeypatch.setitem(sys.modules, "manopth", ModuleType("manopth"))
    monkeypatch.setitem(sys.modules, "manopth.manolayer", module)
    monkeypatch.delenv("MANO", raising=False)
    mano_layer("manopth", flat_hand_mean=False)
    folder = str(standin_path("right").parent)
    assert given == {"mano_root": folder, "side": "right", "flat_hand_mean": False}
    write_plain(tmp_path / "models")
    monkeypatch.setenv("MANO", str(tmp_path))
    mano_layer("manopth")
    assert given["mano_root"] == str(tmp_path / "models")


def test_what_manopth_would_not_find_is_refused(tmp_path, monkeypatch, hand):
    module = ModuleType("manopth.manolayer")
    module.ManoLayer = lambda **arguments: None
    monkeypatch.setitem(sys.modules, "manopth", ModuleType("manopth"))
    monkeypatch.setitem(sys.modules, "manopth.manolayer", module)
    write_plain(tmp_path)
    (tmp_path / "MANO_RIGHT.pkl").rename(tmp_path / "mine.pkl")
    with pytest.raises(FileNotFoundError, match=r"manopth reads MANO_RIGHT\.pkl .*mine\.pkl"):
        mano_layer("manopth", tmp_path / "mine.pkl")
    with pytest.raises(ValueError, match="manopth reads files alone"):
        mano_layer("manopth", hand)
    assert isinstance(mano_layer("handlib", hand), ManoLayer)


@pytest.mark.skipif(not INSTALLED, reason="manopth is not installed")
def test_manopth_gives_the_same_numbers(capsys):
    generator = torch.Generator().manual_seed(0)
    pose = 0.5 * torch.randn(64, 48, generator=generator)
    betas = torch.randn(64, 10, generator=generator)
    layers = {name: mano_layer(name, use_pca=False) for name in ("handlib", "manopth")}
    made = {name: layer(pose, betas) for name, layer in layers.items()}
    apart = max((a - b).abs().max().item() for a, b in zip(*made.values()))
    times = {name: [] for name in layers}
    for _ in range(10):
        for name, layer in layers.items():
            start = time.perf_counter()
            layer(pose, betas)
            times[name].append(1e3 * (time.perf_counter() - start))
    with capsys.disabled():
        taken = ", ".join(f"{n} {statistics.median(t):.1f} ms" for n, t in times.items())
        print(f"\n64 hands: {taken}; at most {apart:.5f} mm apart")
    assert apart < 0.001
