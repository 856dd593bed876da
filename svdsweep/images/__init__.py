"""Conditioning images: packaged by name, a user's by path; brought to the video's size as `image.fit` says."""

from pathlib import Path
from typing import TYPE_CHECKING

from svdsweep.config import Image
from svdsweep.errors import UserError
from svdsweep.images.files import PACKAGED, SUFFIXES, expand, files_of, is_file_name, left_out, locate
from svdsweep.images.reading import Look, look, opened, sha256_of
from svdsweep.images.tones import rgb

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

__all__ = [
    "PACKAGED",
    "SUFFIXES",
    "Look",
    "expand",
    "files_of",
    "identify",
    "is_file_name",
    "left_out",
    "locate",
]
__all__ += ["look", "open_image"]


def identify(path: Path) -> str:
    """Sha256 of a file's content, after a look that it is a picture. Raises UserError."""
    return look(path).sha256


def open_image(image: Image, height: int, width: int) -> "Picture":
    """The image as the pipeline gets it: RGB, upright, transparent parts on white, brought to `width`×`height` (px)
    with Lanczos as `image.fit` says: cropped about the centre, whole between black bars, or stretched.

    Raises UserError when the content is not the one that the job was planned with."""
    import PIL.Image
    import PIL.ImageOps

    path, lanczos = locate(image.path), PIL.Image.Resampling.LANCZOS
    if image.sha256 and sha256_of(path) != image.sha256:
        raise UserError(
            f"image={path}: its content changed since the sweep was planned. Run the command again."
        )
    with opened(path) as picture:
        whole = rgb(picture)
    if image.fit == "crop":
        return PIL.ImageOps.fit(whole, (width, height), lanczos)
    if image.fit == "stretch":
        return whole.resize((width, height), lanczos)
    scale = min(width / whole.width, height / whole.height)
    inside = whole.resize((max(1, round(whole.width * scale)), max(1, round(whole.height * scale))), lanczos)
    video = PIL.Image.new("RGB", (width, height))
    video.paste(inside, ((width - inside.width) // 2, (height - inside.height) // 2))
    return video
