"""Chats as phones export them from WhatsApp: messages keep their speakers, and those of the app are left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.transcripts.conversation import parse_conversation

IPHONE = """\
[12.03.24, 18:05:01] Choir: \u200eMessages and calls are end-to-end encrypted. Only people in this chat can read them.
[12.03.24, 18:05:02] Choir: \u200eLena created this group
[12.03.24, 18:05:20] Lena: Table at seven?
\u200e[12.03.24, 18:05:40] Lena: \u200eimage omitted
[12.03.24, 18:06:02] \u202aJonas\u202c: Yes! But can we make it eight?
Seven is tight.
\u200e[12.03.24, 18:06:30] Lena: The menu \u200eimage omitted
\u200e[12.03.24, 18:06:40] Jonas: \u200emenu.pdf \u2022 \u200e2 pages \u200edocument omitted
[12.03.24, 18:07:00] Jonas: @\u2068Lena\u2069 eight then \u200e<This message was edited>
[12.03.24, 18:07:30] ~\u202fMira: \u200eMissed voice call
[12.03.24, 18:08:00] ~\u202fMira: I come too: promised."""
ANDROID = """\
12/03/2024, 18:02 - Messages and calls are end-to-end encrypted. No one outside of this chat can read them.
12/03/2024, 18:02 - Lena created group "Choir: spring"
12/03/2024, 18:03 - You changed the subject from \u201cChoir: spring\u201d to \u201cChoir: summer\u201d
12/03/2024, 18:05 - Lena: Table at seven?
12/03/2024, 18:05 - Lena: <Media omitted>
12/03/2024, 18:06 - Jonas: Yes! But can we make it eight?
Seven is tight.
12/03/2024, 18:06 - Lena: IMG-20240312-WA0001.jpg (file attached)
The menu
12/03/2024, 18:06 - Jonas: This message was deleted
12/03/2024, 18:07 - Jonas: @Lena eight then <This message was edited>
12/03/2024, 18:07 - Mira joined using this group's invite link
12/03/2024, 18:08 - Mira: I come too: promised."""
WANTED = """\
#Person1#: Table at seven?
#Person2#: Yes! But can we make it eight? Seven is tight.
#Person1#: The menu
#Person2#: @Lena eight then
#Person3#: I come too: promised."""


@pytest.mark.parametrize(
    ("chat", "left_out"),
    [
        (IPHONE, {"SYSTEM": 3, "MEDIA": 3}),
        (ANDROID, {"SYSTEM": 4, "MEDIA": 2, "DELETED": 1}),
        (ANDROID.replace("\n", "\r\n"), {"SYSTEM": 4, "MEDIA": 2, "DELETED": 1}),
        ("\ufeff" + IPHONE, {"SYSTEM": 3, "MEDIA": 3}),
        ("\n".join(ANDROID.split("\n")[3:5] + ANDROID.split("\n")[-1:]), {"MEDIA": 1}),
    ],
    ids=["iPhone", "Android", "lines of Windows", "byte order mark", "one placeholder"],
)
def test_people_say_their_words_and_the_app_says_nothing(chat: str, left_out: dict[str, int]) -> None:
    """A line that begins with an invisible mark is its sender's; what is left out is counted."""
    conversation = parse_conversation(chat)
    assert {loss.kind.name: loss.count for loss in conversation.losses} == left_out
    if "Jonas" in chat:
        assert (conversation.text, conversation.names) == (WANTED, ("Lena", "Jonas", "Mira"))
    else:
        assert conversation.text == "#Person1#: Table at seven?\n#Person2#: I come too: promised."


