"""Corruptions of what is said: numbers and times, negation, a sentence about another dialogue."""

import re
from random import Random

from tasks.metrics.name_evidence import TAG
from tasks.metrics.word_forms import TITLES
from tasks.probing.dialogues import NOT_VERBS, DataSet, Dialogue
from tasks.probing.mentions import has_inflected_name, mentions_of, whole_word
from tasks.probing.sentences import sentences

Change = tuple[int, int, str]
"""Start and end of the words to replace, and what replaces them."""

# -- numbers and times

_DIGITS = re.compile(
    r"(?<![\w#.,:/-])(?P<hour>\d{1,2})(?P<minutes>[:.]\d{2})(?=\s?(?:[ap]\.?m|o'clock|uhr|h\b))|(?<![\w#.,:/-])(?P<clock>\d{1,2})(?P<rest>:\d{2})(?!\d)|(?<![\w#.,:/-])(?P<number>\d+)(?![\w#])"
)
_WORDS = (
    "two three four five six seven eight nine ten",
    "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
    "twenty thirty forty fifty sixty seventy eighty ninety",
    "hundred thousand million",
    "monday tuesday wednesday thursday friday saturday sunday",
    "january february march april may june july august september october november december",
    "morning afternoon evening",
    "today tomorrow",
    "mondays tuesdays wednesdays thursdays fridays saturdays sundays",
    "seconds minutes hours days weeks months years",
    "second third fourth fifth sixth seventh eighth ninth tenth",
)
"""English words that may stand for one another."""
_GROUPS = {word: group.split() for group in _WORDS for word in group.split()}
_NUMBER_WORDS = frozenset(" ".join(_WORDS[:3]).split())
_CAPITALISED_ONLY = frozenset(("may", "march", "august"))
"""Months that are other words as well, in small letters or at the start of a sentence."""
_WORD = re.compile(r"(?<![\w#'’])[A-Za-z]+(?![\w#'’])")
_LONGEST_NUMBER = 6


def change_number(text: str, dialogue: Dialogue, data: DataSet, random: Random) -> str | None:
    """A number, time, day or month changed to another one that the dialogue does not have; words in English only."""
    changes = [change for match in _DIGITS.finditer(text) for change in _other_digits(match, dialogue.text)]
    if data.english:
        changes += [change for match in _WORD.finditer(text) for change in _other_words(match, text, dialogue.text)]
    places = sorted({change[:2] for change in changes})
    if not places:
        return None
    place = random.choice(places)
    return _changed(text, random.choice([change for change in changes if change[:2] == place]))


def _other_digits(match: re.Match[str], dialogue: str) -> list[Change]:
    """Other hours of a time, or other first digits of a number; of a year, other last digits."""
    hour, number = match["hour"] or match["clock"], match["number"]
    if hour:
        group = "hour" if match["hour"] else "clock"
        others = [str(value) for value in range(1, 13 if int(hour) <= 12 else 24) if value != int(hour)]
        tail = match["minutes"] or match["rest"]
        return [(match.start(group), match.end(group), each) for each in others if each + tail not in dialogue]
    value = int(number)
    if value < 2 or len(number) > _LONGEST_NUMBER or not number.isascii() or number[0] == "0":
        return []
    if len(number) == 4 and number[:2] in ("18", "19", "20"):
        others = [number[:3] + digit for digit in "0123456789"]
    else:
        others = [digit + number[1:] for digit in ("23456789" if len(number) == 1 else "123456789")]
    return [
        (match.start(), match.end(), other)
        for other in others
        if other != number and not re.search(rf"(?<!\d){other}(?!\d)", dialogue)
    ]


def _other_words(match: re.Match[str], text: str, dialogue: str) -> list[Change]:
    word = match[0]
    small = word.lower()
    group = _GROUPS.get(small, [])
    if small in _CAPITALISED_ONLY and (word.islower() or match.start() in {start for start, _ in sentences(text)}):
        return []
    before = text[: match.start()].lower()
    if small in ("second", "seconds") and not before.endswith(("the ", "a ", "few ", "several ")):
        return []
    following = _WORD.match(text, match.end() + 1)
    if following and following[0].lower() in _NUMBER_WORDS and small in _NUMBER_WORDS:  # twenty sixteen
        return []
    article = re.search(r"\b(an?) $", before)
    others = [
        other
        for other in group
        if other != small
        and not re.search(rf"\b{other}\b", dialogue, re.IGNORECASE)
        and (article is None or (article[1] == "an") == (other[0] in "aeio"))
    ]
    return [(match.start(), match.end(), other.capitalize() if word[0].isupper() else other) for other in others]


# -- negation, in English

_PLAIN_AUXILIARY = re.compile(
    r"\b(?P<auxiliary>can|will|would|should|must|is|are|was|were)\b(?! not\b| no\b| never\b| nothing\b|n't|\s*[,.;:!?])"
)
_NEGATED = re.compile(
    r"\b(?:(?P<plain>is|are|was|were|will|would|should|must|has|have|had)(?: not|n[’']t)"
    r"|(?P<can>cannot|can not|can[’']t)|(?P<will>won[’']t)"
    r"|(?P<does>does(?: not|n[’']t)) (?P<verb>[a-z]+)|(?P<do>do(?: not|n[’']t)) (?P<base>[a-z]+))\b"
)
_VERB = re.compile(r" (?P<verb>[a-z]+s)\b(?: (?P<following>[a-z]+))?")
_PRONOUN = re.compile(r"(?<![\w#])(?:He|She|It|he|she|it)(?=\s)")
_PARTICIPLE = re.compile(
    r"\w{2,}(?:ed|en)|been|gone|done|had|lost|found|made|got|become|worn|bought|left|met|heard|told|put"
)
_OBJECT = frozenset(("a", "an", "the", "to", "two", "three", "some", "many", "much", "enough", "his", "her", "their"))


