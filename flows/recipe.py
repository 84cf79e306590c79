"""Recipes: one YAML each, sectioned by stage; read, overridden, checked. Imports neither Prefect nor torch."""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ValidationError

from artifacts.cache_key import NotIdentity, identity_of, sha256
from artifacts.errors import RequestError
from artifacts.record import Record
from artifacts.text import did_you_mean, one_line
from artifacts.user_paths import user_path
from flows.integrations.tracker import known_tracker
from flows.secrets_in_text import refuse_secrets
from tasks.config import (
    Count,
    DataConfig,
    EvaluationConfig,
    GateConfig,
    GenerateConfig,
    GenerateSection,
    JudgeConfig,
    ModelConfig,
    ProbeConfig,
    ReportConfig,
    Runtime,
    ScoreConfig,
    TrainConfig,
)

RECIPES = Path(__file__).resolve().parent / "recipes"
PROMPTS = Path(__file__).resolve().parent / "prompts"
JUDGE_PROMPTS = Path(__file__).resolve().parent / "judge_prompts"
OVERRIDES = "dialogsum_overrides"
"""Prefect variable: overrides for every run of a deployment, such as `runtime.machines=2` or `data.source=/data`."""
REMOVED = {"runtime.workers": "remove it from the recipe or the overrides; it has never changed a result"}
"""Keys of earlier versions -> what to do with them."""


class Recipe(Record):
    """All settings of an experiment. Flows use the whole recipe; a stage gets only its own section."""

    name: str
    data: DataConfig = DataConfig()
    prompt: str = "highlight"
    """Prompt template of training: a name in flows/prompts, or a file."""
    model: ModelConfig
    train: TrainConfig = TrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    generate: GenerateSection = GenerateSection()
    probe: ProbeConfig = ProbeConfig()
    score: ScoreConfig = ScoreConfig()
    judge: JudgeConfig = JudgeConfig()
    gate: GateConfig = GateConfig()
    report: ReportConfig = ReportConfig()
    seeds: Count = 1
    """Number of trainings, with seeds from `train.seed` upward. The first is the candidate; the others show noise."""
    track: Annotated[
        tuple[Annotated[str, AfterValidator(known_tracker)], ...],
        NotIdentity("a tracker receives results and changes none"),
    ] = ()
    """Experiment trackers that get the learning curve and the results: `mlflow`, `tensorboard`, `trackio`, `wandb`."""

    @property
    def decoding(self) -> GenerateConfig:
        """The section `generate` as stages get it."""
        return self.generate.resolved(self.model.quantization)

    def for_adapter(self, quantization: str) -> Self:
        """This recipe for an existing adapter, trained with this quantization, for which `auto` then stands."""
        return self.model_copy(update={"generate": self.generate.resolved(quantization)})

    @property
    def revision(self) -> str:
        """8 hex digits of all settings that can change a score."""
        settings = identity_of(self) | {"generate": identity_of(self.decoding)}
        if self.train.distill.samples:
            settings["train"]["distill"] = self.train.distill.model_dump(mode="json")
        # without a judge, the revision is that of a recipe from before there were judges
        others = ("name", "report", "gate", "probe", *(() if self.judge.is_set else ("judge",)))
        return sha256({name: value for name, value in settings.items() if name not in others})[:8]

    runtime: Runtime = Runtime()


def load_recipe(
    recipe: str, overrides: Sequence[str] = (), settings: Mapping[str, Mapping[str, Any]] | None = None
) -> Recipe:
    """A recipe by name or file. RequestError on unknown keys and wrong types.

    Args:
        recipe: name of a file in flows/recipes, or a path.
        overrides: `section.key=value`, each value as YAML.
        settings: section -> key -> value, applied before the overrides.
    """
    refuse_secrets(overrides, "--set")
    known = [p.stem for p in RECIPES.glob("*.yaml")]
    file = RECIPES / f"{recipe}.yaml" if recipe in known else user_path(recipe, "recipe")
    if not file.is_file():
        raise RequestError(f"no recipe {one_line(recipe, 80)!r}, by name or as a file{did_you_mean(recipe, known)}")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{file}: not a recipe ({one_line(error, 160)})") from error
    refuse_secrets([text], str(file))
    return _parse(file, text, tuple(overrides), json.dumps(settings or {}))


