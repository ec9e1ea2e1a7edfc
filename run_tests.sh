#!/usr/bin/env bash
# Builds .venv where needed, then: ruff over code and notebooks, the tests, and the committed notebooks by nbval.
set -euo pipefail

case ${1:-} in -h | --help)
    cat <<'HELP'
usage: ./run_tests.sh [pytest arguments]

Without arguments: style, all tests, and every committed notebook executed anew and compared with its stored outputs.
With arguments: style, then `pytest` with exactly these, for example  ./run_tests.sh tests/test_bessel.py -k ratio
HELP
    exit 0
    ;;
esac

# shellcheck source=scripts/venv.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/scripts/venv.sh"
ensure_venv
for name in SVAE_HOME SVAE_DATA_MIRROR; do # relative to where the caller stands
    case ${!name:-} in '' | /*) ;; *) export "$name=$PWD/${!name}" ;; esac
done
cd "$ROOT"

# One thread for each worker and kernel: no crowding on few cores, and digits that do not depend on their number.
export OMP_NUM_THREADS=1
# As in svae_repro/notebooks.py: kernels of this environment, and figures inline.
export JUPYTER_PATH=$VENV/share/jupyter MPLBACKEND=module://matplotlib_inline.backend_inline

status=0
"$VENV/bin/python" -m ruff check --quiet --output-format concise . || status=1
"$VENV/bin/python" -m ruff format --check --quiet --output-format concise . || {
    echo "ruff format would change the files above; run: $VENV/bin/python -m ruff format ." >&2
    status=1
}

if [ $# -eq 0 ]; then
    # loadfile keeps the cells of a notebook in order and in one kernel.
    set -- -q -n 2 --dist loadfile --nbval --nbval-current-env tests
    if compgen -G 'notebooks/*.ipynb' >/dev/null; then set -- "$@" notebooks; fi
fi
"$VENV/bin/python" -m pytest "$@" || status=1
exit $status
