"""Columns of the probe's tables: the pairs, and how probable a model finds both texts of each."""

import pyarrow as pa

PAIRS = pa.schema([("id", pa.string()), ("kind", pa.string()), ("reference", pa.string()), ("corruption", pa.string())])
"""One row per dialogue and kind (tasks.metrics.probe_kinds)."""
LIKELIHOODS = pa.schema(
    [
        *PAIRS,
        ("logp_reference", pa.float64()),
        ("logp_corruption", pa.float64()),
        ("tokens_reference", pa.int32()),
        ("tokens_corruption", pa.int32()),
    ]
)
"""The same with the sums of the tokens' log-probabilities behind the prompt, natural logarithm, and their numbers."""
