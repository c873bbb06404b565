"""Hands in videos: found once, followed from frame to frame, smoothed in time."""

import json
from dataclasses import replace
from itertools import compress
from time import perf_counter

import cv2
import numpy as np

from handlib.choices import check_predictor
from handlib.geometry import box_overlap, inverse, project, tight_box
from handlib.inference.film import Film
from handlib.inference.find import SMALLEST, SURE, next_box
from handlib.inference.frames import Frames
from handlib.inference.look import is_inside
from handlib.inference.paint import overlay
from handlib.inference.posed import posed_hands, right_rotations
from handlib.paths import atomic_write

MOST = 2  # hands that are followed where nobody says how many
LOOK_AGAIN = 15  # frames between searches for hands that nobody follows yet
ONE_HAND = 0.6  # overlap above which two tracks follow the same hand
SAME = 0.2  # overlap below which a hand that is found is a new one
SURE_SIDE = 3.0  # log-odds from which a hand's side is no longer asked for
GIVE_UP = 5  # frames in a row without a sure hand
KEPT = 0.7  # of the confidence that a new hand needs, one that is followed needs


class OneEuro:
    """The one-euro filter (Casiez et al., CHI 2012) on arrays: a low-pass filter whose cut-off
    grows with speed, so that a still hand does not tremble and a fast one does not lag.

    Args:
        still: cut-off of a value that does not move, Hz.
        speed: by how much the cut-off grows, Hz per unit of the value per second.
    """

    def __init__(self, still=1.5, speed=20.0, of_speed=1.0):
        self.still, self.speed, self.of_speed = still, speed, of_speed
        self.value = self.slope = None

    def __call__(self, value, seconds):
        """The smoothed value, ``seconds`` after the last one."""
        value = np.asarray(value, float)
        if self.value is None:
            self.value, self.slope = value, np.zeros_like(value)
            return value
        slope = (value - self.value) / seconds
        self.slope = self.slope + _share(self.of_speed, seconds) * (slope - self.slope)
        # All coordinates of a point share its speed: axes must not lag by different times.
        moving = np.linalg.norm(self.slope, axis=-1, keepdims=True)
        share = _share(self.still + self.speed * moving, seconds)
        self.value = self.value + share * (value - self.value)
        return self.value


def _share(cutoff, seconds):
    """Of a new value in the smoothed one, of a low-pass filter with a cut-off in Hz."""
    turns = 2 * np.pi * cutoff * seconds
    return turns / (turns + 1)


class Smooth:
    """Predictions of one hand, filtered in time: its rotations, its shape and its place, of which
    the hand is made again, so that pose, mesh, joints and their pixels are of one hand.

    Args:
        layer: ``HandLayer`` of the right hand.
    """

    def __init__(self, layer):
        self.layer = layer
        # Cut-offs grow with the speed of the joints: about a tenth of a metre from where they turn
        # (a turn of an angle changes its matrix by sqrt(2) times that).
        self._turns = OneEuro(speed=1.4)
        self._shape = OneEuro(still=0.5, speed=0.0)  # one hand's does not change
        # In the picture and in depth apart: what is not sure of depth shall not shake the picture.
        self._place, self._depth = OneEuro(), OneEuro()

    def __call__(self, hand, seconds):
        """The smoothed ``HandPrediction``, ``seconds`` after the last one."""
        side, width = np.array([hand.is_right]), max(hand.size)
        rotations = right_rotations(self.layer, hand.pose[None], side)
        turns = self._turns(rotations.reshape(1, 16, 9), seconds).reshape(1, 16, 3, 3)
        betas = self._shape(hand.betas, seconds)
        made = posed_hands(self.layer, turns, betas[None], side)
        # In widths, so that speeds are those of a hand's place, not of its pixels.
        place = width * self._place(project(hand.root[None], hand.K)[0] / width, seconds)
        root = self._depth(hand.root[2:], seconds) * inverse(hand.K) @ [*place, 1]
        joints = made["joints"][0] + root
        joints_2d = project(joints, hand.K)
        return replace(
            hand,
            joints=joints,
            vertices=made["vertices"][0] + root,
            joints_2d=joints_2d,
            box=tight_box(joints_2d),
            pose=made["pose"][0],
            betas=betas,
        )


class Track:
    """One hand that is followed.

    Args:
        number: its own. hand: its first prediction. time: of that, seconds. layer: ``HandLayer`` of
            the right hand. sure: confidence that it needed.

    Attributes:
        hand: its last prediction. smoothed: the same, filtered in time. lost: frames in a row in
        which the network was not sure of it.
    """

    def __init__(self, number, hand, time, layer, sure=SURE):
        self.number, self.time, self.layer, self.sure = number, time, layer, sure
        self.hand, self.log_odds, self.lost = None, 0.0, 0
        self.add(hand, time)

    def add(self, hand, time):
        """Take the hand of the next frame, at ``time`` in seconds."""
        seconds, self.time = time - self.time, time
        if self.hand is None or hand.is_right != self.hand.is_right:
            self._smooth = Smooth(self.layer)
        if hand.right_probability is not None:
            p = np.clip(hand.right_probability, 1e-3, 1 - 1e-3)
            # What many frames say of the side together; old ones fade.
            self.log_odds = 0.9 * self.log_odds + np.log(p / (1 - p))
        self.lost = self.lost + 1 if (hand.confidence or 0) < KEPT * self.sure else 0
        self.hand, self.smoothed = hand, self._smooth(hand, seconds)

    @property
    def side(self):
        """Whether it is a right hand, once that is sure; None before."""
        return bool(self.log_odds > 0) if abs(self.log_odds) > SURE_SIDE else None


