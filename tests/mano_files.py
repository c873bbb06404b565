"""Random hands in MANO's format with the outputs of the real manopth, and ways to store them."""

import io
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import scipy.sparse

from handlib.joints import MANO_PARENTS

_STORED = dict(np.load(Path(__file__).parent / "data" / "manopth.npz"))


def mano_arrays(side="right"):
    """Dict with MANO's keys of the random hand that the manopth outputs were made with."""
    content = {k.split("/")[1]: _STORED[k].astype(float) for k in _STORED if k.startswith("right/")}
    if side == "left":
        for key in ("v_template", "shapedirs", "posedirs"):
            content[key] = content[key] * _STORED[f"left_signs/{key}"]
    content["f"] = content.pop("faces").astype(np.uint32)
    parents = np.array([2**32 - 1, *MANO_PARENTS[1:]], np.uint32)
    content["kintree_table"] = np.stack([parents, np.arange(16, dtype=np.uint32)])
    return content | {"bs_style": "lbs", "bs_type": "lrotmin"}


def manopth_case(name):
    """Dict of the inputs and outputs (mm) of the real manopth in one setting."""
    return {k.split("/")[1]: _STORED[k] for k in _STORED if k.startswith(f"{name}/")}


def write_plain(folder, side="right", **changes):
    """A pickle of plain arrays, MANO_<SIDE>.pkl in ``folder``; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"MANO_{side.upper()}.pkl"
    path.write_bytes(pickle.dumps(mano_arrays(side) | changes, protocol=2))
    return path


def write_as_distributed(path, monkeypatch, protocol=2):
    """A pickle as MANO's page gives it: Python 2 strings, old module names, chumpy objects."""
    classes = _fake_chumpy(monkeypatch)
    content = mano_arrays()
    template, full = content["v_template"], np.zeros((778, 3, 45))
    full[:, :, :10] = content["shapedirs"]
    chosen = np.arange(full.size).reshape(full.shape)[:, :, :10].ravel()
    content["v_template"] = classes["Ch"](x=template, _dirty_vars={"x"})
    content["shapedirs"] = classes["Select"](
        a=classes["Ch"](x=full, _dirty_vars=set()), idxs=chosen, preferred_shape=(778, 3, 10)
    )
    # A class whose values nobody can compute, under a key that nobody needs.
    content["J"] = classes["MatVecMult"](mtx=1)
    content["J_regressor"] = scipy.sparse.csc_matrix(content["J_regressor"])
    data = _python2_dumps(content, protocol)
    for new, old in (
        (b"numpy._core.", b"numpy.core."),
        (b"scipy.sparse._csc", b"scipy.sparse.csc"),
    ):
        data = data.replace(b"c" + new, b"c" + old)
    path.write_bytes(data)
    return path


def _fake_chumpy(monkeypatch):
    """Classes that pickle under chumpy's names; chumpy itself no longer installs."""
    made = {}
    for module, name in (("ch", "Ch"), ("ch", "MatVecMult"), ("reordering", "Select")):
        full = f"chumpy.{module}"
        if full not in sys.modules:
            monkeypatch.setitem(sys.modules, full, types.ModuleType(full))
        made[name] = type(name, (_Fake,), {"__module__": full})
        setattr(sys.modules[full], name, made[name])
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    return made


class _Fake:
    def __init__(self, **state):
        self.__dict__.update(state)


class _Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2 wrote its one string type."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def save_string(self, value):
        raw = value if isinstance(value, bytes) else value.encode("latin1")
        if self.proto == 0:
            self.write(pickle.STRING + repr(raw)[1:].encode() + b"\n")
        elif len(raw) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(raw)]) + raw)
        else:
            self.write(pickle.BINSTRING + len(raw).to_bytes(4, "little") + raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def _python2_dumps(content, protocol):
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol=protocol).dump(content)
    return stream.getvalue()
