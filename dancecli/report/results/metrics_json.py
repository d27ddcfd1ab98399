"""`metrics.json`: the figures as other programs read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from dancecli.core.records import Subset
from dancecli.report.results.comparison import Controlled, MemberWorth
from dancecli.report.results.run_results import RunResults
from dancecli.report.results.slices import NOT_SLICED, Sliced
from dancecli.report.statistics.intervals import Estimate, Proportion
from dancecli.report.statistics.metrics import Summary
from dancecli.report.statistics.significance import Accuracy

SCHEMA = 1
# Copied from the run as they are, so that the figures never stand without their results.
PROVENANCE = ("model", "weights", "split", "views", "optim", "seed", "cache", "versions", "seconds")


def document(
    name: str,
    results: RunResults,
    summaries: Mapping[str, Summary],
    subset: str,
    sliced: Sliced = NOT_SLICED,
    worth: Mapping[str, Sequence[MemberWorth]] = MappingProxyType({}),
    controls: Sequence[Controlled] = (),
) -> dict[str, Any]:
    """Lay out what `metrics.json` holds.

    Args:
        name: the report's name.
        results: the run.
        summaries: the figures of each subset of `results.subsets`; a subset without is null.
        subset: the subset that the headline is of.
        sliced: accuracy by slice and level; what was not asked for is left out.
        worth: for each subset, what each member of an ensemble adds.
        controls: accuracy of the test clips under controls.
    """
    run = results.run
    return {
        "schema": SCHEMA,
        "report": name,
        "run": run["name"],
        "status": run["status"],
        "subset": subset,
        "interval": "Wilson, 95 %, by source video",
        "labels": list(results.labels),
        **{key: run.get(key) for key in PROVENANCE},
        **({"cross_validation": run["cross_validation"]} if run.get("cross_validation") else {}),
        **({"controls": [controlled_json(one) for one in controls]} if controls else {}),
        "subsets": {
            str(key): (
                {
                    **({"removed": results.removed[key]} if results.removed.get(key) else {}),
                    "videos": len(set(results.subsets[key].groups)),
                    "videos_also_in_training": results.shared_groups[key],
                    **as_json(summaries[key], results.labels),
                    **sliced_json(sliced, key),
                    **({"members": [_worth(one) for one in worth[key]]} if worth.get(key) else {}),
                }
                if key in summaries
                else None
            )
            for key in (Subset.VAL, Subset.TEST)
        },
    }


def controlled_json(of: Controlled) -> dict[str, Any]:
    """Lay out the accuracy under a control: of the same clips as they are, and the share that survives."""
    kept = of.survival
    return {
        "control": of.control,
        "under": _proportion(of.under),
        "intact": _proportion(of.intact),
        "chance": _round(of.chance),
        "chance_in_interval": of.at_chance,
        "survives": kept
        and {"share": _round(kept.share), "low": _round(kept.low), "high": _round(kept.high)},
        "p_adjusted": _round(of.p),
    }


def _worth(member: MemberWorth) -> dict[str, Any]:
    return {
        "run": member.name,
        "weight": _round(member.weight),
        "alone": {"k": member.alone.k, "n": member.alone.n},
        "adds": _round(member.paired.difference),
        "low": _round(member.paired.low),
        "high": _round(member.paired.high),
        "p_adjusted": _round(member.p),
    }


def sliced_json(sliced: Sliced, subset: str) -> dict[str, Any]:
    """Lay out the slices and levels of a subset; what there is none of is left out."""
    found: dict[str, Any] = {}
    if slices := sliced.slices.get(subset):
        found["slices"] = [
            {
                "attribute": s.attribute,
                "value": s.value,
                "top1": _accuracy(s.top1),
                "rest": _accuracy(s.rest),
                "expected_from_classes": _round(s.expected),
                "p_adjusted": _round(s.p),
            }
            for s in slices
        ]
    if levels := sliced.levels.get(subset):
        found["levels"] = [
            {
                "level": level.name,
                "top1": _accuracy(level.top1),
                "chance": _round(level.chance),
                "members": [{"name": name, "recall": _accuracy(of)} for name, of in level.members],
            }
            for level in levels
        ]
    return found


def as_json(summary: Summary, labels: tuple[str, ...]) -> dict[str, Any]:
    """Lay a summary out for `metrics.json`, classes by name."""
    curve, curves = summary.calibration, {c.index: c for c in summary.curves}
    return {
        "n": summary.n,
        "top1": _proportion(summary.top1),
        "top5": _proportion(summary.top5) if summary.top5 else None,
        "chance": {"top1": _round(summary.chance1), "top5": _round(summary.chance5)},
        "majority": {"label": labels[summary.majority_class], **_proportion(summary.majority)},
        "balanced_accuracy": _round(summary.balanced_accuracy),
        "macro_f1": _round(summary.macro_f1),
        "balanced_accuracy_by_video": _estimate(summary.balanced_by_video),
        "macro_f1_by_video": _estimate(summary.macro_f1_by_video),
        "calibration": curve
        and {
            "ece": _round(curve.ece),
            "ece_if_calibrated": _round(curve.ece_if_calibrated),
            "gap": _round(curve.gap),
            "p": _round(curve.p),
            "verdict": curve.verdict,
            "bins": [
                {"low": _round(b.low), "high": _round(b.high), "n": b.n, "hits": b.hits}
                | {"confidence": _round(b.confidence) if b.n else None}
                for b in curve.bins
            ],
        },
        "per_class": [
            {
                "label": labels[c.index],
                "recall": _proportion(c.recall),
                "precision": _proportion(c.precision),
                "f1": _estimate(c.f1),
                "average_precision": _round(curves[c.index].ap) if c.index in curves else None,
                "roc_auc": _round(curves[c.index].auc) if c.index in curves else None,
            }
            for c in summary.per_class
        ],
        "mean_average_precision": _round(summary.mean_average_precision),
        "topk": [[int(k), _round(share)] for k, share in summary.topk],
        "coverage": [[_round(coverage), _round(rate)] for coverage, rate in summary.coverage],
        "confused": [
            {"true": labels[p.true], "predicted": labels[p.called], "k": p.k, "n": p.n, "back": p.back}
            for p in summary.pairs
        ],
        "confusion": summary.confusion,
    }


def _round(value: float | None) -> float | None:
    # The last digits of a sum differ between processors; a file of results should not.
    return None if value is None else round(value, 12)


def _estimate(found: Estimate | None) -> dict[str, float | None]:
    if found is None:
        return {"rate": None, "low": None, "high": None}
    return {"rate": _round(found.rate), "low": _round(found.low), "high": _round(found.high)}


def _proportion(of: Proportion) -> dict[str, Any]:
    return {"k": of.k, "n": of.n, "design_effect": _round(of.effect), **_estimate(of.estimate)}


def _accuracy(of: Accuracy) -> dict[str, Any]:
    return {"k": of.k, "n": of.n, "runs": of.runs, **_estimate(of.estimate)}
