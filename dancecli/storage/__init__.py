"""What is on disk: the workspace, Parquet tables, the ledger of outcomes, run records."""
