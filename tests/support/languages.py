"""Dialogues in German and Russian, written for the tests, each with two free summaries."""

GERMAN = [
    (
        "#Person1#: Der Zug nach Köln fällt aus.\n#Person2#: Dann nehmen wir eben das Auto.",
        "#Person1# und #Person2# fahren mit dem Wagen nach Köln, weil die Bahn ausfällt.",
        "Wegen einer Störung bei der Bahn reisen #Person1# und #Person2# mit dem Auto nach Köln.",
    ),
    (
        "#Person1#: Hast du die Rechnung bezahlt?\n#Person2#: Nein, ich habe sie verlegt.",
        "#Person2# hat eine Rechnung verloren und sie deshalb nicht bezahlt.",
        "Auf Nachfrage von #Person1# gesteht #Person2# den Verlust einer Rechnung.",
    ),
    (
        "#Person1#: Jana, kommst du am Freitag mit ins Kino?\n#Person2#: Gern, aber erst nach der Arbeit.",
        "#Person1# lädt Jana für Freitag ins Kino ein, und sie sagt unter einer Bedingung zu.",
        "Jana nimmt die Einladung zum Filmabend an.",
    ),
    (
        "#Person1#: Mir tut seit gestern der Rücken weh.\n#Person2#: Heben Sie bei der Arbeit schwer?",
        "#Person1# schildert Beschwerden, und #Person2# fragt nach der Ursache.",
        "#Person1# hat Schmerzen im Rücken und wird nach dem Beruf gefragt.",
    ),
    (
        "#Person1#: Die Wohnung ist hell, aber was kostet sie?\n#Person2#: Neunhundert im Monat, warm.",
        "#Person1# besichtigt eine Wohnung und erkundigt sich nach der Miete.",
        "Ein Interessent erfährt von #Person2# den Preis einer hellen Wohnung.",
    ),
    (
        "#Person1#: Ich möchte den Pullover umtauschen, er ist zu klein.\n#Person2#: Haben Sie den Kassenzettel noch?",
        "#Person1# will einen Pullover zurückgeben, und #Person2# verlangt den Beleg.",
        "Im Geschäft bittet #Person1# um einen Umtausch.",
    ),
    (
        "#Person1#: Wie war dein erster Tag?\n#Person2#: Alle waren nett, aber der Rechner ging nicht.",
        "#Person2# berichtet von freundlichen Kollegen und einem defekten Computer.",
        "#Person2# hatte am ersten Tag Ärger mit der Technik.",
    ),
    (
        "#Person1#: Wir brauchen noch Brot und Milch.\n#Person2#: Ich gehe gleich los, der Laden schließt um acht.",
        "#Person2# erledigt vor Ladenschluss den Einkauf.",
        "#Person1# nennt fehlende Lebensmittel, und #Person2# macht sich auf den Weg.",
    ),
    (
        "#Person1#: Herr Vogt, können Sie den Bericht bis morgen schicken?\n"
        "#Person2#: Wenn die Zahlen heute kommen, ja.",
        "#Person1# bittet Herrn Vogt um die Zusendung eines Berichts; er macht das von Daten abhängig.",
        "Herr Vogt verspricht den Bericht unter Vorbehalt.",
    ),
    (
        "#Person1#: Warum hast du nicht angerufen?\n#Person2#: Der Akku war leer, es tut mir leid.",
        "#Person2# entschuldigt sich für das Schweigen mit einem leeren Telefon.",
        "#Person1# macht #Person2# Vorwürfe wegen eines versäumten Anrufs.",
    ),
]
RUSSIAN = [
    (
        "#Person1#: Борис, ты где?\n#Person2#: Анна, я опоздал на поезд.",
        "Анна ищет Бориса, а он не успел на поезд.",
        "Борис сообщает Анне, что опоздал.",
    ),
    (
        "#Person1#: Мария, вы прислали договор?\n#Person2#: Да, Олег, ещё вчера.",
        "Олег спрашивает Марию о договоре.",
        "Мария отвечает Олегу, что отправила договор вчера.",
    ),
    (
        "#Person1#: Игорь, пойдём в субботу в театр?\n#Person2#: С радостью, Вера.",
        "Вера зовёт Игоря в театр.",
        "Игорь соглашается пойти с Верой в театр.",
    ),
    (
        "#Person1#: Сколько стоит билет до Казани?\n#Person2#: Две тысячи.",
        "#Person1# узнаёт цену поездки в Казань.",
        "#Person2# называет цену билета до Казани.",
    ),
    (
        "#Person1#: Светлана, у меня болит горло.\n#Person2#: Павел, выпей чаю и ложись.",
        "Светлана советует Павлу лечь.",
        "Павел жалуется Светлане на горло.",
    ),
    (
        "#Person1#: Лена, кто забрал ключи?\n#Person2#: Их взял Антон.",
        "Лена узнаёт, что ключи у Антона.",
        "Лене говорят, кто взял ключи.",
    ),
    (
        "#Person1#: Где мы встретимся?\n#Person2#: У входа в парк, в шесть.",
        "#Person1# и #Person2# договариваются встретиться у парка.",
        "#Person2# предлагает встретиться в шесть.",
    ),
    (
        "#Person1#: Дмитрий, отчёт готов?\n#Person2#: Нет, Нина, завтра.",
        "Нина ждёт отчёта от Дмитрия.",
        "Дмитрий обещает Нине отчёт завтра.",
    ),
    (
        "#Person1#: Юля, купи хлеба.\n#Person2#: Хорошо, Стас, по дороге домой.",
        "Стас просит Юлю купить хлеба.",
        "Юля купит хлеб по просьбе Стаса.",
    ),
    (
        "#Person1#: Как прошёл экзамен, Роман?\n#Person2#: Плохо, Ирина, я не сдал.",
        "Ирина узнаёт, что Роман не сдал экзамен.",
        "Роман рассказывает Ирине об экзамене.",
    ),
]
