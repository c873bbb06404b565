"""In a browser: what a person sees who opens a notebook in JupyterLab, or a page that was saved.

It needs Python's playwright, and Debian's ``chromium`` or another that CHROMIUM names.
"""

import io
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from urllib.parse import urljoin

import nbformat
import numpy as np
import pytest
from accelerate import Accelerator
from fake_run import make_run
from green_hands import green_photo, green_predictor
from PIL import Image

from handlib import checkpoints, plots
from handlib.inference.files import write_page
from handlib.inference.film import Film
from handlib.mano import pose_hand
from handlib.model import make_model
from handlib.notebooks import notebook_path
from handlib.plots.page import PLOTLY
from handlib.report import write_report
from handlib.runfolder import Run
from handlib.runs import CHECKPOINT

# WebGL in software: no GPU is needed; and no sandbox, which root in a container does not get.
FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
SLIDER = ".noUi-handle"


def chromium():
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next(filter(None, (shutil.which(name) for name in names if name)), None)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if chromium() is None:
        pytest.skip("no chromium: apt-get install chromium, or name one by CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(60_000)
    yield page
    page.close()


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab that serves ``tmp_path`` and knows no settings of the user's: the function from
    a notebook's name to its address."""
    names = ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    token = secrets.token_hex()
    own = {name: str(tmp_path / f".{name}") for name in names} | {"JUPYTER_TOKEN": token}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"]
    command += ["--expose-app-in-browser", f"--ServerApp.root_dir={tmp_path}"]
    command += ["--LabApp.news_url=None"]
    log = tmp_path / "lab.log"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | own)
    try:
        address = _address(server, log)
        yield lambda name: f"{address}lab/tree/{name}?token={token}&reset"
    finally:
        server.terminate()
        server.wait(60)


def _address(server, log):
    for _ in range(600):
        found = re.search(r"http://(localhost|127\.0\.0\.1):\d+/", log.read_text())
        if found:
            return found[0]
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def notebook(hand, synthetic, tmp_path):
    """03 in ``tmp_path`` with its sliders, and an untrained network to show."""
    from papermill.iorw import load_notebook_node
    from papermill.parameterize import parameterize_notebook

    trained = tmp_path / "trained"
    model = make_model("small", hand, input_size=64)
    checkpoints.save((trained / CHECKPOINT).parent, Accelerator(cpu=True), model, {"step": 0})
    given = {"run_dir": str(tmp_path / "run"), "trained": str(trained), "data": str(synthetic)}
    given |= {"hands": 1, "interactive": True}
    source = load_notebook_node(str(notebook_path("03_visualize_meshes")))
    nbformat.write(parameterize_notebook(source, given), tmp_path / "meshes.ipynb")
    return "meshes.ipynb"


