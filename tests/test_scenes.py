"""3D scenes: both forms of them show the same, where and in which units they say; their files."""

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from posed_hands import to_camera

from handlib import plots
from handlib.geometry import project
from handlib.joints import FINGER_COLORS, JOINT_NAMES, ROOT
from handlib.plots import render, traces
from handlib.plots.layers import Layer
from handlib.plots.page import write_page

SIZE = 96
K = np.array([[150.0, 0, 47.5], [0, 150, 47.5], [0, 0, 1]])


@pytest.fixture
def placed(rest):
    """Vertices of the hand in front of the camera K."""
    return to_camera(rest[0], origin=rest[1][ROOT])


def test_interactive_and_still_view_agree(rest, hand):
    shown = plots.show_mesh(to_camera(rest[0]), hand.faces, to_camera(rest[1]))
    camera = shown.figure.layout.scene.camera
    eye = np.array([camera.eye.x, camera.eye.y, camera.eye.z])
    up = np.array([camera.up.x, camera.up.y, camera.up.z])
    right = np.cross(-eye, up)
    down = np.cross(-eye, right)
    points = traces.plotly_points(shown.layers[0].joints)
    interactive = points @ np.stack([right, down], 1)
    place, camera_K = render.frame(shown.layers[0].vertices, shown.view, (340, 340))
    still = project(place(shown.layers[0].joints), camera_K)
    for axis in (0, 1):
        assert np.corrcoef(interactive[:, axis], still[:, axis])[0, 1] > 0.99


def test_plotly_axes_are_a_rotation_of_the_camera_frame():
    mapped = traces.plotly_points(np.eye(3)) / 1000
    assert np.linalg.det(mapped) == pytest.approx(1)
    assert traces.plotly_points(np.array([0, -0.1, 0]))[2] == pytest.approx(100)  # up, mm


# -- scenes ----------------------------------------------------------------------------------
def decode(spec):
    return np.frombuffer(base64.b64decode(spec["bdata"]), np.dtype(spec["dtype"]))


def test_bundle_is_small_and_has_both_forms(rest, hand):
    bundle = plots.show_mesh(to_camera(rest[0]), hand.faces)._repr_mimebundle_()
    assert set(bundle) == {"application/vnd.plotly.v1+json", "image/png"}
    assert len(json.dumps(bundle)) < 60_000
    (mesh,) = bundle["application/vnd.plotly.v1+json"]["data"]
    xyz = np.stack([decode(mesh[axis]) for axis in "xyz"], 1)
    x, y, z = 1000 * to_camera(rest[0]).T
    assert mesh["x"]["dtype"] == "f4" and mesh["i"]["dtype"] == "u2"
    np.testing.assert_allclose(xyz, np.stack([x, z, -y], 1), atol=1e-3)
    assert bundle["application/vnd.plotly.v1+json"]["layout"]["scene"]["aspectmode"] == "data"
    picture = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).convert("RGB")
    )
    assert (picture < 250).any(-1).mean() > 0.05


def test_two_hands_are_told_apart(rest, hand):
    vertices, joints = to_camera(rest[0]), to_camera(rest[1])
    shown = plots.show_mesh(vertices, hand.faces, joints, vertices + 0.01, joints + 0.01)
    meshes = [t for t in shown.figure.data if t.type == "mesh3d"]
    assert [t.name for t in meshes] == ["prediction", "truth"]
    assert meshes[0].color != meshes[1].color and meshes[1].opacity < 1
    bones = [t for t in shown.figure.data if t.type == "scatter3d"]
    assert {text for t in bones for text in t.text} == set(JOINT_NAMES)
    assert len(shown.still.legends[0].get_texts()) == 2


def test_a_hand_before_its_photo_is_seen_and_its_bones_through_it(placed, hand):
    bones = {"joints": placed[:21]}
    photo = {"image": np.zeros((SIZE, SIZE, 3), np.uint8), "K": K}
    shown = [plots.show_mesh(placed, hand.faces, **g) for g in ({}, bones, bones | photo)]
    solid, glass, before_photo = (scene.layers[0].opacity for scene in shown)
    assert glass < 0.5 < 0.75 < before_photo < solid == 1


def test_tensors_and_lists_are_drawn_as_arrays_are(placed, hand):
    photo = {"image": np.zeros((SIZE, SIZE, 3), np.uint8), "K": K}
    given = (placed, hand.faces, placed[:21], placed, placed[:21], np.ones(len(placed)))
    expected = plots.show_mesh(*given, **photo)
    learnt = [torch.tensor(np.float64(each), requires_grad=True) for each in given]
    learnt[1] = torch.tensor(hand.faces)
    tensors = {name: torch.from_numpy(each) for name, each in photo.items()}
    for shown in (
        plots.show_mesh(*learnt, **tensors),
        plots.show_mesh(*[each.tolist() for each in given], **photo),
    ):
        assert shown.figure == expected.figure
        np.testing.assert_array_equal(shown.layers[0].vertices, placed)
        assert shown.still is not None