class Tracker:
    """Follows the hands of a video.

    Args:
        predictor: ``Predictor``. K, is_right: as of ``predict``.
        most: hands that are followed at a time. sure: confidence that a new one needs.
        box: (4,) px around the one hand that is followed, in the first frame; None: the hands are
            found. A hand that is lost is looked for in any case.

    Raises:
        ValueError: a number of hands or a confidence that cannot be.
    """

    def __init__(self, predictor, K=None, is_right=None, most=MOST, sure=SURE, box=None):
        check_predictor(most=most, sure=sure)
        self.predictor, self.is_right = predictor, is_right
        self.most, self.sure, self.box = most if box is None else 1, sure, box
        self.K, self.K_known = K, K is not None
        self.tracks, self.frame, self.seen = [], 0, 0

    def __call__(self, image, time):
        """The hands in the next frame (H, W, 3), at ``time`` in seconds: list of ``Track``."""
        self._follow(image, time)
        if self.box is not None and not self.frame:
            self._start(*self.predictor([image], [self.box], self.K, self.is_right), time)
        if len(self.tracks) < self.most and self.frame % (LOOK_AGAIN if self.tracks else 3) == 0:
            self._search(image, time)
        self.frame += 1
        return self.tracks

    def _follow(self, image, time):
        if not self.tracks:
            return
        boxes = [next_box(track.hand) for track in self.tracks]
        there = [is_inside(box, image.shape[1::-1]) for box in boxes]
        self.tracks, boxes = (list(compress(of, there)) for of in (self.tracks, boxes))
        sides = [t.side if self.is_right is None else self.is_right for t in self.tracks]
        hands = self.predictor([image] * len(boxes), boxes, self.K, sides)
        for track, hand in zip(self.tracks, hands, strict=True):
            track.add(replace(hand, K_known=self.K_known), time)
        sure = sorted(self.tracks, key=lambda t: -(t.hand.confidence or 0))
        self.tracks = []
        for track in sure:
            boxes = [tight_box(t.hand.joints_2d) for t in (track, *self.tracks)]
            alone = all(box_overlap(boxes[0], other) < ONE_HAND for other in boxes[1:])
            large = (boxes[0][2:] - boxes[0][:2]).max() >= SMALLEST
            if alone and track.lost < GIVE_UP and large:
                self.tracks.append(track)

    def _search(self, image, time):
        for hand in self.predictor.find(image, self.K, self.is_right, self.most, self.sure):
            taken = [tight_box(track.hand.joints_2d) for track in self.tracks]
            new = all(box_overlap(hand.box, box) < SAME for box in taken)
            if new and len(self.tracks) < self.most:
                self._start(hand, time)

    def _start(self, hand, time):
        """Follow a hand from now on."""
        self.K = hand.K if self.K is None else self.K
        self.seen += 1
        hand, layer = replace(hand, K_known=self.K_known), self.predictor.model.layer
        self.tracks.append(Track(self.seen, hand, time, layer, self.sure))


def predict_video(predictor, path, out, stem=None, **options):
    """Follow the hands of a video; write ``<stem>.mp4`` with them and ``<stem>.jsonl``.

    Args:
        predictor: ``Predictor``; path: the video; out: folder; stem: of the files' names, default
            the video's; options: of ``Tracker``.

    Returns:
        A sentence about it.

    Raises:
        FileNotFoundError, ValueError: no such file, not a video that OpenCV reads, or no hand.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such video")
    frames = Frames(path)
    tracker, counts, start = Tracker(predictor, **options), [], perf_counter()
    stem = path.stem if stem is None else stem
    with (
        atomic_write(out / f"{stem}.mp4") as pictures,
        Film(pictures, frames.rate) as film,
        atomic_write(out / f"{stem}.jsonl") as table,
        table.open("w") as lines,
    ):
        for number, time, frame in frames:
            tracks = tracker(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), time)
            counts.append(len(tracks))
            lines.write(json.dumps(_line(number, time, tracks)) + "\n")
            film.add(overlay(frame[..., ::-1], [track.smoothed for track in tracks]), time)
        if not counts:
            raise ValueError(
                f"{path} cannot be read as a video: convert it to MP4 (H.264), or give its frames"
            )
        found = sum(count > 0 for count in counts)
        if not found:
            raise ValueError(
                f"{path}: no hand found in any of its {len(counts)} frames{frames.fault()}"
            )
    speed = len(counts) / (perf_counter() - start)
    return (
        f"{path}: a hand in {found} of {len(counts)} frames, at most {max(counts)} at once "
        f"({speed:.0f} frames/s){frames.fault()}"
        + ("" if tracker.K_known else "; depth is a guess without --K")
    )


def _line(frame, time, tracks):
    """What is known of one frame, as JSON: smoothed, without vertices."""
    hands = []
    for track in tracks:
        values = track.smoothed.as_dict()
        for name in ("joint_names", "units", "photo", "width", "height"):
            del values[name]
        hands.append({"track": track.number} | values)
    return {"frame": frame, "time": round(time, 4), "hands": hands}
