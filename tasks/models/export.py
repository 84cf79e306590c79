"""export: an adapter -> a folder for plain peft, or merged into a bf16 model for plain transformers.

The exported chat template contains the prompt, and the dialogue is the user's message, so using the model needs
nothing of this project.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from artifacts.errors import RequestError
from tasks.config import SummarizeSpec
from tasks.models.prompt_template import PLACEHOLDER
from tasks.models.turns import turns_of_model
from tasks.sources.hub import is_commit


def chat_template(spec: SummarizeSpec) -> str:
    """A Jinja chat template that puts turns and prompt around the last message, whose content is a text or parts.

    It gives the text that chat_template.py and prompt_template.py make. It refuses system messages and earlier turns,
    which the model was not trained with.
    """
    turns = turns_of_model(spec.turns, spec.model)
    prefix, suffix = (json.dumps(text, ensure_ascii=False) for text in spec.template.split(PLACEHOLDER))
    opening, closing = (json.dumps(text, ensure_ascii=False) for text in (turns.opening, turns.closing))
    return (
        "{%- if messages | length != 1 or messages[0]['role'] | default('user') != 'user' -%}"
        "{{ raise_exception('This model summarizes one dialogue: pass one message of the user, and no other') }}"
        "{%- endif -%}"
        "{%- set content = messages[-1]['content'] -%}"
        "{%- if content is not string -%}"
        "{%- set content = content | selectattr('type', 'equalto', 'text') | map(attribute='text') | join('') -%}"
        "{%- endif -%}"
        f"{{{{ {opening} + {prefix} + content + {suffix} }}}}"
        f"{{% if add_generation_prompt %}}{{{{ {closing} }}}}{{% endif %}}"
    )


def exported_tokenizer(tokenizer: Any, spec: SummarizeSpec) -> Any:
    """The tokenizer with the chat template, which writes every special token: the tokenizer itself adds none.

    Otherwise a text made by the template and then tokenized, as some servers do it, would begin with <bos> twice.
    """
    tokenizer.chat_template = chat_template(spec)
    tokenizer.add_bos_token = tokenizer.add_eos_token = False
    return tokenizer


def export(spec: SummarizeSpec, adapter: Path, out: Path, base: str | None) -> None:
    """Write the folder `out`, which must be empty or new.

    base: where peft finds the base model (hub id or folder); None merges the adapter into the base model.
    """
    import torch
    from transformers import GenerationConfig

    from tasks.models.adapter_merging import load_merged_model
    from tasks.models.chat_template import TurnEncoder
    from tasks.models.loading import load_tokenizer

    tokenizer = load_tokenizer(spec.model)
    stop_id = TurnEncoder(tokenizer, spec.turns).stop_id
    beams = spec.generate.beams
    generation = GenerationConfig(
        max_new_tokens=spec.generate.max_new_tokens,
        num_beams=beams,
        do_sample=False,
        eos_token_id=stop_id,
        pad_token_id=tokenizer.pad_token_id,
        length_penalty=spec.generate.length_penalty if beams > 1 else None,
    )
    out.mkdir(parents=True, exist_ok=True)
    if base is None:
        cpu, quantization = torch.device("cpu"), spec.generate.quantization
        model = load_merged_model(spec.model, adapter, cpu, quantization).to(torch.bfloat16)
        model.generation_config = generation
        model.save_pretrained(out)
        for file in out.glob("*.safetensors"):  # written for their owner only, while config.json follows the umask
            file.chmod((out / "config.json").stat().st_mode)
    else:
        shutil.copyfile(adapter / "adapter_model.safetensors", out / "adapter_model.safetensors")
        config = json.loads((adapter / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = base
        if base != spec.model.location:
            config["revision"] = None
        (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        generation.save_pretrained(out)
    exported_tokenizer(tokenizer, spec).save_pretrained(out)


def public_base(spec: SummarizeSpec, base: str | None) -> str:
    """Where others find the base model: `base`, else its hub id. RequestError if it is only on this machine."""
    if base is None and not is_commit(spec.model.revision):
        raise RequestError(
            f"the base model {spec.model.origin} is not from the hub: --merged exports it with the adapter, "
            "or --base names where others find the same weights"
        )
    return base or spec.model.location
