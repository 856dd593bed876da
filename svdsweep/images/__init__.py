"""Conditioning images: packaged by name, a user's by path; cropped to the video's aspect and resized."""

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from svdsweep.config import Image
from svdsweep.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

PACKAGED = Path(__file__).resolve().parent
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def locate(path: str) -> Path:
    """The file of an image: as given, else of that name among the packaged ones. Raises UserError."""
    for candidate in (Path(path).expanduser(), PACKAGED / path):
        if candidate.is_file():
            return candidate
    raise UserError(
        f"image={path}: there is no such file. Give a picture ({', '.join(SUFFIXES)}), "
        "a folder or a glob of them."
    )


def is_file_name(value: str) -> bool:
    """Whether a value of `image=` means files rather than a preset's name."""
    return any(c in value for c in "./*?\\") or Path(value).is_dir()


def expand(value: str) -> list[str]:
    """The values of `image=` that one typed value stands for: a preset's name, a file, or all that a folder holds."""
    plain = value.strip("'\"")
    return [str(path) for path in files_of(plain)] if is_file_name(plain) else [value]


def files_of(pattern: str) -> list[Path]:
    """The pictures that a path, a folder or a glob names, sorted. Raises UserError when there are none."""
    path = Path(pattern).expanduser()
    if path.is_dir():
        pictures = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES]
    elif any(c in pattern for c in "*?["):
        root = Path(path.anchor) if path.is_absolute() else Path()
        pictures = [p for p in root.glob(str(path.relative_to(path.anchor))) if p.suffix.lower() in SUFFIXES]
    else:
        return [locate(pattern)]
    if not pictures:
        raise UserError(f"image={pattern}: no pictures there. Files ending in {', '.join(SUFFIXES)} count.")
    return sorted(pictures)


@cache
def identify(path: Path) -> str:
    """Sha256 of a file's content, after a look that it is a picture. Raises UserError."""
    import PIL.Image

    try:
        with PIL.Image.open(path) as picture:
            picture.verify()
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, SyntaxError, ValueError) as e:
        raise UserError(f"image={path}: this file cannot be read as a picture ({e}).") from e


def open_image(image: Image, height: int, width: int) -> "Picture":
    """The image as the pipeline gets it: RGB, rotated as its EXIF says, transparent parts on white, cropped
    about the centre to `width`:`height`, then resized to them (px) with Lanczos.

    Raises UserError when the content is not the one that the job was planned with."""
    import PIL.Image
    import PIL.ImageOps

    path = locate(image.path)
    if image.sha256 and identify(path) != image.sha256:
        raise UserError(
            f"image={path}: its content changed since the sweep was planned. Run the command again."
        )
    with PIL.Image.open(path) as opened:
        picture = PIL.ImageOps.exif_transpose(opened)
        if picture.has_transparency_data:
            layers = picture.convert("RGBA")
            picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", layers.size, "white"), layers)
        return PIL.ImageOps.fit(picture.convert("RGB"), (width, height), PIL.Image.Resampling.LANCZOS)
