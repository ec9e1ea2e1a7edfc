"""The command line: train cells, see what is done, write tables and report, measure speed.

    python -m svae_repro run mnist_vae --preset paper --where d=10,space=s --seeds 0-2
    python -m svae_repro status | tables | report | bench

Exit codes: 0 done; 2 bad input, data that cannot be had or a training that diverged; 3 time was up before everything
was trained; 128 and the signal's number if stopped by one: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.
"""

import argparse
import signal
import sys
import warnings

from . import __version__, experiments, paths
from .errors import UserError
from .options import Parser, discard_output, parse_seeds, parse_where


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="python -m svae_repro", description=__doc__.partition("\n")[0])
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True, parser_class=Parser)
    presets = {"default": "quick", "help": "smoke, quick (default) or paper"}
    train = commands.add_parser("run", help="train and score the missing cells of an experiment")
    train.add_argument("experiment", help=", ".join(experiments.NAMES))
    train.add_argument("--preset", **presets)
    train.add_argument("--where", default="", metavar="d=2,space=s", help="only these configurations")
    train.add_argument("--seeds", metavar="0-9", help="only these seeds (default: all of the preset)")
    train.add_argument("--data", default="auto", dest="source", help="auto (default), real or standin")
    train.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    at_once = "trainings at the same time (default: all cores, 1 on a GPU; Dask: always all workers)"
    train.add_argument("--jobs", type=int, metavar="N", help=at_once)
    together = "seeds of a configuration that train as one program (default: all on a GPU, 1 on a CPU)"
    train.add_argument("--lockstep", type=int, metavar="N", help=together)
    train.add_argument("--backend", default="loky", help="where jobs run: loky (this machine, default), dask or ray")
    train.add_argument("--scheduler", metavar="ADDRESS", help="of the Dask cluster, such as tcp://host:8786")
    train.add_argument("--minutes", type=float, metavar="M", help="stop after M minutes; the same command resumes")
    train.add_argument("--fresh", action="store_true", help="train again what is already there")
    status = commands.add_parser("status", help="what is done, running and missing, and how long it may take")
    tables = commands.add_parser("tables", help="write the tables of a preset as CSV and Markdown and print them")
    for command in (status, tables):
        command.add_argument("--preset", **(presets | {"default": "paper", "help": "smoke, quick or paper (default)"}))
        command.add_argument("--standin", action="store_true", help="the results made from stand-in data")
    tables.add_argument("--readme", action="store_true", help="also bring the README's verdicts and tables into step")
    report = commands.add_parser("report", help="write the executed notebooks and the verdicts as web pages")
    report.add_argument("--preset", default="paper", help="smoke, quick or paper (default)")
    bench = commands.add_parser("bench", help="measure the speed ratios of the design on this machine")
    bench.add_argument("--only", default="", metavar="step,vmf", help="some of step, vmf, ll, lockstep, pubmed")
    return top


class Stopped(KeyboardInterrupt):
    """Another signal than Ctrl-C's, which ends the processes that train just as well."""


def _stop(number: int, frame) -> None:
    raise Stopped(number)


def _catch_signals() -> None:
    """Of `timeout` and schedulers, and of a terminal that closes, unless nohup has it ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _stop)


def main(arguments: list[str] | None = None) -> int:
    options = None
    try:
        options = parser().parse_args(arguments)
        return _dispatch(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        anew = getattr(options, "fresh", False)
        rest = "the others are as they were, and --fresh begins anew" if anew else "the same command resumes the others"
        print(f"stopped; finished cells are kept, {rest}", file=sys.stderr)
        return 128 + (stop.args[0] if isinstance(stop, Stopped) else signal.SIGINT)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        discard_output()
        return 0


def _dispatch(options: argparse.Namespace) -> int:
    from . import backends, status, study

    if options.command == "run":
        with backends.cluster(options.backend, options.scheduler):
            results = study.run(
                options.experiment,
                options.preset,
                where=parse_where(options.where),
                seeds=None if options.seeds is None else parse_seeds(options.seeds),
                source=options.source,
                device=options.device,
                jobs=options.jobs,
                lockstep=options.lockstep,
                backend=options.backend,
                minutes=options.minutes,
                fresh=options.fresh,
            )
        return 3 if results.unfinished else 0
    if options.command == "status":
        print(status.status(options.preset, options.standin))
    elif options.command == "tables":
        from . import tables

        if options.readme and (options.preset != "paper" or options.standin):
            raise UserError("--readme is for the paper preset's tables on real data")
        if options.readme and paths.root() != paths.REPOSITORY:
            raise UserError(f"--readme is for the committed results, and SVAE_HOME is {paths.root()}: unset it")
        written = tables.write(options.preset, options.standin)
        if options.readme:
            from . import summary  # which needs the plots and their libraries

            summary.write_readme()
        for table in written:
            print(f"{table.name} ({table.preset} preset)\n{table.markdown()}\n{table.verdict()}\n")
        print(f"written to {paths.results(options.preset, options.standin) / 'tables'}")
    elif options.command == "report":
        from . import report

        print(f"written to {report.write(options.preset)}")
    else:
        from . import bench

        bench.main([part for part in options.only.split(",") if part])
    return 0


if __name__ == "__main__":
    _catch_signals()
    warnings.filterwarnings("ignore", "[0-9]+ tasks .*adjusting the input task iterator")  # joblib's, when stopped
    sys.stdout.reconfigure(errors="replace")  # a terminal without Greek letters is no reason to stop
    sys.exit(main())
