import numpy as np
import pytest
import torch
from fake_data import fake_sample
from torch.utils.data import DataLoader

from handlib.augment import AddClutter, ColorJitter, Compose, Resize, Rotate, ScaleNormalize
from handlib.data.dataset import HandDataset, ShuffledSampler, spread
from handlib.data.sample import OPTIONAL, Sample, collate
from handlib.joints import ROOT


class Hands:
    """Ten made-up hands."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return fake_sample(index, size=(64, 64))


def loader(workers=0, seed=0):
    transforms = Compose([Rotate(), Resize(48), AddClutter(), ColorJitter()])
    dataset = HandDataset(Hands(), transforms, seed)
    sampler = ShuffledSampler(len(dataset), seed)
    return DataLoader(dataset, 4, sampler=sampler, num_workers=workers, collate_fn=collate)


def epoch(loader, number, start=0):
    loader.sampler.set_epoch(number, start)
    batches = list(loader)
    return torch.cat([b["id"] for b in batches]), torch.cat([b["image"] for b in batches])


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_makes_the_same_batches(workers):
    several, alone = loader(workers), loader()
    for number in (0, 1):
        for ours, theirs in zip(epoch(several, number), epoch(alone, number)):
            assert torch.equal(ours, theirs)


def test_epochs_differ_in_order_and_in_augmentation():
    first, second = epoch(loader(), 0), epoch(loader(), 1)
    assert first[0].tolist() != second[0].tolist()
    assert sorted(first[0].tolist()) == sorted(second[0].tolist()) == list(range(10))
    images = [e[1][e[0].tolist().index(3)] for e in (first, second)]
    assert not torch.equal(*images)


def test_the_seed_decides_everything():
    first, again, other = (epoch(loader(seed=s), 2) for s in (5, 5, 6))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert first[0].tolist() != other[0].tolist()


def test_an_epoch_resumes_where_it_stopped():
    whole, rest = epoch(loader(), 3), epoch(loader(), 3, start=4)
    assert torch.equal(whole[0][4:], rest[0]) and torch.equal(whole[1][4:], rest[1])
    sampler = ShuffledSampler(10)
    sampler.set_epoch(1, 8)
    assert [epoch for epoch, _ in sampler] == [1, 1] and len(sampler) == 2


def test_batch_has_the_annotations_and_says_which_are_there():
    batch = collate([fake_sample(0), fake_sample(1).replace(joints=None, pose=None, mask=None)])
    assert batch["image"].shape == (2, 3, 224, 224) and batch["image"].dtype == torch.uint8
    assert batch["mask"].shape == (2, 224, 224) and batch["mask"].dtype == torch.bool
    assert batch["mask"][0].any() and not batch["mask"][1].any()
    assert batch["has_mask"].tolist() == [True, False]
    for name in set(OPTIONAL) - {"mask"}:
        assert batch[name].dtype == torch.float32
        missing = name in ("joints", "pose")
        assert batch[f"has_{name}"].tolist() == [True, not missing]
        assert torch.isfinite(batch[name][0]).all()
        assert torch.isnan(batch[name][1]).all() == missing
    np.testing.assert_allclose(batch["joints"][0], fake_sample(0).joints, atol=1e-7)
    expected = fake_sample(0).image.transpose(2, 0, 1)
    np.testing.assert_array_equal(batch["image"][0], expected)


def test_images_that_lie_oddly_in_memory_make_a_batch():
    """Flipped, and not to be written to, of which torch would warn."""
    image = fake_sample(0).image
    flipped, kept = fake_sample(0).replace(image=image[:, ::-1]), image.copy()
    kept.flags.writeable = False
    batch = collate([flipped, fake_sample(1).replace(image=kept)])
    np.testing.assert_array_equal(batch["image"][0], image[:, ::-1].transpose(2, 0, 1))
    np.testing.assert_array_equal(batch["image"][1], image.transpose(2, 0, 1))


def test_a_batch_says_whose_side_is_known():
    batch = collate([fake_sample(0, is_right=side) for side in (True, False, None)])
    assert batch["is_right"].tolist() == [True, False, True]  # unknown: as the network sees it
    assert batch["has_is_right"].tolist() == [True, True, False]


def test_a_batch_says_the_unit_and_the_version():
    samples = [fake_sample(0, version=3), fake_sample(1, version=None).replace(unit=0.03)]
    batch = collate(samples)
    assert batch["version"].tolist() == [3, -1]
    assert batch["unit"].tolist() == pytest.approx([1, 0.03])


def test_single_missing_joints_are_missing():
    sample = fake_sample(0)
    sample.joints_2d[4] = np.nan
    batch = collate([sample])
    assert not batch["has_joints_2d"][0]  # the whole is not there, the others are
    missing = torch.isnan(batch["joints_2d"]).all(-1)[0]
    assert missing.nonzero().flatten().tolist() == [4]


def test_a_copy_with_an_unknown_field_is_refused():
    with pytest.raises(TypeError, match=r"no joint$"):
        fake_sample(0).replace(joint=None)


def test_wrong_shapes_are_refused():
    image = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match=r"joints of shape \(21, 3\), got \(3, 21\)"):
        Sample(image, 0, joints=np.zeros((3, 21)))
    with pytest.raises(ValueError, match="uint8 RGB image"):
        Sample(image / 255, 0)
    for mask in (np.ones((8, 9), bool), np.ones((8, 8), np.uint8), np.ones((8, 8, 1), bool)):
        with pytest.raises(ValueError, match=r"expected a \(8, 8\) bool mask"):
            Sample(image, 0, mask=mask)
        with pytest.raises(ValueError, match=r"expected a \(8, 8\) bool mask"):
            Sample(image, 0).replace(mask=mask)
    with pytest.raises(ValueError, match="one size"):
        collate([Sample(image, 0), Sample(image[:4], 1)])


def test_what_is_not_all_known_has_no_place_by_the_root():
    sample = fake_sample(0)
    np.testing.assert_array_equal(sample.rooted("joints")[ROOT], 0)
    assert sample.replace(vertices=None).rooted("vertices") is None
    joints = sample.joints.copy()
    joints[0] = np.nan
    unknown = sample.replace(joints=joints)
    assert unknown.rooted("joints") is None and unknown.rooted("vertices") is None


def test_places_by_the_root_are_in_metres_whatever_the_unit():
    sample = fake_sample(0)
    scaled = ScaleNormalize()(sample, None)
    assert scaled.unit != 1
    for name in ("joints", "vertices"):
        np.testing.assert_allclose(scaled.rooted(name), sample.rooted(name), atol=1e-9)


def test_samples_are_spread_from_the_first_to_the_last():
    assert list(spread(range(100), 4)) == [0, 33, 66, 99]
    assert list(spread(range(3), 10)) == [0, 1, 2]
    assert list(spread(range(5), 1)) == [0]
