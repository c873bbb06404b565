"""Cases of ``faults``: backgrounds, hand models, variables and settings that cannot be."""

import pickle
import shutil

import numpy as np
from faults import GOES_ON, REFUSED, WARNED, case
from mano_files import mano_arrays, write_plain

from handlib.data import Backgrounds, dataset_root, load_backgrounds, open_dataset
from handlib.mano import load_hand_model
from handlib.recipe import TrainConfig
from handlib.runs import open_run, runs_root

PICTURES, PLACES, HAND = "backgrounds", "environment", "hand model"


# -- backgrounds -----------------------------------------------------------------------------
UNSET = "point MP_BACKGROUNDS at a folder of pictures, or unset it"


@case(
    PICTURES,
    "the folder does not exist",
    "MP_BACKGROUNDS=nowhere",
    REFUSED,
    f"nowhere does not exist: {UNSET}",
)
def _no_backgrounds(at):
    at.set(MP_BACKGROUNDS=at.folder / "nowhere")
    yield
    load_backgrounds()


@case(
    PICTURES,
    "a file is named",
    "a picture as MP_BACKGROUNDS",
    REFUSED,
    f"one.jpg is a file: {UNSET}",
)
def _background_file(at):
    at.set(MP_BACKGROUNDS=at.picture("one.jpg"))
    yield
    load_backgrounds()


@case(
    PICTURES,
    "no picture in it",
    "an empty folder",
    REFUSED,
    f"no picture in .*pictures can be read.*{UNSET}",
)
def _empty_backgrounds(at):
    (at.folder / "pictures").mkdir()
    yield
    Backgrounds(at.folder / "pictures")


@case(
    PICTURES,
    "all pictures are broken",
    "text files named .jpg",
    REFUSED,
    f"no picture in .*pictures can be read.*{UNSET}",
)
def _broken_backgrounds(at):
    at.picture("pictures/a.jpg").write_text("no picture")
    yield
    Backgrounds(at.folder / "pictures")


@case(
    PICTURES,
    "one picture is broken",
    "a text file among pictures",
    WARNED,
    r"skipped .*a.jpg is not a readable image",
)
def _broken_background(at):
    at.picture("pictures/a.jpg").write_text("no picture")
    at.picture("pictures/b.jpg")
    yield
    pictures = Backgrounds(at.folder / "pictures")
    for seed in range(5):
        assert pictures.draw(np.random.default_rng(seed), (32, 32)).shape == (32, 32, 3)


@case(PICTURES, "a picture of one pixel", "1x1 px", GOES_ON, "drawn as 32x24")
def _tiny(at):
    at.picture("pictures/a.png", (1, 1))
    yield
    drawn = Backgrounds(at.folder / "pictures").draw(np.random.default_rng(0), (32, 24))
    return "drawn as {1}x{0}".format(*drawn.shape)


@case(
    PICTURES,
    "the pictures vanish while they are used",
    "deleted after opening",
    REFUSED,
    f"no picture in .*pictures can be read any more: {UNSET}",
)
def _vanished(at):
    at.picture("pictures/a.png")
    pictures = Backgrounds(at.folder / "pictures")
    from handlib.data import backgrounds

    backgrounds._load.cache_clear()
    yield
    at.lost = "nothing"
    shutil.rmtree(at.folder / "pictures")
    pictures.draw(np.random.default_rng(0), (32, 24))


# -- environment -----------------------------------------------------------------------------
def _found(what, how, name, prepare):
    """A case: a spelling of MP_DATA that must find the dataset."""

    @case(PLACES, what, how, GOES_ON, "12 samples")
    def steps(at):
        root = at.dataset(name)
        at.set(MP_DATA=prepare(at, root))
        yield
        return f"{len(open_dataset(dataset_root()))} samples"

    return steps


def _at_home(at, root):
    import os

    at.undo.callback(os.environ.__setitem__, "HOME", os.environ["HOME"])
    at.set(HOME=at.folder)
    return f"~/{root.name}"


_found("a trailing slash", "MP_DATA=.../data/", "data", lambda at, root: f"{root}/")
_found("spaces around the path", "MP_DATA=' .../data '", "data", lambda at, root: f" {root} ")
_found("spaces in the path", "MP_DATA='.../my data'", "my data", lambda at, root: root)
_found("other letters than ASCII", "MP_DATA=.../手の데이터é", "手の데이터é", lambda at, root: root)
_found("a home folder", "MP_DATA=~/data", "data", _at_home)


@case(
    PLACES,
    "the home folder of nobody",
    "MP_DATA=~nobody-here/data",
    REFUSED,
    "MP_DATA begins with a home folder that does not exist: ~nobody-here/data. Write the whole",
)
def _nobody(at):
    at.set(MP_DATA="~nobody-here/data")
    yield
    open_dataset()


@case(
    PLACES,
    "set to nothing",
    "every variable set to '' or ' '",
    GOES_ON,
    "stand-in hand, procedural, outputs",
)
def _blank(at):
    at.set(MANO="", MP_DATA=" ", MP_BACKGROUNDS=" ", MP_EXPERIMENTS=" ", HANDLIB_CACHE=" ")
    yield
    return f"{load_hand_model().name}, {load_backgrounds().source}, {runs_root().name}"


