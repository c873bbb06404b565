"""Image files of every kind, sound, damaged and hostile."""

import io
import json
import struct
import zlib

import cv2
import limited
import numpy as np
import pytest
from PIL import Image

from handlib import images
from handlib.data.backgrounds import Backgrounds
from handlib.data.photos import read_coco_hands
from handlib.images import read_gray, read_image
from handlib.inference import load_photo
from handlib.reading import BadFile

GREY = np.linspace(0, 255, 48, dtype=np.uint8).reshape(6, 8).repeat(4, 0).repeat(4, 1)


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png_bomb(side=60_000):
    """A few bytes that say they are a picture of 3.6 thousand million pixels."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


def jpeg_bomb():
    """A JPEG whose header says 65,500 x 65,500."""
    content = bytearray(cv2.imencode(".jpg", GREY)[1].tobytes())
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    return bytes(content)


def bmp_bomb():
    content = bytearray(cv2.imencode(".bmp", GREY)[1].tobytes())
    content[18:26] = struct.pack("<ii", 50_000, 50_000)
    return bytes(content)


def damaged():
    jpeg = cv2.imencode(".jpg", GREY)[1].tobytes()
    png = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (40, 40, 3)))[1].tobytes()
    return {
        "empty.jpg": b"",
        "text.jpg": b"no picture, really\n" * 99,
        "page.png": b"<!DOCTYPE html><html>please sign in</html>",
        "half.jpg": jpeg[: len(jpeg) * 3 // 4],
        "half.png": png[: len(png) // 2],
        "header.jpg": jpeg[:20],
        "no_size.bmp": cv2.imencode(".bmp", GREY)[1].tobytes()[:18] + bytes(400),
        "bomb.png": png_bomb(),
        "bomb.jpg": jpeg_bomb(),
        "bomb.bmp": bmp_bomb(),
        "noise.webp": b"RIFF\xff\xff\xff\x7fWEBPVP8 " + bytes(range(256)),
        "loop.tif": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
    }


def test_no_image_is_one_message_in_little_time_and_memory(tmp_path):
    for name, content in damaged().items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in damaged()]
    for reader in ("handlib.images:read_image", "handlib.inference:load_photo"):
        for path, told in limited.outcomes(reader, paths, tmp_path).items():
            assert told["error"] == "BadFile" and path in told["message"], (path, told)
            said = "million pixels" if "bomb" in path else "not a readable image"
            assert said in told["message"], (path, told)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.jpg is missing"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="is a folder"):
        load_photo(tmp_path)


def test_every_kind_of_picture_is_rgb_of_8_bits(tmp_path):
    colors = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
    kinds = {
        "grey.png": (GREY, GREY),
        "grey.jpg": (GREY, GREY),
        "deep.png": (GREY.astype(np.uint16) * 257, GREY),
        "deep.tif": (colors.astype(np.uint16) * 257, colors),
        "clear.png": (np.dstack([colors, GREY]), colors),
        "plain.webp": (colors, colors),
    }
    for name, (written, expected) in kinds.items():
        cv2.imwrite(str(tmp_path / name), written, [cv2.IMWRITE_WEBP_QUALITY, 101])
        found = read_image(tmp_path / name)
        assert found.shape == (24, 32, 3) and found.dtype == np.uint8, name
        expected = expected if expected.ndim == 3 else np.dstack([expected] * 3)
        assert np.abs(found[..., ::-1].astype(int) - expected).max() <= 4, name
        assert np.array_equal(load_photo(tmp_path / name), found)
        assert read_gray(tmp_path / name).shape == (24, 32)
    palette = Image.fromarray(colors).convert("P")
    palette.save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").shape == (24, 32, 3)


@pytest.mark.parametrize("options", [
    {}, {"subsampling": "4:4:4"}, {"subsampling": "4:2:2"}, {"progressive": True},
    {"quality": 20}, {"mode": "L"}, {"mode": "L", "progressive": True},
])  # fmt: skip
def test_a_jpeg_is_read_to_opencvs_bytes(tmp_path, options):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((77, 51), Image.Resampling.BICUBIC)
    path = tmp_path / "a.jpg"
    options = {"quality": 92} | options
    picture.convert(options.pop("mode", "RGB")).save(path, **options)
    for read, flag in ((read_image, cv2.IMREAD_COLOR_RGB), (read_gray, cv2.IMREAD_GRAYSCALE)):
        assert images._jpeg(path.read_bytes(), read is read_image) is not None
        assert np.array_equal(read(path), cv2.imread(str(path), flag))


def test_without_simplejpeg_opencv_reads_jpegs(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "a.jpg"), GREY)
    theirs = read_image(tmp_path / "a.jpg")
    monkeypatch.setattr(images, "decode_jpeg_header", None)
    monkeypatch.delattr(images, "decode_jpeg")
    assert np.array_equal(read_image(tmp_path / "a.jpg"), theirs)


def test_a_camera_may_append_to_a_jpeg(tmp_path):
    jpeg = cv2.imencode(".jpg", GREY)[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(jpeg + b"MotionPhoto" + bytes(999))
    assert read_image(tmp_path / "a.jpg").shape == (24, 32, 3)


def write_turned(path, mark=6, image=GREY):
    """A photo that its EXIF says to turn by a quarter: 24 x 32 stored, 32 x 24 upright."""
    exif = Image.Exif()
    exif[0x0112] = mark
    Image.fromarray(np.dstack([image] * 3)).save(path, exif=exif)


def test_photos_are_turned_upright_and_datasets_are_as_stored(tmp_path):
    write_turned(tmp_path / "a.png")
    stored, upright = read_image(tmp_path / "a.png"), load_photo(tmp_path / "a.png")
    assert stored.shape == (24, 32, 3) and read_gray(tmp_path / "a.png").shape == (24, 32)
    np.testing.assert_array_equal(upright, np.rot90(stored, -1))


def annotated(folder, size):
    """Reader of a hand in the photo a.png of a folder, annotated with that size, or none."""
    entry = {"id": 1, "file_name": "a.png"}
    entry |= {"width": size[0], "height": size[1]} if size else {}
    hand = {"id": 1, "image_id": 1, "keypoints": [5, 6, 1] * 21, "bbox": [1, 2, 9, 9]}
    (folder / "a.json").write_text(json.dumps({"images": [entry], "annotations": [hand]}))
    return read_coco_hands(folder / "a.json")


@pytest.mark.parametrize("size", [(32, 24), (24, 32), (30, 30)])
def test_annotated_photos_are_turned_where_the_annotations_are(tmp_path, size):
    write_turned(tmp_path / "a.png")
    reader = annotated(tmp_path, size)
    if size == (30, 30):
        with pytest.raises(ValueError, match=r"a\.png has 32 x 24 px and .* 30 x 30"):
            reader[0]
    else:
        assert reader[0].size == size


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [(24, 24), None])
def test_a_photo_is_told_whose_annotations_may_be_for_the_turned_one(tmp_path, size):
    for mark in (0, 1, 2, 3, 6, 8):
        write_turned(tmp_path / "a.png", mark, GREY[:, :24])
        reader = annotated(tmp_path, size)
        if mark < 2:
            assert reader[0].size == (24, 24)
        else:
            with pytest.raises(UserWarning, match=r"a\.png: its EXIF turns it"):
                reader[0]


def test_a_bomb_among_backgrounds_is_skipped(tmp_path):
    (tmp_path / "a.png").write_bytes(png_bomb())
    cv2.imwrite(str(tmp_path / "b.png"), GREY)
    with pytest.warns(UserWarning, match=r"a\.png says that it has more than"):
        backgrounds = Backgrounds(tmp_path)
    assert backgrounds.draw(np.random.default_rng(0), (20, 20)).shape == (20, 20, 3)


def usual_jpegs():
    """Name -> file, as OpenCV, cameras and other programs write them."""
    colors = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])

    def by_pillow(picture=colors, **settings):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", **settings)
        return file.getvalue()

    exif = Image.Exif()
    exif[0x0112] = 6
    thumbnail = by_pillow(np.zeros((9, 7, 3), np.uint8))  # in APP1, where cameras put theirs
    app1 = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 8) + b"Exif\0\0" + thumbnail
    plain = by_pillow()
    return {
        "opencv": cv2.imencode(".jpg", colors)[1].tobytes(),
        "opencv grey": cv2.imencode(".jpg", GREY)[1].tobytes(),
        "opencv progressive": cv2.imencode(".jpg", colors, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1]
        .tobytes(),
        "opencv restarts": cv2.imencode(".jpg", colors, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1]
        .tobytes(),
        "pillow": plain,
        "pillow grey": by_pillow(GREY),
        "pillow progressive": by_pillow(progressive=True, optimize=True),
        "pillow 4:4:4, turned, profile": by_pillow(
            subsampling=0, exif=exif, icc_profile=bytes(150_000), comment=b"a hand"
        ),
        "thumbnail": plain[:2] + app1 + plain[2:],
    }  # fmt: skip


def test_the_size_of_usual_jpegs_is_what_pillow_says():
    for name, content in usual_jpegs().items():
        with Image.open(io.BytesIO(content)) as picture:
            assert images._jpeg_size(content) == picture.size == (32, 24), name


def changed(content, mark, offset, value):
    """The JPEG with bytes written from ``offset`` behind the first such mark on."""
    at = content.index(mark) + offset
    return content[:at] + value + content[at + len(value) :]


def test_what_is_no_usual_jpeg_is_left_to_pillow():
    content = usual_jpegs()["opencv"]
    frame = content.index(b"\xff\xc0")
    second = content[frame : frame + 2 + int.from_bytes(content[frame + 2 : frame + 4], "big")]
    cmyk = io.BytesIO()
    Image.new("CMYK", (32, 24)).save(cmyk, "JPEG")
    odd = {
        "cut short": content[:-5],
        "more behind the end": content + b"MotionPhoto",
        "png": cv2.imencode(".png", GREY)[1].tobytes(),
        "empty": b"",
        "nothing but ends": b"\xff\xd8\xff\xd9",
        "four colours": cmyk.getvalue(),
        "two frames": content[:frame] + second + content[frame:],
        "no height": changed(content, b"\xff\xc0", 5, b"\0\0"),
        "no mark": changed(content, b"\xff\xdb", 0, b"\0"),
        "a part beyond the end": changed(content, b"\xff\xdb", 2, b"\xff\xff"),
    }
    for name, file in odd.items():
        assert images._jpeg_size(file) is None, name


def test_rare_jpegs_are_read_or_refused(tmp_path):
    content = usual_jpegs()["opencv"]
    rare = {
        "arithmetic coding": changed(content, b"\xff\xc0", 1, b"\xc9"),
        "many parts": content[:2] + b"\xff\xfe\0\2" * 10**6 + content[2:],
    }
    for name, file in rare.items():
        (tmp_path / "a.jpg").write_bytes(file)
        assert read_image(tmp_path / "a.jpg").shape == (24, 32, 3), name
    (tmp_path / "a.jpg").write_bytes(changed(content, b"\xff\xc0", 4, b"\x0c"))
    with pytest.raises(BadFile, match="not a readable image"):  # 12 bits
        read_image(tmp_path / "a.jpg")


def test_any_cut_of_a_jpeg_is_told_or_left_to_pillow():
    """Never a size that is not the file's."""
    content = usual_jpegs()["thumbnail"]
    for end in range(len(content)):
        assert images._jpeg_size(content[:end]) in (None, (32, 24))
        assert images._jpeg_size(content[:end] + b"\xff\xd9") in (None, (32, 24))
