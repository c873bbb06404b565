"""What is predicted of one hand in a photo, and its files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handlib.joints import JOINT_NAMES, ROOT
from handlib.paths import make_folder, write_json
from handlib.plots.colors import SKIN, rgb


@dataclass
class HandPrediction:
    """A hand in a photo. Metres and pixels; camera frame: x right, y down, z forward."""

    joints: np.ndarray
    """(21, 3) metres, in front of the camera of ``K``; FreiHAND's order."""
    vertices: np.ndarray
    """(778, 3) metres, as ``joints``."""
    joints_2d: np.ndarray
    """(21, 2) px of the photo."""
    faces: np.ndarray
    """(1538, 3) of ``vertices``; of a left hand where it is one."""
    is_right: bool
    """Whether it is a right hand: as given, else as the network says."""
    right_probability: float | None
    """That it is a right hand, by the network; None where it does not tell."""
    box: np.ndarray
    """(4,) x0, y0, x1, y1 px: as given, else where the hand was found."""
    K: np.ndarray
    """(3, 3) intrinsics of the photo that were used."""
    K_known: bool
    """Whether ``K`` was given. With an assumed one the distance from the camera is a guess; the
    hand's direction, shape and pose hardly depend on it."""
    confidence: float | None
    """How sure the network is, 0 to 1: the probability that the crop shows a hand at all, times
    the share of the joints' heatmaps that lies near where the joints were found; of a hand that was
    found without a box, times what its box shares with that of its joints. None for a network that
    gives neither."""
    pose: np.ndarray
    """(48,) axis-angle of the hand model of this side: whole hand, fingers relative to its mean."""
    betas: np.ndarray
    """(10,) shape."""
    size: tuple
    """(width, height) of the photo, px."""
    hand: str
    """Name of the hand model."""
    path: Path | None = None
    """The photo's file, where it came from one."""

    @property
    def root(self):
        """(3,) metres: the middle knuckle, ``joints.ROOT``."""
        return self.joints[ROOT]

    @property
    def side(self):
        return "right" if self.is_right else "left"

    def as_dict(self):
        """Plain values that JSON knows; all but vertices and faces, which the mesh file has."""
        values = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
            if name not in ("vertices", "faces", "path", "size")
        }
        width, height = self.size
        photo = None if self.path is None else str(self.path)
        units = "metres and pixels; camera frame x right, y down, z forward"
        about = {"photo": photo, "width": width, "height": height, "units": units}
        return about | {"joint_names": list(JOINT_NAMES)} | values

    def save(self, folder, name="hand"):
        """Write ``<name>.json`` and ``<name>.obj`` (metres, camera frame) into ``folder``.

        Returns:
            Paths of the two.

        Raises:
            OSError: the folder cannot be made.
        """
        folder = make_folder(Path(folder).expanduser())
        plain = folder / f"{name}.json"
        write_json(plain, self.as_dict())
        return [plain, write_obj(folder / f"{name}.obj", [self])]


def write_obj(path, hands):
    """Write the meshes of hands into one OBJ file, metres, camera frame; returns the path."""
    from handlib.plots.meshfiles import write_mesh

    paint = np.broadcast_to(np.array(rgb(SKIN)) / 255, (len(hands[0].vertices), 3))
    write_mesh(
        path, [(f"{h.side}_hand_{n}", h.vertices, h.faces, paint) for n, h in enumerate(hands)]
    )
    return path
