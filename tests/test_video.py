"""Hands in videos: followed, smoothed, written."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from green_hands import green_photo, green_predictor, posed_as

from handlib import cli
from handlib.geometry import project
from handlib.inference.frames import Frames
from handlib.inference.result import HandPrediction
from handlib.inference.video import OneEuro, Smooth, Tracker, predict_video
from handlib.mano import HandLayer


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
    still = OneEuro()
    calmed = np.array([still(value, 1 / 30) for value in noise])[50:]
    assert calmed.std() < 0.6 * noise.std()
    fast, ramp = OneEuro(), np.linspace(0, 5, 151)[:, None]  # one metre per second
    lag = ramp[-1] - [fast(value, 1 / 30) for value in ramp][-1]
    assert 0 <= lag[0] < 0.02
    first = OneEuro()
    np.testing.assert_array_equal(first([1.0, 2], 0), [1, 2])


CAMERA = np.array([[900.0, 0, 299.5], [0, 900, 159.5], [0, 0, 1]])


def prediction(hand, is_right, pose, betas, root):
    """A hand of that pose and shape, its root at (3,) metres, before ``CAMERA``."""
    made = SimpleNamespace(is_right=is_right, pose=pose, betas=betas)
    vertices, joints = (points + root for points in posed_as(hand, made))
    return HandPrediction(
        joints, vertices, project(joints, CAMERA), hand.faces, is_right, 0.9, np.zeros(4), CAMERA,
        True, 0.9, pose, betas, (600, 320), hand.name,
    )  # fmt: skip


@pytest.mark.parametrize("is_right", [True, False])
def test_what_is_smoothed_is_one_calm_hand(hand, is_right):
    """Mesh, joints, their pixels, pose and shape agree, while the hand moves and turns by half a
    turn and more; and what trembles of it does so by less than half as much."""
    rng, raw, calm = np.random.default_rng(0), [], []
    smooth = Smooth(HandLayer(hand))
    for n in range(60):
        pose = rng.normal(0, 0.05, 48)
        pose[1] += 0.02 * n + 2.6  # past half a turn, where the axis changes its sign
        root = np.array([0.001 * n, 0, 0.5]) * (1 + rng.normal(0, 0.02))
        hands = prediction(hand, is_right, pose, rng.normal(0, 0.3, 10), root)
        smoothed = smooth(hands, 1 / 30)
        vertices, joints = posed_as(hand, smoothed)
        np.testing.assert_allclose(smoothed.vertices - smoothed.root, vertices, atol=1e-5)
        np.testing.assert_allclose(smoothed.joints - smoothed.root, joints, atol=1e-5)
        np.testing.assert_allclose(project(smoothed.joints, CAMERA), smoothed.joints_2d)
        for told, of in ((raw, hands), (calm, smoothed)):
            told.append([(of.joints - of.root)[8], of.root, [*of.joints_2d[8] / 1000, 0]])
    tremble = [
        np.linalg.norm(np.diff(told, 2, axis=0), axis=-1)[10:].mean(0) for told in (raw, calm)
    ]
    assert (tremble[1] < 0.4 * tremble[0]).all()
    assert np.linalg.norm(np.subtract(raw, calm).mean(0), axis=-1).max() < 0.02


def test_frames_of_uneven_times_are_smoothed_as_even_ones():
    """A value that goes on steadily has the speed that it has, however far apart its frames."""
    lags = []
    for seconds in (np.full(90, 1 / 30), np.tile([1 / 120, 7 / 120], 45)):
        smooth, time = OneEuro(), np.cumsum(seconds)
        found = [smooth([t], s) for t, s in zip(time, seconds, strict=True)]  # 1 m/s
        lags.append(np.mean(time[-20:] - np.ravel(found)[-20:]))
    assert lags[0] == pytest.approx(lags[1], rel=0.3)


def test_hands_are_followed_by_one_track_each(hand):
    predictor = green_predictor(hand)
    tracker = Tracker(predictor)
    seen = [
        [(t.number, t.hand.is_right, t.smoothed.joints_2d) for t in tracker(f, n / 25)]
        for n, f in enumerate(frames())
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
    tracker = Tracker(green_predictor(hand), is_right=False)
    sides = [t.hand.is_right for n, f in enumerate(frames(6)) for t in tracker(f, n / 25)]
    assert sides == [False] * 6


def test_a_box_is_where_a_hand_is_followed_from(hand):
    """Of two hands the one that the box is around, however sure the other one is."""
    both = list(frames(14))[8:]
    for box, is_right in (((100, 75, 215, 225), True), ((440, 168, 520, 278), False)):
        tracker = Tracker(green_predictor(hand), box=box)
        tracks = [[*tracker(frame, n / 25)] for n, frame in enumerate(both)]
        assert [[(t.number, t.hand.is_right) for t in found] for found in tracks] == [
            [(1, is_right)]
        ] * 6
    empty = green_photo((600, 320), [])
    for n in range(6, 14):
        tracker(empty, n / 25)
    assert not tracker.tracks
    for n, frame in enumerate(both, 14):
        (found, *others) = tracker(frame, n / 25) or [None]
    assert found.number == 2 and not others  # lost, and looked for


def test_as_many_hands_are_followed_as_are_wanted_and_as_sure(hand):
    both = list(frames(12))[8:]
    for options, expected in (({}, 2), ({"most": 1}, 1), ({"sure": 1.0}, 0)):
        tracker = Tracker(green_predictor(hand), **options)
        assert [len(tracker(f, n / 25)) for n, f in enumerate(both)] == [expected] * 4, options


@pytest.mark.parametrize(("share", "numbers"), [(0.8, {1}), (0.6, set())])
def test_a_hand_that_is_followed_need_not_be_as_sure_as_a_new_one(
    hand, monkeypatch, share, numbers
):
    """In the middle of a blurred movement; once lost, it is looked for as before."""
    predictor = green_predictor(hand)
    tracker, look = Tracker(predictor, sure=0.5), type(predictor).__call__
    frame = next(frames())
    assert {t.number for t in tracker(frame, 0)} == {1}

    def less_sure(*arguments):
        return [replace(seen, confidence=0.5 * share) for seen in look(*arguments)]

    monkeypatch.setattr(type(predictor), "__call__", less_sure)
    for n in range(1, 7):
        tracks = tracker(frame, n / 25)
    assert {t.number for t in tracks} == numbers


def test_the_command_says_of_a_video_what_it_is_asked_and_refuses_the_rest(
    hand, tmp_path, monkeypatch, capsys
):
    path, asked = write_video(tmp_path / "hands.avi", 2), []
    monkeypatch.setattr(
        "handlib.inference.command.Predictor", lambda *_, **__: green_predictor(hand)
    )
    monkeypatch.setattr(
        "handlib.inference.video.predict_video", lambda *_, **options: asked.append(options)
    )
    words = ["predict", str(path), "--out", str(tmp_path / "out")]
    given = ["--most", "1", "--sure", "0.6", "--box", "60", "80", "160", "220"]
    assert cli.main(words) == cli.main([*words, *given]) == 0
    usual = {"K": None, "is_right": None, "box": None}
    assert asked == [usual, usual | {"most": 1, "sure": 0.6, "box": [60, 80, 160, 220]}]
    assert cli.main([*words, "--format", "json"]) == 1
    assert "--format is for photos" in capsys.readouterr().err
    cv2.imwrite(str(tmp_path / "a.png"), next(frames())[..., ::-1])
    assert cli.main([words[0], str(tmp_path / "a.png"), *words[1:], "--format", "json"]) == 0
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["a.json"]


def test_a_hand_that_leaves_is_let_go(hand):
    tracker = Tracker(green_predictor(hand))
    for n, frame in enumerate(frames(3)):
        assert len(tracker(frame, n / 25)) == 1
    empty = green_photo((600, 320), [])
    counts = [len(tracker(empty, n / 25)) for n in range(3, 11)]
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
    for record in (hand for line in lines for hand in line["hands"]):
        seen = project(np.array(record["joints"]), np.array(record["K"]))
        np.testing.assert_allclose(seen, record["joints_2d"], atol=1e-6)
    cameras = {json.dumps(hand["K"]) for line in lines for hand in line["hands"]}
    assert len(cameras) == 1
    film = cv2.VideoCapture(str(tmp_path / "out/hands.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 24
    assert film.read()[1].shape == (320, 600, 3)


def without(path, damaged):
    """The video, a JPEG for each frame, with zeros for some of them."""
    content = bytearray(path.read_bytes())
    parts = [m.start() + 8 for m in re.finditer(b"00dc....\xff\xd8", content, re.DOTALL)]
    for number in damaged:
        size = int.from_bytes(content[parts[number] - 4 : parts[number]], "little")
        content[parts[number] : parts[number] + size] = bytes(size)
    path.write_bytes(content)
    return path


def test_a_video_goes_on_after_frames_that_cannot_be_read(hand, tmp_path):
    damaged = [0, 4, 5, 9]
    path = without(write_video(tmp_path / "hands.avi", 12), damaged)
    said = predict_video(green_predictor(hand), path, tmp_path / "out")
    assert "a hand in 8 of 8 frames" in said and "; 4 frames could not be read" in said
    lines = [json.loads(line) for line in (tmp_path / "out/hands.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == sorted({*range(12)} - {*damaged})
    for line in lines:  # the number is that of the file
        place = np.mean(line["hands"][0]["joints_2d"], 0)[0]
        assert abs(place - (110 + 6 * line["frame"])) < 20
    film = cv2.VideoCapture(str(tmp_path / "out/hands.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 8


def test_a_video_that_is_cut_short_says_so(tmp_path):
    path = write_video(tmp_path / "hands.avi", 12)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = Frames(path)
    read = len(list(frames))
    assert 0 < read < 12 and frames.missing == 12 - read
    assert f"the last {12 - read} that its header counts could not be read" in frames.fault()


def open_as(monkeypatch, told):
    """Videos are opened as ones that tell other values: property -> function that gives them."""

    class Video:
        def __init__(self, path):
            self.video, self.reads = opened(path), 0

        def get(self, what):
            return told.get(what, lambda: self.video.get(what))()

        def read(self):
            self.reads += 1
            return self.video.read()

        def release(self):
            self.video.release()

    opened = cv2.VideoCapture
    monkeypatch.setattr("handlib.inference.frames.cv2.VideoCapture", Video)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([0, 10, 60, 70], [0, 0.01, 0.06, 0.07]),
        ([0, 0, 0, 0], [0, 0.04, 0.08, 0.12]),
        ([0, np.nan, 80, 40], [0, 0.04, 0.08, 0.12]),
    ],
)
def test_frames_have_the_times_that_the_file_tells(tmp_path, monkeypatch, told, expected):
    path = write_video(tmp_path / "hands.avi", 4)
    assert [time for _, time, _ in Frames(path)] == pytest.approx([0, 0.04, 0.08, 0.12])
    times = iter(told)
    open_as(monkeypatch, {cv2.CAP_PROP_POS_MSEC: lambda: next(times)})
    assert [time for _, time, _ in Frames(path)] == pytest.approx(expected)


@pytest.mark.parametrize(("count", "missing"), [(1e12, 10**12 - 3), (0, 0), (-1, 0), (2, 0)])
def test_a_wrong_count_of_frames_ends_soon_and_loses_none(tmp_path, monkeypatch, count, missing):
    path = write_video(tmp_path / "hands.avi", 3)
    open_as(monkeypatch, {cv2.CAP_PROP_FRAME_COUNT: lambda: count})
    frames = Frames(path)
    assert [number for number, *_ in frames] == [0, 1, 2]
    assert frames.missing == missing and frames._video.reads < 1100


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


def test_a_video_without_hands_leaves_what_was_there(hand, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "handlib.inference.command.Predictor", lambda *_, **__: green_predictor(hand)
    )
    path, out = tmp_path / "grey.avi", tmp_path / "out"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (320, 240))
    for _ in range(3):
        writer.write(np.full((240, 320, 3), 90, np.uint8))
    writer.release()
    assert cli.main(["predict", str(path), "--out", str(out)]) == 1
    assert not list(out.iterdir())
    (out / "grey.mp4").write_bytes(b"of another day")
    assert cli.main(["predict", str(path), "--out", str(out)]) == 1
    assert (out / "grey.mp4").read_bytes() == b"of another day"
    said = capsys.readouterr()
    assert "no hand found in any of its 3 frames" in said.err
    assert "of an earlier prediction, and not written now: grey.mp4" in said.out


def test_the_times_of_a_time_lapse_are_its_own(tmp_path):
    path = write_video(tmp_path / "slow.avi", 3, rate=0.5)
    assert Frames(path).rate == 0.5
    assert [time for _, time, _ in Frames(path)] == pytest.approx([0, 2, 4])


def test_faults_of_videos_are_named(hand, tmp_path, capfd):
    whole = write_video(tmp_path / "hands.avi", 3).read_bytes()
    no_videos = {
        "text.mp4": b"no video",
        "empty.mp4": b"",
        "header.avi": whole[:600],
        "cut.mp4": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + b"\0\0\4\0mdat" + bytes(99),
        "noise.mov": bytes(range(256)) * 20,
        "list.mkv": b"ffconcat version 1.0\nfile 'hands.avi'\n",  # it would show another file
        "list.mp4": b"#EXTM3U\n#EXTINF:9,\nhands.avi\n#EXT-X-ENDLIST\n",
    }
    for name, content in no_videos.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} cannot be read as a video"):
            predict_video(green_predictor(hand), tmp_path / name, tmp_path / "out")
    assert "@ 0x" not in capfd.readouterr().err  # FFmpeg has words of its own for some
    with pytest.raises(FileNotFoundError, match="no such video"):
        predict_video(green_predictor(hand), tmp_path / "b.mp4", tmp_path / "out")
    assert not any(tmp_path.glob("out/*.mp4"))
