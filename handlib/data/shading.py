"""From fragments to a lit, anti-aliased picture of skin, cloth and a thing that is held.

Visibility is known at twice the resolution; light is computed once per pixel and surface: the
samples of a pixel that lie on one surface are averaged first, those on another (a finger before
the palm) are lit by themselves. Colours are linear until the end, then sRGB.
"""

import numpy as np

from handlib.compiled import njit
from handlib.data.look import as_record
from handlib.data.raster import vertex_normals
from handlib.data.shadows import ambient_occlusion, shadow_map

# Channels of a skin's texels (``handlib.data.skin`` makes them), all stored as 0-255 for 0-1. They
# stand here because compiled code keeps the constants it was compiled with: numba's cache notices
# a change of this file, not one of another.
PALM, NAIL, NAIL_LENGTH, CREASE, WRINKLE, BLOOD, DORSUM, CLEFT = range(8)
CHANNELS = 8
GRID = 12  # texels along a triangle's edge: about 0.4 mm each on a hand
NAIL_RANGE = 2.0  # the nail channel holds distance / half size, up to this

_FLAGS = {"fastmath": {"contract", "reassoc", "arcp"}, "error_model": "numpy", "nogil": True}
_jit = njit(cache=True, **_FLAGS)
# A call of compiled code hands each array over as seven numbers, which takes longer than what most
# of these functions do.
_inlined = njit(cache=True, forceinline=True, **_FLAGS)
# A bare 0.5 would make compiled code go on in double precision, which takes twice as long.
_f = np.float32
# How blood, creases, clefts, veins and the ends of the nails change red, green and blue.
_BLOOD_TINT = np.array([0.12, -0.16, -0.14], _f)
_CREASE_TINT = np.array([-0.30, -0.5, -0.5], _f)
_CLEFT_TINT = np.array([-0.7, -0.85, -0.88], _f)
_VEIN_TINT = np.array([-0.22, -0.06, 0.0], _f)
_NAIL_END = np.array([0.15, 0.22, 0.22], _f)
# x ** (1 / 2.2), at even steps of the root of x: straight lines between them are near enough.
_STEPS = 512
_GAMMA = (np.linspace(0, 1, _STEPS + 1) ** (2 / 2.2)).astype(_f)
_BIAS = _f(0.003)  # metres that a surface may lie behind itself before it is in its own shadow
# Columns of what is known at each corner of the mesh, in single precision.
_REST, _NORMAL, _OCCLUSION, _SLOW, _COLUMNS = 0, 3, 6, 7, 11
# What a surface is made of, and what is known of that: RGB, gloss, three bumps, sharpness of the
# highlight.
_SKIN, _CLOTH, _THING = range(3)
_MATERIAL = 8


def noise_table(seed=0):
    """(4096, 4) float32 in [-1, 1]: values of a periodic noise at 16 x 16 x 16 lattice points."""
    return np.random.default_rng(seed).uniform(-1, 1, (16**3, 4)).astype(_f)


@_inlined
def _ease(t):
    return t * t * (_f(3) - _f(2) * t)


