"""Corruptions of references as people write them: one fact is wrong, the rest is as it was."""

import difflib
import re
from collections import Counter, defaultdict
from random import Random
from typing import Any

import pytest

from tasks.metrics.probe_kinds import ENGLISH_KINDS, ProbeKind
from tasks.probing.corruptions import RULES, Pairs, make_pairs
from tasks.probing.dialogues import read_data_set
from tests.support.data import read_csv
from tests.support.languages import GERMAN, RUSSIAN
from tests.support.paths import SAMPLE

TAGS = "#Person1#: Hello.\n#Person2#: Hello."
FILLING = [
    ("#Person1#: Who is it?\n#Person2#: Nadia.", "Nadia tells #Person1# that the shop is closed."),
    ("#Person1#: A lamp?\n#Person2#: Yes.", "Ms. Castellanos buys a lamp. #Person1# tells her the price of the lamp."),
    ("#Person1#: Help!\n#Person2#: Now?", "#Person1# asks for help and Kofi helps at once. #Person1# is glad."),
    ("#Person1#: Rain.\n#Person2#: Again.", "#Person2# complains about the rain. Ms. Okafor helps with an umbrella."),
    ("#Person1#: Bye.\n#Person2#: Bye.", "#Person2# helps #Person1# to close the shop. Kofi tells a joke."),
]
"""Dialogues whose names and sentences the rules may take. `tells` and `helps` are verbs behind tags, so Nadia and Kofi
are people."""


def rows_of(*texts: tuple[str, str]) -> list[dict[str, Any]]:
    return [
        {"id": f"test_{i}", "dialogue": dialogue, "references": [reference], "topics": [""]}
        for i, (dialogue, reference) in enumerate([*texts, *FILLING])
    ]


def corruptions(kind: ProbeKind, reference: str, dialogue: str = TAGS) -> set[str]:
    """Everything that a rule makes of a reference, over many seeds."""
    data = read_data_set(rows_of((dialogue, reference)))
    first = data.dialogues[0]
    found = {RULES[kind](first.references[0], first, data, Random(seed)) for seed in range(60)}
    return {text for text in found if text is not None}


def replaced(template: str, *fillings: str) -> set[str]:
    return {template.replace("…", filling) for filling in fillings}


EXACTLY = [
    (
        ProbeKind.SPEAKERS,
        "#Person1# sells #Person2# a bike. #Person2#'s bike was stolen.",
        {"#Person2# sells #Person1# a bike. #Person1#'s bike was stolen."},
    ),
    # what both do is as true when they are exchanged
    (ProbeKind.SPEAKERS, "#Person1# and #Person2# talk about the rain.", set()),
    (ProbeKind.SPEAKERS, "#Person1# has dinner with #Person2#.", set()),
    (
        ProbeKind.SPEAKERS,
        "#Person1# and #Person2# talk, but #Person2# leaves.",
        {"#Person2# and #Person1# talk, but #Person1# leaves."},
    ),
    (ProbeKind.SPEAKERS, "#Person1# is tired.", set()),
    (
        ProbeKind.SPEAKER,
        "#Person1# lost a card. #Person2# blocks it.",
        {"#Person2# lost a card. #Person2# blocks it.", "#Person1# lost a card. #Person1# blocks it."},
    ),
    (ProbeKind.SPEAKER, "#Person1# tells #Person2# the way.", set()),  # nobody tells themselves
    (
        ProbeKind.ROLES,
        "#Person1# warns #Person2# about ice. #Person2# thanks the neighbor.",
        {"#Person2# warns #Person1# about ice. #Person2# thanks the neighbor."},
    ),
    (
        ProbeKind.ROLES,
        "Ms. Castellanos tells #Person1# about a flat.",
        {"#Person1# tells Ms. Castellanos about a flat."},
    ),
    (ProbeKind.ROLES, "#Person1# meets #Person2# at noon.", set()),
    (ProbeKind.ROLES, "#Person1# sleeps and #Person2# works.", set()),
    (
        ProbeKind.NAME,
        "Ms. Castellanos is late, so #Person1# calls Ms. Castellanos.",
        {"Ms. Okafor is late, so #Person1# calls Ms. Okafor."},
    ),
    (ProbeKind.NAME, "Nadia tells #Person1# a story.", {"Kofi tells #Person1# a story."}),
    (ProbeKind.NAME, "#Person1# likes Heron Lake.", set()),
    (
        ProbeKind.NUMBER,
        "The call is at 4:30 pm.",
        replaced("The call is at …:30 pm.", *(str(hour) for hour in range(1, 13) if hour != 4)),
    ),
    (
        ProbeKind.NUMBER,
        "#Person1# pays 62 dollars.",
        replaced("#Person1# pays …2 dollars.", *"12345789"),
    ),
    (ProbeKind.NUMBER, "#Person1# was born in 1987.", replaced("#Person1# was born in 198….", *"012345689")),
    (
        ProbeKind.NUMBER,
        "#Person1# comes on Friday.",
        replaced("#Person1# comes on ….", "Monday", "Tuesday", "Wednesday", "Thursday", "Saturday", "Sunday"),
    ),
    (ProbeKind.NUMBER, "#Person1# buys one lamp, and one may return it.", set()),
    (ProbeKind.NUMBER, "#Person1# may march.", set()),
    (ProbeKind.NUMBER, "It is an eight-hour trip.", set()),  # no other number up to ten has `an` before it
    (
        ProbeKind.NEGATION,
        "#Person1# can come.",
        {"#Person1# cannot come."},
    ),
    (ProbeKind.NEGATION, "#Person1# doesn't try it.", {"#Person1# tries it."}),
    (ProbeKind.NEGATION, "#Person1# won’t come.", {"#Person1# will come."}),
    (
        ProbeKind.NEGATION,
        "#Person1# watches a film. She apologizes.",
        {"#Person1# does not watch a film. She apologizes.", "#Person1# watches a film. She does not apologize."},
    ),
    (ProbeKind.NEGATION, "#Person1# has lost a card.", {"#Person1# has not lost a card."}),
    (ProbeKind.NEGATION, "Kofi has to work.", {"Kofi does not have to work."}),
    (ProbeKind.NEGATION, "#Person1#'s always late.", set()),
]


