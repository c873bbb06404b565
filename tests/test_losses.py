import math
from dataclasses import asdict, fields, replace
from types import SimpleNamespace

import pytest
import torch

from handlib import losses
from handlib.augment import Compose, Resize, Rotate, Scale
from handlib.data import HandDataset, collate, open_dataset
from handlib.geometry import axis_angle_to_matrix, project, similarity_align
from handlib.joints import ROOT
from handlib.losses import OF_TRAINED, InTurn, LossWeights, total_loss

B, S = 4, 64
ANNOTATIONS = {
    "joints": (21, 3),
    "joints_2d": (21, 2),
    "vertices": (778, 3),
    "pose": (48,),
    "betas": (10,),
    "mask": (S, S),
    "K": (3, 3),
}


def make_batch(missing=(), rows=range(B)):
    """A batch whose samples ``rows`` lack the annotations named in ``missing``."""
    generator = torch.Generator().manual_seed(0)
    batch = {"image": torch.zeros(B, 3, S, S, dtype=torch.uint8), "unit": torch.ones(B)}
    batch |= dict.fromkeys(("present", "is_right", "has_is_right"), torch.ones(B, dtype=torch.bool))
    for name, shape in ANNOTATIONS.items():
        batch[name] = torch.randn(B, *shape, generator=generator) * 0.1
        if name == "mask":  # a disc about the middle
            across = (torch.arange(S) - S / 2) ** 2
            batch[name] = (across + across[:, None] < 20**2).repeat(B, 1, 1)
        if name == "K":
            batch[name] = torch.tensor([[90.0, 5, 30], [0, 110, 33], [0, 0, 1]]).repeat(B, 1, 1)
        if name == "joints":  # in front of the camera
            batch[name][..., 2] += 1
        batch[f"has_{name}"] = torch.ones(B, dtype=torch.bool)
        if name in missing:
            batch[name][list(rows)] = torch.nan
            batch[f"has_{name}"][list(rows)] = False
    return batch


@pytest.mark.parametrize("name", ["joints", "joints_2d"])
def test_known_joints_of_a_hand_teach_without_the_unknown_ones(name):
    batch = make_batch()
    missing = torch.zeros(B, 21, dtype=torch.bool)
    missing[1, 5] = missing[1, 20] = missing[3, 7] = True
    partly = batch | {name: batch[name].masked_fill(missing[..., None], torch.nan)}
    partly |= {f"has_{name}": torch.tensor([True, False, True, False])}
    points = torch.randn(B, 21, batch[name].shape[-1]).requires_grad_()
    heatmaps = torch.randn(B, 21, 16, 16).flatten(2).log_softmax(-1).unflatten(-1, (16, 16))
    if name == "joints":
        target = (batch["joints"] - batch["joints"][:, [ROOT]]) * batch["unit"][:, None, None]
        cases = [
            (losses.joint_3d_loss(points, partly), (points - target).abs()[~missing].mean()),
            (
                losses.depth_loss(points[..., 2], partly),
                (points - target)[~missing][:, 2].abs().mean(),
            ),
        ]
    else:
        half = S / 2
        cases = [
            (
                losses.joint_2d_loss(points, partly, S),
                (points - batch[name]).abs()[~missing].mean() / half,
            )
        ]
        every = losses.heatmap_loss(heatmaps, partly, S)
        assert every.isfinite() and every != losses.heatmap_loss(heatmaps, batch, S)
    for loss, expected in cases:
        torch.testing.assert_close(loss, expected)
        (gradient,) = torch.autograd.grad(loss, points, retain_graph=True)
        assert gradient.isfinite().all() and (gradient[missing] == 0).all()
    # Without the root, there is nothing that other joints could be relative to.
    if name == "joints":
        partly["joints"][0, ROOT] = torch.nan
        (gradient,) = torch.autograd.grad(losses.joint_3d_loss(points, partly), points)
        assert (gradient[0] == 0).all() and gradient[1].any()


