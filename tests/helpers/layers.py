"""The layers as data: which subpackage may import which.

`test_architecture.py` checks every import against it; the documentation draws it.
"""

from __future__ import annotations

BASE = ("core", "core.statistics", "storage")
DATASET = (
    "dataset",
    "dataset.fetch",
    "dataset.ingest",
    "dataset.similarity",
    "dataset.split",
    "dataset.derived",
    "dataset.quality",
    "dataset.export",
    "dataset.upkeep",
)
MODEL = (
    "model.hardware",
    "model.networks",
    "model.networks.heads",
    "model.networks.hub",
    "model.dataloading",
    "model.dataloading.decoding",
    "model.training",
    "model.training.features",
    "model.training.probes",
    "model.evaluation",
    "model.encoding",
    "model.inference",
    "model.runs",
    "model.tuning",
)
REPORT = (
    "report",
    "report.statistics",
    "report.results",
    "report.plots",
    "report.pages",
    "report.submitted",
)
CLI = ("cli", "cli.start", "cli.dataset", "cli.inspect", "cli.models", "cli.reports")

_MEDIA = (*BASE, "video", "video.pose", "video.trajectories", "engine")
_TRAINING = (
    *BASE,
    "engine",
    "model.hardware",
    "model.networks",
    "model.networks.heads",
    "model.networks.hub",
    "model.dataloading",
    "model.dataloading.decoding",
    "model.training",
    "model.training.features",
    "model.training.probes",
)

# A subpackage may import those in its row, and itself.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "core": (),
    "core.statistics": ("core",),
    "storage": ("core",),
    "video": BASE,
    "video.pose": (*BASE, "video"),
    "video.trajectories": (*BASE, "video"),
    "engine": ("core",),
    "sources": _MEDIA,
    "dataset": (*_MEDIA, "sources"),
    "dataset.similarity": (*_MEDIA, "dataset"),
    "dataset.split": (*BASE, "sources", "dataset"),
    "dataset.derived": (*_MEDIA, "sources", "dataset"),
    "dataset.fetch": (*_MEDIA, "sources", "dataset"),
    "dataset.ingest": (*_MEDIA, "sources", "dataset", "dataset.fetch", "dataset.similarity", "dataset.split"),
    "dataset.quality": (*_MEDIA, "sources", "dataset", "dataset.similarity", "dataset.split"),
    "dataset.upkeep": (*BASE, "sources", "dataset", "dataset.export"),
    "dataset.export": (*_MEDIA, "dataset", "dataset.quality", "dataset.similarity", "dataset.split"),
    # `model` and `report` never import `dataset` or each other: they meet through files.
    "model.hardware": (*BASE, "engine"),
    # A model may have a probe in the place of its head, and come from the Hub.
    "model.networks": (*BASE, "model.hardware", "model.networks.heads", "model.networks.hub"),
    "model.networks.heads": (*BASE, "model.networks"),
    "model.networks.hub": (*BASE, "model.networks"),
    "model.dataloading": (*BASE, "model.hardware", "model.networks", "model.dataloading.decoding"),
    "model.dataloading.decoding": (*BASE, "model.dataloading"),
    # Features may be computed on a cluster.
    "model.training.features": _TRAINING,
    "model.training.probes": _TRAINING,
    "model.training": _TRAINING,
    "model.evaluation": _TRAINING,
    "model.inference": (
        *BASE,
        "engine",
        "model.hardware",
        "model.networks",
        "model.networks.heads",
        "model.dataloading",
        "model.dataloading.decoding",
        "model.encoding",
    ),
    "model.encoding": (*BASE, "model.dataloading"),
    "model.runs": (*_TRAINING, "model.encoding", "model.evaluation"),
    "model.tuning": (*_TRAINING, "model.evaluation", "model.runs"),
    "report.statistics": ("core",),
    "report.results": (*BASE, "report.statistics"),
    "report.plots": (*BASE, "report.statistics", "report.results"),
    "report.pages": (*BASE, "report.statistics", "report.results", "report.plots"),
    "report.submitted": (*BASE, "report.results"),
    "report": (*BASE, *REPORT),
    "demo": (*_MEDIA, "sources", *DATASET, *MODEL, *REPORT),
    # The demo's corpus and video site serve the quick form of the reproduction.
    "reproduction": (*BASE, *DATASET, *MODEL, *REPORT, "demo"),
    # It shows runs as their reports do, and reads and writes timelines.
    "app": (*BASE, "video", "sources", "model.inference", *REPORT, "app.explore"),
    "app.explore": (*BASE, "video", "video.pose", "model.encoding", "app"),
    # Modules of the package itself: `status`, `doctor`.
    "": (*_MEDIA, "sources", *DATASET, *MODEL, *REPORT, "cli"),
    **dict.fromkeys(
        CLI, (*_MEDIA, "sources", *DATASET, *MODEL, *REPORT, "demo", "reproduction", "app", "", *CLI)
    ),
}

# The only place that may import each of these packages.
ONLY_IN = {
    "typer": "cli",
    "starlette": "app/",
    "uvicorn": "app/server.py",
    "rich": "cli",
    "yt_dlp": "sources/youtube",
    "mmaction": "model/networks/mmaction.py",
    "mmengine": "model/networks/mmaction.py",
    "ray": "engine/ray.py",
    "transformers": "model/networks/hub",
    "timm": "model/networks/hub/backbone.py",
    "hiera": "model/networks/hub/backbone.py",
    "huggingface_hub": "model/networks/hub/repository.py",
    "torchcodec": "model/dataloading/decoding",
    "ai_edge_litert": "video/pose/runtimes.py",
}
