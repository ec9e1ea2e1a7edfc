"""The report on a phone, in headless Chromium without network: links, images, formulas, scenes; how it is written."""

import base64
import os
import re
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from svae_repro import paths, plots, report, web
from svae_repro.__main__ import main
from svae_repro.store import Results
from tests import test_pages

PHONE = 390  # CSS pixels
PIXEL = base64.b64encode(
    bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de")
    + bytes.fromhex("0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082")
).decode()


def problems(browser, file: Path) -> list[str]:
    """What is wrong with a page of the report on a phone; empty if nothing is."""
    with browser.page(file, width=PHONE) as page:
        page.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager' })")
        page.evaluate("Promise.allSettled([...document.images].map(image => image.decode()))")
        broken = page.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.src)")
        silent = page.evaluate(
            "[...document.images].filter(i => !i.alt || i.alt.startsWith('No desc')).map(i => i.src)"
        )
        width = page.evaluate("document.documentElement.scrollWidth")
        links = page.evaluate("[...document.links].map(link => link.href)")
        headings = page.evaluate("document.querySelectorAll('h1').length")
        found = [f"image {image[-60:]} does not load" for image in broken]
        found += [f"image {image[-60:]} has no alternative text" for image in silent]
        found += [f"{width} pixels wide"] * (width > PHONE) + [f"{headings} main headings"] * (headings != 1)
        for link in links:
            target = Path(unquote(urldefrag(link).url.removeprefix("file://")))
            if link.startswith("file:") and not target.exists():
                found.append(f"{link} leads nowhere")
        return [*found, *page.problems]


def executed(folder: Path, name: str, data: str, *cells) -> None:
    """An executed notebook, as `run_all.sh` would leave it."""
    folder.mkdir(parents=True, exist_ok=True)
    provenance = new_code_cell("provenance", outputs=[new_output("stream", text=f"data: {data}\n")])
    nbformat.write(new_notebook(cells=[*cells, provenance]), folder / f"{name}.ipynb")


@pytest.fixture
def quick(home) -> Path:
    """The notebooks of a quick run: one on real data, one on a stand-in with a figure and an interactive page."""
    wide = "| " + " | ".join(["a_long_name_of_a_column"] * 9) + " |\n" + "| --- " * 9 + "|"
    formula = r"$$\log p(x) \approx \log \frac1K \sum_k \frac{p(x \mid z_k)\, p(z_k)}{q(z_k \mid x)}$$"
    moving = "![a moving figure](../figures/paper/01_moving.gif)"
    text = new_markdown_cell(f"# The first\n\nNext: [two](02_second.ipynb#results).\n\n{moving}\n\n{wide}\n\n{formula}")
    code = new_code_cell("print('x' * 200)", outputs=[new_output("stream", text="x" * 200 + "\n")])
    executed(home / "results/quick/notebooks", "01_first", "real (circle)", text, code)

    points = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float16)
    results = Results("mnist_vae", "quick", True, [], 4)
    plots.save_page(plots.sphere_page(points, (np.arange(60) % 3).astype(np.uint8)), "02_sphere", results)
    (paths.figures("quick") / "01_moving.gif").parent.mkdir(parents=True)
    (paths.figures("quick") / "01_moving.gif").write_bytes(base64.b64decode(PIXEL))
    figure = new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure>"})
    said = new_output("stream", text="to turn: figures/quick-standin/02_sphere.html (open it)\n")
    executed(
        home / "results/quick-standin/notebooks",
        "02_second",
        "stand-in (digits)",
        new_markdown_cell("# The second\n\n[back](01_first.ipynb), [code](../svae_repro/study.py)"),
        new_code_cell("plots.save(...)", outputs=[figure, said]),
        new_markdown_cell("*What to see:* a point in $S^2$."),
    )
    return report.write("quick")


def test_every_page_works_on_a_phone(browser, quick: Path):
    pages = sorted(quick.parent.glob("*.html"))
    assert [page.name for page in pages] == ["01_first.html", "02_second.html", "index.html"]
    assert [problem for page in pages for problem in problems(browser, page)] == []
    assert test_pages.problems(browser, quick.parent / "figures/quick-standin/02_sphere.html") == []


