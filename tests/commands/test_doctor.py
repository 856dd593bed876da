"""The doctor tells what is there, and each trouble with its cure."""

import json
from pathlib import Path
from types import SimpleNamespace

import fake_nvml
import pytest
from broken_ffmpeg import WITHOUT_THE_ENCODER, needs_sh, put_in_place
from original_files import hollow, shapes

from svdsweep import cli
from svdsweep.commands.doctor import device, finding, host, rates, text
from svdsweep.config import Model
from svdsweep.grid.presets import CONF
from svdsweep.models import locate
from svdsweep.models.architectures import TINY, architecture
from svdsweep.predict import here
from svdsweep.probes import devices


def test_it_tells_of_everything_and_ends_by_its_troubles(tmp_path, capsys):
    code = cli.main(["doctor", "--quick", "--json", "--runs-dir", str(tmp_path)])
    told = json.loads(capsys.readouterr().out)
    names = {finding["name"] for finding in told}
    assert {
        "torch",
        "diffusers",
        "ffmpeg",
        "model tiny",
        "model svd_xt",
        "runs",
        "weights' cache",
        "host memory",
    } <= names
    assert any(name.startswith("attention") for name in names)
    assert all(finding["cure"] for finding in told if finding["state"] == "trouble")
    assert code == int(any(finding["state"] == "trouble" for finding in told))


def test_each_finding_has_a_line_and_what_is_said_to_it_another():
    one, other = finding.note("b", "none", "get one"), finding.trouble("long", "broken", "mend it")
    lines = text([finding.ok("a", "there"), one, other, other]).splitlines()
    assert lines[:5] == [
        "ok       a     there",
        "note     b     none",
        "               → get one",
        "TROUBLE  long  broken",
        "               → mend it",
    ]
    assert lines[-1] == "2 troubles"
    assert [text([one, *[other] * n]).splitlines()[-1] for n in (0, 1)] == ["0 troubles", "1 trouble"]


