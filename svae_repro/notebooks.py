"""Execute the notebooks by papermill; what `run_all.sh` runs once the virtual environment is there.

    python -m svae_repro.notebooks --preset quick --only 02,03    executed copies go to results/quick/notebooks/
    python -m svae_repro.notebooks --in-place --only 02           refreshes the outputs of the committed notebook
    python -m svae_repro.notebooks --first-cell --only 02         gives it the first code cell that all notebooks share

Importing this file needs the standard library only: `run_all.sh` checks its options with `--check-only` before anything
is installed.
"""

import argparse
import json
import logging
import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from svae_repro import paths
from svae_repro.errors import UserError
from svae_repro.notebook_files import clean, data_line, find, set_first_cell
from svae_repro.options import Parser, parse_seeds

REQUIRED = ("preset", "train", "device", "progress")  # parameters every notebook declares
OPTIONAL = ("data", "jobs", "seeds", "fresh")  # passed to the notebooks that declare them


def _jobs(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 1 or more")
    return int(text)


def _numbers(text: str) -> list[str]:
    if not re.fullmatch(r"\d{1,2}(,\d{1,2})*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of notebook numbers such as 02,03")
    return [number.zfill(2) for number in text.split(",")]


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = Parser(prog="python -m svae_repro.notebooks", description=__doc__.partition("\n")[0])
    parser.add_argument("--preset", choices=("smoke", "quick", "paper"), help="default: quick")
    parser.add_argument("--only", type=_numbers, metavar="02,03", help="only these notebooks")
    parser.add_argument("--data", choices=("auto", "real", "standin"))
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default: auto")
    parser.add_argument("--jobs", type=_jobs, metavar="N")
    parser.add_argument("--seeds", metavar="0-9")
    parser.add_argument("--fresh", action="store_true", default=None, help="train again what is already there")
    parser.add_argument("--in-place", action="store_true", help="refresh the notebooks with their default parameters")
    parser.add_argument("--first-cell", action="store_true", help="only bring the first code cell into step")
    parser.add_argument("--check-only", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--notebooks", type=Path, default=paths.REPOSITORY / "notebooks", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.seeds is not None:
        parse_seeds(options.seeds)  # which the notebooks do, but later
    if options.in_place:
        for name in ("preset", "device", *OPTIONAL):
            if getattr(options, name) is not None:
                raise UserError(f"--in-place uses the notebooks' own parameters; leave out --{name}")
    options.preset = options.preset or ("paper" if options.in_place else "quick")
    options.device = options.device or "auto"
    return options


def plan(notebooks: list[Path], options: argparse.Namespace) -> list[dict]:
    """The parameters of each notebook. One that a notebook does not know is an error; papermill would only warn."""
    import papermill

    if options.in_place:
        return [{} for _ in notebooks]
    given = {name: getattr(options, name) for name in OPTIONAL if getattr(options, name) is not None}
    plans, used = [], set()
    for path in notebooks:
        try:
            declared = set(papermill.inspect_notebook(str(path)))
        except Exception as error:
            raise UserError(f"cannot read {path.name}: {_first_line(error)}") from error
        missing = [name for name in REQUIRED if name not in declared]
        if missing:
            names = ", ".join(sorted(declared)) or "nothing"
            raise UserError(f"{path.name} does not declare the parameter {missing[0]}; its parameters cell has {names}")
        used |= declared & set(given)
        fixed = {"preset": options.preset, "train": True, "device": options.device, "progress": False}
        plans.append(fixed | {name: value for name, value in given.items() if name in declared})
    for name in given:
        if name not in used:
            raise UserError(f"none of these notebooks has a parameter {name}; leave out --{name}")
    return plans


@dataclass
class Run:
    """One line of the closing table."""

    name: str
    status: str = "skipped"
    seconds: float = 0.0
    data: str = "-"


class _Indented:
    """A file that shows a notebook's output as it comes, set off from our own lines."""

    def __init__(self):
        self.at_start = True

    def write(self, text: str) -> None:
        for line in text.splitlines(keepends=True):
            sys.stdout.write("      " + line if self.at_start else line)
            self.at_start = line.endswith("\n")

    def flush(self) -> None:
        sys.stdout.flush()


def execute(run: Run, path: Path, parameters: dict, options: argparse.Namespace) -> None:
    """Execute one notebook. Its result takes its name when it is whole; a failed one is kept as `.failed.ipynb`."""
    import nbformat
    import papermill

    run.status, started = "stopped", time.monotonic()  # holds if Ctrl-C ends it
    folder = _output_folder(options.preset)
    unfinished, failed = folder / f".{path.stem}.unfinished.ipynb", folder / f"{path.stem}.failed.ipynb"
    log = _Indented()
    try:
        executed = papermill.execute_notebook(
            str(path),
            str(unfinished),
            parameters,
            kernel_name="python3",
            cwd=str(path.parent),
            progress_bar=False,
            stdout_file=log,
            stderr_file=log,
            coalesce_streams=True,  # whether two prints arrive as one output or two depends on the machine's mood
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],  # a kernel's remarks on itself are not the notebook's
        )
        run.data = data_line(executed)
        if options.in_place:
            ids = [cell.get("id") for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
            nbformat.write(clean(executed, ids), str(unfinished))
            unfinished.replace(path)
        else:
            # Beside the results it made: stand-in results never mix with real ones.
            standin = run.data.startswith("stand-in")
            unfinished.replace(_output_folder(options.preset, standin) / path.name)
        failed.unlink(missing_ok=True)
        run.status = "ok"
    except Exception as error:  # the other notebooks must still have their turn
        if getattr(error, "ename", "") == "KeyboardInterrupt":
            raise KeyboardInterrupt from None
        run.status = "failed"
        print(f"      {path.stem}: {_first_line(error)}", file=sys.stderr)
        if unfinished.exists():
            unfinished.replace(failed)
            print(f"      what it did is in {failed}", file=sys.stderr)
    finally:
        unfinished.unlink(missing_ok=True)
        run.seconds = time.monotonic() - started


def execute_all(notebooks: list[Path], plans: list[dict], options: argparse.Namespace) -> int:
    runs = [Run(path.stem) for path in notebooks]
    interrupted = False
    try:
        for number, (run, path, parameters) in enumerate(zip(runs, notebooks, plans, strict=True), start=1):
            print(f"[{number}/{len(notebooks)}] {path.stem} ...", flush=True)
            execute(run, path, parameters, options)
            line = f"      {run.status}, {_duration(run.seconds)}"
            if number < len(notebooks):
                # Notebooks differ, so this is the order of magnitude, no more.
                line += f"; about {_duration(sum(r.seconds for r in runs) / number * (len(notebooks) - number))} left"
            print(line, flush=True)
        if not options.in_place:
            _report(options.preset)
    except KeyboardInterrupt:
        signal.alarm(0)
        interrupted = True
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it would tell of kernels that were ended

    print("\n" + _table(runs))
    if interrupted:
        rest = "the others are as they were" if options.fresh else "the same command resumes from there"
        print(f"Stopped. Finished cells are kept under results/; {rest}.")
        return 130
    return 1 if any(run.status == "failed" for run in runs) else 0


def _report(preset: str) -> None:
    """The web pages of all notebooks executed so far; a report that cannot be written spoils nothing else."""
    from svae_repro import report

    try:
        print(f"report: {report.write(preset)}", flush=True)
    except Exception as error:  # whatever it is, the table of what ran must still come
        print(f"no report: {_first_line(error)}", file=sys.stderr)


def _table(runs: list[Run]) -> str:
    rows = [("notebook", "status", "minutes", "data")]
    for run in runs:
        data, *more = run.data.split("; ")
        rows.append((run.name, run.status, f"{run.seconds / 60:.1f}", data))
        rows += [("", "", "", other) for other in more]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d}" for a, b, c, d in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _first_line(error: Exception) -> str:
    """One line that says what went wrong; of a papermill traceback the notebook's own exception."""
    if hasattr(error, "ename"):
        return f"cell [{error.exec_count}] raised {error.ename}: {error.evalue.strip().partition(chr(10))[0]}"
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').partition(chr(10))[0]}"


def _output_folder(preset: str, standin: bool = False) -> Path:
    folder = paths.results(preset, standin) / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _check_machine(options: argparse.Namespace) -> None:
    paths.data_mirror()
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UserError("--device cuda, but torch finds no GPU here; use --device cpu or auto")
    try:
        probe = _output_folder(options.preset) / ".writable"
        probe.write_text("")
        probe.unlink(missing_ok=True)  # another run may have just done so
    except OSError as error:
        raise UserError(f"cannot write results: {error}") from error


def _set_kernel_environment(in_place: bool) -> None:
    """Settings the kernels inherit, so that nothing outside this checkout and its environment decides what they do."""
    os.environ["PYTHONPATH"] = str(paths.REPOSITORY)
    for name in ("SVAE_HOME", "SVAE_DATA_MIRROR"):
        if os.environ.get(name):  # a kernel's working directory is the notebooks', not ours
            os.environ[name] = os.path.abspath(os.path.expanduser(os.environ[name]))
    # The kernel python3 of this environment, even where the user has installed another of that name.
    os.environ["JUPYTER_PATH"] = os.path.join(sys.prefix, "share", "jupyter")
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # the debugger's warning at every start of a kernel
    if in_place:
        # As in run_tests.sh: the last digit of a sum depends on the number of threads.
        os.environ["OMP_NUM_THREADS"] = "1"


def _stop_gently() -> None:
    """Let signals interrupt the running cell, so that it ends its workers.

    That is Ctrl-C, SIGTERM from `timeout` or a scheduler, and SIGHUP from a terminal that closes.
    The kernel itself is ended by the second signal, or if the cell does not react within ten seconds.
    """
    import psutil

    asked = False

    def stop(signum, frame):
        nonlocal asked
        kernels = psutil.Process().children()
        if asked or not kernels:
            raise KeyboardInterrupt
        asked = True
        for kernel in kernels:
            kernel.send_signal(signal.SIGINT)
        signal.alarm(10)

    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGALRM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # by nohup
        numbers.append(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, stop)


def _keep_stdout() -> None:
    """Leave kernels no terminal to write to: what they print reaches us through papermill, and would show twice."""
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def main(arguments: list[str] | None = None) -> int:
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        notebooks = find(options.notebooks, options.only)
        if options.check_only:
            return 0
        if options.first_cell:
            for path in notebooks:
                set_first_cell(path)
            return 0
        plans = plan(notebooks, options)
        _check_machine(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    _stop_gently()
    _set_kernel_environment(options.in_place)
    _keep_stdout()
    return execute_all(notebooks, plans, options)


if __name__ == "__main__":
    sys.exit(main())
