"""The list of removed clips, as people edit it."""

from __future__ import annotations

import pytest

from dancecli.core.errors import InputError
from dancecli.storage.removals import Removal, add_removals, read_removals, removals_file
from dancecli.storage.workspace import Workspace

ROWS = [Removal(f"{name}_0_1000", "", "clip", 'a "take-down"\nrequest', "2026-01-01") for name in "abc"]


def test_a_line_that_was_emptied_by_hand_is_no_row(workspace: Workspace) -> None:
    add_removals(workspace, ROWS)
    path = removals_file(workspace)
    path.write_text("\n" + path.read_text().replace("b_0_1000", "\n,,,,\nb_0_1000") + "\n \n")
    assert list(read_removals(workspace).rows.values()) == ROWS


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("d_0_1000,,some,why,2026", "5: is not clip_id, sha256, scope"),
        ("d_0_1000,,clip", "5: is not clip_id, sha256, scope"),
        ('"d_0_1000,,clip,why,2026', "5: has a quotation mark that is not closed"),
    ],
)
def test_a_row_that_is_no_tombstone_is_named_by_its_line(workspace: Workspace, row: str, says: str) -> None:
    add_removals(workspace, ROWS[:1])
    path = removals_file(workspace)
    with path.open("a") as file:
        file.write(f"\n{row}\n")
    with pytest.raises(InputError, match=rf"removed\.csv:{says}"):
        read_removals(workspace)
