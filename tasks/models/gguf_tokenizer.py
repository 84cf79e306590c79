"""A tokenizer of transformers as the metadata of a GGUF file, so that llama.cpp makes the same tokens of a text.

llama.cpp knows two kinds that models of this project have: byte-level BPE (`gpt2`), whose rule to split text into words
it knows by name (`tokenizer.ggml.pre`), and BPE of sentencepiece (`llama`), which merges by the scores of the tokens.
The rule is found by the structure of the tokenizer, not by a checksum of known vocabularies as llama.cpp's script does:
transformers reads the tokenizer of a GGUF file with other rules than the file names, and those are what a model was
trained with.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gguf import GGUFWriter, TokenType
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX as QWEN2

from artifacts.errors import RequestError

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SPACE = "▁"
_OTHER_WAY = "export with --merged and use transformers"


@dataclass(frozen=True)
class Vocabulary:
    """Tokens in the order of their ids, and how llama.cpp finds them in a text."""

    model: str
    """`gpt2` or `llama`."""
    pre: str
    tokens: list[str]
    types: list[TokenType]
    merges: list[str]
    """Of byte-level BPE, in the order of their rank; else empty."""
    scores: list[float]
    """Of sentencepiece; else empty."""

    def write(self, writer: GGUFWriter) -> None:
        """Add it to the metadata."""
        writer.add_tokenizer_model(self.model)
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(self.tokens)
        if self.scores:
            writer.add_token_scores(self.scores)
        writer.add_token_types(self.types)
        if self.merges:
            writer.add_token_merges(self.merges)
        writer.add_add_space_prefix(False)


def vocabulary_of(tokenizer: Any, rows: int, control: frozenset[int] = frozenset()) -> Vocabulary:
    """The vocabulary of a fast tokenizer, padded to the rows of the embeddings.

    control: ids that llama.cpp must not show as text, in addition to the tokenizer's special tokens. RequestError if
    llama.cpp would make other tokens of a text.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = json.loads(backend.to_str()) if backend is not None else {"model": {"type": type(tokenizer).__name__}}
    model = content["model"]
    if model["type"] != "BPE":
        raise RequestError(f"llama.cpp does not know tokenizers of the type {model['type']}: {_OTHER_WAY}")
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    sentencepiece = bool(model["byte_fallback"])
    pre = _sentencepiece(content, merges) if sentencepiece else _byte_level(content)
    tokens, types = _tokens(content, rows, sentencepiece, control)
    return Vocabulary(
        model="llama" if sentencepiece else "gpt2",
        pre=pre,
        tokens=tokens,
        types=types,
        merges=[] if sentencepiece else [" ".join(merge) for merge in merges],
        scores=_scores(tokens, merges) if sentencepiece else [],
    )


def _parts(component: Mapping[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    """The normalizers or pre-tokenizers of a sequence."""
    if component is None:
        return []
    return [dict(part) for part in component[inner]] if component["type"] == "Sequence" else [dict(component)]


def _byte_level(content: dict[str, Any]) -> str:
    """The name in llama.cpp of the rule that splits a text into words."""
    normalizers = {part["type"] for part in _parts(content["normalizer"], "normalizers")}
    *first, last = _parts(content["pre_tokenizer"], "pretokenizers") or [{"type": "none"}]
    rule = None
    if last["type"] == "ByteLevel" and not last["add_prefix_space"] and normalizers <= {"NFC"}:
        if last["use_regex"]:
            digits = [part.get("individual_digits") for part in first if part["type"] == "Digits"]
            rule = "gpt-2" if not first else "smollm" if digits == [True] and len(first) == 1 else None
        elif len(first) == 1 and first[0]["type"] == "Split" and first[0]["behavior"] == "Isolated":
            rule = {QWEN2: "qwen2", LLAMA3: "smaug-bpe"}.get(first[0]["pattern"].get("Regex"))
    if content["model"]["ignore_merges"]:  # which llama.cpp does for this rule only
        rule = "llama-bpe" if rule == "smaug-bpe" else None
    if rule is None:
        raise RequestError(f"llama.cpp does not know how this tokenizer splits a text into words: {_OTHER_WAY}")
    return rule


def _sentencepiece(content: dict[str, Any], merges: list[tuple[str, ...]]) -> str:
    """`default`, if llama.cpp finds the same tokens by scores as the tokenizer by its merges."""
    normalizers, first = _parts(content["normalizer"], "normalizers"), _parts(content["pre_tokenizer"], "pretokenizers")
    split = [(part["type"], part.get("pattern")) for part in first]
    replaced = [(part["type"], part.get("pattern"), part.get("content")) for part in normalizers]
    if replaced != [("Replace", {"String": " "}, _SPACE)] or split not in ([], [("Split", {"String": " "})]):
        raise RequestError(f"llama.cpp does not add or replace spaces as this tokenizer does: {_OTHER_WAY}")
    made = ["".join(merge) for merge in merges]
    changes = 1 + sum(one != other for one, other in pairwise(made))
    vocabulary, pairs = content["model"]["vocab"], set(merges)
    complete = all(
        (token[:i], token[i:]) in pairs
        for token in set(made)
        for i in range(1, len(token))
        if token[:i] in vocabulary and token[i:] in vocabulary
    )
    if changes != len(set(made)) or not complete:
        raise RequestError(f"the merges of this tokenizer are not those of a sentencepiece model: {_OTHER_WAY}")
    return "default"


def _scores(tokens: list[str], merges: list[tuple[str, ...]]) -> list[float]:
    """The score of each token: the earlier it is merged, the higher. sentencepiece's own are of the same order."""
    ranks = {token: -float(rank) for rank, token in enumerate(dict.fromkeys("".join(merge) for merge in merges))}
    return [ranks.get(token, -float(len(ranks))) for token in tokens]


def _tokens(
    content: dict[str, Any], rows: int, sentencepiece: bool, control: frozenset[int]
) -> tuple[list[str], list[TokenType]]:
    """Tokens and their types by id. RequestError if the embeddings have fewer rows than there are tokens."""
    by_id = {number: token for token, number in content["model"]["vocab"].items()}
    added = {token["id"]: token for token in content["added_tokens"]}
    by_id |= {number: token["content"] for number, token in added.items()}
    if max(by_id) >= rows:
        raise RequestError(f"the tokenizer has {max(by_id) + 1} tokens and the model {rows}: use the model's tokenizer")
    tokens, types = [], []
    for number in range(rows):
        token = by_id.get(number, f"[PAD{number}]")
        kind = TokenType.NORMAL if number in by_id else TokenType.UNUSED
        if number in added:
            special = added[number]["special"] or number in control
            kind = TokenType.CONTROL if special else TokenType.USER_DEFINED
            token = token if special else token.replace(_SPACE, " ")  # llama.cpp finds these before it replaces spaces
        elif sentencepiece and len(token) == 6 and token.startswith("<0x"):
            kind = TokenType.BYTE
        tokens.append(token)
        types.append(TokenType.UNKNOWN if sentencepiece and token == content["model"]["unk_token"] else kind)
    return tokens, types