@_inlined
def _noise(table, x, y, z):
    """Four smooth noises at a point, whose unit is the lattice's."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    tx, ty, tz = _ease(x - fx), _ease(y - fy), _ease(z - fz)
    x0, y0, z0 = int(fx), int(fy), int(fz)
    x1, y1, z1 = (x0 + 1 & 15) << 8, (y0 + 1 & 15) << 4, z0 + 1 & 15
    x0, y0, z0 = (x0 & 15) << 8, (y0 & 15) << 4, z0 & 15
    a = b = c = d = _f(0)
    for i, wx in ((x0, _f(1) - tx), (x1, tx)):
        for j, wy in ((y0, _f(1) - ty), (y1, ty)):
            for k, wz in ((z0, _f(1) - tz), (z1, tz)):
                w = wx * wy * wz
                a += w * table[i | j | k, 0]
                b += w * table[i | j | k, 1]
                c += w * table[i | j | k, 2]
                d += w * table[i | j | k, 3]
    return a, b, c, d


@_jit
def _noises(table, points):
    """``_noise`` at points (N, 3) float32: (N, 4)."""
    out = np.empty((len(points), 4), _f)
    for i in range(len(points)):
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = _noise(
            table, points[i, 0], points[i, 1], points[i, 2]
        )
    return out


@_inlined
def _lit_share(shadow, matrix, edge, x, y, z):
    """Share of the key light that reaches a point: four comparisons, blended."""
    u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + matrix[0, 3]
    v = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + matrix[1, 3]
    w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2] * z + matrix[2, 3] - _BIAS
    size = len(shadow)
    if not (1 <= u < size - 2 and 1 <= v < size - 2):
        return _f(1)
    i, j = int(v), int(u)
    tv, tu = v - _f(i), u - _f(j)
    total = _f(0)
    for di, wi in ((0, _f(1) - tv), (1, tv)):
        for dj, wj in ((0, _f(1) - tu), (1, tu)):
            d = shadow[i + di, j + dj]
            hidden = _f(0) if d == _f(0) else min(max((w - d) * edge, _f(0)), _f(1))
            total += wi * wj * (_f(1) - hidden)
    return total


@_inlined
def _outside(look, x, y, z):
    """How dark a point (from the joints' middle) is by a shadow of something outside, 0 to 1."""
    dark = look.outside_dark
    for k in range(2):
        edge = look.outside[k]
        side = edge[0] * x + edge[1] * y + edge[2] * z + edge[3]
        dark *= _ease(min(max(_f(0.5) * side + _f(0.5), _f(0)), _f(1)))
    return dark


@_inlined
def _smooth(low, high, x):
    return _ease(min(max((x - _f(low)) * _f(1 / (high - low)), _f(0)), _f(1)))


@_inlined
def _bell(x):
    return np.exp(-x * x)


@_inlined
def _albedo(look, table, t, p, out):
    """Skin colour and gloss from the texel channels ``t`` at a point ``p`` of the surface.

    Writes a material into ``out``, as the two below.
    """
    ox, oy, oz = look.offset[0], look.offset[1], look.offset[2]
    x, y, z = p[0], p[1], p[2]
    low0, low1, low2, low3 = p[_SLOW], p[_SLOW + 1], p[_SLOW + 2], p[_SLOW + 3]
    mid0, mid1, mid2, mid3 = _noise(table, x * _f(210) + oy, y * _f(210) + oz, z * _f(210) + ox)
    fine0, fine1, fine2, fine3 = _noise(table, x * _f(900) + oz, y * _f(900) + ox, z * _f(900) + oy)
    palm, nail_distance = t[PALM], t[NAIL] * _f(NAIL_RANGE)
    shade = _f(1) + look.mottle * (_f(0.5) * low0 + _f(0.35) * mid0 + _f(0.3) * fine0)
    blood = look.blood * (t[BLOOD] + _f(0.35) * low1 + _f(0.25) * mid1)
    vein = look.veins * t[DORSUM] * max(low3 + _f(0.4), _f(0))
    if vein > _f(0):
        vein *= _bell((low2 + _f(0.25) * mid2) * _f(1 / 0.16))
    wrinkle = (t[WRINKLE] - _f(0.5)) * (_f(0.7) + mid2 + _f(0.6) * low0)
    crease, cleft = t[CREASE] * look.creases, t[CLEFT] * look.clefts
    shade *= _f(1) + look.wrinkles * wrinkle - _f(0.25) * vein
    shade *= _f(1) - look.hair * t[DORSUM] * max(fine3 + _f(0.3) * low1, _f(0))
    for k in range(3):
        base = look.back[k] + (look.palm[k] - look.back[k]) * palm
        tint = _BLOOD_TINT[k] * blood + _CREASE_TINT[k] * crease + _VEIN_TINT[k] * vein
        dark = _f(1) + _CLEFT_TINT[k] * cleft
        out[k] = base * max(shade * (_f(1) + tint) * dark, _f(0.02))
    nail = _f(0)
    if nail_distance < _f(1.6):  # beyond, a nail's rim has faded to nothing
        nail = _smooth(1.06, 0.94, nail_distance)
        rim = _f(1) - _f(0.4) * look.nail_edge * _bell((nail_distance - _f(1.05)) * _f(1 / 0.13))
        length = t[NAIL_LENGTH]
        free = _smooth(0.86, 0.92, length) + _f(0.5) * _smooth(0.26, 0.12, length)
        for k in range(3):
            plate = look.nail[k] * (_f(1) + _NAIL_END[k] * free)
            out[k] = (out[k] + (plate - out[k]) * nail) * rim
    out[3] = look.gloss * (_f(1) + _f(0.6) * mid3) + (look.nail_gloss - look.gloss) * nail
    rough = _f(0.5) * look.bump * (_f(1) - nail)
    out[4] = rough * (mid1 + fine1)
    out[5] = rough * (mid2 + fine2)
    out[6] = rough * (mid3 + fine3)
    out[7] = look.shine


@_inlined
def _cloth(look, table, p, out):
    ox, oy, oz = look.offset[0], look.offset[1], look.offset[2]
    fold = _noise(table, p[0] * _f(90) + ox, p[1] * _f(90) + oy, p[2] * _f(90) + oz)
    s = _f(1) / look.cloth_cell
    weave = _noise(table, p[0] * s + oz, p[1] * s + ox, p[2] * s + oy)
    mix = _smooth(-0.25, 0.25, weave[0])
    for k in range(3):
        color = look.cloth[k] + (look.cloth_accent[k] - look.cloth[k]) * mix
        out[k] = color * (_f(1) + _f(0.15) * fold[0])
        out[4 + k] = _f(0.35) * fold[k] + _f(0.15) * weave[k]
    out[3] = _f(0.01)
    out[7] = look.shine


@_inlined
def _thing(look, table, p, out):
    """Two colours in a pattern: stripes, bands, checks or blots, as its scales say."""
    ox, oy, oz = look.offset[0], look.offset[1], look.offset[2]
    s = look.thing_scale
    pattern = _noise(table, p[0] * s[0] + oz, p[1] * s[1] + oy, p[2] * s[2] + ox)
    wear = _noise(table, p[0] * _f(150) + oy, p[1] * _f(150) + ox, p[2] * _f(150) + oz)
    mix = min(max(_f(0.5) + look.thing_edge * (pattern[0] + look.thing_bias), _f(0)), _f(1))
    for k in range(3):
        color = look.thing[k] + (look.thing_accent[k] - look.thing[k]) * mix
        out[k] = color * (_f(1) + _f(0.12) * wear[0])
        out[4 + k] = look.thing_bump * wear[k + 1]
    out[3] = look.thing_gloss
    out[7] = look.thing_shine


@_inlined
def _light(look, material, nx, ny, nz, vx, vy, vz, occlusion, key, gain, rgb):
    """Outgoing sRGB colour: wrapped diffuse light, sky and ground, a highlight.

    ``n`` is the unit normal, ``v`` the unit direction towards the eye, ``gain`` of all light.
    """
    sky = _f(0.5) + _f(0.5) * (nx * look.up[0] + ny * look.up[1] + nz * look.up[2])
    facing = nx * vx + ny * vy + nz * vz
    gloss = material[3]
    for k in range(3):
        around = look.ground[k] + (look.sky[k] - look.ground[k]) * sky
        rgb[k] = material[k] * occlusion * around
    for s in range(look.count):
        lx, ly, lz = look.lights[s, 0], look.lights[s, 1], look.lights[s, 2]
        reach = key if s == 0 else _f(0.4) + _f(0.6) * occlusion
        cosine = nx * lx + ny * ly + nz * lz
        shine = _f(0)
        if cosine > _f(0) and gloss > _f(0):
            # Normal times (l + v) / |l + v|, of two directions of length 1.
            beside = lx * vx + ly * vy + lz * vz
            half = (cosine + facing) / np.sqrt(_f(2.000001) + _f(2) * beside)
            # exp(-a (1 - cos)) is cos ** a near 1, where it matters.
            exponent = material[7] * (half - _f(1))
            if exponent > _f(-10):  # what is dimmer is not seen
                shine = gloss * np.exp(exponent) * reach
        for k in range(3):
            diffuse = max(_f(0), (cosine + look.wrap[k]) / (_f(1) + look.wrap[k]))
            rgb[k] += look.light_colors[s, k] * (material[k] * diffuse * reach + shine)
    for k in range(3):
        x = gain * rgb[k]
        if x > _f(0.7):  # bright parts saturate softly, as in a camera
            x = _f(0.7) + _f(0.3) * (_f(1) - np.exp((_f(0.7) - x) * _f(1 / 0.3)))
        place = np.sqrt(min(max(x, _f(0)), _f(1))) * _f(_STEPS - 1e-3)
        step = int(place)
        rgb[k] = _GAMMA[step] + (_GAMMA[step + 1] - _GAMMA[step]) * (place - _f(step))


@_inlined
def _gather(faces, corners, texels, f, wa, wb, count, mean, texel):
    """Add what triangle ``f`` has at a point, ``count`` times, to ``mean`` and ``texel``."""
    if f < len(texels):
        u = min(max(int(wa * _f(GRID)), 0), GRID - 1)
        v = min(max(int(wb * _f(GRID)), 0), GRID - 1 - u)
        for k in range(CHANNELS):
            texel[k] += count * _f(texels[f, u * GRID + v, k])
    wc = count * (_f(1) - wa - wb)
    wa, wb = count * wa, count * wb
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    for k in range(_COLUMNS):
        mean[k] += wa * corners[a, k] + wb * corners[b, k] + wc * corners[c, k]


@_inlined
def _next_surface(y, x, left, face, barycentric, depth, faces, kinds, corners, texels,
                  mean, texel):  # fmt: skip
    """Mean over the samples of a pixel that lie on one surface.

    ``left`` has a bit for each of the four samples that was not used yet. ``mean`` gets the
    columns of ``corners``, ``texel`` the skin's channels.

    Returns (bits that are left, number of samples, their depth, what it is made of).
    """
    first = 0
    while not left >> first & 1:
        first += 1
    reference = depth[2 * y + first // 2, 2 * x + first % 2]
    kind = kinds[face[2 * y + first // 2, 2 * x + first % 2]]
    mean[:] = 0
    texel[:] = 0
    n, z = _f(0), _f(0)
    for s in range(first, 4):
        i, j = 2 * y + s // 2, 2 * x + s % 2
        f = face[i, j]
        far = abs(depth[i, j] - reference) > _f(0.012) * reference
        if not left >> s & 1 or far or kinds[f] != kind:
            continue
        # Most samples of a pixel lie in one triangle: look it up once.
        wa = wb = same = _f(0)
        for t in range(s, 4):
            i, j = 2 * y + t // 2, 2 * x + t % 2
            if left >> t & 1 and face[i, j] == f:
                left &= ~(1 << t)
                same += _f(1)
                wa += barycentric[i, j, 0]
                wb += barycentric[i, j, 1]
                z += depth[i, j]
        n += same
        _gather(faces, corners, texels, f, wa / same, wb / same, same, mean, texel)
    share = _f(1) / n
    for k in range(_COLUMNS):
        mean[k] *= share
    for k in range(CHANNELS):
        texel[k] *= share * _f(1 / 255)
    return left, n, z * share, kind


@_jit
def _shade(face, barycentric, depth, faces, kinds, corners, texels, inverse_K, middle, look,
           table, shadow, matrix, rgb, alpha, hand):  # fmt: skip
    """``corners`` (V, 11): rest position, normal, occlusion, 4 slow noises; ``kinds`` (F,)."""
    mean, texel = np.empty(_COLUMNS, _f), np.empty(CHANNELS, _f)
    material, color = np.empty(_MATERIAL, _f), np.empty(3, _f)
    for y in range(alpha.shape[0]):
        for x in range(alpha.shape[1]):
            left = 0
            for s in range(4):
                f = face[2 * y + s // 2, 2 * x + s % 2]
                if f >= 0:
                    left |= 1 << s
                    alpha[y, x] += _f(0.25)
                    if f < len(texels):
                        hand[y, x] += _f(0.25)
            while left:
                left, n, z, kind = _next_surface(
                    y, x, left, face, barycentric, depth, faces, kinds, corners, texels,
                    mean, texel,
                )  # fmt: skip
                if kind == _THING:
                    _thing(look, table, mean, material)
                elif kind == _CLOTH:
                    _cloth(look, table, mean, material)
                else:
                    _albedo(look, table, texel, mean, material)
                nx, ny, nz = mean[3] + material[4], mean[4] + material[5], mean[5] + material[6]
                shrink = _f(1) / (np.sqrt(nx * nx + ny * ny + nz * nz) + _f(1e-9))
                nx, ny, nz = nx * shrink, ny * shrink, nz * shrink
                px, py = _f(x), _f(y)
                vx = inverse_K[0, 0] * px + inverse_K[0, 1] * py + inverse_K[0, 2]
                vy = inverse_K[1, 0] * px + inverse_K[1, 1] * py + inverse_K[1, 2]
                # A point just off the surface, so that it does not shade itself.
                off = _f(0.002)
                lit = _lit_share(
                    shadow,
                    matrix,
                    look.shadow_edge,
                    vx * z + nx * off,
                    vy * z + ny * off,
                    z + nz * off,
                )
                x0, y0, z0 = vx * z - middle[0], vy * z - middle[1], z - middle[2]
                slope = look.falloff[0] * x0 + look.falloff[1] * y0 + look.falloff[2] * z0
                gain = np.exp(min(max(slope, _f(-1)), _f(1))) * (_f(1) - _outside(look, x0, y0, z0))
                eye = _f(-1) / np.sqrt(vx * vx + vy * vy + _f(1))
                _light(look, material, nx, ny, nz, vx * eye, vy * eye, eye, mean[_OCCLUSION],
                       _f(1) - look.shadow * (_f(1) - lit), gain, color)  # fmt: skip
                for k in range(3):
                    rgb[y, x, k] += color[k] * n * _f(0.25)


def shade(fragments, vertices, skin, joints, bones, K, look, table, arm, held=None):
    """A picture of a posed hand with its forearm and what it holds.

    Args:
        fragments: ``raster.Fragments`` at twice the resolution of K's image; the triangles of
            ``held`` come after those of the skin.
        vertices: (V, 3) camera frame, of the hand and the forearm.
        skin: ``skin.Skin``.
        joints: (21, 3).
        bones: (20, 2).
        K: (3, 3).
        look: ``look.Look``.
        table: of ``noise_table``.
        arm: ``forearm.ArmShape``: whether it has a sleeve, and something around the wrist.
        held: ``held.Held`` or None.

    Returns:
        (rgb, alpha, hand): (H, W, 3) float32 sRGB in [0, 1], multiplied by alpha; (H, W) float32
        shares of each pixel that anything covers, and that hand and arm cover.
    """
    faces, rest, balls = skin.faces, skin.rest, np.zeros((0, 4))
    if held is not None:
        faces = np.vstack([faces, held.faces + len(vertices)])
        rest = np.vstack([rest, held.rest])
        vertices = np.vstack([vertices, held.vertices])
        balls = held.balls
    normals = vertex_normals(vertices, faces)
    occlusion = ambient_occlusion(vertices, normals, joints, np.asarray(bones), balls)
    shadow, matrix = shadow_map(vertices, faces, look.lights[0], joints.mean(0), 0.16)
    height, width = fragments.face.shape
    rgb = np.zeros((height // 2, width // 2, 3), np.float32)
    alpha, hand = np.zeros((2, *rgb.shape[:2]), np.float32)
    slow = _noises(table, _f(rest * 55 + look.offset))
    corners = np.hstack([rest, normals, occlusion[:, None], slow], dtype=_f, casting="unsafe")
    kinds = np.full(len(faces), _SKIN, np.uint8)
    kinds[skin.cloth_start if arm.sleeve > 0 else len(faces) :] = _CLOTH
    kinds[slice(*skin.band(arm))] = _THING
    kinds[len(skin.faces) :] = _THING
    _shade(*fragments, faces, kinds, corners, skin.texels, _f(np.linalg.inv(K)),
           _f(joints.mean(0)), as_record(look), table, shadow, _f(matrix), rgb, alpha,
           hand)  # fmt: skip
    return rgb, alpha, hand
