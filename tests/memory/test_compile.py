"""torch.compile: a graph of its own for every shape, CUDA graphs step by step, and the proof that there were any."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from svdsweep.config import Memory
from svdsweep.grid.expand import expand
from svdsweep.memory import compile
from svdsweep.memory.apply import KNOBS
from svdsweep.models.architectures import architecture
from svdsweep.models.load import on_meta

CPU = torch.device("cpu")
CONF = Path(__file__).parents[2] / "conf" / "memory"
NOT_ON_META: dict[str, Any] = {
    "name": "",
    "attention": "default",
    "cudnn_benchmark": False,
    "launch_ahead": False,
    "channels_last": False,
    "unet_weights": "full",
    "compile_vae": False,
    "compile_mode": "default",
    "denoise_steps": None,
    "sigmas": "model",
}
"""What needs numbers, a GPU or a whole pipeline, and changes no shape that the UNet's graph sees."""


def compiled_presets() -> dict[str, Memory]:
    """The strategies of conf/memory that compile the UNet, less what is `NOT_ON_META`, by the presets that share it."""
    by_names: dict[str, Memory] = {}
    for path in sorted(CONF.glob("*.yaml")):
        if "compile: " not in path.read_text(encoding="utf-8"):
            continue
        (job,) = expand([f"memory={path.stem}", "model=svd_xt", "model.weights=random"]).jobs
        if job.memory.compile != "none":
            memory = replace(job.memory, **NOT_ON_META)
            names = next((names for names, other in by_names.items() if other == memory), "")
            by_names.pop(names, None)
            by_names[f"{names}+{path.stem}".strip("+")] = memory
    return by_names


COMPILED = ("compile_regional", "compile+cuda_graphs", "fastest+fastest_aggressive")
"""Their names: to compose the presets takes seconds, in every process that collects this file."""


def test_every_preset_that_compiles_is_among_those_that_are_compiled_at_full_size() -> None:
    assert compiled_presets().keys() == set(COMPILED)


@pytest.fixture(autouse=True)
def no_graphs() -> Iterator[None]:
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.reset()
    yield
    torch._dynamo.config.recompile_limit = limit
    torch._dynamo.reset()


def graphs_after(unet: Any, frames: int, places: tuple[int, int], device: torch.device = CPU) -> int:
    """How many graphs there are when the UNet has run guided on so many frames."""
    dtype, config = unet.dtype, unet.config
    with torch.no_grad():
        unet(
            torch.zeros(2, frames, config.in_channels, *places, dtype=dtype, device=device),
            torch.tensor(1.5, device=device),
            encoder_hidden_states=torch.zeros(2, 1, config.cross_attention_dim, dtype=dtype, device=device),
            added_time_ids=torch.ones(2, 3, dtype=dtype, device=device),
        )
    return compile.graphs()


@pytest.mark.slow
def test_every_number_of_frames_has_graphs_of_its_own(prepared: Any) -> None:
    """A graph that takes any size would serve the third number without a new one; and under fullgraph the limit of
    graphs must not be met."""
    unet = prepared(compile="regional", compile_backend="eager").unet
    counts = [compile.graphs(), *(graphs_after(unet, frames, (8, 8)) for frames in (2, 3, 4))]
    new = [b - a for a, b in itertools.pairwise(counts)]
    assert new == [new[0]] * 3
    assert new[0] > 0
    assert graphs_after(unet, 2, (8, 8)) == counts[-1], "a known shape compiles nothing"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("names", COMPILED)
def test_no_preset_compiles_full_size_with_symbolic_shapes(names: str) -> None:
    """SVD-XT's UNet on the meta device, 14 and then 25 frames of 576×1024 in one process: what reaches the compiler are
    graphs of numbers."""
    memory = compiled_presets()[names]
    networks = on_meta(architecture("svd_xt"))
    pipe = SimpleNamespace(**networks)
    symbolic: list[str] = []

    def recording(graph: Any, inputs: Any) -> Any:
        symbolic.extend(str(x) for x in inputs if isinstance(x, torch.SymInt))
        return graph.forward

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compile, "_options", _with(recording, compile._options))
        for knob in _until_compiled(memory):
            knob.apply(pipe, memory, torch.device("meta"))
        unet = networks["unet"].half().to("meta").eval()  # mix factors are made on the CPU, whatever is asked
        before = compile.graphs()
        first, second = (graphs_after(unet, frames, (72, 128), torch.device("meta")) for frames in (14, 25))
    assert not symbolic
    assert second - first == first - before > 0


def _with(backend: Any, options: Any) -> Any:
    return lambda memory: {**options(memory), "backend": backend}


def _until_compiled(memory: Memory) -> list[Any]:
    names = {"compile", "single_token_cross_attention", "fused_qkv", "temporal_conv2d"}
    return [knob for knob in KNOBS if knob.name in names and knob.wanted(memory)]


def test_every_forward_begins_a_step_of_its_cuda_graph(
    pipe: Any, forward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: steps.append(1))
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    compile.compile_unet(pipe, Memory(compile="whole", compile_mode="reduce-overhead"), CPU)
    for _ in range(3):
        forward(pipe)
    assert len(steps) == 3


def test_a_plain_compilation_marks_no_steps(pipe: Any, forward: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: steps.append(1))
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    compile.compile_unet(pipe, Memory(compile="whole"), CPU)
    forward(pipe)
    assert not steps


@pytest.mark.parametrize(
    ("roots", "reason"),
    [
        (None, "not a single CUDA graph"),
        pytest.param({}, "not a single", marks=pytest.mark.slow),
        ({1: [2]}, None),
    ],
)
def test_cuda_graphs_that_were_not_recorded_are_found(
    monkeypatch: pytest.MonkeyPatch, roots: Any, reason: str | None
) -> None:
    """No GPU records any here: the manager that would hold them is made up."""
    manager = None if roots is None else SimpleNamespace(roots=roots)
    monkeypatch.setattr(compile, "graphs", lambda: 1)
    monkeypatch.setattr("torch._inductor.cudagraph_trees.get_manager", lambda *_, **__: manager)
    memory = Memory(compile="whole", compile_mode="reduce-overhead")
    answer = compile.check(None, memory, torch.device("cuda", 0))
    assert (answer is None) if reason is None else (reason in str(answer))
    assert compile.check(None, Memory(compile="whole"), torch.device("cuda", 0)) is None


def test_nothing_captured_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile, "graphs", lambda: 0)
    assert "not a single graph" in str(compile.check(None, Memory(compile="whole"), CPU))
