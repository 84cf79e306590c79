"""Forms of a name in tables of inflection, and pairs of names that are two names."""

import pytest

from tasks.metrics.word_forms import fold, has_capitals, same_word, similar, stands_in, words_in_sentences

INFLECTIONS = {
    "Анна": "Анны Анне Анну Анной Анною",
    "Мария": "Марии Марию Марией",
    "Борис": "Бориса Борису Борисом Борисе",
    "Игорь": "Игоря Игорю Игорем Игоре",
    "Николай": "Николая Николаю Николаем Николае",
    "Павел": "Павла Павлу Павлом Павле",
    "Илья": "Ильи Илье Илью Ильёй",
    "Фёдор": "Федора Фёдору Фёдором Фёдоре",
    "Яна": "Яны Яне Яну Яной",
    "Peter": "Peters Petern",
    "Anna": "Annas Anny Annę Anną Annára Annával Annalla Annalle",
    "Marek": "Marka Markowi Markiem",
    "Ewa": "Ewy Ewie Ewę Ewą",
    "Matti": "Matin Matille Mattia Matilla Matista",
    "Turku": "Turussa Turkuun Turun",
    "Pekka": "Pekan Pekalle Pekkaa Pekalla",
    "Päivi": "Päivin Päiville Päiviä Päivillä",
    "Ayşe": "Ayşenin Ayşeye Ayşeyi Ayşeden",
    "Γιώργος": "Γιώργου Γιώργο",
    "Μαρία": "Μαρίας",
}
OTHER_NAMES = (
    "Tim Tom,Anna Hannah,Mark Mary,Jack Jane,John Joan,Борис Виктор,Олег Ольга,Лена Лида,Peter Paul,Lou London,"
    "Ann Andy,Mari Mark,Do Dot,Kemal Kenan,Matti Mikko,Юля Юра,Jan Jens,Sue Sam"
)


@pytest.mark.parametrize("name", INFLECTIONS)
def test_a_form_of_a_name_is_the_name(name: str) -> None:
    """No false alarm on the tables of Russian, Polish, Hungarian, Finnish, Turkish, Greek, German and English."""
    forms = INFLECTIONS[name].split()
    left = [form for form in forms if not same_word(fold(name), fold(form)) and not similar(fold(name), fold(form))]
    assert left == []


@pytest.mark.parametrize("pair", OTHER_NAMES.split(","))
def test_two_names_are_two_names(pair: str) -> None:
    one, two = map(fold, pair.split())
    assert not same_word(one, two)
    assert not same_word(two, one)
    assert not similar(one, two)


def test_folding_takes_case_and_accents() -> None:
    assert [fold(word) for word in ("İSTANBUL", "Işık", "Фёдор", "Αντώνης", "Müller", "Straße")] == [
        "istanbul",
        "isik",
        "федор",
        "αντωνησ",
        "muller",
        "strasse",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Anna runs", True),
        ("Анна", True),
        ("小明来了", False),
        ("안녕하세요 Tom", False),
        ("मैं", False),
        ("ანა მოდის", False),
        ("123", False),
    ],
)
def test_scripts_with_capitals_are_told_by_their_letters(text: str, expected: bool) -> None:
    """A few Latin letters in a Chinese text are no names: KTV, App."""
    assert has_capitals(text) is expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("小明", "李娜告诉小明", True),
        ("明", "说明", False),
        ("민수", "민수에게 말했다", True),
        ("민수", "김민수", False),
        ("דנה", "ודנה הלכה", True),
        ("علي", "عليها", False),
    ],
)
def test_names_stand_in_texts_without_capitals(name: str, text: str, expected: bool) -> None:
    """Anywhere in Chinese, at the start of a Korean word, as a whole word with one letter before it in Hebrew."""
    assert stands_in(name, text) is expected


def test_first_words_of_sentences_are_known() -> None:
    """After an end mark, a quote or a line, not after a title or an initial."""
    text = 'Tom asks Dr. Hart. "Yes," J. Smith says.\nBob: No, d\'Anna'
    assert [word.word for word in words_in_sentences(text) if word.starts] == ["Tom", "Yes", "J", "Bob", "No"]
    assert [word.word for word in words_in_sentences(text)][-1] == "Anna"
