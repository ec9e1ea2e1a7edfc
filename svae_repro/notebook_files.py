"""The notebooks as files: which there are, what all of them share, and what is kept of an execution.

Importing this file needs the standard library only, as the runner of the notebooks does.
"""

import json
import re
from pathlib import Path

from .colab import FIRST_CELL
from .errors import UserError
from .files import whole_or_absent

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}


def find(folder: Path, only: list[str] | None) -> list[Path]:
    """The notebooks `NN_name.ipynb`, in order; 00, the overview of all others, last."""
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"), key=lambda path: (path.name.startswith("00"), path.name))
    if not found:
        raise UserError(f"no notebooks (NN_name.ipynb) in {folder}")
    if only is None:
        return found
    numbers = [path.name[:2] for path in found]
    for number in only:
        if number not in numbers:
            raise UserError(f"there is no notebook {number}, only {', '.join(sorted(numbers))}")
    return [path for path in found if path.name[:2] in only]


def clean(notebook, source_ids: list[str | None]):
    """Keep what a re-run reproduces (sources, outputs, tags, ids); drop timings, widgets, this machine's kernel."""
    notebook.metadata = {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        # A cell written without an id gets a random one on reading.
        cell.id = source_ids[number] or f"cell-{number:02d}"
        tags = cell.metadata.get("tags")
        cell.metadata = {"tags": tags} if tags else {}
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    return notebook


def set_first_cell(path: Path) -> None:
    """Make `colab.FIRST_CELL` the first code cell of a notebook.

    As it prints nothing inside the repository, the stored outputs hold; only the cells' numbers move on.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = notebook["cells"]
    source = FIRST_CELL.splitlines(keepends=True)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    if code and code[0].get("id") == "first-cell":
        code[0]["source"] = source
    else:
        cell = {"cell_type": "code", "execution_count": 1, "id": "first-cell", "metadata": {}, "outputs": []}
        cells.insert(cells.index(code[0]) if code else len(cells), cell | {"source": source})
        for other in code:
            number = other["execution_count"]
            other["execution_count"] = number and number + 1
            for output in other["outputs"]:
                if "execution_count" in output:
                    output["execution_count"] = other["execution_count"]
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    with whole_or_absent(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def data_line(notebook) -> str:
    """What the provenance cell says after `data: `, for example `real (mnist ...)`; `-` if nothing does."""
    printed = [
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stdout"
    ]
    lines = re.findall(r"^data: (.+?)\s*$", "\n".join(printed), flags=re.MULTILINE)
    return lines[-1] if lines else "-"
