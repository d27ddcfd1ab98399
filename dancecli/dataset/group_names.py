"""How people write the names of groups: which spellings are one name, and which of them is kept.

The clips of one dancer must stay together, however a spreadsheet program or a Mac writes the name.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dancecli.core.records import NEAR_DUPLICATE, Group
from dancecli.core.text import first_of, pluralize

_SHOWN = 3
# A kind and a name of it.
Named = tuple[str, str]


def tidy_name(text: str) -> str:
    """Write a kind or a name in NFC, with single blanks."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def fold_name(text: str) -> str:
    """Reduce a name to what its spellings share: those that differ by Unicode form, case and blanks alone."""
    return unicodedata.normalize("NFC", tidy_name(text).casefold())


def fold_group(kind: str, name: str) -> Named:
    """Give what the spellings of a group share; those of `dance dedup` are named after videos, exactly."""
    return (kind, name) if kind == NEAR_DUPLICATE else (tidy_name(kind), fold_name(name))


@dataclass(frozen=True)
class Spellings:
    """Which spelling of each group is kept.

    Attributes:
        kept: by kind and name, those that are kept as they are left out.
        notes: the spellings that people would tell apart, one sentence per kind.
    """

    kept: dict[Named, Named]
    notes: tuple[str, ...]

    def of(self, kind: str, name: str) -> Named:
        """Give the kind and the name under which a group is kept."""
        return self.kept.get((kind, name), (kind, name))

    def respell(self, rows: Iterable[Group]) -> list[Group]:
        """Write all groups in the spelling that is kept. Sorted, each once."""
        found = set()
        for row in rows:
            kind, name = self.of(row.kind, row.group)
            found.add(row if (kind, name) == (row.kind, row.group) else replace(row, kind=kind, group=name))
        return sorted(found)


def find_spellings(named: Iterable[Named]) -> Spellings:
    """Choose the commonest spelling of each group.

    Args:
        named: kind and name of each group of each clip.
    """
    counts: dict[Named, Counter[Named]] = defaultdict(Counter)
    for one, count in Counter(named).items():
        counts[fold_group(*one)][one] += count
    kept: dict[Named, Named] = {}
    told: dict[str, list[str]] = defaultdict(list)
    for (kind, _), spellings in sorted(counts.items()):
        if kind == NEAR_DUPLICATE:
            continue
        tidy = Counter[str]()
        for (_, name), count in spellings.items():
            tidy[tidy_name(name)] += count
        commonest = _commonest(tidy)
        chosen = kind, commonest
        kept |= {one: chosen for one in spellings if one != chosen}
        told[kind] += [f"{name!r} is read as {commonest!r}" for name in sorted(tidy) if name != commonest]
    return Spellings(kept, tuple(f"{kind}: {first_of(texts)}" for kind, texts in told.items() if texts))


def replaced_names(before: Iterable[Group], given: Iterable[Group]) -> tuple[str, ...]:
    """Say which clips lose a group because others of its kind are given: one sentence per kind."""
    old, new = _by_clip(before), _by_clip(given)
    told: dict[str, list[str]] = defaultdict(list)
    for kind, clip_id in sorted(old.keys() & new.keys()):
        names, others = old[kind, clip_id], new[kind, clip_id]
        if not names.keys() <= others.keys():
            lost, kept = (" and ".join(sorted(one.values())) for one in (names, others))
            told[kind].append(f"{lost} by {kept} (clip {clip_id})")
    return tuple(
        f"{kind} of {pluralize(len(texts), 'clip')} replaced: {first_of(texts, _SHOWN)}; "
        "list a clip with all its names to keep them"
        for kind, texts in told.items()
    )


def _by_clip(rows: Iterable[Group]) -> dict[tuple[str, str], dict[str, str]]:
    """Give the names of each kind and clip, by what their spellings share."""
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row in rows:
        found[row.kind, row.clip_id][fold_name(row.group)] = row.group
    return found


def _commonest(counts: Counter[str]) -> str:
    """Give the commonest spelling; of several rather one that is not in capitals."""
    return min(counts, key=lambda name: (-counts[name], name.isupper(), name))
