"""Samples, the readers and the generator that they come from, and batches of them."""

from handlib.data.backgrounds import Backgrounds, load_backgrounds
from handlib.data.dataset import HandDataset, spread
from handlib.data.freihand import FreiHANDReader
from handlib.data.interhand import InterHandReader
from handlib.data.keypoints import KeypointFiles
from handlib.data.layouts import open_dataset
from handlib.data.photos import read_coco_hands
from handlib.data.rhd import RHDReader
from handlib.data.sample import Sample, collate
from handlib.data.source import dataset_root
from handlib.data.stream import HandStream

__all__ = [
    "Backgrounds",
    "FreiHANDReader",
    "HandDataset",
    "HandStream",
    "InterHandReader",
    "KeypointFiles",
    "RHDReader",
    "Sample",
    "collate",
    "dataset_root",
    "load_backgrounds",
    "open_dataset",
    "read_coco_hands",
    "spread",
]
