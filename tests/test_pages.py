"""The interactive pages in headless Chromium, without network: they are drawn, can be turned, and report no error."""

from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from svae_repro import plots
from svae_repro.paths import REPOSITORY
from svae_repro.store import Results
from tests import chromium

PAGES = sorted((REPOSITORY / "figures" / "paper").glob("*.html"))
DRAWN = 0.001  # share of pixels that differ from the background in any plot that is not blank
TURNED = 0.001  # share of pixels that a turn of 120 pixels changes in a scene
READY = "[...document.querySelectorAll('.js-plotly-plot')].some(plot => plot._fullLayout && plot._fullData.length)"
BOXES = """[...document.querySelectorAll('{}')].map(e => e.getBoundingClientRect()).map(
    r => ({{x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height}}))"""
# What lies over a scene and would change with the mouse or hide that the scene itself is empty.
HIDE_OVERLAYS = """document.head.insertAdjacentHTML('beforeend',
    '<style>.modebar, .main-svg, .gl-container svg { visibility: hidden !important }</style>')"""


def drawn(pixels: np.ndarray) -> float:
    """Share of the pixels that have not the most frequent colour."""
    colours = (255 * pixels.reshape(-1, 3)).round().astype(int) @ (1 << 16, 1 << 8, 1)
    return 1 - np.unique(colours, return_counts=True)[1].max() / len(colours)


def problems(browser, file: Path) -> list[str]:
    """What is wrong with an interactive page; empty if nothing is."""
    with browser.page(file) as page:
        try:
            page.wait(READY, patience=5)  # its scripts have run
        except TimeoutError:
            return [*page.problems, "no plot appears"]
        found = []
        plot, *_ = page.evaluate(BOXES.format(".js-plotly-plot"))
        if not _appears(page, plot):
            found.append("the plot is blank")
        scenes = page.evaluate(BOXES.format(".gl-container canvas"))
        page.evaluate(HIDE_OVERLAYS)
        for number, box in enumerate(scenes):
            if not _appears(page, box):
                found.append(f"scene {number} is blank")
            elif not _turns(page, box):
                found.append(f"scene {number} does not turn with the mouse")
        return [*found, *page.problems]


def _appears(page, box: dict) -> bool:
    """Whether something is drawn in the box within ten pictures: WebGL needs a moment."""
    return any(drawn(page.screenshot(box)) > DRAWN for _ in range(10))


def _turns(page, box: dict) -> bool:
    page.evaluate(f"window.scrollTo(0, {box['y']})")
    before = page.screenshot(box)
    page.drag(box["x"] + box["width"] / 2, box["height"] / 2 + box["y"] - page.evaluate("scrollY"), by=120)
    return any((page.screenshot(box) != before).any(-1).mean() > TURNED for _ in range(10))


@pytest.mark.skipif(not PAGES, reason="no interactive page is committed in figures/paper")
@pytest.mark.parametrize("file", PAGES or [Path("none")], ids=lambda file: file.stem)
def test_committed_page(browser, file: Path):
    assert problems(browser, file) == []


# The check itself: a good page passes, and whatever is broken in one is named.


@pytest.fixture
def sphere(home) -> Path:
    points = np.random.default_rng(0).normal(size=(200, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    page = plots.sphere_page(points.astype(np.float16), (np.arange(200) % 3).astype(np.uint8))
    return plots.save_page(page, "sphere", Results("mnist_vae", "quick", True, [], 4))


@pytest.fixture
def flat(home) -> Path:
    page = go.Figure(go.Scatter(x=[0, 1], y=[1, 0]))
    return plots.save_page(page, "flat", Results("circle", "quick", True, [], 4))


def spoilt(file: Path, old: str, new: str) -> Path:
    html = file.read_text()
    assert old in html
    file.write_text(html.replace(old, new))
    return file


def test_a_scene_that_is_drawn_and_turns_has_no_problems(browser, sphere: Path):
    assert problems(browser, sphere) == []


def test_a_flat_plot_needs_no_scene(browser, flat: Path):
    assert problems(browser, flat) == []


def test_a_scene_that_does_not_turn_is_named(browser, sphere: Path):
    spoilt(sphere, "</head>", "<style>.gl-container { pointer-events: none }</style></head>")
    assert problems(browser, sphere) == ["scene 0 does not turn with the mouse"]


def test_an_empty_scene_and_every_error_are_named(browser, sphere: Path):
    spoilt(sphere, "</head>", "<style>canvas { visibility: hidden }</style></head>")
    spoilt(
        sphere,
        "</body>",
        "<script src='https://cdn.example/x.js'></script><script>console.error('careful')</script>"
        "<script>nothing.here()</script></body>",
    )
    found = "\n".join(problems(browser, sphere))
    for named in ("scene 0 is blank", "network for https://cdn.example/x.js", "console: careful", "ReferenceError"):
        assert named in found


def test_a_page_without_its_library_is_named(browser, flat: Path):
    found = "\n".join(problems(browser, spoilt(flat, "plotly.min.js", "missing.js")))
    assert "no plot appears" in found and "missing.js: net::ERR_FILE_NOT_FOUND" in found


def test_a_blank_plot_is_named(browser, flat: Path):
    spoilt(flat, "</head>", "<style>.js-plotly-plot { visibility: hidden }</style></head>")
    assert problems(browser, flat) == ["the plot is blank"]


def test_a_missing_browser_skips_but_fails_where_it_is_required(monkeypatch):
    monkeypatch.setattr(chromium, "executable", lambda: None)
    monkeypatch.delenv("SVAE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt install chromium"):
        chromium.required()
    monkeypatch.setenv("SVAE_BROWSER", "required")
    with pytest.raises(pytest.fail.Exception, match="apt install chromium"):
        chromium.required()
