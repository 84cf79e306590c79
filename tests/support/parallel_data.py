"""The same small data set in English, German, Russian and Chinese, made from scenes with names and numbers."""

from itertools import product
from pathlib import Path

from tests.support.data import write_csv

Scene = tuple[str, str]
"""Dialogue and summary, with {a}, {b} for the names of the speakers and {n} for a number."""

NAMES: dict[str, list[tuple[str, str]]] = {
    "English": [("Anna", "Peter"), ("Maria", "Tom"), ("Kate", "George"), ("Lucy", "Walter")],
    "German": [("Anna", "Jürgen"), ("Maria", "Götz"), ("Käthe", "Georg"), ("Lucie", "Walter")],
    "Russian": [("Анна", "Борис"), ("Мария", "Игорь"), ("Катя", "Егор"), ("Люся", "Фёдор")],
    "Chinese": [("小明", "李华"), ("王芳", "张伟"), ("小丽", "陈强"), ("赵敏", "周杰")],
}
SCENES: dict[str, list[Scene]] = {
    "English": [
        (
            "{a}: I missed the train. I will be {n} minutes late.\n{b}: No problem, I will wait at the station.",
            "{a} missed the train and will be {n} minutes late. {b} waits at the station.",
        ),
        (
            "{a}: How much does the jacket cost?\n{b}: It costs {n} euros today.\n{a}: Then I will buy it.",
            "{a} buys the jacket for {n} euros from {b}.",
        ),
        (
            "{a}: The kitchen tap is broken again.\n{b}: I will send a plumber at {n} o'clock.",
            "{b} sends a plumber at {n} o'clock because the kitchen tap of {a} is broken.",
        ),
        (
            "{a}: Would you like to see a film tonight?\n{b}: Gladly. I will book {n} seats.",
            "{a} and {b} will see a film tonight. {b} books {n} seats.",
        ),
        (
            "{a}: My son has had a fever for {n} days.\n{b}: He should stay in bed and drink a lot.",
            "The son of {a} has had a fever for {n} days. {b} advises rest and much drinking.",
        ),
        (
            "{a}: The report is due on Friday.\n{b}: I still need {n} pages. Can you help me?\n{a}: Of course.",
            "{b} still needs {n} pages for the report. {a} will help.",
        ),
    ],
    "German": [
        (
            "{a}: Ich habe den Zug verpasst. Ich komme {n} Minuten später.\n{b}: Kein Problem, ich warte am Bahnhof.",
            "{a} hat den Zug verpasst und kommt {n} Minuten später. {b} wartet am Bahnhof.",
        ),
        (
            "{a}: Wie viel kostet die Jacke?\n{b}: Heute kostet sie {n} Euro.\n{a}: Dann kaufe ich sie.",
            "{a} kauft bei {b} die Jacke für {n} Euro.",
        ),
        (
            "{a}: Der Wasserhahn in der Küche ist wieder kaputt.\n{b}: Ich schicke um {n} Uhr einen Klempner.",
            "{b} schickt um {n} Uhr einen Klempner, weil der Wasserhahn in {a}s Küche kaputt ist.",
        ),
        (
            "{a}: Möchtest du heute Abend einen Film sehen?\n{b}: Gern. Ich reserviere {n} Plätze.",
            "{a} und {b} sehen heute Abend einen Film. {b} reserviert {n} Plätze.",
        ),
        (
            "{a}: Mein Sohn hat seit {n} Tagen Fieber.\n{b}: Er soll im Bett bleiben und viel trinken.",
            "{a}s Sohn hat seit {n} Tagen Fieber. {b} rät zu Bettruhe und vielem Trinken.",
        ),
        (
            "{a}: Der Bericht muss am Freitag fertig sein.\n{b}: Mir fehlen noch {n} Seiten. Hilfst du mir?\n{a}: Ja.",
            "{b} fehlen noch {n} Seiten des Berichts. {a} hilft.",
        ),
    ],
    "Russian": [
        (
            "{a}: Поезд ушёл без меня. Я буду на {n} минут позже.\n{b}: Ничего, я подожду на вокзале.",
            "{a} не успевает на поезд и будет на {n} минут позже. {b} ждёт на вокзале.",
        ),
        (
            "{a}: Сколько стоит куртка?\n{b}: Сегодня она стоит {n} евро.\n{a}: Тогда я её беру.",
            "{a} покупает куртку за {n} евро, продавец {b}.",
        ),
        (
            "{a}: На кухне опять сломался кран.\n{b}: Я пришлю мастера к {n} часам.",
            "{b} пришлёт мастера к {n} часам, потому что на кухне сломался кран.",
        ),
        (
            "{a}: Пойдём вечером в кино?\n{b}: С радостью. Я закажу {n} мест.",
            "{a} и {b} вечером идут в кино. {b} заказывает {n} мест.",
        ),
        (
            "{a}: У сына температура уже {n} дней.\n{b}: Ему надо лежать и много пить.",
            "У сына температура уже {n} дней. {b} советует лежать и много пить.",
        ),
        (
            "{a}: Отчёт нужен в пятницу.\n{b}: Не хватает {n} страниц. Поможешь мне?\n{a}: Конечно.",
            "{b} должен написать ещё {n} страниц отчёта. {a} поможет.",
        ),
    ],
    "Chinese": [
        (
            "{a}：我没赶上火车，要晚到{n}分钟。\n{b}：没关系，我在车站等你。",
            "{a}没赶上火车，要晚到{n}分钟。{b}在车站等。",
        ),
        (
            "{a}：这件外套多少钱？\n{b}：今天卖{n}欧元。\n{a}：那我买了。",
            "{a}花{n}欧元从{b}那里买了外套。",
        ),
        (
            "{a}：厨房的水龙头又坏了。\n{b}：我{n}点派水管工过去。",
            "{a}厨房的水龙头坏了，{b}{n}点派水管工过去。",
        ),
        (
            "{a}：今晚想看电影吗？\n{b}：好啊，我订{n}个座位。",
            "{a}和{b}今晚去看电影，{b}订{n}个座位。",
        ),
        (
            "{a}：我儿子发烧{n}天了。\n{b}：让他卧床休息，多喝水。",
            "{a}的儿子发烧{n}天了，{b}建议休息和多喝水。",
        ),
        (
            "{a}：报告星期五要交。\n{b}：我还差{n}页，你能帮我吗？\n{a}：当然。",
            "{b}的报告还差{n}页，{a}会帮忙。",
        ),
    ],
}
NUMBERS = (5, 7, 8, 9)


def parallel_data(folder: Path, language: str) -> Path:
    """Write 12 training, 4 validation and 8 test dialogues; those of one line are translations of each other."""
    examples = [
        (dialogue.format(a=a, b=b, n=number), summary.format(a=a, b=b, n=number))
        for ((a, b), number), (dialogue, summary) in product(
            zip(NAMES[language], NUMBERS, strict=True), SCENES[language]
        )
    ]
    for split, start, stop in (("train", 0, 12), ("validation", 12, 16), ("test", 16, 24)):
        rows = [
            {"id": f"{split}_{i}", "dialogue": dialogue, "summary": summary, "topic": ""}
            for i, (dialogue, summary) in enumerate(examples[start:stop])
        ]
        write_csv(folder / f"{split}.csv", rows)
    return folder
