"""FreiHAND's official evaluation, and what it leaves out."""

import warnings

import numpy as np

from handlib.geometry import similarity_align
from handlib.joints import N_JOINTS, ROOT, check_metres
from handlib.metrics.points import area_under, errors_mm, pck, scale_translation_align
from handlib.metrics.surface import F_THRESHOLDS_MM, f_scores
from handlib.reading import short

# Samples at a time: their arrays stay in the processor's cache, and memory does not grow with N.
CHUNK = 64
# How much better (squared error) a reflection must be to be named: flat hands have no handedness.
_CLEARLY = 1 - 1e-6


def freihand_scores(xyz, verts, pred_xyz, pred_verts):
    """The scores of FreiHAND's official program, and honest ones beside them.

    The official alignment lets a hand be mirrored; a warning names the samples where that helped.

    Args:
        xyz, pred_xyz: (N, 21, 3) metres, FreiHAND's order, camera frame: annotated, predicted.
        verts, pred_verts: (N, V, 3) metres, camera frame.

    Returns:
        dict. The official program's twelve numbers under its names (``al``: aligned, reflections
        allowed), mean errors in **centimetres**: ``xyz_mean3d``, ``xyz_auc3d``,
        ``xyz_al_mean3d``, ``xyz_al_auc3d``, the same four of ``mesh``, ``f_score_5``,
        ``f_al_score_5``, ``f_score_15``, ``f_al_score_15``.
        With proper rotations: ``pa_mpjpe_mm``, ``pa_mpvpe_mm``, ``auc_pa_50mm``,
        ``auc_pa_mesh_50mm``, ``pa_f_5mm``, ``pa_f_15mm``.
        Not turned: ``mpjpe_root_mm``, ``mpvpe_root_mm`` (both moved to joint ``joints.ROOT``),
        ``mpjpe_st_mm``, ``mpvpe_st_mm`` (best scale and translation).
        Curves at ``PCK_THRESHOLDS_MM``: (100,) arrays ``pck_xyz``, ``pck_xyz_al``,
        ``pck_xyz_pa``, ``pck_mesh``, ``pck_mesh_al``, ``pck_mesh_pa``.

    Raises:
        ValueError: shapes that do not agree, no samples, or numbers that are not finite.
    """
    arrays = _checked(xyz, verts, pred_xyz, pred_verts)
    chunks = [
        [a[start : start + CHUNK] for a in arrays] for start in range(0, len(arrays[0]), CHUNK)
    ]
    parts, reflected = zip(*(_chunk_means(*chunk) for chunk in chunks))
    _warn_of(np.flatnonzero(np.concatenate(reflected)), len(arrays[0]))
    sizes = [len(chunk[0]) for chunk in chunks]
    means = {name: np.average([p[name] for p in parts], 0, sizes) for name in parts[0]}
    return _named(means)


def _checked(xyz, verts, pred_xyz, pred_verts):
    """The arrays as float64, after a look at them."""
    try:
        arrays = [np.asarray(a, np.float64) for a in (xyz, verts, pred_xyz, pred_verts)]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"xyz, verts and predictions are lists of equally shaped hands: {short(error)}"
        ) from error
    shapes = [a.shape for a in arrays]
    n, v = shapes[1][:2] if arrays[1].ndim == 3 else (0, 0)
    if not n or shapes != [(n, N_JOINTS, 3), (n, v, 3)] * 2:
        raise ValueError(
            "expected xyz (N, 21, 3), verts (N, V, 3) and predictions of the same shapes, got "
            + ", ".join(map(str, shapes))
        )
    for name, array in zip(("xyz", "verts", "pred_xyz", "pred_verts"), arrays):
        bad = np.flatnonzero(~np.isfinite(array).all((1, 2)))
        if len(bad):
            raise ValueError(f"{name} is not finite in {_listed(bad)}, so there is no score")
    for name, joints in (("xyz", arrays[0]), ("pred_xyz", arrays[2])):
        try:
            check_metres(joints, name)
        except ValueError as error:  # a prediction may be as bad as it likes
            if "millimetres" in str(error):
                warnings.warn(str(error), stacklevel=3)
    return arrays


