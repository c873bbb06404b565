import numpy as np
import pytest

from handlib.data import raster

K = np.array([[100.0, 0, 31.5], [0, 110.0, 30.0], [0, 0, 1]])
SIZE = (64, 60)


def rays(size, K):
    """Directions (H, W, 3) with z = 1 through the pixel centres."""
    u, v = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return np.stack([u, v, np.ones(u.shape)], -1) @ np.linalg.inv(K).T


def cast(vertices, faces, K, size):
    """Slow reference: intersect every ray with every triangle (Moeller and Trumbore 1997)."""
    directions = rays(size, K)
    best = np.full(directions.shape[:2], np.inf)
    face = np.full(best.shape, -1)
    weights = np.zeros((*best.shape, 3))
    for f, (a, b, c) in enumerate(vertices[faces]):
        p = np.cross(directions, c - a)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = -(p @ a) / (p @ (b - a))
            v = directions @ np.cross(-a, b - a) / (p @ (b - a))
            t = (c - a) @ np.cross(-a, b - a) / (p @ (b - a))
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < best)
        best[hit], face[hit] = t[hit], f
        weights[hit] = np.stack([1 - u - v, u, v], -1)[hit]
    return face, weights, best


def grid_mesh(n, z=1.0):
    """A fronto-parallel grid of n x n cells in [0, 1] squared, two triangles each."""
    y, x = np.mgrid[: n + 1, : n + 1] / n
    vertices = np.stack([x.ravel() - 0.5, y.ravel() - 0.5, np.full(x.size, z)], -1)
    corner = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()
    a, b, c, d = corner, corner + 1, corner + n + 1, corner + n + 2
    return vertices, np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)])


def test_random_triangles_agree_with_ray_casting():
    rng = np.random.default_rng(0)
    vertices = rng.uniform([-0.4, -0.4, 0.5], [0.4, 0.4, 1.5], (30, 3))
    faces = np.arange(30).reshape(10, 3)
    fragments = raster.rasterize(vertices, faces, K, SIZE)
    face, weights, depth = cast(vertices, faces, K, SIZE)
    same = face == fragments.face
    assert (face >= 0).mean() > 0.3
    assert same.mean() > 0.99  # corners are rounded to 1/1024 px: a few border pixels may differ
    seen = same & (face >= 0)
    # The rounding moves a steep triangle's depth a little.
    np.testing.assert_allclose(fragments.depth[seen], depth[seen], rtol=2e-3)
    np.testing.assert_allclose(fragments.barycentric[seen], weights[seen][:, :2], atol=5e-3)


def test_depth_of_a_slanted_plane():
    """On the plane z = 1 + x / 2 the ray (x, y, 1) has depth 1 / (1 - x / 2)."""
    vertices, faces = grid_mesh(3)
    vertices[:, 2] = 1 + vertices[:, 0] / 2
    fragments = raster.rasterize(vertices, faces, K, SIZE)
    seen = fragments.face >= 0
    expected = 1 / (1 - rays(SIZE, K)[..., 0] / 2)
    assert seen.mean() > 0.8
    np.testing.assert_allclose(fragments.depth[seen], expected[seen], rtol=1e-4)


def test_attributes_are_interpolated_in_space_not_on_the_screen():
    vertices, faces = grid_mesh(1)
    vertices[:, 2] = 1 + vertices[:, 0] * 1.5
    fragments = raster.rasterize(vertices, faces, K, SIZE)
    points = raster.interpolate(fragments, faces, vertices)
    seen = fragments.face >= 0
    expected = rays(SIZE, K) * fragments.depth[..., None]
    np.testing.assert_allclose(points[seen], expected[seen], atol=2e-4)
    assert not points[~seen].any()


def test_shared_edges_leave_no_hole_and_no_double_coverage():
    vertices, faces = grid_mesh(16)
    # Corners on pixel centres, so that whole edges run through them.
    K = np.array([[48.0, 0, 31.0], [0, 48.0, 29.0], [0, 0, 1]])
    count = np.zeros((60, 64), int)
    for face in faces:
        count += raster.rasterize(vertices, face[None], K, SIZE).face >= 0
    assert count.max() == 1
    assert count[5:53, 7:55].all() and count.sum() == 48 * 48


def test_degenerate_near_and_invalid_triangles_are_dropped():
    good = np.array([[-0.2, -0.2, 1], [0.2, -0.2, 1], [0, 0.2, 1.0]])
    line = np.array([[-0.2, 0, 0.5], [0, 0, 0.5], [0.2, 0, 0.5]])
    behind = good * [1, 1, -1]
    crossing = np.array([[-0.2, -0.2, 0.5], [0.2, -0.2, 0.0], [0, 0.2, 0.5]])
    missing = np.full((3, 3), np.nan)
    vertices = np.concatenate([line, behind, crossing, missing, good])
    fragments = raster.rasterize(vertices, np.arange(15).reshape(5, 3), K, SIZE)
    assert set(np.unique(fragments.face)) == {-1, 4}


def test_culling_keeps_the_side_that_is_counter_clockwise():
    triangle = np.array([[-0.2, -0.2, 1], [0, 0.2, 1], [0.2, -0.2, 1.0]])
    normal = raster.vertex_normals(triangle, np.array([[0, 1, 2]]))[0]
    assert normal[2] == pytest.approx(-1)  # towards the camera
    front = raster.rasterize(triangle, np.array([[0, 1, 2]]), K, SIZE, cull=True)
    back = raster.rasterize(triangle, np.array([[0, 2, 1]]), K, SIZE, cull=True)
    assert (front.face >= 0).sum() > 100 and (back.face == -1).all()


def test_render_mesh_returns_colour_coverage_and_depth():
    vertices, faces = grid_mesh(4)
    vertices[:, :2] *= 0.3
    rgb, alpha, depth = raster.render_mesh(vertices, faces, K, SIZE, color=(0.9, 0.5, 0.1))
    assert rgb.shape == (60, 64, 3) and rgb.dtype == np.float32
    # The square is 30 x 33 px.
    assert alpha.sum() == pytest.approx(30 * 33, rel=0.02)
    assert set(np.unique(alpha)) <= {0, 0.25, 0.5, 0.75, 1}
    assert rgb[30, 31, 0] > rgb[30, 31, 1] > rgb[30, 31, 2] > 0
    np.testing.assert_allclose(depth[depth > 0], 1, rtol=1e-6)


@pytest.mark.parametrize("index", [-1, 25])
def test_faces_of_vertices_that_are_not_there_are_named(index):
    vertices, faces = grid_mesh(4)
    wrong = faces.copy()
    wrong[3, 1] = index
    message = f"there are 25 vertices, and a face asks for vertex {index}"
    fragments = raster.rasterize(vertices, faces, K, SIZE)
    for draw in (
        lambda: raster.render_mesh(vertices, wrong, K, SIZE),
        lambda: raster.rasterize(vertices, wrong, K, SIZE),
        lambda: raster.interpolate(fragments, wrong, vertices),
        lambda: raster.vertex_normals(vertices, wrong),
    ):
        with pytest.raises(ValueError, match=message):
            draw()
    with pytest.raises(ValueError, match=r"expected faces \(F, 3\), got \(32, 2\)"):
        raster.render_mesh(vertices, faces[:, :2], K, SIZE)


def test_no_faces_are_an_empty_picture():
    vertices, faces = grid_mesh(1)
    assert not raster.render_mesh(vertices, faces[:0], K, SIZE)[1].any()
