"""BibTeX of what a run used: the model, the datasets and the software."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from dancecli.core.labels import MANIFESTS

REFERENCES = MANIFESTS / "references.toml"
# Every run goes through these.
SOFTWARE = ("mmaction2", "dance")


def references(run: Mapping[str, Any], datasets: Iterable[str]) -> str:
    """Write the BibTeX entries of a run's model and of the datasets of its clips.

    What is not known is named in a comment, so that it is not forgotten.

    Args:
        run: the run's record.
        datasets: names of datasets, as the clips have them.
    """
    known = tomllib.loads(REFERENCES.read_text(encoding="utf-8"))
    model = run.get("model") or {}
    name = str(model.get("pretrain") or "")
    missing, keys = [], list(known["models"].get(name, ()))
    if not keys:
        missing.append(f"model {name or model.get('backbone') or 'unknown'}")
    # Most weights of MMAction2's zoo, and DeepMind's, have seen Kinetics-400; inflated 2-D ones have not.
    weights = run.get("weights") or {}
    source = str(weights.get("source", ""))
    if source.startswith("hf:"):
        missing.append(f"data of the weights {source}: see the model card")
    elif weights and "imagenet" not in str(weights.get("name", "")).lower():
        keys += known["weights"].get(name, known["datasets"]["kinetics400"])
    for dataset in sorted({dataset for dataset in datasets if dataset}):
        fitting = [prefix for prefix in known["datasets"] if dataset.startswith(prefix)]
        if fitting:
            keys += known["datasets"][max(fitting, key=len)]
        else:
            missing.append(f"dataset {dataset}")
    entries = [known["entries"][key].strip() for key in dict.fromkeys((*keys, *SOFTWARE))]
    notes = [f"% no reference is known here for the {what}" for what in missing]
    return "\n\n".join([*notes, *entries]) + "\n"
