"""Muon (Jordan et al. 2024): momentum whose kernels are orthogonalised before they are a step.

A kernel's gradient is nearly of low rank: a few directions move, the others hardly. With all of its
singular values made alike, every direction moves. torch's own takes matrices only; here are the
kernels of convolutions too, as matrices (out, in * height * width), and AdamW for all the rest.
"""

import math
from collections import defaultdict

import torch

MOMENTUM = 0.95
# One step x -> a x + b x^3 + c x^5 on the singular values: their slope at 0 is steep, and after
# STEPS of them all lie between about 0.7 and 1.2 (Jordan et al. 2024).
QUINTIC, STEPS = (3.4445, -4.7750, 2.0315), 5
# Root mean square of an AdamW step in learning rates (Liu et al. 2025, "Muon is scalable"): so one
# learning rate and one weight decay serve both.
ADAMW_RMS = 0.2


class Muon(torch.optim.AdamW):
    """AdamW, but for the groups with ``orthogonal`` True: kernels (out, in, ...) of two or more
    dimensions. Arguments as of ``torch.optim.AdamW``."""

    def __init__(self, groups, **settings):
        super().__init__([{"orthogonal": False} | group for group in groups], **settings)
        # A gradient scaler then leaves out steps whose gradients overflowed, and unscales others:
        # AdamW's fused step would do both, for its own groups alone.
        self._step_supports_amp_scaling = False

    @torch.no_grad()
    def step(self, closure=None):
        """One step; gradients of the orthogonal groups are spent by it."""
        for group in self.param_groups:
            alike = defaultdict(list)
            for kernel in group["params"] if group["orthogonal"] else ():
                if kernel.grad is not None:
                    alike[kernel.shape].append(kernel)
            for kernels in alike.values():
                self._step(kernels, group["lr"], group["weight_decay"])
        return super().step(closure)

    def _step(self, kernels, lr, weight_decay):
        """Of kernels of one shape, at once: on a GPU each alone takes the time of its launches."""
        for kernel in kernels:
            state = self.state[kernel]
            if not state:  # by AdamW's names: torch reads "step" when it loads a state
                state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(kernel)}
            state["step"] += 1
        gradients = [kernel.grad for kernel in kernels]
        momenta = [self.state[kernel]["exp_avg"] for kernel in kernels]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)  # as Nesterov
        updates = orthogonalised(torch.stack([matrix.flatten(1) for matrix in ahead]))
        rate = lr * ADAMW_RMS * math.sqrt(max(updates.shape[1:]))
        torch._foreach_mul_(kernels, 1 - lr * weight_decay)
        for kernel, update in zip(kernels, updates):
            kernel.sub_(update.view_as(kernel), alpha=rate)
            kernel.grad = None  # AdamW leaves those without one alone


def orthogonalised(matrices):
    """Matrices (N, m, n) with singular values near 1 and about the same singular vectors.

    A Newton-Schulz step multiplies x by p = a + b g + c g^2 of its Gram matrix g = x x^T, and g by
    p^2. So the steps are of g, which is square and small, and x is multiplied once, by all of them.
    """
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    scale = 1 / (torch.linalg.matrix_norm(wide, keepdim=True) + 1e-7)
    gram = wide @ wide.mT * scale.square()
    product = scale * torch.eye(wide.shape[1], dtype=wide.dtype, device=wide.device)
    a, b, c = QUINTIC
    for step in range(STEPS):
        rest = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)  # p without a
        product = torch.baddbmm(product, rest, product, beta=a)
        if step + 1 < STEPS:
            for _ in range(2):
                gram = torch.baddbmm(gram, rest, gram, beta=a)
    made = product @ wide
    return made if wide is matrices else made.mT
