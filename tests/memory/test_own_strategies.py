"""The examples of a strategy of one's own in the README do what it says of them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import svdsweep.memory
from svdsweep.memory.contract import NoEffect

README = Path(svdsweep.memory.__file__).with_name("README.md")


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The blocks of code as the files that their first lines name."""
    for code in re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.M):
        (tmp_path / code.split(":")[0].removeprefix("# ")).write_text(code, encoding="utf-8")
    assert {path.stem for path in tmp_path.iterdir()} == {"my_settings", "my_strategy"}
    monkeypatch.syspath_prepend(str(tmp_path))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before  # monkeypatch would delete it first, which PyTorch refuses


@pytest.mark.usefixtures("examples")
def test_the_examples_take_effect_or_are_refused_as_it_says(prepared: Any) -> None:
    prepared(extra=["my_settings.tf32"])
    assert torch.backends.cuda.matmul.allow_tf32
    with pytest.raises(NoEffect, match="left the pipeline as it was"):
        prepared(extra=["my_settings.sliced"])


@pytest.mark.usefixtures("examples")
def test_the_template_changes_what_it_names_and_refuses_where_there_is_nothing(
    prepared: Any, forward: Any, plain: Any, pipe: Any
) -> None:
    path = "my_strategy.without_temporal_cross_attention"
    assert not torch.equal(forward(prepared(extra=[path])), forward(plain))
    pipe.unet = pipe.vae
    with pytest.raises(NoEffect, match="0 of 0 blocks"):
        prepared(extra=[path])
