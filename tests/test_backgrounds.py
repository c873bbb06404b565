import cv2
import numpy as np
import pytest

from handlib.data import bodies, places
from handlib.data.backgrounds import Backgrounds, load_backgrounds, procedural


def picture(path, size, color):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((size[1], size[0], 3), color[::-1], np.uint8))


def test_made_up_pictures_are_reproducible_and_differ():
    first = [Backgrounds(seed=1).draw(np.random.default_rng(5), (64, 48)) for _ in range(2)]
    assert first[0].shape == (48, 64, 3) and first[0].dtype == np.uint8
    assert np.array_equal(*first)
    other = Backgrounds(seed=2).draw(np.random.default_rng(5), (64, 48))
    assert not np.array_equal(first[0], other)


def test_made_up_pictures_are_not_flat():
    spread = [procedural(np.random.default_rng(i), 64).std() for i in range(12)]
    assert np.median(spread) > 15


def test_every_kind_of_place_is_drawn_whole_and_otherwise_each_time():
    drawn = [places.place(np.random.default_rng(i), 48) for i in range(40)]
    assert all(p.shape == (48, 48, 3) and np.isfinite(p).all() for p in drawn)
    for kind in places.KINDS:
        first, same, other = (kind(np.random.default_rng(i), 64) for i in (3, 3, 4))
        assert first.shape == (64, 64, 3) and first.dtype == np.float32, kind.__name__
        np.testing.assert_array_equal(first, same)
        assert np.abs(first - other).mean() > 5, kind.__name__


def test_heads_and_limbs_are_of_skin_and_lit():
    """Before a blue ground: redder than that, in many shades."""
    ground = np.full((64, 64, 3), (20, 40, 200), np.float32)
    for i in range(12):
        drawn = bodies.body_part(np.random.default_rng(i), ground)
        part = np.abs(drawn - ground).max(-1) > 60
        assert drawn.dtype == np.float32 and np.isfinite(drawn).all()
        assert part.mean() > 0.04, i
        red, _, blue = np.median(drawn[part], 0)
        assert red > blue and drawn[part].mean(-1).std() > 5, i


def test_some_backgrounds_are_two_pictures_that_meet(monkeypatch):
    """More of them than the bank holds."""
    flat = [np.full((64, 64, 3), level, np.uint8) for level in (20, 220)]
    monkeypatch.setattr("handlib.data.backgrounds._made_up", lambda seed, index: flat[index % 2])
    rng = np.random.default_rng(0)
    parts = [Backgrounds().draw(rng, (48, 40)).std((0, 1)).max() > 20 for _ in range(200)]
    assert 0.08 < np.mean(parts) < 0.22


def test_pictures_of_a_folder_are_used_whatever_their_size(tmp_path):
    picture(tmp_path / "tiny.png", (3, 2), (200, 30, 30))
    picture(tmp_path / "sub" / "wide.jpg", (300, 40), (200, 30, 30))
    backgrounds = Backgrounds(tmp_path)
    assert backgrounds.source == str(tmp_path)
    rng = np.random.default_rng(0)
    drawn = np.stack([backgrounds.draw(rng, (32, 24)) for _ in range(20)])
    assert drawn.shape == (20, 24, 32, 3)
    red, green = drawn[..., 0].mean(), drawn[..., 1].mean()
    assert red > 2 * green


def test_a_folder_is_known_by_its_place_and_its_pictures(tmp_path, monkeypatch):
    picture(tmp_path / "bg" / "a.png", (8, 8), (1, 2, 3))
    monkeypatch.chdir(tmp_path)
    here = Backgrounds("bg")
    assert here.source == str(tmp_path / "bg") == Backgrounds(tmp_path / "bg").source
    assert here.fingerprint() == Backgrounds(tmp_path / "bg").fingerprint()
    picture(tmp_path / "bg" / "strip.png", (4000, 1), (1, 2, 3))  # however thin
    assert Backgrounds("bg").fingerprint() != here.fingerprint()
    rng = np.random.default_rng(0)
    assert {Backgrounds("bg").draw(rng, (16, 16)).shape for _ in range(8)} == {(16, 16, 3)}


def test_broken_pictures_are_skipped_with_a_warning(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"not a picture")
    picture(tmp_path / "b.jpg", (50, 50), (10, 20, 200))
    with pytest.warns(UserWarning, match=r"a\.jpg"):
        backgrounds = Backgrounds(tmp_path)
    rng = np.random.default_rng(0)
    assert all(backgrounds.draw(rng, (16, 16))[..., 2].mean() > 60 for _ in range(5))


def test_folders_without_pictures_name_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match="MP_BACKGROUNDS"):
        Backgrounds(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("none here")
    with pytest.raises(ValueError, match="unset it"):
        Backgrounds(tmp_path)


def test_the_environment_variable_names_the_folder(tmp_path, monkeypatch):
    assert load_backgrounds().source == "procedural"
    picture(tmp_path / "a.png", (8, 8), (1, 2, 3))
    monkeypatch.setenv("MP_BACKGROUNDS", str(tmp_path))
    assert load_backgrounds().source == str(tmp_path)
