"""split_guidance, single_token_cross_attention, transformer_parts and temporal_conv2d change nothing but the work."""

from typing import Any

import pytest
import torch

from svdsweep.config import Memory
from svdsweep.memory import single_token_cross_attention
from svdsweep.memory.single_token_cross_attention import SingleTokenProcessor, Token, cross_attentions

WITHIN = 1e-5
COMPANY: list[dict[str, Any]] = [
    {},
    {"forward_chunk_size": 2},
    {"offload": "model"},
    {"offload": "group_leaf"},
    {"offload": "group_block", "forward_chunk_size": 1},
    {"fused_qkv": True},
    {"attention": "math"},
    {"channels_last": True},
]
EXACT: list[dict[str, Any]] = [
    {"split_guidance": True},
    {"single_token_cross_attention": True},
    {"split_guidance": True, "single_token_cross_attention": True},
    {"transformer_parts": 3},
    {"transformer_parts": 3, "single_token_cross_attention": True},
    {"temporal_conv2d": True},
]


ALONE = [(knobs, {}) for knobs in EXACT]
ONE_EACH = [(EXACT[2], company) for company in COMPANY[1:]]
"""Every company once, for the two knobs that reach furthest into the network."""
THE_REST = [
    pytest.param(knobs, company, marks=pytest.mark.slow)
    for knobs in EXACT
    for company in COMPANY
    if (knobs, company) not in ALONE + ONE_EACH
    and not {"transformer_parts", "forward_chunk_size"} <= {*knobs, *company}
]


@pytest.fixture(scope="module")
def expected(plain: Any, forward: Any) -> torch.Tensor:
    output: torch.Tensor = forward(plain)
    return output


@pytest.mark.parametrize(("knobs", "company"), [*ALONE, *ONE_EACH, *THE_REST], ids=str)
def test_a_forward_equals_the_plain_one(
    expected: torch.Tensor, prepared: Any, forward: Any, knobs: Any, company: Any
) -> None:
    pipe = prepared(**knobs, **company)
    for _ in range(
        2 if "single_token_cross_attention" in knobs else 1
    ):  # its vectors are known the second time
        got = forward(pipe)
        pipe.maybe_free_model_hooks()
        assert (got - expected).abs().max() <= WITHIN
    assert expected.abs().max() > 0.1


def test_split_guidance_runs_the_unet_once_for_each_half(prepared: Any, forward: Any) -> None:
    pipe = prepared(split_guidance=True)
    batches = []
    pipe.unet.conv_in.register_forward_hook(lambda m, args, out: batches.append(len(args[0])))
    forward(pipe)
    assert batches == [4, 4]
    forward(pipe, videos=1)
    assert batches[2:] == [4]


@pytest.mark.parametrize("parts", [2, 3, 4, 999])
def test_no_transformer_block_sees_more_than_its_part(prepared: Any, forward: Any, parts: int) -> None:
    pipe = prepared(transformer_parts=parts)
    rows: dict[str, set[int]] = {"spatial": set(), "temporal": set()}
    for name, module in pipe.unet.named_modules():
        kind = "temporal" if "temporal" in name else "spatial"
        if name.endswith(("attn1", "ff")) and "transformer_blocks" in name:
            module.register_forward_hook(lambda m, args, out, kind=kind: rows[kind].add(len(args[0])))
    forward(pipe)
    places, frames, videos = 8 * 8, 4, 2  # the embedded model attends from half its resolution on
    assert max(rows["spatial"]) == videos * -(-frames // parts)
    assert max(rows["temporal"]) == videos * -(-places // parts)


def test_vectors_follow_the_embedding(plain: Any, prepared: Any, forward: Any) -> None:
    pipe = prepared(single_token_cross_attention=True, split_guidance=True)
    for seed in (0, 1, 0):
        assert (forward(pipe, seed=seed) - forward(plain, seed=seed)).abs().max() <= WITHIN


def test_an_embedding_changed_in_place_is_not_taken_for_the_old_one() -> None:
    token = Token(keep=True)
    embedding = torch.zeros(2, 1, 8)
    token.set(embedding)
    token.vectors[1] = torch.ones(1)
    token.set(embedding)
    assert 1 in token.vectors
    embedding += 1
    token.set(embedding)
    assert not token.vectors


def test_vectors_are_kept_for_a_run_and_not_for_ever(
    prepared: Any, forward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_token_cross_attention, "KEPT_TOKENS", 2)
    pipe = prepared(single_token_cross_attention=True)
    for seed in range(4):
        forward(pipe, seed=seed)
    layer = cross_attentions(pipe.unet)[0][1]
    assert len(layer.processor.token.kept) <= single_token_cross_attention.KEPT_TOKENS


@pytest.mark.parametrize(
    ("knobs", "kept"),
    [({}, True), ({"compile": "whole"}, False), ({"offload": "group_leaf", "offload_stream": True}, False)],
)
def test_no_vector_is_kept_in_a_compiled_graph_or_where_prefetching_wants_the_same_layers_in_each_step(
    pipe: Any, knobs: dict[str, Any], kept: bool
) -> None:
    single_token_cross_attention.apply(pipe, Memory(**knobs), torch.device("cpu"))
    assert cross_attentions(pipe.unet)[0][1].processor.token.keep is kept


def test_query_key_and_scores_are_not_computed(prepared: Any, forward: Any) -> None:
    pipe = prepared(single_token_cross_attention=True)
    called = []
    for _, layer in cross_attentions(pipe.unet):
        for name in ("to_q", "to_k"):
            getattr(layer, name).register_forward_hook(lambda *_, name=name: called.append(name))
        layer.to_v.register_forward_hook(lambda *_: called.append("to_v"))
    forward(pipe)
    layers = len(cross_attentions(pipe.unet))
    assert called == ["to_v"] * layers


def test_more_than_one_token_is_refused(prepared: Any) -> None:
    pipe = prepared(single_token_cross_attention=True)
    layer = cross_attentions(pipe.unet)[0][1]
    assert isinstance(layer.processor, SingleTokenProcessor)
    with pytest.raises(ValueError, match="2 tokens"):
        layer(torch.zeros(1, 4, layer.query_dim), encoder_hidden_states=torch.zeros(1, 2, 64))


def test_a_cross_attention_that_does_more_is_refused(pipe: Any, prepared: Any) -> None:
    cross_attentions(pipe.unet)[0][1].residual_connection = True
    with pytest.raises(ValueError, match="more than attend"):
        prepared(single_token_cross_attention=True)
