"""Names that scores are stored and shown by: systems, ROUGE types, protocols, diagnostics."""

from enum import StrEnum


class System(StrEnum):
    """Whose summaries are scored; the values are in scores.json and, for models, names of a stage's inputs.

    In the order in which tables and plots list them.
    """

    CONSTANT_SENTENCE = "constant sentence"
    FIRST_UTTERANCES = "first three utterances"
    BASE = "base"
    PREVIOUS = "before"
    """The tuned adapter with its previous prompt or decoding."""
    CHAMPION = "champion"
    TUNED = "tuned"
    HUMAN = "human"
    """Each reference, scored against the others."""


PROBE_ROLE = "probe_"
"""Before the name of a system: the role of its probe among the inputs of a stage."""
MODELS = (System.BASE, System.PREVIOUS, System.CHAMPION, System.TUNED)
COMPARISON_SYSTEMS = (System.PREVIOUS, System.CHAMPION, System.BASE)
"""What the tuned model is compared with, most relevant first."""

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
STATISTICS = ("precision", "recall", "f1")
HEADLINE_TYPE, HEADLINE_LABEL = "rouge1", "ROUGE-1"
"""The ROUGE type that headlines, plots and examples show."""

HEADLINE_PROTOCOL = "mean of references, stemming"
PROTOCOL_NAMES = (
    HEADLINE_PROTOCOL,
    "mean of references, no stemming",
    "best reference, stemming",
    "first reference only, stemming",
)

DIAGNOSTIC_COLUMNS = (
    "words",
    "reference_words",
    "empty",
    "at_limit",
    "repeated",
    "copied",
    "speaker_error",
    "number_error",
)
"""What `tasks.metrics.diagnostics` measures of every summary."""
DIAGNOSTIC_LABELS = {
    "length_ratio": ("length relative to the references", False),
    "words": ("words per summary", False),
    "at_limit": ("cut off at the token limit", True),
    "empty": ("empty", True),
    "repeated": ("repeated 3-grams", True),
    "copied": ("4-grams copied from the dialogue", True),
    "speaker_errors": ("names or speaker tags not in the dialogue", True),
    "number_errors": ("numbers not in the dialogue", True),
}
"""Name of a measure over all rows -> (its label in the report, whether it is a share)."""

NAMES_MEASURE = "names not in the dialogue"
SPEAKERS_MEASURE = "speakers of other dialogues"
"""With names, what `speaker_errors` counts; speaker tags such as #Person3# always count."""
NUMBERS_MEASURE = "numbers not in the dialogue"
