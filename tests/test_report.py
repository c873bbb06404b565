import json
from html.parser import HTMLParser

import nbformat
import numpy as np
import pytest
from fake_run import EVIL, make_run

from handlib.report import write_report


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


def test_a_report_is_one_file_that_runs_nothing_it_shows(run_dir):
    page = Page(write_report(run_dir).read_text())
    assert len(page.found("script")) == 2  # plotly, and the call of it
    assert page.text.count(EVIL) == 3  # as text: the command, a table, a value
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("data:", "#")), tag


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
