"""The written rules for notebooks, checked on every committed one; `problems` names each rule that is broken."""

import ast
import re
import subprocess
import sys
from base64 import b64encode
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from svae_repro.colab import FIRST_CELL
from svae_repro.notebook_files import KERNELSPEC, clean, set_first_cell
from svae_repro.notebooks import OPTIONAL
from svae_repro.paths import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
DEFAULTS = {"preset": "paper", "train": False, "device": "auto", "progress": True}


def problems(text: str) -> list[str]:
    """What is wrong with the notebook whose file holds `text`; empty if nothing is."""
    notebook = nbformat.reads(text, as_version=4)
    cells, found = notebook.cells, []
    code = [cell for cell in cells if cell.cell_type == "code"]
    if len(cells) > 30:
        found.append(f"{len(cells)} cells, at most 30")
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("not executed in order from the first cell to the last")
    for number, cell in enumerate(cells):
        if cell.cell_type == "code":
            found += [f"cell {number}: {problem}" for problem in _cell_problems(cell)]
            if _has_figure(cell) and not _is_caption(cells[number + 1 : number + 2]):
                found.append(f"cell {number}: a figure without a caption cell (markdown) behind it")
    if not code or code[0].source != FIRST_CELL:
        found.append("another first code cell; python -m svae_repro.notebooks --first-cell puts in the one all share")
    found += _parameter_problems([cell for cell in code if "parameters" in cell.metadata.get("tags", [])])
    if not cells or cells[-1].cell_type != "code" or "provenance" not in cells[-1].source:
        found.append("the last cell does not show the provenance")
    canonical = nbformat.writes(clean(notebook, [cell.get("id") for cell in cells])) + "\n"
    if canonical != text:
        found.append("carries metadata of one run or machine; python -m svae_repro.notebooks --in-place removes it")
    return found


def _cell_problems(cell) -> list[str]:
    found = []
    if re.search(r"^\s*class\s+\w", cell.source, flags=re.MULTILINE):
        found.append("defines a class; it belongs into svae_repro/")
    if ".backward(" in cell.source:
        found.append("trains; that belongs into svae_repro/")
    if any(output.output_type == "error" for output in cell.outputs):
        found.append("ended in an error")
    if any(output.get("name") == "stderr" for output in cell.outputs):
        found.append("shows a warning (stderr); these name paths and lines that change")
    return found


def _has_figure(cell) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


def _is_caption(cells) -> bool:
    return bool(cells) and cells[0].cell_type == "markdown" and not cells[0].source.lstrip().startswith("#")


def _parameter_problems(tagged) -> list[str]:
    if len(tagged) != 1:
        return [f"{len(tagged)} cells are tagged `parameters`, must be one"]
    declared = {}
    for statement in ast.parse(tagged[0].source).body:
        if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
            return ["the parameters cell has more than plain assignments; derived settings go into a later cell"]
        declared[statement.targets[0].id] = ast.unparse(statement.value)
    found = [
        f"parameter {name} is {declared.get(name)}, must be {value!r}"
        for name, value in DEFAULTS.items()
        if declared.get(name) != repr(value)
    ]
    # A misspelt one would never be set by run_all.sh, and nobody would notice.
    return found + [f"run_all.sh has no parameter {name}" for name in declared if name not in {*DEFAULTS, *OPTIONAL}]


@pytest.mark.skipif(not NOTEBOOKS, reason="no notebooks in notebooks/ yet")
@pytest.mark.parametrize("path", NOTEBOOKS or [Path("none")], ids=lambda path: path.stem)
def test_notebook_follows_the_rules(path: Path):
    assert problems(path.read_text(encoding="utf-8")) == []


# The rules themselves: a good notebook passes, and each way to break it is named.


