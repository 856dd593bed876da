"""attention=measured: what is timed, what is taken, and that nothing else changes."""

import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from svdsweep.config import Image, Job, Measure, Memory, Metrics
from svdsweep.memory import measured_attention
from svdsweep.memory.measured_attention import (
    DEFAULT,
    KERNELS,
    Choice,
    Choices,
    bound_bytes,
    choose,
    extra_bytes,
    kernels_chosen,
    products,
)
from svdsweep.predict.simulate import runnable
from svdsweep.worker.contract import Slot
from svdsweep.worker.worker import load

WITHIN = 1e-5
HERE = (DEFAULT, "flash", "math", "eager")
COMPANY: list[tuple[str, dict[str, Any]]] = [
    ("flash", {}),
    ("eager", {"fused_qkv": True, "single_token_cross_attention": True}),
]
MORE: list[tuple[str, dict[str, Any]]] = [
    *((kernel, {}) for kernel in (DEFAULT, "math", "eager")),
    *((kernel, {"fused_qkv": True}) for kernel in (DEFAULT, "math", "flash")),
    ("eager", {"single_token_cross_attention": True, "split_guidance": True, "transformer_parts": 3}),
    ("eager", {"offload": "group_leaf"}),
    ("eager", {"offload": "model", "forward_chunk_size": 2}),
]


def sizes(batch: int, heads: int, tokens: int, size: int, dtype: torch.dtype) -> Any:
    return torch.empty(batch, heads, tokens, size, dtype=dtype, device="meta")


def drawn(batch: int, heads: int, tokens: int, size: int) -> list[torch.Tensor]:
    """Query, key and value as a layer makes them: heads beside one another in memory."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, tokens, heads * size, generator=generator)
        .unflatten(-1, (heads, size))
        .transpose(1, 2)
        for _ in range(3)
    ]


@pytest.fixture
def taking(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every layer takes this kernel, whatever the clock says."""

    def take(kernel: str) -> None:
        monkeypatch.setattr(measured_attention, "choose", lambda *_: Choice(kernel, {kernel: 1.0}, "any"))

    return take


@pytest.mark.parametrize(
    ("kernel", "company"), [*COMPANY, *(pytest.param(*more, marks=pytest.mark.slow) for more in MORE)]
)
def test_a_forward_equals_the_plain_one(
    plain: Any, prepared: Any, forward: Any, taking: Any, kernel: str, company: Any
) -> None:
    taking(kernel)
    pipe = prepared(attention="measured", **company)
    assert (forward(pipe) - forward(plain)).abs().max() <= WITHIN
    assert {p.kernel for p in pipe.attention_choices.processors} == {kernel}


@pytest.mark.parametrize(
    "shape",
    [(288, 5, 25, 64), (1, 5, 576, 64)],
    ids=["temporal", "spatial"],  # a part of the batch
)
def test_plain_products_equal_the_fused_kernel_at_full_size(shape: tuple[int, int, int, int]) -> None:
    q, k, v = drawn(*shape)
    expected = KERNELS[DEFAULT](q, k, v)
    assert (products(q, k, v) - expected).abs().max() <= WITHIN
    assert products(q, k, v).stride() == expected.stride()


def test_what_is_measured_is_taken_and_told(prepared: Any, forward: Any, pipe: Any) -> None:
    prepared(attention="measured")
    forward(pipe)
    choices = pipe.attention_choices
    assert all(not p.choosing and p.choice and p.kernel == p.choice.kernel for p in choices.processors)
    assert len(choices.timed) > 1
    for choice in choices.timed.values():
        assert {DEFAULT, "flash", "eager"} <= set(choice.ms) <= set(HERE)
        assert choice.ms[choice.kernel] == min(choice.ms.values()) or choice.kernel == DEFAULT


