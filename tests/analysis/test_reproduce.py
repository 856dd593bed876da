"""The command shown for a row makes the same job again."""

import shlex

import pytest

from svdsweep.analysis.reproduce import command, quoted
from svdsweep.grid.expand import expand


@pytest.mark.parametrize(
    "line",
    [
        ["seed=7", "motion_bucket_id=60", "noise_aug_strength=0.0712345678"],
        ["memory=under_8gb", "image=coffee", "measure=standard"],
        ["memory=smallest", "metrics=none", "gpu.memory_limit_gib=8"],
        ["model=svd_xt", "model.weights=random", "memory=compile", "decode_chunk_size=auto"],
        ["max_guidance_scale=3", "metrics.families=[temporal,motion]", "memory.extra=[a.b.c]"],
    ],
)
def test_the_key_is_the_same(line):
    (job,) = expand(line).jobs
    words = shlex.split(command(job))
    assert words[:3] == ["python", "-m", "svdsweep"]
    (again,) = expand(words[3:]).jobs
    assert again.key == job.key
    names = [
        [getattr(j, part).name for part in ("model", "image", "memory", "measure")] for j in (again, job)
    ]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    "name",
    [
        "a,b",
        "it's",
        r"a\b",
        r"it\'s",
        "a\\",
        r"\\a\'",
        "true",
        "false",
        "null",
        "12",
        "a b",
        "$x",
        "[1]",
        "x=y",
    ],
)
def test_whatever_a_text_looks_like_it_is_typed_so_that_it_stays_that_text(name):
    (job,) = expand([f"image.name={quoted(name)}"]).jobs
    assert job.image.name == name


def test_a_file_with_a_strange_name_is_quoted(tmp_path):
    from PIL import Image

    path = tmp_path / "it's a, photo=1.png"
    Image.new("RGB", (8, 8)).save(path)
    (job,) = expand(["image.path='" + str(path).replace("'", "\\'") + "'", "image.name=x"]).jobs
    assert [again.key for again in expand(shlex.split(command(job))[3:]).jobs] == [job.key]
