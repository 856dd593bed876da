"""A small picture drawn on a terminal: half a character a pixel, in true colours."""

from pathlib import Path

LARGEST_BYTES, LARGEST_SIDE = 4 * 2**20, 4096
"""A larger file, or picture, is no preview."""
UPPER_HALF = "\u2580"


def blocks(path: Path, columns: int) -> str:
    """The PNG at `path` in lines of at most `columns` characters, each of two pixels; empty where it is none that can
    be drawn."""
    from PIL import Image

    try:
        if path.stat().st_size > LARGEST_BYTES:
            return ""
        with Image.open(path, formats=["PNG"]) as opened:
            if max(opened.size) > LARGEST_SIDE:
                return ""
            picture = opened.convert("RGB")
    except Exception:  # a stranger's file makes its reader raise anything
        return ""
    width = min(columns, picture.width)
    lines = max(1, round(picture.height * width / picture.width / 2))
    small = picture.resize((width, 2 * lines), Image.Resampling.BOX)
    pixels = small.tobytes()
    rows = [pixels[at : at + 3 * width] for at in range(0, len(pixels), 3 * width)]
    return "\n".join(
        "".join(_cell(above[i : i + 3], below[i : i + 3]) for i in range(0, 3 * width, 3)) + "\x1b[0m"
        for above, below in zip(rows[::2], rows[1::2], strict=True)
    )


def _cell(above: bytes, below: bytes) -> str:
    colours = ";".join(map(str, (38, 2, *above, 48, 2, *below)))
    return f"\x1b[{colours}m{UPPER_HALF}"