def picture(element):
    """What the browser shows of an element: (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB")).astype(int)


def coloured(image):
    """Share of the pixels that are neither white nor gray: hands, not axes."""
    return (np.ptp(image, -1) > 25).mean()


def settled(element):
    """The picture of an element once it no longer changes."""
    before = picture(element)
    for _ in range(100):
        time.sleep(0.3)
        now = picture(element)
        if now.shape == before.shape and (now == before).all():
            return now
        before = now
    raise AssertionError("the picture never came to rest")


def changed(before, element):
    """The picture of an element once it is another one than ``before``."""
    for _ in range(100):
        now = settled(element)
        if (np.abs(now - before).max(-1) > 25).mean() > 0.005:
            return now
    raise AssertionError("the picture stayed as it was")


def test_in_jupyterlab_the_3d_view_draws_and_the_sliders_move_the_hand(page, lab, notebook):
    page.goto(lab(notebook))
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    ran = page.evaluate(
        """async () => {
            const panel = jupyterapp.shell.currentWidget;
            await panel.context.ready;
            await panel.sessionContext.ready;
            return jupyterapp.commands.execute("notebook:run-all-cells");
        }"""
    )
    cells = page.evaluate("() => jupyterapp.shell.currentWidget.context.model.toJSON().cells")
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    assert ran, [o for o in outputs if o["output_type"] == "error"]

    # The sliders: each of pose, shape and view gives another picture of the hand.
    cell = page.locator(".jp-Cell", has=page.locator(SLIDER))
    cell.scroll_into_view_if_needed()
    hand = cell.locator("img.widget-image")
    seen = settled(hand)
    assert coloured(seen) > 0.05
    names = cell.locator(".widget-label").all_inner_texts()
    assert len(names) == cell.locator(SLIDER).count() == 11
    for name in ("pose 1 (rad)", "shape 1 (sd)", "azimuth (°)"):
        cell.locator(SLIDER).nth(names.index(name)).focus()
        page.keyboard.press("End")
        seen = changed(seen, hand)

    # The 3D view: JupyterLab shows its picture, and the scene itself once it is pointed at.
    view = page.locator(".jp-RenderedPlotly").first
    canvas = view.locator("canvas").first
    for _ in range(30):  # JupyterLab may still be moving its cells, or not yet be listening
        view.scroll_into_view_if_needed()
        x, y = middle_of(view)
        page.mouse.move(5, 5)
        page.mouse.move(x, y, steps=3)
        page.wait_for_timeout(2000)
        if canvas.is_visible():
            break
    assert canvas.is_visible()
    page.mouse.move(5, 5)  # no hover labels
    view.scroll_into_view_if_needed()
    seen = settled(view)
    assert coloured(seen) > 0.03
    x, y = middle_of(view)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 150, y, steps=5)
    page.mouse.up()
    page.mouse.move(5, 5)
    assert coloured(changed(seen, view)) > 0.03


def save_scene(folder, hand):
    scene = plots.show_mesh(pose_hand(hand).vertices, hand.faces)
    scene.save_html(folder / "hand.html")
    return folder / "hand.html"


def save_figure(folder, hand):
    """What a notebook keeps of a scene: plotly.js lies beside it."""
    vertices = pose_hand(hand).vertices
    error = np.linalg.norm(vertices - vertices[0], axis=-1) / 10
    Run(folder).keep(plots.show_mesh(vertices, hand.faces, vertex_error=error), "hand")
    return folder / "figures" / "hand.html"


def save_report(folder, hand):
    return write_report(make_run(folder, hand))


def save_photo(folder, hand):
    """What ``handlib predict`` writes of a photo."""
    photo = green_photo((300, 200), [(60, 40, 150, 150, True)])
    (found,) = green_predictor(hand)([photo], [(60, 40, 150, 150)])
    return write_page(folder / "photo.html", photo, [found])


@pytest.mark.parametrize("save", [save_scene, save_figure, save_report, save_photo])
def test_a_page_draws_without_a_network(page, hand, tmp_path, save):
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    address = save(tmp_path, hand).as_uri()
    page.goto(address)
    assert coloured(settled(page.locator(".js-plotly-plot"))) > 0.01
    beside = urljoin(address, PLOTLY)
    files = [url for url in asked if not url.startswith(("data:", "blob:")) and url != beside]
    assert files == [address]
    assert not errors


@pytest.mark.parametrize("size", [(320, 240), (1280, 720)])
def test_a_film_plays_in_its_colours(page, tmp_path, size):
    color = (200, 90, 40)
    with Film(tmp_path / "a.mp4", 25) as film:
        for n in range(10):
            film.add(np.full((*size[::-1], 3), color, np.uint8), n / 25)
    (tmp_path / "a.html").write_text('<video src="a.mp4" autoplay muted></video>')
    page.goto((tmp_path / "a.html").as_uri())
    page.wait_for_function("document.querySelector('video').ended", timeout=30_000)
    shown = page.locator("video").evaluate("v => [v.duration, v.videoWidth, v.videoHeight]")
    assert shown == [pytest.approx(0.4), *size]
    seen = Image.open(io.BytesIO(page.locator("video").screenshot())).convert("RGB")
    np.testing.assert_allclose(seen.resize((1, 1)).getpixel((0, 0)), color, atol=4)


def middle_of(element):
    box = element.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
