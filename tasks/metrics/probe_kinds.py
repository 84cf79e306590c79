"""The kinds of wrong facts that the probe puts into references, in the order in which tables list them."""

from enum import StrEnum


class ProbeKind(StrEnum):
    """What is wrong in a corruption; the values are in probe.parquet and scores.json."""

    SPEAKERS = "speakers swapped"
    SPEAKER = "one speaker"
    ROLES = "who did what"
    NAME = "name"
    NUMBER = "number or time"
    NEGATION = "negation"
    SENTENCE = "sentence of another dialogue"


ENGLISH_KINDS = (ProbeKind.ROLES, ProbeKind.NEGATION)
"""Kinds whose rules are those of English."""
KIND_DESCRIPTIONS = {
    ProbeKind.SPEAKERS: "two speakers are exchanged throughout the text",
    ProbeKind.SPEAKER: "one mention of a speaker names another speaker of the dialogue",
    ProbeKind.ROLES: "subject and object of one sentence are exchanged",
    ProbeKind.NAME: "a name is replaced by another name of the data set",
    ProbeKind.NUMBER: "a number, time, day or month is changed",
    ProbeKind.NEGATION: "a “not” is inserted or removed",
    ProbeKind.SENTENCE: "a sentence is replaced by one about another dialogue",
}
