"""Writers of transcripts: one known conversation in every format; the oracle of the readers."""

import html
import json
import random
from collections.abc import Callable
from typing import NamedTuple

from hypothesis import strategies as st


class Message(NamedTuple):
    """What somebody says, in one line or several."""

    name: str
    lines: tuple[str, ...]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.lines).split())


Talk = list[Message]
NAMES = (
    "Ann Lee",
    "Zoë",
    "Борис Годунов",
    "Άννα",
    "小明",
    "지민",
    "美咲",
    "अनिता शर्मा",
    "สมหญิง",
    "রহিমা",
    "سلمى",
    "תמר",
    "Արամ",
    "ნინო",
    "Mia 🌸",
    "Sam (they/them)",
    "Dr. Ana de la Cruz",
    "Zoe\u0308 B.",
)
"""Of fourteen scripts; with vowel signs, composed and decomposed letters, a particle, pronouns, an emoji."""
WORDS = [
    "yes",
    "no",
    "the",
    "train",
    "was",
    "late",
    "10:30",
    "and",
    "we:",
    "left?",
    "Да,",
    "поезд",
    "опоздал!",
    "Ναι",
    "鍵を忘れた。",
    "好",
    "열쇠",
    "कहाँ",
    "हो?",
    "ถึงแล้ว",
    "هل",
    "وصل؟",
    "שלום",
    "😀",
    "👍🏽",
    "été",
    "3,50",
    "€",
    "#1",
    "@you",
    "(sic)",
    "“so”",
    "it’s",
    "a/b",
    "—",
    "50%",
    "a\u200db",
]


def talk_of(seed: int, several_lines: bool) -> Talk:
    """A conversation of two people or more; in every other one somebody says again what somebody said."""
    rng = random.Random(seed)
    names = rng.sample(NAMES, rng.randint(2, 4))
    talk = [Message(name, _lines(rng, several_lines)) for name in [*names, *rng.choices(names, k=rng.randint(0, 5))]]
    rng.shuffle(talk)
    again = [Message(rng.choice(names), talk[0].lines)] if seed % 2 else []
    return [*again, *talk, *again]


def _lines(rng: random.Random, several: bool) -> tuple[str, ...]:
    """A first line of any words, and further ones without a colon."""
    first = " ".join(rng.choices(WORDS, k=rng.randint(1, 7))).rstrip(":")
    plain = [word for word in WORDS if ":" not in word]
    further = (" ".join(rng.choices(plain, k=rng.randint(1, 4))) for _ in range(rng.randint(0, 2) if several else 0))
    return first, *further


def talks(several_lines: bool) -> st.SearchStrategy[Talk]:
    """Conversations by their seeds, which Hypothesis draws far faster than their words."""
    return st.integers(0, 2**48).map(lambda seed: talk_of(seed, several_lines))


