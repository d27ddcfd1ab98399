"""The card of an export: what is in it, and how to read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dancecli.core.records import Subset
from dancecli.dataset.export.formats import HUB_NAMES, Item, Row
from dancecli.dataset.quality.card import TERMS, escaped, header, row_of

_HUB = """\
```python
from datasets import load_dataset

clips = load_dataset("path/to/this/folder")
```

`clips["train"][0]["video"]` is decoded by torchcodec; `cast_column("video", Video(decode=False))` gives the
file instead."""

# How each format is read, and where the hub finds its subsets.
_READING = {
    "videofolder": _HUB + " `label_index` is the class index.",
    "parquet": _HUB.format(path="path/to/this/folder")
    + " `label` is the class index, with the names beside it.",
    "webdataset": """\
```python
import webdataset as wds

shards = "train/train-{{000000..{last:06d}}}.tar"
clips = wds.WebDataset(shards, shardshuffle=100).shuffle(100).to_tuple("mp4", "cls", "json")
```

A sample is the video's bytes, its class index, and its metadata.""",
}
_FILES = {"videofolder": "{hub}/**", "parquet": "data/{hub}-*.parquet", "webdataset": "{subset}/*.tar"}


def export_card(
    form: str,
    split: str,
    split_hash: str,
    rows: Sequence[Row],
    labels: Sequence[str],
    items: Sequence[Item],
) -> str:
    """Render the card of an export, with the header by which the hub finds the subsets."""
    counts = Counter((row.subset, row.label_index) for row in rows)
    totals = Counter(row.subset for row in rows)
    subsets = [subset for subset in Subset if totals[subset]]
    config = ["configs:", "- config_name: default", "  data_files:"]
    for subset in subsets:
        pattern = _FILES[form].format(hub=HUB_NAMES[subset], subset=subset)
        config += [f"  - split: {HUB_NAMES[subset]}", f"    path: {pattern}"]
    num_augmented = sum(bool(row.clip.parent_id) for row in rows)
    augmented = f", {num_augmented:,} of them augmented training clips" if num_augmented else ""
    num_shards = sum(item.path.startswith("train/") for item in items)
    size = sum(row.clip.num_bytes for row in rows)
    table = [row_of(["index", "class", *subsets]), row_of(["---:", "---", *["---:"] * len(subsets)])]
    table += (
        row_of([str(i), escaped(label), *(f"{counts[subset, i]:,}" for subset in subsets)])
        for i, label in enumerate(labels)
    )
    table.append(row_of(["", "**all**", *(f"{totals[subset]:,}" for subset in subsets)]))
    lines = [
        *header(len(rows), config),
        "# Dance clips",
        "",
        f"{len(rows):,} clips of {len(labels)} classes{augmented}: {size / 1e9:.2f} GB. "
        f"Split `{split}`, hash `{split_hash}`.",
        "",
        *table,
        "",
        "## Reading",
        "",
        _READING[form].format(last=num_shards - 1),
        "",
        *_attribution(rows),
        "## Terms",
        "",
        TERMS,
        "",
    ]
    return "\n".join(lines)


def _attribution(rows: Sequence[Row]) -> list[str]:
    """List the licenses of the source videos; the credit of each clip is in its metadata."""
    licenses = Counter(row.clip.license for row in rows)
    if not any(licenses):
        return []
    lines = ["## Attribution", "", row_of(["license", "clips"]), "|---|---:|"]
    lines += (
        row_of([escaped(name) or "(not stated)", f"{count:,}"])
        for name, count in sorted(licenses.items(), key=lambda item: (-item[1], item[0]))
    )
    credit = "Credit each clip by its `title`, `uploader`, `upload_date` and `license` in the metadata."
    return [*lines, "", credit, ""]
