"""FreiHAND as published, as the course's ``freihand_dataset_MP``, and synthetic data like it.

Public layout: ``training/rgb/%08d.jpg``, ``training/mask``, ``training_*.json`` (K, xyz, verts,
mano, scale), and ``evaluation/rgb``, ``evaluation_*.json`` (K and scale, the others later).
freihand_dataset_MP: ``{train,val,test}/%08d.jpg``, ``{split}_K.json``, ``{split}_xyz.json`` (not
for test). In both, file id = unique id + poses * version.
"""

import warnings
from pathlib import Path

import numpy as np

from handlib.data.annotations import WHOLE, load_annotation
from handlib.data.reader import SplitReader
from handlib.data.sample import VERSIONS, Sample
from handlib.data.usable import read_pictures, refuse_unusable
from handlib.joints import check_metres
from handlib.reading import expecting, read_json, require_file

SPLITS = ("train", "val", "test", "evaluation")
SHARES = {"train": (0.0, 0.70), "val": (0.70, 0.85), "test": (0.85, 1.0)}
ENTRIES = {"K": (3, 3), "xyz": (21, 3), "verts": (778, 3), "mano": (61,), "scale": ()}
HOMEPAGE = "https://lmb.informatik.uni-freiburg.de/projects/freihand/"
MAKE_ONE = "or make a synthetic dataset: handlib synthesize --samples 200 --out DIR"


