"""What spoils a benchmark on a GPU, as its driver tells it: processes, heat, limits, a link below what it could be."""

from collections.abc import Mapping
from typing import Any

from svdsweep.commands.doctor.finding import Finding, note, trouble
from svdsweep.probes.nvml import State

WARM_C = 10
"""So near to the temperature at which it slows itself down, a GPU that computes gets there."""


def of_nvidia(uuid: str, state: State, facts: Mapping[str, Any]) -> list[Finding]:
    """The findings on an NVIDIA GPU; none for what it does not tell."""
    name = uuid[:12]
    found = [*shared(name, state, facts, "nvidia-smi")]
    set_it = (
        f"sudo nvidia-smi -i {uuid if uuid.startswith('GPU-') else 'CARD'}"  # a part of a card is not set
    )
    limit_w, default_w = state.power_limit_w, facts.get("gpu_power_limit_default_w")
    if limit_w is not None and default_w is not None and limit_w < default_w:
        text = f"{limit_w:.0f} W, by default {default_w:.0f} W: its times are those of a slower card"
        found.append(note(f"power limit, {name}", text, f"{set_it} -pl {default_w:.0f}"))
    if facts.get("gpu_persistence_mode") == "off":
        text = "off: the driver may be unloaded between jobs, which then start slowly and with low clocks"
        found.append(note(f"persistence mode, {name}", text, f"{set_it} -pm 1"))
    if facts.get("gpu_mig") == "on":
        text = "on: power, clocks and the PCIe link are shared with the other parts of the card"
        found.append(
            note(f"MIG, {name}", text, f"leave the other parts idle while it measures, or {set_it} -mig 0")
        )
    if state.clocks_held is False:
        text = "no setting holds them now: they follow power and temperature"
        cure = (
            f"for measure=rigorous: {set_it} -lgc MHZ (-q -d SUPPORTED_CLOCKS lists them), and -rgc after it"
        )
        found.append(note(f"clocks, {name}", text, cure))
    return found


def shared(name: str, state: State, facts: Mapping[str, Any], smi: str) -> list[Finding]:
    """The findings that all makers' drivers may give; `smi` is the program that lists the processes."""
    found = []
    if state.processes:  # none of them is this one, which has not touched the GPU
        count = (
            f"{state.processes} {'process computes' if state.processes == 1 else 'processes compute'} on it"
        )
        found.append(
            trouble(
                f"other processes, {name}", f"{count}: times and peaks change", f"end them; {smi} lists them"
            )
        )
    if state.margin_c is not None and state.margin_c <= WARM_C:
        text = f"{state.temperature_c} °C, {max(0, state.margin_c)} °C below where it slows itself down"
        found.append(trouble(f"temperature, {name}", text, "let it cool, and look after fans and air"))
    width, widest = state.pcie_width, facts.get("pcie_width_max")
    if width is not None and widest is not None and width < widest:
        text = f"{width} lanes of {widest}: offloading takes longer than the card allows"
        found.append(
            note(f"PCIe width, {name}", text, "seat the card anew, or put it into a slot with all lanes")
        )
    speed, fastest = state.pcie_generation, facts.get("pcie_generation_max")
    if speed is not None and fastest is not None and speed < fastest:
        text = f"{speed} of {fastest} now; an idle card saves power so"
        cure = f"look again while a sweep runs (rows have pcie_generation); if it stays, look at the BIOS and {smi} -q"
        found.append(note(f"PCIe generation, {name}", text, cure))
    return found
