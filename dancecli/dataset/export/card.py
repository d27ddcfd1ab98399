"""The card of an export: what is in it, and how to read it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from dancecli.core.records import Subset
from dancecli.dataset.export.datasheet import fact_lines
from dancecli.dataset.export.facts import ExportFacts
from dancecli.dataset.export.formats import HUB_NAMES, TABLE, Item, Row
from dancecli.dataset.export.licenses import may_be_shared
from dancecli.dataset.quality.card import header, terms

_WITHOUT_VIDEOS = ("lists", "fingerprint")

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
    "lists": """\
`train.txt`, `val.txt` and `test.txt` name a clip's file in the workspace and its class index; the `.csv`
files have the facts of each clip with its checksum. There are no videos in this folder: `dance fetch` gets
those of a site from there, and what was imported is with whoever has the files.""",
    "fingerprint": """\
```bash
dance dedup FOLDER --against fingerprint.csv
```

finds the videos of a folder that show a test clip of this split, re-encoded, scaled or mirrored. There are no
pictures in this folder, and none can be made from it.""",
}
_FILES = {
    "videofolder": "{hub}/**",
    "parquet": "data/{hub}-*.parquet",
    "webdataset": "{subset}/*.tar",
    "lists": "{subset}.csv",
    "fingerprint": "fingerprint.csv",
}


def export_card(
    form: str,
    facts: ExportFacts,
    rows: Sequence[Row],
    items: Sequence[Item],
) -> str:
    """Render the card of an export, with the header by which the hub finds the subsets."""
    config = ["configs:", "- config_name: default", "  data_files:"]
    for subset in Subset:
        if any(row.subset is subset for row in rows):
            pattern = _FILES[form].format(hub=HUB_NAMES[subset], subset=subset)
            config += [f"  - split: {HUB_NAMES[subset]}", f"    path: {pattern}"]
    num_shards = sum(item.path.startswith("train/") for item in items)
    titles = ("Export", "Clips by class", "Hashes", "Clips by license")
    lines = [
        *header(len(rows), config if rows else ()),
        "# Dance clips",
        "",
        *chain.from_iterable(fact_lines(facts.tables[title]) for title in titles),
        f"Credit each clip by its `title`, `uploader`, `upload_date` and `license` in `{TABLE}`. More is in "
        "[the datasheet](DATASHEET.md). `dance verify --card README.md` checks every figure against the "
        "workspace.",
        "",
        "## Reading",
        "",
        _READING[form].format(last=num_shards - 1),
        "",
        "## Terms",
        "",
        *_not_to_share(form, rows),
        *terms(facts.tables["Clips by annotation list"].rows, facts.tables["Clips by source"].rows),
        "",
    ]
    return "\n".join(lines)


def closed_clips(form: str, rows: Sequence[Row]) -> int:
    """Count the clips whose video an export has and whose license is not known to allow passing it on."""
    return 0 if form in _WITHOUT_VIDEOS else sum(not may_be_shared(row.clip.license) for row in rows)


def _not_to_share(form: str, rows: Sequence[Row]) -> list[str]:
    num_closed = closed_clips(form, rows)
    if not num_closed:
        return []
    what = f"**Do not publish this folder**: {num_closed} of its {len(rows)} videos have no license that is"
    return [f"{what} known to allow passing them on.", "Publish `dance export --format lists` instead.", ""]
