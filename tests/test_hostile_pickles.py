"""Pickle attacks that are known, as hand models: refused, in little time and memory, run nothing.

The programs are written opcode by opcode: what a pickler would not write is what matters.
"""

import io
import struct
import zipfile
from pathlib import Path

import limited
import numpy as np
import pytest
from mano_files import mano_arrays

M61 = (1 << 61) - 1  # integers that differ by a multiple of it have one hash


def text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def raw(data):
    return b"B" + struct.pack("<I", len(data)) + data


def whole(value):
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def pair(*items):
    return b"(" + b"".join(items) + b"t"


def entry(program, key="v_template"):
    """A dict in which ``key`` is what the program leaves on the stack."""
    return b"\x80\x04}" + text(key) + program + b"s."


def stack_global(module, name):
    return text(module) + text(name) + b"\x93"


def built(kind, state, arguments=b")"):
    """An object: a call of an allowed name, then its state."""
    return kind + arguments + b"R" + state + b"b"


RECONSTRUCT = stack_global("numpy._core.multiarray", "_reconstruct")
DTYPE = stack_global("numpy", "dtype")
CSC = stack_global("scipy.sparse._csc", "csc_matrix")
CH, SELECT = stack_global("chumpy.ch", "Ch"), stack_global("chumpy.reordering", "Select")


F8, LITTLE = text("f8"), text("<")


def dtype(code=F8, order=LITTLE):
    return built(DTYPE, pair(b"K\x03", order, b"NNN"), pair(code, b"\x89\x88"))


def array(shape, data=b"", code=F8, kind=None):
    state = pair(b"K\x01", shape, kind or dtype(code), b"\x89", raw(data))
    return built(RECONSTRUCT, state, pair(stack_global("numpy", "ndarray"), b"K\x00\x85C\x01b"))


def whole_array(*values):
    return array(pair(whole(len(values))), np.array(values, np.int64).tobytes(), text("i8"))


def csc(shape, data, indices, starts):
    state = {"_shape": shape, "data": data, "indices": indices, "indptr": starts}
    items = b"".join(text(key) + value for key, value in state.items())
    return built(CSC, b"}(" + items + b"u")


def doubled(times):
    """A pair of a pair of ...: few opcodes, 2**times leaves."""
    return b"K\x01" + b"2\x86" * times


def calls():
    """Functions that must not be called, in each of the ways that a pickle has to call one."""
    names = (
        "os system", "posix system", "nt system", "subprocess Popen", "pty spawn",
        "builtins eval", "builtins exec", "builtins getattr", "builtins __import__",
        "builtins open", "builtins compile", "builtins breakpoint", "builtins globals",
        "__builtin__ eval", "__builtin__ apply", "operator attrgetter", "operator methodcaller",
        "functools partial", "functools reduce", "itertools starmap", "importlib import_module",
        "runpy run_path", "code interact", "pdb run", "timeit timeit", "cProfile run",
        "types CodeType", "types FunctionType", "ctypes CDLL", "webbrowser open", "shutil rmtree",
        "pathlib Path.unlink", "pickle loads", "_pickle loads", "marshal loads", "pip main",
        "codecs open", "codecs decode", "_codecs decode", "logging config", "sys exit",
        "sys modules", "copyreg __newobj__", "copyreg add_extension", "copyreg _slotnames",
        "numpy load", "numpy fromfile", "numpy memmap", "numpy testing._private.utils.runstring",
        "numpy.core.multiarray scalar", "numpy._core.multiarray fromfile", "numpy.f2py main",
        "numpy ndarray.tofile", "numpy ndarray.__reduce__", "scipy.sparse load_npz",
        "scipy.sparse._csc csc_matrix.__init__", "torch load", "torch._utils _rebuild_tensor",
        "joblib load", "handlib.runs run_notebooks", "handlib.paths atomic_write",
        "builtins object.__subclasses__", "builtins set.__class__", "builtins bytes.fromhex",
    )  # fmt: skip
    for full in names:
        module, name = full.split()
        argument = text("touch MARKER")
        lines = f"{module}\n{name}\n".encode()
        yield f"{full}, reduce", entry(stack_global(module, name) + argument + b"\x85R")
        if full in names[:8]:
            yield f"{full}, global", entry(b"c" + lines + argument + b"\x85R")
            yield f"{full}, inst", entry(b"(" + argument + b"i" + lines)
            yield f"{full}, obj", entry(b"(c" + lines + argument + b"o")
            yield f"{full}, newobj", entry(b"c" + lines + argument + b"\x85\x81")
            yield f"{full}, newobj_ex", entry(b"c" + lines + argument + b"\x85}\x92")
            yield f"{full}, never used", entry(b"K\x01")[:-1] + b"c" + lines + b"0."
            yield f"{full}, as a state", entry(built(CH, b"c" + lines))


