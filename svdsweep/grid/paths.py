"""Settings that are paths, taken as they were typed: to Hydra, blanks, brackets and commas are grammar."""

import re
from collections.abc import Iterator

from svdsweep.config.adapters import NONE, loras
from svdsweep.config.rules import in_quotes, literal
from svdsweep.store.files import there

LORA = "model.lora"
SWEPT = ("image", "image.path", "model.source", "model.unet", LORA)
SINGLE = ("runs_dir", "metrics.weights_dir", "note")
"""Paths, and a sentence, of which a sweep has one: a comma belongs to it."""
HYDRA_READS = re.compile(r"[\w./+@-]*", re.ASCII)
"""Text that Hydra's grammar takes for what it is."""
FUNCTION = re.compile(r"(choice|shuffle|sort|glob|str|extend_list)\(.*\)", re.DOTALL)
TOKEN = re.compile(r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^,]*))\s*(?:,|$)""", re.DOTALL)
"""One element of a list: in single quotes, in double quotes, or as it stands."""
LIST = re.compile(r"(?:^|(?<=,))\[([^\]]*)\](?=,|$)")
"""Several LoRA of one job, in Hydra's way of writing a list."""
ESCAPED = re.compile(r"""(\\+)(['"]|\Z)""")


def as_typed(argument: str) -> str:
    """An override of a setting that is a path, its values in quotes where Hydra would read anything else into them; any
    other argument as it is.

    A value that names a file or folder is that, whatever signs are in it; else commas part a list, and `${…}` refers
    to another setting. `~` is the user's home."""
    key, equals, text = argument.partition("=")
    if not equals or key not in (*SWEPT, *SINGLE) or not text or FUNCTION.fullmatch(text):
        return argument
    text = LIST.sub(_joined, text) if key == LORA else text
    values = [text] if key in SINGLE and not text.startswith(("'", '"')) else _elements(text)
    return f"{key}={','.join(map(_for_hydra, values))}"


def _elements(text: str) -> list[str]:
    """What a list holds; neighbours that a comma in a file's name parted are joined again."""
    tokens = [text] if _named(text) else list(_tokens(text))
    values, start = [], 0
    while start < len(tokens):
        ends = range(len(tokens), start, -1)
        whole = next(end for end in ends if end == start + 1 or _named(",".join(tokens[start:end])))
        values.append(",".join(tokens[start:whole]))
        start = whole
    return values


def _named(text: str) -> bool:
    """Whether text is a file's name, or several LoRA's that are joined."""
    return there(text) or ("+" in text and all(there(place) for place, _ in loras(text)))


def _joined(found: re.Match[str]) -> str:
    return "+".join(_tokens(found[1])) or NONE


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while position <= len(text):
        match = TOKEN.match(text, position)
        if match is None:  # a quote that stands in the middle is a sign like any other
            yield text[position:]
            return
        single, double, plain = match.groups()
        quoted = single if single is not None else double
        yield plain.strip() if quoted is None else ESCAPED.sub(_half, quoted)
        if match.end() == len(text) and not text.endswith(","):
            return
        position = match.end()


def _half(found: re.Match[str]) -> str:
    """Half of the backslashes before a quote, which is what Hydra's grammar takes them for."""
    return found[1][: len(found[1]) // 2] + found[2]


def _for_hydra(value: str) -> str:
    if HYDRA_READS.fullmatch(value) and not there(value):
        return value
    refers = "${" in value and not there(value)
    return in_quotes(value if refers else literal(value))