def test_larger_errors_are_darker_and_their_scale_is_in_mm(rest, hand):
    error = np.linspace(0, 0.02, len(rest[0]))
    shown = plots.show_mesh(rest[0], hand.faces, vertex_error=error)
    luminance = shown.layers[0].paint @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) <= 1e-9).all() and luminance[0] - luminance[-1] > 0.5
    (mesh,) = shown.figure.data
    assert mesh.cmax == pytest.approx(20) and "mm" in mesh.colorbar.title.text
    np.testing.assert_allclose(mesh.intensity, 1000 * error, rtol=1e-5)


def test_faces_must_fit_both_hands(rest, hand):
    for hands in ({"vertices": rest[0][:700]}, {"vertices": rest[0], "other": rest[0][:700]}):
        with pytest.raises(ValueError, match="700 vertices, and a face asks for vertex 777"):
            plots.show_mesh(**hands, faces=hand.faces)


def test_an_unknown_view_is_told_the_known_ones(rest, hand):
    known = f"unknown view 'nope'; known: {', '.join(render.VIEWS)}"
    with pytest.raises(ValueError, match=known):
        plots.show_mesh(rest[0], hand.faces, view="nope")
    with pytest.raises(ValueError, match=r"known: palm, back, thumb side"):
        plots.show_poses({"rest": rest[0]}, hand.faces, view="nope")


def test_scene_files(rest, hand, tmp_path):
    shown = plots.show_mesh(rest[0], hand.faces, title="stand-in")
    shown.save_html(tmp_path / "a.html")
    shown.savefig(tmp_path / "a.png")
    page = (tmp_path / "a.html").read_text()
    assert "mesh3d" in page and "<script src=" not in page and len(page) > 1e6
    assert Image.open(tmp_path / "a.png").size == (440, 380)
    shown.save_html(tmp_path / "b.html", beside=True)
    page = (tmp_path / "b.html").read_text()
    assert '<script src="plotly.min.js">' in page and len(page) < 100_000
    assert (tmp_path / "plotly.min.js").stat().st_size > 1e6


def test_a_joint_that_is_not_known_leaves_the_view_as_it_is(rest, hand, tmp_path):
    whole = plots.show_mesh(rest[0], hand.faces, rest[1])
    joints = rest[1].copy()
    joints[JOINT_NAMES.index("index_pip")] = np.nan
    shown = plots.show_mesh(rest[0], hand.faces, joints)
    assert shown.figure.layout.scene.camera == whole.figure.layout.scene.camera
    shown.save_html(tmp_path / "a.html", beside=True)
    page = (tmp_path / "a.html").read_text()
    scene = json.loads(page.split("const scene = ")[1].split(";\n")[0])
    (index,) = (t for t in scene["data"] if "index_pip" in t.get("text", ()))
    place = index["text"].index("index_pip")
    assert [n for n, x in enumerate(index["x"]) if x is None] == [place]
    assert "NaN" not in page


def scene_of(page):
    """The data and the layout that a page gives to plotly."""
    return json.JSONDecoder().raw_decode(page.read_text().split("const scene = ")[1])[0]


def test_a_title_is_text_and_no_markup(rest, hand, tmp_path):
    shown = plots.show_mesh(rest[0], hand.faces, title="a<b>&c")
    assert shown.figure.layout.title.text == "a&lt;b&gt;&amp;c"
    shown.save_html(tmp_path / "a.html", beside=True)
    assert scene_of(tmp_path / "a.html")["layout"]["title"]["text"] == "a&lt;b&gt;&amp;c"
    assert "<title>a&lt;b&gt;&amp;c</title>" in (tmp_path / "a.html").read_text()


def test_a_page_that_cannot_be_written_leaves_the_one_before(rest, hand, tmp_path):
    shown = plots.show_mesh(rest[0], hand.faces)
    shown.save_html(tmp_path / "a.html", beside=True)
    before = (tmp_path / "a.html").read_bytes()
    with pytest.raises(UnicodeEncodeError):
        write_page(tmp_path / "a.html", shown.layers, shown.view, title="\ud800", beside=True)
    assert (tmp_path / "a.html").read_bytes() == before


def test_bones_have_the_colour_of_their_hand_or_of_their_finger(rest, hand):
    own = Layer("a hand", rest[0], hand.faces, rest[1], bone_color="#123456")
    fingers = replace(own, bone_color=None)
    for layer, colors in ((own, ["#123456"] * 5), (fingers, list(FINGER_COLORS.values()))):
        lines = traces.bone_traces(layer)
        assert [line["line"]["color"] for line in lines] == colors
        assert [line["marker"]["color"] for line in lines] == colors