def heatmaps_of(joints_2d, cells=16):
    """(B, 21, 16, 16) log-probabilities: Gaussians about the joints."""
    centres = (torch.arange(cells) + 0.5) * (S / cells) - 0.5
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    cells_xy = torch.stack([x, y], -1).reshape(-1, 2)
    squared = (cells_xy - joints_2d[:, :, None]).square().sum(-1)
    logits = -squared / (2 * (losses.HEATMAP_SIGMA * S) ** 2)
    return logits.log_softmax(-1).unflatten(-1, (cells, cells))


# Of the hand model: what a pose is relative to.
MEAN_POSE = torch.linspace(-0.4, 0.5, 45)


class Made(SimpleNamespace):
    """A prediction of a model that tells neither the side nor whether there is a hand."""

    right = present = None
    mean_pose = MEAN_POSE


def rotations_of(pose):
    """(B, 16, 3, 3) of poses (B, 48) relative to the mean pose."""
    whole = pose + torch.cat([torch.zeros(3), MEAN_POSE])
    return axis_angle_to_matrix(whole.reshape(-1, 16, 3))


def perfect(batch):
    """The prediction that agrees with all annotations; its tensors are leaves."""
    root = batch["joints"][:, ROOT : ROOT + 1]
    unit = batch["unit"][:, None, None]
    parts = {
        "joints": unit * (batch["joints"] - root),
        "vertices": unit * (batch["vertices"] - root),
        "joints_2d": batch["joints_2d"],
        "vertices_2d": S / 2 + 100 * batch["vertices"][..., :2].clamp(-0.1, 0.1),
        "keypoints_2d": batch["joints_2d"],
        "heatmaps": heatmaps_of(batch["joints_2d"]),
        "pose": batch["pose"],
        "betas": batch["betas"],
        "trans": batch["joints_2d"][:, ROOT],
        "scale": (90 * 110) ** 0.5 / (batch["unit"] * batch["joints"][:, ROOT, 2]),
        "depths": (unit * (batch["joints"] - root))[..., 2],
        "rotations": rotations_of(batch["pose"]),
    }
    return Made(**{k: v.clone().requires_grad_() for k, v in parts.items()})


def only(name, **more):
    """Weights of one loss."""
    return LossWeights(**dict.fromkeys(asdict(LossWeights()), 0.0) | {name: 1.0} | more)


OTHER = (
    "regulariser",
    "regulariser_betas",
    "handedness",
    "presence",
)  # need no annotation of a pose
LABELLED = [f.name for f in fields(LossWeights) if f.name not in OTHER]
# Losses that share an annotation, or a field of the prediction, with another.
ANNOTATION = {"keypoints_2d": "joints_2d", "heatmaps": "joints_2d", "aligned": "joints"}
ANNOTATION |= {"depths": "joints"}
ANNOTATION |= {"camera": "K"}
FIELD = {"aligned": "joints", "mask": "vertices_2d", "camera": "scale", "pose": "rotations"}
BENT = torch.tensor([1.0, 1.2, 0.9])  # no similarity undoes it


@pytest.mark.parametrize("name", LABELLED)
def test_a_perfect_prediction_costs_nothing_and_another_something(name):
    batch = make_batch()
    prediction = perfect(batch)
    assert total_loss(prediction, batch, only(name))[0].item() == pytest.approx(0, abs=1e-6)
    other = perfect({k: v + 0.3 if v.is_floating_point() else v for k, v in batch.items()})
    other.joints = other.joints * BENT + 0.3
    other.vertices_2d = other.vertices_2d + 15
    other.scale = other.scale * 1.3
    assert total_loss(other, batch, only(name))[0].item() > 1e-3


