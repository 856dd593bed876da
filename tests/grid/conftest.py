"""What other tests had composed is not known here."""

import pytest

from svdsweep.grid import presets


@pytest.fixture(scope="module", autouse=True)
def nothing_composed():
    """So a composition that is wrong is seen here, whoever composed the same line before."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(presets, "PACKAGED", presets.Known())
        presets.register_schema.cache_clear()
        yield
