"""The frames of a video file, past those that cannot be read."""

import os

import cv2
import numpy as np

# What FFmpeg writes of a broken file, a line for each fault of its bytes, is told in one sentence.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "8")  # FATAL; read when a video is first opened
SLOWEST = 1 / 3600  # frames a second of a time-lapse
PATIENCE = 1000  # unreadable frames in a row after which a video has ended, whatever it counts


class Frames:
    """The frames of a video that can be read, in order: an iterator of (number, seconds, frame):
    numbers from 0 on as in the file; seconds since its start, which grow; frames (H, W, 3) uint8
    BGR.

    Args:
        path: of the video.

    Attributes:
        rate: frames per second, 30 where the file tells none that can be. lost: frames that could
            not be read, before others. missing: frames after the last one that could be read, by
            the header's count. Both are complete when the iterator has ended.
    """

    def __init__(self, path):
        with path.open("rb") as file:
            is_list = file.read(8) == b"ffconcat"  # of other files, which would be shown
        self._video = cv2.VideoCapture() if is_list else cv2.VideoCapture(str(path))
        rate = self._video.get(cv2.CAP_PROP_FPS)
        self.rate = rate if np.isfinite(rate) and SLOWEST <= rate <= 1000 else 30.0
        self.lost = self.missing = 0

    def __iter__(self):
        count = self._video.get(cv2.CAP_PROP_FRAME_COUNT)  # 0 or below where nobody knows
        number = failed = 0
        before = -1, -1 / self.rate  # number and time of the last frame that was there
        while failed < PATIENCE:
            there, frame = self._video.read()
            if there:
                self.lost, failed = self.lost + failed, 0
                before = number, self._time(number, *before)
                yield *before, frame
            elif number >= count:
                break
            else:  # OpenCV is past it: the next read is of the next frame
                failed += 1
            number += 1
        self.missing = max(0, int(count) - (number - failed))
        self._video.release()

    def _time(self, number, last, time):
        """Seconds of the frame just read, as the file tells (a phone's frames are not evenly
        spaced); else by the rate, from the last one and its time on."""
        told = self._video.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return told if time < told < np.inf else time + (number - last) / self.rate

    def fault(self):
        """What could not be read, as the end of a sentence; empty where all could."""
        lost = f"; {self.lost} frames could not be read" if self.lost else ""
        if not self.missing:
            return lost
        return f"{lost}; the last {self.missing} that its header counts could not be read"
