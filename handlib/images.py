"""Images as arrays, and their files; a fault names the file and the remedy."""

import io

import cv2
import numpy as np

from handlib.reading import BadFile

try:
    from simplejpeg import decode_jpeg, decode_jpeg_header
except ImportError:  # handlib copied to a machine that it is not installed on
    decode_jpeg_header = None

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff")
# A file of kilobytes can hold a picture of gigabytes; phones take photos of 200 million.
MAX_PIXELS = 250_000_000
# EXIF's mark of how a picture lies, and those of its values that change the pixels.
_ORIENTATION, _TURNS, _QUARTER_TURNS = 0x0112, range(2, 9), range(5, 9)
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_JPEG, _COLORS = b"\xff\xd8", ("YCbCr", "Gray")  # its beginning, and what most hold


def require_rgb(image, remedy=""):
    """ValueError, with the remedy, for what is no RGB array (H, W, 3) uint8 of some pixels."""
    is_array = isinstance(image, np.ndarray)
    is_rgb = is_array and image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8
    if not (is_rgb and image.size):
        got = f"{image.shape} {image.dtype}" if is_array else type(image).__name__
        raise ValueError(f"expected an (H, W, 3) uint8 RGB image, got {got}{remedy}")


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
    return _decode(path, cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION))


def read_gray(path):
    """The one channel (H, W) uint8 of a mask; raises as ``read_image``."""
    return _decode(path, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)


def is_turned(path, size=None):
    """Whether EXIF turns or mirrors a picture, to one of the same size (width, height) if given."""
    from PIL import Image  # the command shows its help without it

    try:
        with Image.open(path) as header:
            mark = header.getexif().get(_ORIENTATION)
    except Exception:  # its decoders raise what they like
        return False
    return mark in _TURNS and (size is None or size[0] == size[1] or mark not in _QUARTER_TURNS)


def _decode(path, flags):
    try:
        with io.FileIO(path) as file:  # half of the time of Path.read_bytes
            content = file.readall()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: copy it again, or give another path") from None
    except IsADirectoryError:
        raise BadFile(f"{path} is a folder: give an image file") from None
    size = _jpeg_size(content)
    _check(path, size or _size(path, content))
    image = None
    if size and flags & cv2.IMREAD_IGNORE_ORIENTATION:
        image = _jpeg(content, flags & ~cv2.IMREAD_IGNORE_ORIENTATION == cv2.IMREAD_COLOR_RGB)
    if image is None:
        try:
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        except cv2.error:
            image = None
    if image is None:
        raise BadFile(f"{path} is not a readable image: save it as JPEG or PNG, or copy it again")
    return image


def _check(path, size):
    """``BadFile`` for what says that it is huge: before decoding."""
    if size[0] * size[1] > MAX_PIXELS:
        raise BadFile(
            f"{path} says that it has more than {MAX_PIXELS // 10**6} million pixels: make it "
            "smaller"
        )


def _jpeg(content, is_rgb):
    """RGB (H, W, 3) or grey (H, W) of a JPEG: OpenCV's bytes in four fifths of its time.

    None for what is left to OpenCV, which shows as much of a damaged file as there is.
    """
    try:
        image = decode_jpeg(content, "RGB" if is_rgb else "GRAY")
    except ValueError:
        return None
    return image if is_rgb else image[..., 0]


def _jpeg_size(content):
    """(width, height) of a whole JPEG, by a fraction of Pillow's work.

    None for what is left to Pillow: other files, one without its end, one that warns.
    """
    if not (decode_jpeg_header and content.startswith(_JPEG) and content.endswith(_ENDS["JPEG"])):
        return None
    try:
        height, width, colors, _ = decode_jpeg_header(content)
    except ValueError:
        return None
    return (width, height) if colors in _COLORS else None


def _size(path, content):
    """(width, height) by Pillow, which also looks whether the pixels are all there."""
    from PIL import Image, UnidentifiedImageError  # the command shows its help without it

    try:
        with Image.open(io.BytesIO(content)) as header:
            width, height = header.size
            end = _ENDS.get(header.format, b"")
            # OpenCV shows what is missing in grey. After the end some cameras append more.
            if not content.endswith(end) and width * height <= MAX_PIXELS:
                header.load()
            return width, height
    except Image.DecompressionBombError:
        return MAX_PIXELS, MAX_PIXELS
    except Exception as error:  # its decoders raise what they like
        known = not isinstance(error, UnidentifiedImageError)
        said = "it is empty" if not content else str(error)[:100] if known else "of no known kind"
        raise BadFile(
            f"{path} is not a readable image ({said}): save it as JPEG or PNG, or copy it again"
        ) from error
