"""From fragments to a lit, anti-aliased picture of skin and cloth.

Visibility is known at twice the resolution; light is computed once per pixel and surface: the
samples of a pixel that lie on one surface are averaged first, those on another (a finger before
the palm) are lit by themselves. Colours are linear until the end, then sRGB.
"""

import numpy as np
from numba import njit

from handlib.data.raster import vertex_normals
from handlib.data.shadows import ambient_occlusion, shadow_map

# Channels of a skin's texels (``handlib.data.skin`` makes them), all stored as 0-255 for 0-1. They
# stand here because compiled code keeps the constants it was compiled with: numba's cache notices
# a change of this file, not one of another.
PALM, NAIL, NAIL_LENGTH, CREASE, WRINKLE, BLOOD, DORSUM = range(7)
CHANNELS = 7
GRID = 12  # texels along a triangle's edge: about 0.4 mm each on a hand
NAIL_RANGE = 2.0  # the nail channel holds distance / half size, up to this

_jit = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "arcp"})
# How blood, creases, veins and the ends of the nails change red, green and blue.
_BLOOD_TINT = np.array([0.12, -0.16, -0.14])
_CREASE_TINT = np.array([-0.30, -0.5, -0.5])
_VEIN_TINT = np.array([-0.22, -0.06, 0.0])
_NAIL_END = np.array([0.15, 0.22, 0.22])
_ONE = np.float32(1)
# x ** (1 / 2.2), at even steps of the root of x: straight lines between them are near enough.
_STEPS = 512
_GAMMA = np.linspace(0, 1, _STEPS + 1) ** (2 / 2.2)
_BIAS = 0.003  # metres that a surface may lie behind itself before it is in its own shadow


def noise_table(seed=0):
    """(16, 16, 16, 4) float32 in [-1, 1]: values of a periodic noise at the lattice points."""
    return np.random.default_rng(seed).uniform(-1, 1, (16, 16, 16, 4)).astype(np.float32)


@_jit
def _ease(t):
    return t * t * (np.float32(3) - np.float32(2) * t)


