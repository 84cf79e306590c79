"""Invented names in many languages, each case judged by a person who reads it."""

import pytest

from tasks.metrics.entity_checks import entity_checks
from tasks.metrics.names import hallucinated_names

CORRECT = {
    "German": (
        "#Person1# kommt mit Verspätung an, #Person2# zeigt Geduld.",
        "#Person1#: Ich habe den Zug verpasst.\n#Person2#: Dann warte ich am Bahnhof.",
    ),
    "German names": (
        "Peters Nachbarin bittet Frau Schulzes Hausverwaltung um Auskunft.",
        "Peter: Frau Schulze, wann kommt der Handwerker?\nFrau Schulze: Ihre Nachbarin hat auch schon gefragt.",
    ),
    "Russian": (
        "Борис сообщает Анне, что потерял ключи Павла.",
        "Анна: Где ключи?\nБорис: Я потерял их, а они были Павел просил.\nАнна: Ой, Павел!",
    ),
    "Turkish": (
        "Mehmet, Ayşe'ye İstanbul'daki toplantının pazartesi olduğunu söylüyor.",
        "Ayşe: Toplantı ne zaman?\nMehmet: Pazartesi, İstanbul'da.",
    ),
    "Finnish": (
        "Matin mukaan Liisalle sopii tapaaminen Turussa. Molemmat tulevat junalla.",
        "Matti: Nähdäänkö Turku-päivillä?\nLiisa: Sopii, tulen junalla.",
    ),
    "Polish": (
        "Ewie podoba się prezent od Piotra, a Markowi nie.",
        "Ewa: Piotr, dziękuję za prezent!\nPiotr: A Marek? Markowi się podobał?\nEwa: Nie.",
    ),
    "Greek": (
        "Η Μαρία ρωτάει τον Γιώργο για τη Δευτέρα.",
        "Μαρία: Πότε έρχεσαι;\nΓιώργος: Τη Δευτέρα.",
    ),
    "English I": ("He says I'm late and I’ll wait.", "Tom: you are late"),
    "French": ("Le frère d'Anna habite à Lyon.", "Anna: Mon frère est à Lyon.\nPaul: Ah bon ?"),
    "Chinese": ("小明告诉李娜他会迟到。", "小明：我会迟到。\n李娜：好的。"),
    "Chinese tags": ("#Person1#提醒#Person2#带伞。", "#Person1#: 要下雨了，KTV见。\n#Person2#: 好的。"),
    "Russian you": ("Анна просит: я жду Вас.", "Анна: Жду вечером.\nБорис: Хорошо."),
    "Spanish": ("El hermano de Lucía le pide dinero a José.", "Lucía: Mi hermano quiere dinero.\nJosé: ¿Cuánto?"),
    "Hungarian": ("Péter Annával találkozik a téren.", "Péter: Hol vagy?\nAnna: A téren."),
    "Czech": ("Petra volá Honzovi kvůli Karlovi.", "Petra: Kde je Karel?\nHonza: Nevím."),
    "Georgian": ("ანა ელაპარაკება ნინოს.", "ანა: გამარჯობა.\nნინო: გამარჯობა."),
    "Korean": ("민수는 지영에게 늦는다고 말한다.", "민수: 늦을 것 같아.\n지영: 알았어."),
    "Arabic": ("أحمد يخبر سارة أنه سيتأخر.", "أحمد: سأتأخر.\nسارة: حسنا."),
    "English": (
        "Mr. Carter's sister, an Italian, meets O'Brien on Monday in the USA, and Donald Trump calls.",
        "Mr. Carter: My sister from Italy flies to the USA.\nO'Brien: I will meet her. Trump said he would call.",
    ),
}
WRONG = [
    ("Борис встречает Виктора.", "Анна: Где ты?\nБорис: Я на вокзале.", ["Виктора"]),
    ("Frau Lange ruft Herrn Weber an.", "Frau Lange: Wer ist da?\nHerr Brandt: Ich bin es.", ["Weber"]),
    ("Mehmet, Kemal'i arıyor.", "Ayşe: Kim aradı?\nMehmet: Ben.", ["Kemal"]),
    ("Liisa soittaa Pekalle.", "Matti: Moi!\nLiisa: Moi!", ["Pekalle"]),
    ("Ewa dzwoni do Tomasza.", "Ewa: Kto to?\nPiotr: To ja.", ["Tomasza"]),
    ("Le frère d'Anna appelle Paul.", "Luc: Mon frère ?\nPaul: Oui.", ["Anna"]),
    ("person3 meets Person1.", "#Person1#: Hi.\n#Person2#: Hi.", ["person3"]),
    ("#Person1 tells #Person4#'s friend.", "#Person1#: Hi.\n#Person2#: Hi.", ["#Person4#"]),
    ("She meets #Person3# and # Person 4 #.", "#Person1#: Hi.\n#Person2#: Hi.", ["#Person3#", "# Person 4 #"]),
]


