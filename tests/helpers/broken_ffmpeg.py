"""The real ffmpeg with a real fault: a shell script that IMAGEIO_FFMPEG_EXE names stands before it."""

import os

import pytest
from imageio_ffmpeg import get_ffmpeg_exe

needs_sh = pytest.mark.skipif(os.name == "nt", reason="the faults are shell scripts")
KILLED_IN_MID_WRITE = """\
case "$*" in *rawvideo*)
    for file; do :; done
    { while [ ! -s "${file#file:}" ]; do kill -0 $$ || exit; done; kill -9 $$; } >/dev/null 2>&1 &
esac
exec "$REAL" "$@"
"""
"""Killed as soon as there is something in its file; of a small video that may be a moment too late."""
KILLED_AT_ONCE = 'case "$*" in *rawvideo*) kill -9 $$;; esac; exec "$REAL" "$@"'
LIMITED = 'ulimit -f 8; exec "$REAL" "$@"'
WITHOUT_THE_ENCODER = (
    'for word; do shift; set -- "$@" "$(echo "$word" | sed s/libx264/libx999/g)"; done; exec "$REAL" "$@"'
)
HEARS_HALF = 'case "$*" in *rawvideo*) head -c 150000 | "$REAL" "$@";; *) exec "$REAL" "$@";; esac'
TELLS_HALF = '"$REAL" "$@" 2>/dev/null | head -c 40000; kill -9 $$'


def put_in_place(monkeypatch, folder, script):
    """Let the script stand for ffmpeg until the test's end; `$REAL` is the true one."""
    monkeypatch.setenv("REAL", os.environ.get("REAL") or get_ffmpeg_exe())
    path = folder / "ffmpeg.sh"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(path))
