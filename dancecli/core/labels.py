"""Label sets (ordered names and their class indices) and maps from another dataset's names to ours.

Nothing else in the package depends on dance styles: another label file makes this a suite for
cooking or sport.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unicodedata import category

from dancecli.core.csv_files import check_unique, csv_records, text_lines
from dancecli.core.errors import InputError
from dancecli.core.hashing import sha256_text

# In the wheel the folder is inside the package, in a checkout beside it.
_HERE = Path(__file__).parent.parent
MANIFESTS = next(
    (p for p in (_HERE / "manifests", _HERE.parent / "manifests") if p.is_dir()), _HERE / "manifests"
)
DEFAULT_LABELS = MANIFESTS / "label-sets" / "dance19.txt"


@dataclass(frozen=True)
class LabelSet:
    """Ordered names; the position of a name, counted from 0, is its class index."""

    names: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> LabelSet:
        """Read a label file: one name per line, UTF-8; empty lines and lines starting with `#` are skipped.

        Raises:
            InputError: the file is missing, empty, not UTF-8, repeats a name, or has one with control
                characters, which timelines and terminals cannot show.
        """
        first_row: dict[str, int] = {}
        for row, line in enumerate(text_lines(_read_text(path, "label file")), start=1):
            name = line.strip()
            if not name or name.startswith("#"):
                continue
            if any(category(letter) in ("Cc", "Zl", "Zp") for letter in name):
                raise InputError.at(
                    path, row, f"label {name!r} holds a control character", "type the line anew"
                )
            if name in first_row:
                raise InputError.at(
                    path, row, f"label {name!r} repeats line {first_row[name]}", "remove one of the two lines"
                )
            first_row[name] = row
        if not first_row:
            raise InputError.at(path, None, "the label file has no label", "write one label per line")
        return cls(tuple(first_row))

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def index(self, name: str) -> int:
        """Return the class index of a name.

        Raises:
            InputError: the name is not in the set.
        """
        try:
            return self.names.index(name)
        except ValueError:
            raise InputError(
                f"label {name!r} is not one of the {len(self)} labels of the label set", "see `dance stats`"
            ) from None

    @property
    def digest(self) -> str:
        """SHA-256 of the names in their order: two runs with the same digest share class indices."""
        return sha256_text("\n".join(self.names))


@dataclass(frozen=True)
class LabelMap:
    """Mapping from another dataset's label names to ours; an empty name excludes the class."""

    target: dict[str, str]

    @classmethod
    def read(cls, path: Path, labels: LabelSet) -> LabelMap:
        """Read a label map: CSV with the columns `from,to,reason`; an empty `to` excludes the class.

        Raises:
            InputError: a column is missing, a name is repeated, a `to` is not in `labels`, or a
                line has no reason (a map is reviewed, so each line states why).
        """
        records = csv_records(path, _read_text(path, "label map"), ",")
        _, header = next(records, (1, []))
        check_unique(path, 1, header)
        missing = {"from", "to", "reason"} - set(header)
        if missing:
            raise InputError.at(path, 1, f"the label map lacks the column {sorted(missing)[0]!r}")
        target: dict[str, str] = {}
        for row, cells in records:
            line = dict(zip(header, cells, strict=False))
            theirs, ours = line.get("from", "").strip(), line.get("to", "").strip()
            if theirs in target:
                raise InputError.at(path, row, f"{theirs!r} is mapped twice", "remove one of the two lines")
            if ours and ours not in labels:
                raise InputError.at(path, row, f"{ours!r} is not in the label set")
            if not line.get("reason", "").strip():
                raise InputError.at(
                    path, row, f"{theirs!r} has no reason", "give the reason in the third column"
                )
            target[theirs] = ours
        return cls(target)


def _read_text(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError.at(path, None, f"{what} not found") from None
    except IsADirectoryError:
        raise InputError.at(path, None, f"is a directory, not a {what}") from None
    except UnicodeDecodeError as error:
        raise InputError.at(
            path, None, f"is not UTF-8 text (byte {error.start})", "save it as UTF-8 (in Excel: CSV UTF-8)"
        ) from None
