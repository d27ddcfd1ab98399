"""timm, where it is installed; `make timm` installs it into an environment of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sys
from typing import Any

import pytest

_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")


def import_timm() -> Any:
    """Import timm, or skip the module.

    Beside a torch for CPUs the torchvision of PyPI cannot register its operators, of which timm uses none:
    they are declared, so that the import succeeds.
    """
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed: make timm", allow_module_level=True)
    from torch import library

    operators = library.Library("torchvision", "FRAGMENT")
    while True:
        try:
            import timm
        except RuntimeError as error:
            found = _MISSING.search(str(error))
            if not found:
                raise
            operators.define(f"{found[1]}() -> ()")
            for name in [name for name in sys.modules if name.split(".")[0] in ("torchvision", "timm")]:
                with contextlib.suppress(KeyError):
                    del sys.modules[name]
        else:
            # As long as it lives, so do the operators.
            timm.operators = operators
            return timm
