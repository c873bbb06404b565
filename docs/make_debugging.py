"""Make the pictures of docs/debugging.md: python docs/make_debugging.py

Renders a tiny synthetic dataset, plants one fault after another in a copy of its folder, and draws
the figure of 01_explore_data that shows it. Prints what the checks of that notebook say.
"""

import io
import json
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from handlib import geometry, plots
from handlib.data import checks, open_dataset
from handlib.data.synthesize import synthesize
from handlib.joints import convert
from handlib.mano import load_hand_model
from handlib.reading import read_json

HAND = load_hand_model()
SHOWN = 4  # samples of a sound and of a broken dataset
SOUND, BROKEN = "sound", "broken"


# -- the faults: each changes the training part of a dataset folder in place -----------------
def swap_joints(root):
    """Joints by level (all knuckles, then all next ones) where fingers are expected."""
    _change(root, "xyz", lambda xyz: convert(xyz, "freihand", "mpii"))


def resize_without_K(root):
    """Images and masks of 4/7 of their size (128 of 224 px), and K of the large ones."""
    for path in _pictures(root):
        picture = cv2.imread(str(path))
        size = [round(side * 4 / 7) for side in picture.shape[1::-1]]
        cv2.imwrite(str(path), cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def left_as_right(root):
    """Left hands, which nothing calls left: everything in the mirror but the label."""
    for path in _pictures(root):
        picture = cv2.imread(str(path))
        cv2.imwrite(str(path), picture[:, ::-1])
    for name in ("xyz", "verts"):
        _change(root, name, geometry.mirror_points)
    flip = np.diag([-1.0, 1, 1])
    mirror = geometry.mirror_affine(picture.shape[1])
    _change(root, "K", lambda K: geometry.transform_intrinsics(mirror, K) @ flip)


def millimetres(root):
    for name in ("xyz", "verts", "scale"):
        _change(root, name, lambda values: 1000 * values)


def next_labels(root):
    for name in ("K", "xyz", "verts", "mano", "scale"):
        _change(root, name, lambda values: np.roll(values, -1, axis=0))


def _change(root, name, change):
    path = root / f"training_{name}.json"
    path.write_text(json.dumps(change(np.array(read_json(path))).tolist()))


def _pictures(root):
    return sorted((root / "training").glob("*/*.jpg"))


# -- what shows them -------------------------------------------------------------------------
def overlays(sound, broken):
    """Samples with their joints, mask and camera: sound ones above, the same broken below."""
    kinds = SHOWN * [SOUND] + SHOWN * [BROKEN]
    poses = len(sound.annotated)
    rows = [poses * (k % 4) + k * poses // SHOWN for k in range(SHOWN)]  # in different looks
    samples = [reader[row] for reader in (sound, broken) for row in rows]
    names = [f"{kind}: {s.id} v{s.version}" for kind, s in zip(kinds, samples, strict=True)]
    return _drawn(plots.show_samples(samples, "camera", None, SHOWN, names))


def distributions(sound, broken):
    """Upper half of the figure of distributions: sound above, broken below."""
    halves = []
    for kind, reader in ((SOUND, sound), (BROKEN, broken)):
        joints, K = reader.annotation("xyz"), reader.annotation("K")
        picture = _drawn(plots.show_distributions(joints, K, f"{kind}, {reader.source}"))
        halves.append(picture.crop((0, 0, picture.width, picture.height // 2)))
    both = Image.new("RGB", (halves[0].width, sum(half.height for half in halves)))
    for n, half in enumerate(halves):
        both.paste(half, (0, n * half.height))
    return both.resize((760, 760 * both.height // both.width), Image.Resampling.LANCZOS)


def _drawn(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")


# fault -> what plants it, what shows it, the check that says it, checks that may say it too
FAULTS = {
    "joint_order": (swap_joints, overlays, "off the mesh",
                    {"bends too far", "palm's height", "bone ratio"}),
    "stale_K": (resize_without_K, overlays, "off the image", {"off the mask"}),
    "left_as_right": (left_as_right, distributions, "palm's height", {"bends too far"}),
    "millimetres": (millimetres, distributions, "median bone", set()),
    "next_labels": (next_labels, overlays, "neighbour fits", {"off the mask"}),
}  # fmt: skip


def break_dataset(root, out, fault):
    """A copy ``out`` of the dataset folder ``root`` with a fault of ``FAULTS``: its reader."""
    shutil.copytree(root, out)
    FAULTS[fault][0](out)
    return open_dataset(out, "train")


def main():
    with tempfile.TemporaryDirectory() as folder:
        root = synthesize(Path(folder) / "sound", 40, 1, seed=2)
        sound = open_dataset(root, "train")
        for fault, (_, show, *_) in FAULTS.items():
            broken = break_dataset(root, Path(folder) / fault, fault)
            path = Path(__file__).parent / f"debug_{fault}.jpg"
            show(sound, broken).save(path, quality=70, optimize=True)
            found = checks.check_annotations(broken, HAND)
            said = checks.summary([check for check in found if check.beyond.any()])
            print(plots.results_table(said, f"\n{path.name}, {path.stat().st_size // 1000} kB"))


if __name__ == "__main__":
    main()