class FreiHANDReader(SplitReader):
    """One split of a dataset in either layout, as samples.

    The public training set is split 70 / 15 / 15 % by unique id in contiguous blocks, so that the
    looks of one pose, and neighbouring views of it, stay on one side.

    Args:
        root: the dataset folder.
        split: "train", "val", "test" or "evaluation" (public layout only).
        versions: which of the four looks; those that the folder lacks are left out.
        skip_bad: leave out the samples that cannot be used (image missing or broken, annotation
            not finite, K no camera), and print which; reads every image once.

    Attributes:
        layout: "public" or "MP". source: name for figures and tables. ids: (N,) unique id of each
        item; versions: the looks there are.

    Raises:
        FileNotFoundError: the folder, an annotation file or an image is not there.
        ValueError: an unknown split, files that do not fit each other, or, unless ``skip_bad``, a
            sample that cannot be used.
    """

    splits = SPLITS
    per_sample = ("ids", "_versions")

    def __init__(self, root, split="train", versions=(0, 1, 2, 3), skip_bad=False):
        super().__init__(root, split)
        self.layout = detect_layout(self.root)
        self._prefix, self._images = self._locate()
        self.source = _source(self.root, self.layout)
        self._opened = {}
        self.poses = len(self._annotation("K"))
        folder = self.root / self._prefix / "mask"
        self._masks = folder if folder.is_dir() else None
        self._refuse_uncounted()
        self.versions = self._find_versions(versions, skip_bad)
        start, stop = self._block()
        unique = np.arange(start, stop)
        self.ids = np.tile(unique, len(self.versions))
        self._versions = np.repeat(self.versions, len(unique))
        self._refuse_other_masks()
        self._names = self._find_annotations()
        self._seen = np.zeros(self.poses, bool)  # whose numbers were looked at
        if skip_bad:
            self.leave_out_unusable()
        else:
            self._refuse_bad_annotations()
        self._warn_of_unit()

    def __getstate__(self):
        # A worker process maps the annotation files itself instead of receiving copies.
        return self.__dict__ | {"_opened": {}}

    def describe(self):
        """What this is, for a table: dict of plain values."""
        looks = [] if self.split == "evaluation" else [VERSIONS[v] for v in self.versions]
        return super().describe() | {
            "poses": len(np.unique(self.ids)),
            **({"versions": looks} if looks else {}),
            "annotations": [*self._names, *(["mask"] if self._masks else [])],
        }

    def __getitem__(self, index):
        """Sample number ``index``; images and annotations are read now."""
        row = self.row(index)
        unique, version = int(self.ids[row]), int(self._versions[row])
        path = self._image_path(unique, version)
        known = {name: self._annotation(name)[unique].copy() for name in self._names}
        if not self._seen[unique]:
            for name, value in known.items():
                refuse_unusable(name, value[None], unique, self._file(name))
            self._seen[unique] = True
        mano = known.get("mano")
        image, mask = read_pictures(path, self._mask_path(unique) if self._masks else None)
        return Sample(
            image=image,
            id=unique,
            version=None if self.split == "evaluation" else version,
            source=self.source,
            path=path,
            K=known["K"],
            joints=known.get("xyz"),
            vertices=known.get("verts"),
            mask=None if mask is None else _on_hand(mask),
            pose=None if mano is None else mano[:48],
            betas=None if mano is None else mano[48:58],
            scale=float(known["scale"]) if "scale" in known else None,
        )

    def annotation(self, name, whole=True):
        """One annotation of every pose of the split, without reading images.

        Args:
            name: "K", "xyz", "verts", "mano" or "scale".
            whole: no matter here, where every joint of a hand is known.

        Returns:
            (poses, ...) float64 as in the file (see ``ENTRIES``), or None where it is absent.
        """
        if name != "K" and name not in self._names:
            return None
        return np.array(self._annotation(name)[np.unique(self.ids)], np.float64)

    @property
    def annotated(self):
        """(poses,) which samples the rows of ``annotation`` belong to: the first look of each."""
        return np.unique(self.ids, return_index=True)[1]

    def looks(self, unique):
        """Samples of all versions of the pose with this unique id."""
        return [self[int(i)] for i in np.flatnonzero(self.ids == unique)]

    def _locate(self):
        """Prefix of the annotation files and folder of the images."""
        if self.layout == "MP":
            names = [s for s in SPLITS if (self.root / s).is_dir()]
            if self.split not in names:
                raise ValueError(
                    f"{self.root} (freihand_dataset_MP) has no split {self.split!r}; "
                    f"it has: {', '.join(names)}"
                )
            return self.split, self.root / self.split
        prefix = "evaluation" if self.split == "evaluation" else "training"
        folder = self.root / prefix / "rgb"
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is missing: no {prefix} images for {self.split!r}")
        return prefix, folder

    def _file(self, name):
        return self.root / f"{self._prefix}_{name}.json"

    def _annotation(self, name):
        if name not in self._opened:
            values = load_annotation(self._file(name), ENTRIES[name])
            if name != "K" and len(values) != self.poses:
                raise ValueError(
                    f"{self._file(name)} has {len(values)} entries and {self._file('K').name} "
                    f"has {self.poses}: copy or extract the annotations again"
                )
            self._opened[name] = np.asarray(values)  # a memmap's own indexing is slow
        return self._opened[name]

    def _find_annotations(self):
        """Names of the annotation files to read; all but the vertices are opened and compared."""
        required = {"training": ENTRIES, "train": ("xyz",), "val": ("xyz",)}.get(self._prefix, ())
        names = [n for n in ENTRIES if n in required or self._file(n).is_file()]
        for name in names:
            require_file(self._file(name), WHOLE)
            if name != "verts":  # 1.5 GB of text: parsed when first used
                self._annotation(name)
        return names

    def _refuse_bad_annotations(self):
        """ValueError for the first annotation of this split that cannot be used."""
        for name in self._names:
            if name != "verts":  # looked at as they are read
                values = self.annotation(name)
                refuse_unusable(name, values, int(self.ids[0]), self._file(name))

    def _warn_of_unit(self):
        if "xyz" not in self._names:
            return
        some = np.unique(self.ids)[:1000]
        try:
            check_metres(np.array(self._annotation("xyz")[some]), self._file("xyz"))
        except ValueError as error:
            warnings.warn(str(error), stacklevel=4)

    def _refuse_uncounted(self):
        """ValueError where there are more pictures than the annotations say."""
        more = [self._image_path(0, 1 if self.split == "evaluation" else len(VERSIONS))]
        if self._masks:
            more.append(Path(self._mask_path(self.poses)))
        for path in more:
            if path.is_file():
                raise ValueError(
                    f"{path} is one picture too many: {self._file('K')} lists {self.poses} poses "
                    "only; copy or extract the annotations again"
                )

    def _mask_path(self, unique):
        # A string: to make a path of it takes longer than to ask the disk for the file.
        return f"{self._masks}/{unique:08d}.jpg"

    def _image_path(self, unique, version):
        return self._images / f"{unique + self.poses * version:08d}.jpg"

    def _find_versions(self, wanted, skip_bad):
        """Looks that are there, told by a few files of each; the first and last must be there.

        With ``skip_bad`` any file will do.
        """
        ends = sorted({0, self.poses - 1} & set(range(self.poses)))
        seen = (
            range(self.poses) if skip_bad else {*ends, *range(self.poses)[:: self.poses // 5 or 1]}
        )
        found = [
            version
            for version in range(1 if self.split == "evaluation" else len(VERSIONS))
            if any(self._image_path(n, version).is_file() for n in seen)
        ]
        if not found:
            raise FileNotFoundError(self._without_images())
        versions = [v for v in found if v in wanted]
        if not versions:
            raise ValueError(f"{self._images} has versions {found}, none of {tuple(wanted)}")
        for version in versions:
            paths = [self._image_path(n, version) for n in ends]
            last = next((path for path in paths if not path.is_file()), None)
            if last is not None and not skip_bad:
                raise FileNotFoundError(
                    f"{last} is missing: {self._file('K').name} lists {self.poses} poses, fewer "
                    "have images; copy or extract the dataset again"
                )
        return versions

    def _without_images(self):
        first = self._image_path(0, 0)
        told = _other_kind(first) or "no images of this dataset; copy or extract it again"
        return f"{first} is missing: {self._images} holds {told}"

    def _refuse_other_masks(self):
        """FileNotFoundError for masks that are no files of the names they should have."""
        first = self._masks and Path(self._mask_path(int(self.ids[0])))
        if first and not first.is_file() and _other_kind(first):
            raise FileNotFoundError(
                f"{first} is missing: {self._masks} holds {_other_kind(first)}; or remove the "
                "folder, and do without masks"
            )

    def _block(self):
        if self._prefix == self.split:  # the folder is the split
            return 0, self.poses
        ids = ids_of(self.split, self.poses)
        if not ids:
            raise ValueError(
                f"{self.root}: {self.poses} poses are too few for a {self.split!r} split; take a "
                "larger dataset, or another split"
            )
        return ids.start, ids.stop


def _other_kind(file):
    """What is there in place of a missing JPEG, and what to do with it; None for nothing."""
    other = next(iter(sorted(file.parent.glob(f"{file.stem}.*"))), None)
    return other and f"{other.name}: save them as FreiHAND's are, their names ending in .jpg"


def _on_hand(mask):
    """(H, W) bool of a mask as in its file: of 0 and 255, as nearly as a JPEG keeps them, or of
    0 and 1."""
    return mask >= (128 if mask.max() > 1 else 1)


def ids_of(split, poses):
    """Range of the ids of a split of so many poses of the public training set."""
    start, stop = (round(share * poses) for share in SHARES[split])
    return range(start, stop)


def detect_layout(root):
    """ "public" or "MP" for a dataset folder; FileNotFoundError says what was looked for."""
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root} is not a folder (MP_DATA or the path given): download FreiHAND from "
            f"{HOMEPAGE} and extract it there, {MAKE_ONE}"
        )
    if (root / ".parts").is_dir():
        raise FileNotFoundError(
            f"{root} is an unfinished synthetic dataset: run the same handlib synthesize again"
        )
    layout = _layout(root)
    if layout:
        return layout
    inside = [p.name for p in sorted(root.iterdir()) if p.is_dir() and _layout(p)]
    hint = f"did you mean {root / inside[0]}?" if inside else f"see {HOMEPAGE}, {MAKE_ONE}"
    raise FileNotFoundError(
        f"{root} is not FreiHAND: looked for training/rgb or evaluation/rgb (public layout) and "
        "train, val or test beside <split>_K.json (freihand_dataset_MP), and found neither them "
        f"nor InterHand2.6M or RHD; {hint}"
    )


def _layout(root):
    if any((root / name / "rgb").is_dir() for name in ("training", "evaluation")):
        return "public"
    if any((root / name).is_dir() for name in ("train", "val", "test")):
        return "MP"
    return None


def _source(root, layout):
    """Name of the data; a synthetic dataset says so itself, with its hand model."""
    about = root / "synthetic.json"
    if about.is_file():
        with expecting(about, "not what handlib synthesize writes"):
            hand = read_json(about).get("hand_model", "unknown hand model")
        return f"synthetic ({hand})"
    return "FreiHAND" if layout == "public" else "freihand_dataset_MP"
