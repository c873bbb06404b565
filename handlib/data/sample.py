"""One image of one hand with what is known about it, and batches of them.

An annotation that a source does not have is None: never zeros, which would train. In a batch it
is NaN, a mask False, and ``has_<name>`` says which rows have all of it: of joints, some may be
known alone.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handlib import geometry
from handlib.images import require_rgb
from handlib.joints import ROOT

SHAPES = {
    "K": (3, 3),
    "joints": (21, 3),
    "joints_2d": (21, 2),
    "vertices": (778, 3),
    "pose": (48,),
    "betas": (10,),
    "box": (4,),
    "keypoints": (21, 3),
}
VERSIONS = ("green screen", "homogenised", "sampled", "automatic")


@dataclass
class Sample:
    """One hand. Metres, pixels, camera frame; joints in FreiHAND order.

    Raises:
        ValueError: for an image or an annotation of the wrong shape.
    """

    image: np.ndarray  # (H, W, 3) uint8 RGB
    id: int  # of the pose, or of the image where a pose has many; FreiHAND's four looks share it
    group: int | None = None  # samples of one show one pose, and are no independent evidence: id
    version: int | None = None  # index into VERSIONS; None where a source has no such thing
    source: str = "unknown"  # what a figure or a table names
    path: Path | None = None  # the image file
    present: bool = True  # whether a hand is there; a network may be shown pictures of none
    is_right: bool | None = True  # what the image shows now; None where nobody knows
    mirrored: bool = False  # mirrored on the way to the network: mirror predictions back
    K: np.ndarray | None = None  # (3, 3) intrinsics of the image as it is now
    joints: np.ndarray | None = None  # (21, 3)
    joints_2d: np.ndarray | None = None  # (21, 2); projected where K and joints are known
    vertices: np.ndarray | None = None  # (778, 3)
    mask: np.ndarray | None = None  # (H, W) bool, True on the hand (and its arm)
    pose: np.ndarray | None = None  # (48,) axis-angle: root, then 15 relative to hands_mean
    betas: np.ndarray | None = None  # (10,)
    scale: float | None = None  # length of the reference bone
    box: np.ndarray | None = None  # (4,) x0, y0, x1, y1 around the hand
    keypoints: np.ndarray | None = None  # (21, 3) x, y px and confidence in [0, 1], 0: not found
    unit: float = 1.0  # metres per unit of joints, vertices and scale

    def __post_init__(self):
        self._check(self.__dict__)

    def _check(self, values):
        """ValueError for those of ``values`` that have a wrong shape; the 2D joints, projected."""
        if "image" in values or "mask" in values:
            self._check_pixels()
        for name, value in values.items():
            if value is not None and name in SHAPES and value.shape != SHAPES[name]:
                raise ValueError(f"expected {name} of shape {SHAPES[name]}, got {value.shape}")
        if self.joints_2d is None and self.K is not None and self.joints is not None:
            self.joints_2d = geometry.project(self.joints, self.K)

    def _check_pixels(self):
        require_rgb(self.image)
        shape, mask = self.image.shape[:2], self.mask
        if mask is not None and (mask.shape != shape or mask.dtype != bool):
            got = f"{mask.shape} {mask.dtype}"
            raise ValueError(f"expected a {shape} bool mask, as its image, got {got}")

    @property
    def size(self):
        """(width, height) of the image."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def is_left(self):
        """Whether it is known to be a left hand."""
        return self.is_right is not None and not self.is_right

    @property
    def green_screen(self):
        return self.version == 0

    def replace(self, **changes):
        """A copy with some fields changed."""
        # Several times faster than the same of dataclasses, and a chain makes many copies.
        other = object.__new__(type(self))
        other.__dict__ = self.__dict__ | changes
        if len(other.__dict__) > len(self.__dict__):
            unknown = sorted(changes.keys() - self.__dict__.keys())
            raise TypeError(f"a sample has no {', '.join(unknown)}")
        other._check(changes)
        return other

    def rooted(self, name):
        """``joints`` or ``vertices`` in metres, relative to joint ``joints.ROOT``; None where they
        or the joints are not all known."""
        if not (self.has(name) and self.has("joints")):
            return None
        return self.unit * (getattr(self, name) - self.joints[ROOT])

    def annotations(self):
        """Names of what is known about this hand."""
        return tuple(name for name in OPTIONAL if self.has(name))

    def has(self, name):
        """Whether an annotation is there and complete (some sources miss single joints)."""
        value = getattr(self, name)
        return value is not None and bool(np.isfinite(value).all())


def row_of(index, count):
    """``index``, which may count from the end, as 0 to ``count`` - 1; IndexError beyond."""
    if not -count <= index < count:
        raise IndexError(f"sample {index} of {count}")
    return int(index) % count


PARTIAL = ("joints", "joints_2d")  # of which single joints may be unknown, NaN
OPTIONAL = ("K", "joints", "joints_2d", "vertices", "mask", "pose", "betas", "scale")


def collate(samples, take=np.empty):
    """Make a batch.

    Args:
        samples: B samples whose images have one size.
        take: (shape, dtype) -> array for the batch to be written to.

    Returns:
        dict of tensors: ``image`` uint8 (B, 3, H, W); ``mask`` bool (B, H, W), False where missing;
        ``K``, ``joints``, ``joints_2d``, ``vertices``, ``pose``, ``betas``, ``scale`` (B,),
        ``keypoints`` (B, 21, 3) float32, NaN where missing; ``has_<name>`` (B,) bool, whether a row
        is complete; ``present``, ``is_right``, ``mirrored`` (B,) bool; ``has_is_right`` (B,) bool,
        False where nobody knows the side: ``is_right`` is True there, as the network sees right
        hands; ``unit`` (B,) float32; ``id``, ``group``, ``version`` (B,) int64, -1 for no version.

    Raises:
        ValueError: when image sizes differ.
    """
    import torch  # readers and transforms work without it

    def put(values, dtype, shape=()):
        array = take((len(samples), *shape), dtype)
        for row, value in enumerate(values):
            array[row] = value
        return torch.from_numpy(array)

    sizes = {s.size for s in samples}
    if len(sizes) > 1:
        raise ValueError(
            f"a batch needs images of one size, got (width, height) {sorted(sizes)}: "
            "end the transforms with a Resize"
        )
    size = samples[0].image.shape[:2]
    has_mask = [s.has("mask") for s in samples]
    batch = {
        # Channels stay last in memory: nothing is copied, and convolutions want them so.
        "image": put((s.image for s in samples), np.uint8, (*size, 3)).permute(0, 3, 1, 2),
        "mask": put((has and s.mask for has, s in zip(has_mask, samples)), bool, size),
        "has_mask": put(has_mask, bool),
        "id": put((s.id for s in samples), np.int64),
        "group": put((s.id if s.group is None else s.group for s in samples), np.int64),
        "version": put((-1 if s.version is None else s.version for s in samples), np.int64),
        "present": put((s.present for s in samples), bool),
        "is_right": put((not s.is_left for s in samples), bool),
        "has_is_right": put((s.is_right is not None for s in samples), bool),
        "mirrored": put((s.mirrored for s in samples), bool),
        "unit": put((s.unit for s in samples), np.float32),
    }
    for name in (*OPTIONAL, "keypoints"):
        if name == "mask":
            continue
        has = [s.has(name) for s in samples]
        known = (getattr(s, name) if h or name in PARTIAL else None for h, s in zip(has, samples))
        values = (np.nan if value is None else value for value in known)
        batch[name] = put(values, np.float32, SHAPES.get(name, ()))
        batch[f"has_{name}"] = put(has, bool)
    return batch