def read_obj(path):
    lines = [line.split() for line in path.read_text().splitlines()]
    points = np.array([line[1:] for line in lines if line[0] == "v"], float)
    faces = np.array([line[1:] for line in lines if line[0] == "f"], int) - 1
    return points[:, :3], points[:, 3:], faces, [line[1] for line in lines if line[0] == "o"]


def read_ply(path):
    """What a reader finds who knows nothing but the header."""
    header, body = path.read_bytes().split(b"end_header\n", 1)
    lines = [line.split() for line in header.decode().splitlines()]
    assert lines[:2] == [["ply"], ["format", "binary_little_endian", "1.0"]]
    n, f = (int(line[2]) for line in lines if line[0] == "element")
    kinds = {"float": "<f4", "uchar": "u1", "int": "<i4"}
    single = [(line[2], kinds[line[1]]) for line in lines if len(line) == 3 and line[1] in kinds]
    points = np.frombuffer(body, single, n)
    count, item = next((kinds[a], kinds[b]) for kind, _, a, b, *_ in
                       (line for line in lines if line[:2] == ["property", "list"]))  # fmt: skip
    triangles = np.frombuffer(body, [("n", count), ("v", item, 3)], f, points.nbytes)
    assert points.nbytes + triangles.nbytes == len(body) and (triangles["n"] == 3).all()
    columns = [np.stack([points[name] for name in names], 1) for names in
               (("x", "y", "z"), ("red", "green", "blue"))]  # fmt: skip
    return columns[0], columns[1] / 255, triangles["v"]


def test_mesh_files_hold_what_is_shown(rest, hand, tmp_path):
    """Metres, faces and the colours of the errors; two hands are two pieces of one file."""
    error = np.linspace(0, 0.02, len(rest[0]))
    one = plots.show_mesh(rest[0], hand.faces, vertex_error=error)
    one.save_mesh(tmp_path / "one.ply")
    vertices, colors, faces = read_ply(tmp_path / "one.ply")
    np.testing.assert_allclose(vertices, rest[0], atol=1e-6)
    np.testing.assert_array_equal(faces, hand.faces)
    np.testing.assert_allclose(colors, one.layers[0].paint, atol=0.51 / 255)
    two = plots.show_mesh(rest[0], hand.faces, other=rest[0] + 0.1)
    for name, read in (("two.obj", read_obj), ("two.ply", read_ply)):
        two.save_mesh(tmp_path / name)
        vertices, colors, faces, *names = read(tmp_path / name)
        np.testing.assert_allclose(vertices, np.concatenate([rest[0], rest[0] + 0.1]), atol=1e-6)
        np.testing.assert_array_equal(faces, np.concatenate([hand.faces, hand.faces + 778]))
        assert not np.allclose(colors[0], colors[-1], atol=0.1)
        assert names in ([], [["prediction", "truth"]])
    with pytest.raises(ValueError, match=r"a\.stl: meshes are written as \.obj or \.ply"):
        two.save_mesh(tmp_path / "a.stl")


# -- a photo in the scene --------------------------------------------------------------------
@pytest.fixture
def with_photo(placed, hand):
    """The hand in front of its photo: dark, brighter to the right in red and downwards in green."""
    ramp = np.linspace(0, 250, SIZE).astype(np.uint8)
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[..., 0], image[..., 1] = ramp, ramp[:, None]
    return plots.show_mesh(placed, hand.faces, image=image, K=K, view="front")


def seen(figure, points):
    """Where plotly's camera sees points (N, 3) metres: (N, 2), 1 at the picture's upper edge."""
    drawn = np.concatenate([np.stack([t.x, t.y, t.z], 1) for t in figure.data])
    low, high = drawn.min(0), drawn.max(0)
    unit = 1.0625 * np.prod(high - low) ** (1 / 3)
    camera = figure.layout.scene.camera
    eye, center, up = (np.array([p.x, p.y, p.z]) for p in (camera.eye, camera.center, camera.up))
    ahead = (center - eye) / np.linalg.norm(center - eye)
    right = np.cross(ahead, up)
    from_eye = (traces.plotly_points(points) - (low + high) / 2) / unit - eye
    sides = from_eye @ np.stack([right, np.cross(right, ahead)], 1)
    return sides / (from_eye @ ahead)[:, None] / np.tan(np.radians(22.5))