def test_closed_forms():
    batch = make_batch()
    prediction = perfect(batch)
    assert losses.joint_2d_loss(prediction.joints_2d + 8, batch, S).item() == pytest.approx(0.25)
    assert losses.joint_3d_loss(prediction.joints + 0.02, batch).item() == pytest.approx(0.02)
    assert losses.vertex_loss(prediction.vertices - 0.03, batch).item() == pytest.approx(0.03)
    assert losses.betas_loss(prediction.betas + 0.5, batch).item() == pytest.approx(0.25)
    pose, betas = torch.zeros(2, 48), torch.zeros(2, 10)
    pose[0, :5], betas[1, 0] = 2.0, 3.0  # the root's three do not count
    assert losses.regulariser(pose, betas, 10.0).item() == pytest.approx((8 + 90) / 2)
    assert losses.regulariser(pose, betas, 10.0, betas[:, 0] > 0).item() == pytest.approx(90)
    # half a turn about x changes two entries of nine by 2, in one of 16 rotations
    batch["pose"], pose = torch.zeros(B, 48), torch.zeros(B, 48)
    pose[:, 9:12] = -MEAN_POSE[6:9] + torch.tensor([torch.pi, 0, 0])
    batch["pose"][:, 9:12] = -MEAN_POSE[6:9]
    turned = losses.pose_loss(rotations_of(pose), MEAN_POSE, batch)
    assert turned.item() == pytest.approx(2 * 4 / (9 * 16))


def test_a_full_turn_is_no_error_of_the_pose():
    batch = make_batch()
    rotations = perfect(batch).rotations
    axis_angle = (batch["pose"][:, 3:] + MEAN_POSE).reshape(B, 15, 3)
    length = axis_angle.norm(dim=-1, keepdim=True)
    around = (axis_angle * (1 - 2 * torch.pi / length)).reshape(B, 45) - MEAN_POSE
    batch["pose"] = torch.cat([batch["pose"][:, :3], around], 1)
    assert losses.pose_loss(rotations, MEAN_POSE, batch).item() == pytest.approx(0, abs=1e-9)


def test_whether_there_is_a_hand_is_learnt_from_pictures_without_one():
    batch, logit = make_batch(), torch.tensor([3.0, -2, 0, 1])
    batch["present"] = torch.tensor([True, False, True, True])
    made = perfect(batch)
    made.present = logit
    signs = torch.tensor([1, -1, 1, 1])
    expected = torch.nn.functional.softplus(-logit * signs).mean()
    assert total_loss(made, batch, only("presence"))[0].item() == pytest.approx(expected.item())


def test_annotations_in_another_unit_are_brought_to_metres():
    batch = make_batch()
    prediction = perfect(batch)
    batch |= {k: batch[k] / 0.03 for k in ("joints", "vertices")} | {"unit": torch.full((B,), 0.03)}
    for loss, made in (
        (losses.joint_3d_loss, prediction.joints),
        (losses.vertex_loss, prediction.vertices),
    ):
        assert loss(made, batch).item() == pytest.approx(0, abs=1e-6)
        assert loss(made + 0.01, batch).item() == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("name", LABELLED)
def test_rows_without_the_annotation_count_for_nothing(name):
    whole, partly = make_batch(), make_batch([ANNOTATION.get(name, name)], rows=[0, 2])
    prediction = perfect(whole)
    for key, value in vars(prediction).items():
        shape = BENT if value.shape[-1] == 3 else 1.0
        setattr(prediction, key, (value.detach() * shape + 0.1).requires_grad_())
    # To the edge of the mask: within it, or far from it, the loss is flat.
    prediction.vertices_2d = (prediction.vertices_2d.detach() + 15).requires_grad_()
    loss, _ = total_loss(prediction, partly, only(name))
    loss.backward()
    gradient = getattr(prediction, FIELD.get(name, name)).grad
    assert torch.isfinite(gradient).all()
    assert gradient[[0, 2]].abs().max() == 0
    assert gradient[[1, 3]].abs().max() > 0
    rest = {k: v[[1, 3]] for k, v in whole.items()}
    half = Made(**{k: v[[1, 3]] for k, v in vars(prediction).items()})
    assert loss.item() == pytest.approx(total_loss(half, rest, only(name))[0].item(), rel=1e-5)


