# shellcheck shell=bash
# Sourced by run_all.sh and run_tests.sh: after `ensure_venv`, $VENV/bin/python has what requirements.lock says.
#
#   PYTHON     the interpreter to build with (default: the one already in the environment, else python3)
#   SVAE_VENV  the folder of the environment (default: .venv in the repository)

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd)
LOCK=$ROOT/requirements.lock
VENV=${SVAE_VENV:-$ROOT/.venv}
case $VENV in /*) ;; *) VENV=$PWD/$VENV ;; esac
# Holds the hash of the lock and the Python version; holds "building" until an installation is complete.
STAMP=$VENV/.svae-lock-sha256

die() {
    printf 'error: %s\n' "$1" >&2
    exit "${2:-1}"
}

choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        python=$PYTHON
    elif [ -x "$VENV/bin/python" ]; then
        python=$VENV/bin/python
    else
        python=python3
    fi
    local hint="install Python 3.11 or newer, or set PYTHON=/path/to/one"
    command -v -- "$python" >/dev/null || die "no '$python' on this machine; $hint"
    # Written so that every Python understands it, even 2.7.
    python_version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || die "'$python' does not run; $hint"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "'$python' is Python $python_version; $hint"
}

expected_stamp() {
    "$python" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read() + sys.argv[2].encode()).hexdigest())' \
        "$LOCK" "$python_version"
}

venv_is_current() {
    [ -x "$VENV/bin/python" ] && [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(expected_stamp)" ]
}

# Packages may be added in place only where pip works, the version is right and no earlier installation was cut short.
venv_is_sound() {
    [ -x "$VENV/bin/python" ] && [ "$(cat "$STAMP" 2>/dev/null)" != building ] &&
        [ "$("$VENV/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = "$python_version" ] &&
        "$VENV/bin/python" -m pip --version >/dev/null 2>&1
}

# run_logged COMMAND...: quiet while all is well; on failure the end of the log, without pip's remarks on its indexes.
run_logged() {
    "$@" >>"$log" 2>&1 && return
    { grep -v '^WARNING: Location' "$log" || true; } | tail -n 15 >&2 # it may be empty
    die "could not build $VENV (the last lines of the log are above; run the command again to try again)"
}

build_venv() {
    local base log started=$SECONDS
    # A folder that is not a virtual environment is never cleared: it may be somebody's home.
    if [ -d "$VENV" ] && [ ! -f "$VENV/pyvenv.cfg" ] && [ -n "$(ls -A "$VENV")" ]; then
        die "'$VENV' exists and is not a virtual environment; set SVAE_VENV to another folder"
    fi
    # The interpreter behind $python: an environment cannot clear itself while its own python does the clearing.
    base=$("$python" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))')
    "$base" -c 'import ensurepip, venv' 2>/dev/null ||
        die "'$base' lacks the venv module; install it (Debian, Ubuntu: apt install python3-venv) or set PYTHON=/path/to/another"
    log=$(mktemp "${TMPDIR:-/tmp}/svae-pip-XXXXXX")
    echo "Building $VENV with Python $python_version (2 to 10 minutes and 6 GB, only once; log: $log)"
    venv_is_sound || run_logged "$base" -m venv --clear "$VENV"
    echo building >"$STAMP"
    run_logged "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input -r "$LOCK"
    # For kernels and shells of this environment that are started by hand (the scripts themselves set PYTHONPATH).
    if [ "$VENV" = "$ROOT/.venv" ]; then
        echo "$ROOT" >"$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/svae_repro.pth"
    fi
    expected_stamp >"$STAMP.new"
    mv "$STAMP.new" "$STAMP"
    rm "$log"
    echo "Built $VENV in $((SECONDS - started)) s"
}

ensure_venv() {
    choose_python
    if ! venv_is_current; then
        mkdir -p -- "$(dirname -- "$VENV")"
        # Two scripts started together: the second waits here (where flock exists), then finds the work done.
        exec 9>"$VENV.lock"
        if command -v flock >/dev/null; then flock 9; fi
        venv_is_current || build_venv
        exec 9>&-
    fi
    # This checkout's code and no other, whatever the caller's shell says.
    export PYTHONPATH=$ROOT
}
