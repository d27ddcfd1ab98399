"""Reports: metrics, figures and the page, made from a run's files."""
