"""What changed in the data, in sentences."""

from tasks.data.change_records import DataChanges, SplitChanges
from tasks.metrics.percentages import percent


def headline(changes: DataChanges, champion: str) -> str:
    """`Since train-1a2b3c4d was trained: 120 training dialogues added, 3 removed; 1 test dialogue edited.`"""
    parts = [_split(name, split) for name, split in changes.splits.items() if split.changed]
    if not parts:
        return unchanged(champion)
    return f"Since {champion} was trained: {'; '.join(parts)}."


def unchanged(champion: str) -> str:
    """The headline if nothing changed. champion: id of its adapter."""
    return f"The data is the same as when {champion} was trained."


def not_compared(champion: str, reason: str) -> str:
    """The headline if the champion's dataset is not available."""
    return f"The data was not compared with that of {champion}: {reason}."


def details(changes: DataChanges) -> list[str]:
    """What the headline leaves out, with ids, topics and words of the data."""
    train, test = changes.splits["train"], changes.splits["test"]
    topics, unseen, sentences = changes.topics, changes.unseen_words, list[str]()
    if train.edited:
        sentences.append(
            f"Edited training dialogues: the dialogue differs in {train.edited_dialogues}, "
            f"the references differ in {train.edited_references}."
        )
    if unseen.words:
        frequent = ", ".join(f"{word} ({count})" for word, count in unseen.most_frequent.items())
        sentences.append(
            f"The added and edited training dialogues and their references have {unseen.words} words. "
            f"{percent(unseen.share)} of these words occur nowhere in the earlier training data"
            f"{f', most often {frequent}' if frequent else ''}."
        )
    for kind, count, names in (
        ("are new", topics.new, topics.most_frequent_new),
        ("have vanished", topics.vanished, topics.most_frequent_vanished),
    ):
        if count:
            such_as = "such as " if count > len(names) else ""
            sentences.append(f"Topics of training dialogues that {kind}: {count} ({such_as}{', '.join(names)}).")
    if topics.shares:
        shares = "; ".join(f"{each.topic}, {percent(each.before)} to {percent(each.after)}" for each in topics.shares)
        sentences.append(f"Topics of training dialogues whose share changed most: {shares}.")
    if test.added or test.removed or test.edited:
        sentences.append("The test split changed: scores of earlier evaluations were measured on other test rows.")
    return sentences


def _split(name: str, split: SplitChanges) -> str:
    adjective = "training" if name == "train" else name
    kinds = [
        (split.added, "added"),
        (split.removed, "removed"),
        (split.edited, "edited"),
        (split.renumbered, "renumbered"),
        (split.other_topics, "with other topics"),
    ]
    counts = [(count, kind) for count, kind in kinds if count]
    parts = [f"{count} {kind}" for count, kind in counts[1:]]
    if counts:
        count, kind = counts[0]
        parts.insert(0, f"{count} {adjective} dialogue{'s' * (count != 1)} {kind}")
    if split.reordered:
        parts.append("in another order" if counts else f"{adjective} dialogues in another order")
    return ", ".join(parts)
