"""The official splits of published datasets: UCF-101, HMDB51, AIST, or a plain CSV.

* UCF-101 (`trainlist01.txt`, `testlist01.txt`): `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`;
  the file's name tells the subset.
* HMDB51 (`brush_hair_test_split1.txt`, one file per class): `NAME.avi 1` for training, `2` for
  testing, `0` for neither.
* AIST (`pose_train.txt`, `crossmodal_test.txt`): one sequence per line; the file's name tells the subset.
* CSV with a column that names clips or files and a column `split` or `subset`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from dancecli.core.csv_files import parse_csv, read_text
from dancecli.core.errors import InputError
from dancecli.core.records import Subset
from dancecli.dataset.clip_lookup import KEY_COLUMNS, ClipLookup

SUBSET_COLUMNS = ("split", "subset", "part")
_SUBSET_WORDS = {
    "train": Subset.TRAIN,
    "training": Subset.TRAIN,
    "val": Subset.VAL,
    "valid": Subset.VAL,
    "validate": Subset.VAL,
    "validation": Subset.VAL,
    "test": Subset.TEST,
    "testing": Subset.TEST,
}
_HMDB_FILE = re.compile(r".*_test_split\d+", re.IGNORECASE)
_HMDB_SUBSETS = {"0": None, "1": Subset.TRAIN, "2": Subset.TEST}
# Between a letter and none, or within `poseTrain`: `latest` and `festival` name no subset.
_EDGE = r"(?:(?<![A-Za-z])|(?![A-Za-z])|(?<=[a-z])(?=[A-Z]))"
_FILE_WORD = re.compile(
    rf"{_EDGE}((?i:train(?:ing)?|test(?:ing)?|val(?:id(?:ation)?)?))(?i:(?:list|set|split)s?)?{_EDGE}"
)


def official_subsets(lists: Iterable[Path], lookup: ClipLookup) -> dict[str, Subset]:
    """Return the subset that official lists give to each clip that they name, by clip id.

    Args:
        lists: files, or folders of `.txt` and `.csv` files.
        lookup: of the workspace's clips; rows that name none of them are ignored.

    Raises:
        InputError: a list cannot be read, is not in a known form, or gives a clip two subsets.
    """
    found: dict[str, Subset] = {}
    for path in _files(lists):
        for line, name, subset in _rows(path):
            if subset is None:
                continue
            for clip_id in lookup.find(name):
                if found.setdefault(clip_id, subset) != subset:
                    what = f"puts {name} in {subset}, which is in {found[clip_id]} already"
                    raise InputError.at(path, line, what, "give the lists of one official split only")
    return found


def subset_of_word(word: str) -> Subset | None:
    """Return the subset that a word of a list means; None if it means none."""
    return _SUBSET_WORDS.get(word.strip().lower())


def _files(lists: Iterable[Path]) -> Iterator[Path]:
    for path in lists:
        if not path.is_dir():
            yield path
            continue
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in (".txt", ".csv"))
        # Lists of classes stand beside UCF-101's lists of clips.
        named = [p for p in files if _FILE_WORD.search(p.stem) or p.suffix.lower() == ".csv"]
        if not named:
            raise InputError.at(path, None, "holds no list of train, val or test clips")
        yield from named


def _rows(path: Path) -> Iterator[tuple[int, str, Subset | None]]:
    """Yield the line, the name of a clip, and its subset."""
    text = read_text(path, "official split list")
    if path.suffix.lower() != ".txt":
        yield from _csv_rows(path, text)
        return
    hmdb = _HMDB_FILE.fullmatch(path.stem)
    word = None if hmdb else _FILE_WORD.search(path.stem)
    if not hmdb and not word:
        raise InputError.at(
            path,
            None,
            "does not say which subset it lists",
            "its name must contain the word train, val or test; or give a CSV with the columns file,split",
        )
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if word:
            yield number, words[0], subset_of_word(word[1])
        elif len(words) == 2 and words[1] in _HMDB_SUBSETS:
            yield number, words[0], _HMDB_SUBSETS[words[1]]
        else:
            raise InputError.at(path, number, "is not NAME.avi 0, 1 or 2, as HMDB51 writes it")


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, str, Subset | None]]:
    table = parse_csv(path, text)
    key, column = table.first_of(KEY_COLUMNS), table.first_of(SUBSET_COLUMNS)
    if not key or not column:
        raise InputError.at(
            path, 1, "must have a column that names clips and a column split", "such as file,split"
        )
    for row in table.rows:
        subset = subset_of_word(row.cells[column])
        if subset is None and row.cells[column]:
            what = f"split {row.cells[column]!r} is not train, val or test"
            raise InputError.at(path, row.line, what)
        yield row.line, row.cells[key], subset
