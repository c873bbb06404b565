import json
import re
from html.parser import HTMLParser

import nbformat
import numpy as np
import pytest
from fake_run import EVIL, make_run, printed
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from handlib.plots.layers import VIEWS, Layer
from handlib.plots.page import write_page
from handlib.report import write_report
from handlib.tables import results_table


class Page(HTMLParser):
    """Tags with their attributes, and all text outside of scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.within = [], "", ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.within = tag

    def handle_endtag(self, tag):
        self.within = ""

    def handle_data(self, data):
        self.text += data * (self.within not in ("script", "style"))

    def found(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def run_dir(tmp_path, hand):
    return make_run(tmp_path, hand)


def test_a_report_shows_what_the_notebooks_showed_and_how_it_was_made(run_dir):
    page = Page(write_report(run_dir).read_text())
    assert page.found("h1") and "Here it is." in page.text
    assert "step 1\nstep 2" in page.text and "0%|" not in page.text
    assert "secret" not in page.text  # code stays in the notebook
    assert "samples = 3" in page.text and "better" in page.text and "12.5" in page.text
    pictures = [img["src"].split(",")[0] for img in page.found("img")]
    assert pictures == ["data:image/png;base64", "data:image/jpeg;base64"]
    assert {"id": "scene-0", "class": "wide"} in page.found("div")


def test_of_a_failed_run_the_fault_is_told_and_not_papermills_banner(run_dir):
    path = next((run_dir / "notebooks").glob("*.ipynb"))
    notebook = nbformat.read(path, as_version=4)
    banner = new_markdown_cell('<span style="color:red">An Exception was encountered</span>')
    banner.metadata["tags"] = ["papermill-error-cell-tag"]
    notebook.cells.insert(0, banner)
    nbformat.write(notebook, path)
    page = Page(write_report(run_dir, "02_train failed: <killed>").read_text())
    assert "02_train failed: <killed>" in page.text and "Exception" not in page.text


def test_a_progress_bar_that_was_a_widget_is_left_out_too(run_dir):
    path = next((run_dir / "notebooks").glob("*.ipynb"))
    notebook = nbformat.read(path, as_version=4)
    widget = {"model_id": "a", "version_major": 2, "version_minor": 0}
    data = {"application/vnd.jupyter.widget-view+json": widget, "text/plain": "hands:   0%| | 0/9"}
    notebook.cells.append(new_code_cell("", outputs=[new_output("display_data", data)]))
    nbformat.write(notebook, path)
    assert "0/9" not in Page(write_report(run_dir).read_text()).text


def test_a_report_is_one_file_that_runs_nothing_it_shows(run_dir):
    page = Page(write_report(run_dir).read_text())
    assert len(page.found("script")) == 2  # plotly, and the call of it
    assert page.text.count(EVIL) == 3  # as text: the command, a table, a value
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("data:", "#")), tag


def test_long_sentences_are_not_cut(run_dir):
    page = write_report(run_dir).read_text()
    assert re.search(r"pre\.text, pre\.error {[^}]*white-space: pre-wrap", page)
    assert '<pre class="text">step 1' in page


def test_a_report_without_scenes_leaves_plotly_out(run_dir):
    path = run_dir / "notebooks" / "01_look.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].outputs = []
    nbformat.write(notebook, path)
    report = write_report(run_dir)
    assert report.stat().st_size < 10_000
    assert not Page(report.read_text()).found("script")


def test_a_scene_in_a_report_has_the_hands_vertices(run_dir, hand):
    text = write_report(run_dir).read_text()
    start = text.index("const scenes = ") + len("const scenes = ")
    scenes, _ = json.JSONDecoder().raw_decode(text[start:])
    assert len(scenes) == 1
    mesh = next(trace for trace in scenes[0]["data"] if trace["type"] == "mesh3d")
    assert np.dtype(mesh["x"]["dtype"]) == np.float32


SIGNS = ("<script>alert(1)</script>", "<!--<script>", "\"'><img src=x onerror=alert(1)>",
         "[x](javascript:alert(1))", "[y](&#106;avascript:alert(1))", "{{ 7 * 7 }}")  # fmt: skip


def alarming(text):
    """Tags and attributes of a page that run or load something."""
    page = Page(text)
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            if name.startswith("on") or (value or "").startswith("javascript"):
                yield tag, attributes
        if tag in ("iframe", "object", "embed", "base") or attributes.get("src") == "x":
            yield tag, attributes


@pytest.mark.parametrize("sign", SIGNS)
def test_whatever_a_run_is_called_and_says_is_shown_as_text(tmp_path, hand, sign):
    run_dir = tmp_path / sign.replace("/", "_")
    run_dir.mkdir()
    make_run(run_dir, hand)
    about = json.loads((run_dir / "run.json").read_text())
    about |= {"command": sign, "commit": sign, "parameters": {sign: {sign: sign}}}
    about["versions"] = {sign: sign}
    (run_dir / "run.json").write_text(json.dumps(about))
    (run_dir / "results/evaluate.json").write_text(json.dumps({"verdict": sign}))
    outputs = [
        new_output("display_data", {"text/markdown": results_table({sign: {sign: sign}}, sign)
                                    ._repr_markdown_()}),
        new_output("display_data", {"text/markdown": sign, "text/html": sign}),
        new_output("display_data", {"image/png": sign}),
        new_output("error", ename=sign, evalue=sign, traceback=[sign]),
        printed(sign),
    ]  # fmt: skip
    cells = [new_markdown_cell(sign), new_code_cell("1", outputs=outputs)]
    name = f"01_{sign.replace('/', '_')}.ipynb"
    nbformat.write(new_notebook(cells=cells), run_dir / "notebooks" / name)
    page = write_report(run_dir).read_text()
    assert not list(alarming(page))
    assert len(Page(page).found("script")) == 2  # plotly, and the call of it
    assert Page(page).text.count(sign) > (4 if "](" in sign else 6)  # Markdown makes it a link


@pytest.mark.parametrize("sign", SIGNS)
def test_whatever_a_photo_is_called_is_shown_as_text(tmp_path, hand, sign):
    path = tmp_path / f"{sign.replace('/', '_')}.html"
    write_page(path, [Layer(sign, hand.v_template, hand.faces)], VIEWS["front"], title=sign)
    text = path.read_text()
    assert not list(alarming(text))
    page = Page(text)
    assert len(page.found("script")) == 2 and sign in page.text
    scene = text.rindex("const scene = ") + len("const scene = ")
    assert "<" not in text[scene : text.index("\n", scene)]


def test_the_search_for_alarming_tags_finds_them():
    for text in ("<img src=x>", "<a href='javascript:1'>", "<b onclick=1>", "<iframe>"):
        assert list(alarming(text))


def test_a_damaged_run_folder_is_named(run_dir):
    path = run_dir / "notebooks" / "01_look.ipynb"
    text = path.read_text()
    for damaged in ("", text[:-99], "[]", '{"cells": 3}', '{"nbformat": 4, "cells": [{}]}'):
        path.write_text(damaged)
        with pytest.raises(ValueError, match=r"01_look\.ipynb is not an executed notebook"):
            write_report(run_dir)
    path.write_text(text)
    (run_dir / "run.json").write_text("[]")
    with pytest.raises(ValueError, match=r"run\.json is not what a run writes"):
        write_report(run_dir)
