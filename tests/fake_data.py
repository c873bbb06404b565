"""Made-up hands for tests of readers and transforms: consistent, but no hand model is needed."""

import json
import pickle

import cv2
import numpy as np

from handlib import geometry
from handlib.data.sample import Sample
from handlib.joints import convert


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


def write_interhand(root, splits=("train", "val", "test"), mano=False):
    """InterHand2.6M's published layout: per split a right hand, a left one, both, and both with a
    joint of the left and most of the right one's unknown.

    Returns:
        dict of (split, image id, is_right) -> joints (21, 3), metres, camera frame.
    """
    rng = np.random.default_rng(2)
    written = {}
    for split in splits:
        files = {kind: {} for kind in ("data", "camera", "joint_3d", "MANO_NeuralAnnot")}
        files["data"] = {"images": [], "annotations": []}
        folder = root / "images" / split / "Capture3/ROM/cam400026"
        folder.mkdir(parents=True)
        rotation, place = cv2.Rodrigues(rng.normal(size=3))[0], rng.normal(size=3)
        camera = {
            "campos": 1000 * place,
            "camrot": rotation,
            "focal": [70, 71],
            "princpt": [20, 15],
        }
        files["camera"]["3"] = {k: {"400026": np.array(v).tolist()} for k, v in camera.items()}
        frames = files["joint_3d"]["3"] = {}
        fits = files["MANO_NeuralAnnot"]["3"] = {}
        for n, sides in enumerate(("right", "left", "right left", "right left")):
            known = np.zeros((2, 21), bool)
            world = np.ones((2, 21, 3))  # InterHand has ones where a joint is not known
            for side, name in enumerate(("right", "left")):
                if name not in sides:
                    continue
                joints = fake_hand(rng)[0]
                moved = joints @ rotation + place
                world[side] = 1000 * convert(moved, "freihand", "interhand")
                known[side] = True
                written[split, 10 + n, name == "right"] = joints
            if n == 3:
                known[0, 4:], known[1, 20] = False, False  # the wrist is the last joint
                del written[split, 10 + n, True]
                written[split, 10 + n, False][0] = np.nan
            name = f"Capture3/ROM/cam400026/image{n:05d}.jpg"
            cv2.imwrite(str(root / "images" / split / name), np.full((30, 40, 3), 50 * n, np.uint8))
            image = {"id": 10 + n, "file_name": name, "width": 40, "height": 30, "capture": 3}
            files["data"]["images"].append(image | {"camera": "400026", "frame_idx": n})
            valid = {"joint_valid": known.reshape(42, 1).tolist()}
            annotation = {"id": 10 + n, "image_id": 10 + n, "bbox": [0, 0, 9, 9]} | valid
            files["data"]["annotations"].append(annotation)
            frames[str(n)] = {"world_coord": np.where(known[..., None], world, 1.0)} | valid
            frames[str(n)]["world_coord"] = frames[str(n)]["world_coord"].reshape(42, 3).tolist()
            pose = {"pose": rng.normal(size=48).tolist(), "trans": [0, 0, 0]}
            pose["shape"] = rng.normal(size=10).tolist()
            fits[str(n)] = {"right": pose if "right" in sides else None, "left": None}
        if not mano:
            del files["MANO_NeuralAnnot"]
        (root / "annotations" / split).mkdir(parents=True)
        for kind, content in files.items():
            name = f"InterHand2.6M_{split}_{kind}.json"
            _write_json(root / "annotations" / split / name, content)
    return written


def write_rhd(root, images=10, protocol=2):
    """RHD's published layout: even images show a left hand, odd ones both; in image 1 most joints
    of the left one are hidden.

    Returns:
        dict of part -> list of {"xyz", "uv_vis", "K"} as written.
    """
    rng = np.random.default_rng(3)
    written = {}
    for part in ("training", "evaluation"):
        for name in ("color", "mask"):
            (root / part / name).mkdir(parents=True)
        entries = written[part] = []
        for n in range(images):
            K = np.array([[300.0, 0, 160], [0, 300, 160], [0, 0, 1]])
            xyz = np.concatenate([fake_hand(rng)[0], fake_hand(rng)[0]])
            seen = np.repeat([1.0, n % 2], 21)
            if n == 1:
                seen[:15] = 0
            uv_vis = np.c_[geometry.project(xyz, K), seen]
            entries.append({"xyz": xyz, "uv_vis": uv_vis, "K": K})
            mask = np.zeros((320, 320), np.uint8)
            for value in range(1, 34):  # 1 is the person
                mask[9 * value : 9 * value + 5] = value
            cv2.imwrite(str(root / part / f"mask/{n:05d}.png"), mask)
            cv2.imwrite(str(root / part / f"color/{n:05d}.png"), _image(n, 320)[..., ::-1])
        content = pickle.dumps(dict(enumerate(entries)), protocol=protocol)
        (root / part / f"anno_{part}.pickle").write_bytes(content)
    return written
