"""Shared fixtures (a workspace, and `dance` as a user runs it) and the markers of slow tests."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran
from hypothesis import settings

from dancecli.storage.workspace import Workspace

# Ctrl-C reaches commands under test also where the tests began with it ignored, as by `make test &`.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What the tests compute is so small that a second thread costs more than it gives; workers inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine makes an example slow; how long it may take is pytest-timeout's business.
settings.register_profile("dance", deadline=None)
settings.load_profile("dance")

# What `make test-fast` leaves out: training, fetches from a faulty site, the documentation's
# examples, repeated sampling, worker processes and servers. Folders and files below tests/; a fixed
# list, so that a machine's speed does not decide what is run.
SLOW = (
    "app/explore/test_bulk.py",
    "app/test_server.py",
    "app/test_killed.py",
    "app/test_runs.py",
    "app/test_timelines.py",
    "dataset/derived",
    "dataset/export/test_documents.py",
    "dataset/export/test_export.py",
    "dataset/fetch/test_fetch.py",
    "dataset/fetch/test_fetch_before_and_after.py",
    "dataset/fetch/test_fetch_blocked.py",
    "dataset/fetch/test_fetch_hostile.py",
    "dataset/fetch/test_fetch_killed.py",
    "dataset/fetch/test_fetch_secrets.py",
    "dataset/fetch/test_fetch_sources.py",
    "dataset/fetch/test_site_check.py",
    "dataset/ingest",
    "dataset/test_one_length_rule.py",
    "dataset/similarity/test_dedup.py",
    "dataset/similarity/test_fingerprint.py",
    "dataset/split/test_split_groups.py",
    "dataset/upkeep/test_killed.py",
    "dataset/upkeep/test_remove.py",
    "demo/test_corpus.py",
    "demo/test_pipeline.py",
    "demo/test_renderer.py",
    "docs",
    "engine/test_local.py",
    "model/dataloading/test_decoding.py",
    "model/evaluation",
    "model/hardware",
    "model/inference/test_export.py",
    "model/inference/test_predict.py",
    "model/networks/heads",
    "model/networks/hub/test_hub_backbone.py",
    "model/networks/test_checkpoint.py",
    "model/networks/test_head.py",
    "model/networks/test_inception.py",
    "model/networks/test_inflation.py",
    "model/networks/test_missing_packages.py",
    "model/networks/test_mmaction.py",
    "model/networks/test_zoo_builds.py",
    "model/runs",
    "model/training",
    "model/tuning",
    "report/pages/test_large_page.py",
    "report/plots/test_figures.py",
    "report/plots/test_gradcam.py",
    "report/results/test_paper_tables.py",
    "report/results/test_seed_group.py",
    "report/statistics/test_coverage.py",
    "report/statistics/test_label_noise.py",
    "report/test_bundle.py",
    "reproduction",
    "test_doctor.py",
    "test_wheel.py",
    "video/pose/test_estimate.py",
    "video/pose/test_landmarks.py",
    "video/test_augment.py",
    "video/test_foreign_media.py",
    "video/test_fuzz.py",
    "video/test_optical_flow.py",
)
BROWSER = (
    "app/explore/test_map_browser.py",
    "app/explore/test_overlays_browser.py",
    "app/test_app_browser.py",
    "app/test_pages_browser.py",
    "report/pages/test_large_page.py",
    "report/pages/test_page_browser.py",
)
CLUSTER = ("engine/test_ray.py", "model/training/features/test_remote.py")
TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of the folders and files above."""
    for name, places in (("slow", SLOW), ("browser", BROWSER), ("cluster", CLUSTER)):
        paths = [TESTS / place for place in places]
        lost = [str(path) for path in paths if not path.exists()]
        if lost:
            raise pytest.UsageError(f"tests/conftest.py marks what does not exist: {', '.join(lost)}")
        for item in items:
            if any(item.path == path or path in item.path.parents for path in paths):
                item.add_marker(name)


def pytest_collection_finish() -> None:
    """Leave what the imports made out of garbage collection: statsmodels collects on each call."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace folder."""
    root = tmp_path / "space"
    root.mkdir()
    return Workspace(root)


@pytest.fixture
def dance(workspace: Workspace) -> Callable[..., Ran]:
    """Run `dance ARGS` in the workspace's folder, in a process of its own."""

    def run(*args: str, timeout_s: float = 300, **env: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "dancecli", *args],
            check=False,
            cwd=workspace.root,
            env={**os.environ, "COLUMNS": "100", **env},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