def good_notebook():
    figure = new_output("display_data", {"image/png": "aGVsbG8=", "text/plain": "<Figure>"})
    cells = [
        new_markdown_cell("# A title", id="title"),
        new_code_cell(FIRST_CELL, id="first-cell"),
        new_code_cell("\n".join(f"{name} = {value!r}" for name, value in DEFAULTS.items()), id="parameters"),
        new_code_cell("plt.show()", id="figure", outputs=[figure]),
        new_markdown_cell("*Figure.* What to see.", id="caption"),
        new_code_cell("study.provenance()", id="provenance"),
    ]
    cells[2].metadata.tags = ["parameters"]
    for count, cell in enumerate((cells[1], cells[2], cells[3], cells[5]), start=1):
        cell.execution_count = count
    return new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC, "language_info": {"name": "python"}})


def written(notebook) -> str:
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n"


def test_a_good_notebook_has_no_problems():
    notebook = good_notebook()
    notebook.nbformat_minor = 5
    assert problems(written(notebook)) == []


BREAKS = {
    "another first code cell": lambda nb: nb.cells[1].update(source="import svae_repro"),
    "at most 30": lambda nb: nb.cells.extend(new_markdown_cell("more") for _ in range(30)),
    "not executed in order": lambda nb: nb.cells[2].update(execution_count=7),
    "defines a class": lambda nb: nb.cells[5].update(source="provenance()\nclass Model(Module): pass"),
    "trains": lambda nb: nb.cells[5].update(source="provenance()\nloss.backward()"),
    "ended in an error": lambda nb: nb.cells[5].outputs.append(new_output("error", ename="E", evalue="", traceback=[])),
    "shows a warning": lambda nb: nb.cells[5].outputs.append(new_output("stream", name="stderr", text="careful")),
    "without a caption": lambda nb: nb.cells[4].update(source="## The next section"),
    "0 cells are tagged": lambda nb: nb.cells[2].metadata.pop("tags"),
    "parameter train is True": lambda nb: nb.cells[2].update(source="preset = 'paper'\ntrain = True"),
    "no parameter sedes": lambda nb: nb.cells[2].update(source=nb.cells[2].source + "\nsedes = None"),
    "plain assignments": lambda nb: nb.cells[2].update(source="import torch"),
    "provenance": lambda nb: nb.cells.pop(),
    "metadata of one run": lambda nb: nb.cells[2].metadata.update(execution={"iopub.execute_input": "12:00"}),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_rule_is_named(name: str):
    notebook = good_notebook()
    notebook.nbformat_minor = 5
    BREAKS[name](notebook)
    assert any(name in problem for problem in problems(written(notebook)))


def test_the_first_cell_is_put_in_once_and_brought_into_step(tmp_path: Path):
    notebook = good_notebook()
    notebook.nbformat_minor = 5
    path = tmp_path / "01_one.ipynb"
    path.write_text(written(notebook))
    whole = path.read_text()
    path.write_text(whole.replace("svae-repro", "another-name"))
    set_first_cell(path)
    assert path.read_text() == whole  # brought into step
    del notebook.cells[1]
    for count, cell in enumerate(cell for cell in notebook.cells if cell.cell_type == "code"):
        cell.execution_count = count + 1
    path.write_text(written(notebook))
    set_first_cell(path)
    assert path.read_text() == whole  # put in, and the cells behind it renumbered
    set_first_cell(path)
    assert path.read_text() == whole


def test_a_figure_that_is_not_the_committed_one_is_noticed(tmp_path: Path):
    """`conftest.py` in the root: of two figures, one committed as it is drawn, nbval takes one."""
    source = "from IPython.display import Image, display\n\ndisplay(Image(b'drawn', format='png'))"
    plain = "<IPython.core.display.Image object>"
    cells = []
    for count, content in enumerate((b"drawn", b"committed"), start=1):
        output = new_output("display_data", {"image/png": b64encode(content).decode(), "text/plain": plain})
        cells.append(new_code_cell(source, execution_count=count, outputs=[output]))
    notebook = new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC})
    file = tmp_path / "figures.ipynb"
    nbformat.write(notebook, file)
    options = ["-q", "-p", "conftest", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "--rootdir"]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path), str(file)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert "1 failed, 1 passed" in result.stdout and "Cell 1" in result.stdout and "image/png" in result.stdout
