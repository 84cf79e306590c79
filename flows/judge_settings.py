"""The judge of a recipe, with its model pinned or its prompt loaded. Imports neither Prefect nor torch."""

from artifacts.errors import RequestError
from flows.recipe import JUDGE_PROMPTS
from tasks.config import JudgeClassifier, JudgeConfig, JudgeEndpoint, JudgeSpec, ModelConfig
from tasks.models.prompt_template import load_prompt
from tasks.sources.resolve import resolve_model

SUMMARY = "{summary}"


def resolve_judge(config: JudgeConfig) -> JudgeSpec | None:
    """The settings of the stage judge; None if the recipe has no judge.

    RequestError if its model is unknown or cannot be reached, or if its prompt has not both placeholders.
    """
    if config.model is not None:
        pinned = resolve_model(ModelConfig(source=config.model, revision=config.revision), "judge.model")
        if pinned.gguf:
            raise RequestError("judge.model: a GGUF file is no sequence classifier; name a folder or a hub id")
        classifier = JudgeClassifier(
            model=pinned, label=config.label, chunk_tokens=config.chunk_tokens, threshold=config.threshold
        )
        return JudgeSpec(classifier=classifier, dialogues=config.dialogues)
    if config.endpoint is None or config.name is None:
        return None
    template = load_prompt(config.prompt, JUDGE_PROMPTS, "judge.prompt")
    if template.count(SUMMARY) != 1:
        raise RequestError(f"judge.prompt contains {SUMMARY} {template.count(SUMMARY)} times; expected once")
    endpoint = JudgeEndpoint(
        url=config.endpoint.rstrip("/"),
        name=config.name,
        template=template,
        temperature=config.temperature,
        max_new_tokens=config.max_new_tokens,
        price_per_million_tokens=config.price_per_million_tokens,
        requests_at_once=config.requests_at_once,
    )
    return JudgeSpec(endpoint=endpoint, dialogues=config.dialogues)
