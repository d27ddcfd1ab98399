"""Bags of features: how often each visual word occurs in a clip (Wang et al. 2011).

Each kind of descriptor has a vocabulary of its own, the centers of k-means. A clip's histogram of words is
mapped so that the product of two clips is nearly the chi-square kernel of their histograms (Vedaldi &
Zisserman 2012), and all kinds count alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dancecli.core.progress import Reporter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.float32]

# Of Wang et al., who took 100,000 descriptors to find them.
PUBLISHED = 4000
PER_WORD = 25
# Samples of the spectrum of the kernel: with three the product is within 5 % of it.
_STEPS = 3


@dataclass(frozen=True)
class WordEncoder:
    """The vocabularies: for each kind of descriptor the words, [words, width]."""

    vocabularies: Mapping[str, Rows]

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it, for a file: of each kind the words, [words, width]."""
        return {f"{kind}.words": words for kind, words in self.vocabularies.items()}

    @classmethod
    def of_arrays(cls, stored: Mapping[str, NDArray[Any]], kinds: Iterable[str]) -> WordEncoder:
        """Rebuild what `arrays` gave for these kinds of descriptors, of each [words, width]."""
        return cls({kind: stored[f"{kind}.words"] for kind in kinds})

    def encode(self, descriptors: Mapping[str, Rows]) -> Rows:
        """Make a clip's vector of its descriptors; zeros if it has none.

        Args:
            descriptors: for each kind [n, width].

        Returns:
            The mapped histograms of all kinds, one after the other.
        """
        import numpy as np
        from sklearn.kernel_approximation import AdditiveChi2Sampler
        from sklearn.metrics import pairwise_distances_argmin

        parts = []
        for kind, vocabulary in self.vocabularies.items():
            size, rows = len(vocabulary), descriptors[kind]
            words = pairwise_distances_argmin(rows, vocabulary) if len(rows) else np.zeros(0, int)
            shares = np.bincount(words, minlength=size) / max(len(rows), 1)
            parts.append(AdditiveChi2Sampler(sample_steps=_STEPS).fit_transform(shares[None])[0])
        vector: Rows = np.concatenate(parts).astype(np.float32) / np.float32(len(parts) ** 0.5)
        return vector


def fit_words(descriptors: Mapping[str, Rows], words: int, seed: int, reporter: Reporter) -> WordEncoder:
    """Find vocabularies in descriptors of training clips.

    Args:
        descriptors: for each kind [n, width], drawn from all training clips.
        words: size of each vocabulary.
        seed: of the start of k-means.
        reporter: told in kinds.
    """
    from sklearn.cluster import MiniBatchKMeans

    found = {}
    for done, (kind, rows) in enumerate(descriptors.items()):
        reporter.progress(done, len(descriptors), f"vocabularies · {words} words of {kind}")
        found[kind] = MiniBatchKMeans(words, random_state=seed, n_init=3).fit(rows).cluster_centers_
    reporter.progress(len(descriptors), len(descriptors), "vocabularies")
    return WordEncoder(found)
