"""A store with two random adapters of a model, and the first one merged into a model for `transformers serve`."""

from pathlib import Path
from typing import Any

from flows.benchmarks.child_process import child_main


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Publish the adapters in the store of this process; returns their ids and the revision of the base model."""
    from artifacts.artifact_store import Store
    from artifacts.manifest import InputRef, Provenance
    from flows.inference.model_selection import select_model
    from flows.inference.prompt_library import find_prompt
    from flows.recipe import load_recipe
    from tasks.models.export import export
    from tasks.sources.resolve import resolve_model

    recipe, folder, store = load_recipe(config["recipe"], config["overrides"]), Path(config["folder"]), Store.current()
    model, template = resolve_model(recipe.model), find_prompt(recipe.prompt).template
    ids = [
        store.publish(
            _random_adapter(model, folder / key, seed),
            stage="train",
            variant=None,
            name="random",
            key=key * 32,
            rows=1,
            identity={"config": {"model": {"revision": model.revision}, "turns": recipe.model.turns, "train": {}}},
            inputs={"rows": InputRef(id="format-00000000", digest="0" * 64)},
            facts={"template": template},
            provenance=Provenance(
                at=f"2026-01-0{seed + 1}T00:00:00", seconds=0, run="bench", origin={"recipe": recipe.name}
            ),
        ).id
        for seed, key in enumerate(("aa", "bb"))
    ]
    selected = select_model(ids[0], config["recipe"], None, config["overrides"])
    assert selected.adapter is not None
    export(selected.spec, selected.adapter, folder / "merged", None)
    return {
        "adapters": ids,
        "revision": model.revision,
        "champion": {
            "template": selected.spec.template,
            "turns": selected.spec.turns,
            "generate": selected.spec.generate.model_dump(exclude={"limit"}),
        },
    }


def _random_adapter(model: Any, out: Path, seed: int) -> Path:
    """An adapter that changes the logits much."""
    import torch
    from peft import LoraConfig, get_peft_model

    from tasks.config import SEVEN_LINEARS
    from tasks.models.loading import load_model

    torch.manual_seed(seed)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules=list(SEVEN_LINEARS), task_type="CAUSAL_LM")
    tuned: Any = get_peft_model(load_model(model, torch.float32), settings)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter.data, std=0.2)
    tuned.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    return out


if __name__ == "__main__":
    child_main(measure)
