"""Pictures of predictions by OpenCV alone: what is drawn on a photo must not cost seconds to start.

``handlib.plots`` makes the figures of notebooks; here a hand is painted triangle by triangle, the
farthest first.
"""

import cv2
import numpy as np

from handlib.geometry import project
from handlib.joints import FINGER_JOINTS, JOINT_COLORS, WRIST
from handlib.plots.colors import SKIN, rgb

LIGHT = np.array([-0.35, -0.45, -0.82])
INSIDE = 0.4  # of its colour, what is seen of a hand from the inside
SHIFT = 4  # OpenCV draws at 1/16 px
CELL = 480  # px of the pictures beside each other, at least
WIDEST = 4000  # px to which a strip is enlarged at most
WHITE, DARK = (255, 255, 255), (40, 40, 40)


def overlay(photo, hands, numbered=False):
    """The photo (H, W, 3) with the skeletons and boxes of hands on it, and their numbers."""
    picture = photo.copy()
    for number, hand in enumerate(hands, 1):
        width, height = photo.shape[1::-1]
        beyond = np.array([width, height] * 2)  # of what OpenCV can draw, a box may be
        x0, y0, x1, y1 = hand.box.clip(-beyond, 2 * beyond).round().astype(int).tolist()
        line = max(1, round(max(photo.shape) / 400))
        cv2.rectangle(picture, (x0, y0), (x1, y1), WHITE, line + 1, cv2.LINE_AA)
        cv2.rectangle(picture, (x0, y0), (x1, y1), DARK, max(1, line // 2), cv2.LINE_AA)
        skeleton(picture, hand.joints_2d, np.ptp(hand.joints_2d, 0).max())
        if numbered:
            _write_number(picture, number, np.clip((x0, y0), 0, (width, height)), line)
    return picture


def _write_number(picture, number, corner, line):
    """A number on white, in place, for a box whose upper left corner is (2,) px; ``line`` is its
    thickness."""
    x, y = (int(v) for v in corner)
    high = 14 * line
    cv2.rectangle(picture, (x, y), (x + high, y + high), WHITE, -1)
    place, size = (x + high // 4, y + high - high // 5), high / 30
    cv2.putText(picture, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, size, DARK, 1, cv2.LINE_AA)


def skeleton(picture, joints_2d, length):
    """Draw bones in their fingers' colours, in place, as thick as fits a hand of ``length`` px."""
    width = max(1, round(length / 70))
    for color_border in (True, False):
        for chain in FINGER_JOINTS.values():
            color = WHITE if color_border else rgb(JOINT_COLORS[chain[0]])
            points = _fixed(joints_2d[[WRIST, *chain]])
            thick = width + 2 * max(1, width // 2) if color_border else width
            cv2.polylines(picture, [points], False, color, thick, cv2.LINE_AA, SHIFT)
    for joint, point in enumerate(joints_2d):
        center = tuple(int(v) for v in _fixed(point))
        radius = max(1, round(1.2 * width)) << SHIFT
        cv2.circle(picture, center, radius, rgb(JOINT_COLORS[joint]), -1, cv2.LINE_AA, SHIFT)


def mesh(picture, vertices, faces, K, opacity=1.0):
    """The picture (H, W, 3) with a shaded mesh, (V, 3) metres before the camera K, on it."""
    seen = vertices[:, 2] > 1e-3
    points = _fixed(project(np.where(seen[:, None], vertices, 1.0), K))
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    shade = 0.45 + 0.55 * np.clip(normals @ LIGHT, 0, 1)
    # Through the open wrist faces are seen from behind; they lie behind all others.
    inside = np.einsum("fc,fc->f", normals, corners.mean(1)) > 0
    shade[inside] = INSIDE
    painted, skin = picture.copy(), np.array(rgb(SKIN))
    order = np.lexsort([-corners[:, :, 2].mean(1), ~inside])
    for face in order[seen[faces].all(1)[order]]:
        color = tuple(float(c) for c in skin * shade[face])
        cv2.fillConvexPoly(painted, points[faces[face]], color, cv2.LINE_AA, SHIFT)
    return cv2.addWeighted(painted, opacity, picture, 1 - opacity, 0)


def sheet(photo, hands):
    """Photo with skeletons, the surest hand's mesh on it and from its right, beside each other.

    Args:
        photo: (H, W, 3) uint8; hands: list of ``HandPrediction``, or [] for the photo alone.

    Returns:
        (H', W', 3) uint8.
    """
    height, width = photo.shape[:2]
    if height < CELL:
        scale = min(CELL / height, max(1.0, WIDEST / width))
    else:
        scale = min(1.0, 1080 / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    large = cv2.resize(photo, size, interpolation=method)
    fit = np.array([[scale, 0, 0.5 * scale - 0.5], [0, scale, 0.5 * scale - 0.5], [0, 0, 1]])
    moved = [_resized(hand, fit) for hand in hands]
    parts = [overlay(large, moved, numbered=len(hands) > 1)]
    if hands:
        solid = large
        for hand in sorted(moved, key=lambda h: -h.root[2]):
            solid = mesh(solid, hand.vertices, hand.faces, hand.K, 0.9)
        name = "hand 1, " if len(hands) > 1 else ""
        parts += [solid, side_view(hands[0], size[1], name)]
    gap = np.full((size[1], 6, 3), 255, np.uint8)
    joined = [piece for part in parts for piece in (gap, part)][1:]
    return np.concatenate(joined, 1)


def side_view(hand, side, name=""):
    """The mesh and bones of a hand from its right, as the camera is on the left of the picture."""
    picture = np.full((side, side, 3), 246, np.uint8)
    centre = (hand.vertices.min(0) + hand.vertices.max(0)) / 2
    turn = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # depth goes to the right
    reach = np.abs(hand.vertices - centre).max()
    away = np.array([0, 0, 12 * reach])
    focal = 0.42 * side * 12
    K = np.array([[focal, 0, (side - 1) / 2], [0, focal, (side - 1) / 2], [0, 0, 1]])
    vertices = (hand.vertices - centre) @ turn.T + away
    picture = mesh(picture, vertices, hand.faces, K)
    joints_2d = project((hand.joints - centre) @ turn.T + away, K)
    skeleton(picture, joints_2d, np.ptp(joints_2d, 0).max())
    guess = "" if hand.K_known else " (a guess)"
    text = f"{name}from the right; camera {hand.root[2]:.2f} m to the left{guess}"
    cv2.putText(picture, text, (8, side - 10), cv2.FONT_HERSHEY_SIMPLEX, side / 1100, DARK, 1,
                cv2.LINE_AA)  # fmt: skip
    return picture


def write_picture(path, picture):
    """Write RGB (H, W, 3) uint8 as the path's suffix says."""
    from handlib.paths import atomic_write

    ok, content = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not ok:
        raise ValueError(f"{path}: this kind of picture cannot be written; use .png or .jpg")
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.tobytes())
    return path


def _resized(hand, fit):
    """A hand in the pixels of a photo that was resized by the affine ``fit`` (3, 3)."""
    from dataclasses import replace

    corners = hand.box.reshape(2, 2) * fit[0, 0] + fit[:2, 2]
    joints_2d = hand.joints_2d * fit[0, 0] + fit[:2, 2]
    return replace(hand, joints_2d=joints_2d, box=corners.ravel(), K=fit @ hand.K)


def _fixed(points):
    return np.round(points * (1 << SHIFT)).clip(-(2**28), 2**28).astype(np.int32)