@case(
    PLACES,
    "runs go to a file",
    "MP_EXPERIMENTS=.../file",
    REFUSED,
    "cannot make the run folder .*set MP_EXPERIMENTS to a folder that you may write to",
)
def _runs_file(at):
    (at.folder / "file").touch()
    at.set(MP_EXPERIMENTS=at.folder / "file")
    yield
    open_run("", "02_train")


@case(
    PLACES,
    "runs go to a read-only folder",
    "",
    REFUSED,
    "cannot make the run folder .*set MP_EXPERIMENTS to a folder that you may write to",
)
def _runs_read_only(at):
    at.set(MP_EXPERIMENTS=at.read_only("shut"))
    yield
    open_run("", "02_train")


@case(
    PLACES,
    "the cache goes to a read-only folder",
    "",
    REFUSED,
    "cannot write .*set HANDLIB_CACHE to a folder that you may write to",
)
def _cache_read_only(at):
    at.set(HANDLIB_CACHE=at.read_only("shut") / "cache")
    yield
    dataset_root(samples=2)


# -- hand models -----------------------------------------------------------------------------
def _hand(what, how, says, prepare, happens=REFUSED, **options):
    @case(HAND, what, how, happens, says)
    def steps(at):
        at.set(MANO=prepare(at.folder / "mano"))
        yield
        return load_hand_model(**options).name

    return steps


def _cut(folder):
    path = write_plain(folder)
    path.write_bytes(path.read_bytes()[:50_000])
    return folder


def _right_as_left(folder):
    write_plain(folder)
    shutil.copy(folder / "MANO_RIGHT.pkl", folder / "MANO_LEFT.pkl")
    return folder


def _without(folder):
    arrays = mano_arrays()
    del arrays["posedirs"], arrays["hands_mean"]
    folder.mkdir()
    (folder / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(arrays, protocol=2))
    return folder


def _bytes(content):
    def prepare(folder):
        folder.mkdir()
        (folder / "MANO_RIGHT.pkl").write_bytes(content)
        return folder

    return prepare


NANS = np.full((778, 3), np.nan)
_hand(
    "the folder does not exist",
    "MANO=.../mano",
    "No MANO_RIGHT was found. Looked at:(.|\n)*unset",
    lambda folder: folder,
)
_hand(
    "only the left hand is there",
    "a folder with MANO_LEFT.pkl",
    "No MANO_RIGHT was found",
    lambda folder: write_plain(folder, "left").parent,
)
_hand(
    "arrays are missing",
    "posedirs, hands_mean deleted",
    "MANO_RIGHT.pkl is not a MANO hand model: it lacks posedirs, hands_mean; take the file",
    _without,
)
_hand(
    "an array of another shape",
    "300 shape components",
    r"MANO_RIGHT.pkl: shapedirs has shape \(778, 3, 300\), MANO's is \(778, 3, 10\)",
    lambda folder: write_plain(folder, shapedirs=np.zeros((778, 3, 300))).parent,
)
_hand(
    "numbers are missing",
    "NaN in v_template",
    "MANO_RIGHT.pkl: v_template holds something",
    lambda folder: write_plain(folder, v_template=NANS).parent,
)
_hand(
    "the file is cut short",
    "50 kB of a pickle",
    "MANO_RIGHT.pkl is not a readable hand model.*mano.is.tue.mpg.de, whole",
    _cut,
)
_hand(
    "the file is a web page",
    "<html> as MANO_RIGHT.pkl",
    "MANO_RIGHT.pkl is not a readable hand model.*mano.is.tue.mpg.de",
    _bytes(b"<html>Please log in</html>"),
)
_hand(
    "the file is empty",
    "0 bytes",
    "MANO_RIGHT.pkl is not a readable hand model.*mpg.de",
    _bytes(b""),
)


@case(
    HAND,
    "a left file for a right hand",
    "load_hand_model(MANO_LEFT.pkl)",
    REFUSED,
    "MANO_LEFT.pkl is by its name not the right hand: ask for the file's side",
)
def _left_for_right(at):
    path = write_plain(at.folder, "left")
    yield
    load_hand_model(path)


@case(
    HAND,
    "the right hand in a file named left",
    "MANO_RIGHT.pkl copied",
    REFUSED,
    "MANO_LEFT.pkl holds the same hand as MANO_RIGHT.pkl.*download both again",
)
def _named_left(at):
    folder = _right_as_left(at.folder / "mano")
    yield
    load_hand_model(folder, "left")


# -- settings of a training ------------------------------------------------------------------
def _setting(what, says, **settings):
    how = ", ".join(f"{name}={value!r}" for name, value in settings.items())

    @case("settings", what, how, REFUSED, says)
    def steps(at):
        yield
        TrainConfig(**settings)

    return steps


_setting("a batch of nothing", "batch_size.*at least 1.*got 0", batch_size=0)
_setting("a negative learning rate", "lr.*got -1", lr=-1.0)
_setting("negative steps", "steps.*at least 1.*got -5", steps=-5)
_setting("negative workers", "workers.*got -1", workers=-1)
_setting("an unknown optimizer", "unknown optimizer 'sgdd'; known: adam, adamw", optimizer="sgdd")
_setting(
    "an unknown precision",
    "unknown mixed_precision 'half'; known: no, bf16",
    mixed_precision="half",
)
_setting("no end", "give steps, max_minutes, or both", steps=None)
_setting("records never", "log_every.*at least 1", log_every=0)
