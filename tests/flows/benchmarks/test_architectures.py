"""bench architectures: a row for each base model, from the engines that a run takes."""

from pathlib import Path

import pytest

from artifacts.errors import RequestError
from flows.benchmarks.architectures import bench_architectures, in_columns


@pytest.mark.slow
def test_each_architecture_trains_decodes_and_agrees_with_transformers(tmp_path: Path) -> None:
    """One that TRL trains and the decoder decodes; the models are removed, the loss falls."""
    rows, remark = bench_architectures(False, "qwen3-0.6b", 6, 8, tmp_path, 300)
    (row,) = rows
    assert (row["engine"], row["decoder"]) == ("trl (architecture qwen3)", "decoder")
    assert row["last_loss"] < row["first_loss"]
    assert row["same"] == {"float32": [16, 16]}
    assert min(row["train_tokens_per_second"], row["new_tokens_per_second"], row["generate_tokens_per_second"]) > 0
    assert list(tmp_path.iterdir()) == []
    (shown,) = in_columns(rows)
    assert (shown["recipe"], shown["same"]) == ("qwen3-0.6b", "16/16 float32")
    assert "6 optimizer steps" in remark


def test_a_failure_is_a_row_with_its_reason_and_an_unknown_name_is_refused(tmp_path: Path) -> None:
    (shown,) = in_columns([{"recipe": "gemma-2b", "architecture": "gemma", "failed": "stopped after 1 s"}])
    assert (shown["recipe"], shown["trains with"], shown["loss"]) == ("gemma-2b", "stopped after 1 s", "-")
    with pytest.raises(RequestError, match="no system 'gema-2b'; did you mean 'gemma-2b'"):
        bench_architectures(False, "gema-2b", 2, 2, tmp_path, 10)
