"""A run's page: one HTML file that needs nothing else, drawn by the templates beside this module."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dancecli.core.hashing import uneven_folds_note
from dancecli.core.records import Subset
from dancecli.core.text import duration, percent, pluralize
from dancecli.core.video_files import clip_path
from dancecli.report.pages.stills import stills_of
from dancecli.report.pages.templating import environment, render
from dancecli.report.plots import curves, layout
from dancecli.report.plots.gradcam import GradcamPicture
from dancecli.report.results.comparison import CAVEAT, Controlled, MemberWorth
from dancecli.report.results.run_results import RunResults, SubsetScores
from dancecli.report.results.slices import NOT_SLICED, Sliced
from dancecli.report.statistics.metrics import Summary, order_by_confusion, predicted, true_ranks
from dancecli.report.statistics.slices import worst_slices
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from dancecli.report.statistics.metrics import Floats, Ints

# Scores shown with a clip, beside that of its true class.
SHOWN_SCORES = 4
UNSURE_CLIPS = 60
SHOWN_PAIRS = 8
# What no file of a submission can show.
_STATED = "model, weights, augmented clips, training, seed, time, speed and versions"
# What the page's script is joined from.
SCRIPTS = ("common.js", "report.js")


def render_run(
    name: str,
    results: RunResults,
    summaries: Mapping[str, Summary],
    subset: str,
    heat: Mapping[str, Sequence[GradcamPicture]] = MappingProxyType({}),
    workspace: Workspace | None = None,
    sliced: Sliced = NOT_SLICED,
    bundled: Mapping[str, str] = MappingProxyType({}),
    worth: Mapping[str, Sequence[MemberWorth]] = MappingProxyType({}),
    controls: Sequence[Controlled] = (),
    *,
    alone: bool = False,
) -> str:
    """Draw the page.

    Args:
        name: the report's name.
        results: the run.
        summaries: the figures of each subset of `results.subsets`.
        subset: the subset shown first.
        heat: for each subset where the network looked, as far as that was drawn.
        workspace: where the clips are; None for a page without stills of them.
        sliced: accuracy by slice, and at the levels of a hierarchy.
        bundled: for each clip that lies in `clips/` beside the page its link; of a bundle, see `short_link`.
        worth: for each subset, what each member of an ensemble adds.
        controls: accuracy of the test clips under controls.
        alone: whether the other files of a report do not lie beside the page, as on a site.
    """
    order = [subset, *(other for other in summaries if other != subset)]
    data = clip_data(replace(results, links=bundled) if bundled else results, summaries)
    data |= {"clips": "clips/"} if bundled else {}
    if workspace:
        data["stills"] = stills_of(workspace, _first_clips(data, order), results.links)
    return render(
        "report.html",
        SCRIPTS,
        data,
        name=name,
        run=results.run,
        labels=results.labels,
        subsets={key: summaries[key] for key in order},
        videos={key: len(set(results.subsets[key].groups)) for key in order},
        whiskers={key: _whiskers(summaries[key]) for key in order},
        shared=results.shared_groups,
        folds="cross_validation" in results.run,
        shown_pairs=SHOWN_PAIRS,
        curves_of={key: {c.index: c for c in summaries[key].curves} for key in order},
        score_charts={key: curves.score_charts([(name, summaries[key])]) for key in order},
        class_charts={key: curves.class_charts(summaries[key], results.labels) for key in order},
        **slice_shown(sliced, order),
        worth={key: worth.get(key, ()) for key in order},
        controls=controls,
        control_caveat=CAVEAT,
        heat={key: heat.get(key, ()) for key in order},
        alone=alone,
        lead=lead(results),
        notices={key: notices(results, key, summaries[key]) for key in order},
        waiting=waiting(results.run),
        charts=layout.training_charts(results.history, top5=len(results.labels) > 5),
        chart=layout,
        facts=facts(results),
        commands=commands(results, name),
        steps=next_steps(results.run["name"]),
        config=results.config,
    )


def next_steps(name: str) -> list[tuple[str, str]]:
    """List what to do next with a run or a group of runs: purposes with their commands."""
    return [
        ("how it ranks among all runs:", "dance board"),
        ("whether it is better than another:", f"{shlex.join(['dance', 'compare', name])} OTHER"),
    ]


def slice_shown(sliced: Sliced, subsets: Sequence[str]) -> dict[str, Any]:
    """Gather what the templates show of slices and levels."""
    slices = {key: sliced.slices.get(key, ()) for key in subsets}
    return {
        "slices": slices,
        "worst": {key: worst_slices(rows) for key, rows in slices.items()},
        "slice_scale": {
            key: layout.zoomed([s.top1.estimate for s in rows]) for key, rows in slices.items() if rows
        },
        "levels": {key: sliced.levels.get(key, ()) for key in subsets},
        "attribute_notes": sliced.notes,
    }


def model_card(name: str, results: RunResults, summaries: Mapping[str, Summary], subset: str) -> str:
    """Write the model card: Markdown with the front matter that model sites read; arguments as above."""
    order = [subset, *(other for other in summaries if other != subset)]
    card = environment(autoescape=False).get_template("model-card.md")
    text = card.render(
        run=results.run,
        split=results.run["split"],
        labels=results.labels,
        subsets={key: summaries[key] for key in order},
        lead=lead(results),
        notices={key: notices(results, key, summaries[key]) for key in order},
        facts=facts(results),
        commands=commands(results, name),
    )
    return text if text.endswith("\n") else text + "\n"


def clip_data(results: RunResults, summaries: Mapping[str, Summary]) -> dict[str, Any]:
    """Gather what the script needs: every clip with its highest scores, and the orders of the classes."""
    return {
        "labels": results.labels,
        "subsets": {
            key: _subset_data(scores, summaries[key], results.links)
            for key, scores in results.subsets.items()
        },
        **watch_data(results),
    }


def watch_data(results: RunResults) -> dict[str, Any]:
    """Say which clips can be watched at their source, for the script; nothing where none can."""
    known = results.youtube
    if not known:
        return {}
    shown = {clip for scores in results.subsets.values() for clip in scores.clips}
    # Mostly it is all of them: then a 1 says it.
    of = 1 if shown <= known else sorted(shown & known)
    return {"watch": {"url": "https://www.youtube.com/watch?v=", "clips": of}} if of else {}


def _first_clips(data: Mapping[str, Any], order: Sequence[str]) -> list[str]:
    """List the clips that a reader sees first: the worst mistakes and the least certain ones."""
    found = []
    for key in order:
        shown = data["subsets"][key]
        found += [shown["clips"][i][0] for i in (*shown["worst"][:32], *shown["unsure"][:12])]
    return found


def _subset_data(subset: SubsetScores, summary: Summary, links: Mapping[str, str]) -> dict[str, Any]:
    calls, ranks = predicted(subset.scores, subset.truth), true_ranks(subset.scores, subset.truth)
    rows = [
        [clip, short_link(clip, links), *figures]
        for clip, *figures in zip(
            subset.clips,
            subset.truth.tolist(),
            calls.tolist(),
            ranks.tolist(),
            shown_scores(subset.scores, subset.truth),
            strict=True,
        )
    ]
    top = subset.scores.max(axis=1)
    own = subset.scores[range(len(rows)), subset.truth]
    wrong = sorted((i for i in range(len(rows)) if ranks[i] > 1), key=lambda i: (own[i] - top[i], i))
    recalls = [c.recall.estimate for c in summary.per_class]
    return {
        "clips": rows,
        "worst": wrong,
        "unsure": sorted(range(len(rows)), key=lambda i: (float(top[i]), i))[:UNSURE_CLIPS],
        "confusion": order_by_confusion(summary.confusion),
        "recall": sorted(range(len(recalls)), key=lambda i: (-(e.rate if (e := recalls[i]) else -1.0), i)),
    }


def short_link(clip: str, links: Mapping[str, str]) -> str | int:
    """Give a clip's link: its folder alone where it is in its usual place, 1 in a bundle, 0 if not known."""
    link, usual = links.get(clip, ""), clip_path("clips", f"{clip}.mp4")
    if link == f"../../clips/{clip}.mp4":
        return 1
    return usual.split("/")[1] if link == f"../../{usual}" else link or 0