@pytest.mark.parametrize(("kind", "reference", "expected"), EXACTLY)
def test_a_rule_makes_exactly_what_a_person_would_list(kind: ProbeKind, reference: str, expected: set[str]) -> None:
    assert corruptions(kind, reference) == expected


def test_a_value_that_the_dialogue_has_is_not_put_in() -> None:
    """It may be right as well: `Friday or Sunday`."""
    found = corruptions(
        ProbeKind.NUMBER, "#Person1# comes on Friday.", "#Person1#: Friday or Sunday?\n#Person2#: Or Monday."
    )
    assert {text.split()[-1] for text in found} == {"Tuesday.", "Wednesday.", "Thursday.", "Saturday."}


def test_a_sentence_of_another_dialogue_has_none_of_its_names() -> None:
    """Those of FILLING without a name, put in the place of either sentence."""
    own = ["#Person1# sells a boat.", "It rains all day."]
    allowed = {"#Person1# tells her the price of the lamp.", "#Person1# is glad."}
    allowed |= {"#Person2# complains about the rain.", "#Person2# helps #Person1# to close the shop."}
    found = corruptions(ProbeKind.SENTENCE, " ".join(own))
    assert found
    assert found <= {f"{a} {own[1]}" for a in allowed} | {f"{own[0]} {a}" for a in allowed}


@pytest.mark.parametrize(
    ("dialogue", "reference", "expected"),
    [
        (
            "Anna Meyer: Salut!\nJoël: Salut!",
            "Anna invite Joël. Joël accepte.",
            {"Joël invite Anna. Anna accepte."},
        ),
        ("王芳: 你好。\n李明: 你好。", "王芳请李明吃饭。李明很高兴。", {"李明请王芳吃饭。王芳很高兴。"}),
        ("Ayşe: Selam.\nCan: Selam.", "Can'ın kardeşi Ayşe’yi arıyor.", {"Ayşe'ın kardeşi Can’yi arıyor."}),
        # a name in another case would be left where it is, and two people be mixed
        ("Анна: Привет.\nБорис: Привет.", "Анна ждёт Бориса, а Борис опаздывает.", set()),
        ("Re\u0301mi: Oui.\nZoé: Non.", "Rémi aide Zoe\u0301.", {"Zoé aide Rémi."}),
    ],
)
def test_speakers_with_names_are_exchanged_in_any_script(dialogue: str, reference: str, expected: set[str]) -> None:
    rows = [{"id": "a", "dialogue": dialogue, "references": [reference], "topics": [""]}]
    data = read_data_set(rows)
    first = data.dialogues[0]
    found = RULES[ProbeKind.SPEAKERS](first.references[0], first, data, Random(0))
    assert ({found} if found else set()) == expected


