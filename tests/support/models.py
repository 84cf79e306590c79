"""Tiny random models with a tokenizer of their own, and adapters for them."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as bpe_models
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from artifacts.artifact_store import Store
from artifacts.manifest import InputRef, Provenance
from tasks.config import SEVEN_LINEARS, ModelConfig
from tasks.sources.resolve import resolve_model
from tasks.training.packing import IGNORED, Row
from tests.support.data import read_csv
from tests.support.paths import SAMPLE


def build_tiny_models(folder: Path) -> dict[str, Path]:
    """Random models of the real classes with the special tokens of Gemma and SmolLM2: folders `gemma` and `llama`."""
    special = {
        "gemma": ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
        "llama": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    }
    roles = {
        "gemma": {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"},
        "llama": {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>", "pad_token": "<|endoftext|>"},
    }
    folders = {}
    for name in special:
        tokenizer = tiny_tokenizer(special[name], **roles[name])
        shape = {
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "max_position_embeddings": 2048,
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "bos_token_id": tokenizer.bos_token_id,
        }
        torch.manual_seed(0)
        model: Any = (
            GemmaForCausalLM(GemmaConfig(**shape)) if name == "gemma" else LlamaForCausalLM(LlamaConfig(**shape))
        )
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
        folders[name] = folder / name
    return folders


def with_stop(source: Path, target: Path, scale: float) -> Path:
    """A copy of a model whose output row of the stop token is scaled: the larger, the sooner some rows end."""
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.convert_tokens_to_ids("<|im_end|>")] *= scale
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def tiny_tokenizer(special: list[str], **roles: str) -> PreTrainedTokenizerFast:
    """A tokenizer of 600 tokens trained on the sample; `roles` such as `eos_token` name some of the special tokens."""
    bpe = Tokenizer(bpe_models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([row["dialogue"] + row["summary"] for row in read_csv(SAMPLE / "train.csv")], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, **roles)


def nf4_model(folder: Path) -> Any:
    """A model whose weights bitsandbytes keeps in NF4, computed in fp32."""
    settings: Any = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, quantization_config=settings)
    for module in model.modules():  # or bitsandbytes repacks the weights of a CPU with bf16, and rounds products
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model.eval()


def random_adapter(model: Path, out: Path, seed: int = 1, scale: float = 0.2) -> Path:
    """Write an adapter with peft alone, with B of the standard deviation `scale`; 0.2 changes a tiny model much."""
    linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    tuned = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=linears, task_type="CAUSAL_LM"))
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter.data, std=scale)
    tuned.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    return out


def publish_adapter(
    store: Store,
    model: Path,
    folder: Path,
    template: str,
    key: str = "ab" * 32,
    seed: int = 1,
    quantization: str = "none",
) -> str:
    """Publish a random adapter of the Llama `model` as a chatml recipe would; returns the artifact's id."""
    revision = resolve_model(ModelConfig(source=str(model))).revision
    settings = {"turns": "chatml", "quantization": quantization, "train": {"epochs": 1}}
    return store.publish(
        random_adapter(model, folder, seed),
        stage="train",
        variant=None,
        name="made",
        key=key,
        rows=1,
        identity={"config": {"model": {"revision": revision}, **settings}},
        inputs={"rows": InputRef(id="format-00000000", digest="0" * 64)},
        facts={"template": template},
        provenance=Provenance(
            at="2026-01-01T00:00:00", seconds=0, run="test", origin={"recipe": "quickstart 00000000"}
        ),
    ).id


def peft_model(folder: Path, **lora: Any) -> Any:
    """A tiny model with an adapter whose B matrices are not zero."""
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    settings = {"r": 4, "lora_alpha": 6, "target_modules": list(SEVEN_LINEARS), "task_type": "CAUSAL_LM"} | lora
    model = get_peft_model(base, LoraConfig(**settings))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter.data, std=0.05)
        if "norm" in name:
            torch.nn.init.normal_(parameter.data, mean=0.3, std=0.3)
    return model


def random_rows(count: int = 5, seed: int = 0) -> list[Row]:
    """Rows of 3 to 40 random tokens; the second half of each has labels."""
    torch.manual_seed(seed)
    rows = []
    for length in torch.randint(3, 40, (count,)).tolist():
        ids = torch.randint(3, 500, (length,)).tolist()
        rows.append((ids, [IGNORED] * (length // 2) + ids[length // 2 :]))
    return rows
