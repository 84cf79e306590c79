"""What the rules of corruptions know: one dialogue, and the data set that it is from."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.data.languages import possible_languages
from tasks.metrics.name_evidence import NameEvidence, lowercase_words, name_evidence, without_tags
from tasks.metrics.names import base_form
from tasks.metrics.word_forms import TITLES, WORD, word_set, words_in_sentences
from tasks.probing.mentions import Speaker, speakers_of
from tasks.probing.sentences import sentences

_TAG_AND_VERB = re.compile(r"#[^\s#]{1,40}# ([a-z]{3,}s)\b")
NOT_VERBS = frozenset(("always", "perhaps", "thus", "besides", "sometimes", "this", "its", "his", "yes", "was", "has"))
"""Words that end like a verb of the third person behind a subject."""
_BEFORE_SUBJECT = word_set("and but because that so while when if then whether")
_LEAST_SHARE_AS_SUBJECT = 0.2
"""A word that has a title, or acts, in a smaller share of its places is no name of a person: `Chinese asks`."""
_REFERENCES_FOR_LANGUAGE = 300


@dataclass(frozen=True)
class Dialogue:
    """One row of the data set."""

    id: str
    text: str
    references: tuple[str, ...]
    speakers: tuple[Speaker, ...]


@dataclass(frozen=True)
class DataSet:
    """What all rows say together."""

    dialogues: tuple[Dialogue, ...]
    english: bool
    names: Mapping[str, tuple[str, ...]]
    """Title, or nothing -> the names of people that stand behind it, sorted."""
    sentences: tuple[tuple[int, str], ...]
    """Row and text of every sentence of the references."""

    @property
    def titles(self) -> dict[str, str]:
        """Name -> its title, or nothing."""
        return {name: title for title, names in self.names.items() for name in names}


def read_data_set(rows: Sequence[Mapping[str, object]]) -> DataSet:
    """The rows of a split (artifacts.schemas.DATASET) as the rules need them, all texts in NFC."""
    texts = [
        (str(row["id"]), _nfc(str(row["dialogue"])), tuple(_nfc(text) for text in row["references"]))  # type: ignore[attr-defined]
        for row in rows
    ]
    dialogues, references = [text for _, text, _ in texts], [row for *_, row in texts]
    lowercase = lowercase_words(dialogues, references)
    evidence = name_evidence(dialogues, references, lowercase)
    english = is_english(references)
    return DataSet(
        dialogues=tuple(Dialogue(id_, text, row, speakers_of(text, evidence.speakers)) for id_, text, row in texts),
        english=english,
        names=_names(references, evidence, lowercase, english),
        sentences=tuple((i, text[a:b]) for i, row in enumerate(references) for text in row for a, b in sentences(text)),
    )


def is_english(references: Sequence[Sequence[str]]) -> bool:
    """Whether most references whose language is clear are in English."""
    texts = [without_tags(text) for row in references for text in row][:_REFERENCES_FOR_LANGUAGE]
    counts = Counter(languages[0] for text in texts if (languages := possible_languages(text)))
    return counts["en"] * 2 > sum(counts.values())


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _names(
    references: Sequence[Sequence[str]], evidence: NameEvidence, lowercase: frozenset[str], english: bool
) -> dict[str, tuple[str, ...]]:
    """Names of speakers and, in English, of others who have a title or do what speakers with tags do in this data.

    A name with different titles, or sometimes none, belongs to the most frequent.
    """
    texts = [text for row in references for text in row]
    verbs = {verb for text in texts for verb in _TAG_AND_VERB.findall(text)} - NOT_VERBS if english else set()
    titles: dict[str, Counter[str]] = defaultdict(Counter)
    people = Counter[str]()
    for text in texts:
        words = list(words_in_sentences(without_tags(text)))
        for entry, following in zip(words, [*words[1:], None], strict=False):
            name = base_form(entry.word)
            if not name[0].isupper() or len(name) < 2 or name.isupper() or not WORD.fullmatch(name):
                continue
            if name.lower() in lowercase or name.lower() in TITLES:
                continue
            title = entry.before if entry.before.lower() in TITLES and not entry.starts else ""
            titles[name][title] += 1
            is_subject = entry.starts or entry.before in _BEFORE_SUBJECT
            acts = is_subject and name == entry.word and following is not None and following.word in verbs
            if english and (title or acts):
                people[name] += 1
    by_title: dict[str, set[str]] = defaultdict(set)
    acting = {name for name, count in people.items() if count >= _LEAST_SHARE_AS_SUBJECT * titles[name].total()}
    for name in acting | {word for word in evidence.speakers.values() if len(word) > 1}:
        by_title[max(titles[name], key=lambda each: (titles[name][each], each), default="")].add(name)
    return {title: tuple(sorted(names)) for title, names in sorted(by_title.items())}
