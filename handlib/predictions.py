"""Predictions as others take them: left hands mirrored back, and files.

Files that evaluation servers and other people's programs read are written in one piece or not at
all, and read back: what is on disk is what was meant. Numbers are kept to 0.1 micrometre.
"""

import gzip
import json
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from handlib import geometry
from handlib.joints import N_JOINTS, check_metres, convert
from handlib.paths import atomic_write
from handlib.reading import BadFile, expecting, parse_json, require_file, short

_SAME_PLACE_M = 0.2
_DECIMALS = 7
_MAX_BYTES = 1 << 30  # of JSON; FreiHAND's evaluation takes 110 MB


def mirror_back(predictions):
    """What ``evaluation.predict`` returned, each hand as it was photographed.

    Rows that were mirrored on the way to the network are left hands again, ``pred_`` and ``gt_``
    alike: ``is_right`` is turned, ``mirrored`` is False. Shape and scale stay. The hand model that
    poses them is ``HandModel.mirrored()``, whose faces they have. Arrays in which nothing changes
    are not copied: they are those of ``predictions``.
    """
    rows, back = np.flatnonzero(predictions["mirrored"]), dict(predictions)
    affine = geometry.mirror_affine(predictions["width"][rows])
    for name, values in predictions.items() if len(rows) else ():
        field, before = name.removeprefix("pred_").removeprefix("gt_"), values[rows]
        after = _mirrored(field, before, affine)
        if after is not before:
            back[name] = values.copy()
            back[name][rows] = after
    return back


def _mirrored(field, values, affine):
    """A field of n rows in the mirror; ``affine`` (n, 3, 3) mirrors their images."""
    if field in ("joints", "vertices", "root"):
        return geometry.mirror_points(values)
    if field == "pose":
        return geometry.mirror_axis_angle(values.reshape(-1, 16, 3)).reshape(-1, 48)
    if field in ("joints_2d", "keypoints_2d"):
        return geometry.transform_points(affine, values)
    if field == "trans":
        return geometry.transform_points(affine, values[:, None])[:, 0]
    if field == "K":  # it takes mirrored points, so its first column changes sign
        return geometry.mirror_points(geometry.transform_intrinsics(affine, values))
    if field in ("right", "right_mirrored"):
        return -values
    return ~values if field in ("is_right", "mirrored") else values


