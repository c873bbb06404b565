"""Puts the stand-in's parts together as a file in MANO's format."""

import numpy as np

from handlib.mano import articulation
from handlib.mano.mirror import mirror_arrays
from handlib.paths import atomic_write

from . import SHIPPED, anatomy, mesh, skin, source_hash

# Vertices whose numbers other programs know (of MANO's mesh): fingertips, nearest the pole first,
# then the loop of the wrist, then the two whose middle is manopth's "root_palm".
TIP_IDS = {
    "thumb": (744, 745, 734, 743),
    "index": (320, 317, 333),
    "middle": (443, 444, 445),
    "ring": (555, 554, 556),
    "pinky": (672, 671, 673, 678),
}
WRIST_IDS = (108, 79, 78, 121, 214, 215, 279, 239, 234, 92, 38, 122, 118, 117, 119, 120)
PALM_IDS = (22, 95)  # palm side, back
N_SAMPLES = 4000  # articulations that the pose components are made of
_ROUNDING = 1e-9  # of arrays that are built on different processors


def build_standin(side="right"):
    """The stand-in hand as a dict with a MANO pickle's keys, types and shapes.

    Args:
        side: "right" or "left" (the mirror image at x = 0).

    Returns:
        dict: v_template (778, 3), f (1538, 3) uint32, J_regressor sparse (16, 778), weights
        (778, 16), shapedirs (778, 3, 10), posedirs (778, 3, 135), hands_mean (45,),
        hands_components (45, 45) and the rest, metres.

    Raises:
        ValueError: for another side.
    """
    if side not in ("right", "left"):
        raise ValueError(f"side must be 'right' or 'left', got {side!r}")
    hand = anatomy.hand()
    body = mesh.build(hand)
    shapes = [_shape_direction(*d, body, hand.joints) for d in anatomy.SHAPES.items()]
    shapedirs, joint_dirs = (np.stack(parts, -1) * 1e-3 for parts in zip(*shapes))
    weights = skin.weights(hand, body)
    posedirs = skin.pose_correctives(hand, body.vertices, weights) * 1e-3
    order = _numbering(hand, body)
    new_id = np.argsort(order)
    vertices = body.vertices[order] * 1e-3
    shapedirs = shapedirs[order]
    regressor = skin.joint_regressor(
        vertices, shapedirs, weights[order], hand.joints * 1e-3, joint_dirs
    )
    mean, components, coefficients = _pose_space()
    model = {
        "v_template": vertices,
        "shapedirs": shapedirs,
        "posedirs": posedirs[order],
        "J_regressor": regressor,
        "weights": weights[order],
        "kintree_table": np.array(
            [[2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14], range(16)], np.uint32
        ),
        "f": new_id[body.faces].astype(np.uint32),
        "hands_components": components,
        "hands_mean": mean,
        "hands_coeffs": coefficients,
        "J": regressor @ vertices,
        "handlib_standin": 1,  # so that a copy is never taken for the licensed model
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    return model if side == "right" else model | mirror_arrays(model)


def _shape_direction(name, step, body, joints):
    """Displacement of vertices and joints (mm) by one standard deviation of a shape."""
    if name in anatomy.STRETCHES:
        stretch = step * anatomy.STRETCHES[name]
        return (body.vertices - anatomy.WRIST) * stretch, (joints - anatomy.WRIST) * stretch
    hand = anatomy.hand(anatomy.Traits(**{name: step}))
    return mesh.build(hand, body.vertices).vertices - body.vertices, hand.joints - joints


def _numbering(hand, body):
    """Old vertex numbers (778,) in the new order: the known ids in place, the rest by part."""
    v = body.vertices
    known = dict(zip(WRIST_IDS, body.palm[-1]))
    for digit, ids in TIP_IDS.items():
        pole = v[body.digits[digit][-1]]
        near = np.argsort(np.linalg.norm(v - pole, axis=1), kind="stable")
        known.update(zip(ids, near))
    centre = 0.5 * (hand.rays["middle"].origin + anatomy.WRIST)
    for i, up in zip(PALM_IDS, (-1, 1)):
        off = v - centre
        score = np.hypot(off[:, 0], off[:, 2]) + 100 * (up * off[:, 1] < 0)
        known[i] = int(np.argmin(score))
    rest = iter(sorted(set(range(len(v))) - set(known.values())))
    return np.array([known[i] if i in known else next(rest) for i in range(len(v))])


def _pose_space():
    """Mean (45,), orthonormal components (45, 45) by variance, coefficients of the samples."""
    samples = articulation.sample_articulations(np.random.default_rng(0), N_SAMPLES)
    mean = samples.mean(0)
    _, _, components = np.linalg.svd(samples - mean, full_matrices=False)
    strongest = np.abs(components).argmax(1)
    components *= np.sign(components[np.arange(45), strongest])[:, None]
    return mean, components, (samples - mean) @ components.T


def ship():
    """Write the file of arrays that comes with handlib; to be done when the builder changes.

    Arrays that are as before but for rounding keep their bits: weights are trained for them.
    """
    from handlib.mano.files import ARRAYS

    model = build_standin()
    arrays = {key: model[key] for key in ARRAYS}
    arrays["J_regressor"] = model["J_regressor"].toarray()
    if SHIPPED.is_file():
        with np.load(SHIPPED, allow_pickle=False) as before:
            before = {key: before[key] for key in arrays}
        # Where no sample bends any directions will do, and processors find different ones.
        bends = model["hands_coeffs"].std(0) > _ROUNDING
        if _same(arrays, before, bends):
            arrays = before
    with atomic_write(SHIPPED) as temporary:
        np.savez_compressed(temporary, source_hash=source_hash(), **arrays)


def _same(arrays, before, bends):
    pairs = {key: (np.asarray(arrays[key]), before[key]) for key in arrays}
    pairs["hands_components"] = [each[bends] for each in pairs["hands_components"]]
    return all(
        a.shape == b.shape and np.allclose(a, b, rtol=0, atol=_ROUNDING) for a, b in pairs.values()
    )
