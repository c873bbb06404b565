"""A network looks at hands in photos; what it says comes back in the photo's pixels and camera."""

import numpy as np
import torch

from handlib.augment.base import warp_image
from handlib.augment.geometric import crop_affine
from handlib.choices import check_predictor
from handlib.geometry import (
    ASSUMED_FOCAL,
    axis_angle_to_matrix,
    focal_length,
    matrix_to_axis_angle,
    mirror_affine,
    mirror_points,
    project,
    transform_points,
)
from handlib.inference.posed import posed_hands, right_rotations
from handlib.looks import look_again, look_around, look_once, settle
from handlib.pooling import sharpness
from handlib.predictions import mirror_back

# Side of the crop, in longer sides of the joints' tight box: the middle of what the networks that
# are trained on ``data.HandStream`` have seen.
EXPAND = 1.7
BATCH = 64
# From these log-odds of a side on, of a hand beside its mirror image, there is no doubt.
DOUBT = 4.0
# And below these, of a hand, other views are asked for its side too.
UNSURE = 2.0
FIELDS = ("joints", "vertices", "joints_2d", "keypoints_2d", "pose", "betas", "scale", "trans")
FIELDS += ("root", "right", "present")


# Views for test-time augmentation: degrees by which the crop is turned, and its magnification.
VIEWS = ((0, 1.0), (-12, 1.0), (12, 1.0), (0, 0.9), (0, 1.1), (-24, 0.95), (24, 0.95))
# Those that are asked for a side: as many one way as the other, so that a photo and its mirror
# image get the same answer.
ASKED = tuple(view for view in VIEWS if view[0])


def look(model, images, boxes, K, sides=None, expand=EXPAND, views=1, refine=None):
    """What ``model`` says of N hands.

    A hand of unknown side is seen as it is and in the mirror: both are asked for its side, so that
    a photo and its mirror image get the same answer, and the one that shows a right hand is taken.
    Where they say next to nothing, turned crops are asked too.

    Args:
        model: ``HandNet`` in evaluation mode.
        images: N arrays (H, W, 3) uint8 RGB; the same one for several hands of a photo.
        boxes: (N, 4) x0, y0, x1, y1 px around the hands.
        K: (N, 3, 3) intrinsics of the photos.
        sides: N times whether it is a right hand, or None where that is not known; None for all.
        expand: side of the square crop, in longer sides of the box.
        views: average over so many of ``VIEWS``: rotations, shape and place of the hand.
        refine: steps of ``handlib.refine.refined``; None: as many as the model usually takes.

    Returns:
        dict of numpy arrays with N rows, all as photographed: the fields ``FIELDS`` of
        ``Prediction`` that the model gives (``joints_2d``, ``keypoints_2d`` px of the photo,
        ``right``, ``present`` log-odds), ``is_right`` (N,) bool, ``sharpness`` (N,) in [0, 1], how
        much of the joints' heatmaps lies where the joints were found, NaN without heatmaps.

    Raises:
        ValueError: a hand of unknown side for a model that does not tell it, or a number that
            ``choices.check_predictor`` refuses.
    """
    check_predictor(refine, expand=expand, views=views)
    sides = [None] * len(images) if sides is None else list(sides)
    if None in sides and not model.config.handedness:
        raise ValueError(
            "this model does not tell a right hand from a left one: say which it is, or take a "
            "model that was trained with handedness=True"
        )
    boxes, K = np.asarray(boxes, np.float64), np.asarray(K, np.float64).reshape(-1, 3, 3)

    def view(rows, sides, turn, zoom, refine):
        parts = [
            _view(model, [images[i] for i in part], boxes[part], K[part],
                  [sides[i] for i in part], expand / zoom, turn, refine)
            for part in _batches(rows)
        ]  # fmt: skip
        return _joined(parts)

    everyone = np.arange(len(images))
    first = view(everyone, sides, *VIEWS[0], refine)
    _ask_again(first, sides, view, refine)
    sides = first["is_right"].tolist()
    each = [first, *(view(everyone, sides, *way, refine) for way in VIEWS[1:views])]
    return first if views == 1 else _averaged(model, each, K)


def _ask_again(seen, sides, view, refine):
    """Ask other views for the side of hands that is all but undecided; ``seen`` is changed.

    Args:
        seen: what the first view showed of N hands. sides: what is known of theirs.
        view: function (rows, sides, degrees, zoom, refine) -> dict of these rows.
    """
    unknown = np.array([side is None for side in sides])
    if not unknown.any():
        return
    is_hand = seen["present"] > 0 if "present" in seen else unknown
    rows = np.flatnonzero(unknown & is_hand & (np.abs(seen["right"]) < UNSURE))
    if not len(rows):
        return
    said = [view(rows, sides, *way, 0)["right"] for way in ASKED]
    right = np.mean([seen["right"][rows], *said], 0)
    other = rows[(right > 0) != seen["is_right"][rows]]
    if len(other):
        turned = (~seen["is_right"]).tolist()
        for name, values in view(other, turned, *VIEWS[0], refine).items():
            seen[name][other] = values
    seen["right"][rows] = right