@pytest.mark.parametrize("language", CORRECT)
def test_correct_summaries_have_no_invented_name(language: str) -> None:
    """Whatever language it is, and without any other text of the data set."""
    assert hallucinated_names(*CORRECT[language], frozenset()) == []


@pytest.mark.parametrize(("summary", "dialogue", "names"), WRONG)
def test_invented_names_are_found(summary: str, dialogue: str, names: list[str]) -> None:
    assert hallucinated_names(summary, dialogue, frozenset()) == names


@pytest.mark.parametrize("tag", ["#Person1#", "#person1#", "#Person 1#"])
def test_a_misspelt_tag_of_the_dialogue_is_no_other_speaker(tag: str) -> None:
    assert hallucinated_names(f"{tag} waits.", "#Person1#: I wait.", frozenset()) == []


SPEAKERS = {
    "Chinese": (["小明：你好。\n李娜：你好。", "王芳：早。\n张伟：早。"], "王芳告诉小明她很好。", ["王芳"]),
    "Russian": (
        ["Анна: Привет.\nБорис: Привет.", "Мария: Здравствуй.\nОлег: Здравствуй."],
        "Анна встречает Марию.",
        ["Марию"],
    ),
    "German": (
        ["Jana: Hallo, wie geht es dir?\nPeter: Gut, danke.", "Lukas: Guten Morgen.\nMia: Es ist noch früh."],
        "Lukas grüßt Jana, und die Antwort ist freundlich.",
        ["Lukas"],
    ),
    "English": (["Amy: hi\nBen: hi", "Cal: bye\nDee: bye"], "Cal greets Ben.", ["Cal"]),
    "Korean": (["민수: 안녕.\n지영: 안녕.", "영희: 잘 가.\n철수: 그래."], "영희가 민수에게 인사한다.", ["영희"]),
}


@pytest.mark.parametrize("language", SPEAKERS)
def test_speakers_of_other_dialogues_are_found(language: str) -> None:
    """In every script, also at the start of a sentence, and not in the dialogue in which they speak."""
    dialogues, summary, names = SPEAKERS[language]
    checks = entity_checks(dialogues, [[""], [""]])
    assert checks.speaker_errors(summary, dialogues[0]) == names
    assert names[0] not in checks.speaker_errors(summary, dialogues[1])
    assert checks.speaker_errors("", dialogues[0]) == []


def test_roles_are_no_speakers_of_other_dialogues() -> None:
    """A doctor, written small elsewhere or behind an article, may be in any summary."""
    english = ["Doctor: hello\nAmy: hi", "Ben: see a doctor\nCal: why"]
    assert entity_checks(english, [["x"], ["x"]]).speaker_errors("The Doctor helps Ben.", english[1]) == []
    german = ["Arzt: Wo tut es weh?\nJana: Hier.", "Ben: Ich war nicht bei dem Arzt.\nUte: Warum?", "Tim: Ja\nTom: Na"]
    assert entity_checks(german, [["x"]] * 3).speaker_errors("Arzt und Tim reden.", german[2]) == []
    chinese = ["医生：哪里疼？\n小明：头。", "李娜：我去看医生。\n王芳：好。", "张伟：早。\n刘洋：早。"]
    assert entity_checks(chinese, [["x"]] * 3).speaker_errors("张伟去看医生。", chinese[2]) == []
