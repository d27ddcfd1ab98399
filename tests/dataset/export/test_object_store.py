"""An export to an object store, held against the same export to a folder."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from helpers import clip_workspace
from helpers.builders import Ran

from dancecli.core.errors import MissingDependencyError, UsageError, WorkspaceError
from dancecli.dataset.export.export import ExportSettings, Form, export
from dancecli.storage.workspace import Workspace

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated
URL = "memory://bucket/dance"


@pytest.fixture(autouse=True)
def store() -> Iterator[Any]:
    found = fsspec.filesystem("memory")
    found.store.clear()
    yield found
    found.store.clear()


def objects(store: Any) -> dict[str, str]:
    start = "/bucket/dance/"
    return {
        name.removeprefix(start): hashlib.sha256(store.cat_file(name)).hexdigest()
        for name in store.find("/bucket/dance")
    }


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("form", [Form.VIDEOFOLDER, Form.WEBDATASET])
def test_the_store_contains_what_a_folder_would(
    populated: Workspace, store: Any, tmp_path: Path, form: Form
) -> None:
    here = export(populated, ExportSettings(form, to=tmp_path / "here"))
    there = export(populated, ExportSettings(form, to=URL))
    assert objects(store) == tree(tmp_path / "here")
    assert (there.folder, there.counts, there.num_new) == (URL, here.counts, here.num_files)
    assert export(populated, ExportSettings(form, to=URL)).num_new == 0
    assert not list((populated.root / "exports").glob(".put-*"))


def test_a_stopped_export_goes_on(populated: Workspace, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ExportSettings(Form.VIDEOFOLDER, to=URL)
    put, names = type(store).put_file, []

    def fails_at_the_fourth(self: Any, here: str, there: str, **more: Any) -> None:
        if len(names) == 3:
            raise ConnectionError("the line is dead")
        names.append(there)
        put(self, here, there, **more)

    monkeypatch.setattr(type(store), "put_file", fails_at_the_fourth)
    with pytest.raises(
        WorkspaceError, match=r"^memory://bucket/dance: the store refuses \(the line is dead\)$"
    ):
        export(populated, settings)
    assert ".dance-export.json" not in objects(store), "an unfinished export is not called complete"
    monkeypatch.setattr(type(store), "put_file", put)
    would = export(populated, ExportSettings(Form.VIDEOFOLDER, to=URL, dry_run=True))
    result = export(populated, settings)
    assert result.num_new == would.num_new == result.num_files - 3
    assert ".dance-export.json" in objects(store)
    assert ".dance-export.unfinished.json" not in objects(store)


def test_nothing_else_is_written_over(populated: Workspace, store: Any) -> None:
    store.pipe_file("/bucket/dance/thesis.pdf", b"years of work")
    with pytest.raises(UsageError, match="contains something else"):
        export(populated, ExportSettings(Form.LISTS, to=URL))
    assert list(objects(store)) == ["thesis.pdf"]
    store.rm("/bucket/dance", recursive=True)
    export(populated, ExportSettings(Form.LISTS, to=URL))
    with pytest.raises(UsageError, match="contains another export"):
        export(populated, ExportSettings(Form.VIDEOFOLDER, to=URL))


def test_a_scheme_is_known_or_its_package_named(
    populated: Workspace, dance: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = dance("export", "--to", "sftp://host/dance")
    assert ran.code == 2
    assert "--to sftp:// is not a supported object store" in ran.err
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(MissingDependencyError, match="needs the package s3fs") as caught:
        export(populated, ExportSettings(Form.LISTS, to="s3://bucket/dance"))
    assert caught.value.hint == "pip install fsspec s3fs"


def test_an_address_of_a_file_is_a_folder(populated: Workspace, tmp_path: Path) -> None:
    result = export(populated, ExportSettings(Form.LISTS, to=(tmp_path / "a b").as_uri()))
    assert result.folder == tmp_path / "a b"
    assert (tmp_path / "a b" / "train.txt").exists()
