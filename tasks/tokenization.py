"""Tokens of texts in any script, for ROUGE, minimum Bayes risk and the diagnostics.

rouge_score drops every letter that is not ASCII: two Russian texts have no word in common, `Küche` and `Köche` are
equal. Texts whose letters are all ASCII keep the tokens of rouge_score, to the last one.
"""

import unicodedata
from collections.abc import Callable, Iterable
from typing import Literal

import regex
from rouge_score import tokenize as rouge_tokenize

from tasks.config import TokenizerName

Tokenizer = Literal["ascii", "unicode", "characters"]
"""A tokenizer that `auto` may stand for, or that a recipe names."""

_WITHOUT_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese, which write no spaces between words: each character is a token."""
_CHARACTER = rf"[{_WITHOUT_SPACES}&&[\p{{L}}\p{{N}}]]\p{{M}}*"
_WORD = rf"[[\p{{L}}\p{{N}}]--[{_WITHOUT_SPACES}]][\p{{L}}\p{{N}}\p{{M}}--[{_WITHOUT_SPACES}]]*"
_PATTERNS = {
    "unicode": regex.compile(f"{_CHARACTER}|{_WORD}", regex.VERSION1),
    "characters": regex.compile(r"[\p{L}\p{N}]\p{M}*", regex.VERSION1),
}
_COMPOUNDS = regex.compile(rf"{_CHARACTER}|{_WORD}(?:['’-]{_WORD})*", regex.VERSION1)
_UNSPACED = regex.compile(_CHARACTER, regex.VERSION1)
_NOT_STEMMED = 3
"""rouge_score stems only words of more letters."""


def has_other_letters(text: str) -> bool:
    """Whether a text has letters that rouge_score drops."""
    return not text.isascii() and any(c.isalpha() and not c.isascii() for c in unicodedata.normalize("NFC", text))


def tokenizer_for(name: TokenizerName, texts: Iterable[str]) -> Tokenizer:
    """The tokenizer of this name. `auto` is `unicode` if one of the texts has letters that are not ASCII."""
    if name != "auto":
        return name
    return "unicode" if any(map(has_other_letters, texts)) else "ascii"


def tokenize(text: str, tokenizer: Tokenizer, stem: Callable[[str], str] | None = None) -> list[str]:
    """Tokens in small letters. `stem` gets those in ASCII, except single characters.

    ascii       those of rouge_score
    unicode     words of all scripts, with their combining marks; characters where a script has no spaces
    characters  every letter and digit, with its combining marks
    """
    if tokenizer == "ascii":
        tokens: list[str] = rouge_tokenize.tokenize(text, None)
    else:
        tokens = _PATTERNS[tokenizer].findall(unicodedata.normalize("NFKC", text).lower())
    if stem is None or tokenizer == "characters":
        return tokens
    return [stem(token) if len(token) > _NOT_STEMMED and token.isascii() else token for token in tokens]


def words(text: str) -> list[str]:
    """Words as people count them, in small letters: `don't` and `ice-cream` are one."""
    compounds: list[str] = _COMPOUNDS.findall(unicodedata.normalize("NFC", text).lower())
    return compounds


def length_in_words(text: str) -> int:
    """Parts between spaces; where a script has no spaces, words and characters."""
    return len(words(text)) if _UNSPACED.search(text) else len(text.split())
