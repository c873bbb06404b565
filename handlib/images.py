"""Reading image files; a fault names the file and the remedy."""

import io
from pathlib import Path

import cv2
import numpy as np

from handlib.reading import BadFile

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
# A file of kilobytes can hold a picture of gigabytes; phones take photos of 200 million.
MAX_PIXELS = 250_000_000
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}


def read_image(path, upright=False):
    """RGB image (H, W, 3) uint8, of any kind of picture: grey, 16 bits, with transparency.

    Args:
        path: of the file.
        upright: turn it as its EXIF says. Without it the pixels are as stored, which is what the
            annotations of datasets are for.

    Raises:
        FileNotFoundError, ValueError: missing, unreadable, cut short or far too large, naming the
            file.
    """
    flags = cv2.IMREAD_COLOR | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(_decode(path, flags), cv2.COLOR_BGR2RGB)


def read_gray(path):
    """The one channel (H, W) uint8 of a mask; raises as ``read_image``."""
    return _decode(path, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)


def _decode(path, flags):
    try:
        content = Path(path).read_bytes()  # half of the time of np.fromfile
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: copy it again, or give another path") from None
    except IsADirectoryError:
        raise BadFile(f"{path} is a folder: give an image file") from None
    _check(path, content)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise BadFile(f"{path} is not a readable image: save it as JPEG or PNG, or copy it again")
    return image


def _check(path, content):
    """``BadFile`` for what is no image, is cut short, or says that it is huge: before decoding."""
    from PIL import Image, UnidentifiedImageError  # the command shows its help without it

    try:
        with Image.open(io.BytesIO(content)) as header:
            width, height = header.size
            end = _ENDS.get(header.format, b"")
            # OpenCV shows what is missing in grey. After the end some cameras append more.
            if not content.endswith(end) and width * height <= MAX_PIXELS:
                header.load()
    except Image.DecompressionBombError:
        width = height = MAX_PIXELS
    except Exception as error:  # its decoders raise what they like
        known = not isinstance(error, UnidentifiedImageError)
        said = "it is empty" if not content else str(error)[:100] if known else "of no known kind"
        raise BadFile(
            f"{path} is not a readable image ({said}): save it as JPEG or PNG, or copy it again"
        ) from error
    if width * height > MAX_PIXELS:
        raise BadFile(
            f"{path} says that it has more than {MAX_PIXELS // 10**6} million pixels: make it "
            "smaller"
        )
