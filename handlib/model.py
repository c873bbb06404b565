"""From an image crop to a hand: encoder, head, hand-model decoder and camera.

The network sees right hands. Joints and vertices are in metres, oriented as the camera, relative
to joint ``joints.ROOT``. ``trans`` (px) is where that joint is seen, ``scale`` (px per metre) how
large things are at its depth: with the crop's K they place it in space. A "weak" camera sees the
whole hand at that depth, ``joints_2d = trans + scale * joints[..., :2]`` (x right, y down); a
"perspective" camera sees each joint at its own depth, through K.
"""

from dataclasses import dataclass, replace

import torch
from torch import nn

from handlib.backbones import make_backbone
from handlib.geometry import (
    axis_angle_to_matrix,
    back_project,
    focal_length,
    known_camera,
    matrix_to_axis_angle,
    matrix_to_rotation_6d,
    project,
    rotation_6d_to_matrix,
)
from handlib.joints import N_JOINTS, ROOT
from handlib.looks import look_around, see, settle
from handlib.mano import HandLayer
from handlib.names import require_one_of
from handlib.pooling import AveragePooling, KeypointPooling
from handlib.presets import MODEL_PRESETS, ROTATION_SIZE, ModelConfig

# Mean and standard deviation of ImageNet's RGB in [0, 1]: what pretrained encoders expect.
IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# A typical hand's scale, and the crop size it was given for (3dhand, arXiv 1902.03451).
TYPICAL_SCALE, TYPICAL_SIZE = 545.0, 256
NEAR = 0.01  # metres: an untrained guess must not reach behind the camera
# Width of a keypoint's Gaussian in its input map, as a share of the crop.
MAP_SIGMA = 0.02


@dataclass
class Prediction:
    """What the model says about B crops of S x S px; right hands."""

    joints: torch.Tensor
    """(B, 21, 3) metres, camera orientation, relative to ``joints.ROOT``; FreiHAND order."""
    vertices: torch.Tensor
    """(B, 778, 3) metres, as ``joints``."""
    joints_2d: torch.Tensor
    """(B, 21, 2) px of the crop, by the model's camera."""
    vertices_2d: torch.Tensor
    """(B, 778, 2) px of the crop, by the model's camera."""
    pose: torch.Tensor
    """(B, 48) axis-angle: 3 of the whole hand, 45 relative to the mean pose (FreiHAND's "mano")."""
    betas: torch.Tensor
    """(B, 10) shape."""
    rotations: torch.Tensor
    """(B, 16, 3, 3) of the hand model's joints; the first is the whole hand's."""
    scale: torch.Tensor
    """(B,) px of the crop per metre."""
    trans: torch.Tensor
    """(B, 2) px of the crop: where ``joints.ROOT`` is seen."""
    root: torch.Tensor
    """(B, 3) metres, camera frame: where ``joints.ROOT`` is; NaN where K is not known."""
    mean_pose: torch.Tensor
    """(45,) axis-angle of the hand model, which ``pose`` departs from."""
    keypoints_2d: torch.Tensor | None = None
    """(B, 21, 2) px of the crop, found directly in the image; None with average pooling."""
    heatmaps: torch.Tensor | None = None
    """(B, 21, h, w) log-probabilities of each joint's place, cells over the whole crop (after a
    second look: the upright one); or None."""
    depths: torch.Tensor | None = None
    """(B, 21) metres behind ``joints.ROOT``, found directly in the image; or None."""
    right: torch.Tensor | None = None
    """(B,) log-odds that the crop shows a right hand; None without a handedness head."""
    present: torch.Tensor | None = None
    """(B,) log-odds that the crop shows a hand; None without such a head."""