def _chunk_means(xyz, verts, pred_xyz, pred_verts):
    """Means over some samples: dict of name -> number, (2,) F-scores or (100,) curve; and which
    samples (n,) fit better when mirrored."""
    to_root = (xyz - pred_xyz)[:, ROOT : ROOT + 1]
    joints, _, mirrored_joints = _measures("xyz", pred_xyz, xyz, to_root)
    mesh, (official, proper), mirrored = _measures("mesh", pred_verts, verts, to_root)
    f_al = f_scores(official, verts)
    f_pa = f_al.copy()
    f_pa[mirrored] = f_scores(proper[mirrored], verts[mirrored])
    f = {"f": f_scores(pred_verts, verts), "f_al": f_al, "f_pa": f_pa}
    means = joints | mesh | {name: scores.mean(0) for name, scores in f.items()}
    return means, mirrored_joints | mirrored


def _measures(name, pred, gt, to_root):
    """Mean errors and curves of joints or vertices under each alignment; the aligned points,
    officially and properly; and which samples fit better when mirrored."""
    official, determinant = similarity_align(pred, gt, allow_reflection=True)
    proper, mirrored = official, np.zeros(len(gt), bool)
    rows = np.flatnonzero(determinant < 0)
    if len(rows):
        proper = official.copy()
        proper[rows] = similarity_align(pred[rows], gt[rows])[0]
        residuals = [np.square(a[rows] - gt[rows]).sum((1, 2)) for a in (official, proper)]
        mirrored[rows] = residuals[0] < _CLEARLY * residuals[1]
    errors = {name: errors_mm(pred, gt), f"{name}_al": errors_mm(official, gt)}
    if len(rows):
        errors[f"{name}_pa"] = errors_mm(proper, gt)
    measures = {f"pck_{n}": pck(e) for n, e in errors.items()}
    errors[f"{name}_root"] = errors_mm(pred + to_root, gt)
    errors[f"{name}_st"] = errors_mm(scale_translation_align(pred, gt), gt)
    measures |= {n: e.mean() for n, e in errors.items()}
    for n in (name, f"pck_{name}"):
        measures.setdefault(f"{n}_pa", measures[f"{n}_al"])
    return measures, (official, proper), mirrored


def _named(means):
    """The scores under the names of ``freihand_scores``."""
    scores, auc = {}, {n[4:]: float(area_under(c)) for n, c in means.items() if n[:4] == "pck_"}
    for name in ("xyz", "xyz_al", "mesh", "mesh_al"):
        scores |= {f"{name}_mean3d": float(means[name] / 10), f"{name}_auc3d": auc[name]}
    for i, t in enumerate(F_THRESHOLDS_MM):
        scores |= {f"f_score_{t}": float(means["f"][i]), f"f_al_score_{t}": float(means["f_al"][i])}
    for kind in ("pa", "root", "st"):
        before, after = ("pa_", "") if kind == "pa" else ("", f"_{kind}")
        for name, metric in (("xyz", "mpjpe"), ("mesh", "mpvpe")):
            scores[f"{before}{metric}{after}_mm"] = float(means[f"{name}_{kind}"])
    scores |= {"auc_pa_50mm": auc["xyz_pa"], "auc_pa_mesh_50mm": auc["mesh_pa"]}
    scores |= {f"pa_f_{t}mm": float(means["f_pa"][i]) for i, t in enumerate(F_THRESHOLDS_MM)}
    return scores | {name: curve for name, curve in means.items() if name[:4] == "pck_"}


def _warn_of(samples, count):
    if len(samples):
        warnings.warn(
            f"the best alignment of {_listed(samples)} ({len(samples)} of {count}) is a "
            "reflection: the official aligned scores take a mirrored hand for a good one; "
            "the metrics with 'pa' in their names do not",
            stacklevel=3,
        )


def _listed(samples, most=20):
    return (
        f"sample {samples[0]}"
        if len(samples) == 1
        else (
            "samples "
            + ", ".join(map(str, samples[:most]))
            + (", ..." if len(samples) > most else "")
        )
    )
