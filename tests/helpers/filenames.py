"""Names of files that not every machine can spell."""

import os


def spelled_here(*names: str) -> tuple[str, ...]:
    """Those that this machine's file names can spell; under an ASCII locale none has umlauts."""
    return tuple(name for name in names if _spelled(name))


def _spelled(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True
