"""The dataset steps: fetch, split, annotate and what stands between them."""
