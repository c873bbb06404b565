"""What is minimised. Each loss counts only the rows that have the annotation; of joints, those that
are known.

Shapes: B batch, 21 joints, V=778 vertices. A batch is what ``data.sample.collate`` makes: NaN and
``has_<name>`` False where an annotation is missing. A loss without any annotated row is exactly
zero and still part of the graph, so that a batch of unlabelled images trains nothing and several
processes agree on which parameters have gradients. From an image of a left hand only its side is
learnt: the network sees right hands.
"""

from dataclasses import asdict, dataclass, replace

import torch

from handlib.geometry import axis_angle_to_matrix, focal_length
from handlib.joints import ROOT
from handlib.pooling import HEATMAP_SIGMA
from handlib.presets import UNTRAINED


@dataclass(frozen=True)
class LossWeights:
    """Factor of each loss; 0 leaves it out."""

    joints_2d: float = 1.0
    """Projected joints: L1 in half crops, so that the crop is [-1, 1]."""
    keypoints_2d: float = 5.0
    """The same for joints found directly in the image, where the model has them. The heavier, the
    sooner a network from random weights tells the fingers apart."""
    heatmaps: float = 3.0
    """Where the model looks for each joint: divergence from a Gaussian about the joint, nats. It
    tells each joint's map apart at once, which the mean place alone does slowly."""
    depths: float = 10.0
    """Depths of joints found directly in the image, relative to the root joint's: L1 in metres."""
    joints: float = 10.0
    """3D joints relative to the root joint: L1 in metres."""
    vertices: float = 10.0
    """Vertices relative to the root joint: L1 in metres."""
    aligned: float = 40.0
    """3D joints after the best similarity onto the truth: L1 in metres. The losses above punish a
    bent hand seen from the wrong side so much that, while the view is unknown, a network curls
    every finger; this one sees the articulation alone."""
    pose: float = 2.0
    """Joint rotations: squared difference of rotation matrices."""
    betas: float = 0.01
    """Shape: squared difference."""
    camera: float = 0.0
    """Where and how large the hand is seen: L1 of ``trans`` in half crops and of log ``scale``."""
    mask: float = 0.0
    """Share of the vertices seen outside of the hand's mask. It falls to 0 over the training: it
    brings the hand to its place, and then would go on to shrink it."""
    handedness: float = 5.0
    """Right or left, where the model tells it: binary cross-entropy, nats."""
    presence: float = 1.0
    """A hand or none, where the model tells it: binary cross-entropy, nats."""
    regulariser: float = 0.0001
    """Pull towards the mean hand: |theta|^2 + ``regulariser_betas`` |beta|^2; needs no label."""
    regulariser_betas: float = 1.0
    """Share of the shape in the regulariser (3dhand: 1e4, for its far smaller betas)."""

    def at(self, progress):
        """The factors at ``progress`` of the training, 0 at its start and 1 at its end."""
        return replace(self, mask=self.mask * max(1 - progress, 0.0))

    def only(self, name):
        """The factor of one loss, and 0 for all others."""
        others = asdict(self).keys() - {name, "regulariser_betas"}
        return replace(self, **dict.fromkeys(others, 0.0))


@dataclass(frozen=True)
class InTurn:
    """Factors that change once in a training."""

    first: LossWeights
    then: LossWeights
    change: float
    """The progress from which on it is ``then``."""

    def at(self, progress):
        """The factors at ``progress``, see ``LossWeights.at``."""
        return (self.first if progress < self.change else self.then).at(progress)


# Losses of what only some models tell, and the field of a prediction that is None without it.
TOLD_BY = {
    "keypoints_2d": "keypoints_2d",
    "heatmaps": "heatmaps",
    "depths": "depths",
    "handedness": "right",
    "presence": "present",
}
# The camera and the hand's parameters alone: what an encoder is pretrained with (3dhand).
PARAMETERS_ONLY = LossWeights(
    **dict.fromkeys(asdict(LossWeights()), 0.0)
    | {"camera": 1.0, "pose": 2.0, "betas": 0.01}
    | {name: getattr(LossWeights(), name) for name in ("handedness", "presence")}
)
# For a network that finds the joints already. By the factors above, side and heatmaps would drown
# joints, vertices and pose in 3D, where such a network errs: docs/modern.md.
OF_TRAINED = LossWeights(
    handedness=0.5, heatmaps=2.0, joints_2d=3.0, depths=30.0, joints=30.0, vertices=30.0,
    aligned=160.0, pose=10.0,
)  # fmt: skip


