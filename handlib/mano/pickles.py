"""Reading the arrays of a pickle, a hand model's or RHD's annotations, without running it.

A pickle is a program: loading one may call anything. MANO's was moreover written by Python 2, with
names of modules that have moved since and with objects of chumpy, which no longer installs. So
nothing that the file names is imported or called here. Each object becomes a ``Record`` of what
the file says of it (class, arguments, state), and this module's own code turns those records that
are arrays into numpy arrays.
"""

import io
import pickle
import re

import numpy as np

_SPARSE = ("csc_matrix", "csr_matrix", "csc_array", "csr_array")
# Old and new names: numpy 2 and scipy 1.8 renamed modules, Python 3 renamed its own.
_ALLOWED = {
    *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    *("numpy.ndarray", "numpy.dtype", "_codecs.encode"),
    *(f"scipy.sparse.{private}{name[:3]}.{name}" for private in ("", "_") for name in _SPARSE),
    *(
        f"{python}.{name}"
        for python in ("__builtin__", "builtins")
        for name in ("set", "object", "bytes")
    ),
    *("copy_reg._reconstructor", "copyreg._reconstructor"),
}
_MAX_DENSE = 10_000_000  # entries; MANO's largest array has 315,090
_MAX_DEPTH = 8  # records inside records; MANO's file needs 3


class ForbiddenPickle(ValueError):
    """The file asks for something that arrays do not need."""


class Record:
    """What a pickle says of one object: the class it names, arguments and state."""

    kind = ""

    def __new__(cls, *args, **_):
        record = super().__new__(cls)
        record.args, record.state = args, None
        return record

    def __init__(self, *args, **_):
        pass

    def __setstate__(self, state):
        self.state = state


class _RecordingUnpickler(pickle._Unpickler):
    """Python's own unpickler in Python: unlike the C one it allocates no more than the file holds,
    given a ``bytearray`` that does so too."""

    def find_class(self, module, name):
        kind = f"{module}.{name}"
        if kind not in _ALLOWED and module.partition(".")[0] != "chumpy":
            raise ForbiddenPickle(f"it asks for {kind}, which no array needs")
        # A class of its own each time: a pickle can set attributes of classes, not only of objects.
        return type("Record", (Record,), {"kind": kind})

    def load_bytearray8(self):
        size = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(size)))

    dispatch = pickle._Unpickler.dispatch | {pickle.BYTEARRAY8[0]: load_bytearray8}


def read_pickle(data, keys):
    """The entries ``keys`` of the dict that a pickle holds, as arrays.

    Understands numpy arrays of numbers, scipy's csc and csr matrices (made dense) and chumpy's
    ``Ch`` and ``Select``, written by Python 2 or 3 in any protocol.

    Args:
        data: the pickle's bytes.
        keys: names to read; the others are not looked at.

    Returns:
        dict of name to array, without the names that the pickle lacks.

    Raises:
        ForbiddenPickle: if the pickle asks for anything else. Nothing of it has been run.
        Exception: of any kind where the bytes are damaged or are no such pickle.
    """
    content = _load_dict(data)
    return {key: _array(content[key]) for key in keys if key in content}


def read_pickled_rows(data, keys):
    """The entries ``keys`` of each dict in the dict of dicts that a pickle holds.

    Args, Raises: as ``read_pickle``; KeyError where a row lacks a key.

    Returns:
        dict of row -> dict of name -> array.
    """
    content = _load_dict(data)
    return {row: {key: _array(entry[key]) for key in keys} for row, entry in content.items()}


def _load_dict(data):
    content = _RecordingUnpickler(io.BytesIO(data), encoding="latin1").load()
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not a dict of arrays")
    return content


def _array(value, depth=0):
    if not isinstance(value, Record):
        return np.asarray(value)
    if depth > _MAX_DEPTH:
        raise ForbiddenPickle(f"its objects are nested more than {_MAX_DEPTH} deep")
    # Protocols 0 and 1 write object.__new__(cls) as a call with the class as first argument.
    kind = value.args[0].kind if value.kind.endswith("._reconstructor") else value.kind
    if kind.endswith("._reconstruct"):
        shape, dtype, is_fortran, raw = value.state[-4:]
        return _from_bytes(raw, dtype, shape, "F" if is_fortran else "C")
    if kind.endswith("._frombuffer"):
        return _from_bytes(*value.args)
    if kind.startswith("scipy.sparse."):
        return _dense(value.state, "csc" in kind, depth)
    if kind == "chumpy.ch.Ch":
        return _array(value.state["x"], depth + 1)
    if kind == "chumpy.reordering.Select":
        chosen = _array(value.state["a"], depth + 1).ravel()
        chosen = chosen[_array(value.state["idxs"], depth + 1)]
        return chosen.reshape(value.state.get("preferred_shape", chosen.shape))
    raise ValueError(f"it holds a {kind}, of which the values cannot be read")


def _from_bytes(raw, dtype, shape, order):
    if isinstance(raw, Record):  # Python 3 in protocol 2: _codecs.encode(text, "latin1") or bytes()
        raw = raw.args[0] if raw.args else b""
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    array = np.frombuffer(raw, _number_type(dtype))
    return array.reshape(shape, order=order)


def _number_type(record):
    code, byte_order = record.args[0], record.state[1]
    if not re.fullmatch(r"[fiub][1248]", code) or byte_order not in tuple("<>=|"):
        raise ForbiddenPickle(f"it holds an array of {code!r}, not of numbers")
    return np.dtype(byte_order + code)


def _dense(state, by_column, depth):
    """Dense array of a compressed sparse matrix; numpy checks each index against the shape."""
    shape = tuple(state.get("_shape") or state["shape"])
    if len(shape) != 2 or min(shape) < 0 or shape[0] * shape[1] > _MAX_DENSE:
        raise ForbiddenPickle(f"it holds a sparse matrix of shape {shape}")
    data, inner, starts = (_array(state[k], depth + 1) for k in ("data", "indices", "indptr"))
    outer = np.repeat(np.arange(shape[1] if by_column else shape[0]), np.diff(starts))
    dense = np.zeros(shape)
    np.add.at(dense, (inner, outer) if by_column else (outer, inner), data)
    return dense
