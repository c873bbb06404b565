"""manopth's layer by the name of who computes it: handlib, or an installed manopth."""

from handlib.mano.files import hand_model_path
from handlib.mano.layer import ManoLayer

BACKENDS = ("handlib", "manopth")


def mano_layer(backend="handlib", mano_root=None, side="right", **arguments):
    """A layer with manopth's arguments and outputs (millimetres).

    Args:
        backend: one of ``BACKENDS``; both give the same numbers.
        mano_root: folder or file of the hand model; None for what ``MANO`` names, or the stand-in.
        side: "right" or "left".
        **arguments: the others of ``ManoLayer``.

    Raises:
        ValueError: for an unknown backend.
        ImportError: manopth is asked for and is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; known: {', '.join(BACKENDS)}")
    if backend == "handlib":
        return ManoLayer(mano_root=mano_root, side=side, **arguments)
    try:
        from manopth.manolayer import ManoLayer as Theirs
    except ImportError as error:
        raise ImportError(
            f"manopth cannot be imported ({error}). It is at https://github.com/hassony2/manopth "
            "(GPL-3, needs chumpy); backend='handlib' gives the same numbers without it"
        ) from error
    return Theirs(mano_root=str(hand_model_path(mano_root, side).parent), side=side, **arguments)
