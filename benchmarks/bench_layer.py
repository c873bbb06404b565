"""The hand layer beside smplx's: forward and backward, gradients to pose, shape and view.

    python benchmarks/bench_layer.py

Both get the same axis-angle poses and give vertices and joints; the loss is a sum of squares.
"""

import smplx
import torch
from timing import Row, compare, in_turns, one_thread

from handlib.mano import HandLayer, load_hand_model
from handlib.mano.standin import standin_path


def rows(rounds=60, batches=(1, 64, 512)):
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
    pose.grad = betas.grad = None
    output = layer(layer.rotations(pose), betas)
    (output.vertices.square().sum() + output.joints.square().sum()).backward()


def _theirs(model, pose, betas):
    pose.grad = betas.grad = None
    output = model(betas=betas, global_orient=pose[:, :3], hand_pose=pose[:, 3:])
    (output.vertices.square().sum() + output.joints.square().sum()).backward()


if __name__ == "__main__":
    for row in rows():
        print(row)
