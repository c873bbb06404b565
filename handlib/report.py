"""The report of a run: one page of what its notebooks showed, which opens offline.

Code is left out; figures, tables and texts follow the notebooks. 3D scenes can be turned: plotly's
program is part of the page.
"""

import html
import re
from itertools import groupby
from pathlib import Path

import nbformat
from jinja2 import Environment
from markdown import Markdown

from handlib.notebooks import Finished, without_banners
from handlib.paths import atomic_write
from handlib.reading import expecting, read_json

NAME = "report.html"
PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_OTHER_LINKS = re.compile(r'\b(href|src)="(?!https?:|#|data:image/)[^"]*"')
_PROGRESS_BAR = re.compile(r"^.*\d+%\|.*\|.*\n?", re.MULTILINE)

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{{ name }}</title>
<style>
body {font: 15px/1.5 system-ui, sans-serif; max-width: 1040px; margin: 0 auto; padding: 1em;
      color: #222; background: #fff}
h1 {font-size: 1.5em; border-top: 2px solid #ccc; padding-top: .8em; margin-top: 2em}
h2 {font-size: 1.2em; margin-top: 1.6em}
header h1 {border: 0; margin: 0; overflow-wrap: anywhere}
img {max-width: 100%; height: auto}
.wide {overflow-x: auto}
table {border-collapse: collapse; margin: .8em 0}
th, td {padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top}
td:first-child {white-space: nowrap}
pre, code {background: #f5f5f5; overflow-x: auto; font-size: 13px}
pre {padding: .6em}
pre.text, pre.error {white-space: pre-wrap; overflow-wrap: anywhere}
pre.error {background: #fde8e6}
nav a {margin-right: 1.2em}
.verdict {font-weight: 600}
</style>
</head>
<body>
<header>
<h1>{{ name }}</h1>
{% for verdict in verdicts %}<p class="verdict">{{ verdict }}</p>
{% endfor %}<nav>{% for part in parts %}<a href="#{{ part.id }}">{{ part.id }}</a>{% endfor %}</nav>
<details><summary>How it was made</summary>
<table>{% for name, value in settings.items() %}
<tr><th>{{ name }}</th><td>{{ value }}</td></tr>{% endfor %}
</table></details>
</header>
{% for part in parts %}
<section id="{{ part.id }}">
{% for block in part.blocks %}{{ block|safe }}
{% endfor %}</section>
{% endfor %}
{% if fault %}<pre class="error">{{ fault }}</pre>{% endif %}
{% if scenes %}<script>{{ plotly|safe }}</script>
<script>
const scenes = {{ scenes|tojson }};
scenes.forEach((scene, number) => {
  const place = document.getElementById("scene-" + number);
  place.replaceChildren();
  Plotly.newPlot(place, scene.data, scene.layout, {displaylogo: false});
});
</script>{% endif %}
</body>
</html>
"""


def write_report(run_dir, fault=""):
    """Write ``report.html`` of a run: its settings, and what its notebooks show so far.

    Args:
        run_dir: run folder with ``run.json`` and ``notebooks/``; of a notebook that failed, what
            there is of it, and the error.
        fault: what ended the run, in words.

    Returns:
        Path of the page.
    """
    run_dir = Path(run_dir).resolve()
    scenes = []
    parts = []
    for path in sorted((run_dir / "notebooks").glob("*.ipynb")):
        with expecting(path, "not an executed notebook", "remove it, and run it again"):
            parts.append(_part(path, scenes))
    results = [read_json(path, finite=False) for path in sorted(run_dir.glob("results/*.json"))]
    with expecting(run_dir / "run.json", "not what a run writes", "run its notebooks again"):
        settings = _settings(read_json(run_dir / "run.json", finite=False))
    page = Environment(autoescape=True).from_string(_PAGE)
    text = page.render(
        name=run_dir.name,
        verdicts=[v["verdict"] for v in results if isinstance(v, dict) and "verdict" in v],
        settings=settings,
        parts=parts,
        scenes=scenes,
        fault=fault,
        plotly=_plotly() if scenes else "",
    )
    with atomic_write(run_dir / NAME) as temporary:
        temporary.write_text(text)
    return run_dir / NAME


def _plotly():
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def _settings(about):
    """What ``run.json`` says, as lines of a table."""
    lines = {name: about[name] for name in ("command", "started", "commit") if about.get(name)}
    if about.get("uncommitted"):
        lines["not committed"] = about["uncommitted"]
    for notebook, given in about["parameters"].items():
        lines[f"parameters of {notebook}"] = _listed(given) or "its defaults"
    return lines | {part: _listed(about[part]) for part in ("environment", "versions")}


def _listed(values):
    return ", ".join(f"{name} = {value}" for name, value in values.items() if value != "")


def _part(path, scenes):
    """One notebook: its name and the blocks of its section; 3D scenes are added to ``scenes``."""
    blocks = []
    for cell in without_banners(_cells(path)):
        if cell.cell_type == "markdown":
            blocks.append(_markdown(cell.source))
        outputs = cell.get("outputs", [])
        for is_stream, run in groupby(outputs, lambda output: output.output_type == "stream"):
            if is_stream:  # a line that is printed may be an output of its own
                blocks.append(_printed("".join(output.text for output in run)))
            else:
                blocks += [_output(output, scenes) for output in run]
    return {"id": path.name.split(".")[0], "blocks": blocks}


def _cells(path):
    try:
        return nbformat.read(path, as_version=4).cells
    except nbformat.ValidationError as error:
        raise ValueError(error) from error


def _printed(text):
    """What a cell printed, without the progress bars."""
    text = _PROGRESS_BAR.sub("", text.replace("\r", "\n")).strip("\n")
    return _text(text) if text else ""


def _output(output, scenes):
    """What a cell shows as HTML, the richest form of it."""
    if output.output_type == "error":
        kind = "text" if output.ename == Finished.__name__ else "error"
        return _text("\n".join(output.traceback), kind)
    forms = output.data
    if WIDGET in forms:  # a progress bar, as it was when it began
        return ""
    picture = next((_picture(k, forms[k]) for k in ("image/jpeg", "image/png") if k in forms), "")
    if PLOTLY in forms:
        scenes.append({part: forms[PLOTLY][part] for part in ("data", "layout")})
        return f'<div class="wide" id="scene-{len(scenes) - 1}">{picture}</div>'
    if picture:
        return picture
    if "text/markdown" in forms:
        return f'<div class="wide">{_markdown(forms["text/markdown"])}</div>'
    return _text(forms.get("text/plain", ""))


def _picture(kind, data):
    return f'<p><img src="data:{kind};base64,{html.escape("".join(data.split()))}" alt=""></p>'


def _text(text, kind="text"):
    return f'<pre class="{kind}">{html.escape(_COLOURS.sub("", text))}</pre>'


def _markdown(source):
    """Markdown as HTML; HTML in it is shown as text, and links lead to pages only."""
    program = Markdown(extensions=["tables", "fenced_code"])
    program.preprocessors.deregister("html_block")
    program.inlinePatterns.deregister("html")
    return _OTHER_LINKS.sub(r'\1="#"', program.convert(source))
