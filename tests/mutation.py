"""Mutation testing: plants small bugs in some modules, one at a time, and lists those that no test sees.

    pip install -e ".[mutation]"
    python tests/mutation.py statistics                 # one group of the table below
    python tests/mutation.py svdsweep/analysis/seeds.py tests/analysis/test_seeds.py
    python tests/mutation.py --survivors statistics     # only what survived last time, with the tests of now

Works in a copy under the temporary folder, which stays, so that a second run goes on where one ended. Prints the
score (killed of all) of each module, then each survivor as a difference. Needs `os.fork` (Linux, macOS, WSL).
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PREDICTION = ("prediction", "cost", "calibration", "allowance", "forecast", "repeats")
FAMILIES = ("temporal", "motion", "fidelity", "defects", "seams", "baseline")
LIKENESS = "metrics/test_likeness.py"
GROUPS = {
    "metrics": (
        [f"metrics/{name}.py" for name in (*FAMILIES, "contract", "__init__")],
        [*(f"metrics/test_{name}.py" for name in FAMILIES[:-1]), "metrics/test_families.py", LIKENESS],
    ),
    "pictures": (
        [f"metrics/shared/{name}.py" for name in ("files", "flow", "footage", "likeness")],
        [*(f"metrics/test_{name}.py" for name in ("clip_files", "flow", "footage")), LIKENESS],
    ),
    "networks": (["metrics/clip.py", "metrics/lpips.py"], ["metrics/test_clip.py", "metrics/test_lpips.py"]),
    "statistics": (["probes/statistics.py"], ["probes/test_statistics.py"]),
    "pairs": (
        ["analysis/pairs.py", "analysis/versus.py", "analysis/seeds.py"],
        ["analysis/test_pairs.py", "analysis/test_versus.py", "analysis/test_seeds.py"],
    ),
    "keys": (["config/keys.py", "worker/baseline.py"], ["config", "worker/test_baseline.py"]),
    "grid": (["grid/*.py"], ["grid/test_expand.py", "grid/test_help.py"]),
    "measuring": (
        [
            *(f"probes/{name}.py" for name in ("latency", "vram", "stages")),
            *(f"worker/{name}.py" for name in ("columns", "measuring")),
        ],
        [
            *(f"probes/test_{name}.py" for name in ("latency", "readings", "stages")),
            *(f"worker/test_{name}.py" for name in ("columns", "measuring")),
        ],
    ),
    "pipeline": (["worker/run.py"], ["worker/test_run_of_a_job.py"]),
    "rows": (
        ["store/*.py", "runner/leases.py", "runner/pending.py"],
        ["store", "runner/test_leases.py", "runner/test_pending.py"],
    ),
    "prediction": (
        [f"predict/{name}.py" for name in PREDICTION],
        ["predict/test_sums.py", *(f"predict/test_{name}.py" for name in PREDICTION[1:])],
    ),
    "simulation": (
        [f"predict/{name}.py" for name in ("tracker", "simulate", "op_cache", "fake_gpu", "without_cuda")],
        ["predict/test_tracker.py", "predict/test_op_cache.py", "predict/test_simulate.py"],
    ),
    "verdicts": (
        [
            "analysis/prediction.py",
            "analysis/documentation.py",
            "analysis/strategies.py",
            "analysis/table.py",
        ],
        [
            "analysis/test_measured_and_predicted.py",
            "analysis/test_documentation.py",
            "analysis/test_strategies.py",
            "analysis/test_table.py",
        ],
    ),
}
KILLED = {"1", "3", "36", "24", "-24", "152", "255", "37"}
"""mutmut's exit codes of a mutant that was seen: a test failed, pytest broke, or time ran out."""


def copy_tree(into: Path) -> None:
    """Copy what git tracks or would track, so that neither builds nor results come along."""
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, capture_output=True, check=True, encoding="utf-8").stdout.split("\0"):
        source, target = ROOT / name, into / name
        if name and source.is_file() and not name.startswith("runs/"):
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists() or target.read_bytes() != source.read_bytes():
                shutil.copy2(source, target)


def configure(into: Path, modules: list[str], tests: list[str]) -> None:
    also = [
        p.name
        for p in ROOT.iterdir()
        if p.suffix in (".md", ".cff") or p.name in ("conf", "notebooks", "LICENSE")
    ]
    settings = {
        "source_paths": ["svdsweep"],
        "only_mutate": modules,
        "also_copy": also,
        "pytest_add_cli_args_test_selection": tests,
        "pytest_add_cli_args": ["-n", "0", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"],
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (into / "pyproject.toml").write_text(
        text + "\n[tool.mutmut]\n" + "\n".join(lines) + "\n", encoding="utf-8"
    )


def outcomes(into: Path) -> dict[str, dict[str, bool]]:
    """By module: was each of its mutants killed?"""
    killed: dict[str, dict[str, bool]] = {}
    for meta in sorted((into / "mutants" / "svdsweep").rglob("*.meta")):
        codes = json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"]
        if codes:
            name = str(meta.relative_to(into / "mutants"))[: -len(".meta")]
            killed[name] = {mutant: str(code) in KILLED for mutant, code in codes.items() if code is not None}
    return killed


def difference(into: Path, mutant: str) -> str:
    shown = subprocess.run(
        ["mutmut", "show", mutant], cwd=into, capture_output=True, encoding="utf-8", check=False
    ).stdout
    return "\n".join(
        line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", nargs="+", help=f"groups ({', '.join(GROUPS)}), or modules and tests as paths"
    )
    parser.add_argument(
        "--survivors", action="store_true", help="run only the mutants that survived last time"
    )
    parser.add_argument("--processes", type=int, default=1, help="mutants at a time (default: 1)")
    given = parser.parse_args()
    modules, tests = (
        [p for p in given.what if p.startswith("svdsweep/")],
        [p for p in given.what if p.startswith("tests/")],
    )
    for name in given.what:
        if name in GROUPS:
            modules += [f"svdsweep/{path}" for path in GROUPS[name][0]]
            tests += [f"tests/{path}" for path in GROUPS[name][1]]
        elif not (ROOT / name).exists():
            parser.error(f"{name!r} is neither a group ({', '.join(GROUPS)}) nor a file")
    if not modules or not tests:
        parser.error("modules want tests that see them, both as paths from the project's folder")
    into = Path(tempfile.gettempdir()) / "svdsweep-mutation" / given.what[0].replace("/", ".")
    copy_tree(into)
    configure(into, modules, tests)
    if given.survivors:  # which test runs which function is asked anew
        (into / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
    again = [m for found in outcomes(into).values() for m, killed in found.items() if not killed]
    command = ["mutmut", "run", "--max-children", str(given.processes)]
    code = subprocess.run([*command, *(again if given.survivors else [])], cwd=into, check=False).returncode
    print()
    for module, found in outcomes(into).items():
        print(
            f"{module}: {sum(found.values())} of {len(found)} killed, {sum(found.values()) / len(found):.0%}"
        )
    for found in outcomes(into).values():
        for mutant in (m for m, killed in found.items() if not killed):
            print(f"\n{mutant}\n{difference(into, mutant)}")
    return code


if __name__ == "__main__":
    sys.exit(main())