def losses_of(batch):
    """Terms whose annotations are few, and the gradients of each row by their sum."""
    torch.manual_seed(0)
    joints, right = torch.randn(B, 21, 3, requires_grad=True), torch.randn(B, requires_grad=True)
    rows = batch.pop("row")
    terms = [
        losses.joint_3d_loss(joints[rows], batch),
        losses.handedness_loss(right[rows], batch),
    ]
    sum(terms).backward()
    return torch.stack(terms).detach(), torch.cat([joints.grad.flatten(), right.grad])


def one_hand_known_in_3d_and_one_left_hand(rows):
    batch = make_batch(["joints"], rows=[0, 2, 3])
    batch["has_is_right"] = torch.tensor([True, True, True, False])
    batch["is_right"] = torch.tensor([True, True, False, True])
    return {name: values[rows] for name, values in (batch | {"row": torch.arange(B)}).items()}


def take_a_share(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    found = losses_of(one_hand_known_in_3d_and_one_left_hand(slice(rank, None, 2)))
    for values in found:
        torch.distributed.all_reduce(values)
    torch.save([values / 2 for values in found], folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_together_minimise_what_one_does_wherever_the_annotations_lie(tmp_path):
    torch.multiprocessing.spawn(take_a_share, (tmp_path,), nprocs=2)
    whole = losses_of(one_hand_known_in_3d_and_one_left_hand(slice(None)))
    for rank in range(2):
        for found, expected in zip(torch.load(tmp_path / f"{rank}.pt"), whole, strict=True):
            torch.testing.assert_close(found, expected)


def test_without_any_annotation_the_loss_is_zero_with_a_gradient_of_zero():
    batch = make_batch(missing=ANNOTATIONS)
    prediction = perfect(make_batch())
    weights = replace(LossWeights(), regulariser=0.0, mask=1.0, camera=1.0)
    total, terms = total_loss(prediction, batch, weights)
    total.backward()
    assert total.item() == 0
    assert set(terms) == set(LABELLED)
    for name, value in vars(prediction).items():
        if name != "pose":  # of which only the regulariser is made
            assert value.grad.abs().max() == 0


def test_the_camera_is_that_of_freihands_hand_vector():
    batch = make_batch()
    batch |= {k: batch[k] / 0.03 for k in ("joints", "vertices")} | {"unit": torch.full((B,), 0.03)}
    p = perfect(batch)
    assert losses.camera_loss(p.scale, p.trans, batch, S).item() == pytest.approx(0, abs=1e-6)
    other = losses.camera_loss(p.scale * 1.1, p.trans + 8, batch, S).item()
    assert other == pytest.approx((2 * 0.25 + math.log(1.1)) / 3, rel=1e-4)
    for missing in ("K", "joints", "joints_2d"):
        part = make_batch([missing], rows=[0])
        p = perfect(make_batch())
        p.scale = p.scale.detach() * torch.tensor([3.0, 1.1, 1.1, 1.1])
        loss = losses.camera_loss(p.scale, p.trans, part, S).item()
        assert loss == pytest.approx(math.log(1.1) / 3, rel=1e-4)


def test_a_hand_behind_the_camera_teaches_no_camera():
    batch, p = make_batch(), perfect(make_batch())
    batch["joints"][0, :, 2] *= -1
    p.scale = p.scale.detach() * torch.tensor([3.0, 1.1, 1.1, 1.1])
    loss = losses.camera_loss(p.scale, p.trans, batch, S).item()
    assert loss == pytest.approx(math.log(1.1) / 3, rel=1e-4)


def test_the_mask_loss_reads_the_mask_where_the_vertices_are_seen():
    mask = torch.zeros(B, 6, 10, dtype=torch.bool)
    mask[:, 2:4, 5:8] = True  # rows 2-3, columns 5-7
    batch = {"mask": mask, "has_mask": torch.ones(B, dtype=torch.bool)}

    def outside(*places):
        return losses.mask_loss(torch.tensor(places, dtype=torch.float32).repeat(B, 1, 1), batch)

    for corner in ((5, 2), (7, 2), (5, 3), (7, 3), (6, 2.5)):
        assert outside(corner).item() == pytest.approx(0, abs=1e-6)
    for beside in ((4, 2), (8, 3), (6, 1), (6, 4), (-50, 2), (6, 1e6), (9.5, 5.5)):
        assert outside(beside).item() == pytest.approx(1, abs=1e-6)
    assert outside((4.75, 2)).item() == pytest.approx(0.25, abs=1e-6)
    assert outside((6, 2), (6, 3), (1, 1), (4.5, 3)).item() == pytest.approx(1.5 / 4, abs=1e-6)
    batch["mask"] = torch.ones_like(mask)  # a hand that fills the image still ends there
    assert outside((0, 0), (9, 5)).item() == pytest.approx(0, abs=1e-6)
    assert outside((-1, 0), (9, 6)).item() == pytest.approx(1, abs=1e-6)
    assert outside((-0.25, 3)).item() == pytest.approx(0.25, abs=1e-6)


def test_the_mask_loss_pulls_a_vertex_across_the_edge_as_finite_differences_say():
    batch = make_batch()
    places = (torch.rand(B, 50, 2, generator=torch.Generator().manual_seed(2)) * S).double()
    places.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: losses.mask_loss(p, batch), places)


def test_the_true_vertices_of_moved_images_are_on_the_mask(synthetic):
    chain = Compose([Rotate(), Scale(), Resize(96)])
    data = HandDataset(open_dataset(synthetic, "train"), chain)
    batch = collate([data[i] for i in range(48)])
    places = project(batch["vertices"], batch["K"])
    loss = losses.mask_loss(places, batch)
    assert loss < 0.12  # those on the outline are half outside, some hidden by what a hand holds
    for beside in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)):
        assert losses.mask_loss(places + torch.tensor(beside), batch) > loss + 0.003


