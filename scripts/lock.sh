#!/usr/bin/env bash
# Writes requirements.lock anew: the newest versions pyproject.toml allows, as they install together in an empty environment.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." >/dev/null && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" - "$root/pyproject.toml" >"$folder/requirements.in" <<'PYTHON'
import sys, tomllib

project = tomllib.load(open(sys.argv[1], "rb"))["project"]
print(*project["dependencies"], *sum(project["optional-dependencies"].values(), []), sep="\n")
PYTHON
echo "Installing the newest versions into $folder (2 to 10 minutes) ..." >&2
"$folder/venv/bin/pip" install --disable-pip-version-check --no-input -r "$folder/requirements.in" >"$folder/log" 2>&1 || {
    tail -n 15 "$folder/log" >&2
    exit 1
}
"$folder/venv/bin/pip" check >&2
{
    echo "# Exact versions of everything, written by scripts/lock.sh with $("$folder/venv/bin/python" -V)."
    echo "# What only another platform needs in addition, pip finds by itself."
    # CUDA's packages exist for Linux only; without the marker nothing would install on a Mac.
    "$folder/venv/bin/pip" freeze | sed -E 's/^(nvidia-|cuda-|triton)(.*)$/\1\2 ; platform_system == "Linux"/'
} >"$folder/requirements.lock"
mv "$folder/requirements.lock" "$root/requirements.lock"
