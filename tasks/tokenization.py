"""Words of a text for ROUGE and minimum Bayes risk: those of rouge_score, and letters that are not ASCII as well.

rouge_score drops every letter that is not ASCII: two Russian texts have no word in common, `Küche` and `Köche` are
equal. Texts whose letters are all ASCII keep the tokens of rouge_score, to the last one.
"""

import re
import unicodedata
from collections.abc import Callable

from rouge_score import tokenize

_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese, which write no spaces between words: each character is a token."""
_NOT_STEMMED = 3
"""rouge_score stems only words of more letters."""


def has_other_letters(text: str) -> bool:
    """Whether a text has letters that rouge_score drops."""
    return not text.isascii() and any(c.isalpha() and not c.isascii() for c in text)


def words(text: str, stem: Callable[[str], str] | None, other_letters: bool) -> list[str]:
    """The tokens of rouge_score or, with `other_letters`, words of all scripts. `stem` is for words in ASCII alone."""
    tokens: list[str] = _unicode_words(text) if other_letters else tokenize.tokenize(text, None)
    if stem is None:
        return tokens
    return [stem(token) if len(token) > _NOT_STEMMED and token.isascii() else token for token in tokens]


def _unicode_words(text: str) -> list[str]:
    """Letters and digits of any script with their combining marks, in small letters."""
    tokens: list[str] = []
    in_word = False
    for character in unicodedata.normalize("NFKC", text).lower():
        category = unicodedata.category(character)[0]
        if category == "M" and tokens and (in_word or _WITHOUT_SPACES.match(tokens[-1])):
            tokens[-1] += character
        elif _WITHOUT_SPACES.match(character):
            tokens.append(character)
            in_word = False
        elif category in "LN":
            if in_word:
                tokens[-1] += character
            else:
                tokens.append(character)
            in_word = True
        else:
            in_word = False
    return tokens
