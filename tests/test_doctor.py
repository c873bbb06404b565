import json
import sys

import numpy as np
import pytest
import torch
from fake_data import write_public
from mano_files import write_plain

from handlib import cli, doctor, paths, slurm
from handlib.mano import standin


@pytest.fixture
def lines(monkeypatch, tmp_path):
    """Function that runs the doctor: (exit code, {what: (state, text)}); no kernel is started."""
    monkeypatch.setattr(doctor, "_prefix_of_kernel", lambda: sys.prefix)
    monkeypatch.setenv("MP_EXPERIMENTS", str(tmp_path / "runs" / "mine"))
    monkeypatch.setenv("HANDLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor, "_free_memory", lambda: 8 * doctor.GB)

    def run():
        shown = []
        code = doctor.doctor(shown.append)
        found = {line[9:21].strip(): (line[:8].strip(), line[22:]) for line in shown[:-1]}
        return code, found

    return run


def test_a_sound_set_up_is_all_well(lines, tmp_path):
    code, found = lines()
    assert code == 0 and not [told for told in found.values() if told[0] == "wrong"]
    assert "stand-in" in found["hand model"][1] and "synthetic" in found["data"][1]
    assert len(found) == 13
    assert not (tmp_path / "runs").exists()  # looking makes nothing


def test_what_the_environment_names_is_opened(lines, tmp_path, monkeypatch):
    write_public(tmp_path / "data", poses=8, versions=1)
    monkeypatch.setenv("MP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MANO", str(write_plain(tmp_path / "mano")))
    _, found = lines()
    assert found["data"][1].endswith("train 6, val 1, test 1, evaluation 3")
    assert "MANO_RIGHT.pkl" in found["hand model"][1]


def test_a_dataset_in_millimetres_is_one_warning(lines, tmp_path, monkeypatch, recwarn):
    write_public(tmp_path / "data", poses=8, versions=1)
    file = tmp_path / "data/training_xyz.json"
    file.write_text(json.dumps((1000 * np.array(json.loads(file.read_text()))).tolist()))
    monkeypatch.setenv("MP_DATA", str(tmp_path / "data"))
    code, found = lines()
    state, text = found["data"]
    assert (code, state, not recwarn.list) == (0, "warning", True)
    assert text.count("these are millimetres: divide by 1000") == 1
    assert "train 6, val 1, test 1" in text and f"{file}: the median bone" in text


@pytest.mark.parametrize(
    ("variable", "value", "what", "remedy"),
    [
        ("MANO", "/nowhere", "hand model", "unset MANO"),
        ("MP_DATA", "/nowhere", "data", "download FreiHAND"),
        ("MP_BACKGROUNDS", "/nowhere", "backgrounds", "unset it"),
        ("MP_EXPERIMENTS", "/dev/null/runs", "outputs", "set MP_EXPERIMENTS to a folder"),
        ("HANDLIB_CACHE", "/dev/null/cache", "cache", "set HANDLIB_CACHE to a folder"),
    ],
)
def test_a_wrong_variable_is_one_line_with_a_remedy(
    lines, monkeypatch, variable, value, what, remedy
):
    monkeypatch.setenv(variable, value)
    code, found = lines()
    assert code == 1
    assert {name for name, told in found.items() if told[0] == "wrong"} == {what}
    assert value in found[what][1] and remedy in found[what][1]
    assert "\n" not in found[what][1]


def test_what_is_broken_in_the_installation_is_wrong(lines, monkeypatch, tmp_path):
    broken = tmp_path / "right.npz"
    broken.write_bytes(b"PK")
    monkeypatch.setattr(standin, "SHIPPED", broken)
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "files.json").write_text('{"model.json": "0"}')
    monkeypatch.setattr(doctor, "SHIPPED", weights)
    monkeypatch.setattr(doctor, "_prefix_of_kernel", lambda: "/usr")
    monkeypatch.setattr(
        doctor, "requires", lambda name: ["numpy>=99", "no-such-package; extra=='x'"]
    )
    code, found = lines()
    assert code == 1
    wrong = {name: told[1] for name, told in found.items() if told[0] == "wrong"}
    assert set(wrong) == {"hand model", "weights", "notebooks", "packages"}
    assert "numpy>=99" in wrong["packages"] and "no-such" not in wrong["packages"]
    assert "ipykernel install" in wrong["notebooks"]


def test_little_room_and_an_idle_gpu_are_warnings(lines, monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_DISK", 1 << 60)
    monkeypatch.setattr(doctor, "_free_memory", lambda: doctor.GB)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: name if name == "nvidia-smi" else None)
    code, found = lines()
    assert code == 0
    warned = {name for name, told in found.items() if told[0] == "warning"}
    assert warned >= {"outputs", "cache", "memory", "torch"}


def test_a_slurm_that_does_not_answer_is_a_warning(lines, monkeypatch, tmp_path):
    for name in ("sbatch", "srun", "squeue", "scancel"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 0\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert lines()[1]["Slurm"][0] == "ok"
    (tmp_path / "squeue").write_text(
        "#!/bin/sh\necho squeue: trying >&2\necho squeue: no contact >&2\nexit 1\n"
    )
    state, text = lines()[1]["Slurm"]
    assert state == "warning" and "no controller answers (no contact)" in text
    assert "handlib submit needs it" in text
    (tmp_path / "squeue").write_text("#!/bin/sh\nexec sleep 60\n")
    assert slurm.silence(wait_s=0.2) == "squeue: no answer in 0.2 s"


def test_little_shared_memory_is_a_warning(lines, monkeypatch):
    monkeypatch.setattr(doctor, "_free_shared_memory", lambda: 64 << 20)
    code, found = lines()
    state, text = found["memory"]
    assert (code, state) == (0, "warning") and "64 MB" in text and "--shm-size" in text
    monkeypatch.setattr(doctor, "_free_shared_memory", lambda: None)
    assert lines()[1]["memory"] == ("ok", "8.0 GB free")


def test_a_kernel_tells_its_environment():
    assert doctor._prefix_of_kernel() == sys.prefix


def test_the_command_ends_with_the_doctors_code(monkeypatch):
    monkeypatch.setattr(doctor, "doctor", lambda: 1)
    assert cli.main(["doctor"]) == 1
    assert paths.SHIPPED == doctor.SHIPPED
