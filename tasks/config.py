"""Every setting of a recipe, one class per section. A stage gets only its own section.

The classes are frozen and refuse unknown keys. A field marked `NotIdentity` cannot change a result, for the reason
given with it; every other field is part of the cache key of the stages that read it. docs/reference/recipe-keys.md is
generated from the docstrings of the fields.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from artifacts.cache_key import NotIdentity, NotIdentityAtDefault
from artifacts.record import Record

Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
SEVEN_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
Quantization = Literal["none", "nf4"]
TokenizerName = Literal["auto", "ascii", "unicode", "characters"]
EngineName = Literal["auto", "packed", "trl"]
TurnsName = Literal["chatml", "smollm2", "gemma", "none", "article", "article-inference", "tokenizer"]


class DataConfig(Record):
    """`data:`: the dataset."""

    source: str = "sample"
    """`sample`, a folder with train.csv, validation.csv and test.csv, or a hub id such as `knkarthick/dialogsum`."""
    revision: str | None = None
    """Commit, tag or branch of a hub dataset. A run resolves it to a commit, which is part of the cache key."""
    allow_overlap: bool = False
    """Accept a dataset in which more than 1 % of the test dialogues are also training dialogues."""


class ModelConfig(Record):
    """`model:`: the base model and its chat template."""

    source: str
    """A hub id, a folder, or `package:<module>/<file>.gguf` for weights inside an installed Python package."""
    revision: str | None = None
    """Commit, tag or branch of a hub model. A run resolves it to a commit, which is part of the cache key."""
    quantization: Quantization = "none"
    """Quantization of the frozen base weights in training, and in generation unless `generate.quantization` differs."""
    turns: TurnsName = "chatml"
    """Chat template: the turn markers around the prompt, as defined in tasks/models/turns.py. `tokenizer` takes the
    tokenizer's own chat template, with thinking switched off and a fixed date."""


class LoraConfig(Record):
    """`train.lora:`: the settings of the LoRA adapter."""

    rank: Count = 8
    """Rank of the two adapter matrices (`r` in peft). A higher rank trains more parameters."""
    alpha: Count = 16
    """Numerator of the adapter's scale, alpha / rank (`lora_alpha` in peft)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability with which training sets an input of the adapter to zero (`lora_dropout` in peft)."""
    targets: tuple[str, ...] = SEVEN_LINEARS
    """Names of the linear layers that get an adapter (`target_modules` in peft)."""
    rslora: bool = False
    """Scale the adapter by alpha / sqrt(rank) instead of alpha / rank (`use_rslora` in peft)."""
    dora: bool = False
    """Train the norm of each column of the weights apart from their direction (DoRA, `use_dora` in peft)."""


BY_CANDIDATES = NotIdentity("it is part of the key of the candidates, which are an input of the training")


