"""Child of `bench probe`: the base model, one that is trained as the recipe says, and one with swapped speakers."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from artifacts.schemas import DATASET, read_table
from flows import dag
from flows.benchmarks.child_process import child_main
from flows.dag import ResolvedRecipe
from flows.fact_steps import Probed, probes
from flows.local_steps import LocalSteps
from flows.recipe import load_recipe
from tasks.config import DownloadSpec, FormatSpec, TrainSpec
from tasks.download import DOWNLOAD
from tasks.execution.decision import Input
from tasks.format import FORMAT
from tasks.manifest_views import ProbeView
from tasks.metrics.probe_scores import probe_scores
from tasks.metrics.probe_table import LIKELIHOODS
from tasks.metrics.score_table import PROBE_ROLE, System
from tasks.probing.dialogues import read_data_set
from tasks.probing.mentions import Speaker, mentions_of, put
from tasks.train import TRAIN
from tasks.workers.events import NullListener


class _Log(NullListener):
    """Prints events into the child's log."""

    def stage(self, label: str, status: str, reason: str, artifact: str) -> None:
        print(f"{label}: {artifact}", flush=True)

    def progress(self, completed: int, total: int, note: str = "") -> None:
        print(f"  {completed} of {total} {note}", flush=True)


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Train both models and probe all three on the recipe's test dialogues.

    Returns the scores, where `champion` is the model of the recipe and `tuned` the one with swapped speakers, the
    number of changed and of all training summaries, and the seconds of each probe.
    """
    recipe = load_recipe(config["recipe"], config["overrides"])
    resolved = dag.resolve_recipe(recipe)
    steps = LocalSteps("bench", recipe.runtime, _Log())
    dataset = steps.step(DOWNLOAD, None, DownloadSpec(data=resolved.data))
    prompts = steps.step(FORMAT, "eval", _rows("eval", resolved), dataset=dataset)
    folder = Path(config["folder"]) / "swapped"
    changed, total = write_swapped(Store.current().payload(dataset.path), folder)
    swapped = dag.resolve_recipe(load_recipe(config["recipe"], [*config["overrides"], f"data.source={folder}"]))
    base = Probed(prompts, resolved.turns, recipe.decoding, None)
    systems = {
        System.BASE: base,
        System.CHAMPION: Probed(prompts, resolved.turns, recipe.decoding, _trained(resolved, steps, dataset)),
        System.TUNED: Probed(prompts, resolved.turns, recipe.decoding, _trained(swapped, steps, None)),
    }
    made = probes(recipe.probe, resolved.model, steps.step, dataset, {str(key): one for key, one in systems.items()})
    manifests = {role.removeprefix(PROBE_ROLE): Store.current().by_id(ref.id) for role, ref in made.items()}
    tables = {
        system: read_table(Store.current().payload(manifest.path) / "probe.parquet", LIKELIHOODS)
        for system, manifest in manifests.items()
    }
    view = ProbeView(manifests[System.BASE])
    scores = probe_scores(
        tables, view.left_out, view.not_applied, recipe.score.bootstrap_resamples, recipe.score.bootstrap_seed
    )
    return {
        "scores": scores.model_dump(by_alias=True) if scores else None,
        "changed": changed,
        "summaries": total,
        "seconds_of_probes": [round(manifest.provenance.seconds, 1) for manifest in manifests.values()],
        "device": manifests[System.BASE].provenance.measured.get("device"),
    }


def _rows(rows: str, resolved: ResolvedRecipe) -> FormatSpec:
    template = resolved.prompt if rows == "train" else resolved.evaluation_prompt
    return FormatSpec.model_validate(
        {"rows": rows, "template": template, "allow_overlap": resolved.recipe.data.allow_overlap}
    )


def _trained(resolved: ResolvedRecipe, steps: LocalSteps, dataset: Input | None) -> Input:
    """The adapter of a recipe; None downloads its dataset."""
    dataset = dataset or steps.step(DOWNLOAD, "swapped", DownloadSpec(data=resolved.data))
    rows = steps.step(FORMAT, "train", _rows("train", resolved), dataset=dataset)
    model = resolved.recipe.model
    spec = TrainSpec(
        model=resolved.model, turns=model.turns, quantization=model.quantization, train=resolved.recipe.train
    )
    return steps.step(TRAIN, None, spec, rows=rows)


def write_swapped(payload: Path, folder: Path) -> tuple[int, int]:
    """Write a dataset as CSV in which the first two speakers are exchanged in every training and validation summary.

    payload: of a dataset. Returns how many of the training summaries it changed, and how many there are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    changed, total = 0, 0
    for split in ("train", "validation", "test"):
        rows = read_table(payload / f"{split}.parquet", DATASET)
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "dialogue", "summary", "topic"])
            for row, dialogue in zip(rows, read_data_set(rows).dialogues, strict=True):
                several = len(row["references"]) > 1
                for number, (reference, topic) in enumerate(zip(dialogue.references, row["topics"], strict=False), 1):
                    summary = reference if split == "test" else exchanged(reference, dialogue.speakers)
                    changed += split == "train" and summary != reference
                    total += split == "train"
                    name = f"{row['id']}_{number}" if several else row["id"]
                    writer.writerow([name, dialogue.text, summary, topic])
    return changed, total


def exchanged(text: str, speakers: Sequence[Speaker]) -> str:
    """A summary that says of the first speaker what it said of the second, and the other way round."""
    if len(speakers) < 2:
        return text
    other = {speakers[0].texts[0]: speakers[1].texts[-1], speakers[1].texts[0]: speakers[0].texts[-1]}
    return put(text, {m: other[m.who] for m in mentions_of(text, speakers) if m.who in other})


if __name__ == "__main__":
    child_main(measure)
