from copy import deepcopy

import numpy as np
import pytest
import torch

from handlib.model import make_model
from handlib.muon import QUINTIC, STEPS, Muon, orthogonalised
from handlib.recipe import TrainConfig, make_optimizer, orthogonal_groups


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (24, 24)])
def test_singular_values_become_alike_and_vectors_stay(shape):
    rng = np.random.default_rng(0)
    n = min(shape)
    u, _ = np.linalg.qr(rng.normal(size=(shape[0], n)))
    v, _ = np.linalg.qr(rng.normal(size=(shape[1], n)))
    matrix = torch.from_numpy((u * np.geomspace(0.05, 1, n)) @ v.T).float()
    made = orthogonalised(matrix[None])[0].numpy()
    assert np.linalg.svd(matrix.numpy(), compute_uv=False).min() < 0.06
    along = u.T @ made @ v
    assert (np.diag(along) > 0.5).all() and (np.diag(along) < 1.4).all()
    assert np.abs(along - np.diag(np.diag(along))).max() < 0.1


def test_the_steps_are_those_on_singular_values_for_each_of_several_matrices():
    generator = torch.Generator().manual_seed(0)
    low_rank = torch.randn(20, 3, generator=generator) @ torch.randn(3, 90, generator=generator)
    full = torch.randn(20, 90, generator=generator)
    given = torch.stack([full, low_rank, full * torch.logspace(0, -6, 20)[:, None], 0 * full])
    u, s, v = torch.linalg.svd(given.double(), full_matrices=False)
    s = s / (s.norm(dim=1, keepdim=True) + 1e-7)
    for _ in range(STEPS):
        s = QUINTIC[0] * s + QUINTIC[1] * s**3 + QUINTIC[2] * s**5
    expected = ((u * s[:, None]) @ v).float()
    torch.testing.assert_close(orthogonalised(given), expected, atol=1e-4, rtol=0)
    tall = orthogonalised(given.mT.contiguous())
    torch.testing.assert_close(tall, expected.mT, atol=1e-4, rtol=0)


def test_matrices_take_the_steps_of_torchs_muon():
    weight = torch.randn(12, 30, generator=torch.Generator().manual_seed(0))
    ours, theirs = (torch.nn.Parameter(weight.clone()) for _ in range(2))
    settings = {"lr": 0.02, "weight_decay": 0.1}
    muon = Muon([{"params": [ours], "orthogonal": True}], **settings)
    peer = torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **settings)
    for step in range(4):
        gradient = torch.randn(12, 30, generator=torch.Generator().manual_seed(step + 1))
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        muon.step()
        peer.step()
        assert ours.grad is None
    assert (ours - theirs).norm() < 0.01 * (theirs - weight).norm()


def test_a_kernel_is_stepped_as_a_matrix_in_any_memory_format():
    kernel = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    gradient = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    made = []
    for view in (
        lambda x: x,
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: x.flatten(1),
    ):
        parameter = torch.nn.Parameter(view(kernel.clone()))
        parameter.grad = view(gradient)
        Muon([{"params": [parameter], "orthogonal": True}], lr=0.1).step()
        made.append(parameter.detach().reshape(kernel.shape))
    assert torch.allclose(made[0], made[1], atol=1e-3)
    assert torch.allclose(made[0], made[2], atol=1e-3)


def test_the_rest_takes_the_steps_of_adamw():
    values = torch.randn(5)
    ours, theirs = (torch.nn.Parameter(values.clone()) for _ in range(2))
    kernel = torch.nn.Parameter(torch.randn(4, 4))
    muon = Muon([{"params": [kernel], "orthogonal": True}, {"params": [ours]}], lr=0.01)
    peer = torch.optim.AdamW([theirs], lr=0.01)
    for _ in range(3):
        kernel.grad = torch.randn(4, 4)
        ours.grad = theirs.grad = torch.randn(5)
        muon.step()
        peer.step()
    assert torch.equal(ours, theirs)


def test_what_was_saved_goes_on_alike(hand):
    def trained(model, optimizer, steps):
        for seed in range(*steps):
            generator = torch.Generator().manual_seed(seed)
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()

    def begun():
        model = make_model("small", hand, seed=0)
        return model, make_optimizer(model, TrainConfig(optimizer="muon"))[0]

    model, optimizer = begun()
    trained(model, optimizer, (0, 2))
    again, other = begun()
    again.load_state_dict(model.state_dict())
    other.load_state_dict(deepcopy(optimizer.state_dict()))  # it takes tensors as they are
    trained(model, optimizer, (2, 4))
    trained(again, other, (2, 4))
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


@pytest.mark.parametrize("backbone", ["resnet-tiny", "convnextv2-atto"])
def test_the_encoders_kernels_after_its_first_are_orthogonalised(hand, backbone):
    model = make_model("small", hand, backbone=backbone, hidden=16)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = orthogonal_groups(model, 0.1)
    inner, decayed, others = ({names[id(p)] for p in g["params"]} for g in groups)
    assert inner | decayed | others == set(names.values())
    assert len(inner) + len(decayed) + len(others) == len(names)
    assert all(name.startswith("backbone.") and name.endswith("weight") for name in inner)
    first = next(name for name in names.values() if name.startswith("backbone."))
    assert first in decayed
    assert {n for n in decayed if n.startswith("backbone.")} <= {first} | {
        n for n in decayed if "grn" in n
    }


def test_a_scaler_leaves_out_a_step_that_overflowed():
    weight = torch.nn.Parameter(torch.ones(4, 3))
    bias = torch.nn.Parameter(torch.ones(4))
    groups = [{"params": [weight], "orthogonal": True}, {"params": [bias]}]
    optimizer = Muon(groups, lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale((weight.sum() + bias.sum()) * torch.inf).backward()
    scaler.step(optimizer)
    scaler.update()
    assert (weight == 1).all() and (bias == 1).all()
    optimizer.zero_grad()
    scaler.scale(weight.sum() + bias.sum()).backward()
    scaler.step(optimizer)
    assert weight.isfinite().all() and (weight != 1).all() and (bias < 1).all()
