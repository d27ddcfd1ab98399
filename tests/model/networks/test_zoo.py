from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dancecli.core.errors import InputError, ModelError
from dancecli.core.progress import Reporter
from dancecli.model.networks.zoo import SITE, fetch_checkpoint, find_entry, read_zoo

BODY = b"weights" * 1000


@pytest.fixture
def asked() -> list[str]:
    """What the site was asked for."""
    return []


@pytest.fixture
def site(tmp_path: Path, asked: list[str]) -> Iterator[str]:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "model.pth").write_bytes(BODY)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path / "www"))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def entry_of(body: bytes):
    prefix = hashlib.sha256(body).hexdigest()[:8]
    return replace(find_entry("resnet50"), checkpoint=f"model_{prefix}.pth", sha256_prefix=prefix)


def test_every_entry_names_a_config_that_is_there_and_a_checkpoint_with_its_checksum():
    from dancecli.model.networks.mmaction import CONFIGS

    zoo = read_zoo()
    assert {"inception", "resnet50", "nonlocal"} <= set(zoo)
    # Its weights are those of RGB, averaged: no accuracy of them on flow is known.
    assert (zoo["inception-flow"].top1, zoo["inception-flow"].top5, zoo["inception-flow"].views) == (0, 0, "")
    for entry in zoo.values():
        assert entry.name == "inception-flow" or 45 < entry.top1 < (entry.top5 or 100) <= 100
        assert entry.dataset in ("kinetics400", "kinetics700", "ucf101", "ntu60-xsub-2d")
        if entry.config:
            assert (CONFIGS / entry.config).is_file()
            assert entry.checkpoint.endswith(f"-{entry.sha256_prefix}.pth")
            if not entry.site_folder:
                assert entry.checkpoint.startswith(f"{Path(entry.config).stem}_")
                kind = "skeleton" if entry.modality == "pose" else "recognition"
                assert entry.url.startswith(f"{SITE}/v1.0/{kind}/")
            assert entry.url == f"{entry.url.rpartition('/')[0]}/{entry.checkpoint}"
            assert "//" not in entry.url.removeprefix("https://")


def test_a_config_on_flow_or_poses_is_known_for_one():
    from dancecli.model.networks.mmaction import CONFIGS

    folder = CONFIGS / "recognition" / "slowonly"
    flow = find_entry(str(folder / "slowonly_r50_8xb16-16x4x1-256e_kinetics400-flow.py"))
    rgb = find_entry(str(folder / "slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb.py"))
    graph = CONFIGS / "skeleton" / "stgcn" / "stgcn_8xb16-bone-u100-80e_ntu60-xsub-keypoint-2d.py"
    assert (flow.modality, rgb.modality, find_entry(str(graph)).modality) == ("flow", "rgb", "pose")


def test_a_checkpoint_is_downloaded_once_and_only_whole(site, tmp_path):
    seen = []
    entry, folder = entry_of(BODY), tmp_path / "cache"
    path = fetch_checkpoint(entry, folder, Reporter(seen.append), f"{site}/model.pth")
    assert path.read_bytes() == BODY
    assert (seen[-1].done, seen[-1].total) == (len(BODY), len(BODY))
    assert fetch_checkpoint(entry, folder, url="http://127.0.0.1:9/nothing") == path


def test_of_several_ranks_that_need_a_checkpoint_one_downloads_it(site, asked, tmp_path):
    entry, folder = entry_of(BODY), tmp_path / "cache"
    with ThreadPoolExecutor(4) as ranks:
        found = [ranks.submit(fetch_checkpoint, entry, folder, url=f"{site}/model.pth") for _ in range(4)]
    assert {path.result().read_bytes() for path in found} == {BODY}
    assert len(asked) == 1


def test_another_file_is_refused_and_leaves_nothing(site, tmp_path):
    with pytest.raises(ModelError, match="SHA-256 is"):
        fetch_checkpoint(entry_of(b"other"), tmp_path / "cache", url=f"{site}/model.pth")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]


def test_a_file_that_was_damaged_later_is_refused(tmp_path):
    entry = entry_of(BODY)
    (tmp_path / entry.checkpoint).write_bytes(BODY[:-1])
    with pytest.raises(ModelError, match="cut short, or another file"):
        fetch_checkpoint(entry, tmp_path)


@pytest.mark.parametrize("path", ["/gone.pth", None])
def test_without_the_site_one_line_says_how_to_go_on(site, tmp_path, path):
    url = f"{site}{path}" if path else "http://127.0.0.1:9/model.pth"
    with pytest.raises(ModelError) as caught:
        fetch_checkpoint(entry_of(BODY), tmp_path / "cache", url=url)
    assert "could not be downloaded" in caught.value.message
    assert "--weights FILE" in caught.value.hint
    assert str(tmp_path / "cache") in caught.value.hint


def test_an_unknown_model_names_those_that_are_known():
    with pytest.raises(InputError) as caught:
        find_entry("resnet51")
    assert "resnet50" in caught.value.hint
    with pytest.raises(InputError, match="no such MMAction2 config"):
        find_entry("missing.py")


def test_a_broken_zoo_names_its_file_and_entry(tmp_path):
    path = tmp_path / "zoo.toml"
    path.write_text("[a]\ntitle = 'A'\nchecksum = 'x'\n")
    with pytest.raises(InputError, match=r"zoo.toml: \[a\] has no key 'checksum'"):
        read_zoo(path)
    path.write_text("[a]\ntitle = 'A'\ncheckpoint = 'a.pth'\n")
    with pytest.raises(InputError, match="needs the first 8 hex digits"):
        read_zoo(path)
