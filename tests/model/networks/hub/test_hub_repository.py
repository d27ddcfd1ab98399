"""A repository of the Hub is found at a pinned revision, over HTTP or in the cache, and read safely."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers.fake_hub import COMMIT, FakeHub

from dancecli.core.errors import InputError, ModelError
from dancecli.core.hashing import sha256_file
from dancecli.model.networks.hub.repository import fetch_weights, open_repository

NAME = "someone/tiny-net"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository as published, without a network in it."""
    found = tmp_path / "published"
    found.mkdir()
    (found / "config.json").write_text('{"model_type": "vjepa2"}')
    (found / "preprocessor_config.json").write_text("{}")
    (found / "model.safetensors").write_bytes(b"weights")
    (found / "README.md").write_text("a card")
    (found / "pytorch_model.bin").write_bytes(b"the same, pickled")
    return found


@pytest.fixture
def hub(on_fake_hub: FakeHub, folder: Path) -> FakeHub:
    on_fake_hub.repos[NAME] = folder
    return on_fake_hub


def test_a_revision_is_resolved_to_its_commit_and_weights_come_last(hub: FakeHub, folder: Path):
    found = open_repository(f"{NAME}@main")
    assert (found.commit, found.reference) == (COMMIT, f"hf:{NAME}@{COMMIT}")
    assert found.read_json("config.json") == {"model_type": "vjepa2"}
    assert not any("safetensors" in asked for asked in hub.asked)
    weights = fetch_weights(found)
    assert weights.files == {"model.safetensors": sha256_file(folder / "model.safetensors")}
    assert weights.sha256 == weights.files["model.safetensors"]
    # The pickle beside them, and the card, are not even downloaded.
    assert not any(name in asked for asked in hub.asked for name in (".bin", "README"))


def test_what_is_in_the_cache_is_not_asked_for_again(hub: FakeHub):
    fetch_weights(open_repository(f"{NAME}@{COMMIT}"))
    hub.asked.clear()
    fetch_weights(open_repository(f"{NAME}@{COMMIT}"))
    assert hub.asked == []


def test_a_branch_of_before_is_known_offline(hub: FakeHub, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    fetch_weights(open_repository(f"{NAME}@main"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    # Nothing was asked for by that name but through the API, which keeps no note of it.
    with pytest.raises(ModelError, match="the Hub cannot be reached") as raised:
        open_repository(f"{NAME}@main")
    assert f"hf download {NAME}" in raised.value.hint
    assert open_repository(f"{NAME}@{COMMIT}").commit == COMMIT


def test_offline_is_one_line(hub: FakeHub, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="is not in the cache of the Hub, and HF_HUB_OFFLINE is set"):
        open_repository(f"{NAME}@{COMMIT}")
    assert hub.asked == []


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("someone/else@main", "no such repository, or it is private"),
        (f"{NAME}@v9", "no such revision"),
    ],
)
def test_what_is_not_there_is_said(hub: FakeHub, reference: str, message: str):
    with pytest.raises(ModelError, match=message):
        open_repository(reference)


def test_conditions_must_be_accepted(hub: FakeHub):
    hub.gated.add(NAME)
    with pytest.raises(ModelError, match="conditions must be accepted") as raised:
        open_repository(f"{NAME}@main")
    assert f"https://huggingface.co/{NAME}" in raised.value.hint


def test_a_revision_must_be_named_and_the_newest_is_offered(hub: FakeHub):
    with pytest.raises(InputError, match="names no revision") as raised:
        open_repository(NAME)
    assert f"hf:{NAME}@{COMMIT}" in raised.value.hint


@pytest.mark.parametrize("reference", ["no/such/thing@main", "sp ace@main", "@main", ""])
def test_what_is_no_name_is_refused(reference: str):
    with pytest.raises(InputError, match="is not a repository of the Hub"):
        open_repository(reference)


def test_pickled_weights_are_refused_before_a_download(hub: FakeHub, folder: Path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"only as pytorch_model\.bin, a format that can run code"):
        open_repository(f"{NAME}@main")
    assert not any(asked.startswith("GET /someone") for asked in hub.asked)
    with pytest.raises(ModelError, match="a format that can run code"):
        open_repository(str(folder))


def test_a_file_that_was_cut_is_not_read(hub: FakeHub):
    found = open_repository(f"{NAME}@main")
    fetch_weights(found)
    stored = (found.folder / "model.safetensors").resolve()
    stored.write_bytes(stored.read_bytes()[:3])
    with pytest.raises(ModelError, match="cut short, or changed"):
        fetch_weights(found)


def test_several_files_have_one_checksum(folder: Path):
    shutil.copy(folder / "model.safetensors", folder / "model-00001-of-00002.safetensors")
    (folder / "model-00002-of-00002.safetensors").write_bytes(b"the rest")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    before = fetch_weights(open_repository(str(folder)))
    assert list(before.files) == list(names.values())
    (folder / "model-00002-of-00002.safetensors").write_bytes(b"another")
    after = fetch_weights(open_repository(str(folder)))
    assert before.sha256 != after.sha256
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model-00002-of-00002\.safetensors is missing"):
        fetch_weights(open_repository(str(folder)))


def test_an_index_cannot_name_a_file_elsewhere(folder: Path):
    names = {"a": "../../secret.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    with pytest.raises(ModelError, match="which is no weights file of its folder"):
        fetch_weights(open_repository(str(folder)))


def test_a_folder_must_be_there_and_hold_a_configuration(tmp_path: Path):
    with pytest.raises(InputError, match="no such folder"):
        open_repository(str(tmp_path / "missing"))
    with pytest.raises(ModelError, match=r"has no config\.json"):
        open_repository(str(tmp_path))


def test_a_broken_configuration_is_named(folder: Path):
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ModelError, match=r"its config\.json is not a JSON object"):
        open_repository(str(folder)).read_json("config.json")
