"""Hands in photos, by a trained model that stays loaded."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from handlib.checkpoints import OTHER, WEIGHTS, load_checkpoint, read_json, weights_folder
from handlib.choices import check_predictor
from handlib.geometry import mirror_faces
from handlib.images import require_rgb
from handlib.inference.find import SURE, find_hands
from handlib.inference.fold import fold_norms
from handlib.inference.look import (
    EXPAND,
    assumed_camera,
    confidence,
    is_inside,
    look,
    probability,
)
from handlib.inference.photo import load_photo
from handlib.inference.result import HandPrediction
from handlib.mano import load_hand_model
from handlib.names import require_text
from handlib.paths import SHIPPED
from handlib.precision import fast_autocast
from handlib.reading import expecting

LEAST_FOCAL = 0.1  # of the photo's longer side: it would see 157 degrees
SMALLEST_BOX = 2  # px of its longer side


class Predictor:
    """A trained model for photos: hands in given boxes, or hands that it finds itself.

    Args:
        weights: a run (its name or folder) or a checkpoint; None: the weights that come with
            handlib.
        expand: side of the network's crop, in longer sides of a hand's box.
        views: how many views of a crop are averaged: itself, and slightly turned and scaled ones
            (test-time augmentation).
        refine: gradient steps that move each hand onto the places where the network found its
            joints, starting from what it said of the whole; None: as many as it usually takes.
        turns: sides from which unsure hands are looked at, 1 to 4; None: as it usually does.
        device: default a GPU where there is one.

    Raises:
        FileNotFoundError, ValueError: no checkpoint there, or of another hand model; a number that
            cannot be (see ``choices.OF_PREDICTOR``), or a device that is not there.
    """

    def __init__(self, weights=None, expand=EXPAND, views=1, refine=None, device=None, turns=None):
        check_predictor(refine, expand=expand, views=views)
        self.device = _checked_device(device)
        self.model = fold_norms(load_weights(weights))
        if turns is not None:
            self.model.config = replace(self.model.config, turns=turns)
            self.model.config.check()
        self.model.to(self.device)
        self.expand, self.views, self.refine = expand, views, refine

    def __call__(self, images, boxes, K=None, is_right=None):
        """Predict one hand in each of N images.

        Args:
            images: N arrays (H, W, 3) uint8 RGB; the same one for several hands in it, which then
                get one camera, known or assumed.
            boxes: (N, 4) x0, y0, x1, y1 px around the hands.
            K: of all photos, (3, 3) or (fx, fy, cx, cy) px; or a list of N of them, None where not
                known.
            is_right: of all hands, or N of them, each True, False or None where not known.

        Returns:
            list of N ``HandPrediction``.

        Raises:
            ValueError: boxes, K or images that are not what they should be; a side that is not
                known, for a model that does not tell it.
        """
        images = list(images)
        n = len(images)
        for image in images:
            _check_image(image)
        boxes = _checked_boxes(boxes, images)
        known = [checked_camera(k) for k in _each(K, n, _is_one_camera(K))]
        for image, k in zip(images, known, strict=True):
            _check_focal(k, image)
        sides = [_checked_side(side) for side in _each(is_right, n, np.ndim(is_right) == 0)]
        cameras = self._cameras(images, boxes, known)
        if not n:
            return []
        how = self.expand, self.views, self.refine
        with fast_autocast(self.device.type):
            seen = look(self.model, images, boxes, cameras, sides, *how)
        seen["confidence"] = confidence(seen)
        return [
            self._hand(seen, i, images[i], boxes[i], cameras[i], known[i] is not None)
            for i in range(n)
        ]

    def find(self, image, K=None, is_right=None, most=10, sure=SURE):
        """Hands in a photo, the surest first.

        Args:
            image: (H, W, 3) uint8 RGB. K: as of ``predict``. is_right: of all hands in it, or None.
            most: return so many at most. sure: and none of less confidence.

        Returns:
            list of ``HandPrediction``, empty where no hand is found.

        Raises:
            ValueError: an image, K, side, number or confidence that is not what it should be.
        """
        check_predictor(most=most, sure=sure)
        _check_image(image)
        K = checked_camera(K)
        _check_focal(K, image)
        with fast_autocast(self.device.type):
            return find_hands(self, image, K, _checked_side(is_right), most, sure)

    def _cameras(self, images, boxes, known):
        """The K of each photo: as known, else assumed by the largest hand in the photo."""
        reach = (boxes[:, 2:] - boxes[:, :2]).max(1)
        largest = {_photo(images[i]): i for i in np.argsort(reach)}
        of_photo = {
            photo: assumed_camera(images[i].shape[1::-1], boxes[i], self.expand)
            for photo, i in largest.items()
        }
        return [of_photo[_photo(images[i])] if k is None else k for i, k in enumerate(known)]

    def _hand(self, seen, n, image, box, K, K_known):
        row = {name: values[n] for name, values in seen.items()}
        faces = self.model.hand.faces
        is_right = bool(row["is_right"])
        return HandPrediction(
            joints=row["joints"] + row["root"],
            vertices=row["vertices"] + row["root"],
            joints_2d=row["joints_2d"],
            faces=faces if is_right else mirror_faces(faces),
            is_right=is_right,
            right_probability=float(probability(row["right"])) if "right" in row else None,
            box=box,
            K=K,
            K_known=K_known,
            confidence=None if np.isnan(row["confidence"]) else float(row["confidence"]),
            pose=row["pose"],
            betas=row["betas"],
            size=image.shape[1::-1],
            hand=self.model.hand.name,
        )


def load_weights(weights=None):
    """The ``HandNet`` of a run or checkpoint folder, or of the shipped weights.

    A model of the stand-in hand takes the stand-in, whatever ``MANO`` names.
    """
    folder = _folder(weights)
    with expecting(folder / "model.json", "not the description of a network", OTHER):
        trained = read_json(folder / "model.json")["hand"]["name"]
    hand = load_hand_model("" if trained == "stand-in hand" else None)
    model = load_checkpoint(folder, hand)
    # The loops that numba compiles pay off in trainings: a photo is not worth their start.
    model.layer.compiled = False
    return model


def _folder(weights):
    """The checkpoint of a run or checkpoint folder; of the shipped weights."""
    if weights is None and not (SHIPPED / "model.json").is_file():
        raise FileNotFoundError(
            f"no weights come with this copy of handlib ({SHIPPED}): give the folder of a trained "
            "run (handlib run 02_train -p handedness True makes one)"
        )
    if weights is None:
        return weights_folder("shipped")
    require_text("weights", str(weights))
    return weights_folder(weights)


def predict(image, box=None, K=None, is_right=None, weights=None):
    """The hand in a photo.

    Args:
        image: RGB array (H, W, 3) uint8 (grey and RGBA are taken too), or a path.
        box: x0, y0, x1, y1 px around the hand; None: the surest hand is found.
        K: (3, 3) intrinsics of the photo, or (fx, fy, cx, cy); None: they are assumed, and the
            hand's distance from the camera is a guess.
        is_right: whether it is a right hand; None: the network tells.
        weights: a run or checkpoint folder; None: the weights that come with handlib.

    Returns:
        ``HandPrediction``.

    Raises:
        FileNotFoundError, ValueError: no such photo or weights; a box or K that cannot be; no hand
            found.
    """
    photo, predictor = load_photo(image), loaded(weights)
    if box is not None:
        return _with_path(predictor([photo], [box], K, is_right), image)[0]
    hands = _with_path(predictor.find(photo, K, is_right, most=1), image)
    if not hands:
        raise ValueError(f"{_named(image)}: no hand found: give its box, or a closer photo")
    return hands[0]


def predict_all(image, K=None, is_right=None, weights=None):
    """All hands that are found in a photo, the surest first: see ``predict``; [] without any."""
    return _with_path(loaded(weights).find(load_photo(image), K, is_right), image)


def _with_path(hands, image):
    for hand in hands:
        hand.path = Path(image) if isinstance(image, str | Path) else None
    return hands


def _named(image):
    return image if isinstance(image, str | Path) else "this photo"


def loaded(weights=None):
    """A ``Predictor`` with its defaults, kept from call to call until its file changes."""
    return _loaded(weights, (_folder(weights) / WEIGHTS).stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _loaded(weights, changed):
    return Predictor(weights)


def _checked_device(device):
    """The ``torch.device`` of a name or None; ValueError where it is not here."""
    try:
        found = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=found)
    # As many kinds of error as torch has of devices.
    except (AssertionError, ImportError, RuntimeError, TypeError):
        raise ValueError(
            f"device={device!r}: no GPU or other device of this name that torch can use is here; "
            "give 'cpu'"
        ) from None
    return found


def _check_image(image):
    require_rgb(
        image, ": handlib.inference.load_photo reads files and makes grey or RGBA arrays RGB"
    )


def _photo(image):
    """What tells a photo from others: the memory that it shows. Of one photo there may be several
    arrays: each slice of it is a new one."""
    return image.ctypes.data, image.shape, image.strides


def _checked_boxes(boxes, images):
    """(N, 4) boxes of N images."""
    try:
        boxes = np.array([[float(v) for v in box] for box in boxes]).reshape(len(boxes), 4)
    except (TypeError, ValueError):
        raise ValueError(f"boxes are (x0, y0, x1, y1) in px, not {boxes!r}") from None
    if len(boxes) != len(images):
        raise ValueError(
            f"{len(images)} images but {len(boxes)} boxes: give one (x0, y0, x1, y1) for each"
        )
    for box, image in zip(boxes, images, strict=True):
        sides, (width, height) = box[2:] - box[:2], image.shape[1::-1]
        if not np.isfinite(box).all():
            raise ValueError(f"the box {tuple(box.tolist())} has numbers that are not finite")
        if not sides.min() > 0:
            raise ValueError(
                f"the box {tuple(box.tolist())} has no area: give x0, y0, x1, y1 px with x1 > x0, "
                "y1 > y0"
            )
        if sides.max() < SMALLEST_BOX:
            raise ValueError(
                f"the box {tuple(box.tolist())} is of less than {SMALLEST_BOX} px: no hand is seen "
                "so small; give x0, y0, x1, y1 in px"
            )
        if not is_inside(box, (width, height)):
            raise ValueError(
                f"the box {tuple(box.tolist())} lies outside of the photo of {width} x {height} px"
            )
    return boxes


def _checked_side(side):
    """A bool or None, of Python or numpy."""
    side = side.item() if isinstance(side, np.generic | np.ndarray) and side.size == 1 else side
    if side is None or isinstance(side, bool):
        return side
    raise ValueError(f"is_right is True, False, or None where nobody knows; not {side!r}")


def _is_one_camera(K):
    """Whether K is that of all photos: not a list of one for each."""
    if isinstance(K, np.ndarray):
        return K.ndim <= 2 and K.shape[1:] != (4,)
    # A mere number is refused as one camera is: by ``checked_camera``.
    return not np.iterable(K) or not any(k is None or np.shape(k) in ((3, 3), (4,)) for k in K)


def _check_focal(K, image):
    """ValueError for intrinsics (3, 3) that see far more than any lens does; None is fine."""
    longer = max(image.shape[:2])
    if K is not None and max(K[0, 0], K[1, 1]) < LEAST_FOCAL * longer:
        raise ValueError(
            f"K says a focal length of {max(K[0, 0], K[1, 1]):.3g} px, for a photo of {longer} px: "
            "give it in px of this photo (times its size, where it is a share of that)"
        )


def checked_camera(K):
    """K as a (3, 3) array, of such a one or (fx, fy, cx, cy); None stays None."""
    if K is None:
        return None
    try:
        K = np.asarray(K, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"K is a (3, 3) matrix in px, or (fx, fy, cx, cy); got {K!r}") from None
    if K.shape == (4,):
        fx, fy, cx, cy = K
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    if K.shape == (3, 3) and K[2, 2] > 0:
        K = K / K[2, 2]
    if K.shape != (3, 3) or not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
        raise ValueError(
            "K is a (3, 3) matrix of finite intrinsics in px, or (fx, fy, cx, cy), with positive "
            f"focal lengths; got {K.tolist()}"
        )
    if np.abs([*(K[2] - (0, 0, 1)), K[1, 0]]).max() > 1e-6:
        raise ValueError(
            f"K is [[fx, skew, cx], [0, fy, cy], [0, 0, 1]]; got {K.tolist()}: is it transposed?"
        )
    return K


def _each(value, n, is_one):
    """One value for each of n: ``value`` itself for all of them where it is one, or None."""
    if value is None or is_one:
        return [value] * n
    values = list(value)
    if len(values) != n:
        raise ValueError(f"{n} images but {len(values)} values for them")
    return values
