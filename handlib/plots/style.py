"""The one look of all figures, and how a figure shows itself in a notebook."""

import base64
import io
import re
from itertools import count, groupby

import matplotlib
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from handlib.plots.colors import CAMERA_COLOR, GLASS, PREDICTION, SKIN, TRUTH  # noqa: F401

# The finger palette's colours in an order for lines of a diagram, then two more of Wong's.
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
ERROR_MAP = matplotlib.colormaps["YlOrRd"]

STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "figure.constrained_layout.use": True,
    "figure.titlesize": 11,
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": matplotlib.cycler(color=SERIES),
    "grid.color": "#dddddd",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "text.parse_math": False,  # a file's name may hold dollars
}
# Decorator: run a plotting function under STYLE, and leave the global style alone.
styled = matplotlib.rc_context(STYLE)


class StillFigure(Figure):
    """A matplotlib Figure that a notebook shows once, and small, when a cell ends with it.

    It needs no pyplot, no backend and no screen: nothing global knows it, so nothing shows it a
    second time. Ticks are made when it is drawn, so the style is applied then too.

    Attributes:
        has_photos: or other shaded pictures: notebooks store it as JPEG, a quarter of the size;
            diagrams are stored as PNG.
    """

    has_photos = False

    @styled
    def draw(self, renderer):
        super().draw(renderer)

    def encoded(self, kind):
        """Base64 of a "jpeg", or of a "png" of 128 colours; thin coloured lines stay sharp."""
        drawn, small = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png", dpi=self.dpi)
        picture = Image.open(drawn).convert("RGB")
        if kind == "png":
            picture = picture.quantize(128, Image.Quantize.MEDIANCUT, kmeans=1)
        picture.save(small, kind, optimize=True, quality=80)  # PNG ignores the quality
        return base64.b64encode(small.getvalue()).decode()

    def _ipython_display_(self):
        # Shown by itself: matplotlib's own hooks, where a notebook has them, would add a PNG.
        kind = "jpeg" if self.has_photos else "png"
        display({f"image/{kind}": self.encoded(kind), "text/plain": repr(self)}, raw=True)


def new_figure(rows=1, columns=1, width=9.0, height=3.0, title=None):
    """A figure of ``width`` x ``height`` inches at 100 px per inch.

    Args:
        rows, columns: of the grid of axes.
        title: printed above, small, at the left.

    Returns:
        (figure, axes): axes as a (rows, columns) array.
    """
    figure = StillFigure(figsize=(width, height))
    axes = figure.subplots(rows, columns, squeeze=False)
    if title:
        figure.suptitle(title, x=0.004, ha="left")
    return figure, axes


def show_picture(ax, picture, title=None):
    """An image (H, W, 3) uint8 without axes."""
    ax.imshow(picture)
    ax.set_title(title)
    ax.axis("off")


def shortened(name, most=32):
    """A name that may be long, for a legend: its beginning and its end, where names differ."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-most // 2 :]}"


# Between the parts of a run's name, but not in a number such as 1e-05.
_BETWEEN_PARTS = re.compile(r"-(?!\d{1,2}\b)")


def shortened_together(names, most=32):
    """Names for one legend, without what is the same in all of them where they are long.

    Args:
        names: whose parts have hyphens between them, as those of runs.
        most: length from which on names are shortened; more only where two would look the same.

    Returns:
        list of texts, as different as the names.
    """
    names = list(names)
    parts = [set(_BETWEEN_PARTS.split(name)) for name in names]
    shared = set.intersection(*parts) if len(names) > 1 else set()
    attempts = (
        [name if len(name) <= width else shortened(_without(name, shared), width) for name in names]
        for width in count(most)
    )
    return next(texts for texts in attempts if len(set(texts)) == len(set(names)))


def _without(name, shared):
    """A name with … for those of its parts that are ``shared``; whole where it has no others."""
    parts = groupby(_BETWEEN_PARTS.split(name), shared.__contains__)
    text = "".join("…" if is_shared else "-".join(some) for is_shared, some in parts)
    return name if text == "…" else text
