"""The cost of single operations: products, bytes and moves, counted by hand."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from svdsweep.predict.cost import DEVICE, FREE, Cost, cost_of, tensors_in
from svdsweep.predict.fake_gpu import fake_gpu

aten = torch.ops.aten
HALF, FULL, BYTE = torch.float16, torch.float32, torch.float8_e4m3fn


@pytest.fixture(scope="module", autouse=True)
def fake() -> Iterator[None]:
    with fake_gpu(lambda _: None):
        yield


def there(*shape: int, dtype: torch.dtype = HALF, device: str = DEVICE) -> torch.Tensor:
    return torch.empty(*shape, dtype=dtype, device=device)


def cost(func: Any, *args: Any, made: bool = True, out: Any = None, **kwargs: Any) -> Cost:
    return cost_of(func, args, kwargs, func(*args, **kwargs) if out is None else out, made)


def kernel(kind: str, flop: int, moved_bytes: int) -> Cost:
    return Cost(Counter({(kind, flop, moved_bytes): 1}))


@pytest.mark.parametrize(
    ("dtype", "kind", "size"), [(HALF, "float16", 2), (torch.bfloat16, "float16", 2), (FULL, "float32", 4)]
)
def test_a_product_is_two_operations_an_element_at_the_rate_of_its_precision(
    dtype: torch.dtype, kind: str, size: int
) -> None:
    a, b = there(4, 6, dtype=dtype), there(6, 5, dtype=dtype)
    assert cost(aten.mm.default, a, b) == kernel(kind, 2 * 4 * 5 * 6, size * (4 * 6 + 6 * 5 + 4 * 5))


def test_a_product_of_fp8_runs_at_the_rate_of_its_smallest_number() -> None:
    a, b, out = there(4, 6), there(6, 5, dtype=BYTE), there(4, 5)
    assert cost(aten.mm.default, a, b, out=out) == kernel("float8", 240, 2 * 4 * 6 + 6 * 5 + 2 * 4 * 5)


@pytest.mark.parametrize(("dtype", "kind", "size"), [(HALF, "float16", 2), (FULL, "float32_convolution", 4)])
def test_convolutions_of_float32_have_a_rate_of_their_own(dtype: torch.dtype, kind: str, size: int) -> None:
    x, weight, bias = there(1, 3, 8, 8, dtype=dtype), there(5, 3, 3, 3, dtype=dtype), there(5, dtype=dtype)
    settings = [1, 1], [1, 1], [1, 1], False, [0, 0], 1
    elements = 3 * 8 * 8 + 5 * 3 * 3 * 3 + 5 + 5 * 8 * 8
    assert cost(aten.convolution.default, x, weight, bias, *settings) == kernel(
        kind, 2 * (5 * 8 * 8) * (3 * 3 * 3), size * elements
    )


def test_what_multiplies_nothing_costs_what_it_reads_and_writes() -> None:
    x, index = there(4, 6), there(3, dtype=torch.int64)
    assert cost(aten.add.Tensor, x, there(1, 6)) == kernel("memory", 0, 2 * (24 + 6 + 24))
    assert cost(aten.index_select.default, x, 0, index) == kernel("memory", 0, 2 * (24 + 18) + 8 * 3)
    assert cost(aten.cat.default, [x, x], 0) == kernel("memory", 0, 2 * (24 + 24 + 48))
    assert cost(aten.add_.Tensor, x, x, made=False) == kernel("memory", 0, 2 * 3 * 24)
    assert cost(aten.add.out, x, x, out=x) == kernel("memory", 0, 2 * 3 * 24)
    assert cost(aten.zeros.default, [4, 6], device=DEVICE) == kernel("memory", 0, 4 * 24)


def test_a_dimension_that_only_repeats_is_not_read() -> None:
    assert cost(aten.add.Tensor, there(4, 6), there(1, 6).expand(4, 6)) == kernel(
        "memory", 0, 2 * (24 + 6 + 24)
    )


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: cost(aten.view.default, x, [24], made=False),
        lambda x: cost(aten.empty.memory_format, [4, 6], device=DEVICE),
        lambda x: cost(aten.empty_like.default, x),
        lambda x: cost(aten.new_empty.default, x, [5]),
        lambda x: cost(aten.empty_strided.default, [4, 6], [6, 1], device=DEVICE),
        lambda x: cost(aten.add.Tensor, x.cpu(), x.cpu(), made=False),
        lambda x: cost_of(aten.sym_size.int, (x, 0), {}, 4, False),
    ],
)
def test_views_and_memory_that_is_only_asked_for_are_free(operation: Callable[[torch.Tensor], Cost]) -> None:
    assert operation(there(4, 6)) == FREE == Cost()


def test_what_is_moved_counts_its_bytes_each_way() -> None:
    here, gone = there(4, 6, device="cpu"), there(4, 6)
    assert cost(aten._to_copy.default, here, device=DEVICE) == Cost(h2d_bytes=48)
    assert cost(aten.copy_.default, gone, here, made=False) == Cost(h2d_bytes=48)
    assert cost(aten._to_copy.default, gone, device="cpu", made=False) == Cost(d2h_bytes=48)
    assert cost(aten.copy_.default, here, gone, made=False) == Cost(d2h_bytes=48)
    assert cost(aten._to_copy.default, gone, dtype=FULL) == kernel("memory", 0, 24 * (2 + 4))
    assert cost(aten.copy_.default, gone, gone, made=False) == kernel("memory", 0, 2 * 3 * 24)


def test_costs_add_up() -> None:
    total = Cost(Counter({("memory", 0, 8): 2}), 1, 10)
    total.add(Cost(Counter({("memory", 0, 8): 1, ("float16", 4, 8): 1}), 2, 20))
    assert total == Cost(Counter({("memory", 0, 8): 3, ("float16", 4, 8): 1}), 3, 30)


def test_tensors_are_found_in_lists_within_tuples() -> None:
    one, two, three = (there(n) for n in (1, 2, 3))
    assert [len(t) for t in tensors_in([one, "no", ([two, None], three), 5])] == [1, 2, 3]
