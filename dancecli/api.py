"""The Python API: a workspace as an object, data frames, splits as torch datasets, and runs.

Every command is a method of `Workspace` with the command's own names and defaults (`dance import`
is `import_`), which reads `dance.toml` as the command does. Nothing is printed: messages and
progress go to `on_message` and `on_progress`, and errors are raised as `DanceError`.
"""

from __future__ import annotations

import html
import inspect
import keyword
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from dancecli.cli import calling
from dancecli.cli.registry import COMMANDS
from dancecli.core.errors import DanceError, WorkspaceError
from dancecli.core.progress import OnMessage, OnProgress, Progress, Reporter, no_message, no_progress
from dancecli.core.records import SplitClip, Subset
from dancecli.storage import frames, tables
from dancecli.storage import workspace as storage
from dancecli.storage.runs import read_record

if TYPE_CHECKING:
    import pandas as pd

    from dancecli.model.dataloading.torch_dataset import ClipDataset
    from dancecli.report.statistics.metrics import Summary

__all__ = ["DanceError", "Progress", "Result", "Run", "Split", "Workspace", "create", "open"]

_REPORTING = (
    inspect.Parameter(
        "on_progress", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="OnProgress | None"
    ),
    inspect.Parameter(
        "on_message", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="OnMessage | None"
    ),
)


class Result(Mapping[str, Any]):
    """What a command found: the document that it prints with `--json`.

    Attributes:
        command: name of the command.
        document: the JSON document.
        complete: False where the command finished with something missing (exit code 3).
    """

    def __init__(self, command: str, document: Any, complete: bool) -> None:
        self.command, self.document, self.complete = command, document, complete

    @property
    def page(self) -> Path | None:
        """Path of the page that the command wrote, if it wrote one."""
        return Path(self["page"]) if "page" in self else None

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"<dance {self.command}: {', '.join(self) or len(self.document or ())}>"

    def _repr_html_(self) -> str:
        simple = {key: value for key, value in self.items() if not isinstance(value, dict | list)}
        return _html_table((), list(simple.items()))

    @property
    def _items(self) -> Mapping[str, Any]:
        return self.document if isinstance(self.document, dict) else {}


class Split:
    """A split of a workspace.

    Attributes:
        name: its name.
    """

    def __init__(self, workspace: storage.Workspace, name: str) -> None:
        self._workspace, self.name = workspace, workspace.find_split(name)

    @property
    def frame(self) -> pd.DataFrame:
        """Its clips: subset, group, label and checksum, indexed by clip_id."""
        return frames.split_frame(self._workspace, self.name)

    @property
    def proof(self) -> dict[str, Any]:
        """What shows that it leaks nothing: hash, seed, clips and groups per subset, shared groups.

        Of a cross-validation, clips and groups are counted per fold, which tests them: those of all
        folds of a repeat add up to all of the split.
        """
        from dancecli.dataset.split.assign import count_overlaps

        path = self._workspace.split(self.name)
        meta, rows = tables.read_meta(path), tables.read(path, SplitClip)
        groups_of: dict[str, list[str]] = {}
        for (_, name), group in sorted((part, row.group) for row in rows for part in _parts(row)):
            groups_of.setdefault(name, []).append(group)
        return {
            "hash": meta["split.hash"],
            "seed": int(meta["split.seed"]) if meta["split.seed"] else None,
            "clips": {name: len(groups) for name, groups in groups_of.items()},
            "groups": {name: len(set(groups)) for name, groups in groups_of.items()},
            "groups_in_several_subsets": count_overlaps(rows),
        }

    @property
    def lock(self) -> Path:
        """Path of its lock file, from which others rebuild the split."""
        return self._workspace.split_lock(self.name)

    def dataset(self, subset: str, recipe: str = "default", seed: int = 0) -> ClipDataset:
        """Return a torch Dataset of one subset; see `ClipDataset`.

        Raises:
            DanceError: torch or MMAction2 is not installed, or the split's lists do not match it.
        """
        from dancecli.model.dataloading.torch_dataset import ClipDataset

        return ClipDataset(self._workspace, self.name, subset, recipe, seed)

    def __repr__(self) -> str:
        return f"<split {self.name} of {self._workspace.root}>"

    def _repr_html_(self) -> str:
        proof = self.proof
        rows = [(name, n, proof["groups"][name]) for name, n in proof["clips"].items()]
        part = "fold" if (self.frame["folds"] != "").any() else "subset"
        shared = f"groups in several {part}s: {proof['groups_in_several_subsets']}; hash {proof['hash'][:12]}"
        return f"<b>split {html.escape(self.name)}</b>{_html_table((part, 'clips', 'groups'), rows)}{shared}"


