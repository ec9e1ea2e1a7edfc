#!/usr/bin/env bash
# Builds .venv where needed, then executes the notebooks. Everything but the help is in svae_repro/notebooks.py.
set -euo pipefail

for argument in "$@"; do
    case $argument in -h | --help)
        cat <<'HELP'
usage: ./run_all.sh [options]

Executes the notebooks in order, trains what they need and is not yet under results/, and ends with a table of
what ran. An interrupted run loses nothing that was finished: the same command resumes it.

  --preset smoke|quick|paper  how much to train: minutes, half an hour (the default), or the study itself (hours)
  --only 02,03                only these notebooks
  --data auto|real|standin    auto (the default) takes a labelled stand-in where the real data cannot be had
  --device auto|cpu|cuda      where to train; auto takes a GPU if there is one
  --jobs N                    cells to train at the same time
  --seeds 0-9                 only these seeds (as in 0-4 or 0,2,7)
  --fresh                     train again what is already there
  -h, --help                  this text

environment:
  PYTHON            the interpreter .venv is built with (3.11 or newer)
  SVAE_VENV         a folder to use instead of .venv
  SVAE_HOME         a folder to use instead of the repository for results/, figures/ and data/
  SVAE_DATA_MIRROR  a folder with copies of the data sets, tried before any download
HELP
        exit 0
        ;;
    esac
done

# shellcheck source=scripts/venv.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/scripts/venv.sh"

choose_python
# Options are checked before anything is built: a typing error should not cost minutes.
PYTHONPATH=$ROOT "$python" -m svae_repro.notebooks --check-only "$@"
ensure_venv
exec "$VENV/bin/python" -m svae_repro.notebooks "$@"