def test_links_captions_and_warnings(quick: Path):
    first, second = ((quick.parent / name).read_text() for name in ("01_first.html", "02_second.html"))
    assert 'href="02_second.html#results"' in first and 'href="01_first.html"' in second
    assert '<a href="figures/quick-standin/02_sphere.html">' in second
    assert 'alt="What to see: a point in S^2."' in second
    assert "<math" in first and "$" not in first.split("</style>")[1]
    start = quick.read_text()
    assert "Stand-in data" in start and "Stand-in data" in second and "Stand-in data" not in first
    assert all("Quick preset" in text for text in (start, first, second))
    for link in ("01_first.html", "02_second.html", "figures/quick-standin/02_sphere.html"):
        assert f'href="{link}"' in start


def test_a_figure_of_the_text_is_the_one_this_run_has_drawn(quick: Path):
    assert 'src="figures/quick/01_moving.gif"' in (quick.parent / "01_first.html").read_text()
    assert sorted(folder.name for folder in (quick.parent / "figures").iterdir()) == ["quick", "quick-standin"]


def test_a_broken_page_is_named(browser, quick: Path):
    text = quick.read_text()
    quick.write_text(
        text.replace("</main>", "<h1>again</h1><img src='gone.png'><a href='no.html'>x</a><pre style='width:600px'>")
    )
    found = "\n".join(problems(browser, quick))
    for named in (
        "gone.png does not load",
        "gone.png has no alt",
        "no.html leads nowhere",
        "pixels wide",
        "2 main headings",
    ):
        assert named in found


def test_the_committed_notebooks_make_a_report(browser, home):
    start = report.write("paper")
    pages = sorted(start.parent.glob("*.html"))
    notebooks = {path.stem for path in (paths.REPOSITORY / "notebooks").glob("*.ipynb")}
    assert {page.stem for page in pages} == notebooks | {"index"}
    assert {page.stem: found for page in pages if (found := problems(browser, page))} == {}
    unread = [page.name for page in pages if re.search(r'class="formula \w+"><code>', page.read_text())]
    assert unread == [], "latex2mathml does not know a command in these"


def test_formulas():
    assert r"<code>\nosuchcommand{x}</code>" in web.markdown(r"a $\nosuchcommand{x}$ b")  # at least it can be read
    for latex in (r"\mathcal N", r"\mathcal{N}", r"\mathbb E", r"\mathbb{R}^d"):
        assert "<math" in web.markdown(f"a ${latex}$ b") and "mathvariant" not in web.markdown(f"a ${latex}$ b")


def test_an_interrupted_report_leaves_the_old_one(quick: Path, monkeypatch):
    before = {path: path.read_bytes() for path in quick.parent.rglob("*") if path.is_file()}

    def interrupted(building, *_):
        (building / "index.html").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "_build", interrupted)
    with pytest.raises(KeyboardInterrupt):
        report.write("quick")
    assert {path: path.read_bytes() for path in quick.parent.rglob("*") if path.is_file()} == before
    assert list(quick.parent.parent.glob(".*")) == []


def test_a_report_that_cannot_take_its_place_leaves_the_old_one(quick: Path, monkeypatch):
    before = {path: path.read_bytes() for path in quick.parent.rglob("*") if path.is_file()}
    replace, calls = os.replace, []

    def second_fails(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError("no space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    with pytest.raises(OSError, match="no space left"), report._whole_or_absent(quick.parent):
        pass
    assert {path: path.read_bytes() for path in quick.parent.rglob("*") if path.is_file()} == before
    assert list(quick.parent.parent.glob(".*")) == []


@pytest.mark.parametrize("content", ["{", "{}", "[1]"])
def test_a_damaged_notebook_is_one_line(quick: Path, home, capsys, content):
    (home / "results/quick/notebooks/01_first.ipynb").write_text(content)
    assert main(["report", "--preset", "quick"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "01_first.ipynb is no notebook that can be read" in error


def test_a_newer_run_replaces_the_older_one(quick: Path, home):
    executed(home / "results/quick/notebooks", "02_second", "real (mnist)", new_markdown_cell("# Now real"))
    (home / "results/quick/notebooks/02_second.failed.ipynb").write_text("{}")
    assert "Stand-in" not in (report.write("quick").parent / "02_second.html").read_text()
    assert "Now real" in quick.read_text() and not (quick.parent / "02_second.png").exists()


def test_mistakes_are_one_line(home, capsys):
    assert main(["report", "--preset", "quick"]) == 2
    assert "run ./run_all.sh --preset quick first" in capsys.readouterr().err
    assert main(["report", "--preset", "huge"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown preset 'huge'")
    assert list(home.rglob("*")) == []
