"""The clips of a workspace as a table that answers the app's questions: which clips, in which order."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from dancecli.app.calls import calls_of, read_calls
from dancecli.app.explore.explorer import Explorer
from dancecli.app.explore.next_labels import BATCH
from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Clip, SplitClip, Suspect
from dancecli.storage import tables
from dancecli.storage.content import BARS_SHARE, BLACK_SHARE, FROZEN_SHARE
from dancecli.storage.corrections import Field, corrections_file, current, read_corrections
from dancecli.storage.files import file_state
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Places = npt.NDArray[np.intp]

_SHORT_S = 2.0
FLAGS = ("black", "static", "bars", "short", "noted")
SORTS = {
    "id": ("clip_id", True),
    "label": ("label", True),
    "longest": ("seconds", False),
    "shortest": ("seconds", True),
    "surest": ("score", False),
    "least-sure": ("score", True),
    "worst": ("true_score", True),
    "suspects": ("suspicion", False),
}
# With one of these a suspect has been looked at.
_REVIEWED = frozenset({Field.LABEL, Field.CONFIRMED, Field.EXCLUDE})
# What the app shows of a clip in the grid.
_SHOWN = (
    "clip_id", "label", "subset", "group", "seconds", "predicted", "score", "right", "flags", "changed",
    "suspect",
)  # fmt: skip


@dataclass(frozen=True)
class Query:
    """Which clips to show, in which order.

    Attributes:
        label, subset, dataset, source: only clips with this value; empty for all.
        flag: one of `FLAGS`; empty for all.
        predicted: only clips that the run took for this label.
        outcome: `right` or `wrong` by the run's prediction; empty for all.
        changed: `yes` for corrected clips, `excluded` for those left out; empty for all.
        suspect: only the suspects found this way, such as `label`, that nobody has looked at since.
        a, b: two runs, to compare them on the test clips of both.
        between: `a` or `b`, only clips that this one alone got right; `both` or `neither`; empty for all.
        text: parts of the id, label, title, note or path, all of which must occur.
        like: a clip id: only clips with features, those that look most like it first.
        moves: a clip id: only clips with poses, those that move most like it first.
        within: only clips within a lasso on the map; see `ClipMap.inside`.
        next: `yes` for the clips to label next, in their order; empty for all.
        sort: a key of `SORTS`; without a say where `like`, `moves` or `next` is given.
    """

    label: str = ""
    subset: str = ""
    dataset: str = ""
    source: str = ""
    flag: str = ""
    predicted: str = ""
    outcome: str = ""
    changed: str = ""
    suspect: str = ""
    a: str = ""
    b: str = ""
    between: str = ""
    text: str = ""
    like: str = ""
    moves: str = ""
    within: str = ""
    next: str = ""
    sort: str = "id"

    @classmethod
    def of(cls, words: Mapping[str, str]) -> Query:
        """Read a query from an address; other words in it are ignored."""
        return cls(**{f.name: words[f.name] for f in fields(cls) if f.name in words})


class Catalog:
    """The original clips of a workspace, with split, predictions and corrections beside them.

    Args:
        workspace: whose clips.
        split: the subsets shown are those of this split; None for the latest, if there is one.
        run: the predictions shown are those of this run; None for none.

    Raises:
        WorkspaceError: there are no clips, or no such split or run.
    """

    def __init__(self, workspace: Workspace, split: str | None = None, run: str | None = None) -> None:
        self.workspace, self.run, self._asked_split = workspace, run, split
        self._tables = self._table_states()
        self.split = split or next(reversed(workspace.splits()), None)
        self._found: tuple[Query, Places] | None = None
        self._compared: dict[str, tuple[object, pd.DataFrame]] = {}
        self._text: pd.Series[str] | None = None
        self.scores: tuple[pd.Index[Any], np.ndarray[Any, Any]] | None = None
        self.frame = self._read_clips()
        self.labels = self._read_labels()
        self._add_subsets()
        self._add_predictions()
        self._add_suspects()
        self.explorer = Explorer(workspace, self.frame, run, self.scores)
        self.refresh()

    def catch_up(self) -> None:
        """Read again what other commands or people have written since it was read; all of it, or nothing.

        Raises:
            WorkspaceError: there are no clips any more, or not the split or run.
            InputError: a table is damaged.
        """
        if self._table_states() != self._tables:
            new = Catalog(self.workspace, self._asked_split, self.run)
            same = new.frame.index.equals(self.frame.index) and new.scores is None and self.scores is None
            if same and new.frame["sha256"].equals(self.frame["sha256"]):
                # What was computed of the same clips is of use, and a map that somebody looks at stays.
                new.explorer = self.explorer
            self.__dict__.update(new.__dict__)
        elif file_state(corrections_file(self.workspace)) != self._corrections:
            self.refresh()

    def _table_states(self) -> list[object]:
        split = self._asked_split or next(reversed(self.workspace.splits()), None)
        of_split = [self.workspace.split(split)] if split else []
        of_run = [RunFolder(self.workspace.run(self.run)).predictions] if self.run else []
        paths = [self.workspace.clips, self.workspace.segments, self.workspace.suspects, *of_split, *of_run]
        return [(path, file_state(path)) for path in paths]

    def refresh(self) -> None:
        """Read the corrections again: other people may have written some."""
        import pandas as pd

        self._corrections = file_state(corrections_file(self.workspace))
        changes = current(read_corrections(self.workspace))
        self.changes = changes
        self._found = None
        frame = self.frame
        wanted = pd.Series({i: values.get(Field.LABEL) for i, values in changes.items()}, dtype=object)
        label = wanted.reindex(frame.index)
        frame["label"] = label.where(label.notna(), frame["listed_label"])
        frame["excluded"] = frame.index.isin([i for i, values in changes.items() if Field.EXCLUDE in values])
        frame["changed"] = frame.index.isin(list(changes))
        reviewed = [i for i, values in changes.items() if values.keys() & _REVIEWED]
        frame["reviewed"] = frame.index.isin(reviewed)
        frame["suspect"] = frame["found_by"].where(~frame["reviewed"], "")

    def find(self, query: Query) -> pd.DataFrame:
        """Give the clips of a query, in its order, indexed by clip id.

        Raises:
            WorkspaceError: there are no features or poses to compare clips by, or none of the clip of `like`
                or `moves`.
            InputError: `within` is of another map.
            UnfinishedError: what the query asks for is being computed.
        """
        return self.frame.iloc[self.places(query)]

    def places(self, query: Query) -> Places:
        """Give the places in `frame` of the clips of a query, in its order; see `find`.

        Of 100,000 clips a copy of the table takes longer than the search, and a page needs 300 of them.

        Returns:
            Whole numbers, of shape (clips,).
        """
        import numpy as np

        # The next page of a query is likely asked for next; a map or a queue may be drawn anew.
        if self._found is not None and self._found[0] == query and not (query.within or query.next):
            return self._found[1]
        mask = self.mask(query)
        places: Places = np.flatnonzero(mask)
        if query.next:
            places = self.frame.index.get_indexer(self.explorer.next_to_label(self.frame).index)
            places = places[mask[places]]
        elif query.like:
            places = places[self.explorer.by_look(self.frame.index[places], query.like)]
        elif query.moves:
            places = places[self.explorer.by_movement(self.frame.index[places], query.moves)]
        else:
            column, ascending = SORTS.get(query.sort, SORTS["id"])
            if column != "clip_id":  # the table is in the order of ids
                values = self.frame[column].iloc[places].reset_index(drop=True)
                order = values.sort_values(ascending=ascending, kind="stable", na_position="last").index
                places = places[order]
        self._found = (query, places)
        return places

    def rows(self, frame: pd.DataFrame, query: Query = Query()) -> list[dict[str, Any]]:
        """Give what the grid shows of clips, as JSON; of two compared runs, what each took them for."""
        shown = frame.reset_index()[[*_SHOWN, "excluded"]]
        if query.a and query.b:
            for side, calls in zip("ab", self._pair(query.a, query.b, frame), strict=True):
                shown[f"by_{side}"] = calls["predicted"].fillna("").to_numpy()
                shown[f"right_{side}"] = calls["right"].eq(True).to_numpy()
        return [_plain(row) for row in shown.to_dict("records")]

    def between(self, query: Query) -> dict[str, int]:
        """Count the test clips that both, one or none of two runs got right; empty where none are compared.

        Raises:
            WorkspaceError: there is no such run.
            InputError: one has no predictions.
        """
        if not (query.a and query.b):
            return {}
        return {key: int(mask.sum()) for key, mask in self._sides(query).items()}

    def _sides(self, query: Query) -> dict[str, np.ndarray[Any, Any]]:
        a, b = (calls["right"] for calls in self._pair(query.a, query.b, self.frame))
        known = (a.notna() & b.notna()).to_numpy()
        ours, theirs = a.eq(True).to_numpy(), b.eq(True).to_numpy()
        return {
            "a": known & ours & ~theirs,
            "b": known & ~ours & theirs,
            "both": known & ours & theirs,
            "neither": known & ~ours & ~theirs,
        }

    def _pair(self, a: str, b: str, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Give what two runs took some clips for, by the labels in force if any of their own differ."""
        one, other = self._calls(a), self._calls(b)
        both = one.index.intersection(other.index)
        in_force = bool((one.loc[both, "true"] != other.loc[both, "true"]).any())
        one, other = one.reindex(frame.index), other.reindex(frame.index)
        if in_force:
            one, other = (
                calls.assign(right=calls["predicted"].eq(frame["label"]).where(calls["true"].notna()))
                for calls in (one, other)
            )
        return one, other

    def _calls(self, run: str) -> pd.DataFrame:
        """Give what a run took its test clips for; read again when the run has changed."""
        path = RunFolder(self.workspace.run(run)).predictions
        state = file_state(path)
        known = self._compared.get(run)
        if known is None or known[0] != state:
            known = self._compared[run] = (state, calls_of(self.workspace, run))
        return known[1]

    def details(self, clip_id: str) -> dict[str, Any]:
        """Give all that is known of one clip, as JSON.

        Raises:
            KeyError: there is no such clip.
        """
        row = self.frame.loc[clip_id]
        found = _plain({"clip_id": clip_id} | dict(row.items()))
        found["corrections"] = self.changes.get(clip_id, {})
        return found

    def facets(self) -> dict[str, dict[str, int]]:
        """Count the clips by what they can be filtered by."""
        frame = self.frame
        counts = {
            name: {str(key): int(n) for key, n in frame[name].value_counts().items() if key != ""}
            for name in ("label", "subset", "dataset", "source", "predicted")
        }
        found = frame.loc[frame["suspect"] != "", "suspect"].str.split(", ").explode()
        counts["suspect"] = {str(key): int(n) for key, n in found.value_counts().items()}
        counts["flag"] = {flag: int(frame[flag].sum()) for flag in FLAGS if frame[flag].any()}
        counts["changed"] = {"yes": int(frame["changed"].sum()), "excluded": int(frame["excluded"].sum())}
        if self.explorer.can_choose:
            counts["next"] = {"yes": min(BATCH, int((~frame["reviewed"]).sum()))}
        if self.run:
            known = frame["predicted"] != ""
            right = int(frame.loc[known, "right"].sum())
            counts["outcome"] = {"right": right, "wrong": int(known.sum()) - right}
        return counts

    def mask(self, query: Query) -> np.ndarray[Any, Any]:
        """Tell which clips the filters of a query leave; see `find`."""
        import numpy as np

        frame = self.frame
        mask = np.ones(len(frame), bool)
        for name in ("label", "subset", "dataset", "source", "predicted"):
            if wanted := getattr(query, name):
                mask &= (frame[name] == wanted).to_numpy()
        if query.suspect:
            mask &= frame["suspect"].str.contains(query.suspect, regex=False).to_numpy()
        if query.flag in FLAGS:
            mask &= frame[query.flag].to_numpy()
        if query.outcome:
            mask &= ((frame["predicted"] != "") & (frame["right"] == (query.outcome == "right"))).to_numpy()
        if query.changed:
            mask &= frame["excluded" if query.changed == "excluded" else "changed"].to_numpy()
        if query.a and query.b:
            sides = self._sides(query)
            chosen = [sides[query.between]] if query.between in sides else list(sides.values())
            mask &= np.any(chosen, axis=0)
        if query.within:
            mask &= self.explorer.map.get().inside(query.within, frame.index)
        for word in query.text.casefold().split():
            mask &= self._searched().str.contains(word, regex=False).to_numpy()
        return mask

    def _read_labels(self) -> tuple[str, ...]:
        meta = tables.read_meta(self.workspace.segments)
        return tuple(json.loads(meta["labels"]))

    def _read_clips(self) -> pd.DataFrame:
        import numpy as np

        if not self.workspace.clips.exists():
            raise WorkspaceError(
                f"{self.workspace.root}: there are no clips yet", "run dance fetch or dance import"
            )
        frame: pd.DataFrame = tables.read_table(self.workspace.clips, Clip).to_pandas()
        frame = frame[frame["parent_id"] == ""].set_index("clip_id")
        # As every command of ours leaves it.
        if not frame.index.is_monotonic_increasing:
            frame = frame.sort_index()
        frame["listed_label"] = frame.pop("label")
        frame["seconds"] = frame["num_frames"] * frame["fps_den"] / frame["fps_num"]
        frame["black"] = frame["black_share"] > BLACK_SHARE
        frame["static"] = frame["frozen_share"] > FROZEN_SHARE
        frame["bars"] = frame["bars_share"] > BARS_SHARE
        frame["short"] = frame["seconds"] < _SHORT_S
        frame["noted"] = frame["note"] != ""
        flags = frame[list(FLAGS)].to_numpy()
        names: list[list[str]] = [[]] * len(frame)
        # Few clips have any.
        for i in np.flatnonzero(flags.any(axis=1)):
            names[i] = [name for name, on in zip(FLAGS, flags[i], strict=True) if on]
        frame["flags"] = names
        return frame

    def _searched(self) -> pd.Series[str]:
        """Give the text of each clip that is searched, made when it is first asked for."""
        if self._text is None:
            frame = self.frame
            text = frame.index.to_series() + "\n" + frame["listed_label"] + "\n" + frame["title"]
            self._text = (text + "\n" + frame["note"] + "\n" + frame["original_path"]).str.casefold()
        return self._text

    def _add_subsets(self) -> None:
        frame = self.frame
        frame["subset"], frame["group"] = "", frame["video_id"]
        if self.split:
            name = self.workspace.find_split(self.split)
            rows = tables.read_table(self.workspace.split(name), SplitClip, ("clip_id", "subset", "group"))
            known = rows.to_pandas().set_index("clip_id").reindex(frame.index)
            frame["subset"] = known["subset"].fillna("")
            frame["group"] = known["group"].fillna(frame["group"])

    def _add_predictions(self) -> None:
        import numpy as np

        frame = self.frame
        frame["predicted"], frame["right"] = "", False
        frame["score"], frame["true_score"] = np.nan, np.nan
        if not self.run:
            return
        calls, scores = read_calls(self.workspace, self.run)
        self.scores = (calls.index, scores)
        known = calls.reindex(frame.index)
        frame["predicted"] = known["predicted"].fillna("")
        frame["right"] = known["right"].eq(True)
        frame["score"], frame["true_score"] = known["score"], known["true_score"]

    def _add_suspects(self) -> None:
        """Add how each clip was found by `dance suspects`, what it suggests, and why."""
        import pandas as pd

        frame = self.frame
        path = self.workspace.suspects
        rows = tables.read(path, Suspect) if path.exists() else []
        found: dict[str, list[Suspect]] = {}
        for row in rows:
            found.setdefault(row.clip_id, []).append(row)
        columns: dict[str, dict[str, Any]] = {
            "suspicion": {i: max(row.probability for row in mine) for i, mine in found.items()},
            "found_by": {i: ", ".join(row.kind for row in mine if row.queued) for i, mine in found.items()},
            "suggested": {
                i: next((row.suggested for row in mine if row.queued and row.suggested), "")
                for i, mine in found.items()
            },
            "reason": {i: "; ".join(row.detail for row in mine if row.queued) for i, mine in found.items()},
        }
        for name, values in columns.items():
            kind = float if name == "suspicion" else object
            column = pd.Series(values, dtype=kind).reindex(frame.index)
            frame[name] = column if kind is float else column.fillna("")


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Turn NumPy's numbers into Python's, and what is no number into null."""
    found: dict[str, Any] = {}
    for key, value in row.items():
        plain = value.item() if hasattr(value, "item") else value
        found[str(key)] = None if isinstance(plain, float) and math.isnan(plain) else plain
    return found
