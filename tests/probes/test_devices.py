"""Which devices there are, from a made-up NVML."""

import sys
from types import SimpleNamespace

import pytest

from svdsweep.errors import UserError
from svdsweep.probes import devices
from svdsweep.probes.build import Build

GPUS = [["GPU-aa"], ["GPU-bb"], ["MIG-1", "MIG-2"]]


@pytest.fixture(autouse=True)
def torch_for_nvidia(monkeypatch):
    monkeypatch.setattr(devices, "torch_build", lambda: Build("cuda"))


@pytest.mark.parametrize(
    ("mask", "seen"),
    [
        (None, ["GPU-aa", "GPU-bb", "MIG-1", "MIG-2"]),
        ("", []),
        ("-1", []),
        ("1,0", ["GPU-bb", "GPU-aa"]),
        ("GPU-b", ["GPU-bb"]),
        ("MIG-2", ["MIG-2"]),
        ("0,9,1", ["GPU-aa"]),
        ("0,3,1", ["GPU-aa"]),
        ("GPU-", ["GPU-aa"]),
        ("GPU-zz,0", []),
    ],
)
def test_the_mask_is_read_as_cuda_reads_it(mask, seen):
    assert devices.visible(GPUS, mask) == seen


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("auto", ["GPU-aa", "GPU-bb", "MIG-1", "MIG-2"]),
        ("cpu", ["cpu"]),
        ("1", ["GPU-bb"]),
        ("1,0", ["GPU-bb", "GPU-aa"]),
        ("GPU-aa", ["GPU-aa"]),
        ("MIG-2,0", ["MIG-2", "GPU-aa"]),
    ],
)
def test_devices_by_index_uuid_and_mig_name(monkeypatch, wanted, chosen):
    monkeypatch.setattr(devices, "installed", lambda: GPUS)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.discover(wanted) == chosen


def test_indices_count_what_the_mask_leaves(monkeypatch):
    monkeypatch.setattr(devices, "installed", lambda: GPUS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert devices.discover("0") == ["GPU-bb"]
    with pytest.raises(UserError, match=r"no device 1 here.*0: GPU-bb"):
        devices.discover("1")


@pytest.mark.parametrize("wanted", ["0", "GPU-zz", "MIG-1", "gpu"])
def test_without_a_gpu_auto_is_the_cpu_and_a_gpu_is_refused(monkeypatch, wanted):
    monkeypatch.setattr(devices, "installed", list)
    assert devices.discover("auto") == ["cpu"]
    with pytest.raises(UserError, match="none, only the CPU"):
        devices.discover(wanted)


class Nvml:
    """A plain GPU, one in two MIG instances (and an empty slot), one that knows no MIG, one that is lost."""

    NVML_DEVICE_MIG_ENABLE = 1

    class NVMLError(Exception):
        pass

    def __getattr__(self, name):
        known = {"nvmlInit": lambda: None, "nvmlShutdown": lambda: None, "nvmlDeviceGetCount": lambda: 4}
        if name not in known:
            raise AttributeError(name)  # Python 3.13 asks a module for `__spec__`
        return known[name]

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid != "UUID-gpu0":
            raise self.NVMLError("not found")

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(total=24 * 2**30, used=2**30)

    def nvmlDeviceGetName(self, handle):
        return b"NVIDIA X"

    def nvmlDeviceGetHandleByIndex(self, i):
        if i == 3:
            raise self.NVMLError("GPU is lost")
        return f"gpu{i}"

    def nvmlDeviceGetMigMode(self, gpu):
        if gpu == "gpu2":
            raise self.NVMLError("not supported")
        return (1, 1) if gpu == "gpu1" else (0, 0)

    def nvmlDeviceGetUUID(self, handle):
        return f"UUID-{handle}".encode()

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu):
        return 3

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu, i):
        if i == 1:
            raise self.NVMLError("not found")
        return f"{gpu}.{i}"


def test_nvml_is_asked_for_gpus_and_mig_instances(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    assert devices.installed() == [["UUID-gpu0"], ["UUID-gpu1.0", "UUID-gpu1.2"], ["UUID-gpu2"], []]


def test_a_gpu_has_a_name_and_memory_in_gib_and_the_cpu_has_neither(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    assert (devices.gpu_name("UUID-gpu0"), devices.vram_gib("UUID-gpu0")) == ("NVIDIA X", 24.0)
    assert (devices.gpu_name("cpu"), devices.vram_gib("cpu")) == (None, None)


def test_a_machine_without_a_driver_has_no_gpu(monkeypatch):
    nvml = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(nvml, "nvmlInit", lambda: nvml.nvmlDeviceGetHandleByIndex(3))
    assert devices.installed() == []


@pytest.mark.parametrize(
    ("omp", "slurm", "count"), [("3", "5", 3), ("", "5", 5), ("0", "5", 5), ("x", "0", 7), (None, None, 7)]
)
def test_the_cores_are_the_users_word_then_slurms_then_the_mask(monkeypatch, omp, slurm, count):
    for name, value in (("OMP_NUM_THREADS", omp), ("SLURM_CPUS_PER_TASK", slurm)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(devices.host, "cores", lambda: 7)
    assert devices.cores() == count


def test_a_list_of_devices_may_have_blanks_and_name_the_cpu(monkeypatch):
    monkeypatch.setattr(devices, "installed", lambda: GPUS)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.discover(" 1 , cpu, GPU-a,") == ["GPU-bb", "cpu", "GPU-aa"]
    assert devices.discover(" cpu ") == devices.discover(",") == ["cpu"]
    with pytest.raises(UserError, match="no device 4 here"):
        devices.discover("4")