def test_layers_of_one_kind_are_timed_once_and_others_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = (x.contiguous() for x in drawn(2, 3, 8, 16))
    few, half = k[:, :, :4], q.half()
    turned = q.transpose(1, 2).contiguous().transpose(1, 2)
    timed: list[torch.Tensor] = []
    monkeypatch.setattr(
        measured_attention, "choose", lambda *qkv: timed.append(qkv[0]) or Choice("math", {}, "")
    )
    choices = Choices(1)
    for _ in range(2):
        for query, key in ((q, k), (q, few), (turned, k), (half, k)):
            choices.of(query, key, v)
    assert [id(query) for query in timed] == [id(query) for query in (q, q, turned, half)]
    monkeypatch.undo()
    monkeypatch.setattr(measured_attention, "seconds", lambda *_: {DEFAULT: 1.0})
    assert choose(q, few, v[:, :, :4]).sizes == "8 tokens to 4, 3 heads of 16, 2 at once"


def test_a_kernels_seconds_are_the_median_of_its_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = {"a": iter([5.0, 1.0, 2.0, 9.0, 3.0]), "b": iter([4.0, 4.0, 1.0, 1.0, 1.0])}
    monkeypatch.setattr(measured_attention, "_timed", lambda run, device: next(rounds[run]))
    runs: Any = {"a": "a", "b": "b"}
    assert measured_attention.seconds(runs, torch.device("cpu")) == {"a": 3.0, "b": 1.0}


@pytest.mark.parametrize(
    ("size", "off", "works"), [(0.01, 0.0001, True), (0.01, 0.01, False), (100.0, 1.0, True)]
)
def test_a_kernel_agrees_within_a_share_of_the_largest_value(size: float, off: float, works: bool) -> None:
    expected = torch.tensor([-size, size / 2])
    none: Any = None
    assert measured_attention._works(lambda *_: expected + off, none, none, none, expected) is works


@pytest.mark.parametrize(
    ("name", "dtype", "nbytes"),
    [
        ("math", torch.float32, 4 * (2 * 192 + 768 + 384)),
        ("math", torch.float16, 4 * (2 * 192 + 768 + 384 + 2 * (768 + 384))),
        ("eager", torch.float32, 4 * (2 * 64 + 768)),
        ("eager", torch.float16, 2 * (2 * 64 + 768)),
        ("flash", torch.float16, 0),
    ],
)
def test_what_a_kernel_holds_beside_its_tensors_is_reckoned(
    name: str, dtype: torch.dtype, nbytes: int
) -> None:
    q, k = (torch.empty(2, 3, length, 16, dtype=dtype) for length in (8, 4))  # 2 · 3 · 8 · 4 scores
    assert extra_bytes(name, q, k) == nbytes


@pytest.mark.parametrize(
    ("seconds", "taken"),
    [
        ({DEFAULT: 1.0, "flash": 0.5, "eager": 0.6}, "flash"),
        ({DEFAULT: 1.0, "flash": 1.0, "eager": 0.6}, "eager"),
        ({DEFAULT: 1.0, "flash": 0.99, "eager": 2.0}, DEFAULT),
        ({DEFAULT: 0.4, "flash": 0.5, "eager": 0.6}, DEFAULT),
    ],
)
def test_the_fastest_is_taken_where_it_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], taken: str
) -> None:
    monkeypatch.setattr(measured_attention, "seconds", lambda *_: seconds)
    choice = choose(*drawn(2, 2, 8, 16))
    assert choice.kernel == taken
    assert str(choice).startswith(f"attention, 8 tokens to 8, 2 heads of 16, 2 at once: {taken} ")


def test_a_kernel_that_fails_or_answers_otherwise_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("No available kernel.")

    wrong = {"flash": absent, "math": lambda q, k, v: 1.1 * KERNELS[DEFAULT](q, k, v), "eager": products}
    monkeypatch.setattr(measured_attention, "KERNELS", {DEFAULT: KERNELS[DEFAULT], **wrong})
    assert set(choose(*drawn(2, 2, 8, 16)).ms) == {DEFAULT, "eager"}


def test_values_that_are_not_finite_leave_pytorchs_own_choice_and_say_why() -> None:
    q, k, v = drawn(2, 2, 8, 16)
    v[0, 0, 0, 0] = float("nan")
    choice = choose(q, k, v)
    assert (choice.kernel, set(choice.ms)) == (DEFAULT, {DEFAULT})
    assert str(choice).endswith("(others not tried: its values are not finite)")


