"""The figures of a run's results."""

from __future__ import annotations

from dataclasses import replace

from dancecli.report.results.run_results import RunResults
from dancecli.report.statistics import metrics
from dancecli.report.statistics.bootstrap import intervals_of_class_means


def summarize(results: RunResults) -> dict[str, metrics.Summary]:
    """Work out the figures of every subset that has clips."""
    trained = results.train_counts
    found = {}
    for name, subset in results.subsets.items():
        counts = trained if any(trained) else [int((subset.truth == i).sum()) for i in range(len(trained))]
        majority = max(range(len(counts)), key=lambda i: counts[i])
        summary = metrics.summarize(subset.scores, subset.truth, majority, subset.groups)
        calls = metrics.predicted(subset.scores, subset.truth)
        balanced, f1 = intervals_of_class_means(subset.truth, calls, summary.classes, subset.groups)
        found[name] = replace(summary, balanced_by_video=balanced, macro_f1_by_video=f1)
    return found