@lru_cache(maxsize=32)
def _parse(file: Path, text: str, overrides: tuple[str, ...], settings: str) -> Recipe:
    """The recipe in `text`, with JSON settings and overrides applied.

    A recipe is validated once: the command line refuses a wrong one before it starts Prefect, the flow gets the same.
    """
    content = _yaml(file, text)
    for section, values in json.loads(settings).items():
        content[section] = {**(content.get(section) or {}), **values}
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign or not key.strip():
            raise RequestError(f"--set {one_line(override, 80)}: expected section.key=value")
        _put(content, key.strip(), _scalar(override, value), override)
    refuse_unknown(content, Recipe)
    try:
        return Recipe.model_validate({"name": file.stem} | content)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        overridden = any(_same_branch(override.partition("=")[0].strip(), key) for override in overrides)
        raise RequestError(f"{'--set' if overridden else f'{file.name}:'} {_first(error)}") from error


def _same_branch(one: str, other: str) -> bool:
    """Whether two dotted keys are equal, or one is a section that contains the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _yaml(file: Path, text: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except Exception as error:  # PyYAML lets through whatever its constructors raise
        raise RequestError(f"{file}: not a recipe ({one_line(error, 160)})") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise RequestError(f"{file}: not a recipe (expected sections such as data, model, train)")
    return content


def _scalar(override: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except Exception as error:  # PyYAML lets through whatever its constructors raise
        raise RequestError(
            f"--set {one_line(override, 80)}: the value is not valid YAML ({one_line(error, 80)})"
        ) from error


def _put(content: dict[str, Any], key: str, value: Any, override: str) -> None:
    *sections, last = key.split(".")
    for section in sections:
        inner = content.setdefault(section, {})
        if not isinstance(inner, dict):
            raise RequestError(f"--set {one_line(override, 80)}: {section!r} is not a section")
        content = inner
    content[last] = value


def refuse_unknown(content: Any, model: type[BaseModel], prefix: str = "") -> None:
    """RequestError naming the first key that `model` has not, with the nearest one that exists."""
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        field = model.model_fields.get(str(key))
        if field is None or (not prefix and key == "name"):
            wrong = f"{prefix}{key}" if prefix else _first_leaf(key, value)
            if wrong in REMOVED:
                raise RequestError(f"{wrong} is a key of an earlier version: {REMOVED[wrong]}")
            raise RequestError(f"unknown key {one_line(wrong, 80)!r}{_suggestion(wrong)}")
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                refuse_unknown(value, kind, f"{prefix}{key}.")


def _suggestion(wrong: str) -> str:
    """`; did you mean 'train.epochs'?` if a known key is close, otherwise the keys of the section."""
    known, (section, _, last) = all_keys(Recipe), wrong.rpartition(".")
    close = get_close_matches(wrong, known, n=5, cutoff=0.5)
    alike = [key for key in close if get_close_matches(last, [key.rpartition(".")[2]], cutoff=0.6)]
    if alike:
        return f"; did you mean '{alike[0]}'?"
    siblings = [key.removeprefix(f"{section}.") for key in known if section and key.startswith(f"{section}.")]
    return f"; known in {section}: {', '.join(siblings)}" if siblings else did_you_mean(wrong, known)


def _first_leaf(key: Any, value: Any) -> str:
    """`train.lora.rank` of {"train": {"lora": {"rank": 8}}}; no deeper than recipes go, since YAML can hold itself."""
    for _ in range(3):
        if not isinstance(value, dict) or not value:
            break
        inner, value = next(iter(value.items()))
        key = f"{key}.{inner}"
    return str(key)


def all_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of every leaf key."""
    keys = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += all_keys(kind, f"{prefix}{name}.")
        elif prefix or name != "name":
            keys.append(f"{prefix}{name}")
    return keys


def _first(error: ValidationError) -> str:
    """The first problem as one line: key, what was got, what is expected."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{where} is missing"
    try:
        got = one_line(repr(problem["input"]), 60)
    except ValueError:  # a number of more digits than Python prints
        got = "a very long number"
    return f"{where}: got {got}; {problem['msg'][0].lower()}{problem['msg'][1:]}"
