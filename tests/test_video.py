"""Hands in videos: followed, smoothed, written."""

import json

import cv2
import numpy as np
import pytest
from green_hands import green_photo, green_predictor

from handlib import cli
from handlib.inference.video import OneEuro, Tracker, predict_video


def frames(n=24):
    """A right hand that moves to the right, and a left one that comes into the picture."""
    for i in range(n):
        moving = (60 + 6 * i, 80, 160 + 6 * i, 220, True)
        other = (440, 200 - 4 * i, 520, 310 - 4 * i, False)
        yield green_photo((600, 320), [moving, other] if i >= 8 else [moving])


def write_video(path, n=24, rate=25):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (600, 320))
    assert writer.isOpened()
    for frame in frames(n):
        writer.write(frame[..., ::-1].copy())
    writer.release()
    return path


def test_a_still_value_is_calmed_and_a_fast_one_followed():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.002, (200, 3))
    still = OneEuro(30)
    calmed = np.array([still(value) for value in noise])[50:]
    assert calmed.std() < 0.6 * noise.std()
    fast, ramp = OneEuro(30), np.linspace(0, 5, 151)[:, None]  # one metre per second
    lag = ramp[-1] - [fast(value) for value in ramp][-1]
    assert 0 <= lag[0] < 0.02
    first = OneEuro(30)
    np.testing.assert_array_equal(first([1.0, 2]), [1, 2])


def test_hands_are_followed_by_one_track_each(hand):
    predictor = green_predictor(hand)
    tracker = Tracker(predictor, 25)
    seen = [
        [(t.number, t.hand.is_right, t.smoothed.joints_2d) for t in tracker(f)] for f in frames()
    ]
    assert all(len(hands) == 1 for hands in seen[:8])
    assert {number for hands in seen for number, *_ in hands} == {1, 2}
    sides = {(number, is_right) for hands in seen for number, is_right, _ in hands}
    assert sides == {(1, True), (2, False)}
    places = np.array([next(j for n, _, j in hands if n == 1).mean(0) for hands in seen])
    moved = places[:, 0] - (110 + 6 * np.arange(24))
    assert np.abs(moved).max() < 12  # two frames' way
    # Most frames look at the hands alone, not at the whole picture.
    assert predictor.model.looked < 24 * 60


def test_a_side_that_is_given_is_kept(hand):
    tracker = Tracker(green_predictor(hand), 25, is_right=False)
    assert [t.hand.is_right for f in frames(6) for t in tracker(f)] == [False] * 6


def test_a_hand_that_leaves_is_let_go(hand):
    tracker = Tracker(green_predictor(hand), 25)
    for frame in frames(3):
        assert len(tracker(frame)) == 1
    empty = green_photo((600, 320), [])
    counts = [len(tracker(empty)) for _ in range(8)]
    assert counts[-1] == 0


def test_a_video_is_written_with_a_line_for_each_frame(hand, tmp_path, monkeypatch, capsys):
    path = write_video(tmp_path / "hands.avi")
    monkeypatch.setattr(
        "handlib.inference.command.Predictor", lambda *_, **__: green_predictor(hand)
    )
    assert cli.main(["predict", str(path), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "a hand in 24 of 24 frames" in said and "a guess" in said
    lines = [json.loads(line) for line in (tmp_path / "out/hands.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(24))
    assert lines[-1]["time"] == pytest.approx(23 / 25)
    assert len(lines[-1]["hands"]) == 2 and np.shape(lines[-1]["hands"][0]["joints"]) == (21, 3)
    assert not lines[-1]["hands"][0]["K_known"]
    cameras = {json.dumps(hand["K"]) for line in lines for hand in line["hands"]}
    assert len(cameras) == 1
    film = cv2.VideoCapture(str(tmp_path / "out/hands.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 24
    assert film.read()[1].shape == (320, 600, 3)


def test_videos_of_one_name_in_folders_and_of_odd_rates(hand, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "handlib.inference.command.Predictor", lambda *_, **__: green_predictor(hand)
    )
    for folder, rate in (("a", 25), ("b", 90.123)):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / "clip.avi", 4, rate)
    given = [str(tmp_path / folder) for folder in "ab"]  # videos in folders are found
    assert cli.main(["predict", *given, "--out", str(tmp_path / "out")]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        f"{stem}.{kind}" for stem in ("clip", "clip-2") for kind in ("mp4", "jsonl")
    }
    for stem, rate in (("clip", 25), ("clip-2", 90.1)):
        film = cv2.VideoCapture(str(tmp_path / f"out/{stem}.mp4"))
        assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 4
        assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(rate, abs=0.05)


def test_faults_of_videos_are_named(hand, tmp_path):
    whole = write_video(tmp_path / "hands.avi", 3).read_bytes()
    no_videos = {
        "text.mp4": b"no video",
        "empty.mp4": b"",
        "header.avi": whole[:600],
        "noise.mov": bytes(range(256)) * 20,
        "list.mkv": b"ffconcat version 1.0\nfile 'hands.avi'\n",  # it would show another file
        "list.mp4": b"#EXTM3U\n#EXTINF:9,\nhands.avi\n#EXT-X-ENDLIST\n",
    }
    for name, content in no_videos.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} cannot be read as a video"):
            predict_video(green_predictor(hand), tmp_path / name, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no such video"):
        predict_video(green_predictor(hand), tmp_path / "b.mp4", tmp_path / "out")
    assert not any(tmp_path.glob("out/*.mp4"))
