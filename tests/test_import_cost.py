"""What waits for what: a photo's prediction must not import what it does not need."""

import subprocess
import sys

import pytest

HEAVY = ("transformers", "accelerate", "numba", "scipy", "matplotlib", "plotly", "IPython")


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("import handlib", (*HEAVY, "torch", "numpy")),
        ("import handlib.cli as c; c._parser()", (*HEAVY, "torch", "numpy")),
        (
            "import handlib\nfrom handlib.inference import load_photo\nhandlib.Predictor\n"
            "from handlib.mano import load_hand_model\nfrom handlib.model import make_model\n"
            "make_model('small', load_hand_model())\nimport handlib.inference.command\n"
            "import handlib.plots.page, handlib.plots.meshfiles",
            HEAVY,
        ),
        # torch's compiler takes longer to import than a photo to predict.
        (
            "import numpy, handlib\n"
            "image = numpy.zeros((64, 64, 3), numpy.uint8)\n"
            "handlib.predict(image, (8, 8, 56, 56))",
            (*HEAVY, "torch._dynamo"),
        ),
        # Plain Python: a GPU's machine may have nothing of notebooks.
        (
            "import handlib.ablation, handlib.stream_training",
            ("papermill", "nbformat", "matplotlib", "plotly", "IPython"),
        ),
    ],
)
def test_only_what_is_needed_is_imported(code, without):
    asked = f"{code}\nimport sys\nprint(*[n for n in {without!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
