"""Made-up hands for tests of readers and transforms: consistent, but no hand model is needed."""

import json

import cv2
import numpy as np

from handlib import geometry
from handlib.data.sample import Sample


def fake_hand(rng, n_vertices=778):
    """Camera-frame joints (21, 3) and vertices (V, 3) of a blob 0.5-0.8 m away."""
    centre = np.array([0, 0, rng.uniform(0.5, 0.8)]) + rng.normal(0, 0.01, 3)
    return (
        centre + rng.normal(0, 0.03, (21, 3)).clip(-0.07, 0.07),
        centre + rng.normal(0, 0.03, (n_vertices, 3)).clip(-0.07, 0.07),
    )


def fake_sample(seed=0, size=(224, 224), version=0, is_right=True, skew=0.0):
    """A sample with every annotation; its mask is the hull of the projected vertices."""
    rng = np.random.default_rng(seed)
    width, height = size
    joints, vertices = fake_hand(rng)
    fx, fy = rng.uniform(1.5, 2.5, 2) * min(size)
    cx, cy = np.array(size) / 2 + rng.uniform(-15, 15, 2)
    K = np.array([[fx, skew * fx, cx], [0, fy, cy], [0, 0, 1]])
    mask = np.zeros((height, width), np.uint8)
    hull = cv2.convexHull(geometry.project(vertices, K).round().astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 1)
    image = rng.integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    return Sample(
        image=image,
        id=seed,
        version=version,
        source="made up",
        is_right=is_right,
        K=K,
        joints=joints,
        vertices=vertices,
        mask=mask > 0,
        pose=rng.normal(0, 0.5, 48),
        betas=rng.normal(0, 1, 10),
        scale=float(np.linalg.norm(joints[9] - joints[10])),
    )


def _image(file_id, size):
    """An image that tells its file id by its colour."""
    return np.full((size, size, 3), (file_id % 256, 100, 200), np.uint8)


def _write_json(path, values):
    path.write_text(json.dumps(values))


def _annotations(rng, poses):
    hands = [fake_hand(rng) for _ in range(poses)]
    joints = np.stack([h[0] for h in hands])
    return {
        "K": np.tile([[64.0, 0, 16], [0, 64, 16], [0, 0, 1]], (poses, 1, 1)).tolist(),
        "xyz": joints.tolist(),
        "verts": np.stack([h[1] for h in hands]).tolist(),
        "mano": rng.normal(size=(poses, 1, 61)).tolist(),
        "scale": np.linalg.norm(joints[:, 9] - joints[:, 10], axis=-1).tolist(),
    }


def write_public(root, poses=20, versions=4, evaluation=3, size=32):
    """FreiHAND's public layout with made-up contents; returns the annotations by prefix."""
    rng = np.random.default_rng(0)
    written = {}
    for prefix, count, looks in (("training", poses, versions), ("evaluation", evaluation, 1)):
        (root / prefix / "rgb").mkdir(parents=True)
        for file_id in range(count * looks):
            path = str(root / prefix / "rgb" / f"{file_id:08d}.jpg")
            cv2.imwrite(path, _image(file_id, size)[..., ::-1])
        written[prefix] = _annotations(rng, count)
        names = written[prefix] if prefix == "training" else ("K", "scale")
        for name in names:
            _write_json(root / f"{prefix}_{name}.json", written[prefix][name])
    (root / "training/mask").mkdir()
    for unique in range(poses):
        mask = np.zeros((size, size), np.uint8)
        mask[: unique + 1] = 255
        cv2.imwrite(str(root / "training/mask" / f"{unique:08d}.jpg"), mask)
    return written


def write_mp(root, poses=(6, 3, 3), versions=4, size=32):
    """freihand_dataset_MP's layout with made-up contents."""
    rng = np.random.default_rng(1)
    for split, count in zip(("train", "val", "test"), poses):
        (root / split).mkdir(parents=True)
        for file_id in range(count * versions):
            cv2.imwrite(str(root / split / f"{file_id:08d}.jpg"), _image(file_id, size)[..., ::-1])
        annotations = _annotations(rng, count)
        for name in ("K", "xyz") if split != "test" else ("K",):
            _write_json(root / f"{split}_{name}.json", annotations[name])
