"""What all figures share: styles, files, and what to say where a cell is missing."""

import base64
import gzip
import io
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import plotly.graph_objects as go
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure
from PIL import Image
from plotly.offline import get_plotlyjs

from .. import paths, store
from ..store import Results

# Colours that colour-blind readers tell apart (Okabe and Ito 2008); markers and line styles say the same again.
METHOD_STYLES = {"N-VAE": {"color": "#0072B2", "marker": "o"}, "S-VAE": {"color": "#D55E00", "marker": "s"}}
DOTS_PER_INCH = 150  # of the files; those in a notebook have matplotlib's own 100
PICTURE_DOTS_PER_INCH, PICTURE_GREYS = 120, 32  # of files of small grey pictures, where more would not show
ANIMATION_DOTS_PER_INCH = 80
FRAMES_PER_SECOND = 5
# plotly.js in less than half of its five megabytes: the pages' calls wait until the browser has unpacked it.
UNPACK = """// plotly.js, https://plotly.com/javascript, Copyright Plotly, Inc., MIT licence; gzipped
{
    const packed = Uint8Array.from(atob("PACKED"), character => character.charCodeAt(0));
    const code = new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
    const ready = code.then(text => {
        const script = document.createElement("script");
        script.textContent = text;
        document.head.append(script);
    });
    window.Plotly = { newPlot: (...details) => ready.then(() => window.Plotly.newPlot(...details)) };
}
"""
Found = list[tuple[dict, dict[str, np.ndarray]]]  # (configuration, arrays) of cells


def remark(results: Results) -> str:
    """What to know before comparing a figure with the paper's; empty for the paper preset on real data."""
    preset = "" if results.preset == "paper" else f"{results.preset} preset"
    return ", ".join(filter(None, (preset, "stand-in data" if results.standin else "")))


def save(figure: Figure, name: str, results: Results) -> None:
    """Write ``figure`` to ``figures/<preset>/<name>.png``, show it and close it; its title gets the `remark`."""
    if note := remark(results):
        figure.suptitle(f"{figure.get_suptitle()} ({note})".strip())
    file = paths.figures(results.preset, results.standin) / f"{name}.png"
    drawn = io.BytesIO()
    grey = [image.get_cmap().is_gray() for axes in figure.axes for image in axes.images]
    pictures = all(grey) and all(axes.images for axes in figure.axes)
    dots = PICTURE_DOTS_PER_INCH if pictures else DOTS_PER_INCH
    figure.savefig(drawn, format="png", dpi=dots, bbox_inches="tight")
    # A palette makes the file a third as large, but would cut a scale of colours into steps.
    palette = _greys if pictures else _colours if all(grey) else _true_colours
    small = palette(Image.open(drawn))
    store.write_atomically(file, lambda f: small.save(f, format="png", optimize=True))
    plt.show()
    plt.close(figure)


def _true_colours(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def _colours(image: Image.Image) -> Image.Image:
    """With 256 colours; kmeans keeps those of small marks true."""
    return image.convert("RGB").quantize(256, kmeans=1, dither=Image.Dither.NONE)


def _greys(image: Image.Image) -> Image.Image:
    """With `PICTURE_GREYS` from black to white in equal steps: fewer that suit the image would show in its light."""
    top = PICTURE_GREYS - 1
    small = image.convert("L").point([round(value * top / 255) for value in range(256)])
    small = Image.frombytes("P", small.size, small.tobytes())
    small.putpalette([round(level * 255 / top) for level in range(PICTURE_GREYS) for _ in "RGB"])
    return small


def save_animation(figure: Figure, animation: FuncAnimation, name: str, results: Results) -> Path:
    """Write an animation to ``figures/<preset>/<name>.gif``, close its figure and return the file."""
    if note := remark(results):
        figure.suptitle(f"{figure.get_suptitle()} ({note})".strip())
    file = paths.figures(results.preset, results.standin) / f"{name}.gif"
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / file.name
        animation.save(made, writer=PillowWriter(fps=FRAMES_PER_SECOND), dpi=ANIMATION_DOTS_PER_INCH)
        store.write_atomically(file, lambda f: f.write(made.read_bytes()))
    plt.close(figure)
    return file


def save_page(page: go.Figure, name: str, results: Results) -> Path:
    """Write a plotly figure to ``figures/<preset>/<name>.html`` and return that file.

    The page needs no network: plotly.js lies beside it, one copy for all pages of the folder.
    """
    if note := remark(results):
        page.update_layout(title_text=f"{page.layout.title.text or ''} ({note})".strip())
    file = paths.figures(results.preset, results.standin) / f"{name}.html"
    html = page.to_html(include_plotlyjs="directory", div_id=name, config={"displaylogo": False, "plotlyServerURL": ""})
    heading = escape(page.layout.title.text or name)
    head = f'<head><title>{heading}</title><meta name="viewport" content="width=device-width, initial-scale=1" />'
    html = html.replace("<html>", '<html lang="en">', 1).replace("<head>", head, 1)
    store.write_atomically(file, lambda f: f.write(html.encode()))
    library = file.with_name("plotly.min.js")
    if not library.exists():
        packed = base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()
        store.write_atomically(library, lambda f: f.write(UNPACK.replace("PACKED", packed).encode()))
    return file


def stored(results: Results, array: str, configurations: Sequence[dict]) -> Found:
    """The cells of seed 0 that hold ``array``; for the others it prints the commands that make them."""
    cells = [(c, results.arrays(**c) or {}) for c in configurations]
    folder = paths.results(results.preset, results.standin)
    missing = [store.cell_path(folder, results.experiment, c, 0) for c, arrays in cells if array not in arrays]
    if missing:
        print("Not there yet; to make it:")
    for path in missing:
        print(store.command(path, fresh=path.exists()))  # a cell that has lost its arrays counts as done
    return [(c, arrays) for c, arrays in cells if array in arrays]