def _averaged(model, each, K):
    """One answer of those of several views: of their rotations, shapes and places, of which the
    hand is made once more, so that its pose, mesh and joints are of one hand."""
    averaged = ("joints_2d", "keypoints_2d", "betas", "root", "present", "sharpness")
    means = {n: np.mean([view[n] for view in each], 0) for n in averaged if n in each[0]}
    is_right, root = each[0]["is_right"], means["root"][:, None]
    rotations = [right_rotations(model.layer, view["pose"], is_right) for view in each]
    means |= posed_hands(model.layer, np.mean(rotations, 0), means["betas"], is_right)
    means |= {"trans": project(root, K)[:, 0], "scale": focal_length(K) / root[:, 0, 2]}
    if model.config.camera == "perspective":
        means["joints_2d"] = project(means["joints"] + root, K)
    return each[0] | means


@torch.no_grad()
def _view(model, images, boxes, K, sides, expand, degrees, refine):
    """``look`` at crops that are turned by so many degrees; what is returned is turned back."""
    size = model.config.input_size
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    motion = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    middle = np.array([[1, 0, (size - 1) / 2], [0, 1, (size - 1) / 2], [0, 0, 1]])
    turn = middle @ motion @ np.linalg.inv(middle)
    affines = np.array([turn @ crop_affine(box, size, expand) for box in boxes]).reshape(-1, 3, 3)
    crops = np.array([cut(i, a, size) for i, a in zip(images, affines, strict=True)])
    K = affines @ K @ motion.T  # a turned crop shows a hand that was turned before the camera
    seen = _in_photo(_as_photographed(model, crops, K, sides, refine), affines)
    seen |= {name: seen[name] @ motion for name in ("joints", "vertices", "root")}
    # Whole hand, which has no mean to be added; in doubles, which autocast leaves alone.
    whole = axis_angle_to_matrix(torch.from_numpy(seen["pose"][:, :3]).double())
    seen["pose"][:, :3] = matrix_to_axis_angle(torch.from_numpy(motion.T) @ whole).numpy()
    return seen


def _as_photographed(model, crops, K, sides, refine):
    """What the network says of N crops, each as it is or in the mirror, whichever shows a right
    hand.

    Where the first looks at both leave no doubt of the side, only that one is looked at again; and
    where two looks at both leave none, only that one from all sides.
    """
    asked = [np.array([side is not mirrored for side in sides]) for mirrored in (False, True)]
    ways = [_Way(model, crops, K, rows, bool(m)) for m, rows in enumerate(asked) if rows.any()]
    right, unknown = _told(ways), asked[0] & asked[1]
    is_left, doubt = np.where(unknown, right < 0, asked[1]), unknown
    for more in (_Way.look_again, _Way.look_around):
        doubt = doubt & (np.abs(right) < DOUBT)
        for way in ways:
            more(way, (is_left == way.mirrored) | doubt)
        right = np.where(doubt | ~unknown, _told(ways), right)
        is_left = np.where(doubt, right < 0, is_left)
    values = {}
    for way in ways:
        rows, said = way.settle(is_left == way.mirrored, refine)
        for name, value in said.items():
            values.setdefault(name, np.empty((len(crops), *value.shape[1:]), value.dtype))
            values[name][rows] = value
    return values | ({"right": right.astype(np.float32)} if "right" in values else {})


def _told(ways):
    """Log-odds (N,) of right hands, NaN where the model does not tell: the mean of all ways."""
    told = np.array([way.right for way in ways])
    known = np.isfinite(told)
    return np.where(known, told, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)


class _Way:
    """Looks at some of N crops, as they are or in the mirror.

    Attributes:
        mirrored: which of the two. right: (N,) log-odds of right hands, as photographed; NaN for
            crops that are not looked at.
    """

    def __init__(self, model, crops, K, wanted, mirrored):
        self.model, self.mirrored, self.rows = model, mirrored, np.flatnonzero(wanted)
        self.right = np.full(len(crops), np.nan)
        self.seen = look_once(model, *network_inputs(model, crops[wanted], K[wanted], mirrored))
        self._tell()

    def look_again(self, wanted):
        """Go on with the wanted (N,) of the crops alone, upright."""
        self._go_on(wanted, look_again)

    def look_around(self, wanted):
        """Go on with the wanted (N,) of the crops alone, from all sides."""
        self._go_on(wanted, look_around, self.model.config.turns)

    def settle(self, wanted, refine):
        """The wanted of the crops, and what is said of them, as photographed: (rows, dict)."""
        self._keep(wanted)
        if not len(self.rows):
            return self.rows, {}
        said = _rows(settle(self.model, self.seen, refine))
        n = len(self.rows)
        said |= {
            "mirrored": np.full(n, self.mirrored),
            "width": np.full(n, self.seen.image.shape[-1]),
            "is_right": np.ones(n, bool),
        }
        return self.rows, mirror_back(said)

    def _keep(self, wanted):
        kept = np.flatnonzero(wanted[self.rows])
        self.rows = self.rows[kept]
        self.seen = self.seen.rows(torch.from_numpy(kept).to(self.seen.image.device))

    def _go_on(self, wanted, more, *arguments):
        self._keep(wanted)
        if len(self.rows):
            self.seen = more(self.model, self.seen, *arguments)
            self._tell()

    def _tell(self):
        if self.seen.said.right is not None:
            right = self.seen.said.right.float().cpu().numpy()
            self.right[self.rows] = -right if self.mirrored else right