class Run:
    """A trained or evaluated run.

    Attributes:
        name: its name.
        record: what `run.json` holds.
    """

    def __init__(self, workspace: storage.Workspace, name: str) -> None:
        self._workspace, self.name = workspace, name
        self.record = read_record(workspace, name)

    def predictions(self) -> pd.DataFrame:
        """Scores of every evaluated clip: subset, label, predicted, and a column per label.

        Raises:
            WorkspaceError: the run has no predictions.
        """
        return frames.predictions_frame(self._workspace, self.name, tuple(self.record["labels"]))

    def metrics(self) -> pd.DataFrame:
        """Top-1 and top-5 per subset: k of n clips, rate, and its 95 % interval (Wilson).

        Top-5 is left out where there are five classes or fewer.

        Raises:
            WorkspaceError: the run has no predictions.
        """
        import pandas as pd

        rows = []
        for subset, found in self._summaries().items():
            for metric, share in (("top-1", found.top1), ("top-5", found.top5)):
                if share and (e := share.estimate):
                    rows.append((subset, metric, share.k, share.n, e.rate, e.low, e.high))
        columns = ["subset", "metric", "k", "n", "rate", "low", "high"]
        return pd.DataFrame(rows, columns=columns).set_index(["subset", "metric"])

    def report(self, **options: Any) -> Path:
        """Write the run's report, and return the path of its page; options are those of `dance report`."""
        document, _ = calling.call("report", self._workspace, {"run": self.name, **options}, Reporter())
        return Path(document["page"])

    def __repr__(self) -> str:
        return f"<run {self.name}: {self.record['status']}>"

    def _repr_html_(self) -> str:
        """Headline and confusion matrix of the test set, or of val where there is no test."""
        title = f"<b>run {html.escape(self.name)}</b> ({html.escape(str(self.record['status']))})"
        if self.record["status"] != "done":
            return title
        summaries = self._summaries()
        subset, found = next((name, summaries[name]) for name in ("test", "val") if name in summaries)
        lines = [
            f"{subset} {metric}: {row['k']:.0f}/{row['n']:.0f} = {100 * row['rate']:.1f} % "
            f"(95 % interval {100 * row['low']:.1f} to {100 * row['high']:.1f})"
            for metric, row in self.metrics().loc[subset].iterrows()
        ]
        labels = self.record["labels"]
        present = [i for i, row in enumerate(found.confusion) if any(row)]
        # Clips may be taken for a class that has none here.
        called = [i for i in range(len(labels)) if i in present or any(row[i] for row in found.confusion)]
        rows = [(labels[i], *(found.confusion[i][j] for j in called)) for i in present]
        heads = ("true \\ predicted", *(labels[i] for i in called))
        return "<br>".join((title, *lines)) + _html_table(heads, rows)

    def _summaries(self) -> dict[str, Summary]:
        from dancecli.report.results.run_results import read_run_results
        from dancecli.report.results.summaries import summarize

        return summarize(read_run_results(self._workspace, self.name))


