"""The tiny model's own command line: train, lora, export, unpack, evaluate, show, decoders, images."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from svdsweep.models.tiny import WEIGHTS
from svdsweep.models.tiny.data import IMAGES, SLOW, SLOW_SHARE


def main(argv: list[str] | None = None) -> None:
    """Do what the first word says; one thread a process, whatever the machine has."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    arguments = _parser().parse_args(argv)
    arguments.do(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m svdsweep.models.tiny", description=__doc__)
    verbs = parser.add_subparsers(required=True)

    train = verbs.add_parser("train", help="train from nothing and export to OUT/weights")
    train.add_argument("--out", type=Path, required=True)
    train.add_argument(
        "--minutes", type=float, default=75, help="of which an eighth trains the decoder beside"
    )
    train.add_argument(
        "--steps", type=int, help="of the U-Net, instead of the time, in eights: repeatable to the bit"
    )
    train.add_argument("--vae-steps", type=int, help="of the decoder, instead of the time")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--batch", type=int, default=6, help="clips a step and process")
    train.add_argument("--processes", type=int, default=2, help="that train the U-Net; 1 on a GPU")
    train.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    train.add_argument("--resume", type=Path, help="a unet.pt to go on from")
    train.add_argument(
        "--rate", type=float, default=1.0, help="share of the peak learning rate, less on resuming"
    )
    train.add_argument(
        "--slow-share", type=float, default=SLOW_SHARE, help=f"of clips with a motion bucket below {SLOW}"
    )
    train.add_argument("--slow-weight", type=float, default=1.0, help="how much each of them counts")
    train.add_argument("--resume-vae", type=Path, help="a vae.pt to go on from")
    train.add_argument("--only", choices=("vae", "unet"), help="train one part, the other is there")
    train.set_defaults(do=_train)

    lora = verbs.add_parser("lora", help="train a LoRA of the packaged U-Net on slow clips; seconds a step")
    lora.add_argument("--out", type=Path, required=True, help="the safetensors file")
    lora.add_argument("--steps", type=int, default=100)
    lora.add_argument("--rank", type=int, default=4)
    lora.add_argument("--seed", type=int, default=0)
    lora.set_defaults(do=_lora)

    export = verbs.add_parser("export", help="write OUT/weights from OUT/vae.pt and OUT/unet.pt")
    export.add_argument("--out", type=Path, required=True)
    export.set_defaults(do=_export)

    unpack = verbs.add_parser("unpack", help="write OUT/vae.pt and OUT/unet.pt of weights, to go on from")
    unpack.add_argument("--weights", type=Path, default=WEIGHTS)
    unpack.add_argument("--out", type=Path, required=True)
    unpack.set_defaults(do=_unpack)

    evaluate = verbs.add_parser("evaluate", help="measure against the truth; prints JSON")
    evaluate.add_argument("--weights", type=Path, default=WEIGHTS)
    evaluate.add_argument("--images", type=int, default=16)
    evaluate.add_argument("--processes", type=int, default=1, help="of one thread, that share the clips")
    evaluate.add_argument("--photograph", type=Path, default=IMAGES / "coffee.jpg")
    evaluate.add_argument("--json", type=Path, help="also write all, with every clip, to this file")
    evaluate.set_defaults(do=_evaluate)

    show = verbs.add_parser("show", help="write contact_sheet.png and motion.webp to a folder")
    show.add_argument("--weights", type=Path, default=WEIGHTS)
    show.add_argument("--out", type=Path, default=WEIGHTS.parent)
    show.set_defaults(do=_show)

    decoders = verbs.add_parser("decoders", help="train the other decoders into OUT/<name>")
    decoders.add_argument("--out", type=Path, required=True)
    decoders.add_argument("--steps", type=int, help="of each, instead of those of the packaged ones")
    decoders.set_defaults(do=_decoders)

    images = verbs.add_parser("images", help="write the packaged sprite pictures")
    images.add_argument("--out", type=Path, default=IMAGES)
    images.set_defaults(do=_images)
    return parser


def _train(arguments: argparse.Namespace) -> None:
    from svdsweep.models.tiny import train_unet, train_vae
    from svdsweep.models.tiny.parallel import Member, run_together, start

    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    beside = None
    if arguments.only != "unet":
        member = Member(0, 1, arguments.seed, arguments.device)
        beside = start(
            train_vae.train,
            member,
            out,
            arguments.minutes / 8,
            arguments.vae_steps,
            8,
            IMAGES,
            arguments.resume_vae,
        )
    if arguments.only != "vae":
        run_together(
            train_unet.train,
            arguments.processes,
            arguments.seed,
            arguments.device,
            out,
            arguments.minutes,
            arguments.steps,
            arguments.batch,
            IMAGES,
            arguments.resume,
            arguments.rate,
            arguments.slow_share,
            arguments.slow_weight,
        )
    if beside:
        beside.join()
        if beside.exitcode:
            raise SystemExit("The decoder's training failed; its message is above.")
    used = os.times()
    print(
        f"The training took {(used.children_user + used.children_system) / 60:.0f} minutes of processor time."
    )
    _export(arguments)


def _lora(arguments: argparse.Namespace) -> None:
    from svdsweep.models.tiny.train_lora import train

    train(arguments.out, arguments.steps, arguments.rank, seed=arguments.seed)
    print(f"The LoRA is in {arguments.out}.")


def _export(arguments: argparse.Namespace) -> None:
    from svdsweep.models.tiny.export import export

    export(arguments.out, arguments.out / "weights")
    print(f"The model is in {arguments.out / 'weights'}.")


def _unpack(arguments: argparse.Namespace) -> None:
    from svdsweep.models.tiny.export import unpack

    unpack(arguments.weights, arguments.out)


def _evaluate(arguments: argparse.Namespace) -> None:
    from svdsweep.models.tiny.evaluate import evaluate, summary

    result = evaluate(arguments.weights, arguments.photograph, arguments.images, arguments.processes)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1), encoding="utf-8", newline="\n")
    print(summary(result))


def _show(arguments: argparse.Namespace) -> None:
    from svdsweep.models.tiny.show import write

    write(arguments.weights, arguments.out)


def _decoders(arguments: argparse.Namespace) -> None:
    from svdsweep.models.tiny.train_decoders import STEPS, train

    for name, steps in STEPS.items():
        print(f"{name}: {train(name, arguments.out, arguments.steps or steps):.1f} dB")


def _images(arguments: argparse.Namespace) -> None:
    from svdsweep.models.tiny.export import write_images

    for path in write_images(arguments.out):
        print(path)


if __name__ == "__main__":
    main()
