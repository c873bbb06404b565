from dataclasses import replace

import numpy as np
import pytest
import torch
from posed_hands import PosedHands

from handlib import plots
from handlib.augment import stream_transforms
from handlib.checkpoints import begin
from handlib.data import HandDataset, HandStream, collate
from handlib.diagnose import find_faults, layer_figures, loss_gradients
from handlib.losses import LossWeights, joint_3d_loss, total_loss, usual_weights
from handlib.model import inputs, make_model


@pytest.fixture(scope="module")
def batch(hand):
    data = HandDataset(PosedHands(hand, 6))
    return collate([data[i] for i in range(6)])


def loss(prediction, batch):
    return total_loss(prediction, batch, LossWeights())[0]


def good_history(**changed):
    records = [
        {"step": s, "loss": 10 / s, "s_data": 0.01, "s_forward": 0.1, "val_pa_mpjpe_mm": 20 - s}
        for s in range(1, 11)
    ]
    return [record | {k: v[n] for k, v in changed.items()} for n, record in enumerate(records)]


def test_figures_of_layers_leave_the_model_as_it_was(hand, batch):
    model = make_model("small", hand, hidden=32).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layers = layer_figures(model, batch, loss)
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    first = layers["backbone.embedder.embedder.convolution"]
    assert first["activation"] > 0 and first["gradient"] > 0
    assert 0 <= layers["head.2"]["silent"] < 1
    assert find_faults(good_history(), 30, 9, layers=layers) == []
    assert len(plots.show_layers(layers, "small").axes) == 3


def test_losses_gradients_are_those_of_their_terms(hand, batch):
    model = make_model("small", hand, hidden=32).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weights = replace(LossWeights(), joints=7.0)
    norms = loss_gradients(model, batch, weights)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training and all(p.grad is None for p in model.parameters())
    model.train()
    (7 * joint_3d_loss(model(**inputs(batch)).joints, batch)).backward()
    last = model.backbone.encoder.stages[-1].layers[-1].layer[-1].convolution.weight
    assert norms["joints"] == pytest.approx(last.grad.norm().item(), 1e-3)
    (ax,) = plots.show_loss_gradients(norms).axes
    assert len(ax.patches) == len(norms)


def test_side_and_heatmaps_do_not_drown_the_bend_of_trained_fingers(hand):
    model = begin("modern", hand, "shipped")
    stream = HandStream(hand, model.config.input_size, 1000, seed=21)
    shown = HandDataset(stream, stream_transforms(model.config.input_size, True, looks=2))
    batch = collate([shown[i] for i in range(24)])
    usual, ours = (
        loss_gradients(model, batch, usual_weights(init)) for init in ("random", "shipped")
    )
    assert usual["aligned"] < 0.2 * max(usual.values())
    assert ours["aligned"] > 0.2 * max(ours.values())


def test_dead_units_and_layers_without_gradient_are_found(hand, batch):
    model = make_model("small", hand, hidden=32)
    with torch.no_grad():
        model.head[1].bias.fill_(-1e4)
    layers = layer_figures(model, batch, loss)
    assert layers["head.2"]["silent"] == 1
    silent, flat = find_faults([], layers=layers)
    assert "100% of the units of head.2 are silent" in silent
    assert "no gradient reaches" in flat and "head.1" in flat and "backbone" not in flat


@pytest.mark.parametrize(
    ("changed", "others", "message"),
    [
        ({"loss": [5, np.nan, 3, 2, 1, 1, 1, 1, 1, 1]}, {}, "not a finite number"),
        ({"loss": [10.0] * 10, "val_pa_mpjpe_mm": [14] * 10}, {}, "hardly fell"),
        ({"s_data": [0.1] * 10}, {}, "50% of the time went into waiting for data"),
        ({"val_pa_mpjpe_mm": [15, 12, 10, 10, 11, 12, 13, 14, 14, 14]}, {}, "rose again"),
        ({}, {"baseline_mm": 9.5}, "no better than the mean pose"),
        ({}, {"train_mm": 5.0}, "overfit"),
    ],
)
def test_each_fault_is_said_alone(changed, others, message):
    others = {"baseline_mm": 20, "train_mm": 9} | others
    (found,) = find_faults(good_history(**changed), **others)
    assert message in found


def test_a_head_that_ignores_the_image_is_found(hand):
    data = PosedHands(hand, 8)
    truth = np.stack([data[i].joints for i in range(8)])
    seen = {"gt_joints": truth + [0, 0, 5], "gt_unit": np.ones(8)}
    constant = np.repeat(truth[:1] - truth[:1, [9]], 8, 0)
    (found,) = find_faults([], predictions=seen | {"pred_joints": constant})
    assert "nearly the same hand" in found
    rooted = truth - truth[:, [9]]
    assert find_faults([], predictions=seen | {"pred_joints": rooted}) == []


def test_what_was_learnt_before_need_not_be_learnt_again():
    """As from the weights that ship: the loss stays as low as it was."""
    trained = good_history(loss=[2.4] * 10, val_pa_mpjpe_mm=[8] * 10)
    assert find_faults(trained, 18, 8) == []
    assert "hardly fell" in find_faults(trained)[0]


def test_nothing_is_wrong_with_a_good_training():
    assert find_faults(good_history(), 20, 9) == []
    begun = {"step": 0, "val_pa_mpjpe_mm": 15.0}
    assert find_faults([begun, *good_history()], 20, 9) == []
    assert find_faults([]) == []