class Workspace:
    """A workspace: its data as frames, and every command as a method.

    Args:
        root: the folder.
    """

    def __init__(self, root: str | Path) -> None:
        self._storage = storage.Workspace(Path(root).expanduser().absolute())

    @property
    def root(self) -> Path:
        """The folder."""
        return self._storage.root

    def clips(self) -> pd.DataFrame:
        """All clips, augmented ones included: a column per field of `Clip`, indexed by clip_id."""
        return frames.clips_frame(self._storage)

    def outcomes(self) -> pd.DataFrame:
        """The latest outcome of every clip that was tried, indexed by clip_id."""
        return frames.outcomes_frame(self._storage)

    @overload
    def corrections(self) -> pd.DataFrame: ...

    @overload
    def corrections(self, files: Sequence[str | Path] | None = None, **options: Any) -> Result: ...

    def corrections(self, files: Sequence[str | Path] | None = None, **options: Any) -> pd.DataFrame | Result:
        """The corrections in `labels.csv`, oldest first, indexed by clip_id.

        With files or options they are imported, taken back or cut again, as by `dance corrections`.
        """
        if files is None and not options:
            return frames.corrections_frame(self._storage)
        return self._call("corrections", {**_given(files=files), **options})

    def splits(self) -> list[str]:
        """Names of the splits, the latest last."""
        return self._storage.splits()

    def runs(self) -> list[str]:
        """Names of the runs, the latest last."""
        return self._storage.runs()

    def run(self, name: str) -> Run:
        """Open a run.

        Raises:
            WorkspaceError: there is no run of this name.
        """
        return Run(self._storage, name)

    def split(self, name: str | None = None, **options: Any) -> Split:
        """Open a split by its name, or create one as `dance split` does.

        With a name alone, a split that exists is opened; the options are those of the command.
        """
        if name and not options and name in self.splits():
            return Split(self._storage, name)
        return Split(self._storage, self._made("split", {**_given(name=name), **options})["split"])

    @overload
    def finetune(self, split: Split | str | None = None, *, curve: str, **options: Any) -> Result: ...

    @overload
    def finetune(self, split: Split | str | None = None, *, curve: None = None, **options: Any) -> Run: ...

    def finetune(
        self, split: Split | str | None = None, *, curve: str | None = None, **options: Any
    ) -> Run | Result:
        """Fine-tune a pre-trained model, as `dance finetune` does.

        With `seeds`, the run of the first seed is returned; the others have its name with their seed.
        With `curve`, which is `--learning-curve`, its points and forecast are.

        Raises:
            DanceError: several GPUs or a dry run are asked for, or whatever the command reports as an error.
        """
        # A curve in dance.toml would give another type.
        found = self._made("finetune", {**_given(split=split), "curve": curve, **options})
        if curve:
            return found
        return Run(self._storage, found["name"] if "name" in found else found["runs"][0])

    def features(self, split: Split | str | None = None, **options: Any) -> pd.DataFrame:
        """Compute the features of clips, as `dance features` does: subset, label and values by clip_id.

        `np.stack(frame["features"])` is an array of clips x values.
        """
        import pandas as pd

        found = self._call("features", {**_given(split=split), **options, "form": "parquet"})
        return pd.read_parquet(found["file"]).set_index("clip_id")

    def evaluate(self, run: Run | str | None = None, **options: Any) -> Run:
        """Evaluate a run (multi-view, other split), an ensemble or a baseline, as `dance evaluate` does."""
        found = self._made("evaluate", {**_given(run=run), **options})
        return Run(self._storage, found["name"])

    def controls(self, run: Run | str | None = None, controls: Sequence[str] = (), **options: Any) -> Result:
        """Evaluate a run with something taken away from its clips, as `dance evaluate --control` does."""
        return self._call("evaluate", {**_given(run=run), "control": ",".join(controls), **options})

    def predict(
        self, videos: str | Path | list[str | Path], run: Run | str | None = None, **options: Any
    ) -> Result:
        """Predict the dance styles in videos, as `dance predict` does."""
        return self._call("predict", {"videos": videos, **_given(run=run), **options})

    def compare(self, first: Run | str, second: Run | str, **options: Any) -> Result:
        """Test whether one of two runs is significantly better, as `dance compare` does."""
        return self._call("compare", {"first": first, "second": second, **options})

    def _made(self, command: str, options: Mapping[str, Any]) -> Result:
        """Run a command that makes what a method returns."""
        if options.get("dry_run"):
            raise DanceError(f"a dry run of {command} makes nothing to return", f"dance {command} --dry-run")
        return self._call(command, options)

    def _call(self, command: str, options: Mapping[str, Any]) -> Result:
        options = {key: _named(value) for key, value in options.items()}
        on_progress: OnProgress | None = options.pop("on_progress", None)
        on_message: OnMessage | None = options.pop("on_message", None)
        reporter = Reporter(on_progress or no_progress, on_message or no_message)
        document, complete = calling.call(command, self._storage, options, reporter)
        return Result(command, document, complete)

    def __repr__(self) -> str:
        return f"<workspace {self.root}>"

    def _repr_html_(self) -> str:
        from dancecli.status import status

        found = status(self._storage)
        rows = [(stage.what, stage.found) for stage in found.stages]
        advice = [(f"next: {one.command}", one.why) for one in found.advice]
        return f"<b>workspace {html.escape(str(self.root))}</b>{_html_table((), rows + advice)}"


