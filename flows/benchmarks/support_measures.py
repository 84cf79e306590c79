"""Candidates for a measure of faithfulness that needs no model: how the dialogue supports the words of a summary.

They compare content words, stemmed as in ROUGE. BENCHMARKS.md has what they are worth.
"""

import re
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise

import numpy as np

from flows.benchmarks.faithfulness_data import LabelledSummaries
from tasks.metrics.rouge import Scorer
from tasks.metrics.word_forms import word_set
from tasks.tokenization import tokenize

_FUNCTION_WORDS = word_set(
    "i me my we our you your he him his she her it its they them their what which who this that these those am is are "
    "was were be been being have has had do does did a an the and but if or because as until while of at by for with "
    "about into through to from in out on off over under again then once here there when where why how all any both "
    "each few more most other some such no nor not only own same so than too very can will just should now would could "
    "also go going get want s t d ll re ve m don"
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_CLAUSE = re.compile(r"(?<=[.!?])\s+|[,;]\s+|\s+(?:and|but|because|so|while|when|that)\s+")
_SPEAKER = re.compile(r"([^:\n]{1,30}):(.*)")
MOST_UTTERANCES = 10
"""A sentence that draws on more utterances is not followed further."""


@lru_cache(maxsize=1)
def _stem() -> Callable[[str], str]:
    from nltk.stem import porter  # takes 0.2 s to import

    return lru_cache(maxsize=1 << 16)(porter.PorterStemmer().stem)


@lru_cache(maxsize=1 << 14)
def content_words(text: str) -> tuple[str, ...]:
    """Stems of the words that are no function words and have two letters or more."""
    words = tokenize(text, "ascii")
    return tuple(_stem()(word) for word in words if word not in _FUNCTION_WORDS and len(word) > 1)


@lru_cache(maxsize=1 << 10)
def utterances(dialogue: str) -> tuple[tuple[str, frozenset[str]], ...]:
    """(speaker, content words of the utterance with the speaker's name); the speaker is empty in a line without one."""
    found = []
    for line in dialogue.split("\n"):
        match = _SPEAKER.fullmatch(line)
        found.append((match[1].strip() if match else "", frozenset(content_words(line))))
    return tuple(found)


def sentences(summary: str) -> list[str]:
    """The sentences of a summary that have a content word."""
    return [sentence for sentence in _SENTENCE.split(summary) if content_words(sentence)]


def words_not_in_dialogue(summary: str, dialogue: str) -> float:
    """Content words of the summary that no utterance has."""
    said = frozenset().union(*(words for _, words in utterances(dialogue)))
    return float(sum(word not in said for word in content_words(summary)))


def words_outside_best_utterance(summary: str, dialogue: str) -> float:
    """Content words of each sentence that the utterance with the most of them does not have, over all sentences."""
    said = [words for _, words in utterances(dialogue)]
    return float(
        sum(
            min(sum(word not in words for word in content_words(sentence)) for words in said)
            for sentence in sentences(summary)
        )
    )


def least_supported_sentence(summary: str, dialogue: str) -> float:
    """Lowest share of a sentence's content words that two utterances in a row have; 1 without a sentence."""
    said = [words for _, words in utterances(dialogue)]
    pairs = [first | second for first, second in pairwise(said)] or said
    shares = []
    for sentence in sentences(summary):
        words = content_words(sentence)
        shares.append(max(sum(word in pair for word in words) / len(words) for pair in pairs))
    return min(shares, default=1.0)


def utterances_drawn_on(summary: str, dialogue: str) -> float:
    """How many utterances it takes to find the words of each sentence that the dialogue has, over all sentences.

    Speakers' names do not count. The utterance with the most of the remaining words is taken first.
    """
    said = [words for _, words in utterances(dialogue)]
    names = {word for speaker, _ in utterances(dialogue) for word in content_words(speaker)}
    count = 0
    for sentence in sentences(summary):
        left = {word for word in content_words(sentence) if any(word in words for words in said)} - names
        for _ in range(MOST_UTTERANCES):
            if not left:
                break
            left -= max(said, key=lambda words: len(left & words))
            count += 1
    return float(count)


def words_of_other_speakers(summary: str, dialogue: str) -> float:
    """How many more words of a clause another speaker said than the speaker whom the clause names first.

    Over all clauses; one whose own speaker said at least as many counts 0.
    """
    by_speaker: dict[str, set[str]] = defaultdict(set)
    for speaker, words in utterances(dialogue):
        if speaker:
            by_speaker[speaker] |= words
    names = {word for speaker in by_speaker for word in content_words(speaker)}
    excess = 0
    for clause in _CLAUSE.split(summary):
        places = {
            match.start(): speaker
            for speaker in by_speaker
            if (match := re.search(rf"(?<!\w){re.escape(speaker.split()[0])}(?!\w)", clause))
        }
        claimed = [word for word in content_words(clause) if word not in names]
        if not places or not claimed:
            continue
        shared = {speaker: sum(word in said for word in claimed) for speaker, said in by_speaker.items()}
        own = shared.pop(places[min(places)])
        excess += max(max(shared.values(), default=0) - own, 0)
    return float(excess)


def agreement_with_other_systems(data: LabelledSummaries) -> np.ndarray:
    """ROUGE-L precision of each summary against those of the other systems, mean; 1 without another system."""
    scorer, by_dialogue = Scorer(stemming=True), defaultdict(list)
    for i, name in enumerate(data.ids):
        by_dialogue[name].append(i)
    return np.asarray(
        [
            np.mean([scorer(data.summaries[j], text)[2][0] for j in by_dialogue[name] if j != i] or [1.0])
            for i, (name, text) in enumerate(zip(data.ids, data.summaries, strict=True))
        ]
    )
