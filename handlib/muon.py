"""Muon (Jordan et al. 2024): momentum whose kernels are orthogonalised before they are a step.

A kernel's gradient is nearly of low rank: a few directions move, the others hardly. With all of its
singular values made alike, every direction moves. torch's own takes matrices only; here are the
kernels of convolutions too, as matrices (out, in * height * width), and AdamW for all the rest.
"""

import math

import torch

from handlib.precision import fast_in_bf16

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
            for kernel in group["params"] if group["orthogonal"] else ():
                if kernel.grad is not None:
                    self._step(kernel, group["lr"], group["weight_decay"])
                    kernel.grad = None  # AdamW leaves those without one alone
        return super().step(closure)

    def _step(self, kernel, lr, weight_decay):
        state = self.state[kernel]
        if not state:  # by AdamW's names: torch reads "step" when it loads a state
            state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(kernel)}
        state["step"] += 1
        momentum = state["exp_avg"].lerp_(kernel.grad, 1 - MOMENTUM)
        ahead = kernel.grad.lerp(momentum, MOMENTUM)  # as Nesterov
        update = orthogonalised(ahead.flatten(1))
        rate = lr * ADAMW_RMS * math.sqrt(max(update.shape))
        kernel.mul_(1 - lr * weight_decay).sub_(update.view_as(kernel), alpha=rate)


def orthogonalised(matrix):
    """A (m, n) matrix with singular values near 1 and about the same singular vectors.

    Newton-Schulz iterations in half precision, which is enough for a direction, where the machine
    is fast in it.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide.to(torch.bfloat16) if fast_in_bf16(matrix.device.type) else wide
    x = x / (x.norm() + 1e-7)
    a, b, c = QUINTIC
    for _ in range(STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    x = x.to(matrix.dtype)
    return x if wide is matrix else x.T
