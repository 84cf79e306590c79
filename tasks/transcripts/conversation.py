"""A transcript of any format in the one form that the model was trained on, and names back into its summary.

    [00:01] Bob - We are late.          #Person1#: We are late.
    [00:04] Ann - The train was.   ->   #Person2#: The train was.

Text without speakers stays unchanged, and so does a transcript with `#Person1#:` tags.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tasks.transcripts.detect import PLAIN, TAGGED, detect
from tasks.transcripts.records import Loss, LossKind, Reading, Turn

_TAG = re.compile(r"#Person(\d+)#")


@dataclass(frozen=True)
class Conversation:
    """A dialogue in the form that the model was trained on."""

    text: str
    """One turn per line, `#PersonN#: …`; empty if there is no text."""
    names: tuple[str, ...] = ()
    """Names of `#Person1#`, `#Person2#`, …; empty if the input had these tags already."""
    format: str = PLAIN
    """A name of tasks/transcripts/formats.py, or `plain` or `tagged`."""
    reason: str = ""
    """Why the input has this format."""
    turns: tuple[Turn, ...] = ()
    """Who says what; empty if the text is unchanged."""
    losses: tuple[Loss, ...] = ()
    """What was left out, joined, moved or guessed."""

    def restore_names(self, summary: str) -> str:
        """The summary with names instead of tags. A tag that is no speaker's stays."""

        def name(tag: re.Match[str]) -> str:
            number = int(tag[1])
            return self.names[number - 1] if 1 <= number <= len(self.names) else tag[0]

        return _TAG.sub(name, summary)


def parse_conversation(value: Any, format: str | None = None) -> Conversation:
    """Convert a transcript (its text, or a value of JSON) in any format. Never fails.

    format: name of the format; detected if None. If the input is not of it, the conversation is empty.
    """
    name, reading = detect(value, format)
    if name in (PLAIN, TAGGED):
        return Conversation(reading.turns[0].text if reading.turns else "", format=name, reason=reading.reason)
    return _with_tags(name, reading)


def _with_tags(name: str, reading: Reading) -> Conversation:
    """Number the speakers in the order in which they first speak; leave out empty turns."""
    numbers: dict[str, int] = {}
    lines, turns = [], []
    losses = Counter(reading.losses)
    for turn in reading.turns:
        text = " ".join(turn.text.split())
        if not text:
            losses[LossKind.EMPTY] += 1
            continue
        speaker = turn.speaker
        turns.append(turn._replace(text=text))
        lines.append(f"#Person{numbers.setdefault(speaker, len(numbers) + 1)}#: {text}" if speaker else text)
    return Conversation("\n".join(lines), tuple(numbers), name, reading.reason, tuple(turns), losses_of(losses))


def losses_of(counts: Counter[LossKind]) -> tuple[Loss, ...]:
    """The kinds that happened, in the order of LossKind."""
    return tuple(Loss(kind, counts[kind]) for kind in LossKind if counts[kind] > 0)


def all_losses(conversations: Iterable[Conversation]) -> tuple[Loss, ...]:
    """The losses of several conversations, added up."""
    total: Counter[LossKind] = Counter()
    for conversation in conversations:
        total.update({loss.kind: loss.count for loss in conversation.losses})
    return losses_of(total)
