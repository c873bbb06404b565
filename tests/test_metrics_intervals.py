import numpy as np
import pytest

from handlib import metrics
from handlib.joints import FINGER_JOINTS, JOINT_NAMES


def errors(n=200, seed=0):
    return np.random.default_rng(seed).gamma(4, 4, (n, 21)) * np.linspace(0.5, 1.5, 21)


def test_values_are_those_of_the_plain_functions():
    e = errors()
    rows = metrics.keypoint_intervals(e, draws=50)
    assert list(rows) == ["all", *FINGER_JOINTS, *JOINT_NAMES]
    for part, joints in (("all", range(21)), ("ring", FINGER_JOINTS["ring"]), ("wrist", [0])):
        found, expected = rows[part], metrics.pck(e[:, list(joints)])
        assert found["error"].value == pytest.approx(e[:, list(joints)].mean(), rel=1e-6)
        np.testing.assert_allclose(found["curve"].value, expected, atol=1e-6)
        assert found["auc"].value == pytest.approx(metrics.area_under(expected), abs=1e-6)
        assert found["auc"].low < found["auc"].value < found["auc"].high


def test_a_prediction_that_is_not_finite_is_no_missing_annotation():
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 0.03, (6, 21, 3))
    pred = truth + rng.normal(0, 0.005, truth.shape)
    for bad in (np.nan, np.inf):
        pred[2, 4] = bad
        with pytest.raises(ValueError, match=r"prediction of sample 2 is not finite \(1 of 6\)"):
            metrics.paper_intervals(pred, truth, draws=5)
    truth[2, 4] = np.nan  # not annotated: then it does not matter
    assert np.isfinite(metrics.paper_intervals(pred, truth, draws=5)["root_50mm"]["all"]["auc"][0])
    with pytest.raises(ValueError, match="infinite"):
        metrics.keypoint_intervals(np.where(errors(3) > 15, np.inf, errors(3)), draws=5)
    for mean in (metrics.mean_interval, metrics.t_interval):
        with pytest.raises(ValueError, match="infinite"):
            mean([1.0, np.inf, 2.0])
    for wrong in (truth[:1], truth[:, :20]):
        with pytest.raises(ValueError, match=r"expected predicted and .* \(N, 21, 3\)"):
            metrics.paper_intervals(pred[:, : wrong.shape[1]], wrong)
    with pytest.raises(ValueError, match=r"expected errors \(N, 21\)"):
        metrics.keypoint_intervals(errors(0))


def test_intervals_are_printed():
    rows = metrics.keypoint_intervals(errors(), draws=20)["all"]
    assert str(rows["auc"]).count("[") == 1
    assert "curve" not in str(rows["curve"]) and str(rows["curve"]).startswith("Interval(")


def test_bounds_are_as_wide_as_theory_says():
    e = errors(2000)
    found = metrics.keypoint_intervals(e, seed=3)["all"]["error"]
    standard_error = e.mean(1).std() / np.sqrt(len(e))
    assert found.high - found.low == pytest.approx(2 * 1.96 * standard_error, rel=0.1)
    narrow = metrics.keypoint_intervals(e, seed=3, confidence=0.5)["all"]["error"]
    assert narrow.high - narrow.low == pytest.approx(2 * 0.674 * standard_error, rel=0.15)


def test_copies_of_a_pose_are_no_new_evidence():
    e = errors(300)
    alone = metrics.keypoint_intervals(e)["thumb"]["auc"]
    copies, labels = np.tile(e, (4, 1)), np.tile(np.arange(300), 4)
    together = metrics.keypoint_intervals(copies, groups=labels)["thumb"]["auc"]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    careless = metrics.keypoint_intervals(copies)["thumb"]["auc"]
    assert careless.high - careless.low < 0.7 * (alone.high - alone.low)


def test_seeds_decide():
    e = errors(50)
    first, same, other = (metrics.keypoint_intervals(e, draws=40, seed=s) for s in (1, 1, 2))
    assert first["all"]["error"] == same["all"]["error"] != other["all"]["error"]


