"""Checks of `--gpus` that commands share."""

from __future__ import annotations

from collections.abc import Mapping

from dancecli.core.errors import UsageError


def check_gpus(processes: int) -> None:
    """Refuse more processes than there are GPUs, if there are any.

    Raises:
        UsageError: there are fewer.
    """
    if processes > 1:
        from dancecli.model.training.distributed import refuse_too_many

        refuse_too_many(processes)


def refuse_in_one_process(processes: int, given: Mapping[str, object]) -> None:
    """Refuse several processes beside options whose work one process does.

    Args:
        processes: how many were asked for.
        given: the options, and their values.

    Raises:
        UsageError: one of them is given.
    """
    for option, value in given.items():
        if value and processes > 1:
            raise UsageError(f"{option} works in one process", "omit --gpus")
