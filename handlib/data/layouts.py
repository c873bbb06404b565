"""Which reader a dataset folder needs, told by its files."""

import os
from pathlib import Path

from handlib.data.freihand import MAKE_ONE, FreiHANDReader
from handlib.data.interhand import InterHandReader, is_interhand
from handlib.data.rhd import RHDReader, is_rhd


def open_dataset(path=None, split="train", versions=(0, 1, 2, 3)):
    """A reader for ``path``, or for the folder that the environment variable MP_DATA names.

    Args:
        path: folder of FreiHAND, freihand_dataset_MP, synthetic data, InterHand2.6M or RHD.
        split: "train", "val", "test"; "evaluation" too where the dataset has it.
        versions: which looks of FreiHAND.

    Returns:
        ``FreiHANDReader``, ``InterHandReader`` or ``RHDReader``.

    Raises:
        FileNotFoundError: neither is given, or the folder is not there or none of these.
    """
    name = str(path if path is not None else os.environ.get("MP_DATA", "")).strip()
    if not name:
        raise FileNotFoundError(f"no dataset: set MP_DATA to a FreiHAND folder, {MAKE_ONE}")
    root = Path(name).expanduser()
    kind = _kind(root)
    if kind:
        return kind(root, split)
    try:
        return FreiHANDReader(root, split, versions)
    except FileNotFoundError:
        inside = [p for p in sorted(root.glob("*/")) if _kind(p)]
        if not inside:
            raise
        raise FileNotFoundError(f"{root} is not a dataset: did you mean {inside[0]}?") from None


def _kind(root):
    """The class of a dataset other than FreiHAND, or None."""
    if is_interhand(root):
        return InterHandReader
    return RHDReader if is_rhd(root) else None
