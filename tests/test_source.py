import threading
import time

from handlib.data import dataset_root, synthesize


def test_a_given_folder_or_the_environment_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_DATA", f" {tmp_path}/real ")
    assert dataset_root() == tmp_path / "real"
    assert dataset_root("~/mine").name == "mine"


def test_processes_that_start_together_make_the_data_one_after_the_other(hand, monkeypatch):
    """The ranks of a multi-GPU run all ask for it; who came second finds it made."""
    running, overlaps = [], []

    def slow(out, *args, **kwargs):
        overlaps.append(len(running))
        running.append(out)
        time.sleep(0.1)
        running.remove(out)
        return out

    monkeypatch.setattr(synthesize, "synthesize", slow)
    threads = [threading.Thread(target=dataset_root, kwargs={"samples": 3}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert overlaps == [0, 0, 0]
