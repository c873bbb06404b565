"""What readers of images with one or two annotated hands and a known camera share.

One sample per hand: an image of both hands gives two. Left hands are left (``is_right`` False); the
transform ``ToRight`` mirrors them. Joints are the dataset's own: named as FreiHAND's, but placed by
other people, millimetres off.
"""

import numpy as np

from handlib import geometry
from handlib.data.reader import SplitReader
from handlib.data.sample import Sample
from handlib.data.usable import HOW, read_pictures

SIDES = ("right", "left")


def side_of(word):
    """True for "right", False for "left", however written; None for any other word, or none."""
    return {"right": True, "left": False}.get(str(word).lower())


class HandReader(SplitReader):
    """One split of a dataset, as samples. Subclasses fill the attributes and the hooks below.

    Args:
        root: the dataset folder. split: which part of it.
        skip_bad: leave out the samples that cannot be used (image missing or broken, numbers
            missing, no camera), and print which; reads every image once.

    Attributes:
        source: name for figures and tables. ids: (N,) image of each hand; both hands of an image
        share it. is_right: (N,) bool. widths: (N,) of the images, px. complete: (N,) bool, hands
        whose 21 joints are all known. usable: (N,) bool, hands whose numbers are all there. also:
        names of further annotations.

    Raises:
        FileNotFoundError: an annotation file or an image is not there.
        ValueError: an unknown split, files that are not what they should be, or, unless
            ``skip_bad``, a hand that cannot be used.
    """

    also = ()
    per_sample = ("ids", "is_right", "widths", "complete", "usable")

    def __init__(self, root, split="train", skip_bad=False):
        super().__init__(root, split)
        self._open()
        if skip_bad:
            self.leave_out_unusable()
        elif not self.usable.all():
            self._refuse(int(np.argmin(self.usable)))

    def describe(self):
        """What this is, for a table: dict of plain values."""
        parts = int((~self.complete).sum())
        return super().describe() | {
            "images": len(np.unique(self.ids)),
            "left hands": int((~self.is_right).sum()),
            **({"hands with an unknown joint (the others count)": parts} if parts else {}),
            "annotations": ["K", "xyz", *self.also],
        }

    def __getitem__(self, index):
        """Sample number ``index``; its image is read now. Joints that are not known are NaN."""
        row = self.row(index)
        self._refuse(row)
        K, joints, path = self._K([row])[0], self._joints([row])[0], self._path(row)
        image, mask = read_pictures(path, self._mask_path(row))
        joints_2d = geometry.project(joints, K)
        return Sample(
            image=image,
            id=int(self.ids[row]),
            source=self.source,
            path=path,
            is_right=bool(self.is_right[row]),
            K=K,
            joints=joints,
            joints_2d=joints_2d,
            box=geometry.tight_box(joints_2d),
            mask=None if mask is None else self._of_hand(mask, row),
            **self._more(row),
        )

    def path(self, index):
        """The image file of sample number ``index``."""
        return self._path(self.row(index))

    def annotation(self, name, whole=True):
        """One annotation of every hand, without reading images.

        As a network sees them: left hands, and their cameras, are mirrored.

        Args:
            name: "K" or "xyz".
            whole: leave out the hands that have an unknown joint.

        Returns:
            (n, 3, 3) or (n, 21, 3) metres, float64; None for any other name.
        """
        if name not in ("K", "xyz"):
            return None
        rows = self.annotated if whole else np.arange(len(self.complete))
        left = ~self.is_right[rows]
        if name == "xyz":
            joints = self._joints(rows)
            joints[left] = geometry.mirror_points(joints[left])
            return joints
        K = self._K(rows)
        K[left, 0, 2] = self.widths[rows][left] - 1 - K[left, 0, 2]
        return K

    @property
    def annotated(self):
        """(n,) which samples the rows of ``annotation`` belong to: the whole hands."""
        return np.flatnonzero(self.complete)

    def looks(self, unique):
        """Samples of the image with this id: one hand, or both."""
        return [self[int(i)] for i in np.flatnonzero(self.ids == unique)]

    def _refuse(self, row):
        """ValueError for a hand that cannot be used."""
        if not self.usable[row]:
            side, count = SIDES[int(not self.is_right[row])], int((~self.usable).sum())
            more = f" (one of {count})" if count > 1 else ""
            raise ValueError(
                f"{self._file}: the {side} hand of image {self.ids[row]}{more} holds numbers that "
                "are missing (NaN) or infinite, its camera is none, or it lies behind it: extract "
                f"it again, {HOW}"
            )

    def _open(self):
        """Fill the attributes, and ``_file``, the path of the annotations."""
        raise NotImplementedError

    def _path(self, row):
        """The image of a hand."""
        raise NotImplementedError

    def _mask_path(self, row):
        """The image's mask; without one, None."""

    def _of_hand(self, mask, row):
        """(H, W) bool: this hand's part of the image's mask."""
        raise NotImplementedError

    def _joints(self, rows):
        """(n, 21, 3) float64 metres, camera frame, FreiHAND's order, NaN where not known."""
        raise NotImplementedError

    def _K(self, rows):
        """(n, 3, 3) float64."""
        raise NotImplementedError

    def _more(self, row):
        """Further fields of the Sample."""
        return {}


def intrinsics(focal, principal):
    """(N, 3, 3) float64 of focal lengths and principal points (N, 2), px."""
    K = np.tile(np.eye(3), (len(focal), 1, 1))
    K[:, [0, 1], [0, 1]] = focal
    K[:, :2, 2] = principal
    return K