def _by_line(form: str, *, join: str = "\n", head: str = "", below: str = "\n") -> Callable[[Talk], str]:
    """A writer from a form with {n}, {name} and {text}."""

    def write(talk: Talk) -> str:
        parts = [
            form.format(n=number % 60, h=10 + number // 60, m=number + 1, name=name, text=below.join(lines))
            for number, (name, lines) in enumerate(talk)
        ]
        return head + join.join(parts)

    return write


def _captions(talk: Talk, form: str, head: str, comma: str, arrow: str) -> str:
    cues = []
    for number, (name, lines) in enumerate(talk):
        start, end = (f"00:{number:02}:{second:02}{comma}000" for second in (1, 40))
        text = form.format(name=name, text="\n".join(lines))
        cues.append(
            f"{number + 1}\n{start}{arrow}{end}\n{text}\n" if head != "sbv" else f"{start}{arrow}{end}\n{text}\n"
        )
    return ("" if head == "sbv" else head) + "\n".join(cues)


def _webvtt(talk: Talk) -> str:
    escaped = [Message(html.escape(m.name), tuple(html.escape(line, quote=False) for line in m.lines)) for m in talk]
    return _captions(escaped, "<v {name}>{text}</v>", "WEBVTT\n\n", ".", " --> ")


def _ttml(talk: Talk) -> str:
    paragraphs = (
        f'<p begin="00:{n:02}:01" end="00:{n:02}:40">{html.escape(f"{m.name}: " + m.lines[0])}'
        f"{''.join(f'<br/>{html.escape(line)}' for line in m.lines[1:])}</p>"
        for n, m in enumerate(talk)
    )
    return f'<tt xmlns="http://www.w3.org/ns/ttml"><body><div>{"".join(paragraphs)}</div></body></tt>'


def _iso(number: int) -> str:
    return f"2024-01-01T10:{number:02}:00Z"


def _slack(talk: Talk) -> str:
    return json.dumps(
        [
            {
                "user": f"U{NAMES.index(m.name)}",
                "user_profile": {"real_name": m.name},
                "text": html.escape("\n".join(m.lines), quote=False),
                "ts": f"170000{n:04}.0",
            }
            for n, m in enumerate(talk)
        ]
    )


def _objects(
    name_key: str, text_key: str, time_key: str, wrap: Callable[[list[object]], object]
) -> Callable[[Talk], str]:
    def write(talk: Talk) -> str:
        objects: list[object] = [
            {name_key: m.name, text_key: "\n".join(m.lines), time_key: _iso(n)} for n, m in enumerate(talk)
        ]
        return json.dumps(wrap(objects), ensure_ascii=False)

    return write


def _mojibake(talk: Talk) -> str:
    """As Messenger writes: the bytes of UTF-8 as characters, newest first."""
    wrong = [[text.encode().decode("latin-1") for text in (m.name, "\n".join(m.lines))] for m in talk]
    return json.dumps(
        {"messages": [{"sender_name": w[0], "content": w[1], "timestamp_ms": n} for n, w in enumerate(wrong)][::-1]}
    )


def _shuffled(talk: Talk) -> str:
    """Every message has a time; the file has the second half first."""
    found = [{"from": m.name, "text": "\n".join(m.lines), "date": _iso(n)} for n, m in enumerate(talk)]
    return json.dumps({"messages": found[len(found) // 2 :] + found[: len(found) // 2]})


def _teams(talk: Talk) -> str:
    return json.dumps(
        {
            "value": [
                {
                    "createdDateTime": _iso(n),
                    "from": {"user": {"displayName": m.name}},
                    "body": {
                        "contentType": "html",
                        "content": "".join(f"<p>{html.escape(line)}</p>" for line in m.lines),
                    },
                }
                for n, m in enumerate(talk)
            ]
        }
    )


def _chatgpt(talk: Talk) -> str:
    nodes = {
        str(n): {
            "parent": str(n - 1),
            "message": {
                "author": {"role": ("user", "assistant")[n % 2], "name": m.name},
                "content": {"parts": ["\n".join(m.lines)]},
            },
        }
        for n, m in enumerate(talk)
    }
    return json.dumps([{"mapping": nodes, "current_node": str(len(talk) - 1)}])


class Writer(NamedTuple):
    write: Callable[[Talk], str]
    several_lines: bool = True
    """Whether a message may have several."""


WRITERS = {
    "colon": Writer(_by_line("{name}: {text}"), False),
    "colon, in bold": Writer(_by_line("**{name}:** {text}", join="\n\n"), False),
    "colon, of Chinese": Writer(_by_line("{name}：{text}"), False),
    "time and name": Writer(_by_line("[00:{n:02}] {name}: {text}"), False),
    "time and dash": Writer(_by_line("00:{n:02}:01 {name} - {text}"), False),
    "name and time": Writer(_by_line("{name} (00:{n:02}): {text}"), False),
    "tabs": Writer(_by_line("10:{n:02}\t{name}\t{text}"), False),
    "angle brackets": Writer(_by_line("<{name}> {text}"), False),
    "brackets": Writer(_by_line("[{name}] {text}"), False),
    "Otter": Writer(_by_line("{name}  0:{n:02}\n{text}\n")),
    "Rev": Writer(_by_line("{name}: (00:{n:02})\n{text}\n")),
    "Teams, copied": Writer(_by_line("[10:{n:02} AM] {name}\n{text}")),
    "Zoom, captions": Writer(_by_line("[{name}] 10:{n:02}:01\n{text}\n")),
    "Zoom, chat": Writer(_by_line("10:{n:02}:01 From {name} to Everyone:\n\t{text}", below="\n\t")),
    "iMessage": Writer(_by_line("May 17, 2022  5:{n:02}:42 PM\n{name}\n{text}\n")),
    "WhatsApp, iPhone": Writer(_by_line("[31.12.24, 21:{n:02}:05] {name}: {text}")),
    "WhatsApp, Android": Writer(_by_line("12/31/24, 9:{n:02}\u202fPM - {name}: {text}")),
    "WhatsApp, Spanish": Writer(_by_line("31/12/2024 9:{n:02} p.\u00a0m. - {name}: {text}")),
    "WebVTT": Writer(_webvtt),
    "SRT": Writer(lambda talk: _captions(talk, "{name}: {text}", "", ",", " --> ")),
    "SRT, of carriage returns": Writer(
        lambda talk: _captions(talk, "{name}: {text}", "", ",", " --> ").replace("\n", "\r")
    ),
    "SBV": Writer(lambda talk: _captions(talk, "{name}: {text}", "sbv", ".", ",")),
    "TTML": Writer(_ttml),
    "Whisper": Writer(_by_line("[00:{n:02}.000 --> 00:{m:02}.000]  [{name}]: {text}"), False),
    "Slack": Writer(_slack),
    "Telegram, out of order": Writer(_shuffled),
    "Messenger": Writer(_mojibake),
    "Teams, Graph": Writer(_teams),
    "ChatGPT": Writer(_chatgpt),
    "Fireflies": Writer(_objects("speaker_name", "sentence", "time", lambda found: {"sentences": found})),
    "Claude": Writer(_objects("sender", "text", "created_at", lambda found: {"chat_messages": found})),
    "JSON Lines": Writer(_objects("Speaker", "Text", "date", lambda found: found)),
}
"""Each writes a conversation so that its reader finds the same turns."""