def usual_weights(init):
    """``LossWeights`` of a network that begins with ``init``, see ``checkpoints.begin``."""
    return LossWeights() if init in UNTRAINED else OF_TRAINED


def total_loss(prediction, batch, weights):
    """Weighted sum of the losses.

    Args:
        prediction: has ``joints``, ``vertices`` (metres, relative to ``joints.ROOT``),
            ``joints_2d``, ``vertices_2d`` (px of the crop), ``pose``, ``betas``, ``rotations``,
            ``keypoints_2d``, ``heatmaps``, ``scale``, ``trans``, ``right``.
        batch: dict of tensors on the same device.
        weights: LossWeights.

    Returns:
        (total, terms): scalar tensor, and dict of its weighted parts, detached.
    """
    size = batch["image"].shape[-1]
    all_hands, batch = batch, _of_right_hands(batch)
    parts = {
        "joints_2d": lambda: joint_2d_loss(prediction.joints_2d, batch, size),
        "keypoints_2d": lambda: joint_2d_loss(prediction.keypoints_2d, batch, size),
        "heatmaps": lambda: heatmap_loss(prediction.heatmaps, batch, size),
        "depths": lambda: depth_loss(prediction.depths, batch),
        "joints": lambda: joint_3d_loss(prediction.joints, batch),
        "vertices": lambda: vertex_loss(prediction.vertices, batch),
        "aligned": lambda: aligned_loss(prediction.joints, batch),
        "pose": lambda: pose_loss(prediction.rotations, prediction.mean_pose, batch),
        "betas": lambda: betas_loss(prediction.betas, batch),
        "camera": lambda: camera_loss(prediction.scale, prediction.trans, batch, size),
        "mask": lambda: mask_loss(prediction.vertices_2d, batch),
        "handedness": lambda: handedness_loss(prediction.right, all_hands),
        "presence": lambda: presence_loss(prediction.present, batch["present"]),
        "regulariser": lambda: regulariser(
            prediction.pose,
            prediction.betas,
            weights.regulariser_betas,
            batch["is_right"] & batch["present"],
        ),
    }
    factors = asdict(weights)
    for part, field in TOLD_BY.items():
        if getattr(prediction, field) is None:
            factors[part] = 0
    terms = {name: factors[name] * part() for name, part in parts.items() if factors[name]}
    if not terms:
        raise ValueError("all loss weights are 0: there is nothing to train")
    total = torch.stack(list(terms.values())).sum()
    return total, {name: term.detach() for name, term in terms.items()}


def _of_right_hands(batch):
    """The batch without the annotations of left hands."""
    known = {name: has for name, has in batch.items() if name.startswith("has_")}
    return batch | {name: has & batch["is_right"] for name, has in known.items()}


def joint_2d_loss(joints_2d, batch, size):
    """Mean absolute difference of (B, 21, 2) px, in half crops of ``size`` px."""
    return _of_joints(joints_2d, batch["joints_2d"], known_joints(batch, "joints_2d")) / (size / 2)


def heatmap_loss(heatmaps, batch, size):
    """Kullback-Leibler divergence of heatmaps from Gaussians about the joints.

    Joints outside of the crop have no place in a map, and do not count.

    Args:
        heatmaps: (B, 21, h, w) log-probabilities of cells over a crop of ``size`` px.
        batch: has ``joints_2d`` (B, 21, 2).
    """
    target = torch.nan_to_num(batch["joints_2d"], nan=-size)
    seen = ((target > -0.5) & (target < size - 0.5)).all(-1) & known_joints(batch, "joints_2d")
    x, y = target.unbind(-1)
    rows, columns = heatmaps.shape[-2:]
    truth = _log_gaussian(y, rows, size)[..., None] + _log_gaussian(x, columns, size)[..., None, :]
    divergence = (truth.exp() * (truth - heatmaps)).sum((-2, -1))
    return _over(torch.where(seen, divergence, 0.0).sum(), seen.sum())