def negate(text: str, dialogue: Dialogue, data: DataSet, random: Random) -> str | None:
    """`not` inserted behind an auxiliary or before a verb of the third person, or removed."""
    changes = [_positive(match) for match in _NEGATED.finditer(text)]
    negated = [(start, end) for start, end, _ in changes]
    for match in _PLAIN_AUXILIARY.finditer(text):
        auxiliary = match["auxiliary"]
        changes.append((match.start(), match.end(), "cannot" if auxiliary == "can" else f"{auxiliary} not"))
    subjects = [mention.end for mention in mentions_of(text, dialogue.speakers)]
    subjects += [match.end() for name in data.titles for match in re.finditer(whole_word(name), text)]
    subjects += [match.end() for match in _PRONOUN.finditer(text)]
    for end in sorted(set(subjects)):
        verb = _VERB.match(text, end)
        if verb and (negative := _negative(verb["verb"], verb["following"] or "")):
            changes.append((verb.start("verb"), verb.end("verb"), negative))
    # a sentence with two negations may mean what it meant before
    allowed = [c for c in changes if c[:2] in negated or not _same_sentence(text, c[0], negated)]
    return _changed(text, random.choice(allowed)) if allowed else None


def _same_sentence(text: str, place: int, others: list[tuple[int, int]]) -> bool:
    return any(a <= place < b and any(a <= other < b for other, _ in others) for a, b in sentences(text))


def _positive(match: re.Match[str]) -> Change:
    """A negated verb without its negation."""
    if match["verb"]:
        words = third_person(match["verb"])
    elif match["base"]:
        words = match["base"]
    else:
        words = match["plain"] or ("can" if match["can"] else "will")
    return match.start(), match.end(), words


def _negative(verb: str, following: str) -> str | None:
    """`does not ask` of `asks`; None if it is no verb, or it is unclear how to negate it."""
    if verb == "has":
        if following in _OBJECT:
            return "does not have"
        return "has not" if _PARTICIPLE.fullmatch(following) else None
    if verb in NOT_VERBS or verb in ("is", "does") or verb.endswith(("ss", "us")) or len(verb) < 4:
        return None
    return f"does not {base_form_of(verb)}"


def base_form_of(verb: str) -> str:
    """`asks` -> `ask`, `tries` -> `try`, `watches` -> `watch`, `apologizes` -> `apologize`."""
    if verb.endswith("ies") and len(verb) > 4:
        return f"{verb[:-3]}y"
    return verb[:-2] if re.search(r"(?:ss|sh|[^a]ch|tch|x|zz|[^eo]o)es$|^goes$", verb) else verb[:-1]


def third_person(verb: str) -> str:
    """`ask` -> `asks`, `try` -> `tries`, `watch` -> `watches`, `have` -> `has`."""
    if verb in ("have", "be"):
        return {"have": "has", "be": "is"}[verb]
    if re.search(r"[^aeiou]y$", verb):
        return f"{verb[:-1]}ies"
    return f"{verb}es" if re.search(r"(?:s|sh|ch|x|z|o)$", verb) else f"{verb}s"


# -- sentences

_NEIGHBOURS = 40
"""Sentences of other dialogues from which the one of the most similar length is taken."""


def replace_sentence(text: str, dialogue: Dialogue, data: DataSet, random: Random) -> str | None:
    """One sentence replaced by one of a reference of another dialogue.

    Of some drawn at random, which have no names but this dialogue's speaker tags, the one of the most similar length.
    """
    own = list(sentences(text))
    if not own or has_inflected_name(text, dialogue.speakers):
        return None
    start, end = random.choice(own)
    tags = {name for speaker in dialogue.speakers for name in speaker.texts}
    rows = [row for row, other in enumerate(data.dialogues) if other.id == dialogue.id or other.text == dialogue.text]
    order = random.sample(range(len(data.sentences)), len(data.sentences))
    found = list[str]()
    for index in order:
        row, sentence = data.sentences[index]
        if row not in rows and set(TAG.findall(sentence)) <= tags and not _has_name(sentence, data):
            found.append(sentence)
            if len(found) == _NEIGHBOURS:
                break
    if not found:
        return None
    other = min(found, key=lambda each: abs(len(each.split()) - len(text[start:end].split())))
    return _changed(text, (start, end, other))


def _has_name(sentence: str, data: DataSet) -> bool:
    """Whether a sentence has a name of somebody, or a title."""
    words = re.findall(r"[^\W\d_]+", TAG.sub(" ", sentence))
    return any(word in data.titles or word.lower().rstrip(".") in TITLES - {"st", "pan", "bay"} for word in words)


def _changed(text: str, change: Change) -> str:
    start, end, words = change
    return text[:start] + words + text[end:]
