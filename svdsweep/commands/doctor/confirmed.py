"""On which kinds of devices and systems a real machine has confirmed what is measured."""

import platform

from svdsweep.commands.doctor.finding import Finding, note, ok
from svdsweep.memory.conflicts import KINDS

CONFIRMED, WRITTEN, NOT_SUPPORTED = "confirmed", "written for it, not yet confirmed", "not supported"
SYSTEMS = {"Linux": "Linux", "Windows": "Windows", "Darwin": "macOS"}
"""By what `platform.system` calls them."""
STATE = {
    "cuda": {"Linux": CONFIRMED, "Windows": WRITTEN, "macOS": NOT_SUPPORTED},
    "rocm": {"Linux": WRITTEN, "Windows": WRITTEN, "macOS": NOT_SUPPORTED},
    "xpu": {"Linux": WRITTEN, "Windows": WRITTEN, "macOS": NOT_SUPPORTED},
    "mps": {"Linux": NOT_SUPPORTED, "Windows": NOT_SUPPORTED, "macOS": WRITTEN},
    "cpu": {"Linux": CONFIRMED, "Windows": WRITTEN, "macOS": WRITTEN},
}
"""As README.md has it, where a test looks."""


def here(kind: str) -> Finding:
    """What a real machine has shown of this system and the kind of device that a sweep takes on it."""
    system = SYSTEMS.get(platform.system(), platform.system())
    state = STATE[kind].get(system, NOT_SUPPORTED)
    text = f"{KINDS[kind]} under {system}: {state}"
    if state == CONFIRMED:
        return ok("this machine", f"{text} on real machines")
    cure = "look twice at what it measures, and tell what you see: github.com/svdsweep/svdsweep/issues"
    return note("this machine", text, cure)
