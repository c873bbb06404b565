"""Meshes as files that other programs open: Wavefront OBJ and PLY.

Metres, in the frame they were given in; colours per vertex, which Blender and MeshLab read from
both kinds. Other programs call y "up", where a camera frame has it down: turn them there.
"""

from pathlib import Path

import numpy as np

from handlib.paths import atomic_write


def write_mesh(path, meshes):
    """Write meshes into one file.

    Args:
        path: ends in ``.obj``, each mesh an object of its name there, or in ``.ply``, all in one.
        meshes: list of (name, vertices (V, 3) metres, faces (F, 3), colors (V, 3) RGB in [0, 1]).

    Raises:
        ValueError: for another kind of file.
    """
    path = Path(path)
    if path.suffix not in WRITERS:
        raise ValueError(f"{path}: meshes are written as {' or '.join(WRITERS)}")
    firsts = np.cumsum([0] + [len(vertices) for _, vertices, *_ in meshes])
    numbered = [(n, v, f + first, c) for (n, v, f, c), first in zip(meshes, firsts, strict=False)]
    with atomic_write(path) as temporary:
        temporary.write_bytes(WRITERS[path.suffix](numbered))


def _obj(meshes):
    lines = ["# metres"]
    for name, vertices, faces, colors in meshes:
        lines.append(f"o {name}")
        for (x, y, z), (r, g, b) in zip(vertices, colors, strict=True):
            lines.append(f"v {x:.7f} {y:.7f} {z:.7f} {r:.4f} {g:.4f} {b:.4f}")
        lines += [f"f {a} {b} {c}" for a, b, c in faces + 1]
    return ("\n".join(lines) + "\n").encode()


def _ply(meshes):
    _, vertices, faces, colors = (np.concatenate(p) if n else p for n, p in enumerate(zip(*meshes)))
    points = np.empty(len(vertices), [("position", "<f4", 3), ("color", "u1", 3)])
    points["position"], points["color"] = vertices, np.round(255 * colors)
    triangles = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    triangles["count"], triangles["corners"] = 3, faces
    header = ["ply", "format binary_little_endian 1.0", "comment metres"]
    header += [f"element vertex {len(points)}", *(f"property float {axis}" for axis in "xyz")]
    header += [f"property uchar {channel}" for channel in ("red", "green", "blue")]
    header += [f"element face {len(triangles)}", "property list uchar int vertex_indices"]
    return "\n".join([*header, "end_header", ""]).encode() + points.tobytes() + triangles.tobytes()


WRITERS = {".obj": _obj, ".ply": _ply}
