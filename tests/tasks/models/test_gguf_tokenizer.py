"""llama.cpp splits text as the tokenizer does, or the tokenizer is refused."""

from pathlib import Path
from typing import Any

import pytest
from gguf import TokenType
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers import models as token_models
from transformers import PreTrainedTokenizerFast
from transformers.tokenization_utils_base import generate_merges

from artifacts.errors import RequestError
from tasks.models.gguf_file import write_gguf
from tasks.models.gguf_tokenizer import LLAMA3, QWEN2, vocabulary_of
from tests.support.data import read_csv
from tests.support.llama_cpp import LlamaCpp
from tests.support.paths import SAMPLE
from tests.support.tiny_architectures import tiny_model

Split, Bytes = pre_tokenizers.Split, pre_tokenizers.ByteLevel
RULES: dict[str, Any] = {
    "gpt-2": Bytes(add_prefix_space=False),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), Bytes(add_prefix_space=False)]),
    "qwen2": pre_tokenizers.Sequence([Split(Regex(QWEN2), "isolated"), Bytes(add_prefix_space=False, use_regex=False)]),
    "smaug-bpe": pre_tokenizers.Sequence(
        [Split(Regex(LLAMA3), "isolated"), Bytes(add_prefix_space=False, use_regex=False)]
    ),
}
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
HOSTILE = "It's  2 o'clock, YOU'RE\n\n\t12345 €  naïve 漢字 😀\r\n a  1 b   22 000?! \u00a0<eos> <0x41> ▁ x"


def texts() -> list[str]:
    return [row["dialogue"] + row["summary"] for row in read_csv(SAMPLE / "train.csv")]


def byte_level(rule: str) -> PreTrainedTokenizerFast:
    """A tokenizer that is trained with one of the rules."""
    bpe = Tokenizer(token_models.BPE())
    bpe.pre_tokenizer, bpe.decoder = RULES[rule], decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts(), trainers.BpeTrainer(vocab_size=700, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<eos>", pad_token="<pad>")


def sentencepiece(complete: bool = True) -> PreTrainedTokenizerFast:
    """A tokenizer as transformers makes it of a sentencepiece model, such as Gemma's: merges follow the pieces."""
    source = Tokenizer(token_models.BPE())
    source.normalizer = normalizers.Replace(" ", "▁")
    source.train_from_iterator(texts(), trainers.BpeTrainer(vocab_size=500, show_progress=False))
    pieces = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [piece for piece, _ in sorted(source.get_vocab().items(), key=lambda item: item[1])]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = generate_merges(vocabulary, {piece: -number for piece, number in vocabulary.items()})
    model = token_models.BPE(
        vocabulary, merges if complete else merges[::2], unk_token="<unk>", byte_fallback=True, fuse_unk=True
    )
    bpe = Tokenizer(model)
    bpe.normalizer = normalizers.Replace(" ", "▁")
    bpe.pre_tokenizer = Split(" ", "merged_with_previous")
    roles = {"eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, additional_special_tokens=["<start_of_turn>", "<end_of_turn>"], **roles
    )


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_is_known_by_its_structure(rule: str) -> None:
    """Whatever the vocabulary is."""
    vocabulary = vocabulary_of(byte_level(rule), 705)
    assert (vocabulary.model, vocabulary.pre, vocabulary.scores) == ("gpt2", rule, [])
    assert vocabulary.tokens[700:] == [f"[PAD{number}]" for number in range(700, 705)]
    assert set(vocabulary.types[700:]) == {TokenType.UNUSED}
    assert vocabulary.types[vocabulary.tokens.index("<eos>")] == TokenType.CONTROL


@pytest.mark.slow
@pytest.mark.parametrize("rule", [*RULES, "sentencepiece"])
def test_llama_cpp_makes_the_same_tokens(rule: str, tmp_path: Path, models: dict[str, Path]) -> None:
    """By the rule's name, or by scores instead of merges."""
    tokenizer: Any = sentencepiece() if rule == "sentencepiece" else byte_level(rule)
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    model, tokenizer = tiny_model("llama", tmp_path / "tokenizer")
    write_gguf(tmp_path / "x.gguf", model, tokenizer, 1, "", "f32", "x")
    server = LlamaCpp(tmp_path / "x.gguf")
    for text in [HOSTILE, *texts()[:40]]:
        assert server.tokens(text) == tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    marked = "<start_of_turn>user\nHi  there<end_of_turn>\n"
    assert server.tokens(marked, special=True) == tokenizer(marked, add_special_tokens=False)["input_ids"]


def test_types_of_a_sentencepiece_vocabulary() -> None:
    """Bytes and the unknown token have types of their own; the earlier a piece is merged, the higher its score."""
    vocabulary = vocabulary_of(sentencepiece(), 2000)
    kinds = dict(zip(vocabulary.tokens, vocabulary.types, strict=True))
    assert (vocabulary.model, vocabulary.pre, vocabulary.merges) == ("llama", "default", [])
    assert (kinds["<0x41>"], kinds["<unk>"], kinds["<bos>"]) == (TokenType.BYTE, TokenType.UNKNOWN, TokenType.CONTROL)
    scores = dict(zip(vocabulary.tokens, vocabulary.scores, strict=True))
    assert scores["on"] > scores[max(sentencepiece().get_vocab(), key=len)] > -2000


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda bpe: setattr(bpe, "normalizer", normalizers.Lowercase()), "how this tokenizer splits"),
        (lambda bpe: setattr(bpe, "pre_tokenizer", Bytes(add_prefix_space=True)), "how this tokenizer splits"),
        (lambda bpe: setattr(bpe, "pre_tokenizer", Split(Regex("x"), "isolated")), "how this tokenizer splits"),
        (lambda bpe: setattr(bpe.model, "ignore_merges", True), "how this tokenizer splits"),
        (lambda bpe: setattr(bpe, "model", token_models.WordPiece({"a": 0}, unk_token="a")), "of the type WordPiece"),
    ],
)
def test_tokenizers_that_llama_cpp_does_not_know_are_refused(change: Any, sentence: str) -> None:
    """Lower case, another rule, another model."""
    tokenizer = byte_level("gpt-2")
    change(tokenizer.backend_tokenizer)
    with pytest.raises(RequestError, match=f"{sentence}.*--merged"):
        vocabulary_of(tokenizer, 700)


def test_merges_that_scores_cannot_express_are_refused() -> None:
    """A BPE with byte fallback that was not trained by sentencepiece, and one that adds a space before a text."""
    with pytest.raises(RequestError, match="not those of a sentencepiece model"):
        vocabulary_of(sentencepiece(complete=False), 2000)
    tokenizer: Any = sentencepiece()
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    with pytest.raises(RequestError, match="does not add or replace spaces"):
        vocabulary_of(tokenizer, 2000)


def test_more_tokens_than_rows_are_refused() -> None:
    """Of the embeddings."""
    with pytest.raises(RequestError, match="the tokenizer has 700 tokens and the model 600"):
        vocabulary_of(byte_level("gpt-2"), 600)