def write_freihand(path, xyz, verts, count=None):
    """Write what FreiHAND's official program reads: ``pred.json`` and, beside it, its zip.

    Args:
        path: of the JSON file, best called ``pred.json``; ``pred.zip`` is written beside it.
        xyz, verts: (N, 21, 3) and (N, V, 3) metres, FreiHAND's order, camera frame.
        count: samples that there must be (3,960 of FreiHAND's evaluation), or None.

    Returns:
        Path of the zip.

    Raises:
        ValueError: counts, shapes, units or numbers are not what the program expects.
    """
    path = Path(path)
    if path.suffix in (".gz", ".zip"):
        raise ValueError(f"{path}: give the path of the JSON file; its zip is written beside it")
    arrays = _checked(path, xyz, verts, count)
    with atomic_write(path) as temporary, temporary.open("w") as file:
        _dump(arrays, file)
    zipped = path.with_name(f"{path.name.removesuffix('.json')}.zip")
    with (
        atomic_write(zipped) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.write(path, "pred.json")
    for ours, found in zip(arrays, read_freihand(zipped, count)):
        _compare(zipped, ours, found)
    return zipped


def read_freihand(path, count=None):
    """Read ``pred.json`` or a zip of it: (xyz (N, 21, 3), verts (N, V, 3)) in metres.

    Raises:
        FileNotFoundError, ValueError: no such file, or not what the official program expects.
    """
    path = Path(path)
    content = _parsed(path)
    if not (isinstance(content, list) and len(content) == 2):
        raise ValueError(f"{path}: expected [xyz list, verts list]: write it with write_freihand")
    return tuple(_checked(path, *content, count))


def write_course(path, joints, count=None):
    """Write joints (N, 21, 3), metres, FreiHAND's order, as the course server of
    freihand_dataset_MP reads them: one list in its joint order, ``joints.ORDERS["mpii"]``.

    Args:
        path: ``test_preds.json``, or ``test_preds.json.gz`` for a compressed one.
        count: samples that there must be, or None.
    """
    path = Path(path)
    joints = _checked_joints(path, joints, count)
    with atomic_write(path) as temporary, _opened(temporary, "wt") as file:
        json.dump(convert(joints, "freihand", "mpii").round(_DECIMALS).tolist(), file)
    _compare(path, joints, read_course(path, count))


def read_course(path, count=None):
    """Read ``test_preds.json(.gz)``: joints (N, 21, 3) in metres, FreiHAND's order."""
    path = Path(path)
    joints = _points(path, "joints", _parsed(path), N_JOINTS)
    return _checked_joints(path, convert(joints, "mpii"), count)


# -- files -----------------------------------------------------------------------------------
def _dump(arrays, file):
    """Write nested lists a sample at a time: all of FreiHAND as Python numbers fills gigabytes."""
    for i, array in enumerate(arrays):
        file.write("[" if i == 0 else ", ")
        for n, sample in enumerate(array):
            file.write(("[" if n == 0 else ", ") + json.dumps(sample.round(_DECIMALS).tolist()))
        file.write("]")
    file.write("]")


def _opened(path, mode):
    return gzip.open(path, mode) if path.suffix == ".gz" else path.open(mode)


def _parsed(path):
    require_file(path, "give the file of the predictions")
    remedy = "write the predictions again"
    try:
        with expecting(path, "not readable", remedy), _content(path) as file:
            content = file.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                raise ValueError(f"it holds more than {_MAX_BYTES >> 20} MB")
            return parse_json(content, finite=False)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise BadFile(f"{path} is not readable ({short(error)}): {remedy}") from error


@contextmanager
def _content(path):
    """The bytes of the JSON in a file, an archive's pred.json or a compressed file."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive, archive.open("pred.json") as file:
            yield file
    else:
        with _opened(path, "rb") as file:
            yield file


def _compare(path, ours, found):
    if ours.shape != found.shape or np.abs(ours - found).max() > 10**-_DECIMALS:
        raise ValueError(f"{path}: holds other numbers than were written: is the disk full?")


# -- checks ----------------------------------------------------------------------------------
def _checked(path, xyz, verts, count):
    xyz = _checked_joints(path, xyz, count)
    verts = _points(path, "vertices", verts)
    if len(verts) != len(xyz):
        raise ValueError(f"{path}: {len(xyz)} samples of joints, {len(verts)} of vertices")
    apart = np.median(np.linalg.norm(verts.mean(1) - xyz.mean(1), axis=-1))
    if apart > _SAME_PLACE_M:
        raise ValueError(
            f"{path}: vertices lie {apart:.3g} m from their joints: give both in metres and in "
            "the camera's frame"
        )
    return xyz, verts


def _checked_joints(path, joints, count):
    joints = _points(path, "joints", joints, N_JOINTS)
    if count is not None and len(joints) != count:
        raise ValueError(f"{path}: {len(joints)} samples, expected {count}: predict all of them")
    check_metres(joints, path)
    return joints


def _points(path, name, values, count=None):
    """``values`` as a float64 array (N, count, 3), finite and not empty."""
    try:
        array = np.asarray(values, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{path}: {name} differ in shape between samples: {short(error)}"
        ) from error
    wanted = f"(N, {count or 'V'}, 3)"
    if array.ndim != 3 or 0 in array.shape or array.shape[1:] != (count or array.shape[1], 3):
        raise ValueError(f"{path}: {name} are {array.shape}, expected {wanted}")
    bad = np.flatnonzero(~np.isfinite(array).all((1, 2)))
    if len(bad):
        raise ValueError(f"{path}: {name} of sample {bad[0]} are not finite ({len(bad)} samples)")
    return array