def test_the_mask_counts_less_and_less():
    weights = LossWeights(mask=2.0)
    assert weights.at(0.0) == weights
    assert weights.at(0.75) == replace(weights, mask=0.5)
    assert weights.at(1.5).mask == 0  # a budget of minutes is overrun by a step


def test_from_a_left_hand_only_its_side_is_learnt():
    batch = make_batch()
    batch["is_right"] = torch.tensor([True, False, True, False])
    other = perfect({k: v + 0.3 if v.is_floating_point() else v for k, v in batch.items()})
    leaves = dict(vars(other))
    other.right = leaves["right"] = torch.tensor([2.0, 2, 2, -2], requires_grad=True)
    total, terms = total_loss(other, batch, LossWeights(mask=1.0, camera=1.0))
    total.backward()
    assert leaves.pop("right").grad.abs().min() > 0
    for name, value in leaves.items():
        assert value.grad[[1, 3]].abs().max() == 0, name
    good, bad = (torch.tensor(x).exp().log1p().item() for x in (-2.0, 2.0))
    weight = LossWeights().handedness
    assert terms["handedness"].item() == pytest.approx(weight * (good + (good + bad) / 2) / 2)
    rights = {k: v[[0, 2]] for k, v in batch.items()}
    alone = Made(**{k: v[[0, 2]] for k, v in leaves.items()})
    _, of_rights = total_loss(alone, rights, LossWeights(mask=1.0, camera=1.0))
    for name, value in of_rights.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-5), name


def test_a_side_that_nobody_knows_is_not_learnt():
    batch = make_batch()
    batch["has_is_right"] = torch.tensor([True, False, True, True])
    right = torch.full((B,), -3.0, requires_grad=True)
    losses.handedness_loss(right, batch).backward()
    assert (right.grad != 0).tolist() == batch["has_is_right"].tolist()


