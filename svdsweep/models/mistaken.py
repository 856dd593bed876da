"""What people give where a pipeline's folder is meant, and what to give instead: files, parts, folders around one."""

import json
import shlex
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from svdsweep.errors import nearest, some
from svdsweep.models.layout import BASE, CONFIGS, INDEX, PICKLES

ALLOWED = (
    f"Allowed is `embedded`, a folder in diffusers' layout (with {INDEX}), a single file with all of SVD "
    f"(svd_xt.safetensors), or a hub id such as {BASE}."
)
GGUF = (
    "GGUF is not read: its weights are of fewer bits, which svdsweep makes itself as it loads "
    "(memory.unet_weights=fp8, int8_weight_only). Give the safetensors that it was made from."
)
TO_SAFETENSORS = (
    'This makes safetensors of it without running what is in it: `python -c "import sys, torch; from '
    "safetensors.torch import save_file; d = torch.load(sys.argv[1], map_location='cpu', weights_only=True); "
    "d = d.get('state_dict', d); save_file({{k: v.contiguous() for k, v in d.items() if torch.is_tensor(v)}}, "
    "'NEW.safetensors')\" {path}`, then {key}=NEW.safetensors."
)
BESIDE = "beside the model that it was trained from: model=svd_xt {key}={path}."
LORA = "pytorch_lora_weights.safetensors"
FEW = 3


def of_file(path: Path) -> str:
    """What a file is that was given as a model's source, and what to give instead."""
    for folder in path.parents[:2]:
        if (folder / INDEX).is_file():
            return f"that is a file of a pipeline; give its folder: model.source={folder}"
    if path.suffix in PICKLES:
        cure = TO_SAFETENSORS.format(path=shlex.quote(str(path)), key="model.source")
        return f"that is a pickle, which is never read: it may run any code. {cure}"
    if path.suffix == ".gguf":
        return GGUF
    return f"that is a file. {ALLOWED}"


def of_folder(folder: Path) -> str:
    """What a folder without model_index.json is, and what to give instead. Raises OSError."""
    if (folder / INDEX).is_symlink():
        return f"its {INDEX} is a broken link. Copy the folder again, links resolved (`cp -rL`)."
    if folder.name in CONFIGS and (folder.parent / INDEX).is_file():
        return f"that is one component of a pipeline; give the folder above it: model.source={folder.parent}"
    if deeper := _pipelines_in(folder):
        one = "the pipeline is" if len(deeper) == 1 else "pipelines are"
        where = " or ".join(f"model.source={path}" for path in deeper)
        return f"no {INDEX} there; {one} deeper: {where}"
    names = sorted(path.name for path in islice(folder.iterdir(), 1000))
    return f"no {INDEX} there, so it is no diffusers pipeline; {_of_names(folder, names)}"


def _of_names(folder: Path, names: Sequence[str]) -> str:
    """What lies in a folder without a pipeline in it or around it, and what to do with that."""
    if part := _trained(folder, names):
        give = BESIDE.format(key="model.unet", path=folder)
        return f"{part} is a UNet alone, as trainers save it. Give it {give}"
    if LORA in names or "adapter_config.json" in names:
        return f"it holds an adapter (LoRA) alone. Give it {BESIDE.format(key='model.lora', path=folder)}"
    if parts := [name for name in names if name in CONFIGS]:
        return f"it holds {', '.join(parts)}. Copy {INDEX} from the model it was made from ({BASE})."
    if files := _single_files(folder):
        whole = next((file for file in files if file.endswith(".safetensors")), "svd_xt.safetensors")
        give = f"A file with all of SVD is given by its own path: model.source={folder / whole}"
        return f"it holds {', '.join(files)}. {give}"
    return f"there is: {some(names, FEW) or 'nothing at all'}. {ALLOWED}"


def beside(path: Path) -> str:
    """` Did you mean x?` for a folder of nearly that name beside one that is not there."""
    if not path.parent.is_dir():
        return ""
    return nearest(str(path), [str(p) for p in path.parent.iterdir() if p.is_dir()])


def _pipelines_in(folder: Path) -> list[Path]:
    """The pipelines one or two folders deeper, or in a copied cache of the hub; the first few."""
    patterns = (f"*/{INDEX}", f"*/*/{INDEX}", f"models--*/snapshots/*/{INDEX}")
    found = (path.parent for pattern in patterns for path in sorted(islice(folder.glob(pattern), 100)))
    return list(islice(dict.fromkeys(found), FEW))


def _trained(folder: Path, names: Sequence[str]) -> str:
    """The subfolders that hold a trained UNet and nothing of a pipeline beside it (`unet/ or unet_ema/`), the
    folder itself, or empty where there is none."""
    if any(name in CONFIGS and name != "unet" for name in names):
        return ""
    found = [name for name in names if name.startswith("unet") and _is_unet(folder / name / "config.json")]
    return " or ".join(f"{name}/" for name in found) or (
        "that folder" if _is_unet(folder / "config.json") else ""
    )


def _is_unet(config: Path) -> bool:
    try:
        return "UNet" in str(json.loads(config.read_text(encoding="utf-8"))["_class_name"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _single_files(folder: Path) -> list[str]:
    """Weight files that lie in the folder or in one of its own, as those of other programs do; the first few."""
    endings = (".safetensors", ".gguf", *PICKLES)
    paths = (path for pattern in ("*", "*/*") for path in sorted(islice(folder.glob(pattern), 1000)))
    files = (path.relative_to(folder).as_posix() for path in paths if path.suffix in endings)
    return list(islice(files, FEW))