def _log_gaussian(centre, cells, size):
    """Log-probabilities (..., cells) of a row of cells over ``size`` px about ``centre`` (...)."""
    places = (torch.arange(cells, device=centre.device) + 0.5) * (size / cells) - 0.5
    return (-0.5 * ((places - centre[..., None]) / (HEATMAP_SIGMA * size)) ** 2).log_softmax(-1)


def depth_loss(depths, batch):
    """Mean absolute difference of (B, 21) metres behind the root joint."""
    target, known = _rooted(batch)
    return _of_joints(depths[..., None], target[..., 2:], known)


def joint_3d_loss(joints, batch):
    """Mean absolute difference of root-relative joints (B, 21, 3), metres."""
    return _of_joints(joints, *_rooted(batch))


def aligned_loss(joints, batch):
    """As ``joint_3d_loss``, of (B, 21, 3) joints moved by the best similarity onto the truth.

    The similarity (Umeyama 1991, proper rotations) is taken as given: no gradient passes by it.
    """
    has = batch["has_joints"]
    target = _target(joints, batch["joints"] * batch["unit"][:, None, None], has)
    source, target = (x - x.mean(1, keepdim=True) for x in (joints, target))
    with torch.no_grad():
        u, singular, vt = torch.linalg.svd((target.mT @ source).nan_to_num())
        signs = torch.ones_like(singular)
        signs[:, 2] = torch.linalg.det(u @ vt).sign()
        scale = (singular * signs).sum(1) / source.square().sum((1, 2))
        similarity = scale[:, None, None] * ((u * signs[:, None]) @ vt)
    error = (source @ similarity.mT - target).abs()
    # Even a hand onto itself is moved by rounding: rows without an annotation count exactly 0.
    return _mean(torch.where(has[:, None, None], error, 0.0), has)


def vertex_loss(vertices, batch):
    """Mean absolute difference of vertices (B, V, 3) relative to the root joint, metres."""
    has = batch["has_vertices"] & batch["has_joints"]
    target = (batch["vertices"] - batch["joints"][:, ROOT : ROOT + 1]) * _unit(batch)
    return _mean((vertices - _target(vertices, target, has)).abs(), has)


def pose_loss(rotations, mean_pose, batch):
    """Mean squared difference of rotation matrices: never of axis-angles, where near rotations
    may be far apart.

    Args:
        rotations: (B, 16, 3, 3) of the whole hand and of the joints of the fingers.
        mean_pose: (45,) axis-angle that the annotation's last 45 numbers depart from.
        batch: has ``pose`` (B, 48).
    """
    has = batch["has_pose"]
    known = torch.where(has[:, None], batch["pose"], 0.0)
    known = torch.cat([known[:, :3], known[:, 3:] + mean_pose], 1)
    target = axis_angle_to_matrix(known.unflatten(1, (16, 3)))
    return _mean((rotations - _target(rotations, target, has)).square(), has)


def betas_loss(betas, batch):
    """Mean squared difference of shapes (B, 10)."""
    error = (betas - _target(betas, batch["betas"], batch["has_betas"])).square()
    return _mean(error, batch["has_betas"])


def camera_loss(scale, trans, batch, size):
    """Mean absolute difference of (B, 2) ``trans``, in half crops, and of log (B,) ``scale``.

    The true scale is focal length over the root joint's depth, so K and 3D joints are needed.
    """
    has = batch["has_K"] & batch["has_joints"] & batch["has_joints_2d"]
    depth = batch["joints"][:, ROOT, 2] * batch["unit"]
    has = has & (depth > 0)
    depth = torch.where(has, depth, 1.0)
    focal = focal_length(torch.where(has[:, None, None], batch["K"], torch.eye(3).to(batch["K"])))
    true = torch.cat([2 / size * batch["joints_2d"][:, ROOT], (focal / depth).log()[:, None]], 1)
    made = torch.cat([2 / size * trans, scale.log()[:, None]], 1)
    return _mean((made - _target(made, true, has)).abs(), has)