def test_what_is_not_annotated_does_not_count():
    e = errors(40)
    e[:, 4] = np.nan
    e[::2, 7] = np.nan
    rows = metrics.keypoint_intervals(e, draws=200)
    assert JOINT_NAMES[4] not in rows
    assert rows[JOINT_NAMES[7]]["error"].value == pytest.approx(e[1::2, 7].mean(), rel=1e-6)
    assert rows["thumb"]["error"].value == pytest.approx(e[:, 1:4].mean(), rel=1e-6)
    np.testing.assert_allclose(rows["all"]["curve"].value, metrics.pck(e), atol=1e-6)
    assert metrics.keypoint_intervals(e * np.nan) == {}
    with pytest.raises(ValueError, match="expected errors"):
        metrics.keypoint_intervals(e, groups=[1, 2])


def test_the_papers_evaluation():
    rng = np.random.default_rng(0)
    gt = rng.normal(0, 0.04, (30, 21, 3)) + [0, 0, 0.6]
    pred = gt + [0.2, 0, 0]  # moved: no error once the roots meet
    pred[:, 8] += [0.03, 0, 0]
    gt_2d = rng.uniform(0, 224, (30, 21, 2))
    rows = metrics.paper_intervals(pred, gt, gt_2d + [9, 12], gt_2d, draws=20)
    assert list(rows) == ["root_50mm", "root_20_50mm", "2d_30px"]
    tip = JOINT_NAMES[8]
    # Right from 30 mm on: two fifths of 0-50, two thirds of 20-50; right from 15 of 30 px on.
    assert rows["root_50mm"][tip]["auc"].value == pytest.approx(0.4, abs=0.006)
    assert rows["root_20_50mm"][tip]["auc"].value == pytest.approx(2 / 3, abs=0.006)
    assert rows["2d_30px"]["all"]["auc"].value == pytest.approx(0.5, abs=0.006)
    assert rows["2d_30px"]["all"]["error"].value == pytest.approx(15)
    assert rows["root_50mm"]["all"]["error"].value == pytest.approx(30 / 21)
    assert "2d_30px" not in metrics.paper_intervals(pred, gt, draws=5)
    assert str(rows["2d_30px"]["all"]["error"]) == "15 [15, 15]"


def test_the_interval_of_a_mean_is_that_of_all_joints():
    errors = np.random.default_rng(4).gamma(2, 10, (60, 21))
    groups = np.arange(60) // 4
    expected = metrics.keypoint_intervals(errors, groups=groups)["all"]["error"]
    np.testing.assert_allclose(metrics.mean_interval(errors, groups), expected, rtol=1e-4)
    holes = np.where(np.arange(60)[:, None] % 4 == 0, np.nan, errors)
    assert metrics.mean_interval(holes, groups).value == pytest.approx(np.nanmean(holes))
    assert metrics.mean_interval(np.ones(5)) == (1, 1, 1)


def test_no_values_have_no_interval():
    for interval in (metrics.mean_interval, metrics.t_interval):
        with pytest.raises(ValueError, match=r"no values .* shape is \(0,\)"):
            interval([])


def test_the_interval_of_a_mean_is_as_wide_as_its_confidence_asks():
    errors = np.random.default_rng(4).normal(size=400)
    for confidence, deviations in ((0.5, 0.674), (0.95, 1.96), (0.99, 2.576)):
        found = metrics.mean_interval(errors, draws=4000, confidence=confidence)
        expected = 2 * deviations * errors.std() / np.sqrt(400)
        assert found.high - found.low == pytest.approx(expected, rel=0.08)


def test_the_t_interval_is_that_of_the_means_of_groups():
    from scipy import stats

    errors = np.random.default_rng(4).gamma(2, 10, (60, 3))
    errors[::4] = np.nan
    means = np.nanmean(errors.reshape(15, -1), 1)
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.99)
    found = metrics.t_interval(errors, np.arange(60) // 4, 0.99)
    np.testing.assert_allclose(found, (means.mean(), *expected))
    assert metrics.t_interval(np.ones(5)) == (1, 1, 1)


def test_t_intervals_cover_the_mean_of_groups_that_are_not_equally_large():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), np.arange(40) % 5 + 1)
    found = [
        metrics.t_interval(rng.normal(size=40)[groups] + rng.normal(size=len(groups)), groups)
        for _ in range(400)
    ]
    assert 0.92 < np.mean([low < 0 < high for _, low, high in found]) < 0.98
