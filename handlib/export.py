"""A trained network as an ONNX file, for programs that have neither torch nor handlib."""

import json
import logging
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from handlib.inference.look import EXPAND
from handlib.paths import atomic_write, make_folder

OUTPUTS = ("joints", "vertices", "joints_2d", "root")
TOLD = {"handedness": "right", "presence": "present"}


class _Exported(nn.Module):
    """What the file computes: a ``HandNet`` with tensors in and out."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.names = [*OUTPUTS, *(n for field, n in TOLD.items() if getattr(model.config, field))]

    def forward(self, image, K):
        prediction = self.model(image, K, refine=0, turns=1)
        return tuple(getattr(prediction, name) for name in self.names)


def export_onnx(model, path):
    """Write a ``HandNet`` as ONNX.

    The file takes ``image`` (B, 3, S, S) uint8 RGB crops of right hands (left ones mirrored) and
    ``K`` (B, 3, 3) float32 intrinsics of the crops (NaN where not known), any B. It returns
    ``joints`` (B, 21, 3) and ``vertices`` (B, 778, 3), metres, relative to ``joints.ROOT``;
    ``joints_2d`` (B, 21, 2) px of the crop; ``root`` (B, 3) metres, NaN without K; ``right``,
    ``present`` (B,) log-odds, where the model tells them. Its metadata hold the configuration, the
    hand model's name, the mesh's faces, and ``expand``, the crop's side in longer sides of the
    hand's box; docs/onnx.md has a program that uses it. Refinement takes gradients, which a file
    cannot: what it returns is what ``HandNet.forward`` says with ``refine=0, turns=1``.

    Raises:
        ValueError: a model that sees the maps of a detector's keypoints, which the file takes none
            of; or ``path`` is a folder.
        OSError: ``path`` cannot be written.
        ImportError: onnx is not installed.
    """
    if model.config.keypoint_maps:
        raise ValueError(
            "a model that sees keypoint maps (keypoint_maps=True) cannot be exported as ONNX: "
            "export one that was trained with keypoint_maps=False"
        )
    _require_writable(Path(path))
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch's exporter needs it)
    except ImportError as error:
        raise ImportError(
            f"the export needs onnx and onnxscript ({error}): pip install 'handlib[onnx]'"
        ) from error
    module = _Exported(model).eval()
    size = model.config.input_size
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8), torch.eye(3).repeat(2, 1, 1)
    was_compiled, model.layer.compiled = model.layer.compiled, False
    try:
        with _quiet():
            any_batch = 2 * ({0: torch.export.Dim("batch", min=1, max=4096)},)
            program = torch.onnx.export(
                torch.export.export(module, example, dynamic_shapes=any_batch),
                input_names=["image", "K"], output_names=module.names, verbose=False,
                dynamic_shapes=any_batch,  # told again: else the file calls it s40, or so
            )  # fmt: skip
    finally:
        model.layer.compiled = was_compiled
    about = {"config": vars(model.config), "hand": model.hand.name}
    about |= {"faces": model.hand.faces.tolist(), "expand": EXPAND}
    written = program.model_proto
    for name, value in about.items():
        entry = written.metadata_props.add()
        entry.key, entry.value = f"handlib.{name}", json.dumps(value)
    with atomic_write(path) as temporary:
        onnx.save(written, temporary)
    return Path(path)


def _require_writable(path):
    """ValueError or OSError where a file cannot be: the export tells it after a minute."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give a file, as {path / 'hand.onnx'}")
    make_folder(path.parent)
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise OSError(
            f"cannot write {path} ({error.strerror}): choose a folder that you may write to"
        ) from None


@contextmanager
def _quiet():
    """Without what torch's exporter says of itself; errors pass."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            log.setLevel(level)
