"""Films that browsers, notebooks and players show: H.264 in an MP4."""

from contextlib import suppress
from fractions import Fraction

import numpy as np

TICKS = 90_000  # of the film's clock, a second
# A fifth of the size of what OpenCV writes, in little of the time that it takes to find hands.
_HOW = {"preset": "veryfast", "crf": "20"}
# sRGB, in luma and chroma by BT.601, 16 to 235: numbers of H.273. Browsers take others for large
# films that do not say so.
_COLORS = {"color_primaries": 1, "color_trc": 13, "colorspace": 6, "color_range": 1}


class Film:
    """Pictures, each shown from its own time on; nothing is written without one.

    Args:
        path: of the file.
        rate: of most pictures, a second.
    """

    def __init__(self, path, rate):
        self._path, self._rate = path, rate
        self._file = self._stream = None

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if self._file is None:
            return
        if error is None:
            self._file.mux(self._stream.encode(None))
            self._file.close()
        else:
            with suppress(Exception):  # the first one counts
                self._file.close()

    def add(self, picture, time):
        """Show a picture (H, W, 3) uint8 RGB from ``time`` on, seconds; later than the last one.

        Raises:
            ValueError: H.264 takes no pictures of that size.
        """
        from av import VideoFrame
        from av.error import ExternalError

        height, width = picture.shape[:2]  # even, as colours have half of the resolution
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts, frame.time_base = round(time * TICKS), Fraction(1, TICKS)
        if self._file is None:
            self._open(frame.width, frame.height)
            frame.pts = 0  # it stands for those before, too
        try:
            self._file.mux(self._stream.encode(frame))
        except ExternalError:
            raise ValueError(
                f"a film of {width} x {height} px cannot be written: make the video smaller"
            ) from None

    def _open(self, width, height):
        import av

        self._file = av.open(str(self._path), "w", "mp4", options={"movflags": "faststart"})
        rate = Fraction(self._rate).limit_denominator(1001)
        self._stream = self._file.add_stream("libx264", rate, options=_HOW)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuv420p"  # what all players know
        context = self._stream.codec_context
        context.time_base = Fraction(1, TICKS)
        for name, value in _COLORS.items():
            setattr(context, name, value)