def test_the_terminal_shows_a_cure_under_its_trouble(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(host.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    assert cli.main(["doctor", "--quick", "--runs-dir", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "TROUBLE" in out
    assert "runs_dir=FOLDER" in out


@pytest.mark.parametrize(("free", "state"), [(4.9, "trouble"), (5.0, "ok"), (11.9, "ok"), (12.0, "ok")])
def test_room_on_disk_and_in_memory_is_told_in_gib(monkeypatch, tmp_path, free, state):
    monkeypatch.setattr(host.shutil, "disk_usage", lambda _: SimpleNamespace(free=free * 2**30))
    monkeypatch.setattr(host.psutil, "virtual_memory", lambda: SimpleNamespace(available=free * 2**30))
    runs, memory = host.disk(tmp_path / "not" / "there"), host.ram()
    assert (runs.state, runs.found, runs.value) == (state, f"{free} GiB free at {tmp_path}", free)
    known = ("ok" if free >= 12 else "note", f"{free} GiB free", free)
    assert (memory.state, memory.found, memory.value) == known


@pytest.mark.parametrize(("reasons", "state"), [(0, "ok"), (4, "trouble")])
def test_each_visible_gpu_is_told_in_the_masks_order_with_what_is_in_use(monkeypatch, reasons, state):
    fake_nvml.install(monkeypatch, nvmlDeviceGetCurrentClocksEventReasons=reasons)
    monkeypatch.setattr(devices, "installed", lambda: [["GPU-aa"], ["GPU-bb"]])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    told = "driver 999.1, 3.0 GiB in use" + (", slowed down: power cap" if reasons else "")
    expected = [("GPU GPU-bb", state, told), ("GPU GPU-aa", state, told)]
    assert [(f.name, f.state, f.found) for f in host.gpus() if f.name.startswith("GPU")] == expected


@pytest.mark.parametrize(
    ("how", "name", "state", "told"),
    [
        ({}, "", "", ""),
        ({"pids": (1, 2)}, "other processes", "trouble", "end them; nvidia-smi lists them"),
        ({"nvmlDeviceGetTemperature": 86}, "temperature", "trouble", "let it cool"),
        ({"nvmlDeviceGetTemperature": 84}, "", "", ""),
        (
            {"nvmlDeviceGetEnforcedPowerLimit": 400_000},
            "power limit",
            "note",
            "sudo nvidia-smi -i GPU-aa -pl 700",
        ),
        ({"nvmlDeviceGetPersistenceMode": 0}, "persistence mode", "note", "sudo nvidia-smi -i GPU-aa -pm 1"),
        ({"nvmlDeviceGetCurrPcieLinkWidth": 8}, "PCIe width", "note", "seat the card anew"),
        ({"nvmlDeviceGetCurrPcieLinkGeneration": 1}, "PCIe generation", "note", "while a sweep runs"),
        ({"nvmlDeviceGetMigMode": [1, 1]}, "MIG", "note", "-mig 0"),
        (
            {"nvmlDeviceGetCurrentClocksEventReasons": 1},
            "clocks",
            "note",
            "sudo nvidia-smi -i GPU-aa -lgc MHZ",
        ),
        ({"mute": ("nvmlDeviceGet",), "nvmlDeviceGetHandleByUUID": None}, "", "", ""),
    ],
)
def test_what_spoils_benchmarks_is_told_with_the_command_that_mends_it(monkeypatch, how, name, state, told):
    quiet = {"pids": (), "nvmlDeviceGetCurrentClocksEventReasons": 2}
    fake_nvml.install(monkeypatch, **quiet | how)
    _, *found = host.gpu("GPU-aa")
    assert [(f.name, f.state) for f in found] == ([(f"{name}, GPU-aa", state)] if name else [])
    assert all(told in f.cure for f in found)


def test_measured_rates_are_rates_and_without_a_gpu_nothing_is_kept(monkeypatch, tmp_path):
    import torch

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    matrix, memory, kept = rates.examine(torch, torch.device("cpu"))
    assert matrix.value > 1e-4
    assert memory.value > 0.01
    assert kept.state == "note"
    assert "no GPU here" in kept.found
    assert not list(tmp_path.iterdir())


class OnTheCpu:
    """PyTorch with a GPU whose work this processor does: what doctor asks for on a GPU, with its devices replaced."""

    def __init__(self, torch):
        self.torch, self.asked = torch, []

    def __getattr__(self, name):
        real = getattr(self.torch, name)
        if name not in ("randn", "zeros", "empty"):
            return real

        def make(*args, device=None, pin_memory=False, **kwargs):
            self.asked.append((name, str(device), pin_memory, self.torch.get_float32_matmul_precision()))
            return real(*args, **kwargs)

        return make


@pytest.fixture
def a_card(monkeypatch):
    import torch

    facts = SimpleNamespace(name="NVIDIA GeForce RTX 4090", total_memory=24 * 2**30, major=8, minor=9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: facts)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)


@pytest.mark.usefixtures("a_card")
def test_the_rates_of_a_gpu_are_kept_where_predict_finds_them(monkeypatch, tmp_path):
    import torch

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(rates, "GPU_SIZE", 64)
    monkeypatch.setattr(rates, "GPU_BYTES", 2**16)
    before = torch.get_float32_matmul_precision()
    gpu = OnTheCpu(torch)
    found = {f.name: f for f in rates.examine(gpu, torch.device("cuda:0"))}
    assert found["rates, cuda:0"].state == "ok"
    kept = here.measured_gpus()["NVIDIA GeForce RTX 4090"]
    assert (kept.memory_gib, kept.host_gb_s) == (24, found["copy rate, cuda:0"].value)
    assert min(kept.float16_tflops, kept.tf32_tflops, kept.float32_tflops, kept.memory_gb_s) > 0
    assert [a[3] for a in gpu.asked if a[0] == "randn"][1:] == ["high", "highest"]
    assert ("zeros", "None", True, before) in gpu.asked  # pinned, on the host
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.usefixtures("a_card")
def test_rates_are_operations_and_bytes_over_the_seconds_of_one_run(monkeypatch, tmp_path):
    import torch

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(rates, "GPU_SIZE", 100)
    monkeypatch.setattr(rates, "GPU_BYTES", 2**16)
    tf32 = {"high": 0.25, "highest": 0.5}  # by PyTorch's switch for products of float32
    gpu, cuda = OnTheCpu(torch), torch.device("cuda:0")

    def seconds(torch, device, run):
        return 0.125 if run().dtype == torch.float16 else tf32[torch.get_float32_matmul_precision()]

    monkeypatch.setattr(rates, "_median_s", seconds)
    tflop = 2 * 100**3 / 1e12
    products = {"float16": tflop / 0.125, "tf32": tflop / 0.25, "float32": tflop / 0.5}
    assert rates.matrix_rates(gpu, cuda) == products
    copied_gb = 2**16 / 1e9 / 0.5
    assert (rates.memory_rate(gpu, cuda), rates.copy_rate(gpu, cuda)) == (2 * copied_gb, copied_gb)
    rates.examine(gpu, cuda)
    (kept,) = here.measured_gpus().values()
    assert (kept.float16_tflops, kept.tf32_tflops, kept.float32_tflops) == (*products.values(),)
    assert (kept.memory_gb_s, kept.host_gb_s) == (2 * copied_gb, copied_gb)


@pytest.mark.usefixtures("a_card")
@pytest.mark.parametrize(("kind", "at_once"), [("cuda", 10), ("cpu", 1)])
def test_the_seconds_of_one_run_are_the_median_of_rounds_after_the_first(monkeypatch, kind, at_once):
    import torch

    rounds_s, now, runs = [500.0, 1.0, 9.0, 9.0, 2.0, 1.0, 1.0, 9.0], [0.0], []

    def run():
        now[0] += rounds_s[len(runs) // at_once] / at_once
        runs.append(0)

    monkeypatch.setattr(rates, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    spent = rates._median_s(OnTheCpu(torch), SimpleNamespace(type=kind), run)
    assert spent == pytest.approx(2.0 / at_once)
    assert len(runs) == 8 * at_once


@pytest.mark.usefixtures("a_card")
def test_rates_that_cannot_be_kept_are_a_trouble(monkeypatch, tmp_path):
    import torch

    (tmp_path / "svdsweep").write_text("a file where a folder should be", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(rates, "GPU_SIZE", 8)
    monkeypatch.setattr(rates, "GPU_BYTES", 2**10)
    finding = rates.examine(OnTheCpu(torch), torch.device("cuda:0"))[-1]
    assert (finding.state, "XDG_CACHE_HOME" in finding.cure) == ("trouble", True)


def test_a_driver_that_does_not_answer_is_a_trouble(monkeypatch):
    monkeypatch.setattr(devices, "installed", list)
    monkeypatch.setattr(Path, "glob", lambda *_: [Path("/dev/nvidia0")])
    (finding,) = host.gpus()
    assert (finding.state, "--gpus all" in finding.cure) == ("trouble", True)


def test_hidden_gpus_are_a_trouble(monkeypatch):
    monkeypatch.setattr(devices, "installed", lambda: [["GPU-1234"]])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    (finding,) = host.gpus()
    assert "CUDA_VISIBLE_DEVICES=7" in finding.found
    assert "nvidia-smi -L" in finding.cure


@pytest.mark.parametrize(("cuda", "cure"), [(None, "build of PyTorch for CUDA"), ("13.0", "NVIDIA driver")])
def test_a_torch_that_cannot_use_the_gpu_is_a_trouble(monkeypatch, cuda, cure):
    monkeypatch.setattr(devices, "installed", lambda: [["GPU-1234"]])
    torch = SimpleNamespace(
        __version__="9", version=SimpleNamespace(cuda=cuda), cuda=SimpleNamespace(is_available=lambda: False)
    )
    finding = device.build(torch)
    assert finding.state == "trouble"
    assert cure in finding.cure


@needs_sh
def test_an_ffmpeg_without_the_encoder_is_a_trouble(monkeypatch, tmp_path):
    put_in_place(monkeypatch, tmp_path, WITHOUT_THE_ENCODER)
    finding = host.encoder()
    assert (finding.state, finding.found) == ("trouble", f"{tmp_path / 'ffmpeg.sh'} has no libx264")
    assert finding.cure == "unset IMAGEIO_FFMPEG_EXE, or point IMAGEIO_FFMPEG_EXE at an ffmpeg with libx264"


def test_a_half_downloaded_model_is_a_trouble(monkeypatch, tmp_path):
    monkeypatch.setattr(locate, "folder_of", lambda _: tmp_path)
    found = {f.name: f for f in host.weights()}
    assert found["model svd_xt"].state == "trouble"
    assert "hf download" in found["model svd_xt"].cure


def test_a_checkpoint_of_comfyuis_of_a_presets_name_would_run(monkeypatch, tmp_path):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    preset = Model(name="svd_xt", source="nobody/has-this")
    assert host.weights_of("model svd_xt", preset).state == "note"
    (tmp_path / "models" / "checkpoints").mkdir(parents=True)
    file = hollow(tmp_path / "models" / "checkpoints" / "svd_xt.safetensors", shapes(architecture("tiny")))
    finding = host.weights_of("model svd_xt", preset)
    assert (finding.state, finding.found) == (
        "ok",
        f"would run now with model.source=comfyui:svd_xt, from {file}",
    )


def test_a_model_whose_other_unet_is_not_here_would_not_run(monkeypatch, tmp_path):
    monkeypatch.setattr(locate, "folder_of", lambda _: tmp_path)
    finding = host.weights_of(
        "model x", Model(name="x", source="nobody/base", unet="nobody/x:unet.safetensors")
    )
    assert (finding.state, finding.found) == ("note", "its model.unet is not on this machine")
    assert finding.cure.startswith("hf download nobody/x unet.safetensors")


def test_models_are_told_alone_and_from_which_file(monkeypatch, capsys, tmp_path):
    snapshot = tmp_path / "models--x--y" / "snapshots" / ("a1" * 20)
    monkeypatch.setattr(locate, "snapshot", lambda model: snapshot if model.name == "svd" else None)
    monkeypatch.setattr(locate, "judge", lambda *_: None)
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    assert cli.main(["doctor", "--models", "--json"]) == 0
    told = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert told.keys() == {f"model {path.stem}" for path in CONF.glob("model/*.yaml")}
    assert told["model tiny"]["found"] == f"would run now, embedded, from {TINY}"
    whence = f"the hub's cache, snapshot a1a1a1a1a1a1 in {snapshot.parents[1]}"
    assert told["model svd"]["found"] == f"would run now, from {whence}"
    assert "hf download" in told["model svd_xt"]["cure"]


def test_a_folder_that_cannot_be_written_is_a_trouble(monkeypatch, tmp_path):
    monkeypatch.setattr(host.os, "access", lambda path, how: False)
    finding = host.disk(tmp_path / "runs")
    assert (finding.state, finding.found) == ("trouble", f"{tmp_path} cannot be written to")


def test_a_compiler_that_fails_is_a_trouble():
    import torch

    def broken(_):
        raise RuntimeError("no g++")

    fake = SimpleNamespace(compile=broken, inference_mode=torch.inference_mode, ones=torch.ones)
    finding = device.compiler(fake, torch.device("cpu"))
    assert finding.state == "trouble"
    assert "g++" in finding.cure


@pytest.mark.parametrize(("free", "state"), [(24, "ok"), (21.6, "ok"), (21.5, "trouble"), (3, "trouble")])
def test_a_gpu_whose_memory_others_hold_is_a_trouble(monkeypatch, free, state):
    import torch

    gib = 2**30
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free * gib, 24 * gib))
    facts = SimpleNamespace(name="NVIDIA X", total_memory=24 * gib, major=8, minor=9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: facts)
    finding = device.memory(torch, torch.device("cuda:0"))
    assert (finding.state, finding.found) == (state, f"NVIDIA X, {free:.1f} of 24.0 GiB free")


@pytest.mark.parametrize(
    ("works", "state"), [("flash", "ok"), ("efficient", "ok"), ("cudnn", "ok"), ("math", "trouble")]
)
def test_one_fused_kernel_is_enough_and_those_that_do_not_work_are_told(monkeypatch, works, state):
    import torch

    kernels = ("flash", "efficient", "cudnn", "math")
    monkeypatch.setattr(device, "_kernels", lambda *_: {name: name for name in kernels})
    monkeypatch.setattr(device, "_tried", lambda torch, gpu, name: None if name == works else f"no {name}")
    finding, *lacking = device.attention(OnTheCpu(torch), torch.device("cuda:0"))
    assert finding.state == state
    others = [name for name in kernels if name != works]
    assert [note.name for note in lacking] == [f"attention={name}, cuda:0" for name in others]


def test_an_attention_kernel_that_answers_nonsense_does_not_work():
    import torch

    cpu = torch.device("cpu")
    assert "not finite" in device._tried(torch, cpu, lambda: torch.tensor(float("nan")))
    assert "not finite" in device._tried(torch, cpu, lambda: torch.tensor([1.0, float("inf")]))
    assert device._tried(torch, cpu, lambda: torch.tensor(1.0)) is None


@pytest.mark.parametrize(
    ("release", "cudnn", "state"),
    [
        ("2.8.0+cu128", 91002, "ok"),
        ("2.9.0+cu128", 91002, "trouble"),
        ("2.9.0+cu126", 90701, "ok"),
        ("2.9.0+cu130", 91501, "trouble"),
        ("2.9.1+cu128", 91002, "trouble"),
        ("2.9.1+cu130", 91501, "ok"),
        ("2.9.1+cu126", 90701, "ok"),
        ("2.10.0+cu128", 91002, "trouble"),
        ("2.11.0+cu130", 91900, "ok"),
    ],
)
def test_a_pytorch_that_convolves_frames_without_cudnn_is_told(release, cudnn, state):
    torch = SimpleNamespace(
        __version__=release, backends=SimpleNamespace(cudnn=SimpleNamespace(version=lambda: cudnn))
    )
    (found,) = device.convolution(torch, SimpleNamespace(type="cuda"))
    assert found.state == state
    assert ("temporal_conv2d" in found.cure) == (state == "trouble")
    assert device.convolution(torch, SimpleNamespace(type="cpu")) == []