def shown_scores(scores: Floats, truth: Ints) -> list[list[float]]:
    """Give for each clip its highest scores and that of its true class: class index, score, and so on."""
    import numpy as np

    rest, best = scores.copy(), np.empty((len(scores), min(SHOWN_SCORES, scores.shape[1])), dtype=np.int64)
    rows = np.arange(len(scores))
    # The first of equals each time, as a stable sort has it, which costs ten times as much.
    for place in range(best.shape[1]):
        best[:, place] = rest.argmax(axis=1)
        rest[rows, best[:, place]] = -1.0
    found = []
    for row, top, true in zip(scores, best.tolist(), truth.tolist(), strict=True):
        chosen = top if true in top else [*top, true]
        found.append([value for j in chosen for value in (j, round(float(row[j]), 4))])
    return found


def _whiskers(summary: Summary) -> tuple[layout.Whisker, ...]:
    if summary.calibration is None:
        return ()
    return layout.calibration_whiskers(summary.calibration.bins, side=300, bar_top=312, bar=44)


def lead(results: RunResults) -> str:
    """Say in a sentence what was tested."""
    model, weights = _table(results.run, "model"), _table(results.run, "weights")
    untrained, members = "nothing was trained for it", model.get("members")
    if isinstance(members, list):
        return f"The mean of the scores of {', '.join(map(str, members))}; {untrained}."
    phrases = [f"{model.get('title') or model.get('backbone') or 'A model'}"]
    if model.get("params_trainable") == 0:
        return (
            f"{phrases[0]}, with the weights {weights.get('name') or 'of its run'} as they are; {untrained}."
        )
    if weights.get("name"):
        phrases.append(f"started from {weights['name']}")
    elif model.get("backbone"):
        phrases.append("started from random weights")
    if model.get("frozen_stages"):
        phrases.append(f"with {pluralize(model['frozen_stages'], 'frozen stage')}")
    return f"{', '.join([*phrases, _training(results)])}."


