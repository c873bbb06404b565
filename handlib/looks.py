"""How a network that does not learn looks at crops: twice, from all sides, and then it settles.

The first look finds the hand, the second one sees it upright. Where the second is not sure of what
it sees, the first one may have been wrong: it is taken again of the crop turned by right angles, a
second look follows the sharpest of these, and the surer one of both second looks counts. ``settle``
refines what was seen and turns it back.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from handlib.geometry import known_camera, transform_points
from handlib.pooling import sharpness
from handlib.refine import refined
from handlib.upright import cut_out, quarter_turn, turned_back, upright_view

# A look whose heatmaps are as sharp as that is not repeated from other sides: few of the surer ones
# are wrong.
SURE = 0.75


class View(NamedTuple):
    """How upright crops came from others: see ``upright.upright_view``; (B, 3, 3) each."""

    affine: torch.Tensor
    motion: torch.Tensor
    K: torch.Tensor


@dataclass
class Seen:
    """B crops and what a network saw of them."""

    image: torch.Tensor
    """(B, 3, S, S) uint8."""
    keypoints: torch.Tensor | None
    """(B, 21, 3), see ``model.HandNet.forward``."""
    camera: torch.Tensor
    """(B, 3, 3) intrinsics, assumed ones where they are not known."""
    known: torch.Tensor
    """(B,) bool: which are known."""
    said: object
    """``model.Prediction`` of the last look, as it saw the hand."""
    present: torch.Tensor | None
    """(B,) log-odds of a hand, of the first look: whatever there is, an upright crop shows what
    that took for a hand."""
    view: View | None
    """Of the last look; None after one look."""

    def rows(self, index):
        """Those of some crops: a ``Seen``."""
        return _each(lambda tensor: tensor[index], self)


def see(model, image, K=None, keypoints=None):
    """What a ``HandNet`` sees in one look, or two: ``Seen``; arguments as of its ``forward``."""
    return look_again(model, look_once(model, image, K, keypoints))


def look_once(model, image, K=None, keypoints=None):
    """``see`` with the first look alone."""
    first = model.look(image, K, keypoints)
    camera, known = known_camera(K, first.joints, image.shape[-1])
    return Seen(image, keypoints, camera, known, first, first.present, None)


def look_again(model, seen):
    """A ``Seen`` after a second look, at the hands upright; as it is where the model takes one."""
    if model.config.looks == 1:
        return seen
    first = seen.said
    found = first.joints_2d if first.keypoints_2d is None else first.keypoints_2d
    said, view = _look_upright(model, seen, found)
    return replace(seen, said=said, view=view)


def look_around(model, seen, turns):
    """A ``Seen`` in which unsure second looks gave way to surer ones.

    A first look is taken at the crops turned by up to ``turns`` - 1 right angles, and a second look
    at what the sharpest of them found.
    """
    if turns == 1 or seen.view is None or seen.said.heatmaps is None:
        return seen
    sure = sharpness(seen.said.heatmaps)
    unsure = (sure < SURE).nonzero()[:, 0]
    if not len(unsure):
        return seen
    part, sure = seen.rows(unsure), sure[unsure]
    found, sharpest = torch.zeros_like(part.said.keypoints_2d), torch.full_like(sure, -1)
    for quarter in range(1, turns):
        turn = quarter_turn(quarter, seen.image.shape[-1]).to(part.camera).expand_as(part.camera)
        crop, keypoints = _moved(part, turn)
        first = model.look(crop, None, keypoints)
        places = transform_points(torch.linalg.inv(turn), first.keypoints_2d)
        sharp = sharpness(first.heatmaps)
        found = torch.where((sharp > sharpest)[:, None, None], places, found)
        sharpest = torch.maximum(sharp, sharpest)
    said, view = _look_upright(model, part, found)
    better = (sharpness(said.heatmaps) > sure).nonzero()[:, 0]
    other = replace(part, said=said, view=view).rows(better)
    return _with_rows(seen, unsure[better], other)


def settle(model, seen, refine=None):
    """What a ``HandNet`` says of the hands that it saw, in the crops: ``Prediction``.

    Args:
        refine: steps of ``refine.refined``; None: as many as the model usually takes.
    """
    said, view = seen.said, seen.view
    if refine is None:
        refine = 0 if said.keypoints_2d is None else model.config.refine
    # As the hand model, turns and crops are geometry: half precision would be seen.
    with torch.autocast(seen.image.device.type, enabled=False):
        if refine:
            camera = seen.camera if view is None else view.K
            said = refined(model, said, camera, refine, seen.image.shape[-1])
        if view is not None:
            said = turned_back(said, view.affine, view.motion)
    # The side stays the last look's: knuckles and wrist are found in hands of the other side too.
    root = torch.where(seen.known[:, None], said.root, torch.nan)
    return replace(said, present=seen.present, root=root)


def _look_upright(model, seen, found):
    """What is said of crops that stand upright by the joints ``found`` (B, 21, 2), and ``View``."""
    with torch.autocast(seen.image.device.type, enabled=False):
        affine, motion = upright_view(found, seen.camera, seen.image.shape[-1])
        view = View(affine, motion, affine @ seen.camera @ motion.mT)
    crop, keypoints = _moved(seen, affine)
    return model.look(crop, view.K, keypoints), view


def _moved(seen, affine):
    """Crops and their keypoints, or None, after affines (B, 3, 3)."""
    with torch.autocast(seen.image.device.type, enabled=False):
        keypoints = seen.keypoints
        if keypoints is not None:
            places = transform_points(affine, keypoints[..., :2])
            keypoints = torch.cat([places, keypoints[..., 2:]], -1)
        return cut_out(seen.image, affine), keypoints


def _with_rows(value, index, new):
    """``value`` with those of ``new`` in the place of some rows."""
    return _each(lambda mine, theirs: mine.index_put((index,), theirs), value, new)


def _each(function, value, *others):
    """A function of tensors, of all that a ``Seen``, ``Prediction`` or ``View`` holds; None stays
    None."""
    if value is None:
        return None
    if torch.is_tensor(value):
        return function(value, *others)
    if isinstance(value, View):
        return View(*(_each(function, *parts) for parts in zip(value, *others, strict=True)))
    changed = {
        name: _each(function, part, *(getattr(other, name) for other in others))
        for name, part in vars(value).items()
        if name != "mean_pose"  # the one tensor of no rows
    }
    return replace(value, **changed)
