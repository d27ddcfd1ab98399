"""The card that lies in an export: what is in it, and the lines that read it."""

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

# How each format is read, and where the hub finds its parts.
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

A sample is the video's bytes, its class index, and what else is known of it.""",
}
_FILES = {"videofolder": "{hub}/**", "parquet": "data/{hub}-*.parquet", "webdataset": "{part}/*.tar"}


def export_card(
    form: str,
    split: str,
    split_hash: str,
    rows: Sequence[Row],
    labels: Sequence[str],
    items: Sequence[Item],
) -> str:
    """Render the card of an export, with the header by which the hub finds the parts."""
    counts = Counter((row.part, row.label_index) for row in rows)
    totals = Counter(row.part for row in rows)
    parts = [part for part in Subset if totals[part]]
    config = ["configs:", "- config_name: default", "  data_files:"]
    for part in parts:
        pattern = _FILES[form].format(hub=HUB_NAMES[part], part=part)
        config += [f"  - split: {HUB_NAMES[part]}", f"    path: {pattern}"]
    num_copies = sum(bool(row.clip.parent_id) for row in rows)
    copies = f", {num_copies:,} of them augmented copies of training clips" if num_copies else ""
    num_shards = sum(item.path.startswith("train/") for item in items)
    size = sum(row.clip.num_bytes for row in rows)
    table = [row_of(["index", "class", *parts]), row_of(["---:", "---", *["---:"] * len(parts)])]
    table += (
        row_of([str(i), escaped(label), *(f"{counts[part, i]:,}" for part in parts)])
        for i, label in enumerate(labels)
    )
    table.append(row_of(["", "**all**", *(f"{totals[part]:,}" for part in parts)]))
    lines = [
        *header(len(rows), config),
        "# Dance clips",
        "",
        f"{len(rows):,} clips of {len(labels)} classes{copies}: {size / 1e9:.2f} GB. "
        f"Split `{split}`, hash `{split_hash}`.",
        "",
        *table,
        "",
        "## Reading",
        "",
        _READING[form].format(last=num_shards - 1),
        "",
        "## Terms",
        "",
        TERMS,
        "",
    ]
    return "\n".join(lines)