def mask_loss(vertices_2d, batch):
    """1 - mean of the hand's mask where the vertices are seen (3dhand, section 3.4).

    Args:
        vertices_2d: (B, V, 2) px. Outside of the image is outside of the mask.
        batch: has ``mask`` (B, H, W) bool, True on the hand.
    """
    has = batch["has_mask"]
    mask = (batch["mask"] & has[:, None, None]).to(vertices_2d.dtype)
    height, width = mask.shape[-2:]
    # Pixel centres are at integers; for grid_sample -1 and 1 are the image's borders.
    places = (2 * vertices_2d + 1) / vertices_2d.new_tensor([width, height]) - 1
    inside = torch.nn.functional.grid_sample(mask[:, None], places[:, None], align_corners=False)
    return _mean(torch.where(has[:, None], 1 - inside[:, 0, 0], 0.0), has)


def handedness_loss(right, batch):
    """Binary cross-entropy of log-odds (B,) of a right hand, where the side is known.

    Both sides count alike, however few left hands there are: else the first thing learnt is that
    they are few.
    """
    has, is_right = batch["has_is_right"], batch["is_right"]
    softplus = torch.nn.functional.softplus
    sides = ((softplus(-right), has & is_right), (softplus(right), has & ~is_right))
    return sum(_mean(torch.where(rows, error, 0.0), rows) for error, rows in sides) / 2


def presence_loss(present, truth):
    """Binary cross-entropy of log-odds (B,) that there is a hand, of (B,) bool."""
    return torch.nn.functional.binary_cross_entropy_with_logits(present, truth.to(present.dtype))


def regulariser(pose, betas, betas_weight=1.0, rows=None):
    """|theta|^2 + w |beta|^2, mean of the rows (3dhand, arXiv 1902.03451, section 3.4).

    Args:
        pose: (B, 48); theta is its last 45 numbers, the departure from the mean pose (as long as
            its coefficients in the pose components, which are orthonormal).
        betas: (B, 10).
        betas_weight: w.
        rows: (B,) bool, those that count; None for all.
    """
    error = pose[:, 3:].square().sum(1) + betas_weight * betas.square().sum(1)
    if rows is None:
        return error.mean()
    return _mean(torch.where(rows, error, 0.0), rows)


def known_joints(batch, name):
    """(B, 21) bool: which of the ``joints`` or ``joints_2d`` of right hands are known."""
    return batch[name].isfinite().all(-1) & batch["is_right"][:, None]


def _rooted(batch):
    """Joints (B, 21, 3) relative to the root joint, in metres whatever the annotations' unit, and
    which (B, 21) of them are known: none where the root is not."""
    known, joints = known_joints(batch, "joints"), batch["joints"]
    target = (joints - joints[:, ROOT : ROOT + 1]) * _unit(batch)
    return target, known & known[:, ROOT : ROOT + 1]


def _unit(batch):
    return batch["unit"][:, None, None]


def _of_joints(points, target, known):
    """Mean absolute difference of (B, 21, D) over the joints known (B, 21); 0 without any."""
    error = (points - _target(points, target, known)).abs()
    return _over(error.sum(), known.sum() * points.shape[-1])


def _target(prediction, annotation, has):
    """The annotation where there is one, of rows (B,) or joints (B, 21); else the prediction
    itself: no error and no gradient."""
    has = has.reshape(*has.shape, *[1] * (prediction.ndim - has.ndim))
    return torch.where(has, annotation, prediction.detach())


def _mean(error, has):
    """Mean of (B, ...) errors over the annotated rows; 0 where there is none."""
    return _over(error.sum(), has.sum() * error[0].numel())


def _over(total, count):
    """A sum over its count of numbers; 0 without any.

    Processes that train together take the mean of their gradients. Each divides by the mean of all
    counts, so that this is the gradient of the whole batch, wherever its annotations lie.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        count = count.float()
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return total / torch.where(count > 0, count, 1)
