"""`dance app` killed a hundred times while four people write to it: nothing lost, nothing doubled.

python -m benchmarks.stress.app_killed [KILLS]
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.lib.app_killed import kill_while_writing
from benchmarks.lib.app_workload import fill_workspace


def main(kills: int) -> int:
    """Print what became of all writes; 1 if a correction was lost or doubled."""
    with TemporaryDirectory() as folder:
        workspace = fill_workspace(Path(folder), num_clips=100, num_files=2)
        tally = kill_while_writing(workspace, kills)
    print(
        f"{tally.kills} kills, {len(tally.acknowledged):,} writes acknowledged, "
        f"{len(tally.unanswered)} without an answer, of which {tally.found} were saved; "
        f"lost: {len(tally.lost)}, doubled: {len(tally.doubled)}"
    )
    return 1 if tally.lost or tally.doubled else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
