"""Labels: what differs is called differently, as shortly as can be, and no key changes by it."""

import dataclasses

import pytest

from svdsweep.config import Image, Job, Measure, Memory, Model
from svdsweep.store.labels import rows_told_apart, short_paths, told_apart
from svdsweep.store.rows import Row


def picture(path, content):
    name = path.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
    return Job(image=Image(name, path, content * 20))


def model(revision="r", **settings):
    return Job(model=Model(**{"name": "svd", "revision": revision, **settings}))


@pytest.mark.parametrize(
    ("jobs", "part", "names"),
    [
        ([picture("x/1.png", "a"), picture("x/2.png", "b")], "image", ["1", "2"]),
        ([picture("x/1.png", "a"), picture("x/1.jpg", "b")], "image", ["1.png", "1.jpg"]),
        ([picture("x/1.png", "a"), picture("y/1.png", "b")], "image", ["x/1", "y/1"]),
        ([picture("C:\\x\\1.png", "a"), picture("/y/1.png", "b")], "image", ["x/1", "y/1"]),
        (
            [picture("p/x/1.png", "ab"), picture("q/x/1.png", "ba")],
            "image",
            ["1+abababa", "1+bababab"],
        ),
        # one picture in two places is one picture
        ([picture("x/1.png", "a"), picture("y/1.png", "a")], "image", ["1", "1"]),
        ([model(source="/d/a"), model(source="/d/b")], "model", ["svd+source=a", "svd+source=b"]),
        ([model(source="/d/a/w"), model(source="/d/b/w")], "model", ["svd+source=a/w", "svd+source=b/w"]),
        # what one setting tells needs no second; a retrained folder has another fingerprint
        ([model("1", source="/d/a"), model("2", source="/d/b")], "model", ["svd+source=a", "svd+source=b"]),
        (
            [model("123456789", source="/d"), model("abcdefghi", source="/d")],
            "model",
            ["svd+revision=1234567", "svd+revision=abcdefg"],
        ),
        ([model(variant="fp16"), model()], "model", ["svd+variant=fp16", "svd+variant=null"]),
        # precision, and whether weights are random, have columns of their own
        ([model(dtype="float16"), model()], "model", ["svd", "svd"]),
        ([model(weights="random", source=""), model(source="/d/a")], "model", ["svd", "svd"]),
        (
            [Job(memory=Memory("mine", offload=o, forward_chunk_size=c)) for o, c in (("model", 1), ("none", 2))],
            "memory",
            ["mine+offload=model", "mine+offload=none"],
        ),
        # what is as by default keeps its name: a baseline stays one
        ([Job(), Job(memory=Memory(split_guidance=True))], "memory", ["baseline", "baseline+split_guidance=true"]),
        ([Job(measure=Measure(repeats=n)) for n in (1, 3)], "measure", ["quick", "quick+repeats=3"]),
    ],
)  # fmt: skip
def test_what_differs_is_called_differently(jobs, part, names):
    told = told_apart([*jobs, jobs[0]])
    assert [getattr(job, part).name for job in told] == [*names, names[0]]
    assert [job.key for job in told] == [job.key for job in (*jobs, jobs[0])]


def test_jobs_that_are_told_apart_already_stay_as_they_are():
    jobs = [Job(seed=1), Job(memory=Memory("other", offload="model"))]
    assert told_apart(jobs) == jobs
    assert told_apart([]) == []


def test_rows_keep_all_but_their_names():
    rows = [Row(model(source=f"/d/{name}"), "ok", values={"total_s": 1.0}) for name in "ab"]
    told = rows_told_apart(iter(rows))
    assert [row.job.model.name for row in told] == ["svd+source=a", "svd+source=b"]
    assert [dataclasses.replace(row, job=old.job) for row, old in zip(told, rows, strict=True)] == rows


def test_paths_are_as_short_as_sets_them_apart():
    assert short_paths(["/a/b/c", "/a/d/c", "/a/b/c"]) == ["b/c", "d/c", "b/c"]
    assert short_paths(["/a/x", "/b/x"]) == ["/a/x", "/b/x"]
    assert short_paths(["org/name"]) == ["name"]
    assert short_paths([]) == []
