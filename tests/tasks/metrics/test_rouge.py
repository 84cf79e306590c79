"""ROUGE by hand and by rouge_score itself: faster is allowed, another digit is not."""

from itertools import cycle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from tasks.metrics.rouge import Scorer, score_rows
from tasks.metrics.score_table import ROUGE_TYPES, STATISTICS
from tests.support.data import read_csv
from tests.support.paths import SAMPLE

ODD = (
    "",
    " ",
    "…",
    "?!",
    "über naïve café",
    "日本語 テスト",
    "Don't-stop\nrunning\n\nrunners",
    "a\x00b",
    "x" * 3000,
    "the " * 800,
    "\n\n",
    "\nthe cat\n",
    "the cat\r\nsat\u2028down",
    "...\nthe cat sat\n?!",
    "İstanbul K ﬁ",
    "a_b #Person1#'s",
)
SCORERS = {stem: Scorer(stem) for stem in (True, False)}
ORACLES = {stem: rouge_scorer.RougeScorer(list(ROUGE_TYPES), use_stemmer=stem) for stem in (True, False)}
# few words, so that texts share some, in forms that stems unite; lines, empty ones among them
WORDS = st.sampled_from(
    ["the", "a", "cat", "cats", "running", "runs", "ran", "nation", "national", "ies", "eeing", "-", "é", "#Person1#"]
)
LINES = st.lists(st.lists(WORDS, max_size=7).map(" ".join), max_size=4).map("\n".join)
TEXTS = LINES | st.text(max_size=60) | st.text("ab \n.eings", max_size=60)


def has_ascii_letters_only(text: str) -> bool:
    return not any(c.isalpha() and not c.isascii() for c in text)


def oracle(reference: str, prediction: str, stem: bool) -> tuple[tuple[float, float, float], ...]:
    """The scores of rouge_score, as tuples like those of our scorer."""
    scores = ORACLES[stem].score(reference, prediction)
    return tuple((scores[kind].precision, scores[kind].recall, scores[kind].fmeasure) for kind in ROUGE_TYPES)


@pytest.mark.parametrize(
    ("prediction", "reference", "kind", "expected"),
    [
        # 3 of 3 predicted words are in the reference, 3 of its 4 words were predicted: F1 = 2 * 3/4 / (7/4)
        ("the cat sat", "the cat sat down", "rouge1", (1, 3 / 4, 6 / 7)),
        # pairs: "the cat", "cat sat" of "the cat", "cat sat", "sat down": F1 = 2 * 2/3 / (5/3)
        ("the cat sat", "the cat sat down", "rouge2", (1, 2 / 3, 4 / 5)),
        ("the cat sat", "the cat sat down", "rougeL", (1, 3 / 4, 6 / 7)),
        # in order with gaps: the . cat . sat, 3 of 3 and 3 of 5; no pair stands side by side in the reference
        ("the cat sat", "the black cat quietly sat", "rougeL", (1, 3 / 5, 3 / 4)),
        ("the cat sat", "the black cat quietly sat", "rouge2", (0, 0, 0)),
        # the same words in reverse order: the longest common subsequence has one word
        ("sat cat the", "the cat sat", "rouge1", (1, 1, 1)),
        ("sat cat the", "the cat sat", "rougeL", (1 / 3, 1 / 3, 1 / 3)),
        # a word counts as often as it stands in both: "the" once of three
        ("the the the", "the dog", "rouge1", (1 / 3, 1 / 2, 2 / 5)),
        # a line is a sentence to rougeLsum alone: both lines are found whole, but rougeL sees one of them in order
        ("the cat\nsat down", "sat down\nthe cat", "rougeLsum", (1, 1, 1)),
        ("the cat\nsat down", "sat down\nthe cat", "rougeL", (1 / 2, 1 / 2, 1 / 2)),
        # case and punctuation are no part of a word
        ("The CAT, sat!", "the cat sat", "rouge2", (1, 1, 1)),
        ("", "the cat sat", "rouge1", (0, 0, 0)),
        ("", "the cat sat", "rougeLsum", (0, 0, 0)),
        ("?!", "the cat sat", "rougeL", (0, 0, 0)),
    ],
)
def test_rouge_equals_what_is_counted_by_hand(
    prediction: str, reference: str, kind: str, expected: tuple[float, float, float]
) -> None:
    """Precision, recall and F1 are the ratios that a person finds with a pencil."""
    score = score_rows([prediction], [[reference]], SCORERS[True])[0, 0, ROUGE_TYPES.index(kind)]
    assert score == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("prediction", "reference", "stemmed", "unstemmed"),
    [
        ("running", "runs", 1, 0),  # both have the stem "run"
        ("he walked home", "he walks home", 1, 2 / 3),
        ("ads", "ad", 0, 0),  # words of three letters and fewer keep their form
        ("university", "universe", 1, 0),  # Porter's stem of both is "univers"
    ],
)
def test_stemming_makes_forms_of_a_word_equal(
    prediction: str, reference: str, stemmed: float, unstemmed: float
) -> None:
    """A protocol with stemming compares stems; one without compares words as written."""
    for stem, expected in ((True, stemmed), (False, unstemmed)):
        score = score_rows([prediction], [[reference]], SCORERS[stem])[
            0, 0, ROUGE_TYPES.index("rouge1"), STATISTICS.index("f1")
        ]
        assert score == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("stem", [True, False])
