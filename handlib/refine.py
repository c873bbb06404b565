"""A hand model moved onto the places where the network found the joints.

A network's head says a whole hand at once, and its joints lie beside where its heatmaps found them.
A few gradient steps bring the two together: each joint pulls as much as its heatmap is narrow (the
spread of a trained one is the error of its joint), against the hand that the head said.
"""

from dataclasses import replace

import torch
from torch.nn.functional import huber_loss
from torch.optim.adam import adam

from handlib.geometry import axis_angle_to_matrix, matrix_to_axis_angle
from handlib.pooling import HEATMAP_SIGMA

STEP = 0.25  # of the optimizer, in spreads
# How far the truth may be from what the head says: the hand's turn and the fingers' (radians; most
# about the third axis, about which MANO's fingers bend), betas, log of the scale, the hand's place
# (sides of the crop). About the errors of trained weights.
SPREAD = {
    "turn": torch.full((3,), 0.1),
    "fingers": torch.tensor([[0.05, 0.05, 0.25]] * 12 + [[0.15, 0.15, 0.15]] * 3).flatten(),
    "betas": torch.ones(10),
    "depth": torch.tensor(0.1),
    "shift": torch.full((2,), 0.02),
}
# Least error of a joint's place, in sides of the crop; it pulls more than by its error.
PLACE = 0.025
PULL = 1.4


@torch.inference_mode(False)
def refined(model, prediction, K, steps, size=None):
    """A ``Prediction`` after gradient steps of pose, view, shape and camera.

    What is minimised: the distances of the projected joints from ``keypoints_2d`` (Huber's loss:
    a joint that was found in the wrong place pulls little), and the squared distance from the
    first estimate. Of all steps the one that reaches least of it counts, for each hand.

    Args:
        model: ``HandNet``. prediction: what it says of B crops, in one look.
        K: (B, 3, 3) of the crops. steps: how many. No gradient passes through them.
        size: side of the crops, px; None: the model's usual one.

    Raises:
        ValueError: a model that does not find joints in the image.
    """
    if prediction.keypoints_2d is None:
        raise ValueError(
            "refinement needs a model that finds joints in the image (pooling='keypoints'): "
            "leave refine at 0"
        )
    given = {name: getattr(prediction, name) for name in ("rotations", "scale", "trans", "betas")}
    # Copies: what was made in inference mode takes part in no gradient.
    prediction = replace(prediction, **{n: value.detach().clone() for n, value in given.items()})
    first = {
        "turn": torch.zeros_like(prediction.betas[:, :3]),
        "fingers": matrix_to_axis_angle(prediction.rotations[:, 1:]).flatten(1),
        "betas": prediction.betas,
        "depth": torch.zeros_like(prediction.scale),
        "shift": torch.zeros_like(prediction.trans),
    }
    size = model.config.input_size if size is None else size
    K, found = K.detach().clone(), prediction.keypoints_2d.detach().clone()
    place = (size * place_error(prediction.heatmaps)[..., None] / PULL).clone()
    # In spreads from the first estimate: steps are as long for what is sure as for what is not.
    moved = {name: torch.zeros_like(value) for name, value in first.items()}
    best, least = moved, torch.full_like(prediction.scale, torch.inf)
    steered = _Adam([m.requires_grad_() for m in moved.values()])
    for step in range(steps + 1):
        with torch.set_grad_enabled(step < steps):
            seen = _posed(model, prediction, K, _now(first, moved), size)["joints_2d"]
            apart = (seen - found) / place
            loss = huber_loss(apart, torch.zeros_like(apart), reduction="none").sum((1, 2))
            loss = loss + sum(0.5 * m.square().reshape(len(m), -1).sum(1) for m in moved.values())
        better = loss.detach() < least
        least = torch.where(better, loss.detach(), least)
        best = {n: _where(better, m.detach().clone(), best[n]) for n, m in moved.items()}
        if step < steps:
            steered.step(loss.sum())
    with torch.no_grad():
        made = _posed(model, prediction, K, _now(first, best), size)
    return replace(prediction, **made)


class _Adam:
    """``torch.optim.Adam`` by its function: the class imports torch's compiler when it is made,
    which takes a second that a photo should not wait for."""

    def __init__(self, parameters):
        self.parameters = parameters
        self.means = [torch.zeros_like(p) for p in parameters]
        self.squares = [torch.zeros_like(p) for p in parameters]
        self.steps = [torch.zeros(()) for _ in parameters]

    def step(self, loss):
        gradients = torch.autograd.grad(loss, self.parameters)
        with torch.no_grad():
            adam(
                self.parameters, list(gradients), self.means, self.squares, [], self.steps,
                amsgrad=False, beta1=0.8, beta2=0.95, lr=STEP, weight_decay=0.0, eps=1e-8,
                maximize=False,
            )  # fmt: skip


def _where(rows, new, old):
    """``new`` in some rows (B,), ``old`` in the others."""
    return torch.where(rows.view(-1, *[1] * (new.ndim - 1)), new, old.detach())


def _now(first, moved):
    """Parameters that were ``moved`` by so many spreads."""
    return {n: value + SPREAD[n].to(value.device) * moved[n] for n, value in first.items()}


def place_error(heatmaps):
    """Error (B, 21) of the joints' places, in sides of the crop, by the spread of (B, 21, h, w)
    log-probabilities beyond that of the Gaussians they were trained with."""
    share = heatmaps.detach().float().exp()
    variance = 0
    for cells, along in zip(share.shape[-2:], (share.sum(-1), share.sum(-2)), strict=True):
        place = (torch.arange(cells, device=share.device) + 0.5) / cells
        variance = variance + along @ place.square() - (along @ place).square()
    beyond = (variance / 2 - HEATMAP_SIGMA**2).clamp(min=0)
    return (PLACE**2 + beyond).sqrt()


def _posed(model, prediction, K, now, size):
    """The fields of a ``Prediction`` that change with the parameters ``now``."""
    root = axis_angle_to_matrix(now["turn"]) @ prediction.rotations[:, 0]
    fingers = axis_angle_to_matrix(now["fingers"].unflatten(1, (15, 3)))
    scale = prediction.scale * now["depth"].exp()
    trans = prediction.trans + size * now["shift"]
    placed = model.place(torch.cat([root[:, None], fingers], 1), now["betas"], scale, trans, K)
    fingers = now["fingers"] - model.layer.hands_mean
    return placed | {"pose": torch.cat([matrix_to_axis_angle(root), fingers], 1)}