class DistillConfig(Record):
    """`train.distill:`: minimum Bayes risk decoding distilled into the adapter by DPO on its own samples."""

    samples: Annotated[int, Field(ge=0, le=1000), BY_CANDIDATES] = 0
    """Number of summaries that the adapter samples for each training dialogue. DPO then prefers the one that agrees
    best with the others to the one that agrees worst. 0 trains without distillation and ignores all other keys here."""
    folds: Annotated[int, Field(ge=1, le=100), BY_CANDIDATES] = 1
    """1: the adapter samples for the dialogues that it was trained on. n > 1: n further adapters are trained, each
    without one n-th of the dialogues, and sample for those."""
    rounds: Annotated[int, Field(ge=1, le=100), BY_CANDIDATES] = 1
    """Number of rounds of sampling and DPO. Each further one samples from the adapter of the round before it."""
    temperature: Annotated[float, Field(gt=0), BY_CANDIDATES] = 1.0
    """Temperature of the sampling."""
    epsilon: Annotated[float, Field(ge=0, lt=1), BY_CANDIDATES] = 0.02
    """Epsilon sampling: tokens with a lower probability are not sampled."""
    max_new_tokens: Count = 80
    """Maximum length of a sampled summary in tokens. The prompt may have the rest of `train.max_length`."""
    reference_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of a summary's agreement with the references when best and worst are chosen; its mean agreement with the
    other samples has weight 1."""
    beta: Annotated[float, Field(gt=0)] = 0.1
    """Factor of the log-probability ratios in the loss of DPO (`beta` in TRL). The higher, the closer the adapter stays
    to the one that it starts from."""
    cross_entropy: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the cross-entropy of the preferred summary, per token, that is added to the loss of DPO."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Peak learning rate of DPO; warmup and schedule are those of `train`."""
    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Number of passes over the pairs; a fraction is allowed. `max_steps` takes precedence."""
    max_steps: Count | None = None
    """Number of optimizer steps of DPO. If set, `epochs` is ignored."""
    batch_size: Count = 32
    """Pairs per optimizer step, on all GPUs together."""

    @model_validator(mode="after")
    def _defaults_without_samples(self) -> Self:
        if self.samples == 1:
            raise ValueError("samples is 1, but a preference needs two: set 2 or more, or 0 for no distillation")
        if not self.samples:
            for name, field in type(self).model_fields.items():
                self.__dict__[name] = field.default
        return self


class TrainConfig(Record):
    """`train:`: training rows, optimizer and adapter."""

    engine: EngineName = "auto"
    """What trains: `packed` is the project's own loop, `trl` is TRL's SFTTrainer. Rows, learning rates and sums are the
    same; roundings differ. `auto` takes `packed`, which is faster, where it supports the model and the adapter."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """Peak learning rate of the optimizer, reached at the end of warmup."""
    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Number of passes over the training rows; a fraction is allowed. `max_steps` takes precedence."""
    max_steps: Count | None = None
    """Number of optimizer steps. If set, `epochs` is ignored."""
    limit: Count | None = None
    """Train on the first n rows of the training split only. None uses all."""
    stride: Count = 1
    """Train on every n-th row, selected before `limit`. 1 uses all; 1000 repeats the article's mistake."""
    batch_size: Count = 8
    """Rows per optimizer step, on all GPUs together. It does not depend on the hardware."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Course of the learning rate after warmup: down to zero along a cosine or a line, or constant."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Fraction of the steps in which the learning rate rises linearly from zero to its peak."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of AdamW, per step and multiplied by the learning rate."""
    max_gradient_norm: Annotated[float, Field(gt=0)] = 1.0
    """L2 norm to which each step clips the gradients of all adapter weights together."""
    optimizer: Literal["adamw", "paged_adamw_8bit"] = "adamw"
    """`paged_adamw_8bit` is the AdamW of bitsandbytes with 8-bit state in paged memory; on a CPU it is plain AdamW."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of each label's weight that is spread over all tokens in training. Validation losses do not use it."""
    max_length: Annotated[int, Field(ge=16, le=10**6)] = 1024
    """Tokens per training row. A longer row loses the end of its dialogue, never the completion or its stop token."""
    loss_on: Literal["completion", "all"] = "completion"
    """Tokens that count in the loss: those of the summary only, or those of the prompt as well."""
    stop_token: bool = True
    """End each training row with the stop token. Without it the model does not learn where a summary ends."""
    evaluations: Count = 4
    """Number of measurements of the validation loss, at equal intervals; the last one follows the last step."""
    validation_limit: Count | None = None
    """Measure the validation loss on the first n rows of the validation split only. None uses all."""
    seed: Seed = 0
    """Seed of the order of rows, the initial adapter weights and dropout."""
    lora: LoraConfig = LoraConfig()
    """The LoRA adapter."""
    distill: Annotated[
        DistillConfig, NotIdentity("supervised training does not use it; `preference` of the stage is its identity")
    ] = DistillConfig()
    """Preference training on the adapter's own samples, after the supervised training."""

    @model_validator(mode="after")
    def _distillation_is_possible(self) -> Self:
        if self.distill.samples and self.engine == "trl":
            raise ValueError(
                f"distill.samples is {self.distill.samples} and engine is trl, but only the packed engine distils: set "
                "engine to auto, or distill.samples to 0"
            )
        if self.distill.samples and (self.lora.dropout or self.lora.dora):
            adapter = "lora.dora is true" if self.lora.dora else f"lora.dropout is {self.lora.dropout}"
            raise ValueError(
                f"distill.samples is {self.distill.samples} and {adapter}, but only the packed engine distils, which "
                "trains plain LoRA without dropout: set one of them back"
            )
        if self.distill.samples and self.distill.max_new_tokens >= self.max_length:
            raise ValueError(
                f"distill.max_new_tokens is {self.distill.max_new_tokens} and max_length is {self.max_length}: no "
                "token is left for the prompt; raise max_length"
            )
        return self


