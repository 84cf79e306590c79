"""Corruptions of who is meant: speakers exchanged, one of them wrong, roles exchanged, another name."""

import re
from itertools import pairwise
from random import Random

from tasks.metrics.word_forms import TITLES
from tasks.probing.dialogues import NOT_VERBS, DataSet, Dialogue
from tasks.probing.mentions import Mention, has_inflected_name, joint, mentions_of, put, whole_word
from tasks.probing.sentences import clause_around, sentences

_VERB_PHRASE = re.compile(
    r"\s+(?:(?:also|then|finally|still|really|politely|kindly) )?(?P<verb>[a-z]+s|will|can|should) (?:[a-z]+ ){0,3}$"
)
"""What may stand between subject and object, in English: a verb, and up to three words."""
_CONJUNCTION = re.compile(
    r"\b(?:and|or|but|because|that|who|whose|which|when|where|while|if|so|than|as|before|after|until|since)\b"
)
_SUBJECT_START = re.compile(r"(?:^|[.!?;,]\s+|\b(?:and|but|because|that|so|while|when|if|then)\s+)$")


def swap_speakers(text: str, dialogue: Dialogue, data: DataSet, random: Random) -> str | None:
    """The first two speakers that the text mentions, exchanged in the whole text.

    None if it mentions fewer, or only does what both do.
    """
    mentions = mentions_of(text, dialogue.speakers)
    who = list(dict.fromkeys(mention.who for mention in mentions))[:2]
    if len(who) < 2 or has_inflected_name(text, dialogue.speakers):
        return None
    exchanged = [mention for mention in mentions if mention.who in who]
    if not set(exchanged) - joint(text, mentions):
        return None
    named = {mention.who: text[mention.start : mention.end] for mention in reversed(exchanged)}
    other = {who[0]: named[who[1]], who[1]: named[who[0]]}
    return put(text, {mention: other[mention.who] for mention in exchanged})


def change_speaker(text: str, dialogue: Dialogue, data: DataSet, random: Random) -> str | None:
    """One mention of a speaker replaced by another speaker, who is not in the same clause."""
    if has_inflected_name(text, dialogue.speakers):
        return None
    mentions = mentions_of(text, dialogue.speakers)
    choices = []
    for mention in mentions:
        start, end = clause_around(text, mention.start, mention.end)
        near = {other.who for other in mentions if start <= other.start < end} | {mention.who}
        far = [speaker for speaker in dialogue.speakers if speaker.texts[0] not in near]
        if mention not in joint(text, mentions):
            choices += [(mention, speaker.texts[-1]) for speaker in far]
    return put(text, dict([random.choice(choices)])) if choices else None


def exchange_roles(text: str, dialogue: Dialogue, data: DataSet, random: Random) -> str | None:
    """Subject and object of one English sentence exchanged: `A helps B` -> `B helps A`."""
    mentions = _people(text, dialogue, data)
    together = joint(text, mentions)
    pairs = []
    for first, second in pairwise(mentions):
        between = text[first.end : second.start]
        verb = _VERB_PHRASE.fullmatch(between)
        if (
            first.who != second.who
            and verb
            and verb["verb"] not in NOT_VERBS
            and not _CONJUNCTION.search(between)
            and not {first, second} & together
            and _SUBJECT_START.search(text[: first.start])
            and not _in_one_list(text, second, mentions)
        ):
            pairs.append((first, second))
    if not pairs:
        return None
    first, second = random.choice(pairs)
    return put(text, {first: text[second.start : second.end], second: text[first.start : first.end]})


def change_name(text: str, dialogue: Dialogue, data: DataSet, random: Random) -> str | None:
    """A name replaced, wherever it stands, by another name with the same title that the dialogue does not have."""
    names = [name for name in data.titles if re.search(whole_word(name), text) and not _in_full_name(name, text)]
    known = "\n".join((dialogue.text, *dialogue.references)).casefold()
    choices = [
        (name, other)
        for name in names
        for other in data.names[data.titles[name]]
        if other.casefold() not in known and other.casefold() not in name.casefold()
    ]
    if not choices:
        return None
    name = random.choice(sorted({name for name, _ in choices}))
    other = random.choice([other for each, other in choices if each == name])
    return re.sub(whole_word(name), lambda _: other, text)


def _people(text: str, dialogue: Dialogue, data: DataSet) -> list[Mention]:
    """Mentions of speakers, and of other people with their titles."""
    found = mentions_of(text, dialogue.speakers)
    for name in data.titles:
        for match in re.finditer(whole_word(name), text):
            title = re.search(r"[^\W\d_]+\.? $", text[: match.start()])
            titled = title is not None and title[0].strip(" .").lower() in TITLES
            start = match.start() - len(title[0]) if title and titled else match.start()
            if not any(start < m.end and m.start < match.end() for m in found):
                found.append(Mention(start, match.end(), name))
    return sorted((m for m in found if not _has_capital_beside(text, m)), key=lambda mention: mention.start)


def _in_one_list(text: str, mention: Mention, mentions: list[Mention]) -> bool:
    """Whether the text goes on with `and` and somebody else, or with `or`."""
    rest = text[mention.end : mention.end + 60]
    following = re.match(r"(?:'s)?,? (?:and|or) ", rest)
    return following is not None and any(m.start == mention.end + following.end() for m in mentions)


def _has_capital_beside(text: str, mention: Mention) -> bool:
    """Whether it is a part of a longer name, such as `Heron` in `Heron Lake`."""
    return re.match(r"(?:'s)? [^\W\d_a-z]", text[mention.end :]) is not None


def _in_full_name(name: str, text: str) -> bool:
    """Whether a capitalised word that is no title stands beside it inside of a sentence: `Donald Trump`."""
    for match in re.finditer(whole_word(name), text):
        before = re.search(r"(?<![.!?] )\b([^\W\d_]+)\.? $", text[: match.start()])
        starts = {start for start, _ in sentences(text)}
        capital = before is not None and before[1][0].isupper() and before.start() not in starts
        if (capital and before is not None and before[1].lower() not in TITLES) or re.match(
            r" [^\W\d_a-z]", text[match.end() :]
        ):
            return True
    return False
