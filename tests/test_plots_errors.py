"""Figures of errors show the numbers they were given, and samples as they were photographed."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from posed_hands import SIZE, PosedHands

from handlib import plots
from handlib.augment import Flip, ToRight
from handlib.joints import FINGER_COLORS, ROOT
from handlib.metrics import Interval
from handlib.plots import images, style


@pytest.fixture(scope="module")
def samples(hand):
    posed = PosedHands(hand, 3, seed=4)
    return [posed[i] for i in range(3)]


def predictions(samples, mirrored=False):
    """The truth, as ``evaluation.predict`` returns it."""
    n = len(samples)
    rooted = {name: np.stack([s.rooted(name) for s in samples]) for name in ("joints", "vertices")}
    joints_2d = np.stack([s.joints_2d for s in samples])
    return {f"pred_{name}": values for name, values in rooted.items()} | {
        "pred_joints_2d": joints_2d,
        "pred_scale": np.full(n, 250.0),
        "pred_trans": joints_2d[:, ROOT],
        "mirrored": np.full(n, mirrored),
        "is_right": np.ones(n, bool),
        "width": np.full(n, SIZE),
    }


def titles(figure):
    return [ax.get_title("left") for ax in figure.axes]


def group(value, n=4):
    return {"n": n, "error": Interval(value, value - 1, value + 2)}


def test_groups_are_bars_with_intervals_and_counts():
    aligned = {"finger": {"thumb": group(3.0), "pinky": group(7.0, 5)}, "look": {"a": group(4.0)}}
    figure = plots.show_error_groups({"aligned": aligned, "root": aligned}, "data")
    fingers, look = figure.axes[:2]
    assert [bar.get_width() for bar in fingers.patches] == [3, 7]
    assert [text.get_text() for text in fingers.get_yticklabels()] == ["thumb (4)", "pinky (5)"]
    assert fingers.get_title("left") == "finger" and "(mm)" in look.get_xlabel()
    ends = fingers.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose(ends[1][:, 0], [6, 9])
    faces = [bar.get_facecolor()[:3] for bar in fingers.patches]
    expected = [FINGER_COLORS[name] for name in ("thumb", "pinky")]
    np.testing.assert_allclose(faces, [to_rgb(c) for c in expected])


def test_calibration_tells_how_well_ranks_agree():
    x = np.append(np.arange(40.0), np.nan)
    both, parts = plots.show_calibration(x, x**2, x, 90 - x).axes
    assert both.get_title("left") == "rank correlation 1.00, 40 images"
    assert parts.get_title("left") == "rank correlation -1.00, 40 images"
    assert "px" in both.get_xlabel() and "mm" in both.get_ylabel()
    medians = both.containers[0].lines[0].get_xydata()
    np.testing.assert_allclose(medians[0], [2, 4])  # of 0..4 and of their squares


def test_failures_are_counted_among_the_samples_that_were_judged():
    failures = {
        "depth flip": np.array([True, False, False, False, False]),
        "bad scale": np.array([True, True, False, False, False]),
        "none": np.array([False, False, True, True, False]),
    }
    ax = plots.show_failures(failures).axes[0]
    assert [bar.get_width() for bar in ax.patches] == [25, 50, 50]
    assert " 2 (50 %)" in [text.get_text() for text in ax.texts]


def test_examples_have_a_row_for_each_failure(samples, hand):
    examples = {"depth flip": {0: samples[0], 2: samples[2]}, "bad scale": {1: samples[1]}}
    figure = plots.show_failure_examples(examples, predictions(samples), hand.faces)
    assert titles(figure)[0] == "DEPTH FLIP\n0 v0: truth" and titles(figure)[3] == "2 v0: truth"
    assert titles(figure)[6] == "BAD SCALE\n1 v0: truth" and not figure.axes[9].images
    drawn = figure.axes[7].collections[0].get_offsets()
    np.testing.assert_allclose(drawn, samples[1].joints_2d)


def test_explorer_shows_each_sample_its_numbers_and_its_neighbours(samples, hand):
    numbers = {n: np.array([1.0, 2.0]) for n in ("error_2d_px", "pa_mpjpe_mm", "mpjpe_root_mm")}
    near = [[(samples[2], 3.21)], [(samples[0], 6.5)]]
    figure = plots.show_explorer(
        samples[:2], predictions(samples[:2]), hand.faces, ["best", "worst"], numbers, near
    )
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert texts == ["0 v0: best", "1 v0: worst"]
    row = titles(figure)[5:]
    assert row == ["\ntruth", "\n2D 2.0 px", "\nPA 2.0 mm", "from the right\nroot 2.0 mm",
                   "nearest in training\n0 v0: 6.5 mm"]  # fmt: skip
    np.testing.assert_array_equal(figure.axes[9].images[0].get_array(), samples[0].image)


def test_explorer_shows_left_hands_as_photographed(samples, hand):
    photos = [Flip(1.0)(sample, np.random.default_rng(0)) for sample in samples]
    seen = [ToRight()(photo, None) for photo in photos]
    numbers = {n: np.zeros(3) for n in ("error_2d_px", "pa_mpjpe_mm", "mpjpe_root_mm")}
    near = [[(sample, 0.0)] for sample in seen]
    found = predictions(seen, mirrored=True)
    figure = plots.show_explorer(seen, found, hand.faces, ["best"] * 3, numbers, near)
    for ax in (figure.axes[0], figure.axes[4]):
        np.testing.assert_array_equal(ax.images[0].get_array(), photos[0].image)
    drawn = figure.axes[1].collections[0].get_offsets()
    np.testing.assert_allclose(drawn, photos[0].joints_2d, atol=1e-6)


def test_the_truth_without_a_mesh_is_a_skeleton_from_the_side(samples, hand):
    found = predictions(samples[:1])
    for vertices, bones in ((samples[0].vertices, 0), (None, 5)):
        _, axes = style.new_figure(1, 4)
        bare = samples[0].replace(vertices=vertices)
        ((sample, prediction, faces),) = plots.as_photographed([bare], found, hand.faces)
        images.draw_prediction(axes[0], sample, prediction, faces)
        assert len(axes[0, 3].lines) == bones