class EvaluationConfig(Record):
    """`evaluation:`: prompt and chat template for generation where they differ from training."""

    prompt: str | None = None
    """Prompt for generation: a name in flows/prompts, a file, or the text. None uses the training prompt."""
    turns: TurnsName | None = None
    """Chat template for generation. None uses `model.turns`."""


class GenerateSection(Record):
    """`generate:`: on which dialogues, and the decoding."""

    limit: Count | None = None
    """Summarize the first n dialogues of the test split only. None uses all."""
    max_new_tokens: Count = 96
    """Maximum length of a summary in tokens. A longer summary is cut off there."""
    max_prompt_tokens: Annotated[int, Field(ge=16, le=10**6)] = 2048
    """Maximum length of a prompt in tokens, with the turn markers. A longer prompt loses the end of its dialogue."""
    beams: Count = 1
    """Number of beams of beam search. 1 decodes greedily."""
    length_penalty: float = 1.0
    """Exponent of the length by which beam search divides the score of a beam. Ignored if `beams` is 1."""
    candidates: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of sampled summaries per dialogue. If more than 1, they and the greedy summary are compared, and the one
    that agrees most with the others by ROUGE is used (minimum Bayes risk decoding)."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Sampling temperature of the candidates. Ignored if `candidates` is 1."""
    epsilon: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Epsilon sampling: tokens with a lower probability are not sampled. Ignored if `candidates` is 1."""
    seed: Seed = 0
    """Seed of the sampled candidates. Ignored if `candidates` is 1."""
    quantization: Literal["auto", "none", "nf4"] = "auto"
    """Weights of the base model in generation. `auto`: those that the adapter was trained on; for the base model alone,
    those that the recipe trains on. `none`: the unquantized weights. `nf4`: rounded to NF4 and dequantized."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.beams > 1 and self.candidates > 1:
            raise ValueError(f"beams is {self.beams} and candidates is {self.candidates}: one of them has to be 1")
        return self

    def resolved(self, trained: str) -> "GenerateConfig":
        """The section as stages get it. trained: the quantization of the training, for which `auto` stands."""
        quantization = trained if self.quantization == "auto" else self.quantization
        return GenerateConfig.model_validate(self.model_dump() | {"quantization": quantization})


class GenerateConfig(GenerateSection):
    """The section `generate` with `auto` resolved, as stages and champions have it."""

    quantization: Annotated[Quantization, NotIdentityAtDefault()] = "none"
    """Of the base weights. Versions before this setting did not quantize."""


class ProbeConfig(Record):
    """`probe:`: which wrong facts a model prefers to right ones, by the likelihood of both; no text is generated."""

    dialogues: Annotated[int, Field(ge=0, le=10**6)] = 500
    """Probe the first n of the dialogues that are summarized, with one wrong version of a reference for each kind of
    error. 0 probes none; then `gate.most_probe_loss` is not applied."""
    seed: Seed = 0
    """Seed of the wrong versions: which word is changed, and into which."""


class ScoreConfig(Record):
    """`score:`: the tokens that ROUGE compares, and the bootstrap of confidence intervals and comparisons."""

    tokenizer: TokenizerName = "auto"
    """Tokens of ROUGE, of minimum Bayes risk decoding and of word counts. `ascii`: those of rouge_score, which drops
    all other letters. `unicode`: words of every script; characters in Chinese, Japanese, Thai, Lao, Khmer and Burmese.
    `characters`: every letter and digit. `auto`: `unicode` for a reference with letters that are not ASCII, otherwise
    `ascii`. Only words in ASCII letters are stemmed, as English."""
    bootstrap_seed: Seed = 0
    """Seed of the resampling."""
    bootstrap_resamples: Count = 10_000
    """Number of resamples of the test dialogues, with replacement."""


Share = Annotated[float, Field(ge=0, le=1)]


