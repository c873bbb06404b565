"""The dataset that a notebook works on when it is told nothing else."""

from filelock import FileLock

from handlib.mano import load_hand_model
from handlib.paths import cache_folder, from_environment, user_path


def dataset_root(path="", samples=1000, seed=0):
    """Folder of the dataset: ``path``, or ``MP_DATA``, or synthetic data made now and kept.

    Args:
        path: a folder in FreiHAND's layout, or "".
        samples: unique hands of the synthetic data's train, val and test together, each in four
            versions.
        seed: of the synthetic data.
    """
    named = user_path(path) if path else from_environment("MP_DATA")
    if named:
        return named
    from handlib.data.synthesize import (  # numba: only where needed
        MARKER,
        leave_where_main_is_unguarded,
        settings_name,
        synthesize,
    )

    hand = load_hand_model()
    out = cache_folder("synthetic") / settings_name(samples, seed=seed, hand=hand)
    if (out / MARKER).is_file():  # in a cache that others wrote, perhaps
        return out
    leave_where_main_is_unguarded()  # or it would wait for the lock of its parent, which waits
    with FileLock(f"{out}.lock"):  # the processes of a multi-GPU run ask for it at the same time
        return synthesize(out, samples, seed=seed, hand=hand)