APP = {
    "English": [
        "<Media omitted>",
        "image omitted",
        "\u200evideo omitted",
        "\u200eContact card omitted",
        "GIF omitted",
        "\u200e<attached: 00000012-PHOTO-2024.jpg>",
        "PTT-20240312-WA0003.opus (file attached)",
        "report.pdf \u2022 3 pages document omitted",
        "Missed group video call",
        "You deleted this message.",
        "Location: https://maps.google.com/?q=52.5,13.4",
        "\u200eLena changed the group description",
        "Messages and calls are end-to-end encrypted. Tap to learn more.",
    ],
    "German": [
        "<Medien ausgeschlossen>",
        "Bild weggelassen",
        "\u200eAudio weggelassen",
        "\u200eDokument weggelassen",
        "\u200eKontaktkarte ausgelassen",
        "IMG-1.jpg (Datei angehängt)",
        "<Anhang: 7-PHOTO.jpg>",
        "Verpasster Sprachanruf",
        "Diese Nachricht wurde gelöscht.",
        "Nachrichten und Anrufe sind Ende-zu-Ende-verschlüsselt. Tippe für mehr.",
    ],
    "Spanish": [
        "<Multimedia omitido>",
        "imagen omitida",
        "\u200eaudio omitido",
        "documento omitido",
        "IMG-1.jpg (archivo adjunto)",
        "<adjunto: 7-PHOTO.jpg>",
        "Llamada de voz perdida",
        "Videollamada perdida",
        "Se eliminó este mensaje.",
        "Los mensajes y las llamadas están cifrados de extremo a extremo. Nadie puede leerlos.",
    ],
    "French": [
        "<Médias omis>",
        "image absente",
        "\u200evidéo absente",
        "audio omis",
        "document manquant",
        "GIF retiré",
        "IMG-1.jpg (fichier joint)",
        "<pièce jointe : 7-PHOTO.jpg>",
        "Appel vocal manqué",
        "Ce message a été supprimé",
        "Les messages et les appels sont chiffrés de bout en bout. Aucun tiers ne peut les lire.",
    ],
    "Italian": [
        "<Media omessi>",
        "immagine omessa",
        "\u200evideo omesso",
        "sticker non incluso",
        "GIF esclusa",
        "IMG-1.jpg (file allegato)",
        "<allegato: 7-PHOTO.jpg>",
        "Chiamata vocale persa",
        "Videochiamata persa",
        "Questo messaggio è stato eliminato",
        "I messaggi e le chiamate sono crittografati end-to-end. Nessuno può leggerli.",
    ],
    "Portuguese": [
        "<Mídia oculta>",
        "<Arquivo de mídia oculto>",
        "imagem ocultada",
        "\u200eáudio ocultado",
        "figurinha omitida",
        "imagem não revelada",
        "IMG-1.jpg (arquivo anexado)",
        "<anexado: 7-PHOTO.jpg>",
        "Chamada de voz perdida",
        "Mensagem apagada",
        "Você apagou esta mensagem",
        "As mensagens e as chamadas são protegidas com a criptografia de ponta a ponta. Ninguém pode ler.",
    ],
    "Dutch": [
        "<Media weggelaten>",
        "afbeelding weggelaten",
        "\u200evideo weggelaten",
        "Visitekaartje weggelaten",
        "IMG-1.jpg (bestand bijgevoegd)",
        "<bijgevoegd: 7-PHOTO.jpg>",
        "Gemiste spraakoproep",
        "Gemiste video-oproep",
        "Dit bericht is verwijderd",
        "Berichten en oproepen zijn end-to-end versleuteld. Niemand kan ze lezen.",
    ],
}


@pytest.mark.parametrize("head", ["[12/03/24, 18:0{n}:00] {name}: ", "12.03.24, 18:0{n} - {name}: "])
@pytest.mark.parametrize(("language", "text"), [(language, text) for language in APP for text in APP[language]])
def test_what_the_app_writes_under_a_name_is_left_out(language: str, text: str, head: str) -> None:
    """Placeholders and notices in seven languages; the other messages keep their speakers."""
    messages = [("Ann", "Hello"), ("Bob", text), ("Ann", "Bye"), ("Cy", "Wait")]
    conversation = parse_conversation(
        "\n".join(head.format(n=n, name=name) + words for n, (name, words) in enumerate(messages))
    )
    assert (conversation.text, conversation.names) == (
        "#Person1#: Hello\n#Person1#: Bye\n#Person2#: Wait",
        ("Ann", "Cy"),
    )
    assert [loss.count for loss in conversation.losses] == [1]