def network_inputs(model, crops, K, mirrored):
    """Image (N, 3, S, S) and K (N, 3, 3) for a network, of crops as they are or mirrored."""
    device = next(model.parameters()).device
    image = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)))
    if mirrored:
        image = image.flip(-1)
        K = mirror_points(mirror_affine(crops.shape[2]) @ K)
    return image.to(device), torch.from_numpy(K.astype(np.float32)).to(device)


@torch.no_grad()
def glance(model, images, boxes, expand=EXPAND):
    """A quick look at N places where a hand may be, of either side and unknown camera.

    Returns:
        (joints_2d, confidence): (N, 21, 2) px of the images, (N,) see ``confidence``.
    """
    size = model.config.input_size
    affines = np.array([crop_affine(box, size, expand) for box in boxes])
    crops = np.array([cut(i, a, size) for i, a in zip(images, affines, strict=True)])
    unknown = np.full((len(crops), 3, 3), np.nan)
    parts = [
        _rows(model.look(*network_inputs(model, crops[part], unknown[part], False)))
        for part in _batches(np.arange(len(crops)))
    ]
    seen = _joined(parts)
    return transform_points(np.linalg.inv(affines), seen["joints_2d"]), confidence(seen)


def confidence(seen):
    """How sure the network is, (N,) in [0, 1], of what ``look`` or ``glance`` saw: the probability
    that there is a hand, times ``sharpness``; NaN where it gives neither."""
    sharp = seen["sharpness"]
    if "present" not in seen:
        return sharp
    present = probability(seen["present"])
    return np.where(np.isnan(sharp), present, sharp * present)


def probability(log_odds):
    return 1 / (1 + np.exp(-log_odds))


def cut(image, affine, size):
    """The square crop (size, size, 3) that ``affine`` (3, 3) takes out of an image.

    Only the part of the image that it shows is touched: a photo of twelve megapixels is costly.
    """
    to_image = np.linalg.inv(affine)
    corners = np.array([[0, 0], [size, 0], [size, size], [0, size]]) - 0.5
    corners = transform_points(to_image, corners)
    margin = 2 * np.ptp(corners[:, 0]) / size + 2
    limits = np.array([image.shape[1], image.shape[0]])
    # From edge to edge of pixels: the part of a mirrored image is the mirrored part.
    low, high = corners.min(0) + 0.5 - margin, corners.max(0) + 0.5 + margin
    low = np.clip(np.floor(low), 0, limits - 1).astype(int)
    high = np.clip(np.ceil(high), low + 1, limits).astype(int)
    part = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
    moved = affine @ np.array([[1, 0, low[0]], [0, 1, low[1]], [0, 0, 1.0]])
    return warp_image(part, moved, (size, size))


def is_inside(box, size):
    """Whether an image (width, height) has a part of a box (4,)."""
    return bool((box[2:] > -0.5).all() and (box[:2] < np.array(size) - 0.5).all())


def assumed_camera(size, box, expand=EXPAND):
    """Intrinsics (3, 3) for a photo of unknown camera.

    The focal length is the photo's longer side, an ordinary lens of 36 mm on film; where the hand
    fills the photo, which then was cut out of a larger one, ``ASSUMED_FOCAL`` times the crop.

    Args:
        size: (width, height) px; box: of the hand.
    """
    side = expand * max(box[2] - box[0], box[3] - box[1])
    focal = max(*size, ASSUMED_FOCAL * side)
    return np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1]])


def _batches(rows):
    """Rows in parts of up to ``BATCH``, all of about one size."""
    return np.array_split(rows, -(-len(rows) // BATCH))


def _joined(parts):
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _rows(prediction):
    values = {name: getattr(prediction, name, None) for name in FIELDS}
    maps = prediction.heatmaps
    blind = maps is None
    values["sharpness"] = torch.full_like(prediction.scale, torch.nan) if blind else sharpness(maps)
    return {name: v.float().cpu().numpy() for name, v in values.items() if v is not None}


def _in_photo(seen, affines):
    """Pixels of the crops become pixels of the photos."""
    back = np.linalg.inv(affines)
    for name in ("joints_2d", "keypoints_2d"):
        if name in seen:
            seen[name] = transform_points(back, seen[name])
    seen["trans"] = transform_points(back, seen["trans"][:, None])[:, 0]
    seen["scale"] = seen["scale"] * back[:, 0, 0]
    return {name: seen[name] for name in seen.keys() - {"mirrored", "width"}}
