import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mano_files import mano_arrays, write_as_distributed, write_plain

from handlib.mano import load_hand_model

ARRAYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "hands_mean")
GOLDEN = Path(__file__).parents[2] / "shared" / "golden"


def assert_same(hand, arrays):
    for key in (*ARRAYS, "hands_components"):
        np.testing.assert_array_equal(getattr(hand, key), arrays[key], err_msg=key)
    np.testing.assert_array_equal(hand.faces, arrays["f"])


# -- reading ---------------------------------------------------------------------------------
@pytest.mark.parametrize("protocol", range(6))
def test_reads_plain_pickles_of_every_protocol(tmp_path, protocol):
    path = tmp_path / "hand.pkl"
    path.write_bytes(pickle.dumps(mano_arrays(), protocol=protocol))
    hand = load_hand_model(path)
    assert_same(hand, mano_arrays())
    assert (hand.is_right, hand.source, hand.is_standin) == (True, str(path), False)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_reads_chumpy_objects_without_chumpy(tmp_path, monkeypatch, protocol):
    with monkeypatch.context() as patch:
        path = write_as_distributed(tmp_path / "MANO_RIGHT.pkl", patch, protocol)
    assert_same(load_hand_model(path), mano_arrays())
    assert "chumpy" not in sys.modules


def test_the_file_as_distributed_gives_the_plain_files_arrays():
    if not GOLDEN.is_dir():
        pytest.skip(f"the files of the real manopth are not at {GOLDEN}")
    stored = load_hand_model(GOLDEN / "MANO_RIGHT_chumpy.pkl")
    assert stored.fingerprint == load_hand_model(GOLDEN / "MANO_RIGHT.pkl").fingerprint
    assert_same(stored, mano_arrays())


def test_reads_npz(tmp_path):
    np.savez(tmp_path / "MANO_RIGHT.npz", **mano_arrays())
    assert_same(load_hand_model(tmp_path), mano_arrays())


def test_fingerprint_follows_the_arrays(tmp_path):
    same = [load_hand_model(write_plain(tmp_path / str(i))).fingerprint for i in range(2)]
    moved = mano_arrays()["v_template"] + 1e-9
    other = load_hand_model(write_plain(tmp_path / "other", v_template=moved)).fingerprint
    assert same[0] == same[1] != other


def test_left_shape_fix_negates_x_only(tmp_path):
    path = write_plain(tmp_path, "left")
    plain, fixed = (load_hand_model(path, "left", fix_left_shapes=fix) for fix in (False, True))
    np.testing.assert_array_equal(fixed.shapedirs[:, 0], -plain.shapedirs[:, 0])
    np.testing.assert_array_equal(fixed.shapedirs[:, 1:], plain.shapedirs[:, 1:])


def test_the_left_shape_fault_is_seen_where_the_right_hand_lies_beside_it(tmp_path, recwarn):
    right = load_hand_model(write_plain(tmp_path))
    sound = load_hand_model(write_plain(tmp_path, "left"), "left")
    assert load_hand_model(tmp_path, "left", fix_left_shapes=True).fingerprint == sound.fingerprint
    assert not recwarn
    # As distributed: x has the right hand's sign. The two sides' numbers need not be equal.
    faulty = right.shapedirs * 1.01
    write_plain(tmp_path, "left", shapedirs=faulty)
    fixed = load_hand_model(tmp_path, "left", fix_left_shapes=True)
    np.testing.assert_array_equal(fixed.shapedirs, faulty * np.array([-1.0, 1, 1])[:, None])
    assert not recwarn
    with pytest.warns(UserWarning, match=r"MANO_LEFT\.pkl.*fix_left_shapes=True"):
        left = load_hand_model(tmp_path, "left")
    np.testing.assert_array_equal(left.shapedirs, faulty)


# -- finding ---------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", ["models", ".", "mano", "data", "mano_v1_2/models"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_finds_every_layout(tmp_path, monkeypatch, layout, side):
    path = write_plain(tmp_path / layout, side)
    monkeypatch.setenv("MANO", f" {tmp_path}/ ")
    assert load_hand_model(side=side).source == str(path)
    monkeypatch.delenv("MANO")
    assert load_hand_model(tmp_path, side).source == str(path)


def test_mano_may_name_a_file_and_the_home(tmp_path, monkeypatch):
    right, left = write_plain(tmp_path / "m"), write_plain(tmp_path / "m", "left")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MANO", "~/m/MANO_RIGHT.pkl")
    assert load_hand_model().source == str(right)
    assert load_hand_model(side="left").source == str(left)


def test_a_missing_file_says_where_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("MANO", str(tmp_path))
    with pytest.raises(FileNotFoundError) as error:
        load_hand_model()
    for part in (str(tmp_path / "models" / "MANO_RIGHT.pkl"), "mano.is.tue.mpg.de", "unset MANO"):
        assert part in str(error.value)


def test_without_mano_it_is_the_stand_in(hand, monkeypatch):
    monkeypatch.setenv("MANO", " ")
    assert load_hand_model().is_standin
    assert hand.is_standin
    assert hand.name == "stand-in hand"
    assert hand.is_right


def test_the_stand_in_is_known_wherever_it_is_copied_to(tmp_path):
    hand = load_hand_model(write_plain(tmp_path, handlib_standin="1"))
    assert hand.is_standin


def test_a_left_hand_is_not_read_as_a_right_one(tmp_path):
    path = write_plain(tmp_path, "left")
    with pytest.raises(ValueError, match="not the right hand"):
        load_hand_model(path)
    with pytest.raises(ValueError, match="side is"):
        load_hand_model(path, "both")