def sample_rows() -> list[dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for row in read_csv(SAMPLE / "test.csv"):
        name = row["id"].rsplit("_", 1)[0]
        group = groups.setdefault(name, {"id": name, "dialogue": row["dialogue"], "references": [], "topics": [""]})
        group["references"].append(row["summary"])
    return list(groups.values())


@pytest.fixture(scope="module")
def made() -> Pairs:
    return make_pairs(sample_rows(), 40, 0)


def changed_words(reference: str, corruption: str) -> list[tuple[str, str]]:
    """What difflib finds, by word."""
    before, after = reference.split(), corruption.split()
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    return [
        (" ".join(before[a:b]), " ".join(after[c:d])) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"
    ]


def test_each_pair_of_the_sample_changes_what_its_kind_says(made: Pairs) -> None:
    """Judged by difflib: one place for one speaker, number and negation; only tags or names where people change."""
    tag_or_name = re.compile(r"(#Person\d#|[A-Z][a-z]+\.?)")
    for pair in made.pairs:
        changes = changed_words(pair.reference, pair.corruption)
        if pair.kind in (ProbeKind.SPEAKER, ProbeKind.NUMBER, ProbeKind.NEGATION):
            assert len(changes) == 1, pair
        if pair.kind == ProbeKind.SPEAKER:
            assert [re.sub(r"#Person\d#", "", text) for text in changes[0]].count("") in (0, 2)
        if pair.kind == ProbeKind.NEGATION:
            assert len(re.findall("not|n't", pair.reference)) != len(re.findall("not|n't", pair.corruption)), pair
        if pair.kind in (ProbeKind.SPEAKERS, ProbeKind.ROLES):
            assert Counter(tag_or_name.findall(pair.reference)).total() == (
                Counter(tag_or_name.findall(pair.corruption)).total()
            )
        if pair.kind == ProbeKind.NAME:
            assert len({tuple(re.sub(r"[^\w ]|s$", "", text) for text in change) for change in changes}) == 1, pair


def test_each_dialogue_has_a_pair_or_is_counted(made: Pairs) -> None:
    rows = sample_rows()
    counts = Counter(pair.kind for pair in made.pairs)
    assert {kind: counts[kind] + made.left_out[kind] for kind in ProbeKind} == dict.fromkeys(ProbeKind, len(rows))
    assert not made.not_applied
    references = {row["id"]: row["references"] for row in rows}
    by_dialogue = defaultdict(list)
    for pair in made.pairs:
        assert pair.reference in references[pair.id]
        assert pair.corruption not in references[pair.id]
        by_dialogue[pair.id].append(pair.corruption)
    assert all(len(set(texts)) == len(texts) for texts in by_dialogue.values())


def test_no_corruption_is_another_reference() -> None:
    """The only exchange that this reference admits is what the other says."""
    rows = [
        {
            "id": "a",
            "dialogue": TAGS,
            "references": ["#Person1# helps #Person2#.", "#Person2# helps #Person1#"],
            "topics": [],
        },
        *rows_of(),
    ]
    kinds = {pair.kind for pair in make_pairs(rows, 1, 0).pairs}
    assert not kinds & {ProbeKind.SPEAKERS, ProbeKind.ROLES}


def test_pairs_depend_on_seed_and_dialogue_alone(made: Pairs) -> None:
    """The same again; the first of fewer dialogues; others with another seed."""
    rows = sample_rows()
    assert make_pairs(rows, 40, 0) == made
    few = make_pairs(rows, 5, 0).pairs
    assert few == made.pairs[: len(few)]
    assert {pair.id for pair in few} == {row["id"] for row in rows[:5]}
    other = make_pairs(rows, 40, 1).pairs
    assert sum(pair not in made.pairs for pair in other) > len(other) / 4


@pytest.mark.parametrize("language", [GERMAN, RUSSIAN], ids=["German", "Russian"])
def test_other_languages_leave_out_the_kinds_of_english_and_say_so(language: list[tuple[str, str, str]]) -> None:
    rows = [
        {"id": str(i), "dialogue": dialogue, "references": texts, "topics": [""]}
        for i, (dialogue, *texts) in enumerate(language)
    ]
    made = make_pairs(rows, 100, 0)
    assert set(made.not_applied) == set(ENGLISH_KINDS)
    assert set(made.left_out) == set(ProbeKind) - set(ENGLISH_KINDS)
    assert all("not in English" in reason for reason in made.not_applied.values())
    assert {pair.kind for pair in made.pairs} >= {ProbeKind.SENTENCE}
    assert not {pair.kind for pair in made.pairs} & set(ENGLISH_KINDS)


@pytest.mark.parametrize("text", ["", "#", "##", "\u200b", "A" * 5000, "a. " * 800, "\ud800", "#Person1#: #Person2#"])
def test_odd_texts_break_no_rule(text: str) -> None:
    """Alone in a data set, as dialogue and reference."""
    made = make_pairs([{"id": "a", "dialogue": text, "references": [text], "topics": []}], 1, 0)
    assert all(pair.corruption != text for pair in made.pairs)
