"""Photos as arrays, from files or from arrays of other kinds."""

from pathlib import Path

import numpy as np

from handlib.images import SUFFIXES, read_image
from handlib.paths import user_paths
from handlib.reading import short

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


# What makes bytes of other arrays, by the kind of their numbers.
_CONVERSIONS = {
    "f": ": where values are in [0, 1], give (255 * image).astype(np.uint8)",
    "u": ": of values of 16 bits, give (image // 257).astype(np.uint8)",
    "i": ": where values are in 0-255, give image.astype(np.uint8)",
}


def load_photo(photo):
    """RGB (H, W, 3) uint8 of a file, turned as its EXIF says, or of an array.

    Args:
        photo: path, or uint8 array: RGB (H, W, 3), RGBA (H, W, 4) or grey (H, W) or (H, W, 1).

    Raises:
        FileNotFoundError, ValueError: no such file, not a picture, or another kind of array.
    """
    if isinstance(photo, str | Path):
        path = Path(photo).expanduser()
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            raise ValueError(f"{path} is a video: handlib predict {path} follows the hands in it")
        return read_image(path, upright=True)
    array = np.asarray(photo)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or not array.size:
        what = f"{array.dtype} {array.shape}" if array.shape else type(photo).__name__
        raise ValueError(
            f"a photo is a uint8 array (H, W, 3) of RGB in 0-255 or a path, not {what}"
            + _CONVERSIONS.get(array.dtype.kind if array.ndim in (2, 3) else None, "")
        )
    array = array[..., None] if array.ndim == 2 else array
    if array.shape[2] not in (1, 3, 4):
        raise ValueError(f"a photo has 1, 3 or 4 channels, last in its shape, not {array.shape}")
    array = np.repeat(array, 3, 2) if array.shape[2] == 1 else array[..., :3]
    return np.ascontiguousarray(array)


def load_photos(paths):
    """Photos as ``load_photo`` reads them: those of the paths that can be read, and their pictures,
    two lists; of each other one a line is printed.

    Raises:
        ValueError: there are paths, and none of them can be read.
    """
    read, faults = {}, []
    for path in paths:
        try:
            read[path] = load_photo(path)
        except (OSError, ValueError) as error:
            faults.append(str(error))
    if faults and not read:
        raise ValueError("\n".join(faults))
    if faults:
        print("\n".join(f"left out: {fault}" for fault in faults))
    return list(read), list(read.values())


def list_photos(path, suffixes=SUFFIXES):
    """Paths of the photos in a folder, by name; of anything else, itself. Folders within a folder
    are named in a line that is printed, and not looked into. Hidden files, as macOS leaves beside
    photos, are none.

    Args:
        suffixes: of what counts as a photo.

    Raises:
        ValueError: a folder without photos.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        return [path]
    there = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    inside = [p for p in there if p.suffix.lower() in suffixes and not p.is_dir()]
    folders = ", ".join(p.name for p in there if p.is_dir())
    if not inside:
        what = "photo" if suffixes == SUFFIXES else "photo or video"
        but = f"; not looked into: {short(folders)}" if folders else ""
        raise ValueError(f"{path} holds no {what} ({', '.join(suffixes)}){but}")
    if folders:
        print(f"not looked into: folders in {path} ({short(folders)})")
    return inside


def list_given_photos(text):
    """Paths of the photos that a text names, each once: a photo, a folder of them, or several of
    these with commas between them.

    Raises:
        ValueError: a folder without photos.
    """
    listed = [photo for path in user_paths(text, "photos") for photo in list_photos(path)]
    return list(dict.fromkeys(listed))
