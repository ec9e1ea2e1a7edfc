"""The study as a folder of web pages: `results/<preset>/report/index.html`, to be read without network or Jupyter.

    python -m svae_repro report --preset paper

A start page with the verdicts, the headline rows and one figure of each notebook, and a page for each executed
notebook. The folder is complete in itself (figures and interactive pages are copied into it), so it can be sent or put
on a server as it is. Formulas become MathML, which browsers draw by themselves.
"""

import base64
import contextlib
import html
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, NavigableString, Tag
from jinja2 import pass_context
from nbconvert.exporters import HTMLExporter

from . import paths, summary, web
from .errors import UserError
from .notebooks import data_line
from .store import Results

TITLE = "Hyperspherical VAEs: a reproduction"
CAPTION_LENGTH = 300  # characters of a figure's caption that make its alternative text


@dataclass
class Page:
    """An executed notebook on its way into the report."""

    name: str
    notebook: nbformat.NotebookNode

    @property
    def title(self) -> str:
        """Its first heading, or its name."""
        sources = [cell.source for cell in self.notebook.cells if cell.cell_type == "markdown"]
        headings = re.findall(r"^# +(.+)$", "\n".join(sources), flags=re.MULTILINE)
        return headings[0] if headings else self.name

    @property
    def data(self) -> str:
        return data_line(self.notebook)

    @property
    def standin(self) -> bool:
        return self.data.startswith("stand-in")


class _Exporter(HTMLExporter):
    """The body of a notebook's page, with our Markdown."""

    @pass_context
    def markdown2html(self, context, source: str) -> str:
        return web.markdown(source)


def write(preset: str) -> Path:
    """Write the report of a preset and return its start page.

    The old report stays until the new one is whole.

    Raises:
        UserError: unknown preset, no notebook of it has been executed, or the folder cannot be written.
    """
    found = summary.stored(preset)
    pages = [Page(path.stem, _read(path)) for path in executed(preset)]
    folder = paths.results(preset) / "report"
    try:
        with _whole_or_absent(folder) as building:
            _build(building, folder, preset, pages, found)
    except OSError as error:
        raise UserError(f"cannot write the report {folder}: {error.strerror or error}") from None
    return folder / "index.html"


def _read(path: Path) -> nbformat.NotebookNode:
    try:
        return nbformat.read(path, as_version=4)
    except (ValueError, KeyError, AttributeError, nbformat.ValidationError):
        raise UserError(f"{path} is no notebook that can be read: execute it again, or remove it") from None