def _training(results: RunResults) -> str:
    """Say what it was trained on and how long, and on what it is evaluated if that is something else."""
    split, elsewhere = _table(results.run, "split"), _trained_elsewhere(results.run)
    gone = 0 if elsewhere else _trained_and_gone(split)
    clips = pluralize(sum(results.train_counts) + gone, "clip")
    if folds := _table(results.run, "cross_validation").get("folds"):
        return f"cross-validated in {folds} folds on {clips} of split “{split['name']}”{_since(gone)}"
    of = elsewhere.get("split") if elsewhere else split["name"]
    trained = f"trained as run {elsewhere['run']}" if elsewhere else "trained"
    if of:
        trained += f" on {f'{clips} of ' if sum(results.train_counts) else ''}split “{of}”{_since(gone)}"
    if val := split.get("val_in_train"):
        trained += f" (with the {val} of its validation subset, which are too few to choose by)"
    if epochs := _optim(results.run).get("epochs"):
        trained += f" for {pluralize(epochs, 'epoch')}"
    return f"{trained}, evaluated on split “{split['name']}”" if elsewhere else trained


def _optim(run: Mapping[str, Any]) -> dict[str, Any]:
    """Read how it was trained; a head that was fitted has neither a learning rate nor epochs."""
    found = _table(run, "optim")
    return {k: v for k, v in found.items() if k != "epochs" or found.get("lr") is not None}


def _trained_and_gone(split: Mapping[str, Any]) -> int:
    """Count the clips that were trained on and were removed on request since."""
    trained = {Subset.TRAIN, Subset.VAL} if split.get("val_in_train") else {Subset.TRAIN}
    gone = _table(split, "removed_since").items()
    # All clips of a cross-validation are trained on.
    return sum(count for subset, count in gone if split.get("folds") or subset in trained)


def _since(gone: int) -> str:
    return f" ({gone} of them removed on request since)" if gone else ""


def _trained_elsewhere(run: Mapping[str, Any]) -> dict[str, Any]:
    """Name the `run` and the `split` that were trained, if the split may not be that of the evaluation."""
    evaluated = _table(run, "evaluated")
    trained = _table(evaluated, "trained")
    if not evaluated or trained.get("hash") == _table(run, "split").get("hash"):
        return {}
    return {"run": evaluated.get("run"), "split": trained.get("split")}


