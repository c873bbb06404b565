"""Which reader a dataset folder needs, told by its files."""

from handlib.data.freihand import MAKE_ONE, FreiHANDReader
from handlib.data.interhand import InterHandReader, is_interhand
from handlib.data.rhd import RHDReader, is_rhd
from handlib.paths import from_environment, user_path


def open_dataset(path=None, split="train", versions=(0, 1, 2, 3), skip_bad=False):
    """A reader for ``path``, or for the folder that the environment variable MP_DATA names.

    Args:
        path: folder of FreiHAND, freihand_dataset_MP, synthetic data, InterHand2.6M or RHD.
        split: "train", "val", "test"; "evaluation" too where the dataset has it.
        versions: which looks of FreiHAND.
        skip_bad: leave out the samples that cannot be used, and print which. Reads every image
            once.

    Returns:
        ``FreiHANDReader``, ``InterHandReader`` or ``RHDReader``.

    Raises:
        FileNotFoundError: neither is given, or the folder is not there or none of these.
        ValueError: what is in the folder cannot be used.
    """
    root = from_environment("MP_DATA") if path is None else str(path).strip() and user_path(path)
    if not root:
        raise FileNotFoundError(f"no dataset: set MP_DATA to a FreiHAND folder, {MAKE_ONE}")
    kind = _kind(root)
    if kind:
        return kind(root, split, skip_bad)
    try:
        return FreiHANDReader(root, split, versions, skip_bad)
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
