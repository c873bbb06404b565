"""Finding and reading hand models: files in MANO's format, or the stand-in."""

import hashlib
import io
import math
import os
import warnings
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from handlib.joints import MANO_PARENTS
from handlib.mano import standin
from handlib.mano.mirror import mirror_arrays, mirror_shapes
from handlib.mano.pickles import ForbiddenPickle, read_pickle
from handlib.mano.standin import shipped_path, standin_path
from handlib.paths import user_path
from handlib.reading import short

MANO_PAGE = "https://mano.is.tue.mpg.de"
SIDES = ("right", "left")
ANEW = f"take the file as {MANO_PAGE} gives it"

# Where the file lies below the folder that MANO names: the course's and manopth's layout,
# manopth's mano_root, smplx's, FreiHAND's tools', and the archive as MANO's page distributes it.
_LAYOUTS = ("models", "", "mano", "data", "mano_v1_2/models")
_SHAPES = {
    "v_template": (778, 3),
    "shapedirs": (778, 3, 10),
    "posedirs": (778, 3, 135),
    "J_regressor": (16, 778),
    "weights": (778, 16),
    "f": (1538, 3),
    "kintree_table": (2, 16),
    "hands_mean": (45,),
    "hands_components": (45, 45),
}
# A key of the stand-in's file only: its numbers must not pass for MANO's, wherever it is copied to.
STANDIN_KEY = "handlib_standin"
ARRAYS = (*_SHAPES, STANDIN_KEY)
_MAX_BYTES = 1 << 26  # MANO's file has 4 MB


@dataclass(frozen=True)
class HandModel:
    """The arrays of a hand model in MANO's format (Romero et al. 2017), float64, metres.

    Joints are in MANO's order (``joints.MANO_JOINT_NAMES``), 16 of them; vertices V=778.
    """

    v_template: np.ndarray  # (V, 3) rest shape
    shapedirs: np.ndarray  # (V, 3, 10) displacement per unit of each beta
    posedirs: np.ndarray  # (V, 3, 135) displacement per entry of the 15 joint rotations minus I
    J_regressor: np.ndarray  # (16, V) joints as weighted means of vertices
    weights: np.ndarray  # (V, 16) skinning weights
    faces: np.ndarray  # (1538, 3) int64
    hands_mean: np.ndarray  # (45,) mean pose, axis-angle of joints 1-15
    hands_components: np.ndarray  # (45, 45) pose components, one per row
    is_right: bool
    source: str  # path of the file, or "stand-in"

    @property
    def is_standin(self):
        return self.source == "stand-in"

    @property
    def side(self):
        return "right" if self.is_right else "left"

    @property
    def name(self):
        """What a figure or table says of this model."""
        return "stand-in hand" if self.is_standin else Path(self.source).name

    @property
    def fingerprint(self):
        """12 hexadecimal digits that change when any array does."""
        digest = hashlib.sha256(self.side.encode())
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                digest.update(np.ascontiguousarray(value))
        return digest.hexdigest()[:12]

    def mirrored(self):
        """The other hand's model: with the mirrored pose and the same betas, the mirror image."""
        return replace(self, is_right=not self.is_right, **mirror_arrays(vars(self)))


def load_hand_model(path=None, side="right", fix_left_shapes=False):
    """Read a hand model: a MANO pickle as distributed, a plain pickle or an ``.npz``.

    Args:
        path: a file, or a folder in one of the layouts of manopth, smplx or FreiHAND's tools.
            None: what the environment variable ``MANO`` names; the stand-in where it is unset.
        side: "right" or "left".
        fix_left_shapes: correct MANO_LEFT.pkl as distributed, whose ``shapedirs`` have the wrong
            sign in x (smplx issue 48): betas that lengthen the right hand shorten that left one.
            Where the right hand's file lies beside it, the two are compared: a sound left file is
            left as it is, and a faulty one that is not to be corrected gives a warning. Without
            it nothing can be told, and the sign is turned as asked.

    Returns:
        HandModel.

    Raises:
        FileNotFoundError: no file; the message says where it looked and what to do.
        ValueError: the file is not a whole hand model of that side, or tries to run code.
    """
    if side in SIDES and not _place(path) and (shipped := _shipped()):
        hand = _read(shipped, "right")
        return hand if side == "right" else hand.mirrored()
    found = hand_model_path(path, side)
    if path is not None and _side_in_name(found) not in (None, side):
        raise ValueError(f"{found} is by its name not the {side} hand: ask for the file's side")
    hand = _read(found, side)
    return (
        hand
        if side == "right" or hand.is_standin
        else _with_checked_shapes(hand, found, fix_left_shapes)
    )


def _shipped():
    try:
        return shipped_path()
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"the stand-in hand {standin.SHIPPED} is damaged ({error}): install handlib again"
        ) from error


def hand_model_path(path=None, side="right"):
    """The file that ``load_hand_model`` reads; FileNotFoundError says where it looked."""
    if side not in SIDES:
        raise ValueError(f"side is 'right' or 'left', not {side!r}")
    place = _place(path)
    return _find(place, side, path is not None) if place else standin_path(side)


