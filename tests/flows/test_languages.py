"""The same data in four languages: run, scores, gate and report come to the same decision in all of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from artifacts.schemas import FORMATTED_EVAL, read_table
from tasks.decoding.part_files import save_part
from tests.support.data import read_csv
from tests.support.parallel_data import SCENES, parallel_data
from tests.support.pipelines import MEASUREMENTS, flow_caller, stage_entry

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("workers_inline", "prefect_server", "store")]
TOKENIZERS = {"English": "auto (ascii)", "Russian": "auto (unicode)", "Chinese": "auto (unicode)"}


def patch_summaries(patch: pytest.MonkeyPatch, data: Path) -> None:
    """An adapter writes the reference, the base model the first turn."""
    from tasks import generate

    rows = {row["id"]: row for row in read_csv(data / "test.csv")}

    def workers(module: str, configs: Any, result_type: Any, *rest: Any) -> list[Any]:
        config = configs[0]
        ids = [row["id"] for row in read_table(config.rows / "prompts.parquet", FORMATTED_EVAL)]
        texts = [rows[name]["summary"] if config.adapter else rows[name]["dialogue"].split("\n")[0] for name in ids]
        config.parts.mkdir()
        save_part(
            [
                {"id": name, "prediction": text, "tokens": 1, "stop": "stop_token"}
                for name, text in zip(ids, texts, strict=True)
            ],
            config.parts,
        )
        return [MEASUREMENTS]

    patch.setattr(generate, "run_workers", workers)


@pytest.mark.parametrize("language", SCENES)
def test_a_better_model_becomes_champion_in_every_language(
    tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    """No score is 0 for every system, no guard rejects correct summaries, and the report shows the texts."""
    data = parallel_data(tmp_path / "data", language)
    patch_summaries(monkeypatch, data)
    summary = flow_caller(models["llama"], data)("retrain", 2)
    tuned, base = summary["scores"]["tuned"], summary["scores"]["base"]
    assert {tuned[kind] for kind in ("rouge1", "rouge2", "rougeL")} == {100.0}
    assert 10 < base["rouge1"] < 90
    assert (summary["decision"]["state"], summary["decision"]["reasons"][0][:4]) == ("promoted", "bett")
    payload = Path(stage_entry(summary, "score")["path"]) / "payload"
    scores = json.loads((payload / "scores.json").read_text(encoding="utf-8"))
    protocol = scores["protocols"][scores["headline"]]["protocol"]
    assert protocol["tokenizer"] == TOKENIZERS.get(language, protocol["tokenizer"])
    assert scores["behaviour"]["tuned"]["length_ratio"] == 1
    report = Path(summary["report"]).read_text(encoding="utf-8")
    assert read_csv(data / "test.csv")[0]["summary"] in report
    assert f"tokenizer {protocol['tokenizer']}" in report
