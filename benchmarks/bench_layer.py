"""The hand layer beside smplx's: forward and backward, gradients to pose, shape and view.

    python benchmarks/bench_layer.py

Both get the same axis-angle poses and give vertices and joints, and the same gradients of these.
"""

from timing import Row, backward, compare, in_turns, random_hands, smplx_hands

from handlib.data.synthesize import one_thread
from handlib.mano import HandLayer, load_hand_model
from handlib.mano.standin import standin_path


def rows(rounds=25, batches=(1, 64, 512)):
    layer = HandLayer(load_hand_model(standin_path("right")), "manopth")
    found = []
    with one_thread():
        for batch in batches:
            functions = {"handlib": _ours(layer, batch), "smplx": smplx_hands(batch)}
            times = in_turns(functions, rounds, calls=max(1, 20 // batch))
            ours, theirs, ratio = compare(times, "handlib", "smplx")
            found.append(
                Row(f"hand layer, forward and backward, batch {batch}", "ms", 1e3 * ours,
                    1e3 * theirs, ratio, "2x smplx", ratio >= 2, "smplx")
            )  # fmt: skip
    return found


def _ours(layer, batch):
    pose, betas = random_hands(batch)
    return lambda: backward(pose, betas, layer(layer.rotations(pose), betas))


if __name__ == "__main__":
    for row in rows():
        print(row)
