"""What a report says of a judge, word for word."""

from typing import Any

from tasks.config import JudgeAgreement
from tasks.metrics.scores import Difference, JudgeScore, JudgeScores
from tasks.reporting.judge_words import judge_sentences

NAMES = ("the new prompt", {"champion": "the champion", "base": "the base model", "before": "the previous prompt"})


class Holder:
    """Stands for Scores, of which only `judge` is read."""

    def __init__(self, judge: JudgeScores | None) -> None:
        self.judge = judge


def scores(means: dict[str, float], compared: tuple[str, ...] = (), unreadable: int = 0) -> Any:
    systems = {
        name: JudgeScore(mean=mean, interval=(mean - 2, mean + 2), unsupported=0.5) for name, mean in means.items()
    }
    differences = {
        name: Difference(mean=means["tuned"] - means[name], interval=(0.5, 4.25), probability_better=0.99)
        for name in compared
    }
    return Holder(
        JudgeScores(judge="nli", dialogues=40, unreadable=unreadable, systems=systems, differences=differences)
    )


def test_no_judge_no_words() -> None:
    assert judge_sentences(Holder(None), None, NAMES) == []  # type: ignore[arg-type]


def test_the_tuned_model_is_compared_with_the_champion_first() -> None:
    means = {"base": 60.0, "champion": 68.0, "tuned": 70.0, "reference": 80.0, "reference of another dialogue": 3.0}
    agreement = JudgeAgreement(data="DialogSum", auroc=0.664, interval=(0.6, 0.72), summaries=384)
    assert judge_sentences(scores(means, ("base", "champion")), agreement, NAMES) == [
        "Faithfulness to the dialogue, judged by nli: the tuned model gets 70.0 of 100 points (95 % interval 68.0 to "
        "72.0, 40 dialogues), the champion 68.0: +2.0 points (95 % interval +0.5 to +4.2).",
        "Compared with the base model: +10.0 points (95 % interval +0.5 to +4.2).",
        "On this scale, human references get 80.0, references of other dialogues 3.0.",
        "This measure agrees with people to 0.66 (0.60 to 0.72; AUROC on 384 summaries of DialogSum, 0.50 is chance).",
    ]


def test_the_base_model_alone_is_compared_with_nothing() -> None:
    assert judge_sentences(scores({"base": 60.0}, unreadable=2), None, NAMES) == [
        "Faithfulness to the dialogue, judged by nli: the base model gets 60.0 of 100 points (95 % interval 58.0 to "
        "62.0, 40 dialogues).",
        "2 dialogues are left out: an answer of the judge could not be read.",
        "How far this judge agrees with people was not measured: `dialogsum bench faithfulness` does.",
    ]


def test_another_prompt_of_the_same_adapter_is_named() -> None:
    first = judge_sentences(scores({"before": 60.0, "tuned": 61.0}, ("before",)), None, NAMES)[0]
    assert "the new prompt gets 61.0" in first
    assert "the previous prompt 60.0: +1.0" in first


def test_an_agreement_that_may_be_chance_is_doubted() -> None:
    agreement = JudgeAgreement(data="SAMSum", auroc=0.54, interval=(0.48, 0.6), summaries=600)
    last = judge_sentences(scores({"base": 60.0}), agreement, NAMES)[-1]
    assert last.endswith("0.50 is chance). That may be no better than chance: do not rely on it.")