def test_vertices_need_the_root_joint():
    batch = make_batch(missing=["joints"], rows=[1])
    prediction = perfect(make_batch())
    assert losses.vertex_loss(prediction.vertices, batch).item() == pytest.approx(0, abs=1e-6)


def test_terms_add_up_and_a_zero_weight_leaves_a_loss_out():
    batch = make_batch()
    prediction = perfect(batch)
    prediction.joints = prediction.joints + 0.01
    weights = LossWeights(vertices=0.0)
    total, terms = total_loss(prediction, batch, weights)
    assert "vertices" not in terms
    assert sum(terms.values()).item() == pytest.approx(total.item(), rel=1e-6)
    assert terms["joints"].item() == pytest.approx(0.1, rel=1e-4)
    assert not terms["joints"].requires_grad
    prediction.keypoints_2d = None
    assert "keypoints_2d" not in total_loss(prediction, batch, weights)[1]
    with pytest.raises(ValueError, match="nothing to train"):
        total_loss(prediction, batch, only("joints", joints=0.0))


def test_a_prediction_that_is_not_finite_is_not_hidden():
    batch = make_batch(missing=["joints"], rows=[0])
    prediction = perfect(make_batch())
    joints = prediction.joints.detach().clone()
    joints[0, 0, 0] = torch.nan
    assert torch.isnan(losses.joint_3d_loss(joints, batch))


def test_the_aligned_loss_sees_what_is_left_after_the_best_similarity():
    batch = make_batch()
    truth = batch["joints"]
    turn = axis_angle_to_matrix(torch.tensor([0.5, 2.0, -1.0]))
    assert losses.aligned_loss(0.7 * truth @ turn.T + 0.3, batch) < 1e-6
    assert losses.aligned_loss(truth * torch.tensor([-1.0, 1, 1]), batch) > 1e-2  # a mirrored hand
    other = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    aligned, _ = similarity_align(other.numpy(), truth.numpy())
    expected = abs(aligned - truth.numpy()).mean()
    assert losses.aligned_loss(other, batch).item() == pytest.approx(expected, rel=1e-4)


def test_the_aligned_loss_teaches_the_hand_alone_with_the_similarity_as_it_is():
    batch = make_batch()
    truth = batch["joints"]
    made = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    (gradient,) = torch.autograd.grad(losses.aligned_loss(made, batch), made)
    source, target = (x - x.mean(1, keepdim=True) for x in (made, truth))
    aligned, _ = similarity_align(made.detach().numpy(), truth.numpy())
    moved = torch.tensor(aligned).float() - truth.mean(1, keepdim=True)
    similarity = torch.linalg.lstsq(source.detach(), moved).solution
    (expected,) = torch.autograd.grad((source @ similarity - target).abs().mean(), made)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-7)


def test_a_joint_outside_of_the_crop_has_no_heatmap():
    batch = make_batch()
    batch["joints_2d"] = batch["joints_2d"] + S / 2
    heatmaps = torch.randn(B, 21, 16, 16).flatten(2).log_softmax(-1).unflatten(-1, (16, 16))
    for place in ((-1, 9), (9, -1), (S, 9), (9, S)):
        outside, unknown = batch["joints_2d"].clone(), batch["joints_2d"].clone()
        outside[1, 5], unknown[1, 5] = torch.tensor(place).float(), torch.nan
        told = [
            losses.heatmap_loss(heatmaps, batch | {"joints_2d": joints}, S)
            for joints in (outside, unknown, batch["joints_2d"])
        ]
        assert told[0] == told[1] != told[2]


def test_factors_in_turn():
    weights = InTurn(LossWeights(mask=2.0), OF_TRAINED, 0.25)
    assert weights.at(0.0).mask == 2 and weights.at(0.125).mask == 1.75
    assert weights.at(0.25) == weights.at(0.9) == OF_TRAINED
