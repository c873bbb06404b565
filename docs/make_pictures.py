"""Make the pictures of docs/ and README from a run: python docs/make_pictures.py outputs/RUN

The run's notebooks drew them (make run those of the tour, 07_ablation its own); here they only
become small enough for a repository.
"""

import sys
from pathlib import Path

from PIL import Image

PICTURES = (
    "hand_views",
    "hand_poses",
    "samples",
    "annotations",
    "augmentations",
    "training",
    "film",
    "predictions",
    "error_groups",
    "explorer",
    "ablation",
    "ablation_root",
)


def main(run_dir):
    for name in PICTURES:
        drawn = Path(run_dir) / "figures" / f"{name}.png"
        if not drawn.exists():
            continue
        picture = Image.open(drawn).convert("RGB")
        path = Path(__file__).parent / f"{name}.jpg"
        picture.save(path, quality=85, optimize=True)
        print(f"{path}: {picture.size}, {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