def chains():
    """Allowed names put together in ways that nobody meant."""
    evil = text("os.system")
    yield "call of a text", entry(evil + evil + b"\x85R")
    yield "call of a dict", entry(b"}" + evil + b"\x85R")
    yield "call of an object", entry(CH + b")R" + evil + b"\x85R")
    yield "call with no tuple", entry(CH + text("ab") + b"R")
    yield "call with keywords", entry(CH + b")}" + text("kind") + evil + b"s\x92")
    yield "a name under chumpy's", entry(stack_global("chumpy", "os.system") + evil + b"\x85R")
    yield "chumpy in another case", entry(stack_global("Chumpy.ch", "Ch") + b")R")
    yield "a module like chumpy", entry(stack_global("chumpyx.ch", "Ch") + b")R")
    yield "state of a class", entry(CH + b"}" + text("__init__") + evil + b"sb")
    yield "state of a list", entry(b"]}" + text("append") + evil + b"sb")
    yield "state of a dict", entry(b"}}" + text("keys") + evil + b"sb")
    yield (
        "slots of an object",
        entry(built(CH, pair(b"N", b"}" + text("__class__") + evil + b"s")) + b")R"),
    )
    yield "class as a value", entry(CH)
    yield "object without arguments", entry(RECONSTRUCT + b")R")
    yield "object without state", entry(RECONSTRUCT + b"N\x85R")
    yield (
        "reconstructor of a text",
        entry(stack_global("copyreg", "_reconstructor") + pair(evil, evil, b"N") + b"R"),
    )
    yield (
        "reconstructor of itself",
        entry(
            stack_global("copyreg", "_reconstructor")
            + b"\x94"
            + pair(b"h\x00", b"h\x00", b"N")
            + b"R"
        ),
    )
    yield (
        "encode of a number",
        entry(
            array(b"K\x01\x85").replace(raw(b""), stack_global("_codecs", "encode") + b"K\x09\x85R")
        ),
    )
    yield "appending to an object", entry(CH + b")R" + evil + b"a")
    yield "items of an object", entry(CH + b")R" + evil + evil + b"s")
    yield "adding to an object", entry(CH + b")R(" + evil + b"\x90")


def machine():
    """Tricks with the pickle machine's own parts."""
    yield "memo never put", entry(b"h\x07")
    yield "memo of minus one", entry(b"K\x01p-1\n")
    yield "memo of two thousand million", entry(b"K\x01r" + struct.pack("<I", 2**31))
    yield "memo not a number", entry(b"gos.system\n")
    yield "extension 1", entry(b"\x82\xf0")
    yield "extension 2", entry(b"\x83\xf0\x00")
    yield "extension 4", entry(b"\x84\xf0\x00\x00\x00")
    yield "persistent id", entry(b"Pos.system\n")
    yield "persistent object", entry(text("os.system") + b"Q")
    yield "a buffer from outside", entry(b"\x97")
    yield "a buffer read-only", entry(raw(b"ab") + b"\x98")
    yield "no stop", entry(b"K\x01")[:-1]
    yield "stop at once", b"\x80\x04."
    yield "empty stack", b"\x80\x040."
    yield "no mark", b"\x80\x04t."
    yield "protocol 255", b"\x80\xff}."
    yield "unknown opcode", b"\x80\x04\xff."
    yield "not a dict", b"\x80\x04]."
    yield "a text of names", b"\x80\x04" + text("v_template") + b"."


