#!/usr/bin/env bash
# The plain suite under each Python, with the newest releases, and under the oldest ones that pyproject.toml allows.
#
#   pip install uv
#   bash tests/versions.sh [3.11 | 3.12 | 3.13 | oldest]…      all of them when none is named; 5 to 15 minutes each
#
# Prints a Markdown table, a line each. An environment (7 GB) is made for each under the temporary folder, or under
# $ENVIRONMENTS, where it stays and is used again. uv finds the Pythons, or fetches them.
set -euo pipefail
cd "$(dirname "$0")/.."
kept=${ENVIRONMENTS:-}
work=${kept:-$(mktemp -d)}
trap '[ -n "$kept" ] || rm -rf "$work"' EXIT

echo "| Python | torch | diffusers | transformers | accelerate | numpy | pandas | outcome |"
echo "|---|---|---|---|---|---|---|---|"
rows="${*:-3.11 3.12 3.13 oldest}"
for name in $rows; do
  case $name in
    oldest) python=3.11 resolution=lowest-direct ;;
    *) python=$name resolution=highest ;;
  esac
  here=$work/$name
  [ -x "$here/bin/python" ] || uv venv -q --python "$python" "$here"
  uv pip install -q --python "$here/bin/python" --resolution "$resolution" -e ".[test]"
  log=$work/$name.log
  "$here/bin/python" -m pytest -q >"$log" 2>&1 || true
  "$here/bin/python" - "$(tail -n 1 "$log")" <<'END'
import importlib.metadata as installed, platform, sys
names = ("torch", "diffusers", "transformers", "accelerate", "numpy", "pandas")
outcome = sys.argv[1].strip("= ")
print("|", " | ".join([platform.python_version(), *map(installed.version, names), outcome]), "|", flush=True)
END
done
