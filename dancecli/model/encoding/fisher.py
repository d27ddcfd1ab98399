"""Fisher vectors (Perronnin et al. 2010): how a clip's descriptors pull at a mixture of Gaussians.

Each kind of descriptor is reduced to half of its width (PCA), and gets a mixture with diagonal covariances.
A clip's vector is the gradient of the log-likelihood of its descriptors with regard to the means and the
deviations, [2 x Gaussians x width], with the power and the L2 norm taken of each kind, as in Wang & Schmid
(2013). scikit-image has a Fisher vector too, with a part for the weights of the Gaussians that theirs lacks.
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

# Of Wang & Schmid, who took 256,000 descriptors to fit them.
PUBLISHED = 256
PER_GAUSSIAN = 1000
# Keeps a Gaussian of a few equal descriptors from becoming a point; descriptors are of length 1.
_LEAST_VARIANCE = 1e-5


@dataclass(frozen=True)
class FisherEncoder:
    """The fitted reductions and mixtures.

    Attributes:
        reductions: scikit-learn's PCA for each kind of descriptor.
        mixtures: its `GaussianMixture`.
    """

    reductions: Mapping[str, Any]
    mixtures: Mapping[str, Any]

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of it, for a file: of each kind the PCA, `mean` [width] and `components` [reduced, width], and
        the mixture, `weights` [Gaussians], `means` and `covariances` [Gaussians, reduced].
        """
        found: dict[str, NDArray[Any]] = {}
        for kind, reduction in self.reductions.items():
            mixture = self.mixtures[kind]
            found |= {
                f"{kind}.mean": reduction.mean_,
                f"{kind}.components": reduction.components_,
                f"{kind}.weights": mixture.weights_,
                f"{kind}.means": mixture.means_,
                f"{kind}.covariances": mixture.covariances_,
            }
        return found

    @classmethod
    def of_arrays(cls, stored: Mapping[str, NDArray[Any]], kinds: Iterable[str]) -> FisherEncoder:
        """Rebuild what `arrays` gave for these kinds of descriptors, such as means [Gaussians, reduced]."""
        import numpy as np
        from sklearn.decomposition import PCA
        from sklearn.mixture import GaussianMixture

        reductions, mixtures = {}, {}
        for kind in kinds:
            reduction = reductions[kind] = PCA(len(stored[f"{kind}.components"]))
            reduction.mean_, reduction.components_ = stored[f"{kind}.mean"], stored[f"{kind}.components"]
            mixture = mixtures[kind] = GaussianMixture(len(stored[f"{kind}.weights"]), covariance_type="diag")
            mixture.weights_, mixture.means_ = stored[f"{kind}.weights"], stored[f"{kind}.means"]
            mixture.covariances_ = stored[f"{kind}.covariances"]
            mixture.precisions_cholesky_ = 1 / np.sqrt(mixture.covariances_)
        return cls(reductions, mixtures)

    def encode(self, descriptors: Mapping[str, Rows]) -> Rows:
        """Make a clip's vector of its descriptors; zeros if it has none.

        Args:
            descriptors: for each kind [n, width].

        Returns:
            The vectors of all kinds, one after the other.
        """
        import numpy as np

        parts = []
        for kind, mixture in self.mixtures.items():
            rows = descriptors[kind]
            if not len(rows):
                parts.append(np.zeros(2 * mixture.means_.size, np.float32))
                continue
            vector = gradient(self.reductions[kind].transform(rows), mixture)
            vector = np.sign(vector) * np.sqrt(np.abs(vector))
            parts.append((vector / max(float(np.linalg.norm(vector)), 1e-12)).astype(np.float32))
        return np.concatenate(parts)


def gradient(rows: Rows, mixture: Any) -> Rows:
    """Give the gradient of the mean log-likelihood, by the means and by the deviations, whitened.

    Whitened is divided by the root of the Fisher information in its usual approximation: of the mean
    of Gaussian k it is w / s^2, of its deviation 2 w / s^2.

    Args:
        rows: [n, width], n > 0.
        mixture: a `GaussianMixture` with diagonal covariances.

    Returns:
        [2 x Gaussians x width]: all means, then all deviations.
    """
    import numpy as np

    weights, means = mixture.weights_[:, None], mixture.means_
    deviations = np.sqrt(mixture.covariances_)
    shares = mixture.predict_proba(rows)
    count = shares.sum(axis=0)[:, None] / len(rows)
    first = shares.T @ rows / len(rows)
    second = shares.T @ rows**2 / len(rows)
    by_mean = (first - count * means) / (np.sqrt(weights) * deviations)
    spread = (second - 2 * means * first + count * means**2) / deviations**2
    by_deviation = (spread - count) / np.sqrt(2 * weights)
    found: Rows = np.concatenate([by_mean.ravel(), by_deviation.ravel()])
    return found


def fit_fisher(
    descriptors: Mapping[str, Rows], gaussians: int, seed: int, reporter: Reporter
) -> FisherEncoder:
    """Fit reductions and mixtures to descriptors of training clips.

    Args:
        descriptors: for each kind [n, width], drawn from all training clips.
        gaussians: number of Gaussians of each mixture.
        seed: of the start of the mixtures.
        reporter: told in kinds.
    """
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    reductions, mixtures = {}, {}
    for done, (kind, rows) in enumerate(descriptors.items()):
        reporter.progress(done, len(descriptors), f"mixtures · {gaussians} Gaussians of {kind}")
        reductions[kind] = PCA(min(rows.shape[1] // 2, len(rows)), svd_solver="full").fit(rows)
        mixtures[kind] = GaussianMixture(
            gaussians,
            covariance_type="diag",
            reg_covar=_LEAST_VARIANCE,
            init_params="k-means++",
            random_state=seed,
        ).fit(reductions[kind].transform(rows))
    reporter.progress(len(descriptors), len(descriptors), "mixtures")
    return FisherEncoder(reductions, mixtures)
