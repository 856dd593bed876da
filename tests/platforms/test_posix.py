"""Exit codes in the words of Linux and macOS."""

import os

import pytest

from svdsweep.platforms import posix


@pytest.mark.skipif(os.name == "nt", reason="Windows knows fewer signals")
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (7, "exit code 7"),
        (-11, "killed by SIGSEGV"),
        (-99, "killed by signal 99"),
        (None, "it closed its pipe and did not exit"),
    ],
)
def test_an_exit_code_is_told_in_words(code, words):
    assert posix.ending(code) == words
