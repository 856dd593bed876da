#!/bin/sh
# sh tests/gpu/first_light.sh PART --out FOLDER [--device 0|cpu] [--budget-s SECONDS]
# The first quarter of an hour on a GPU nobody has seen, in two commands (PART 1 and 2, 400 and 420 s at most), with
# random weights of true size: nothing is downloaded. FOLDER gets first_light.md, the answers so far, and
# first_light_PART.tar.gz, all that was measured so far, after each step and every few seconds; a cut loses nothing
# older. PART 2 goes on where PART 1 ended on the same machine, and begins anew on another. `--device cpu` rehearses
# with the tiny model. Then, anywhere: python tests/gpu/publish.py FOLDER/*.tar.gz
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONUNBUFFERED=1 PYTHONPATH="$here/../..${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python3}" "$here/first_light.py" "$@"
