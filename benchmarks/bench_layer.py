"""The hand layer beside smplx's: forward and backward, gradients to pose, shape and view.

    python benchmarks/bench_layer.py

Both get the same axis-angle poses and give vertices and joints, and the same gradients of these.
"""

import smplx
import torch
from timing import Row, compare, in_turns

from handlib.data.synthesize import one_thread
from handlib.mano import HandLayer, load_hand_model
from handlib.mano.standin import standin_path


def rows(rounds=25, batches=(1, 64, 512)):
    folder = standin_path("right").parent
    layer = HandLayer(load_hand_model(folder / "MANO_RIGHT.pkl"), "manopth")
    found = []
    with one_thread():
        for batch in batches:
            peer = smplx.MANO(str(folder), use_pca=False, batch_size=batch)
            generator = torch.Generator().manual_seed(0)
            pose = (0.5 * torch.randn(batch, 48, generator=generator)).requires_grad_()
            betas = torch.randn(batch, 10, generator=generator).requires_grad_()
            functions = {
                "handlib": lambda p=pose, b=betas: _ours(layer, p, b),
                "smplx": lambda p=pose, b=betas, m=peer: _theirs(m, p, b),
            }
            times = in_turns(functions, rounds, calls=max(1, 20 // batch))
            ours, theirs, ratio = compare(times, "handlib", "smplx")
            found.append(
                Row(f"hand layer, forward and backward, batch {batch}", "ms", 1e3 * ours,
                    1e3 * theirs, ratio, "2x smplx", ratio >= 2, "smplx")
            )  # fmt: skip
    return found


def _ours(layer, pose, betas):
    output = layer(layer.rotations(pose), betas)
    _backward(pose, betas, output)


def _theirs(model, pose, betas):
    output = model(betas=betas, global_orient=pose[:, :3], hand_pose=pose[:, 3:])
    _backward(pose, betas, output)


def _backward(pose, betas, output):
    pose.grad = betas.grad = None
    made = [output.vertices, output.joints]
    torch.autograd.backward(made, [torch.ones_like(values) for values in made])


if __name__ == "__main__":
    for row in rows():
        print(row)
