"""What a network is made of, and the named settings: plain values, that need no torch."""

from dataclasses import dataclass, fields, replace

from handlib.names import require_one_of

ROTATION_SIZE = {"axis_angle": 3, "rot6d": 6}
POOLINGS = ("average", "keypoints")
FINGERS = ("pca", "rot6d")
CAMERAS = ("weak", "perspective")
LOOKS = (1, 2)
TURNS = (1, 2, 3, 4)
# What a network may begin with that has not learnt hands: of it, or of its encoder.
UNTRAINED = ("random", "pretrained")
LARGEST = 8192  # of any size of a network
MOST_COMPONENTS = 45  # of a hand's pose
DINO_PATCH = 14  # px


@dataclass(frozen=True)
class ModelConfig:
    """What a ``HandNet`` is made of."""

    backbone: str = "resnet-tiny"
    """Encoder: a name in ``backbones.BACKBONES``, a Hub repository, or a folder."""
    input_size: int = 96
    """Side of the square crop the model is meant for, px."""
    pooling: str = "keypoints"
    """From maps to a vector: "average", or "keypoints" (found joints and the features there)."""
    width: int = 48
    """Channels of the maps in which keypoints are looked for."""
    depth: bool = False
    """Whether each found keypoint's depth is told too."""
    rotation: str = "rot6d"
    """How the head gives the hand's rotation: "axis_angle" or "rot6d" (continuous)."""
    fingers: str = "pca"
    """How the head gives the fingers' pose: "pca" or "rot6d" (each of the 15 joints' rotation);
    both as a departure from the hand model's mean pose."""
    camera: str = "weak"
    """How joints are seen: "weak" (all at one depth) or "perspective" (through the crop's K)."""
    n_pose: int = 45
    """Principal components of the finger pose that the head gives, 1 to 45, by "pca"."""
    hidden: int = 512
    """Width of the head's two hidden layers; 0 for a single linear layer."""
    keypoint_maps: bool = False
    """Whether the network sees, beside the image, a map of each joint that a detector has found
    (24 channels, as Boukhayma et al. 2019)."""
    dropout: float = 0.0
    """Share of the head's inputs dropped in training."""
    handedness: bool = False
    """Whether the head also tells a right hand from a left one."""
    presence: bool = False
    """Whether the head also tells if there is a hand at all."""
    looks: int = 1
    """How often it looks, when it does not learn: 2 for a second time, at the hand upright."""
    turns: int = 1
    """From how many sides (turned by right angles) its first look is taken, when it does not learn
    and the second look is not sure of what it sees; the surest one counts."""
    refine: int = 0
    """Gradient steps, when it does not learn, that move the hand onto the joints that it found."""

    def check(self):
        """ValueError for a setting that does not exist, or of which no network is made."""
        for field in fields(self):
            value, kind = getattr(self, field.name), type(field.default)
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise ValueError(f"{field.name} is {value!r:.80}, not of type {kind.__name__}")
            if kind in (int, float) and not 0 <= value <= LARGEST:
                raise ValueError(f"{field.name} is {value!r:.80}, not from 0 to {LARGEST}")
        least = {"n_pose": self.n_pose, "width": self.width, "input_size": self.input_size}
        for name, value in least.items():
            if value < 1:
                raise ValueError(f"{name} is {value}, not from 1 on")
        if self.n_pose > MOST_COMPONENTS:
            raise ValueError(f"n_pose is {self.n_pose}, not from 1 to {MOST_COMPONENTS}")
        if self.backbone.startswith("dinov2") and self.input_size % DINO_PATCH:
            raise ValueError(
                f"{self.backbone} sees patches of {DINO_PATCH} px: input_size is a multiple of it, "
                f"not {self.input_size}"
            )
        for name, known in (
            ("pooling", POOLINGS),
            ("rotation", ROTATION_SIZE),
            ("fingers", FINGERS),
            ("camera", CAMERAS),
            ("looks", LOOKS),
            ("turns", TURNS),
        ):
            require_one_of(name, getattr(self, name), known)


_MODERN = ModelConfig(
    backbone="resnet-medium",
    input_size=128,
    width=64,
    depth=True,
    fingers="rot6d",
    camera="perspective",
    handedness=True,
    presence=True,
    looks=2,
    turns=4,
    refine=10,
)
MODEL_PRESETS = {
    # For CPUs: trains from random weights in minutes.
    "small": ModelConfig(),
    # What has paid since (docs/modern.md): the weights that ship are of this kind.
    "modern": _MODERN,
    # For FreiHAND on a GPU: the modern one with a larger encoder and input.
    "freihand": replace(_MODERN, backbone="resnet-50", input_size=224, width=128, presence=False),
    # Boukhayma et al. 2019: 22 numbers (scale, translation, axis-angle, 6 components, 10 betas).
    "boukhayma2019": ModelConfig(
        backbone="resnet-34",
        input_size=320,
        pooling="average",
        rotation="axis_angle",
        n_pose=6,
        hidden=0,
    ),
}
# What each preset of ``MODEL_PRESETS`` is trained with where nothing else is asked for. The
# two that ask for the model hub or for a GPU's time were not measured here.
USUAL = {
    "small": {
        "init": "random", "augmentation": "light", "optimizer": "adamw", "lr": 2e-3,
        "batch_size": 32, "weight_decay": 0.0, "average": 0.0,
    },
    "modern": {
        "init": "shipped", "augmentation": "light", "optimizer": "adamw", "lr": 3e-4,
        "batch_size": 32, "weight_decay": 0.05, "average": 0.99,
    },
    # What paid in published systems, see FreiHAND's leaders: days of one GPU.
    "freihand": {
        "init": "pretrained", "augmentation": "full", "optimizer": "adamw", "lr": 4e-4,
        "batch_size": 64, "weight_decay": 0.05, "average": 0.999,
    },
    "boukhayma2019": {
        "init": "pretrained", "augmentation": "course", "optimizer": "adam", "lr": 1e-3,
        "batch_size": 64, "weight_decay": 0.0, "average": 0.0,
    },
}  # fmt: skip