def executed(preset: str) -> list[Path]:
    """The executed notebook of every number, the newer one where real and stand-in data have been used.

    The committed notebooks are those of the paper preset, and serve where none has been executed here.
    """
    folders = [paths.results(preset, standin) / "notebooks" for standin in (False, True)]
    found = sorted((p for f in folders for p in f.glob("[0-9][0-9]_*.ipynb")), key=lambda path: path.stat().st_mtime)
    committed = sorted((paths.REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb")) if preset == "paper" else []
    newest = {path.name: path for path in [*committed, *found] if not path.name.endswith(".failed.ipynb")}
    if not newest:
        raise UserError(f"there are no notebooks in {folders[0]}: run ./run_all.sh --preset {preset} first")
    return [newest[name] for name in sorted(newest)]


@contextlib.contextmanager
def _whole_or_absent(folder: Path) -> Iterator[Path]:
    """An empty folder that takes the place of ``folder`` at the end, and is removed if anything goes wrong."""
    building, old = (folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp") for _ in range(2))
    building.mkdir(parents=True)
    try:
        yield building
        if folder.exists():
            os.replace(folder, old)
        os.replace(building, folder)
    except BaseException:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        raise
    finally:
        for left in (building, old):
            shutil.rmtree(left, ignore_errors=True)


def _build(building: Path, folder: Path, preset: str, pages: list[Page], found: list[Results]) -> None:
    """Every file of the report in ``building``, with links as they will be in ``folder``."""
    links = _Links(folder, {p.name for p in pages})
    for number, page in enumerate(pages):
        around = [("Start", "index.html")]
        around += [(f"← {p.title}", f"{p.name}.html") for p in pages[max(0, number - 1) : number]]
        around += [(f"{p.title} →", f"{p.name}.html") for p in pages[number + 1 : number + 2]]
        text = web.page(page.title, _notebook_body(page.notebook, links), around, _notice(preset, page.standin))
        (building / f"{page.name}.html").write_text(text, encoding="utf-8")
    standin = any(p.standin for p in pages) or any(results.standin for results in found if results.cells)
    around = [(p.name[:2], f"{p.name}.html") for p in pages]
    text = web.page(TITLE, _start(building, found, pages, links), around, _notice(preset, standin))
    (building / "index.html").write_text(text, encoding="utf-8")
    links.copy_figures(building)


def _notice(preset: str, standin: bool) -> str:
    lines = [] if preset == "paper" else [f"{preset.capitalize()} preset: shorter than the paper's protocol."]
    if standin:
        lines += ["Stand-in data: the real data could not be had, so nothing made from them compares with the paper."]
    return " ".join(lines)


def _notebook_body(notebook: nbformat.NotebookNode, links: "_Links") -> str:
    exporter = _Exporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    for cell, caption in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        if caption is not None and caption.cell_type == "markdown":
            cell.metadata["alt"] = _plain(caption.source)
    body, _ = exporter.from_notebook_node(notebook)
    soup = BeautifulSoup(body, "html.parser")
    for code in soup.select("div.input"):
        details, label = soup.new_tag("details"), soup.new_tag("summary")
        label.string = "code"
        details.append(label)
        code.wrap(details)
    for text in soup.select("pre"):
        text["tabindex"] = "0"  # so that the keyboard can scroll it
        links.link_figures(soup, text)
    for tag in soup.select("a[href], img[src], source[src], iframe[src]"):
        name = "href" if tag.name == "a" else "src"
        tag[name] = links.moved(tag[name])
    return str(_with_scrolling_tables(soup))


def _with_scrolling_tables(soup: BeautifulSoup) -> BeautifulSoup:
    """On a narrow screen a wide table scrolls by itself, and the page does not."""
    for table in soup.select("table"):
        table.wrap(soup.new_tag("div", attrs={"class": "scroll", "tabindex": "0", "role": "region"}))
        table.parent["aria-label"] = "table"
    return soup


def _start(building: Path, found: list[Results], pages: list[Page], links: "_Links") -> str:
    """The start page; the first figure of each notebook is written beside it."""
    verdicts = f"# {TITLE}\n\n{summary.verdicts(found, level=2)}"
    parts = [web.markdown(verdicts), "<h2>Notebooks and figures</h2>"]
    for page in pages:
        parts.append(f'<h3><a href="{page.name}.html">{html.escape(page.title)}</a></h3>')
        parts.append(f'<p class="note">data: {html.escape(page.data)}</p>')
        if first := _first_figure(page.notebook):
            picture, caption = first
            (building / f"{page.name}.png").write_bytes(picture)
            parts.append(f'<figure><img src="{page.name}.png" loading="lazy" alt="{html.escape(caption)}"></figure>')
        for file in links.interactive(page.name[:2]):
            text = file.stem.replace("_", " ")
            parts.append(f'<p><a href="{links.figure(file)}">Interactive: {html.escape(text)}</a></p>')
    parts.append(web.markdown("## The numbers behind the verdicts\n\n" + summary.details(found)))
    return str(_with_scrolling_tables(BeautifulSoup("\n".join(parts), "html.parser")))


def _first_figure(notebook: nbformat.NotebookNode) -> tuple[bytes, str] | None:
    """The first picture of a notebook and the beginning of the caption behind it."""
    for cell, caption in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        for output in cell.get("outputs", []):
            if picture := output.get("data", {}).get("image/png"):
                return base64.b64decode(picture), _plain(caption.source if caption else "")
    return None


def _plain(source: str) -> str:
    """The beginning of a caption as plain text, for those who cannot see the figure."""
    text = " ".join(re.sub(r"\$[^$]*\$", lambda m: re.sub(r"\\[a-z]+|[\\${}]", "", m.group()), source).split())
    text = BeautifulSoup(web.markdown(text), "html.parser").get_text(" ", strip=True)
    return text if len(text) <= CAPTION_LENGTH else text[:CAPTION_LENGTH].rsplit(" ", 1)[0] + " …"


class _Links:
    """Links of the notebooks as they are from inside the report, and the figure folders they lead to."""

    def __init__(self, folder: Path, pages: set[str]):
        preset = folder.parent.name
        self.folder, self.pages = folder, pages
        self.folders = [f for f in (paths.figures(preset), paths.figures(preset, standin=True)) if f.is_dir()]

    def moved(self, link: str) -> str:
        """Where a link written in `notebooks/` leads from here."""
        if re.match(r"[a-z][a-z0-9+.-]*:|#", link):
            return link
        path, mark, fragment = link.partition("#")
        if path.removesuffix(".ipynb") in self.pages:
            return f"{path.removesuffix('.ipynb')}.html{mark}{fragment}"
        file = Path(os.path.normpath(paths.REPOSITORY / "notebooks" / path))
        if file.is_relative_to(paths.REPOSITORY / "figures"):
            # The text names the paper preset's figure; where this run has drawn its own, that is meant.
            drawn = [folder / file.name for folder in self.folders if (folder / file.name).exists()]
            return self.figure((drawn or [paths.root() / file.relative_to(paths.REPOSITORY)])[0])
        return os.path.relpath(file, self.folder) + mark + fragment if file.exists() else link

    def figure(self, file: Path) -> str:
        if file.parent not in self.folders:
            self.folders.append(file.parent)
        return f"figures/{file.parent.name}/{file.name}"

    def interactive(self, number: str) -> list[Path]:
        """The interactive pages of a notebook."""
        return [file for folder in self.folders for file in sorted(folder.glob(f"{number}_*.html"))]

    def link_figures(self, soup: BeautifulSoup, text: Tag) -> None:
        """Make a link of every interactive page that a notebook names in what it prints."""
        for string in text.find_all(string=re.compile(r"figures/[\w-]+/\w+\.html")):
            parts = re.split(r"(figures/[\w-]+/\w+\.html)", string)
            anchors = [soup.new_tag("a", href=f"../{part}", string=part) for part in parts[1::2]]
            plain = [NavigableString(part) for part in parts[::2]]
            string.replace_with(plain[0], *(x for pair in zip(anchors, plain[1:], strict=True) for x in pair))

    def copy_figures(self, building: Path) -> None:
        for folder in self.folders:
            source = folder if folder.is_dir() else paths.REPOSITORY / "figures" / folder.name
            if source.is_dir():
                shutil.copytree(source, building / "figures" / folder.name, ignore=shutil.ignore_patterns("*.tmp"))
