"""A page with one 3D scene that opens offline, without importing plotly or matplotlib."""

import html
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from handlib.paths import atomic_write
from handlib.plots.traces import bone_traces, camera, layout, mesh_trace, photo_traces

PLOTLY = "plotly.min.js"
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title><link rel="icon" href="data:,"></head>
<body style="margin: 0">
<div id="scene" style="width: 100vw; height: 100vh"></div>
{program}
<script>
const scene = {scene};
Plotly.newPlot("scene", scene.data, scene.layout, {{displaylogo: false, responsive: true}});
</script>
</body>
</html>
"""


def write_page(path, layers, view, photo=None, title="", beside=False):
    """Write hands in 3D as a page.

    Args:
        path: of the page. layers: list of ``layers.Layer``.
        view: (3, 3), see ``layers.VIEWS``. photo: ``layers.Photo``, or None. title: above.
        beside: put plotly.js beside the page, where others share it, instead of 5 MB into it.
    """
    data = [trace for layer in layers for trace in (mesh_trace(layer), *bone_traces(layer))]
    data += [] if photo is None else photo_traces(photo)
    legend = len(layers) > 1 or photo is not None
    around = layout(title, camera(view, layers, photo), legend)
    del around["width"], around["height"]  # as large as the window
    around.pop("template")
    source = Path(find_spec("plotly").submodule_search_locations[0]) / "package_data" / PLOTLY
    program = source.read_text(encoding="utf-8")
    if beside:
        if not path.with_name(PLOTLY).exists():
            with atomic_write(path.with_name(PLOTLY)) as temporary:
                temporary.write_text(program, encoding="utf-8")
        tag = f'<script src="{PLOTLY}"></script>'
    else:
        tag = f"<script>{program}</script>"
    text = json.dumps({"data": data, "layout": around}, default=_plain)
    scene = text.replace("<", "\\u003c")  # nothing of it can end the script, or begin a comment
    page = _PAGE.format(title=html.escape(title), program=tag, scene=scene)
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _plain(array):
    """Arrays as lists: hundredths of a millimetre are enough to look at. JSON has null, not NaN."""
    if array.dtype.kind != "f":
        return array.tolist()
    rounded = np.round(array.astype(float), 2)
    return np.where(np.isnan(rounded), None, rounded).tolist()
