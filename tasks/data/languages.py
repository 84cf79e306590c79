"""Languages of dialogues and references: texts in another language than most, and splits in different languages."""

from collections import Counter, defaultdict
from functools import lru_cache
from itertools import takewhile
from typing import Any

from artifacts.check import Check
from tasks.data.dialogue_row import DialogueRow
from tasks.data.row_check import examples
from tasks.tokenization import words

LEAST_WORDS, LEAST_CERTAINTY = 5, 0.5
"""Texts of fewer words with letters, and texts whose most probable language is less probable, are counted and not
judged."""
LEAST_PROBABILITY = 0.01
"""A text may be in each language that is at least so probable. With this limit no text of DialogSum, which is English,
counts as another language, and every text of the tests in German, Russian or Chinese does."""
MOST_CHARACTERS = 200
"""So much of a text is judged. More takes longer and changes nothing in DialogSum."""
_NO_LANGUAGE = "zxx"

Candidates = tuple[str, ...]
"""ISO 639 codes of the languages that a text may be in, the most probable first."""


class Languages:
    """The languages of the training and test texts."""

    def __init__(self) -> None:
        self.texts = {
            (split, kind): _Texts(f"{adjective} {kind}")
            for split, adjective in (("train", "training"), ("test", "test"))
            for kind in ("dialogues", "references")
        }

    def add(self, split: str, row: DialogueRow) -> None:
        """Look at one row of train or test."""
        self.texts[split, "dialogues"].add(row.id, row.spoken)
        self.texts[split, "references"].add(row.id, " ".join(row.references))

    def checks(self) -> list[Check]:
        """A note for each mixture of languages, or `ok` with the languages."""
        details = [text for each in self.texts.values() if (text := each.mixture())]
        for kind in ("dialogues", "references"):
            train, test = self.texts["train", kind].usual, self.texts["test", kind].usual
            if train and test and train != test:
                details.append(
                    f"most training {kind} are in {train}, most test {kind} in {test}: the scores do not measure what "
                    "is trained; take both splits from one language"
                )
        if details:
            return [Check("language", "note", detail) for detail in details]
        languages = [f"{kind} {self.texts['train', kind].usual or 'unknown'}" for kind in ("dialogues", "references")]
        unjudged, total = (sum(getattr(each, name) for each in self.texts.values()) for name in ("unjudged", "total"))
        return [
            Check(
                "language",
                "ok",
                f"{', '.join(languages)}; {unjudged} of {total} texts are too short or unclear to judge",
            )
        ]


class _Texts:
    """The languages of the texts of one kind."""

    def __init__(self, name: str) -> None:
        self.name, self.total, self.unjudged = name, 0, 0
        self.rows: list[tuple[str, Candidates]] = []
        """Id and languages of each text that was judged."""

    def add(self, row: str, text: str) -> None:
        self.total += 1
        if languages := possible_languages(text):
            self.rows.append((row, languages))
        else:
            self.unjudged += 1

    @property
    def usual(self) -> str | None:
        """The language of most texts."""
        counts = Counter(languages[0] for _, languages in self.rows)
        return max(counts, key=lambda language: (counts[language], language), default=None)

    def mixture(self) -> str:
        """The texts in another language than most; empty if there are none."""
        usual, others = self.usual, defaultdict[str, list[str]](list)
        for row, languages in self.rows:
            if usual not in languages:
                others[languages[0]].append(row)
        if not others:
            return ""
        by_count = sorted(others.items(), key=lambda pair: (-len(pair[1]), pair[0]))
        counts = ", ".join(f"{len(rows)} {language} ({examples(rows)})" for language, rows in by_count)
        return (
            f"{self.name} in another language than most, {usual}: {counts} of {self.total}, of which {self.unjudged} "
            "are too short or unclear to judge; the model learns and is scored in each language of its data, so remove "
            "rows that are there by mistake"
        )


def possible_languages(text: str) -> Candidates:
    """The languages that a text may be in; none if it is too short, has no language or an unclear one."""
    start = text.strip()[:MOST_CHARACTERS]
    if sum(any(map(str.isalpha, word)) for word in words(start)) < LEAST_WORDS:
        return ()
    ranked = _identifier().rank(start)
    first, certainty = ranked[0]
    if certainty < LEAST_CERTAINTY or first == _NO_LANGUAGE:
        return ()
    return tuple(language for language, _ in takewhile(lambda pair: pair[1] >= LEAST_PROBABILITY, ranked))


@lru_cache(maxsize=1)
def _identifier() -> Any:
    """The model is read, in under a second, when the first text is judged."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