class JudgeConfig(Record):
    """`judge:`: a model that judges whether the dialogue supports the summary. Neither `model` nor `endpoint`: none."""

    model: str | None = None
    """Judge: a hub id or folder of a sequence classifier, for entailment or for supported and unsupported claims."""
    revision: str | None = None
    """Commit, tag or branch of a hub judge. A run resolves it to a commit, which is part of the cache key."""
    label: str | None = None
    """Label of the classifier that means: supported. None finds it by its name, such as `entailment`."""
    chunk_tokens: Annotated[int, Field(ge=16, le=10**6)] = 384
    """Tokens of the dialogue that the classifier reads at once; each sentence gets the score of its best chunk."""
    endpoint: str | None = None
    """Judge: base URL of an OpenAI-compatible API, such as `https://api.openai.com/v1`."""
    name: str | None = None
    """Name of the model at the endpoint."""
    prompt: str = "faithfulness"
    """Prompt of the endpoint: a name in flows/judge_prompts, a file, or the text, with `{dialogue}` and `{summary}`."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    """Sampling temperature of the endpoint. None leaves it to the endpoint; some models accept no other value."""
    max_new_tokens: Count = 1024
    """Maximum length of an answer of the endpoint in tokens."""
    dialogues: Count | None = None
    """Judge the summaries of the first n test dialogues only. None judges all."""
    threshold: Share = 0.5
    """A sentence with a lower score counts as unsupported."""
    price_per_million_tokens: Annotated[
        Annotated[float, Field(ge=0)] | None,
        NotIdentity("it is multiplied with the number of tokens, for the log"),
    ] = None
    """Price of a million prompt tokens of the endpoint in your currency. If set, a run logs the cost before it asks."""
    requests_at_once: Annotated[
        Annotated[int, Field(ge=1, le=256)], NotIdentity("each request is answered by itself")
    ] = 4
    """Number of requests that the endpoint gets at the same time."""

    @model_validator(mode="after")
    def _one_judge(self) -> Self:
        if self.model and self.endpoint:
            raise ValueError("there is a model and an endpoint: give one of them")
        if self.endpoint and not self.name:
            raise ValueError("endpoint needs name, that of the model to ask there")
        if self.endpoint and not re.match(r"https?://[^\s/]", self.endpoint):
            raise ValueError("endpoint is not a URL such as https://api.openai.com/v1")
        return self

    @property
    def is_set(self) -> bool:
        """Whether there is a judge."""
        return bool(self.model or self.endpoint)


class GateConfig(Record):
    """`gate:`: when a candidate may replace the champion."""

    probability: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Probability, by the paired bootstrap, with which the candidate must beat both the champion and the base model."""
    measure: Literal["rouge1", "rouge2", "rougeL", "rougeLsum"] = "rouge1"
    """The measure that the gate compares: F1 under the headline protocol."""
    least_rows: Count = 30
    """Minimum number of test dialogues. With fewer, the gate rejects every candidate."""
    length_ratio: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]] = (0.5, 2.0)
    """Guard: lowest and highest ratio of words in the summaries to words in the references."""
    most_at_limit: Share = 0.1
    """Guard: highest share of summaries that are cut off at `generate.max_new_tokens`."""
    most_empty: Share = 0.01
    """Guard: highest share of empty summaries."""
    most_speaker_errors: Share = 0.15
    """Guard: highest share of summaries with a speaker tag or name that their dialogue does not contain."""
    most_number_errors: Share = 0.1
    """Guard: highest share of summaries with a number above two that their dialogue does not contain."""
    most_probe_loss: Share = 0.05
    """Guard: largest loss in the share of right facts that the model prefers, for each kind of wrong fact, against the
    champion, or the base model if there is no champion. A candidate is rejected if the whole 95 % interval of the
    paired difference is a larger loss. 1 allows every loss."""
    least_win_rate: Share | None = None
    """Review by people: lowest lower end of the 95 % interval of the candidate's win rate against the champion, or
    against the base model if there is no champion. None requires no review."""
    least_reviewed: Count = 20
    """Review by people: minimum number of dialogues with a vote. Ignored if `least_win_rate` is none."""
    automatic: Annotated[bool, NotIdentity("it affects what `run` does with the decision, not the decision")] = True
    """Whether `run` promotes a candidate that passes the gate. `dialogsum promote` always does."""


class ReportConfig(Record):
    """`report:`: contents of the report."""

    examples: Annotated[int, Field(ge=0, le=10_000)] = 500
    """Maximum number of example dialogues, within 3 MB: the largest changes first, then others spread evenly."""
    price_per_gpu_hour: Annotated[float, Field(ge=0)] | None = None
    """Price of one GPU hour in your currency. If set, the report shows the cost of each stage that used the GPU."""