def lengths():
    """Lengths that the file does not have."""
    big = struct.pack("<Q", 2**62)
    for name, code in (("text", b"\x8d"), ("bytes", b"\x8e"), ("bytearray", b"\x96")):
        yield f"{name} of 2**62", entry(code + big + b"abc")
        yield f"{name} of 2**64 - 1", entry(code + b"\xff" * 8 + b"abc")
    yield "text of 4 GB", entry(b"X\xff\xff\xff\xff")
    yield "bytes of 4 GB", entry(b"B\xff\xff\xff\xff")
    yield "string of minus one", entry(b"T\xff\xff\xff\xff")
    yield "long of 2 GB", entry(b"\x8b\xff\xff\xff\x7f")
    yield "long of minus one", entry(b"\x8b\xff\xff\xff\xff")
    yield "long of a million digits", entry(b"L" + b"9" * 10**6 + b"L\n")
    yield "int of a million digits", entry(b"I" + b"9" * 10**6 + b"\n")
    yield "long of a million bytes", entry(b"\x8b" + struct.pack("<I", 10**6) + b"\x7f" * 10**6)
    yield "frame of 2**63", b"\x80\x04\x95" + struct.pack("<Q", 2**63) + entry(b"K\x01")
    yield "frame of 2**62", b"\x80\x04\x95" + struct.pack("<Q", 2**62) + entry(b"K\x01")
    yield "frame in a frame", b"\x80\x04\x95" + struct.pack("<Q", 20) + b"\x95" + big + b"}."


def shapes():
    """Arrays that lie about themselves."""
    yield "shape of 2**40", entry(array(whole(2**40) + b"\x85"))
    yield "shape of 2**400", entry(array(whole(2**400) + b"\x85"))
    yield "shape of minus 2**40", entry(array(whole(-(2**40)) + b"\x85"))
    yield "shape of nothing by 2**40", entry(array(b"K\x00" + whole(2**40) + b"\x86"))
    yield "shape of texts", entry(array(text("ab") + b"\x85", b"\0" * 8))
    yield "shape of shapes", entry(array(doubled(60), b"\0" * 8))
    yield "shape longer than its bytes", entry(array(pair(whole(778), b"K\x03"), b"\0" * 64))
    yield "objects", entry(array(b"K\x01\x85", b"\0" * 8, text("O8")))
    yield "texts of 2 GB", entry(array(b"K\x01\x85", b"", text("U2147483647")))
    yield "anything of 2 GB", entry(array(b"K\x01\x85", b"", text("V2147483647")))
    yield "dates", entry(array(b"K\x01\x85", b"\0" * 8, text("M8[ns]")))
    yield "fields", entry(array(b"K\x01\x85", b"\0" * 8, text("f8,O")))
    yield "a type of pairs", entry(array(b"K\x01\x85", b"\0" * 8, doubled(60)))
    yield "a type of a long name", entry(array(b"K\x01\x85", b"\0" * 8, text("f" * 10**6)))
    yield "an order of pairs", entry(array(b"K\x01\x85", b"\0" * 8, kind=dtype(order=doubled(60))))
    yield "an array as its type", entry(array(b"K\x01\x85", b"\0" * 8, kind=array(b")")))
    frombuffer = stack_global("numpy._core.numeric", "_frombuffer")
    yield (
        "frombuffer of a text",
        entry(frombuffer + pair(text("abcdefgh"), dtype(), b"K\x01\x85", text("C")) + b"R"),
    )
    yield (
        "frombuffer of 2**40",
        entry(frombuffer + pair(raw(b"\0" * 8), dtype(), whole(2**40) + b"\x85", text("C")) + b"R"),
    )


