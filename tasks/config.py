"""Every knob on one page, sectioned by stage. A stage function sees only its own section.

Frozen, unknown keys refused. A field marked `NotIdentity` cannot change the result and says why; all others are part of
the key of the stages that read them. `Runtime` as a whole is not identity: it says how, never what.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from artifacts.cache_key import NotIdentity
from artifacts.record import Record

Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
SEVEN_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TurnsName = Literal["chatml", "smollm2", "gemma", "none", "article", "article-inference"]


class DataConfig(Record):
    """`data:` of a recipe: which dialogues."""

    source: str = "sample"
    """`sample`, a folder with train.csv, validation.csv and test.csv, or a hub id such as `knkarthick/dialogsum`."""
    revision: str | None = None
    """Commit, tag or branch of a hub dataset; resolved to a commit before it becomes identity."""
    allow_overlap: bool = False
    """Accept more than 1 % of the test dialogues in train as well."""


class ModelConfig(Record):
    """`model:`: which base model, in which turns."""

    source: str
    """A hub id, a folder, or `package:<module>/<file>.gguf` for weights inside an installed Python package."""
    revision: str | None = None
    """Commit, tag or branch of a hub model; resolved to a commit before it becomes identity."""
    quantization: Literal["none", "nf4"] = "none"
    """Of the frozen base while training. Generation always uses the unquantized base."""
    turns: TurnsName = "chatml"
    """The turn template around the prompt (tasks/models/chat_template.py)."""


class LoraConfig(Record):
    """`train.lora:`, in the terms of peft."""

    rank: Count = 8
    alpha: Count = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: tuple[str, ...] = SEVEN_LINEARS
    rslora: bool = False
    """Scale by alpha / sqrt(rank) instead of alpha / rank."""


class TrainConfig(Record):
    """`train:`: the optimizer, how long, on how much."""

    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    epochs: Annotated[float, Field(gt=0)] = 1.0
    max_steps: Count | None = None
    """Optimizer steps; overrules `epochs`."""
    limit: Count | None = None
    """The first rows of the split."""
    stride: Count = 1
    """Every n-th row, before `limit`. 1 takes all; the article's recipe took one of each 1,000 without noticing."""
    batch_size: Count = 8
    """Rows an optimizer step sees, whatever the hardware."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the steps."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_gradient_norm: Annotated[float, Field(gt=0)] = 1.0
    optimizer: Literal["adamw", "paged_adamw_8bit"] = "adamw"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label's weight that goes to all tokens alike; validation losses are without it."""
    max_length: Annotated[int, Field(ge=16, le=10**6)] = 1024
    """Tokens of a row. A longer dialogue loses its end, never the completion or its stop token."""
    loss_on: Literal["completion", "all"] = "completion"
    stop_token: bool = True
    """Train the model to stop."""
    evaluations: Count = 4
    """How often the validation loss is measured, the last time at the end."""
    validation_limit: Count | None = None
    """The first rows of the validation split."""
    seed: Seed = 0
    lora: LoraConfig = LoraConfig()


class EvaluationConfig(Record):
    """`evaluation:`: what is asked otherwise at generation than in training."""

    prompt: str | None = None
    """Prompt at generation; the training prompt unless given."""
    turns: TurnsName | None = None
    """Turn template at generation; the model's unless given."""


class GenerateConfig(Record):
    """`generate:`: on which dialogues, and the decoding."""

    limit: Count | None = None
    """The first dialogues of the test split."""
    max_new_tokens: Count = 96
    max_prompt_tokens: Annotated[int, Field(ge=16, le=10**6)] = 2048
    """A longer dialogue loses its end."""
    beams: Count = 1
    length_penalty: float = 1.0
    """Only with beams."""
    candidates: Annotated[int, Field(ge=1, le=1000)] = 1
    """More than 1: so many sampled summaries beside the greedy one; the one that agrees most with the others is taken
    (minimum Bayes risk by ROUGE)."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Of the sampled summaries."""
    epsilon: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Tokens less probable than this are not sampled."""
    seed: Seed = 0
    """Of the sampled summaries."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.beams > 1 and self.candidates > 1:
            raise ValueError(f"beams is {self.beams} and candidates is {self.candidates}: one of them has to be 1")
        return self


class ScoreConfig(Record):
    """`score:`: the bootstrap."""

    bootstrap_seed: Seed = 0
    bootstrap_resamples: Count = 10_000


Share = Annotated[float, Field(ge=0, le=1)]