class Runtime(Record):
    """`runtime:`: how a machine does the work. No setting is part of a cache key, each for the reason given with it."""

    train_batch_size: Annotated[
        Count | None,
        NotIdentity("gradients are accumulated to train.batch_size and divided by the number of its tokens"),
    ] = None
    """Maximum number of rows per forward and backward pass in training. None packs rows up to a token budget."""
    generate_batch_size: Annotated[
        Count | None, NotIdentity("rows of a batch are independent, and each is sampled with random numbers of its own")
    ] = None
    """Maximum number of rows of a batch. None uses 16 on a CPU, 512 on a GPU and 256 on a GPU with candidates. Of their
    candidates, as many as there are rows are decoded at once on a CPU, eight times as many on a GPU."""
    gpus: Annotated[
        Annotated[int, Field(ge=0, le=10**4)] | None,
        NotIdentity("GPUs share the rows of one optimizer batch, or decode shards of the same rows"),
    ] = None
    """Number of GPUs of a machine to use. None uses all visible GPUs."""
    machines: Annotated[
        Annotated[int, Field(ge=1, le=1000)],
        NotIdentity("machines share the batches of one generation or sampling, which depend on the rows only"),
    ] = 1
    """Number of workers of the GPU pool that generate or sample at the same time. It applies to deployments only."""
    device: Annotated[
        Literal["auto", "cpu", "cuda"], NotIdentity("each device computes the same; the manifest records which one did")
    ] = "auto"
    """Device to compute on. `auto` uses CUDA if a GPU is visible, otherwise the CPU."""
    threads: Annotated[Count | None, NotIdentity("the number of threads changes the speed only")] = None
    """CPU threads of each worker process. None divides the usable cores among the workers."""


# -- the sections with sources pinned to their bytes (tasks/sources/resolve.py), as the stages get them


class ResolvedData(Record):
    """A dataset pinned to its bytes."""

    kind: Annotated[
        Literal["sample", "folder", "hub"], NotIdentity("the same rows are the same data wherever they came from")
    ]
    """Kind of source."""
    revision: str
    """Commit of a hub dataset, else sha256 of the files."""
    location: Annotated[str, NotIdentity("`revision` identifies the bytes; this is only where they are")]
    """Folder or hub id."""
    origin: Annotated[str, NotIdentity("it is only shown to people")]
    """Name of the source, as reports show it."""


class ResolvedModel(Record):
    """A base model pinned to its bytes."""

    revision: str
    """Commit of a hub model, else sha256 of the files."""
    location: Annotated[str, NotIdentity("`revision` identifies the bytes; this is only where they are")]
    """Folder or hub id."""
    gguf: Annotated[str | None, NotIdentity("`revision` identifies the bytes; this is only where they are")] = None
    """Name of a GGUF file in `location`."""
    origin: Annotated[str, NotIdentity("it is only shown to people")]
    """Name of the source, as reports show it."""

    @property
    def name(self) -> str:
        """Short name in reports and run names: `gemma-2b`, `smollm2-135m-instruct`."""
        short = self.origin.rstrip("/").split("/")[-1].removesuffix(".gguf")
        return short.split(".Q")[0].lower()


class DownloadSpec(Record):
    """Settings of the stage download."""

    data: ResolvedData


class FormatSpec(Record):
    """Settings of the stage format."""

    rows: Literal["train", "eval", "validation"]
    """`eval` are the prompts of the test split, `validation` those of the validation split."""
    template: str
    """Prompt text with {dialogue} in it."""
    allow_overlap: bool = False


class Fold(Record):
    """Every `count`-th dialogue of the training rows, from the dialogue `index` on, counted from 0."""

    index: int
    count: int


class TrainSpec(Record):
    """Settings of the stage train."""

    model: ResolvedModel
    turns: TurnsName
    quantization: Quantization
    train: TrainConfig
    without: Fold | None = None
    """Dialogues that are left out, so that the adapter can sample for them."""
    preference: DistillConfig | None = None
    """DPO from an adapter and candidates; None for supervised training."""

    @property
    def step_settings(self) -> TrainConfig:
        """The settings of the optimizer steps: those of `train`, or those of DPO."""
        if self.preference is None:
            return self.train
        names = {"learning_rate", "epochs", "max_steps", "batch_size"}
        return self.train.model_copy(update=self.preference.model_dump(include=names))