def sparse():
    """Sparse matrices whose parts do not fit."""
    one, none = array(b"K\x01\x85", b"\0" * 8), array(b"K\x00\x85")
    fits = b"K\x02K\x02\x86"
    for key in ("J_regressor", "v_template"):
        yield (
            f"columns that start at 2**40 in {key}",
            entry(csc(fits, one, whole_array(0), whole_array(0, 2**40, 2**40 + 1)), key),
        )
    yield (
        "columns that start at 10**9",
        entry(csc(fits, one, whole_array(0), whole_array(0, 10**9, 10**9))),
    )
    yield (
        "columns that start backwards",
        entry(csc(fits, one, whole_array(0), whole_array(0, -5, 1))),
    )
    yield "too many columns", entry(csc(fits, one, whole_array(0), whole_array(*[0] * 99)))
    yield (
        "nothing by 2**62",
        entry(csc(b"K\x00" + whole(2**62) + b"\x86", none, none, whole_array(0))),
    )
    yield (
        "nothing by 10**10",
        entry(csc(b"K\x00" + whole(10**10) + b"\x86", none, none, whole_array(0))),
    )
    yield (
        "2**31 by 2**31",
        entry(csc(whole(2**31) + whole(2**31) + b"\x86", none, none, whole_array(0))),
    )
    yield "a shape of pairs", entry(csc(doubled(60), one, whole_array(0), whole_array(0, 1, 1)))
    yield (
        "a shape of texts",
        entry(csc(text("a") + text("b") + b"\x86", one, whole_array(0), whole_array(0, 1, 1))),
    )
    yield "a row that is not there", entry(csc(fits, one, whole_array(1000), whole_array(0, 1, 1)))
    yield "a row before the first", entry(csc(fits, one, whole_array(-1), whole_array(0, 1, 1)))
    yield "parts that are a matrix", entry(csc(fits, csc(fits, one, one, one), one, one))


def growth():
    """Few bytes that become much, or take long."""
    yield "lists nested without end", entry(b"]" * 300_000 + b"a" * 299_999)
    yield "tuples nested without end", entry(b")" + b"\x85" * 300_000)
    yield "tuples nested as a key", b"\x80\x04})" + b"\x85" * 300_000 + b"K\x01s."
    yield "pairs of pairs", entry(doubled(60))
    yield "pairs of pairs, thirty deep", entry(doubled(30))
    yield "pairs of pairs as a key", b"\x80\x04}" + doubled(60) + b"K\x01s."
    yield "pairs of pairs in a set", entry(b"\x8f(" + doubled(60) + b"\x90")
    yield "pairs of pairs in a frozenset", entry(b"(" + doubled(60) + b"\x91")
    yield "pairs of pairs as a class", entry(doubled(60) + doubled(60) + b"\x93")
    yield "pairs of pairs as a call", entry(doubled(60) + b")R")
    yield "pairs of pairs as a state", entry(CH + b")R" + doubled(60) + b"b")
    yield "pairs of pairs as an id", entry(doubled(60) + b"Q")
    yield "pairs of pairs at the top", b"\x80\x04" + doubled(60) + b"."
    long, short = text("a" * 10**6) + b"\x940", text("b")
    yield (
        "a long text among short ones",
        entry(long + b"(h\x00" + short + b"\x94" + b"h\x01" * 10**4 + b"t"),
    )
    many = b"(" + b"K\x01" * 10**5 + b"t\x940"
    yield (
        "calls of many arguments",
        entry(CH + b"\x940" + many + b"(" + b"h\x00h\x01R" * 10**4 + b"t"),
    )
    letters = text("a" * 10**6) + b"\x940"
    yield "calls with a text", entry(CH + b"\x940" + letters + b"(" + b"h\x00h\x01R" * 10**4 + b"t")
    yield (
        "many classes",
        entry(b"(" + b"".join(stack_global("chumpy", str(i)) for i in range(60_000)) + b"t"),
    )
    yield (
        "one class many times",
        entry(
            text("chumpy") + b"\x940" + text("Ch") + b"\x940(" + b"h\x00h\x01\x93" * 400_000 + b"t"
        ),
    )
    yield "two million lists", entry(b"(" + b"]" * (2 * 10**6) + b"t")
    yield "two million nothings", entry(b"(" + b"N" * (2 * 10**6) + b"t")
    keys = b"".join(whole(M61 * i) + b"N" for i in range(60_000))
    yield "keys of one hash", b"\x80\x04}(" + keys + b"u."
    yield "keys of one hash in a dict", b"\x80\x04(" + keys + b"d."
    yield (
        "keys of one hash in a set",
        entry(b"\x8f(" + b"".join(whole(M61 * i) for i in range(60_000)) + b"\x90"),
    )
    floats = b"".join(b"G" + struct.pack(">d", M61 * 2.0**i) + b"N" for i in range(900))
    yield "fractions as keys", b"\x80\x04}(" + floats + b"u."
    a = array(whole(10**6) + b"\x85", b"\0" * 8 * 10**6)
    yield "a choice of a choice of a choice", entry(_choices(a, 30))
    yield (
        "a choice of itself",
        (b"(dS'v_template'\nichumpy.reordering\nSelect\np1\n(dS'a'\ng1\nsS'idxs'\ng1\nsbs."),
    )