def notices(results: RunResults, subset: str, summary: Summary) -> list[str]:
    """Say what a reader must know before believing the figures of one subset."""
    found = []
    status = results.run["status"]
    if status != "done":
        found.append(f"The run is not complete: its status is “{status}”.")
    if leak := leak_notice(results.run, results.shared_groups[subset]):
        found.append(leak)
    found += _cross_validation(results.run)
    found += _untrained(results, summary)
    if unseen := [results.labels[c.index] for c in summary.per_class if not c.recall.n]:
        found.append(
            f"{pluralize(len(unseen), 'class')} of {len(results.labels)} without a clip in this subset, "
            f"which the accuracy does not cover: {', '.join(unseen[:10])}{', ...' if unseen[10:] else ''}."
        )
    if summary.classes == 1:
        found.append("There is a single class: every clip is of it, and the accuracy says nothing.")
    span = summary.top1.estimate
    if span and summary.n < 30:
        found.append(
            f"With {pluralize(summary.n, 'clip')} the interval reaches from {percent(span.low)} to "
            f"{percent(span.high)} %: too wide to conclude much."
        )
    return found


def leak_notice(run: Mapping[str, Any], shared: int | None) -> str:
    """Say that source videos were trained on, or that nobody knows; empty if none was.

    Args:
        run: its record.
        shared: of its subset; see `RunResults.shared_groups`.
    """
    if shared is None:
        return (
            "It is unknown whether source videos of this subset are also in the training set, whose split "
            "had changed or was gone: the accuracy may be biased upwards."
        )
    if not shared:
        return ""
    where = "another fold" if "cross_validation" in run else "the training set"
    return (
        f"{pluralize(shared, 'source video')} of this subset are also in {where}: "
        "the accuracy is biased upwards."
    )


def _cross_validation(run: Mapping[str, Any]) -> list[str]:
    """Say what the figures of a cross-validation are of."""
    found = _table(run, "cross_validation")
    folds = found.get("folds")
    if not folds:
        return []
    shares = [row["top1"] / row["n"] for row in found["of_fold"] if row["n"]]
    note = (
        f"Each clip was scored by the one of {folds} models that was not trained on its fold: the figures "
        f"are those of models trained on {100 * (folds - 1) / folds:.0f} % of the clips, the intervals those "
        f"of their mean on new videos. The folds ({percent(min(shares))} to {percent(max(shares))} % right) "
        "share training clips, so that their standard deviation is no standard error."
    )
    few = _table(found, "classes_in_few_folds")
    return [note, f"{uneven_folds_note(few, folds)}."] if few else [note]


def _untrained(results: RunResults, summary: Summary) -> list[str]:
    """Name the classes with clips in this subset that the run was not trained on."""
    if _table(results.run, "model").get("params_trainable") == 0:
        return []
    known = zip(results.labels, results.train_counts, summary.per_class, strict=True)
    absent = [label for label, trained, c in known if not trained and c.recall.n]
    if not absent or not sum(results.train_counts):
        return []
    return [
        f"{pluralize(len(absent), 'class')} of this subset without a training clip, which cannot "
        f"be predicted: {', '.join(absent[:10])}{', ...' if absent[10:] else ''}."
    ]


def facts(results: RunResults) -> list[tuple[str, list[tuple[str, str]]]]:
    """List what was run, in groups of named values; what the run did not record is left out."""
    run = results.run
    model, weights, split = _table(run, "model"), _table(run, "weights"), _table(run, "split")
    views, seconds = _table(run, "views"), _table(run, "seconds")
    elsewhere = _trained_elsewhere(run)
    # Of the split that it is evaluated on, nothing was trained on.
    counts = {key: n for key, n in _table(split, "counts").items() if not elsewhere or key != Subset.TRAIN}
    groups: list[tuple[str, list[tuple[str, Any]]]] = [
        (
            "Model",
            [
                ("pre-training", model.get("pretrain")),
                ("backbone", model.get("backbone")),
                ("frozen stages", model.get("frozen_stages")),
                ("parameters", model.get("params_total")),
                ("of them trained", model.get("params_trainable")),
            ],
        ),
        (
            "Weights",
            [
                ("name", weights.get("name") or "none"),
                ("source", weights.get("source")),
                ("matched", weights and f"{weights.get('matched_keys')} of {weights.get('total_keys')} keys"),
                ("sha256", weights.get("sha256")),
            ],
        ),
        (
            "Data",
            [
                ("trained as run", elsewhere.get("run")),
                ("trained on split", elsewhere.get("split")),
                ("split", split["name"]),
                ("ratios", split.get("ratios")),
                ("seed of the split", split.get("seed")),
                ("clips", ", ".join(f"{subset} {n}" for subset, n in counts.items())),
                ("removed since", ", ".join(f"{s} {n}" for s, n in _table(split, "removed_since").items())),
                ("augmented clips in train", None if elsewhere else split.get("augmented")),
                ("split hash", split.get("hash")),
                ("test hash", split.get("test_hash")),
                *((subset, note) for subset in results.subsets if (note := results.removal_note(subset))),
                ("corrections", results.corrections),
            ],
        ),
        ("Cross-validation", _fold_facts(run)),
        (
            "Views",
            [
                ("training", views.get("train")),
                ("testing", views.get("test")),
                ("decoder", _decoder(_table(run, "decoder"))),
            ],
        ),
        (
            "Training",
            [
                *_optim(run).items(),
                ("head", _head_start(_table(run, "head"))),
                ("validation clips trained on", split.get("val_in_train")),
                ("seed", run.get("seed")),
            ],
        ),
        (
            "Time",
            [
                *((key, duration(value)) for key, value in seconds.items()),
                ("waiting for clips", waiting(run)),
                ("features computed by", _engines(_table(run, "features"))),
                ("finished", run.get("finished_utc")),
            ],
        ),
        ("Versions", list(_table(run, "versions").items())),
        ("Submission", [("as its participant states", _STATED if run.get("submitted") else "")]),
    ]
    return [(title, named) for title, rows in groups if (named := _named(rows))]


