"""Which samples of a dataset cannot be used at all, and leaving them out.

``checks`` looks for annotations that are likely wrong; here it is about those that no program
could use: numbers that are missing, a matrix that is no camera's, a picture that cannot be read.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm.auto import tqdm

from handlib.images import read_gray, read_image

HOW = "or leave such samples out: skip_bad=True, handlib run --skip-bad"
LISTED = 10  # of those that are left out


def unusable(name, values):
    """Which entries of an annotation cannot be used.

    Args:
        name: "K", "xyz", "verts", "mano" or "scale".
        values: (N, ...) of it.

    Returns:
        (N,) bool, and what is wrong with them, as text.
    """
    rows = values.reshape(len(values), -1)
    lost = ~np.isfinite(rows).all(1)
    if lost.any():
        return lost, "holds numbers that are missing (NaN) or infinite"
    if name in ("xyz", "verts"):  # of another camera's axes, mostly
        behind = (values[..., 2] <= 0).any(1)
        return behind, "lies behind the camera (z is not positive)"
    if name != "K":
        return lost, ""
    no_camera = (rows[:, [0, 4]] <= 0).any(1) | (rows[:, 6:] != (0, 0, 1)).any(1)
    return no_camera, "is not a camera matrix [[fx, s, cx], [0, fy, cy], [0, 0, 1]]"


def usable_hands(joints, depth, known, focal, principal):
    """Which hands a program can use.

    Args:
        joints: (N, 21, 3). depth: (N, 21) of them, before the camera.
        known: (N, 21) bool, joints that should be there.
        focal, principal: (N, 2) px.

    Returns:
        (N,) bool: every known joint and the camera are finite, and the joints are before it; the
        focal lengths are positive.
    """
    whole = ((np.isfinite(joints).all(-1) & (depth > 0)) | ~known).all(-1)
    return whole & np.isfinite(principal).all(-1) & np.isfinite(focal).all(-1) & (focal > 0).all(-1)


def refuse_unusable(name, values, first, file):
    """ValueError for an annotation (N, ...) with entries that cannot be used.

    Args:
        first: number of the first entry in ``file``.
    """
    wrong, why = unusable(name, values)
    if wrong.any():
        entry, count = first + int(np.argmax(wrong)), int(wrong.sum())
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise ValueError(f"{file}: entry {entry}{more} {why}: write the file anew, {HOW}")


def read_pictures(path, mask_path=None):
    """A sample's image (H, W, 3), and its mask (H, W) as in the file, or None.

    Raises:
        FileNotFoundError, ValueError: one is missing or no picture, or they differ in size.
    """
    try:
        image = read_image(path)
        if mask_path is None:
            return image, None
        mask = read_gray(mask_path)
        if mask.shape != image.shape[:2]:
            sides = "{1}x{0}".format(*mask.shape), "{1}x{0}".format(*image.shape)
            raise ValueError(
                f"{mask_path} is {sides[0]} px and its image is {sides[1]}: copy or extract both "
                "again"
            )
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}, {HOW}") from None
    except ValueError as error:
        raise ValueError(f"{error}, {HOW}") from None
    return image, mask


def fault(error):
    """What an error of a reader says is wrong, for one who leaves out such samples already."""
    return str(error).removesuffix(f", {HOW}")


def find_unusable(reader):
    """Samples that cannot be read: dict of row -> what is wrong, in order; reads all of them."""

    def look(row):
        try:
            reader[row]
        except (OSError, ValueError) as error:
            return fault(error)
        return None

    with ThreadPoolExecutor() as pool:  # decoding a picture leaves Python to others
        found = pool.map(look, range(len(reader)))
        bar = tqdm(found, "looking for bad samples", len(reader), mininterval=1, delay=2)
        return {row: why for row, why in enumerate(bar) if why}


def listed(reasons, total, root):
    """What is left out, as text; ValueError where nothing is left.

    Args:
        reasons: what is wrong, one for each sample left out. total: how many samples there were.
    """
    if len(reasons) == total:
        raise ValueError(
            f"none of the {total} samples of {root} can be used; the first: {reasons[0]}"
        )
    more = [f"  and {len(reasons) - LISTED} more"] if len(reasons) > LISTED else []
    head = f"{len(reasons)} of {total} samples of {root} cannot be used and are left out:"
    return "\n".join([head, *(f"  {reason}" for reason in reasons[:LISTED]), *more])
