"""export: an adapter -> a folder that plain peft loads, or merged a bf16 model that plain transformers loads.

The chat template holds turns and prompt: the dialogue is the user's message, and nothing of this project is needed to ask.
"""

import json
import shutil
from pathlib import Path

from artifacts.errors import RequestError
from tasks.config import SummarizeSpec
from tasks.models.chat_template import TURNS
from tasks.models.prompt_template import PLACEHOLDER
from tasks.sources.hub import is_commit


def chat_template(spec: SummarizeSpec) -> str:
    """Jinja that puts turns and prompt around the last message, as tasks/models/chat_template.py and tasks/models/prompt_template.py do."""
    turns = TURNS[spec.turns]
    before, after = (json.dumps(text, ensure_ascii=False) for text in spec.template.split(PLACEHOLDER))
    opening, closing = (json.dumps(text, ensure_ascii=False) for text in (turns.opening, turns.closing))
    return (
        f"{{{{ {opening} + {before} + messages[-1]['content'] + {after} }}}}"
        f"{{% if add_generation_prompt %}}{{{{ {closing} }}}}{{% endif %}}"
    )


def export(spec: SummarizeSpec, adapter: Path, out: Path, base: str | None) -> None:
    """Write the folder `out`, which has to be empty or new.

    base: where peft finds the base model (hub id or folder); None merges the adapter into it instead.
    """
    import torch
    from transformers import GenerationConfig

    from tasks.models.adapter_merging import load_merged_model
    from tasks.models.chat_template import TurnEncoder
    from tasks.models.loading import load_tokenizer

    tokenizer = load_tokenizer(spec.model)
    stop_id = TurnEncoder(tokenizer, spec.turns).stop_id
    generation = GenerationConfig(
        max_new_tokens=spec.generate.max_new_tokens, num_beams=spec.generate.beams, do_sample=False, eos_token_id=stop_id,
        pad_token_id=tokenizer.pad_token_id, length_penalty=spec.generate.length_penalty if spec.generate.beams > 1 else None,
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    if base is None:
        model = load_merged_model(spec.model, adapter, torch.device("cpu")).to(torch.bfloat16)
        model.generation_config = generation
        model.save_pretrained(out)
        for file in out.glob("*.safetensors"):  # written for their owner alone; config.json follows the umask
            file.chmod((out / "config.json").stat().st_mode)
    else:
        shutil.copyfile(adapter / "adapter_model.safetensors", out / "adapter_model.safetensors")
        config = json.loads((adapter / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = base
        if base != spec.model.location:
            config["revision"] = None
        (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        generation.save_pretrained(out)
    tokenizer.chat_template = chat_template(spec)
    tokenizer.save_pretrained(out)


def base_of(spec: SummarizeSpec, given: str | None) -> str:
    """Where others find the base model. RequestError if only this machine has it and nobody says where else."""
    if given is None and not is_commit(spec.model.revision):
        raise RequestError(
            f"the base model {spec.model.origin} is not from the hub: --merged puts it into the folder, "
            "or --base names where others find the same weights"
        )
    return given or spec.model.location