class GateConfig(Record):
    """When a candidate may replace the champion."""

    probability: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Of being better than the champion and than the base model, by the paired bootstrap."""
    measure: Literal["rouge1", "rouge2", "rougeL", "rougeLsum"] = "rouge1"
    """F1 under the headline protocol."""
    least_rows: Count = 30
    """Test dialogues, without which a bootstrap says little."""
    length_ratio: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]] = (0.5, 2.0)
    """Words of the summaries to words of the references."""
    most_at_limit: Share = 0.1
    most_empty: Share = 0.01
    most_speaker_errors: Share = 0.15
    """Summaries with a speaker tag or name that the dialogue has not."""
    automatic: Annotated[bool, NotIdentity("the decision is the same; it says whether `run` acts on it")] = True
    """Whether `run` moves the champion pointer by itself; `dialogsum promote` always does when the gate passes."""


class ReportConfig(Record):
    """`report:`: what is shown."""

    examples: Annotated[int, Field(ge=0, le=10_000)] = 500
    """Worked examples: those that moved most, then others evenly spread over the test rows; as many as fit 3 MB."""
    price_per_gpu_hour: Annotated[float, Field(ge=0)] | None = None
    """In your currency; the report then shows what each stage on the GPU cost."""


class Runtime(Record):
    """How the work is done here: none of it is identity, each for the reason beside it."""

    train_batch_size: Annotated[
        Count | None,
        NotIdentity("rows in memory at once: gradients are accumulated to train.batch_size and divided by its tokens"),
    ] = None
    generate_batch_size: Annotated[
        Count | None, NotIdentity("rows decoded together: none sees another, and each is sampled by numbers of its own")
    ] = None
    gpus: Annotated[
        Annotated[int, Field(ge=0, le=10**4)] | None,
        NotIdentity("processes that share the same optimizer batch, or shards of the same rows"),
    ] = None
    machines: Annotated[
        Annotated[int, Field(ge=1, le=1000)],
        NotIdentity("runs on the GPU pool that share the batches of one generation; batches are decided by the rows"),
    ] = 1
    """Only where the flow is a deployment: so many workers generate at once (`gpus` are those of one machine)."""
    device: Annotated[
        Literal["auto", "cpu", "cuda"], NotIdentity("where the same arithmetic is done; the manifest records it")
    ] = "auto"
    threads: Annotated[Count | None, NotIdentity("threads of one process on the CPU; all cores unless given")] = None


# -- what the sections become once the world outside has been asked (tasks/sources/resolve.py)


class ResolvedData(Record):
    """A dataset pinned to its bytes."""

    kind: Annotated[
        Literal["sample", "folder", "hub"], NotIdentity("the same rows are the same data wherever they came from")
    ]
    revision: str
    """Commit of a hub dataset, else sha256 of the files."""
    location: Annotated[str, NotIdentity("where the bytes lie; `revision` says which bytes")]
    origin: Annotated[str, NotIdentity("for people")]


class ResolvedModel(Record):
    """A base model pinned to its bytes."""

    revision: str
    """Commit of a hub model, else sha256 of the files."""
    location: Annotated[str, NotIdentity("where the bytes lie; `revision` says which bytes")]
    gguf: Annotated[str | None, NotIdentity("file name inside `location`; `revision` says which bytes")] = None
    origin: Annotated[str, NotIdentity("for people")]

    @property
    def name(self) -> str:
        """Short name for people: `gemma-2b`, `smollm2-135m-instruct`."""
        short = self.origin.rstrip("/").split("/")[-1].removesuffix(".gguf")
        return short.split(".Q")[0].lower()


class DownloadSpec(Record):
    """What download gets."""

    data: ResolvedData


class FormatSpec(Record):
    """What format gets."""

    rows: Literal["train", "eval"]
    template: str
    """Prompt text with {dialogue} in it."""
    allow_overlap: bool = False


class TrainSpec(Record):
    """What train gets."""

    model: ResolvedModel
    turns: TurnsName
    quantization: Literal["none", "nf4"]
    train: TrainConfig


class GenerateSpec(Record):
    """What generate gets."""

    model: ResolvedModel
    turns: TurnsName
    generate: GenerateConfig


class SummarizeSpec(Record):
    """How a model summarizes dialogues that are not in the dataset."""

    model: ResolvedModel
    turns: TurnsName
    template: str
    """Prompt with {dialogue} in it."""
    generate: GenerateConfig


class Evaluation(Record):
    """One earlier evaluation, as the history in a report shows it."""

    at: str
    """UTC time, ISO 8601."""
    recipe: str
    data: str
    scores: str
    """Id of the score artifact."""
    adapter: str | None
    headline: dict[str, float]
    """System -> ROUGE-1 F1 x 100."""
    interval: tuple[float, float]
    """95 %, of the candidate, or of the base model where there is none."""
    decision: Literal["promoted", "passed", "rejected"] | None
    prompt: str = ""
    """Name or first words of the prompt."""
    prompts: str = ""
    """Id of the artifact with the filled prompts."""
    rows: int | None = None
    """Dialogues that were summarized, of `rows_in_split`."""
    rows_in_split: int | None = None
    overrides: str = ""
    """Settings that the run had beside its recipe's."""

    @property
    def dialogues(self) -> str:
        """`40`, or `8 of 40` where only a part was summarized; empty where it is not known."""
        if self.rows is None or self.rows == (self.rows_in_split or self.rows):
            return "" if self.rows is None else f"{self.rows}"
        return f"{self.rows} of {self.rows_in_split}"


class PromoteSpec(Record):
    """What promote gets."""

    gate: GateConfig
    withdrawn_at: str | None = None
    """When this adapter was rolled back, if it was."""


class ReportSpec(Record):
    """What report gets."""

    report: ReportConfig
    history: tuple[Evaluation, ...] = ()
    """Earlier evaluations, oldest first."""
    prompts: dict[str, str] = Field(default_factory=dict)
    """System -> name or first words of its prompt."""
