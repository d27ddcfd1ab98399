from __future__ import annotations

import numpy as np
import pytest

from dancecli.core.errors import ModelError, WorkspaceError
from dancecli.model.training.features.store import (
    check_disk_space,
    entry_name,
    open_store,
    shutil,
    store_key,
)
from dancecli.storage.features import DATA, KEY, NAMES, SHAPE, entry_bytes

PARTS = {"weights": "abc", "transform": [{"type": "Flip", "scale": (1, 2)}], "stage": 3}


def batch(n, start=0):
    return (np.arange(n * 6, dtype=np.float32).reshape(n, 1, 2, 3) + start) / 7


def test_entries_come_back_after_reopening_in_their_own_precision(tmp_path):
    store = open_store(tmp_path, "float16", PARTS)
    store.append(["a", "b"], batch(2))
    store.append(["c"], batch(1, 100))
    again = open_store(tmp_path, "float16", PARTS)
    assert again.entries == {"a": 0, "b": 1, "c": 2}
    assert (again.array() == np.concatenate([batch(2), batch(1, 100)]).astype("float16")).all()
    assert again.missing(["c", "d", "a"]) == [1]


@pytest.mark.parametrize("damage", ["half a name", "half a row", "a name too many"])
def test_what_a_kill_left_half_written_goes_and_the_rest_stays(tmp_path, damage):
    store = open_store(tmp_path, "float32", PARTS)
    store.append(["a", "b"], batch(2))
    if damage == "half a row":
        store.data.write_bytes(store.data.read_bytes()[:-5])
    else:
        with store.names.open("a") as file:
            file.write("c" if damage == "half a name" else "c\n")
    again = open_store(tmp_path, "float32", PARTS)
    kept = 1 if damage == "half a row" else 2
    assert len(again.entries) == kept
    again.append(["z"], batch(1, 50))
    last = open_store(tmp_path, "float32", PARTS)
    assert last.entries["z"] == kept
    assert (last.array()[kept] == batch(1, 50)[0]).all()


@pytest.mark.parametrize("lost", [DATA, NAMES, SHAPE])
def test_a_store_that_lost_a_file_begins_anew(tmp_path, lost):
    store = open_store(tmp_path / "cache" / "features", "float32", PARTS)
    store.append(["a", "b"], batch(2))
    (store.folder / lost).unlink()
    again = open_store(tmp_path / "cache" / "features", "float32", PARTS)
    assert again.entries == {}
    # What is left of the others is not taken for what comes now.
    again.append(["z"], batch(1, 50))
    last = open_store(tmp_path / "cache" / "features", "float32", PARTS)
    assert last.entries == {"z": 0}
    assert (last.array() == batch(1, 50)).all()


def test_a_name_that_was_cut_short_is_no_name(tmp_path):
    store = open_store(tmp_path, "float32", PARTS)
    store.append(["a", "b"], batch(2))
    with store.data.open("ab") as file:
        file.write(batch(1).tobytes())
    with store.names.open("a") as file:
        file.write("cd")
    assert open_store(tmp_path, "float32", PARTS).entries == {"a": 0, "b": 1}


def test_the_settings_of_a_store_can_be_read(tmp_path):
    store = open_store(tmp_path, "float16", {"stage": 3})
    assert (store.folder / KEY).read_text() == '{\n  "dtype": "float16",\n  "stage": 3\n}'


def test_anything_that_features_depend_on_changes_the_store():
    keys = {
        store_key(dtype="float16", **PARTS),
        store_key(dtype="float32", **PARTS),
        store_key(dtype="float16", **{**PARTS, "stage": 4}),
        store_key(dtype="float16", **{**PARTS, "weights": "abd"}),
        store_key(dtype="float16", **{**PARTS, "transform": [{"type": "Flip", "scale": (1, 3)}]}),
    }
    assert len(keys) == 5
    assert store_key(a=1, b=(2, 3)) == store_key(b=[2, 3], a=1) == "fd28b17488e0d3ec"
    assert len({entry_name("c", "x", 0), entry_name("c", "x", 1), entry_name("c", "y", 0)}) == 3


def test_features_of_another_shape_and_a_full_disk_are_refused(tmp_path, monkeypatch):
    store = open_store(tmp_path, "float32", PARTS)
    store.append(["a"], batch(1))
    with pytest.raises(ModelError, match=r"features of shape \(1, 2, 2\), the store has \(1, 2, 3\)"):
        store.append(["b"], batch(1)[..., :2])
    usage = shutil.disk_usage(tmp_path)._replace(free=2 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    size = entry_bytes(store.shape, store.dtype)
    assert size == 6 * 4
    check_disk_space(tmp_path / "not" / "there yet", 1000, 1000 * size)
    with pytest.raises(WorkspaceError, match=r"1000000000 views need 24\.0 GB, and 2\.1 GB are free"):
        check_disk_space(tmp_path, 10**9, 10**9 * size)
    # A gibibyte stays free, to the byte.
    check_disk_space(tmp_path, 1, 1 << 30)
    with pytest.raises(WorkspaceError):
        check_disk_space(tmp_path, 1, (1 << 30) + 1)
    much = usage._replace(free=10**17)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: much)
    with pytest.raises(WorkspaceError, match=r"need 100000000\.0 GB, and 100000000\.0 GB are free"):
        check_disk_space(tmp_path, 1, 10**17)


def test_features_beyond_half_precision_are_refused_by_name_and_nothing_is_stored(tmp_path):
    store = open_store(tmp_path, "float16", PARTS)
    features = batch(2)
    features[1, 0, 0, 0] = 70_000.0
    names = [entry_name("good_0_1", "x", 0), entry_name("loud_0_1", "y", 0)]
    with pytest.raises(ModelError, match=r"features of loud_0_1 reach 7e[+]04, beyond the range of float16"):
        store.append(names, features)
    assert not open_store(tmp_path, "float16", PARTS).entries
    whole = open_store(tmp_path, "float32", PARTS)
    whole.append(names, features)
    assert whole.array().max() == 70_000.0