def _choices(inner, times):
    program = inner + b"\x94"
    for _ in range(times):
        program = built(SELECT, b"}(" + text("a") + program + text("idxs") + b"h\x00u")
    return program


def archives():
    """The other form of a hand model, .npz."""
    whole_file = io.BytesIO()
    np.savez_compressed(whole_file, **mano_arrays())
    content = whole_file.getvalue()
    yield "half an archive", content[: len(content) // 2]
    yield "an archive without its end", content[:-30]
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (%s), }"
    for name, said in (
        ("2**33 numbers", f"{2**33},"),
        ("2**62 numbers", f"{2**62},"),
        ("minus two numbers", "-2,"),
        ("a shape of texts", "'a', 'b'"),
        ("too few numbers", "7,"),
    ):
        yield f"{name} in an archive", _npz(_npy(header % said) + b"\0" * 64)
    deep = "(" * 5000 + ")" * 5000
    yield "a nested header in an archive", _npz(_npy(header % deep))
    yield "objects in an archive", _npz(_npy(header.replace("<f8", "|O") % "1,") + b"N.")
    yield "texts in an archive", _npz(_npy(header.replace("<f8", "<U999999999") % "1,"))
    yield "two gigabytes of zeros", _npz(_npy(header % f"{2**28},") + b"\0" * (2**26), True)
    yield "no array in an archive", _npz(b"import os")
    yield "an array of nothing", _npz(b"")
    yield "another archive", _npz(b"", name="word/document.xml")
    yield "an archive of many", _many(20_000)


def _npy(header):
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text


def _npz(member, compressed=False, name="v_template.npy"):
    file = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", kind) as archive:
        archive.writestr(name, member)
    return file.getvalue()


def _many(count):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i in range(count):
            archive.writestr(f"{i}.npy", b"")
    return file.getvalue()


KINDS = (calls, chains, machine, lengths, shapes, sparse, growth, archives)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What loading each attack as a hand model came to: dict of kind -> name -> outcome."""
    folder, paths = tmp_path_factory.mktemp("attacks"), {}
    for kind in KINDS:
        for number, (name, content) in enumerate(kind()):
            path = folder / f"{kind.__name__}-{number}" / "MANO_RIGHT.pkl"
            path.parent.mkdir()
            path.write_bytes(content)
            paths[path] = kind.__name__, name
    found = {kind.__name__: {} for kind in KINDS}
    for path, outcome in limited.outcomes("handlib.mano:load_hand_model", paths, folder).items():
        kind, name = paths[Path(path)]
        found[kind][name] = outcome | {"path": path}
    assert not (folder / "MARKER").exists()
    return found


@pytest.mark.parametrize("kind", [kind.__name__ for kind in KINDS])
def test_an_attack_is_refused_in_one_message_little_time_and_memory(told, kind):
    assert len(told[kind]) > 10
    faults = {}
    for name, outcome in told[kind].items():
        message = outcome["message"]
        fine = outcome["error"] == "ValueError" and outcome["path"] in message
        fine = fine and ("refused" in message or "hand model" in message or "MANO" in message)
        fine = fine and len(message) < 1200 and "MemoryError" not in message
        if not fine:
            faults[name] = outcome | {"message": message[:300]}
    assert not faults, "\n".join(f"{name}: {outcome}" for name, outcome in faults.items())
