"""The canonical form of settings, its hash, and the way back: by hand, on dataclasses of no job."""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

from svdsweep.config.keys import canonical, default_of, digest, rebuild
from svdsweep.config.rules import knob, rule_of


@dataclass(frozen=True)
class Inner:
    name: str = knob("plain", "A label.", label=True)
    size: int | None = knob(None, "A size.")
    words: list[str] = knob(["a"], "Words.")


@dataclass(frozen=True)
class Outer:
    share: float = knob(0.5, "A share.")
    inner: Inner = field(default_factory=Inner)
    free: int = 3
    needed: Any = field(default=None)


def test_a_canonical_form_holds_what_is_off_its_default_and_no_label():
    assert canonical(Outer()) == canonical(Outer(inner=Inner(name="other"))) == {}
    part = Outer(share=0.0, inner=Inner("other", 5, ["a"]), free=4)
    assert canonical(part) == {"share": 0.0, "inner": {"size": 5}, "free": 4}
    assert canonical(Inner(words=[])) == {"words": []}


def test_a_digest_is_the_head_of_the_sha256_of_compact_sorted_utf8_json():
    text = '{"a":"ä","b":{"c":[1,null],"d":true}}'
    assert (
        digest({"b": {"d": True, "c": [1, None]}, "a": "ä"}) == hashlib.sha256(text.encode()).hexdigest()[:12]
    )


def test_a_part_comes_back_from_plain_data_with_defaults_and_without_what_is_unknown():
    part = Outer(share=0.25, inner=Inner("other", 5, ["b"]), needed={"size": 1})
    assert rebuild(Outer, dataclasses.asdict(part)) == part
    assert rebuild(Outer, {"inner": {"size": 2, "gone": 1}, "gone": {}}) == Outer(inner=Inner(size=2))
    assert rebuild(Outer, {}) == Outer()


def test_a_default_made_by_a_factory_is_made_afresh():
    share, inner, *_ = dataclasses.fields(Outer)
    words = dataclasses.fields(Inner)[2]
    assert (default_of(share), default_of(inner), default_of(words)) == (0.5, Inner(), ["a"])
    assert default_of(words) is not default_of(words)
    assert Inner().words is not Inner().words
    assert rule_of(dataclasses.fields(Outer)[2]) is None