def open(path: str | Path) -> Workspace:
    """Open an existing workspace folder.

    Raises:
        WorkspaceError: the folder does not exist.
    """
    workspace = Workspace(path)
    if not workspace.root.is_dir():
        raise WorkspaceError(f"{workspace.root}: folder not found", "dancecli.create makes a new workspace")
    return workspace


def create(path: str | Path) -> Workspace:
    """Create a workspace folder with a `dance.toml` of all defaults; an existing one is opened."""
    from dancecli.cli.loader import default_settings

    workspace = Workspace(path)
    workspace._storage.create(default_settings())
    return workspace


def _parts(clip: SplitClip) -> Iterator[tuple[tuple[int, int], str]]:
    """Give the order and the name of a clip's subset, or of the folds that test it, one for each repeat."""
    numbers = [int(number) for number in clip.folds.split("/") if number]
    for repeat, number in enumerate(numbers, start=1):
        name = f"fold{number}" if len(numbers) == 1 else f"repeat{repeat}-fold{number}"
        yield (repeat, number), name
    if not numbers:
        yield (0, list(Subset).index(Subset(clip.subset))), clip.subset


def method_name(command: str) -> str:
    """The method of `Workspace` that runs a command."""
    return f"{command}_" if keyword.iskeyword(command) else command


def _given(**options: Any) -> dict[str, Any]:
    """Leave out what was not given, so that `dance.toml` decides."""
    return {key: value for key, value in options.items() if value is not None}


def _named(value: Any) -> Any:
    """Take the names of runs and splits, which is what commands take."""
    if isinstance(value, list | tuple):
        return [_named(one) for one in value]
    return value.name if isinstance(value, Run | Split) else value


def _html_table(heads: tuple[object, ...], rows: Sequence[tuple[object, ...]]) -> str:
    def line(cells: tuple[object, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return (
        "<table>"
        + "".join((line(heads, "th") if heads else "", *(line(row, "td") for row in rows)))
        + "</table>"
    )


class _Command:
    """A method of `Workspace` that runs a command; its signature is read when it is asked for.

    Reading it imports the command's module, which `import dancecli` alone must not do.
    """

    def __init__(self, command: str, own: Callable[..., Any] | None = None) -> None:
        self.command, self._own = command, own
        self.__name__ = method_name(command)
        self.__doc__ = (own.__doc__ if own else "") or COMMANDS[command].summary

    def __get__(self, workspace: Workspace | None, _: type | None = None) -> Callable[..., Any]:
        if workspace is None:
            return self
        return _Bound(self, workspace)

    def __call__(self, workspace: Workspace, *args: Any, **options: Any) -> Any:
        if self._own:
            return self._own(workspace, *args, **options)
        names = [parameter.name for parameter in calling.parameters(self.command)]
        if len(args) > len(names):
            raise TypeError(f"{self.__name__}() takes {len(names)} arguments, {len(args)} were given")
        return workspace._call(self.command, {**dict(zip(names, args, strict=False)), **options})


class _Bound:
    """A command of one workspace."""

    def __init__(self, command: _Command, workspace: Workspace) -> None:
        self._command, self._workspace = command, workspace
        self.__name__, self.__doc__ = command.__name__, command.__doc__

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._command(self._workspace, *args, **options)

    @cached_property
    def __signature__(self) -> inspect.Signature:
        own = self._command._own
        first = [
            one.name
            for one in (inspect.signature(own).parameters.values() if own else ())
            if one.kind is not inspect.Parameter.VAR_KEYWORD
        ][1:]
        found = {one.name: one for one in calling.parameters(self._command.command)}
        ordered = [*first, *(name for name in found if name not in first)]
        keyword_only = inspect.Parameter.KEYWORD_ONLY
        return inspect.Signature(
            [
                *(
                    found[name] if name in first or not own else found[name].replace(kind=keyword_only)
                    for name in ordered
                ),
                *_REPORTING,
            ]
        )


for _command in COMMANDS:
    _attribute = method_name(_command)
    setattr(Workspace, _attribute, _Command(_command, Workspace.__dict__.get(_attribute)))
