"""Made-up photos, for looking at predictions where there is no photo at hand."""

import numpy as np

from handlib.augment import Flip
from handlib.data import HandStream

SIZE, FILL = 320, (0.3, 0.7)  # px; of the picture's side that a hand takes


def made_up_photos(hand, n, seed=0):
    """Pictures that the generator renders: list of n ``Sample``, right and left hands in turn.

    Args:
        hand: ``HandModel``, a right hand. seed: another one gives other pictures.
    """
    stream = HandStream(hand, SIZE, n, seed + 1000, fill=FILL)
    flip = Flip()
    samples = [flip.apply(stream[i], {"on": bool(i % 2)}) for i in range(n)]
    return [sample.replace(source=f"made-up photo ({hand.name})") for sample in samples]


def noise_photos(n, seed=0):
    """Pictures without a hand: n arrays (SIZE, SIZE, 3) of noise, fine and coarse."""
    rng = np.random.default_rng(seed)
    photos = []
    for i in range(n):
        cell = 2 ** (i % 5)
        small = rng.integers(0, 256, (SIZE // cell, SIZE // cell, 3), dtype=np.uint8)
        photos.append(np.kron(small, np.ones((cell, cell, 1), np.uint8)))
    return photos
