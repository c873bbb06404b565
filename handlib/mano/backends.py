"""manopth's layer by the name of who computes it: handlib, or an installed manopth."""

from pathlib import Path

from handlib.mano.files import hand_model_path
from handlib.mano.layer import ManoLayer

BACKENDS = ("handlib", "manopth")


def mano_layer(backend="handlib", mano_root=None, side="right", **arguments):
    """A layer with manopth's arguments and outputs (millimetres).

    Args:
        backend: one of ``BACKENDS``; both give the same numbers.
        mano_root: folder or file of the hand model; None for what ``MANO`` names, or the stand-in.
            For handlib also a ``HandModel``.
        side: "right" or "left".
        **arguments: the others of ``ManoLayer``.

    Raises:
        ValueError: for an unknown backend, or a ``HandModel`` for manopth.
        ImportError: manopth is asked for and is not installed.
        FileNotFoundError: manopth is asked for, and the hand model is not the file that it reads,
            ``MANO_RIGHT.pkl`` or ``MANO_LEFT.pkl``.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown backend {backend!r}; known: {', '.join(BACKENDS)}")
    if backend == "handlib":
        return ManoLayer(mano_root=mano_root, side=side, **arguments)
    if not isinstance(mano_root, str | Path | None):
        raise ValueError("manopth reads files alone: give the hand model's folder as mano_root")
    try:
        from manopth.manolayer import ManoLayer as Theirs
    except ImportError as error:
        raise ImportError(
            f"manopth cannot be imported ({error}). It is at https://github.com/hassony2/manopth "
            "(GPL-3, needs chumpy); backend='handlib' gives the same numbers without it"
        ) from error
    path, name = hand_model_path(mano_root, side), f"MANO_{side.upper()}.pkl"
    if path.name != name:
        raise FileNotFoundError(
            f"manopth reads {name} in the folder that it is given, not {path}: name it so, or take "
            "backend='handlib'"
        )
    return Theirs(mano_root=str(path.parent), side=side, **arguments)
