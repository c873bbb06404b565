"""Damaged and hostile files of every kind: one clear error that names the file."""

import random

import hostile_files
import mutate
import pytest
from hostile_files import TARGETS
from hypothesis import given, seed, settings
from hypothesis import strategies as st

# Quick, and the same each time: ``tests/fuzz.py`` looks further.
QUICK = settings(max_examples=60, deadline=None, derandomize=True, database=None)
JSON = [name for name, (file, _, _) in TARGETS.items() if "json" in file]

ANYTHING = st.recursive(
    # After a training in this process, numbers below 1e-308 are 0.
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_subnormal=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = {name: tmp_path_factory.mktemp("target") for name in TARGETS}
    return made.__getitem__


@pytest.mark.parametrize("name", TARGETS)
def test_a_sound_file_is_read(folder, name):
    file, content, read = TARGETS[name]
    path = folder(name) / file
    path.write_bytes(content)
    read(path)


@pytest.mark.parametrize("name", TARGETS)
def test_a_changed_file_is_read_or_refused_in_one_message(folder, name):
    @seed(0)
    @QUICK
    @given(st.integers(0, 2**32))
    def check(number):
        content = mutate.mutated(random.Random(number), TARGETS[name][1])
        assert not (fault := hostile_files.fault(name, folder(name), content)), (fault, content)

    check()


@pytest.mark.parametrize("name", JSON)
def test_other_json_is_refused_in_one_message(folder, name):
    @QUICK
    @given(ANYTHING)
    def check(value):
        content = hostile_files.text_of(value)
        assert not (fault := hostile_files.fault(name, folder(name), content)), fault

    check()


HOSTILE = {
    "empty": b"",
    "not text": b"\xff\xfe\x00\xd8",
    "a number of 5000 digits": b"[" + b"9" * 5000 + b"]",
    "nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "objects nested 20,000 deep": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "a key twice": b'{"images": [], "images": []}',
    "not a number": b'{"images": NaN, "people": NaN, "K": [NaN, 1, 2, 3]}',
    "a page": b"<!DOCTYPE html><html>please sign in</html>",
}


@pytest.mark.parametrize("name", JSON)
def test_known_faults_are_refused(folder, name):
    for said, content in HOSTILE.items():
        path = folder(name) / TARGETS[name][0]
        assert not (fault := hostile_files.fault(name, folder(name), content)), (said, fault)
        if (name, said) == ("freihand scale", "a number of 5000 digits"):
            continue  # infinite: the reader of the dataset refuses it, and names the sample
        if name not in ("records", "results") or said == "not text":
            with pytest.raises(ValueError):
                TARGETS[name][2](path)


def test_the_changes_would_be_noticed(tmp_path, monkeypatch):
    """The tests above can fail: a reader that trusts its file is found out."""

    def trusting(path):
        return hostile_files.json.loads(path.read_text())["images"][0]["id"]

    monkeypatch.setitem(TARGETS, "trusting", ("a.json", TARGETS["rhd"][1], trusting))
    changed = (mutate.mutated(random.Random(i), TARGETS["rhd"][1]) for i in range(60))
    faults = {hostile_files.fault("trusting", tmp_path, content)[:9] for content in changed}
    assert {"KeyError:", "TypeError"} <= faults