def full(*_: torch.Tensor) -> torch.Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory.")


def test_a_full_memory_is_the_jobs_end_where_pytorchs_own_choice_meets_it_and_else_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measured_attention, "KERNELS", {DEFAULT: KERNELS[DEFAULT], "flash": full})
    choice = choose(*drawn(2, 2, 8, 16))
    assert set(choice.ms) == {DEFAULT}
    assert str(choice).endswith("(no other works here)")
    monkeypatch.setattr(measured_attention, "KERNELS", {DEFAULT: full, "flash": KERNELS["flash"]})
    with pytest.raises(torch.OutOfMemoryError):
        choose(*drawn(2, 2, 8, 16))


def test_no_kernel_always_runs_behind_the_same_one() -> None:
    ran: list[str] = []
    runs = {name: functools.partial(ran.append, name) for name in ("a", "b", "c")}
    assert set(measured_attention.seconds(runs, torch.device("cpu"))) == {"a", "b", "c"}
    rounds = [
        tuple(dict.fromkeys(ran[i : i + 6])) for i in range(0, len(ran), 6)
    ]  # each runs once untimed before
    assert len(rounds) == measured_attention.REPEATS
    assert all(set(order) == {"a", "b", "c"} for order in rounds)
    assert len(set(rounds)) > 1


def test_kernels_that_this_machine_lacks_are_left_out() -> None:
    assert not {"efficient", "cudnn"} & set(choose(*drawn(2, 2, 8, 16)).ms)


@pytest.mark.parametrize(
    ("shape", "kernel", "dtype", "tried"),
    [
        ((50, 5, 9216, 64), "math", torch.float16, False),
        ((50, 5, 9216, 64), "eager", torch.float16, False),
        ((18432, 5, 25, 64), "eager", torch.float16, True),
        ((18432, 5, 25, 64), "math", torch.float16, False),
        ((50, 20, 144, 64), "eager", torch.bfloat16, True),
        ((18432, 5, 25, 64), "math", torch.float32, True),
        ((50, 5, 9216, 64), "flash", torch.float16, True),
    ],
)
def test_a_kernel_that_would_hold_much_more_is_never_tried(
    shape: tuple[int, int, int, int], kernel: str, dtype: torch.dtype, tried: bool
) -> None:
    q = sizes(*shape, dtype)
    assert (extra_bytes(kernel, q, q) <= bound_bytes(q, q)) is tried


def test_the_bound_is_as_much_as_an_attention_holds_anyway() -> None:
    q, k = sizes(2, 3, 10, 16, torch.float16), sizes(2, 3, 20, 16, torch.float16)
    assert bound_bytes(q, k) == 2 * 2 * 3 * 16 * (10 + 20 + 20 + 10)


@pytest.fixture
def no_graphs() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.usefixtures("no_graphs")
@pytest.mark.parametrize("compile", ["whole", "regional"])
def test_a_compiled_graph_holds_what_was_chosen(
    plain: Any, prepared: Any, forward: Any, taking: Any, compile: str
) -> None:
    taking("eager")
    pipe = prepared(attention="measured", compile=compile, compile_backend="eager", fused_qkv=True)
    expected = forward(plain)
    assert (forward(pipe) - expected).abs().max() <= WITHIN
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        forward(pipe)
    names = {event.key for event in seen.key_averages()}
    assert "aten::baddbmm" in names
    assert not [name for name in names if "scaled_dot_product" in name]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
    taking("flash")
    pipe.attention_choices.timed.clear()
    assert (forward(pipe, videos=1) - forward(plain, videos=1)).abs().max() <= WITHIN
    assert (forward(pipe) - expected).abs().max() <= WITHIN


