"""Whatever is typed, no verb ends in a traceback: one paragraph and an exit code."""

import contextlib
import io

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from svdsweep import cli
from svdsweep.commands import VERBS, run
from svdsweep.config import Config
from svdsweep.config.rules import rules

KEYS = (
    *rules(Config),
    *(
        "image",
        "memory",
        "model",
        "measure",
        "metrics",
        "runner",
        "gpu",
        "experiment",
        "+experiment",
        "hydra",
    ),
    *("hydra.verbose", "name", "~seed", "+x", "++seed", "seed@x", "memory@y", ""),
)
WORDS = (
    *(
        "nan",
        "inf",
        "-inf",
        "-0",
        "1e400",
        "1e-400",
        "9" * 25,
        "-1",
        "0",
        "1.5",
        "1e3",
        "0x10",
        "1_000",
        "٣",
        "½",
    ),
    *(
        "true",
        "null",
        "None",
        "",
        " ",
        ",",
        ",,",
        "a,",
        "=",
        "==",
        "1,2,3",
        "1..3",
        "-1,-2",
        "3:4",
        "-",
        "--",
    ),
    *(
        "[]",
        "{}",
        "[1,2]",
        "{a:1}",
        "[[",
        "]",
        "(",
        ")",
        "[a",
        "'",
        '"',
        "'a",
        "\"a'",
        "a b",
        "\\",
        "\n",
        "a\nb",
    ),
    *(
        "${",
        "${x}",
        "${seed}",
        "${oc.env:NOPE}",
        "${now:%Y}",
        "${.x}",
        "${seed:1}",
        "$",
        "$HOME",
        "~",
        "~nobody/x",
    ),
    *(
        "/",
        "..",
        ".",
        "/dev/null",
        "/proc/1/mem",
        "*",
        "**",
        "?",
        "a" * 300,
        "a/" * 200,
        "http://x/y.png",
        "C:\\x",
    ),
    *(
        "range(3)",
        "range(0,1e9)",
        "range(1,2,0)",
        "range(-5)",
        "range(a)",
        "range(0,1000000000)",
        "interval(0,1)",
    ),
    *("choice()", "choice(1,2)", "glob(*)", "sort(3,1)", "shuffle(1,2)", "int(3.5)", "extend_list(1)"),
    *("é", "猫", "\udcff", "\ud800", "\u202e", "\x07", "\x1b[31m", "a.png", "1" * 5000),
)
FLAGS = (
    *(
        "--json",
        "--predict",
        "--config-dir",
        "--gpu",
        "--pair",
        "--metrics",
        "--csv",
        "--every",
        "--to",
        "--into",
    ),
    *(
        "--fail-above",
        "--image",
        "--device",
        "--frames",
        "--threads",
        "--decode-chunk-size",
        "--details",
        "--vram",
    ),
    *(
        "--help",
        "-h",
        "--version",
        "-m",
        "--cfg",
        "--info",
        "--resolve",
        "--hydra-help",
        "-sc",
        "--nope",
        "-x",
        "--",
    ),
    *("--cfg=job", "--info=config", "--package=x", "--weights-dir", "--once"),
)
PLACES = ("empty", "file", "sweep", "nothing", "empty/x")
VALUES = st.one_of(
    st.sampled_from(WORDS),
    st.text(st.characters(codec=None, min_codepoint=1), max_size=12),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(",".join),
    st.integers().map(str),
    st.floats().map(str),
)
SETTINGS = st.tuples(st.sampled_from(KEYS), VALUES).map("=".join)
GIVEN_FLAGS = st.tuples(st.sampled_from(FLAGS), VALUES).map("=".join)
ARGUMENTS = st.lists(
    st.one_of(SETTINGS, st.sampled_from(FLAGS), GIVEN_FLAGS, st.sampled_from(PLACES), VALUES), max_size=3
)
COSTLY = ("predict", "doctor")
"""Verbs that import torch, or measure this machine."""
NEVER_ENDS = {"watch": ["--once"]}
"""What a verb needs to come to its end."""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder with nothing in it, a file, and a sweep whose rows are none; the working folder."""
    here = tmp_path_factory.mktemp("odd")
    (here / "empty").mkdir()
    (here / "file").write_bytes(b"")
    (here / "sweep" / "rows").mkdir(parents=True)
    (here / "sweep" / "rows" / "a.jsonl").write_bytes(b"{}\n[]\nnull\n\xff\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(here)
        patched.setattr(run, "run_jobs", lambda *_: iter(()))  # no worker is started
        yield here


def answer(arguments):
    """The exit code of a command line and what it said on the two streams."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main(arguments)
        except SystemExit as e:  # `--help`
            code = e.code
    return code, err.getvalue()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("verb", "examples"),
    [
        *((verb, 20) for verb in VERBS if verb not in COSTLY),
        *(pytest.param(verb, 300, marks=pytest.mark.slow) for verb in VERBS),
    ],
)
def test_no_verb_ends_in_a_traceback(verb, examples, places):
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(ARGUMENTS)
    def holds(arguments):
        code, said = answer([verb, *NEVER_ENDS.get(verb, []), *arguments])
        assert code in (0, 1, 2), (arguments, code, said)
        assert "Traceback" not in said, (arguments, said)
        told = [line for line in said.splitlines() if line.startswith("svdsweep: ")]
        assert code != 2 or verb == "score" or len(told) == 1, (arguments, said)

    holds()
