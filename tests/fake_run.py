"""A finished run without having run it."""

import json

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from handlib import plots
from handlib.tables import results_table

EVIL = "<script>alert(1)</script>"


def printed(text):
    return new_output("stream", name="stdout", text=text)


def make_run(path, hand):
    """A run folder at ``path`` whose one notebook has every kind of output."""
    scene = plots.show_mesh(hand.v_template, hand.faces)
    table = results_table({EVIL: {"PA-MPJPE": 12.5}})
    shown = [
        new_output("display_data", scene._repr_mimebundle_()),
        new_output("display_data", {"image/jpeg": scene.still.encoded("jpeg")}),
        new_output("display_data", {"text/markdown": table._repr_markdown_(), "text/plain": ""}),
        new_output("execute_result", {"text/plain": f"'{EVIL}'"}),
    ]
    steps = [printed("\rrendering:  0%|      | 0/9\r"), printed("step 1\n"), printed("step 2\n")]
    cells = [
        new_markdown_cell("# Look\nHere it **is**."),
        new_code_cell("secret = 1", outputs=[*steps, *shown]),
    ]
    (path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=cells), path / "notebooks" / "01_look.ipynb")
    about = {
        "command": f"handlib run -p data {EVIL}",
        "parameters": {"01_look": {"samples": 3}},
        "environment": {"MANO": ""},
        "versions": {"python": "3.11"},
    }
    (path / "run.json").write_text(json.dumps(about))
    (path / "results").mkdir()
    (path / "results" / "evaluate.json").write_text(json.dumps({"verdict": "better"}))
    return path