def test_each_shape_has_choices_of_its_own(prepared: Any, forward: Any, pipe: Any, taking: Any) -> None:
    prepared(attention="measured")
    for videos, kernel in ((2, "eager"), (1, "math")):
        taking(kernel)
        pipe.attention_choices.timed.clear()
        forward(pipe, videos=videos)
    processors = pipe.attention_choices.processors
    assert {p.kernel for p in processors} == {"math"}
    forward(pipe, videos=2)
    assert {p.kernel for p in processors} == {"eager"}
    assert not any(p.choosing for p in processors)


def test_a_forward_that_fails_while_choosing_leaves_nothing_chosen(
    prepared: Any, forward: Any, pipe: Any, monkeypatch: pytest.MonkeyPatch, plain: Any
) -> None:
    prepared(attention="measured")

    def full(*_: torch.Tensor) -> Choice:
        raise torch.OutOfMemoryError("no memory for query, key and value")

    monkeypatch.setattr(measured_attention, "choose", full)
    with pytest.raises(torch.OutOfMemoryError):
        forward(pipe)
    assert measured_attention.check(pipe, Memory(attention="measured"), torch.device("cpu"))
    monkeypatch.undo()
    assert (forward(pipe) - forward(plain)).abs().max() <= WITHIN
    assert measured_attention.check(pipe, Memory(attention="measured"), torch.device("cpu")) is None


def test_layers_that_kept_their_processor_are_found(plain: Any) -> None:
    reason = measured_attention.check(plain, Memory(attention="measured"), torch.device("cpu"))
    assert reason
    assert "kept their processor" in reason


def test_attention_that_does_more_is_refused(pipe: Any, prepared: Any) -> None:
    next(iter(m for m in pipe.unet.modules() if hasattr(m, "to_q"))).residual_connection = True
    with pytest.raises(ValueError, match="more than attend"):
        prepared(attention="measured")


def test_a_row_tells_what_was_chosen_and_its_times_hold_no_choosing(tmp_path: Any) -> None:
    job = Job(
        image=Image(path="rocket.jpg"),
        memory=Memory(attention="measured"),
        num_frames=3,
        height=64,
        width=96,
        num_inference_steps=2,
        max_guidance_scale=1.5,
        metrics=Metrics(families=[]),
        measure=Measure(warmup=0),
    )
    row = load(Slot("cpu", tmp_path, 1))(job, 1, lambda *_: None)
    assert row.status == "ok", row.error
    told = [note for note in row.notes if note.startswith("attention, ")]
    assert any(note.startswith("attention, 3 tokens to 3") for note in told)
    assert len(told) > 1
    assert len(set(told)) == len(told)
    assert row.values["warmup_s"]


@pytest.mark.parametrize(
    ("settings", "knobs", "videos"),
    [
        ({}, {}, 2),
        ({}, {"split_guidance": True}, 1),
        ({}, {"guidance": False}, 1),
        ({"max_guidance_scale": 1.0}, {}, 1),
    ],
)
def test_a_row_tells_of_the_shape_that_its_own_job_ran(
    pipe: Any, settings: dict[str, Any], knobs: dict[str, Any], videos: int
) -> None:
    job = Job(num_frames=3, height=64, width=96, memory=Memory(attention="measured", **knobs), **settings)
    pipe.attention_choices = Choices(1)
    channels, scale = pipe.unet.config.in_channels, pipe.vae_scale_factor
    for n, frames, h, w in ((1, 3, 64, 96), (2, 3, 64, 96), (2, 3, 96, 64), (2, 14, 64, 96)):
        chosen = Choice(DEFAULT, {DEFAULT: 1.0}, f"{n} videos of {frames} frames, {h}×{w}")
        pipe.attention_choices.by_shape[n, frames, channels, h // scale, w // scale] = [chosen, chosen, None]
    (told,) = kernels_chosen(pipe, job)
    assert f" {videos} videos of 3 frames, 64×96:" in told


def test_it_is_predicted_as_the_fused_kernel_and_the_prediction_says_so() -> None:
    memory, said = runnable(Memory(attention="measured", fused_qkv=True))
    assert memory == Memory(fused_qkv=True)
    assert said[0].startswith("attention=measured is predicted as flash attention")