class HandNet(nn.Module):
    """Regresses the parameters of a hand model and where the camera sees it.

    Args:
        config: ``ModelConfig``.
        hand: ``HandModel``, a right hand.
        init: "random" or "pretrained" weights of the encoder.

    Raises:
        ValueError: for a left hand model, or a setting that does not exist.
    """

    def __init__(self, config, hand, init="random"):
        super().__init__()
        if not hand.is_right:
            raise ValueError(f"the network sees right hands; {hand.name} is a left hand model")
        config.check()
        self.config, self.hand = config, hand
        channels = 3 + N_JOINTS * config.keypoint_maps
        backbone = make_backbone(config.backbone, init, channels)
        self.backbone = backbone.to(memory_format=torch.channels_last)
        if config.pooling == "keypoints":
            pooling = KeypointPooling(self.backbone.channels, config.width, config.depth)
        else:
            pooling = AveragePooling(self.backbone.channels)
        self.pooling = pooling
        n_fingers = 15 * 6 if config.fingers == "rot6d" else config.n_pose
        self.sizes = [1, 2, ROTATION_SIZE[config.rotation], n_fingers, 10]
        self.sizes += [1] * (config.handedness + config.presence)
        self.head = _make_head(self.pooling.out_features, config, sum(self.sizes))
        self.layer = HandLayer(hand)
        components = torch.tensor(hand.hands_components[: config.n_pose], dtype=torch.float32)
        mean_std = torch.tensor([IMAGE_MEAN, IMAGE_STD])[:, None, :, None, None]
        self.register_buffer("image_mean_std", 255 * mean_std, persistent=False)
        self.register_buffer("components", components, persistent=False)
        mean = axis_angle_to_matrix(self.layer.hands_mean.unflatten(0, (15, 3)))
        self.register_buffer("mean_6d", matrix_to_rotation_6d(mean), persistent=False)

    def forward(self, image, K=None, keypoints=None, refine=None, turns=None):
        """Look at crops; ``inputs`` takes the arguments from a batch.

        Args:
            image: (B, 3, S, S) uint8 RGB.
            K: (B, 3, 3) intrinsics of the crops, NaN where not known, or None.
            keypoints: (B, 21, 3) x, y px of the crop and confidence, see ``keypoint_maps``; for
                a model without such maps they change nothing.
            refine: steps of ``refine.refined``, when it does not learn; None: ``config.refine``,
                where it finds joints.
            turns: as ``ModelConfig.turns``; None: the configuration's.

        Returns:
            Prediction.

        Raises:
            ValueError: images that are not square, a hand whose keypoints nobody looked for, or
                steps for a model that does not find joints.
        """
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] != image.shape[3]:
            raise ValueError(f"expected square (B, 3, S, S) images, got {tuple(image.shape)}")
        if self.training:
            return self.look(image, K, keypoints)
        seen = see(self, image, K, keypoints)
        seen = look_around(self, seen, self.config.turns if turns is None else turns)
        return settle(self, seen, refine)

    def look(self, image, K=None, keypoints=None):
        """One look at crops; arguments and result as of ``forward``."""
        mean, std = self.image_mean_std
        seen = (image - mean) / std
        if self.config.keypoint_maps:
            if keypoints is None or not keypoints.isfinite().all():
                raise ValueError(
                    "this model sees maps of keypoints, and these images have none: fill them in "
                    "with handlib.keypoints.add_keypoints (in a notebook: the parameter keypoints)"
                )
            seen = torch.cat([seen, keypoint_maps(keypoints, image.shape[-1])], 1)
        seen = seen.contiguous(memory_format=torch.channels_last)
        pooled = self.pooling(self.backbone(seen).feature_maps)
        numbers = self.head(pooled.features)
        # The hand model is millimetres of geometry: half precision would be seen.
        with torch.autocast(image.device.type, enabled=False):
            places = None if pooled.places is None else pooled.places.float()
            prediction = self.decode(numbers.float(), places, image.shape[-1], K)
        prediction.heatmaps, prediction.depths = pooled.heatmaps, pooled.depths
        return prediction

    def decode(self, numbers, places, size, K=None):
        """The head's numbers (B, sum of ``sizes``) -> ``Prediction`` for crops of ``size`` px."""
        scale, shift, rotation, fingers, betas, *told = numbers.split(self.sizes, 1)
        # Offsets belong to a crop size: they grow with it. exp keeps the scale positive.
        scale = TYPICAL_SCALE * size / TYPICAL_SIZE * scale[:, 0].exp()
        # The root is seen near the crop's centre, or near where its keypoint was found.
        origin = 0 if places is None else places[:, ROOT]
        trans = _to_pixels(origin + shift, size)
        root = _rotation_matrix(rotation)
        bent, fingers = self._bend(fingers)
        camera, has_K = known_camera(K, numbers, size)
        placed = self.place(torch.cat([root[:, None], bent], 1), betas, scale, trans, camera)
        placed["root"] = torch.where(has_K[:, None], placed["root"], torch.nan)
        return Prediction(
            **placed,
            pose=torch.cat([matrix_to_axis_angle(root), fingers], 1),
            keypoints_2d=None if places is None else _to_pixels(places, size),
            mean_pose=self.layer.hands_mean,
            right=told[0][:, 0] if self.config.handedness else None,
            present=told[-1][:, 0] if self.config.presence else None,
        )

    def place(self, rotations, betas, scale, trans, camera):
        """A hand of these parameters as the model's camera sees it.

        Args:
            rotations: (B, 16, 3, 3). betas: (B, 10). scale: (B,). trans: (B, 2).
            camera: (B, 3, 3) intrinsics.

        Returns:
            dict of the fields of ``Prediction`` that follow from them, and themselves.
        """
        hand = self.layer(rotations, betas)
        points = torch.cat([hand.joints, hand.vertices], 1) - hand.joints[:, ROOT : ROOT + 1]
        root = back_project(trans, focal_length(camera) / scale, camera)
        if self.config.camera == "perspective":
            x, y, z = (root[:, None] + points).unbind(-1)
            seen = project(torch.stack([x, y, z.clamp(min=NEAR)], -1), camera)
        else:
            seen = trans[:, None] + scale[:, None, None] * points[..., :2]
        return {
            "joints": points[:, :N_JOINTS],
            "vertices": points[:, N_JOINTS:],
            "joints_2d": seen[:, :N_JOINTS],
            "vertices_2d": seen[:, N_JOINTS:],
            "betas": betas,
            "rotations": rotations,
            "scale": scale,
            "trans": trans,
            "root": root,
        }

    def _bend(self, fingers):
        """The head's numbers of the fingers -> rotations (B, 15, 3, 3), axis-angle (B, 45)."""
        if self.config.fingers == "rot6d":
            bent = rotation_6d_to_matrix(self.mean_6d + fingers.unflatten(1, (15, 6)))
            return bent, matrix_to_axis_angle(bent).flatten(1) - self.layer.hands_mean
        fingers = fingers @ self.components
        return axis_angle_to_matrix(
            (self.layer.hands_mean + fingers).unflatten(1, (15, 3))
        ), fingers


