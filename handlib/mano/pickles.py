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

from handlib.reading import short

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
_MAX_DEPTH = 4  # records inside records; MANO's file needs 3
# A byte of a pickle may make an object of 64 bytes, or repeat a large one: what a program may do is
# counted. MANO's file takes 600 steps, one of plain lists of numbers 400,000; RHD's 4 million.
_MAX_STEPS, _MAX_STEPS_OF_ROWS = 1_000_000, 20_000_000
_MAX_NUMBERS = 1_000_000  # in lists of lists
_MAX_ROWS, _MAX_ROW = 200_000, 1_000  # RHD has 41,258; entries of an array in a row: 126
_MAX_KINDS, _MAX_ARGUMENTS = 100, 8
# What pickles of arrays never hold: other programs' objects, classes called with keywords.
_FORBIDDEN = ("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEWOBJ_EX", "NEXT_BUFFER",
              "READONLY_BUFFER")  # fmt: skip


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

    def __init__(self, data, steps):
        super().__init__(io.BytesIO(data), encoding="latin1")
        self.dispatch, self.kinds = _Counted(type(self).dispatch, steps), {}

    def find_class(self, module, name):
        kind = f"{module}.{name}"
        if kind not in _ALLOWED and module.partition(".")[0] != "chumpy":
            raise ForbiddenPickle(f"it asks for {short(kind)}, which no array needs")
        # A class of its own for each file: a pickle can set attributes of classes too.
        if kind not in self.kinds:
            self.kinds[kind] = type("Record", (Record,), {"kind": kind})
        if len(self.kinds) > _MAX_KINDS:
            raise ForbiddenPickle(f"it asks for more than {_MAX_KINDS} classes")
        return self.kinds[kind]

    def load_bytearray8(self):
        size = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(size)))

    def load_reduce(self):
        _check_arguments(self.stack[-1])
        super().load_reduce()

    def load_newobj(self):
        _check_arguments(self.stack[-1])
        super().load_newobj()

    def load_setitem(self):
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self):
        _check_keys(self.stack[::2])
        super().load_setitems()

    def load_dict(self):
        _check_keys(self.stack[::2])
        super().load_dict()

    def load_additems(self):
        _check_keys(self.stack)
        super().load_additems()

    def load_frozenset(self):
        _check_keys(self.stack)
        super().load_frozenset()

    def load_forbidden(self):
        raise ForbiddenPickle("it asks for objects that are not in the file")

    dispatch = pickle._Unpickler.dispatch | {
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
        pickle.ADDITEMS[0]: load_additems,
        pickle.FROZENSET[0]: load_frozenset,
        **dict.fromkeys([getattr(pickle, name)[0] for name in _FORBIDDEN], load_forbidden),
    }


class _Counted(dict):
    """The opcodes, of which a file may use so many in all."""

    def __init__(self, dispatch, steps):
        super().__init__(dispatch)
        self.left = steps

    def __getitem__(self, opcode):
        self.left -= 1
        if self.left < 0:
            raise ForbiddenPickle("it does far more than an array needs")
        return super().__getitem__(opcode)


def _check_arguments(arguments):
    """They are copied in each call, and may be the same large ones in many."""
    if not isinstance(arguments, tuple) or len(arguments) > _MAX_ARGUMENTS:
        raise ForbiddenPickle(f"it calls something with more than {_MAX_ARGUMENTS} arguments")


def _check_keys(keys):
    """A tuple in a tuple has no end where they are deep, and numbers can be chosen to collide."""
    for key in keys:
        if not (isinstance(key, str | bytes) or (type(key) is int and abs(key) < 1 << 60)):
            raise ForbiddenPickle(f"it has a key that is no name: a {type(key).__name__}")


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
    content = _load_dict(data, _MAX_STEPS)
    return {key: _array(content[key]) for key in keys if key in content}


def read_pickled_rows(data, keys):
    """The entries ``keys`` of each dict in the dict of dicts that a pickle holds.

    Args, Raises: as ``read_pickle``; KeyError where a row lacks a key.

    Returns:
        dict of row -> dict of name -> array.
    """
    content = _load_dict(data, _MAX_STEPS_OF_ROWS)
    if len(content) > _MAX_ROWS:
        raise ForbiddenPickle(f"it has more than {_MAX_ROWS} rows")
    return {row: {key: _row(entry[key]) for key in keys} for row, entry in content.items()}


def _load_dict(data, steps):
    content = _RecordingUnpickler(data, steps).load()
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not a dict of arrays")
    return content


def _row(value):
    array = _array(value)
    if array.size > _MAX_ROW:
        raise ForbiddenPickle(f"a row of it has an array of {array.size} numbers")
    return array.copy()  # not a view, which would hold on to what it is a part of


def _array(value, depth=0):
    if isinstance(value, list | tuple):
        _check_numbers(value)
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
        return chosen.reshape(_shape(value.state.get("preferred_shape", chosen.shape)))
    raise ValueError(f"it holds a {short(kind)}, of which the values cannot be read")


def _check_numbers(value):
    """Lists in lists may be the same ones, twice at each of many levels: count before copying."""
    seen, rest = 0, [value]
    while rest:
        part = rest.pop()
        seen += len(part)
        if seen > _MAX_NUMBERS:
            raise ForbiddenPickle(f"it holds lists of more than {_MAX_NUMBERS} numbers")
        for item in part:
            if isinstance(item, list | tuple):
                rest.append(item)
            elif type(item) not in (int, float, bool):
                raise ForbiddenPickle(f"it holds a list of {type(item).__name__}, not of numbers")


def _from_bytes(raw, dtype, shape, order):
    if isinstance(raw, Record):  # Python 3 in protocol 2: _codecs.encode(text, "latin1") or bytes()
        raw = raw.args[0] if raw.args else b""
    if isinstance(raw, str):
        raw = raw.encode("latin1")
    array = np.frombuffer(raw, _number_type(dtype))
    return array.reshape(_shape(shape), order=order)


def _shape(value):
    if not (isinstance(value, tuple) and len(value) <= 8 and all(type(n) is int for n in value)):
        raise ForbiddenPickle("it holds an array whose shape is not a few numbers")
    return value


def _number_type(record):
    code, byte_order = record.args[0], record.state[1]
    if not re.fullmatch(r"[fiub][1248]", code) or byte_order not in tuple("<>=|"):
        raise ForbiddenPickle(f"it holds an array of {short(code)!r}, not of numbers")
    return np.dtype(byte_order + code)


def _dense(state, by_column, depth):
    """Dense array of a compressed sparse matrix, whose parts must fit each other."""
    shape = _shape(tuple(state.get("_shape") or state["shape"]))
    if len(shape) != 2 or min(shape) < 1 or shape[0] * shape[1] > _MAX_DENSE:
        raise ForbiddenPickle(f"it holds a sparse matrix of shape {short(shape)}")
    data, inner, starts = (_array(state[k], depth + 1) for k in ("data", "indices", "indptr"))
    lines, width = shape[::-1] if by_column else shape
    steps = np.diff(starts)
    if not (
        data.shape == inner.shape == (steps.sum(),) and starts.shape == (lines + 1,)
        and starts[0] == 0 and steps.min() >= 0 and np.all((inner >= 0) & (inner < width))
    ):  # fmt: skip
        raise ForbiddenPickle("it holds a sparse matrix with entries out of bounds")
    outer = np.repeat(np.arange(lines), steps)
    dense = np.zeros(shape)
    np.add.at(dense, (inner, outer) if by_column else (outer, inner), data)
    return dense