def _place(path):
    """What names the hand model's file: ``path``, or ``MANO``; "" for the stand-in."""
    return str(path if path is not None else os.environ.get("MANO", "")).strip()


def _find(place, side, is_explicit):
    """The file for ``side`` at ``place``, a file or a folder; FileNotFoundError with a remedy."""
    root, name = user_path(place), f"MANO_{side.upper()}"
    if root.is_file():
        if is_explicit or _side_in_name(root) in (None, side):
            return root
        root = root.parent  # MANO names one hand's file; the other lies beside it
    looked = [root / layout / f"{name}{ext}" for layout in _LAYOUTS for ext in (".pkl", ".npz")]
    for candidate in looked:
        if candidate.is_file():
            return candidate
    where = "".join(f"\n  {candidate}" for candidate in looked)
    raise FileNotFoundError(
        f"No {name} was found. Looked at:{where}\n"
        f"Register at {MANO_PAGE}, download MANO and set the environment variable MANO to its "
        "folder; or unset MANO (and give no path) to use the stand-in hand."
    )


def _side_in_name(path):
    """The side that a file's name says, or None. (The arrays do not say it reliably.)"""
    said = [side for side in SIDES if side in path.name.lower()]
    return said[0] if len(said) == 1 else None


def _with_checked_shapes(left, path, fix):
    """A left hand from ``path``, its shapes corrected where that is asked for and needed."""
    beside = path.with_name(path.name.replace("LEFT", "RIGHT").replace("left", "right"))
    if beside != path and beside.is_file():
        right = _read(beside, "right")
        if np.array_equal(left.v_template, right.v_template):
            raise ValueError(
                f"{path} holds the same hand as {beside.name}, so one of them has a wrong name: "
                f"download both again from {MANO_PAGE}"
            )
        of_left, of_right = left.shapedirs[:, 0], right.shapedirs[:, 0]
        if np.abs(of_left - of_right).sum() > np.abs(of_left + of_right).sum():
            return left
        if not fix:
            warnings.warn(
                f"{path}: its shapes have the known sign fault of MANO's left hand (smplx issue "
                "48): load it with fix_left_shapes=True",
                stacklevel=3,
            )
    return replace(left, shapedirs=mirror_shapes(left.shapedirs)) if fix else left


def _read(path, side):
    try:
        arrays = _read_arrays(path)
    except ForbiddenPickle as error:
        raise ValueError(
            f"{path} was refused: {error}. A hand model holds arrays and nothing else; nothing of "
            f"this file was run. Download it again from {MANO_PAGE}."
        ) from error
    except OSError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {short(error)}"
        raise ValueError(
            f"{path} is not a readable hand model ({said}). It should be "
            f"MANO_{side.upper()}.pkl from {MANO_PAGE}, whole, or an .npz of its arrays."
        ) from error
    source = str(path) if arrays.pop(STANDIN_KEY, None) is None else "stand-in"
    _check(arrays, path)
    # The root's parent is 2**32 - 1 in MANO's file: only the others say something.
    parents = tuple(arrays.pop("kintree_table")[0, 1:].tolist())
    if parents != MANO_PARENTS[1:]:
        raise ValueError(f"{path}: its joint tree {parents} is not MANO's {MANO_PARENTS[1:]}")
    return HandModel(
        faces=arrays.pop("f").astype(np.int64),
        is_right=side == "right",
        source=source,
        **{key: array.astype(np.float64) for key, array in arrays.items()},
    )


def _read_arrays(path):
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError("it is far larger than a hand model")
    data, keys = path.read_bytes(), ARRAYS
    if not data.startswith(b"PK"):
        return read_pickle(data, keys)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if sum(member.file_size for member in members.values()) > _MAX_BYTES:
            raise ValueError("its arrays are far larger than a hand model's")
        names = {key: f"{key}.npy" for key in keys if f"{key}.npy" in members}
        return {key: _read_npy(archive, members[name]) for key, name in names.items()}


def _read_npy(archive, member):
    """An array of an .npz; numpy makes room for as much as the file says it has."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        known = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        shape, _, dtype = known[version[0]](file)
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(f"{member.filename} holds less than its shape {shape} says")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _check(arrays, path):
    absent = [key for key in _SHAPES if key not in arrays]
    if absent:
        raise ValueError(f"{path} is not a MANO hand model: it lacks {', '.join(absent)}; {ANEW}")
    for key, shape in _SHAPES.items():
        array = arrays[key]
        if array.shape != shape:
            raise ValueError(f"{path}: {key} has shape {array.shape}, MANO's is {shape}; {ANEW}")
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ValueError(f"{path}: {key} holds something that is not a finite number; {ANEW}")
    if arrays["f"].min() < 0 or arrays["f"].max() >= 778:
        raise ValueError(f"{path}: f names vertices that do not exist (0 to 777 do); {ANEW}")