class SampleSpec(Record):
    """Settings of the stage sample."""

    model: ResolvedModel
    turns: TurnsName
    generate: GenerateConfig
    """`candidates` summaries are sampled for each dialogue, none greedily; `limit` counts rows."""
    split: Literal["train", "validation"] = "train"
    stride: int = 1
    """`train.stride`."""
    fold: Fold | None = None
    """Sample for these dialogues only; None for all."""
    rouge_tokenizer: TokenizerName = "auto"
    """Tokens by which the candidates are compared."""


class GenerateSpec(Record):
    """Settings of the stage generate."""

    model: ResolvedModel
    turns: TurnsName
    generate: GenerateConfig
    rouge_tokenizer: TokenizerName = "auto"
    """`score.tokenizer` if candidates are compared, otherwise `auto`."""


class ProbeSpec(Record):
    """Settings of the stage probe."""

    model: ResolvedModel
    turns: TurnsName
    max_prompt_tokens: int
    """`generate.max_prompt_tokens`: the prompts are those of the evaluation."""
    quantization: Quantization = "none"
    """Of the base weights, as in generation: the probed model is the one that summarizes."""
    probe: ProbeConfig


class ScoreSpec(ScoreConfig):
    """Settings of the stage score."""

    split: Literal["test", "validation"] = "test"
    """The split whose dialogues were summarized."""


class SummarizeSpec(Record):
    """How a model summarizes dialogues that are not in the dataset."""

    model: ResolvedModel
    turns: TurnsName
    template: str
    """Prompt with {dialogue} in it."""
    generate: GenerateConfig
    rouge_tokenizer: TokenizerName = "auto"
    """Tokens by which candidates are compared."""


class JudgeEndpoint(Record):
    """An OpenAI-compatible API that judges summaries."""

    url: str
    name: str
    template: str
    """Prompt with {dialogue} and {summary} in it."""
    temperature: float | None
    max_new_tokens: int
    price_per_million_tokens: Annotated[float | None, NotIdentity("it is only shown to people")] = None
    requests_at_once: Annotated[int, NotIdentity("each request is answered by itself")] = 4


class JudgeClassifier(Record):
    """A sequence classifier that judges summaries."""

    model: ResolvedModel
    label: str | None
    chunk_tokens: int
    threshold: float

    @property
    def origin(self) -> str:
        """Name of the source, as reports show it."""
        return self.model.origin


class JudgeSpec(Record):
    """Settings of the stage judge: a classifier or an endpoint."""

    classifier: JudgeClassifier | None = None
    endpoint: JudgeEndpoint | None = None
    dialogues: Count | None = None

    @property
    def name(self) -> str:
        """Short name of the judge."""
        if self.classifier is not None:
            return self.classifier.model.name
        return self.endpoint.name.rstrip("/").split("/")[-1].lower() if self.endpoint else ""


class JudgeAgreement(Record):
    """How far a judge agrees with people, as `dialogsum bench faithfulness` measured it."""

    data: str
    """Name of the labelled data."""
    auroc: float
    interval: tuple[float, float]
    summaries: int


class Evaluation(Record):
    """An earlier evaluation, as a report's history shows it."""

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
    """Settings with which the run overrode its recipe."""
    judge: dict[str, float] = Field(default_factory=dict)
    """System -> score x 100 by the judge; empty without one."""

    @property
    def dialogues(self) -> str:
        """`40`, or `8 of 40` if only a part was summarized; empty if the number is unknown."""
        if self.rows is None or self.rows == (self.rows_in_split or self.rows):
            return "" if self.rows is None else f"{self.rows}"
        return f"{self.rows} of {self.rows_in_split}"


class PromoteSpec(Record):
    """Settings of the stage promote."""

    gate: GateConfig
    withdrawn_at: str | None = None
    """When this adapter was rolled back, if it was."""


class ChampionData(Record):
    """The champion with whose dataset a report compares the dataset of the run."""

    champion: str
    """Id of its adapter."""
    not_compared: str | None = None
    """Why its dataset is not available. If this is None, the dataset is an input of the report or the same one."""


class ReportSpec(Record):
    """Settings of the stage report."""

    report: ReportConfig
    history: tuple[Evaluation, ...] = ()
    """Earlier evaluations, oldest first."""
    prompts: dict[str, str] = Field(default_factory=dict)
    """System -> name or first words of its prompt."""
    champion_data: ChampionData | None = None
    """None if there is no champion to compare with."""
    judge_agreement: JudgeAgreement | None = None
    """None if there is no judge or it was not compared with people."""
