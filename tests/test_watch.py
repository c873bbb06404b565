from dataclasses import replace

import numpy as np
import pytest
import torch
from posed_hands import PosedHands

from handlib import plots, watch
from handlib.augment import ColorJitter
from handlib.data.dataset import HandDataset
from handlib.model import make_model
from handlib.recipe import TrainConfig
from handlib.training import train
from handlib.watch import Film, LiveCurves

QUICK = TrainConfig(steps=12, batch_size=4, log_every=1, save_every=100, log_with=None)


@pytest.fixture(scope="module")
def data(hand):
    return HandDataset(PosedHands(hand, 10), ColorJitter(), seed=3)


def trained(hand, data, run_dir, config=QUICK, watchers=()):
    model = make_model("small", hand, hidden=32)
    train(model, data, None, config, run_dir, watchers=watchers)
    return model


def test_a_film_shows_the_hands_as_they_are_learnt_and_changes_nothing(hand, data, tmp_path):
    film = Film([data[0], data[1]], tmp_path)
    watched = trained(hand, data, tmp_path, watchers=[film])
    frames = film.frames()
    assert list(frames) == [f"step {n}" for n in (0, 1, 2, 3, 6, 12)]
    first, last = (frames[f"step {n}"]["pred_joints_2d"] for n in (0, 12))
    assert first.shape == (2, 21, 2)
    assert np.abs(last - first).max() > 0.1
    alone = trained(hand, data, tmp_path / "alone")
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name
    figure = plots.show_film(film.samples, frames)
    truth, start = (ax.get_title("left") for ax in figure.axes[:2])
    assert truth == "truth" and start.startswith("step 0\nPA ")


def test_a_film_goes_on_with_its_training(hand, data, tmp_path):
    """Also where the session before was killed after frames that no checkpoint knows."""
    film = Film([data[0]], tmp_path)
    trained(hand, data, tmp_path, replace(QUICK, max_minutes=1e-9), [film])
    assert list(film.frames()) == ["step 0"]
    lost = film.folder / "0000005.npz"
    lost.write_bytes((film.folder / "0000000.npz").read_bytes())
    trained(hand, data, tmp_path, watchers=[film])
    assert list(film.frames()) == [f"step {n}" for n in (0, 1, 2, 3, 6, 12)]


def test_live_curves_are_one_output_that_is_drawn_anew(hand, data, tmp_path, monkeypatch):
    shown = []

    class Handle:
        def update(self, what, raw):
            shown.append(("update", what))

    def display(what, raw, display_id):
        shown.append(("new", what))
        return Handle()

    monkeypatch.setattr(watch, "display", display)
    live = LiveCurves(every_s=0, title="hands")
    trained(hand, data, tmp_path, replace(QUICK, steps=3), [live])
    live.close()
    kinds = [kind for kind, _ in shown]
    assert kinds[0] == "new" and set(kinds[1:]) == {"update"} and len(kinds) >= 3
    assert shown[0][1]["image/png"] != shown[1][1]["image/png"]
    assert "image/png" not in shown[-1][1]


def test_curves_that_were_never_drawn_leave_nothing(hand, data, tmp_path, capsys):
    live = LiveCurves(every_s=1000)
    trained(hand, data, tmp_path, replace(QUICK, steps=2), [live])
    live.close()
    assert live.handle is None