@pytest.mark.parametrize("view", ["front", "shoulder"])
def test_the_hand_fills_the_picture_also_before_a_photo(placed, hand, with_photo, view):
    photo = {"image": with_photo.photo.image, "K": K}
    for options in ({}, photo):
        figure = plots.show_mesh(placed, hand.faces, view=view, **options).figure
        where = seen(figure, placed)
        assert 0.45 < np.ptp(where[:, 1]) / 2 < 1 and np.abs(where).max() < 1
        assert np.abs(where.max(0) + where.min(0)).max() < 0.3  # in the middle


def test_each_colour_of_the_photo_is_on_the_line_of_sight_of_its_pixel(with_photo):
    trace = next(t for t in with_photo.figure.data if t.name == "photo")
    x, z, minus_y = (np.array(trace[axis]) / 1000 for axis in "xyz")
    u, v = project(np.stack([x, -minus_y, z], 1), K).T
    colors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in trace.vertexcolor])
    np.testing.assert_allclose(colors[:, 0], 250 * u / (SIZE - 1), atol=2)
    np.testing.assert_allclose(colors[:, 1], 250 * v / (SIZE - 1), atol=2)
    assert len(json.dumps(with_photo._repr_mimebundle_())) < 160_000


def test_the_triangles_of_the_photo_leave_no_gap_and_do_not_overlap(with_photo):
    trace = next(t for t in with_photo.figure.data if t.name == "photo")
    corners = np.stack([trace.i, trace.j, trace.k], 1).astype(int)
    edges = np.sort(corners[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    border = 4 * (traces.PHOTO_CELLS - 1)
    assert (counts == 1).sum() == border and counts.max() == 2


def test_a_page_shows_hand_and_photo_to_hundredths_of_a_millimetre(with_photo, placed, tmp_path):
    with_photo.save_html(tmp_path / "a.html", beside=True)
    scene = scene_of(tmp_path / "a.html")
    mesh, *others = scene["data"]
    assert [trace["name"] for trace in others] == ["photo", with_photo.photo.caption]
    assert others[0]["vertexcolor"] and len(others[1]["x"]) == 16
    shown = np.stack([mesh[axis] for axis in "xyz"], 1)
    np.testing.assert_allclose(shown, traces.plotly_points(placed), atol=0.006)
    np.testing.assert_array_equal(shown, shown.round(2))


def test_the_photo_stands_behind_the_hand_in_the_frustum_of_its_camera(with_photo, placed):
    far, near = with_photo.photo.depth, with_photo.photo.near
    depths = placed[:, 2]
    assert 0 <= near < depths.min() < depths.max() < far < 1.1 * depths.max()
    corners = project(with_photo.photo.outline(), K)
    for axis in (0, 1):
        assert corners[:, axis].min() == pytest.approx(-0.5)
        assert corners[:, axis].max() == pytest.approx(SIZE - 0.5)
    lines = next(t for t in with_photo.figure.data if "lines of sight" in t.name)
    assert f"photo drawn at {far:.2f} m" in lines.name  # which is not where the hand is


def test_the_still_picture_has_the_photo_the_right_way_round_and_the_hand_before_it(
    with_photo, hand
):
    meshes = [(c.vertices, c.faces, c.paint, 1) for c in with_photo.layers]
    picture, to_pixels = render.render_view(meshes, "front", (300, 300), photo=with_photo.photo)
    for point in ([10, 10], [85, 12], [11, 84]):
        u, v = to_pixels(with_photo.photo.points(np.array([point])))[0].round().astype(int)
        expected = 250 * np.array(point) / (SIZE - 1)
        np.testing.assert_allclose(picture[v, u], [*expected, 0], atol=6)
    u, v = to_pixels(with_photo.layers[0].vertices.mean(0)).round().astype(int)
    assert picture[v, u, 2] > 50  # skin; there is no blue in the photo


def test_a_photo_needs_its_camera_and_a_hand_before_it(rest, placed, hand):
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    with pytest.raises(ValueError, match="give the K"):
        plots.show_mesh(placed, hand.faces, image=image)
    with pytest.raises(ValueError, match="not relative to the root"):
        plots.show_mesh(rest[0], hand.faces, image=image, K=K)


@pytest.mark.parametrize("shape", [(SIZE, SIZE), (SIZE, SIZE, 4), (SIZE, SIZE, 3)])
def test_an_image_that_is_not_rgb_in_bytes_is_refused(placed, hand, shape):
    image = np.zeros(shape, np.float32 if shape[2:] == (3,) else np.uint8)
    message = re.escape(f"(H, W, 3) uint8 RGB image, got {image.shape} {image.dtype}")
    with pytest.raises(ValueError, match=message):
        plots.show_mesh(placed, hand.faces, image=image, K=K)
    with pytest.raises(ValueError, match=message):
        render.overlay_mesh(image, placed, hand.faces, K)
