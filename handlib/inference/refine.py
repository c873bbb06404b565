"""A hand model moved onto the places where the network found the joints."""

from dataclasses import replace

import torch
from torch.nn.functional import huber_loss

from handlib.geometry import axis_angle_to_matrix, matrix_to_axis_angle

RATE = 0.02
# How far the truth may be from what the network says: of a joint's place (sides of the crop), the
# hand's and the fingers' turns (radians), betas, log of the scale, the hand's place (sides).
PLACE = 0.02
SPREAD = {"turn": 0.2, "fingers": 0.2, "betas": 0.5, "depth": 0.2, "shift": 0.05}


def refined(model, prediction, K, steps):
    """A ``Prediction`` after gradient steps of pose, view, shape and camera.

    What is minimised: the distances of the projected joints from ``keypoints_2d`` (Huber's loss:
    a joint that was found in the wrong place pulls little), and the squared distance from the
    first estimate.

    Args:
        model: ``HandNet``. prediction: what it says of B crops.
        K: (B, 3, 3) of the crops. steps: how many.

    Raises:
        ValueError: a model that does not find joints in the image.
    """
    if prediction.keypoints_2d is None:
        raise ValueError(
            "refinement needs a model that finds joints in the image (pooling='keypoints'): "
            "leave refine at 0"
        )
    first = {
        "turn": torch.zeros_like(prediction.pose[:, :3]),
        "fingers": matrix_to_axis_angle(prediction.rotations[:, 1:]).flatten(1),
        "betas": prediction.betas,
        "depth": torch.zeros_like(prediction.scale),
        "shift": torch.zeros_like(prediction.trans),
    }
    first = {name: value.detach().clone() for name, value in first.items()}
    size = model.config.input_size
    with torch.enable_grad():
        now = {name: value.clone().requires_grad_() for name, value in first.items()}
        optimizer = torch.optim.Adam(now.values(), lr=RATE, betas=(0.8, 0.95))
        for _ in range(steps):
            seen = _posed(model, prediction, K, now, size)["joints_2d"]
            apart = (seen - prediction.keypoints_2d) / (PLACE * size)
            loss = huber_loss(apart, torch.zeros_like(apart), reduction="sum")
            for name, spread in SPREAD.items():
                loss = loss + 0.5 * ((now[name] - first[name]) / spread).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        made = _posed(model, prediction, K, {n: v.detach() for n, v in now.items()}, size)
    return replace(prediction, **made)


def _posed(model, prediction, K, now, size):
    """The fields of a ``Prediction`` that change with the parameters ``now``."""
    root = axis_angle_to_matrix(now["turn"]) @ prediction.rotations[:, 0]
    fingers = axis_angle_to_matrix(now["fingers"].unflatten(1, (15, 3)))
    scale = prediction.scale * now["depth"].exp()
    trans = prediction.trans + size * now["shift"]
    placed = model.place(torch.cat([root[:, None], fingers], 1), now["betas"], scale, trans, K)
    fingers = now["fingers"] - model.layer.hands_mean
    return placed | {"pose": torch.cat([matrix_to_axis_angle(root), fingers], 1)}