@_jit
def _noise(table, x, y, z):
    """Four smooth noises at a point, whose unit is the lattice's."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    # Single precision from here on: the four are then computed together.
    tx, ty, tz = np.float32(x - fx), np.float32(y - fy), np.float32(z - fz)
    tx, ty, tz = _ease(tx), _ease(ty), _ease(tz)
    x0, y0, z0 = int(fx) & 15, int(fy) & 15, int(fz) & 15
    x1, y1, z1 = (x0 + 1) & 15, (y0 + 1) & 15, (z0 + 1) & 15
    a = b = c = d = np.float32(0)
    for i, wx in ((x0, _ONE - tx), (x1, tx)):
        for j, wy in ((y0, _ONE - ty), (y1, ty)):
            for k, wz in ((z0, _ONE - tz), (z1, tz)):
                w = wx * wy * wz
                a += w * table[i, j, k, 0]
                b += w * table[i, j, k, 1]
                c += w * table[i, j, k, 2]
                d += w * table[i, j, k, 3]
    return a, b, c, d


@_jit
def _noises(table, points):
    """``_noise`` at points (N, 3): (N, 4)."""
    out = np.empty((len(points), 4))
    for i in range(len(points)):
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = _noise(
            table, points[i, 0], points[i, 1], points[i, 2]
        )
    return out


@_jit
def _lit_share(shadow, matrix, x, y, z):
    """Share of the key light that reaches a point: four comparisons, blended."""
    u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3]
    v = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3]
    w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3] - _BIAS
    size = len(shadow)
    if not (1 <= u < size - 2 and 1 <= v < size - 2):
        return 1.0
    i, j = int(v), int(u)
    tv, tu = v - i, u - j
    total = 0.0
    for di, wi in ((0, 1 - tv), (1, tv)):
        for dj, wj in ((0, 1 - tu), (1, tu)):
            d = shadow[i + di, j + dj]
            hidden = 0.0 if d == 0 else min(max((w - d) / 0.002, 0.0), 1.0)
            total += wi * wj * (1 - hidden)
    return total


@_jit
def _smooth(low, high, x):
    x = min(max((x - low) / (high - low), 0.0), 1.0)
    return x * x * (3 - 2 * x)


@_jit
def _albedo(look, table, t, p, out):
    """Skin colour and gloss from the texel channels ``t`` at rest point ``p``.

    Writes RGB, gloss and three bumps into ``out`` (7,).
    """
    ox, oy, oz = look.offset[0], look.offset[1], look.offset[2]
    low = p[7], p[8], p[9], p[10]
    mid = _noise(table, p[0] * 210 + oy, p[1] * 210 + oz, p[2] * 210 + ox)
    fine = _noise(table, p[0] * 900 + oz, p[1] * 900 + ox, p[2] * 900 + oy)
    palm, nail_distance = t[PALM], t[NAIL] * NAIL_RANGE
    shade = 1 + look.mottle * (0.5 * low[0] + 0.35 * mid[0] + 0.3 * fine[0])
    blood = look.blood * (t[BLOOD] + 0.35 * low[1] + 0.25 * mid[1])
    ridge = low[2] + 0.25 * mid[2]
    vein = look.veins * t[DORSUM] * max(low[3] + 0.4, 0.0)
    if vein > 0:
        vein *= np.exp(-((ridge / 0.16) ** 2))
    wrinkle = (t[WRINKLE] - 0.5) * (0.7 + mid[2] + 0.6 * low[0])
    crease = t[CREASE] * look.creases
    shade *= 1 + look.wrinkles * wrinkle - 0.25 * vein
    for k in range(3):
        base = look.back[k] + (look.palm[k] - look.back[k]) * palm
        tint = _BLOOD_TINT[k] * blood + _CREASE_TINT[k] * crease + _VEIN_TINT[k] * vein
        out[k] = base * max(shade * (1 + tint), 0.05)
    nail = 0.0
    if nail_distance < 1.6:  # beyond, a nail's rim has faded to nothing
        nail = _smooth(1.06, 0.94, nail_distance)
        rim = look.nail_edge * np.exp(-(((nail_distance - 1.05) / 0.13) ** 2))
        length = t[NAIL_LENGTH]
        free = _smooth(0.86, 0.92, length) + 0.5 * _smooth(0.26, 0.12, length)
        for k in range(3):
            plate = look.nail[k] * (1 + _NAIL_END[k] * free)
            out[k] = (out[k] + (plate - out[k]) * nail) * (1 - 0.4 * rim)
    out[3] = look.gloss * (1 + 0.6 * mid[3]) + (look.nail_gloss - look.gloss) * nail
    rough = look.bump * (1 - nail)
    out[4] = rough * (0.5 * mid[1] + 0.5 * fine[1])
    out[5] = rough * (0.5 * mid[2] + 0.5 * fine[2])
    out[6] = rough * (0.5 * mid[3] + 0.5 * fine[3])


@_jit
def _cloth(look, table, p, out):
    ox, oy, oz = look.offset[0], look.offset[1], look.offset[2]
    fold = _noise(table, p[0] * 90 + ox, p[1] * 90 + oy, p[2] * 90 + oz)
    s = 1 / look.cloth_cell
    weave = _noise(table, p[0] * s + oz, p[1] * s + ox, p[2] * s + oy)
    mix = _smooth(-0.25, 0.25, weave[0])
    for k in range(3):
        out[k] = (look.cloth[k] + (look.cloth_accent[k] - look.cloth[k]) * mix) * (
            1 + 0.15 * fold[0]
        )
        out[4 + k] = 0.35 * fold[k] + 0.15 * weave[k]
    out[3] = 0.01


@_jit
def _light(look, material, nx, ny, nz, vx, vy, vz, occlusion, key, rgb):
    """Outgoing sRGB colour: wrapped diffuse light, sky and ground, a highlight.

    ``n`` is the unit normal, ``v`` the unit direction towards the eye.
    """
    sky = 0.5 + 0.5 * (nx * look.up[0] + ny * look.up[1] + nz * look.up[2])
    for k in range(3):
        rgb[k] = material[k] * occlusion * (look.ground[k] + (look.sky[k] - look.ground[k]) * sky)
    for s in range(len(look.lights)):
        lx, ly, lz = look.lights[s, 0], look.lights[s, 1], look.lights[s, 2]
        reach = key if s == 0 else 0.4 + 0.6 * occlusion
        cosine = nx * lx + ny * ly + nz * lz
        shine = 0.0
        if cosine > 0 and material[3] > 0:
            hx, hy, hz = lx + vx, ly + vy, lz + vz
            half = (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
            # exp(-a (1 - cos)) is cos ** a near 1, where it matters.
            exponent = look.shine * (half - 1)
            if exponent > -10:  # what is dimmer is not seen
                shine = material[3] * np.exp(exponent) * reach
        for k in range(3):
            wrap = look.wrap[k]
            diffuse = max(0.0, (cosine + wrap) / (1 + wrap))
            rgb[k] += look.light_colors[s, k] * (material[k] * diffuse * reach + shine)
    for k in range(3):
        x = rgb[k]
        if x > 0.7:  # bright parts saturate softly, as in a camera
            x = 0.7 + 0.3 * (1 - np.exp((0.7 - x) / 0.3))
        place = np.sqrt(min(max(x, 0.0), 1.0)) * (_STEPS - 1e-6)
        step = int(place)
        rgb[k] = _GAMMA[step] + (_GAMMA[step + 1] - _GAMMA[step]) * (place - step)


@_jit
def _gather(faces, surface, texels, f, wa, wb, count, mean, texel):
    """Add what triangle ``f`` has at a point, ``count`` times, to ``mean`` and ``texel``."""
    wc = 1 - wa - wb
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    for k in range(surface.shape[1]):
        mean[k] += count * (wa * surface[a, k] + wb * surface[b, k] + wc * surface[c, k])
    u = min(max(int(wa * GRID), 0), GRID - 1)
    v = min(max(int(wb * GRID), 0), GRID - 1 - u)
    for k in range(CHANNELS):
        texel[k] += count * texels[f, u * GRID + v, k]


@_jit
def _next_surface(y, x, face, barycentric, depth, faces, surface, texels, cloth_start,
                  used, mean, texel):  # fmt: skip
    """Mean over the samples of a pixel that lie on one surface; marks them as used.

    ``mean`` (12,) gets the columns of ``surface`` and the depth, ``texel`` the skin's channels.
    Returns (number of samples, whether it is cloth).
    """
    first = 0
    while used[first]:
        first += 1
    reference = depth[2 * y + first // 2, 2 * x + first % 2]
    is_cloth = face[2 * y + first // 2, 2 * x + first % 2] >= cloth_start
    mean[:] = 0
    texel[:] = 0
    n = 0
    for s in range(first, 4):
        i, j = 2 * y + s // 2, 2 * x + s % 2
        f = face[i, j]
        far = abs(depth[i, j] - reference) > 0.012 * reference
        if used[s] or far or (f >= cloth_start) != is_cloth:
            continue
        # Most samples of a pixel lie in one triangle: look it up once.
        wa = wb = 0.0
        same = 0
        for t in range(s, 4):
            i, j = 2 * y + t // 2, 2 * x + t % 2
            if face[i, j] == f and not used[t]:
                used[t] = True
                same += 1
                wa += barycentric[i, j, 0]
                wb += barycentric[i, j, 1]
                mean[11] += depth[i, j]
        n += same
        _gather(faces, surface, texels, f, wa / same, wb / same, same, mean, texel)
    mean /= n
    texel /= 255 * n
    return n, is_cloth


@_jit
def _shade(face, barycentric, depth, faces, surface, texels, cloth_start, inverse_K, look, table,
           shadow, matrix, rgb, alpha):  # fmt: skip
    """``surface`` (V, 11): rest position, normal, occlusion, 4 slow noises."""
    used = np.zeros(4, np.bool_)
    mean, texel = np.empty(12), np.empty(CHANNELS)
    material, color = np.empty(7), np.empty(3)
    for y in range(alpha.shape[0]):
        for x in range(alpha.shape[1]):
            count = 0
            for s in range(4):
                used[s] = face[2 * y + s // 2, 2 * x + s % 2] < 0
                count += not used[s]
            alpha[y, x] = count / 4
            left = count
            while left > 0:
                n, is_cloth = _next_surface(
                    y, x, face, barycentric, depth, faces, surface, texels, cloth_start,
                    used, mean, texel,
                )  # fmt: skip
                left -= n
                if is_cloth:
                    _cloth(look, table, mean, material)
                else:
                    _albedo(look, table, texel, mean, material)
                nx, ny, nz = mean[3] + material[4], mean[4] + material[5], mean[5] + material[6]
                length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
                nx, ny, nz = nx / length, ny / length, nz / length
                vx = inverse_K[0, 0] * x + inverse_K[0, 1] * y + inverse_K[0, 2]
                vy = inverse_K[1, 0] * x + inverse_K[1, 1] * y + inverse_K[1, 2]
                z = mean[11]
                # A point just off the surface, so that it does not shade itself.
                lit = _lit_share(
                    shadow, matrix, vx * z + nx * 0.002, vy * z + ny * 0.002, z + nz * 0.002
                )
                eye = -1 / np.sqrt(vx * vx + vy * vy + 1)
                _light(look, material, nx, ny, nz, vx * eye, vy * eye, eye, mean[6],
                       1 - look.shadow * (1 - lit), color)  # fmt: skip
                for k in range(3):
                    rgb[y, x, k] += color[k] * n / 4


def shade(fragments, vertices, skin, joints, bones, K, look, table, cloth):
    """A picture of a posed hand with its forearm.

    Args:
        fragments: ``raster.Fragments`` at twice the resolution of K's image.
        vertices: (V, 3) camera frame, of the hand and the forearm.
        skin: ``skin.Skin``.
        joints: (21, 3).
        bones: (20, 2).
        K: (3, 3).
        look: ``look.Look``.
        table: of ``noise_table``.
        cloth: whether the sleeve is drawn.

    Returns:
        (rgb, alpha): (H, W, 3) float32 sRGB in [0, 1], multiplied by alpha; (H, W) float32.
    """
    normals = vertex_normals(vertices, skin.faces)
    occlusion = ambient_occlusion(vertices, normals, joints, np.asarray(bones))
    center = joints.mean(0)
    shadow, matrix = shadow_map(vertices, skin.faces, look.lights[0], center, 0.16)
    height, width = fragments.face.shape
    rgb = np.zeros((height // 2, width // 2, 3), np.float32)
    alpha = np.zeros(rgb.shape[:2], np.float32)
    slow = _noises(table, skin.rest * 55 + look.offset)
    surface = np.hstack([skin.rest, normals, occlusion[:, None], slow])
    start = skin.cloth_start if cloth else len(skin.faces)
    _shade(*fragments, skin.faces, surface, skin.texels, start, np.linalg.inv(K), look, table,
           shadow, matrix, rgb, alpha)  # fmt: skip
    return rgb, alpha
