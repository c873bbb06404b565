"""Where the hands in a photo are: a scan with the network itself, then closer looks."""

from dataclasses import replace

import numpy as np

from handlib.augment.base import warp_image
from handlib.geometry import box_overlap, resize_affine, tight_box, transform_points
from handlib.inference.look import UNSURE, assumed_camera, glance, is_inside, probability

# Sides of the crops of the scan, in shorter sides of the photo; a hand takes half of its crop.
# The second group is for small hands: it is looked through where the first shows none.
SIDES = (1.6, 1.1, 0.76, 0.52, 0.36), (0.25,)
STRIDE = 0.5  # from crop to crop, in their sides
ROUNDS = 2  # times that a box becomes that of the predicted joints
CANDIDATES = 12  # that are looked at closer
OVERLAP = 0.3  # two boxes that share so much (intersection over union) are one hand
SURE = 0.55  # confidence below which there is no hand
MAYBE = 1 / 3  # of that a crop of the scan needs to be worth a closer look
SMALLEST = 8  # px of a hand's box
CHANGE = 1.6  # most that a box grows or shrinks from one look to the next


def find_hands(predictor, image, K=None, is_right=None, most=10, sure=SURE):
    """Hands in a photo, the surest first; see ``Predictor.find``."""
    for shares in SIDES:
        boxes = scan(predictor, image, shares, MAYBE * sure)
        seen = _closer(predictor, image, boxes, K, is_right)
        hands = [hand for hand in seen if hand.confidence >= sure]
        if hands:
            break
    hands = sorted(hands, key=lambda hand: hand.confidence, reverse=True)[:most]
    return hands if K is not None else _of_one_camera(predictor, image, hands)


def _of_one_camera(predictor, image, hands):
    """Hands of one photo, seen again where different cameras were assumed for them."""
    if len({float(hand.K[0, 0]) for hand in hands}) < 2:
        return hands
    boxes, sides = [hand.box for hand in hands], [hand.is_right for hand in hands]
    again = predictor([image] * len(hands), boxes, None, sides)
    told = ("confidence", "right_probability")  # with the other side in view
    return [replace(new, **{name: getattr(old, name) for name in told})
            for new, old in zip(again, hands, strict=True)]  # fmt: skip


def scan(predictor, image, shares, least):
    """Boxes (N, 4) px where a hand may be, of crops of some sizes all over a photo: the surest
    ones, whose confidence is not less than ``least``."""
    height, width = image.shape[:2]
    size, expand = predictor.model.config.input_size, predictor.expand
    # So small that the smallest crops are seen pixel by pixel: a large photo is resized once.
    scale = min(1.0, size / (shares[-1] * _extent((width, height))))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    affine = resize_affine((width, height), small)
    windows = crops(small, expand, shares)
    images = [warp_image(image, affine, small)] * len(windows)
    joints_2d, sure = glance(predictor.model, images, windows, expand)
    if np.isnan(sure).all():
        raise ValueError(
            "this network does not tell whether there is a hand, so it finds none: give boxes"
        )
    sure = np.nan_to_num(sure)
    joints_2d = transform_points(np.linalg.inv(affine), joints_2d)
    boxes = np.array([tight_box(points) for points in joints_2d])
    kept = [i for i in distinct(boxes, sure, (width, height)) if sure[i] >= least]
    return boxes[kept][:CANDIDATES]


def _closer(predictor, image, boxes, K, is_right):
    """The hands in boxes (N, 4), after each box has become that of its joints."""
    sides = [is_right] * len(boxes)
    for _ in range(ROUNDS):
        hands = _looks(predictor, image, boxes, K, sides)
        found = np.array([next_box(hand) for hand in hands]).reshape(-1, 4)
        kept = distinct(found, [hand.confidence for hand in hands], image.shape[1::-1])
        boxes, sides = found[kept], [_side(hands[i], is_right) for i in kept]
    return _looks(predictor, image, boxes, K, sides)


def next_box(hand):
    """(4,) around the joints of a hand, where the next look at it is: neither much smaller nor
    much larger than the box of this one, so that one bad look is not the start of a spiral."""
    box = tight_box(hand.joints_2d)
    middle, reach = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    before, now = (hand.box[2:] - hand.box[:2]).max() / 2, reach.max()
    reach = reach * np.clip(now, before / CHANGE, before * CHANGE) / max(now, 1e-6)
    return np.concatenate([middle - reach, middle + reach])


def crops(size, expand, shares):
    """Boxes (N, 4) whose crops, ``expand`` times as large, cover an image (width, height); the
    crops' sides are ``shares`` of the image's shorter one."""
    boxes = []
    for share in shares:
        side = share * _extent(size)
        counts = [1 + max(0, round((length - side) / (STRIDE * side) + 0.49)) for length in size]
        ranges = [
            np.linspace(side / 2, length - side / 2, count) if count > 1 else [length / 2]
            for length, count in zip(size, counts, strict=True)
        ]
        half = side / expand / 2
        boxes += [(x - half, y - half, x + half, y + half) for y in ranges[1] for x in ranges[0]]
    return np.array(boxes)


def _side(hand, given):
    """The side of a hand, where it is given or clear by now."""
    p = hand.right_probability
    if given is not None or p is None:
        return given
    return hand.is_right if abs(p - 0.5) > probability(UNSURE) - 0.5 else None


def _extent(size):
    """What the sides are shares of: the shorter side, unless the image is a mere strip."""
    return max(min(size), max(size) / 3)


def distinct(boxes, scores, size):
    """Indices of boxes (N, 4) in the order of their scores, without those that overlap a better one
    or lie outside of the image (width, height)."""
    kept = []
    for i in np.argsort(scores, kind="stable")[::-1]:
        sides = boxes[i, 2:] - boxes[i, :2]
        is_box = np.isfinite(sides).all() and sides.min() > 0 and sides.max() >= SMALLEST
        is_box = is_box and is_inside(boxes[i], size)
        if is_box and all(box_overlap(boxes[i], boxes[k]) < OVERLAP for k in kept):
            kept.append(int(i))
    return kept


def _looks(predictor, image, boxes, K, sides):
    """The hands in boxes (N, 4), as sure as they are of a hand that stays where it is."""
    # One camera of all would be that of the largest box, which may be no hand's.
    size, expand = image.shape[1::-1], predictor.expand
    cameras = [assumed_camera(size, box, expand) if K is None else K for box in boxes]
    hands = predictor([image] * len(boxes), boxes, cameras, sides)
    return [replace(hand, confidence=_sure(hand), K_known=K is not None) for hand in hands]


def _sure(hand):
    """Its confidence times what its box shares with the next one: what is no hand leads from one
    place to another."""
    if hand.confidence is None:
        return 0.0
    return float(np.nan_to_num(hand.confidence * box_overlap(hand.box, next_box(hand))))
