"""Synthetic hands rendered when they are asked for: a training need not see one twice.

The pictures are made at the network's size, so that a core renders a few hundred a second; each
depends on the seed and its index alone.
"""

import numpy as np

from handlib.data.backgrounds import load_backgrounds
from handlib.data.bodies import body_part
from handlib.data.composite import composite
from handlib.data.poses import sample_articulations
from handlib.data.sample import Sample, row_of
from handlib.data.scene import FILL, Generator

# Numbers that keep the stream's random numbers apart from those of a dataset's splits.
_STREAM, _POSES = 2, 3
BLOCK = 256  # hands that are drawn and posed together: one at a time is slow
# Share of the hand pictures that look as in version 0 of FreiHAND: before a green screen.
_GREEN = 0.1
# How a picture shows no hand to a network: one far too small for the crop, the arm alone, a head or
# a limb, or nothing.
_EMPTY = {"small": 0.2, "arm": 0.2, "body": 0.3, "nothing": 0.3}
_SMALL = 0.06, 0.2


class HandStream:
    """A reader of hands that are rendered on demand.

    Args:
        hand: ``HandModel``, a right hand.
        size: side of the pictures, px.
        samples: how many there are; the last one is as new as the first.
        seed: the same seed gives the same pictures.
        backgrounds: ``Backgrounds``; by default those of ``load_backgrounds``.
        absent: share of pictures without a hand, for a network that tells whether there is one.
        fill: range of the hand's share of the picture's side.

    Attributes:
        in_order: samples are best asked for in order, and need no shuffling.
    """

    in_order = True

    def __init__(self, hand, size, samples, seed=0, backgrounds=None, absent=0.0, fill=FILL):
        self.generator = Generator(hand, size)
        self.samples, self.seed, self.absent, self.fill = samples, seed, absent, fill
        self.backgrounds = backgrounds or load_backgrounds(seed=seed)
        self.source = f"synthetic stream ({hand.name})"
        self._posed = {}  # the block that was asked for last

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        index = row_of(index, self.samples)
        rng = np.random.default_rng([self.seed, _STREAM, index])
        if rng.random() < self.absent:
            image = self._without_hand(rng, index)
            return Sample(image, id=index, source=self.source, present=False, is_right=None)
        return self._sample(rng, index, self.fill)

    def _sample(self, rng, index, fill):
        render = self.generator.render(rng, *self._hand(index), fill)
        return Sample(
            image=self._composite(rng, render),
            id=index,
            source=self.source,
            K=render.K,
            joints=render.joints,
            vertices=render.vertices,
            mask=render.mask,
            pose=render.pose,
            betas=render.betas,
            scale=render.scale,
        )

    def _composite(self, rng, render):
        version = 0 if rng.random() < _GREEN else int(rng.integers(1, 4))
        return composite(rng, render, version, self.backgrounds)

    def _hand(self, index):
        """Pose, vertices and joints."""
        block, row = divmod(index, BLOCK)
        if block not in self._posed:
            self._posed = {block: self._block(block)}
        return [values[row] for values in self._posed[block]]

    def _block(self, block):
        """Poses, vertices and joints of the BLOCK hands from block * BLOCK on."""
        rng = np.random.default_rng([self.seed, _STREAM, block, _POSES])
        bent = sample_articulations(rng, BLOCK)
        poses = [self.generator.draw_pose(rng, articulation) for articulation in bent]
        return poses, *self.generator.posed(poses)

    def _without_hand(self, rng, index):
        kind = list(_EMPTY)[rng.choice(len(_EMPTY), p=list(_EMPTY.values()))]
        if kind == "small":
            return self._sample(rng, index, _SMALL).image
        if kind == "arm":
            arm = self.generator.render_arm(rng, *self._hand(index), self.fill)
            if arm is not None:
                return self._composite(rng, arm)
        size = self.generator.size
        image = self.backgrounds.draw(rng, (size, size))
        if kind == "body":
            image = body_part(rng, np.float32(image)).clip(0, 255).astype(np.uint8)
        return image