def test_odd_texts_score_as_in_rouge_score_to_the_last_digit(stem: bool) -> None:
    """Every pair of them, either way round: empty, without a word, in other scripts, with odd line ends, long."""
    long = ("x" * 3000, "the " * 800)
    pairs = [(a, b) for a in ODD for b in ODD if a not in long or b not in long or a is b]
    assert len(pairs) > 200
    for a, b in pairs:
        if not has_ascii_letters_only(a):
            continue
        assert SCORERS[stem](a, b) == oracle(a, b, stem), (a[:40], b[:40])


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(TEXTS, TEXTS, st.booleans())
def test_any_two_texts_score_as_in_rouge_score_to_the_last_digit(reference: str, prediction: str, stem: bool) -> None:
    """Compared with ==, not nearly."""
    assume(has_ascii_letters_only(reference))
    assert SCORERS[stem](reference, prediction) == oracle(reference, prediction, stem)


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("Анна опоздала на поезд.", "Анна опоздала на поезд.", 1),
        ("Кошка спит.", "Анна опоздала на поезд.", 0),
        ("小明迟到了。", "小明迟到了。", 1),
        ("小红迟到了。", "小明迟到了。", 4 / 5),  # four of five characters
        ("แมวนอน", "แมวนอน", 1),
        ("बिल्ली सोती है", "बिल्ली सोती है", 1),
        ("Die Köche ist neu.", "Die Küche ist neu.", 3 / 4),
        ("Die Küche ist neu.", "Die Küche ist neu.", 1),  # decomposed
        ("He runs to the café.", "He ran to the café.", 4 / 5),
    ],
)
def test_letters_that_are_not_ascii_count_where_the_reference_has_some(
    prediction: str, reference: str, expected: float
) -> None:
    """By hand: words, or characters where a script has no spaces; rouge_score itself gives 0, or 1 for two words."""
    for stem in (True, False):
        assert SCORERS[stem](reference, prediction)[0][2] == pytest.approx(expected)


@pytest.mark.parametrize("stem", [True, False])
def test_real_texts_score_as_in_rouge_score_to_the_last_digit(stem: bool) -> None:
    """Summaries, dialogues of many lines and odd texts, three references per row, in one array."""
    texts = [row["summary"] for row in read_csv(SAMPLE / "test.csv")]
    dialogues = [row["dialogue"] for row in read_csv(SAMPLE / "test.csv")]
    odd = cycle(ODD)
    predictions = [next(odd) if i % 3 == 0 else dialogues[3 * i] if i % 3 == 1 else texts[3 * i] for i in range(40)]
    references = [
        [
            texts[3 * i],
            next(odd) if i % 4 == 0 else dialogues[3 * i + 1] if i % 4 == 1 else texts[3 * i + 1],
            texts[3 * i + 2],
        ]
        for i in range(40)
    ]
    references = [[text if has_ascii_letters_only(text) else "?!" for text in row] for row in references]
    expected = np.array([[oracle(references[i][j], predictions[i], stem) for j in range(3)] for i in range(40)])
    scores = score_rows(predictions, references, Scorer(stem))
    assert scores.shape == (40, 3, 4, 3)
    assert np.array_equal(scores, expected)
    assert 0 < expected[..., 2].mean() < 1
    assert not np.array_equal(
        expected[:, :, ROUGE_TYPES.index("rougeL")], expected[:, :, ROUGE_TYPES.index("rougeLsum")]
    )


def test_what_is_remembered_of_a_text_does_not_leak_into_another_pair() -> None:
    """A used scorer returns the same scores in another order as a new one."""
    texts = ["the cat\nsat down", "the cats sat", "", "sat down\nthe cat"]
    used = Scorer(True)
    first = [used(a, b) for a in texts for b in texts]
    assert [used(a, b) for a in reversed(texts) for b in reversed(texts)] == first[::-1]
    assert first == [Scorer(True)(a, b) for a in texts for b in texts]
