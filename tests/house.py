"""The layout as data: which room may import which. `test_house` holds it; the docs draw it."""

from __future__ import annotations

GROUND = {"errors", "schema", "labels", "augmentation", "flowform"}
STORES = {"workspace", "manifest", "ledger"}
# A room may import the rooms in its row, and itself.
MAY_IMPORT = {
    **dict.fromkeys(GROUND | STORES, GROUND | STORES),
    "media": GROUND | STORES,
    "engine": GROUND | STORES,
    "sources": GROUND | STORES | {"media", "engine"},
    "dataset": GROUND | STORES | {"media", "engine", "sources"},
    # Features may be computed over a cluster.
    "model": GROUND | STORES | {"engine"},
    "report": GROUND | STORES,
    "doctor": GROUND | STORES | {"media", "engine", "sources", "dataset", "model", "report"},
    "status": GROUND | STORES,
    "demo": GROUND | STORES | {"media", "engine", "sources", "dataset", "model", "report"},
    # A chain of commands like the demo, whose corpus and video site its quick form takes.
    "replay": GROUND | STORES | {"dataset", "model", "report", "demo"},
    "cli": GROUND
    | STORES
    | {"media", "engine", "sources", "dataset", "model", "report", "demo", "doctor", "status", "replay"},
    "__init__": set(),
    "__main__": {"cli"},
}
# What only one room may import.
DOORS = {
    "typer": "cli",
    "rich": "cli",
    "yt_dlp": "sources/youtube.py",
    "mmaction": "model/networks/mmaction.py",
    "mmengine": "model/networks/mmaction.py",
    "ray": "engine/ray.py",
}