@pytest.mark.parametrize(
    "text",
    [
        "The image omitted the best part",
        "I omitted it",
        "Messages on that app are end-to-end encrypted",
        "I missed the voice call",
        "Bild dir nichts ein: weggelassen ist gelassen",
        "<3",
        "see https://maps.example.org: a page",
        "10:30 - Bob: is how it was written",
    ],
)
def test_words_that_resemble_the_app_are_kept(text: str) -> None:
    """Only what the app writes, from its first letter to its last, is taken for the app's."""
    conversation = parse_conversation(
        f"[12/03/24, 18:00:00] Ann: Hello\n[12/03/24, 18:01:00] Bob: {text}\n[12/03/24, 18:02:00] Ann: Bye"
    )
    assert conversation.text.split("\n")[1] == f"#Person2#: {text}"
    assert conversation.losses == ()


@pytest.mark.parametrize(
    "head",
    [
        "12/31/24, 9:1{n} PM - {name}: ",
        "12/31/24, 9:1{n}\u202fPM - {name}: ",
        "14/3/2023 7:0{n} p.\u00a0m. - {name}: ",
        "12/03/2026 à 09:5{n} - {name}: ",
        "30/08/25 18.0{n} - {name}: ",
        "[12/01/25, 9.15.0{n}] {name}: ",
        "[2024-03-12, 18:0{n}:40] {name}: ",
        "\u200f[٠٣/٠٤/٢٠٢٤، ٩:١{n}:٠٥ م] {name}: ",
        "2024/11/30 午後9:1{n} - {name}: ",
        "2025. 2. 3. 오후 9:1{n}, {name} : ",
        "12. 3. 2024 18:0{n} - {name}: ",
    ],
)
def test_dates_and_times_of_many_countries_begin_a_message(head: str) -> None:
    """With twelve or twenty-four hours, dots or colons, digits of other scripts."""
    messages = [("Ann Lee", "Late?"), ("+49 170 1234567", "At 10:30: yes."), ("Ann Lee", "Oh.")]
    conversation = parse_conversation(
        "\n".join(head.format(n=n, name=name) + text for n, (name, text) in enumerate(messages))
    )
    assert (conversation.text, conversation.names) == (
        "#Person1#: Late?\n#Person2#: At 10:30: yes.\n#Person1#: Oh.",
        ("Ann Lee", "+49 170 1234567"),
    )


def test_a_poll_keeps_its_question() -> None:
    """The app frames it; the question is a person's."""
    poll = "[1/2/24, 10:01:00] Bob: \u200ePOLL:\nWhere to?\n\u200eOPTION: Rome (\u200e2 votes)"
    conversation = parse_conversation(f"[1/2/24, 10:00:00] Ann: Hi\n{poll}\n[1/2/24, 10:02:00] Ann: Rome!")
    assert conversation.text == "#Person1#: Hi\n#Person2#: Where to?\n#Person1#: Rome!"


words = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
lines = st.lists(words, min_size=1, max_size=6).map(" ".join)


@given(st.lists(st.tuples(st.sampled_from(["Ann", "Dr. Wu", "李", "+1 555 0100"]), lines), min_size=2, max_size=9))
def test_no_message_is_lost_or_moved(messages: list[tuple[str, str]]) -> None:
    """For any words of any speakers in any order, as both kinds of phones write them."""
    for head in ("[31.12.24, 21:10:05] {}: ", "12/31/24, 9:10 PM - {}: "):
        conversation = parse_conversation("\n".join(head.format(name) + text for name, text in messages))
        turns = [line.split(": ", 1) for line in conversation.text.split("\n")]
        assert [(conversation.restore_names(tag), text) for tag, text in turns] == messages


def test_a_message_of_several_lines_keeps_them_unless_a_line_is_a_broken_message() -> None:
    """A plan with times is its writer's; a line whose date is damaged is nobody's, and said to be."""
    head = "[12.03.24, 18:0{}:00] "
    plan = f"{head.format(1)}Ann: The plan:\n10:00 breakfast\nBob: brings bread\n{head.format(2)}Bob: Fine\n"
    assert parse_conversation(plan).losses == ()
    assert parse_conversation(plan).text.startswith("#Person1#: The plan: 10:00 breakfast Bob: brings bread\n")
    conversation = parse_conversation(plan + "[12.?3.24, 18:03:00] Ann: Late\nagain")
    assert conversation.text.split("\n")[2:] == ["[12.?3.24, 18:03:00] Ann: Late", "again"]
    assert [loss.sentence for loss in conversation.losses] == [
        "2 lines that look like turns of nobody known kept without a speaker"
    ]