def _decoder(found: Mapping[str, Any]) -> str:
    """Say what decoded the clips; empty for a run that does not know."""
    by = " ".join(str(found[key]) for key in ("name", "version") if found.get(key))
    on = f" on {found['device']}" if found.get("device") else ""
    left = found.get("left_to_ffmpeg")
    return f"{by}{on}{f', {left} files by ffmpeg' if left else ''}"


def _engines(features: Mapping[str, Any]) -> str:
    """Say what computed features in this run; empty where all were cached, or none are used."""
    return ", ".join(f"{name} ({views} views)" for name, views in features.get("computed_by", {}).items())


def _head_start(head: Mapping[str, Any]) -> str:
    """Say where the head is from; empty for a run that does not know."""
    if "C" in head and head.get("solver"):
        return f"solved with {head['solver']}, C = {head['C']:.3g}"
    return f"from {head['init']} weights" if head.get("init") else ""


def _fold_facts(run: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """List the folds of a cross-validation; empty for another run."""
    found = _table(run, "cross_validation")
    rows = found.get("of_fold", ())
    return [
        ("folds", found.get("folds")),
        ("correct in each", ", ".join(f"{row['top1']}/{row['n']}" for row in rows)),
    ]


def waiting(run: Mapping[str, Any]) -> str:
    """Say how much of its training steps a run waited for clips; empty where it did not measure that."""
    wait = _table(run, "data_wait")
    waited, of = wait.get("waited_s"), wait.get("of_s")
    if not isinstance(waited, int | float) or not isinstance(of, int | float) or of <= 0:
        return ""
    return f"{duration(waited)} of {duration(of)} of training steps, {percent(waited / of)} %"


def _named(rows: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [(key.replace("_", " "), _text(value)) for key, value in rows if value not in (None, "", {})]


def _text(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def commands(results: RunResults, name: str) -> list[str]:
    """List the commands that make this page again, from the clips on."""
    run, split = results.run, _table(results.run, "split")
    asked = run.get("command")
    words = without_workspace([str(word) for word in asked] if isinstance(asked, list) else [])
    made = ["dance", "split", *shlex.split(str(split.get("flags") or f"--name {split['name']}"))]
    shown = ["dance", "report", "--run", str(run["name"])]
    shown += ["--name", name] if name != run["name"] else []
    # What the run took for granted then may be something else now, so it is named.
    for flag, value in (("--split", split["name"]), ("--name", run.get("group") or run["name"])):
        if len(words) > 1 and not any(word == flag or word.startswith(f"{flag}=") for word in words):
            words += [flag, str(value)]
    trained = [shlex.join(["dance", *words[1:]])] if words[1:] else []
    if run.get("submitted"):
        trained = ["# then the training: a submission has its settings, as listed above, and not its command"]
    return [shlex.join(made), *trained, shlex.join(shown)]


def without_workspace(words: list[str]) -> list[str]:
    """Drop where the workspace lay then: the reader's lies elsewhere."""
    kept, skip = [], False
    for word in words:
        if skip or word in {"--workspace", "-w"}:
            skip = not skip
        elif not word.startswith(("--workspace=", "-w")):
            kept.append(word)
    return kept


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}
