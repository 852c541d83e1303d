"""The few samples of each generation that are kept to be looked at."""

PREVIEW = "preview.parquet"
NUM_PREVIEW = 32