# -- refusing --------------------------------------------------------------------------------
def bad_arrays():
    arrays = mano_arrays()
    table = arrays["kintree_table"].copy()
    table[0, 5] = 0
    infinite = arrays["weights"].copy()
    infinite[3, 3] = np.nan
    return {
        "shapedirs": (np.zeros((778, 3, 11)), r"shapedirs has shape \(778, 3, 11\)"),
        "kintree_table": (table, "joint tree"),
        "f": (arrays["f"] + 1, "vertices that do not exist"),
        "weights": (infinite, "not a finite number"),
        "hands_mean": ("zero", "hands_mean has shape"),
    }


@pytest.mark.parametrize("key", bad_arrays())
def test_wrong_arrays_are_named(tmp_path, key):
    value, message = bad_arrays()[key]
    path = write_plain(tmp_path, **{key: value})
    with pytest.raises(ValueError, match=message) as error:
        load_hand_model(path)
    assert str(path) in str(error.value)


def test_missing_keys_are_named(tmp_path):
    path = tmp_path / "hand.pkl"
    path.write_bytes(pickle.dumps({"v_template": np.zeros((778, 3))}))
    with pytest.raises(ValueError, match="lacks shapedirs, posedirs"):
        load_hand_model(path)


class Call:
    """Pickles as a call: what a hostile file does."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(marker):
    touch = f"open({str(marker)!r}, 'w')"
    yield "os", Call(os.system, f"touch {marker}")
    yield "eval", Call(eval, touch)
    yield "exec", Call(exec, touch)
    yield "popen", Call(subprocess.Popen, ["touch", str(marker)])
    yield "getattr", Call(getattr, Call(__import__, "os"), "system")
    yield "numpy", Call(np.save, str(marker), np.zeros(1))


@pytest.mark.parametrize("name", [name for name, _ in hostile("")])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path, name, protocol):
    marker = tmp_path / "ran.npy"
    path = tmp_path / "MANO_RIGHT.pkl"
    content = mano_arrays() | {"extra": dict(hostile(marker))[name]}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(ValueError, match="was refused: it asks for") as error:
        load_hand_model(path)
    assert str(path) in str(error.value)
    assert not marker.exists()


def test_the_hostile_pickles_would_have_run(tmp_path):
    """The test above can fail: pickle's own loader runs what the file says."""
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(Call(os.system, f"touch {marker}")))
    assert marker.exists()


@pytest.mark.parametrize(
    "program",
    [
        # A name under chumpy's that leads elsewhere: recorded, never looked up.
        b"cchumpy\nos.system\n(S'touch MARKER'\ntR",
        # Attributes set on a permitted class, then a call of it.
        b"cnumpy\nndarray\n(N}S'__init__'\ncchumpy\nos.system\nstb(S'touch MARKER'\ntR",
        # A call of a text, of an own instance, of a dict.
        b"S'os.system'\n(S'touch MARKER'\ntR",
        b"(cchumpy.ch\nCh\no(S'touch MARKER'\ntR",
        b"}(S'touch MARKER'\ntR",
    ],
)
def test_crafted_programs_run_nothing(tmp_path, program):
    marker = tmp_path / "ran"
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(
        b"(dS'v_template'\n" + program.replace(b"MARKER", str(marker).encode()) + b"s."
    )
    with pytest.raises(ValueError, match=r"MANO_RIGHT\.pkl"):
        load_hand_model(path)
    assert not marker.exists()
    # and nothing of it stays behind
    assert_same(load_hand_model(write_plain(tmp_path / "good")), mano_arrays())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!DOCTYPE html><html>please sign in</html>",
        b"PK\x03\x04 not a zip",
        pickle.dumps([1, 2, 3]),
        pickle.dumps(mano_arrays())[:100_000],
        # places in memory far beyond the file: 16 GB for pickle's memo
        b"\x80\x02}r" + struct.pack("<I", 2**31) + b".",
        # a text of 2**62 bytes
        b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc.",
        # a Select of itself
        b"(dS'v_template'\nichumpy.reordering\nSelect\np1\n(dS'a'\ng1\nsS'idxs'\ng1\nsbs.",
    ],
)
def test_damaged_and_oversized_files_are_refused(tmp_path, data):
    path = tmp_path / "MANO_RIGHT.pkl"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"MANO_RIGHT\.pkl"):
        load_hand_model(path)


def test_arrays_of_objects_are_refused(tmp_path):
    objects = np.array([Call(os.system, "true"), None])
    with pytest.raises(ValueError, match="refused"):
        load_hand_model(write_plain(tmp_path, v_template=objects))
    with pytest.raises(ValueError, match="not of numbers"):
        load_hand_model(write_plain(tmp_path, v_template=np.array([None, 1])))
    np.savez(tmp_path / "hand.npz", **mano_arrays() | {"v_template": objects})
    with pytest.raises(ValueError, match="not a readable hand model"):
        load_hand_model(tmp_path / "hand.npz")


def test_a_sparse_matrix_out_of_bounds_is_refused(tmp_path):
    import scipy.sparse

    matrix = scipy.sparse.csc_matrix(mano_arrays()["J_regressor"])
    matrix.indices[5] = 1000
    with pytest.raises(ValueError, match="out of bounds"):
        load_hand_model(write_plain(tmp_path, J_regressor=matrix))
    huge = scipy.sparse.csc_matrix((10**6, 10**6))
    with pytest.raises(ValueError, match="sparse matrix of shape"):
        load_hand_model(write_plain(tmp_path, J_regressor=huge))