def _make_head(n_in, config, n_out):
    last = nn.Linear(config.hidden or n_in, n_out)
    # Small: training starts at the mean hand in the middle of the crop.
    nn.init.normal_(last.weight, std=1e-3)
    nn.init.zeros_(last.bias)
    layers = [nn.Dropout(config.dropout)]
    if config.hidden:
        layers += [nn.Linear(n_in, config.hidden), nn.ReLU()]
        layers += [nn.Linear(config.hidden, config.hidden), nn.ReLU()]
    return nn.Sequential(*layers, last)


def _rotation_matrix(numbers):
    """Head output (B, 3 or 6) -> (B, 3, 3); zeros give the identity."""
    if numbers.shape[1] == 3:
        return axis_angle_to_matrix(numbers)
    identity = numbers.new_tensor([1.0, 0, 0, 0, 1, 0])
    return rotation_6d_to_matrix(identity + numbers)


def inputs(batch):
    """What ``HandNet.forward`` takes from a batch of ``data.sample.collate``: its arguments."""
    return {name: batch[name] for name in ("image", "K", "keypoints") if name in batch}


def keypoint_maps(keypoints, size):
    """Gaussians about keypoints.

    Args:
        keypoints: (B, 21, 3) x, y px and confidence.
        size: side of the crop and of the maps, px.

    Returns:
        (B, 21, size, size): the confidence at a keypoint's place, falling to 0 about it.
    """
    x, y, confidence = keypoints.unbind(-1)
    pixels = torch.arange(size, dtype=keypoints.dtype, device=keypoints.device)
    across, down = (
        (-0.5 * ((pixels - centre[..., None]) / (MAP_SIGMA * size)) ** 2).exp() for centre in (x, y)
    )
    return confidence[..., None, None] * down[..., None] * across[..., None, :]


def _to_pixels(places, size):
    """Places in [-1, 1] (borders of the image) to px, pixel centres at integers."""
    return (places + 1) * (size / 2) - 0.5


def make_model(preset, hand, init="random", seed=0, **overrides):
    """A ``HandNet`` by name.

    Args:
        preset: a key of ``presets.MODEL_PRESETS``.
        hand: ``HandModel``, a right hand.
        init: "random" or "pretrained" weights of the encoder.
        seed: of the random weights; the global random state is left as it was.
        **overrides: fields of ``ModelConfig`` that differ from the preset's.

    Raises:
        ValueError: for an unknown preset or field.
    """
    require_one_of("preset", preset, MODEL_PRESETS)
    unknown = set(overrides) - set(ModelConfig.__dataclass_fields__)
    if unknown:
        known = ", ".join(ModelConfig.__dataclass_fields__)
        raise ValueError(f"ModelConfig has no {', '.join(sorted(unknown))}; it has {known}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return HandNet(replace(MODEL_PRESETS[preset], **overrides), hand, init)
