"""report: everything before it -> one HTML file to read and share, and its first screen as Markdown.

Reads   dataset, prompts (format, eval), scores, predictions of base; unless only the base model is evaluated:
        predictions of tuned, adapter and, if they exist, predictions of champion and before, the probes of these
        systems, judgements as judge_<system> and judge_references, decision, the scores of further seeds as seed_<n>,
        what the adapter was distilled from as made_from_<n>, and as champion_dataset the dataset of the champion, if it
        is another one
Writes  report.html (makes no network request; one script of its own, allowed by its hash), report.md
Rerun   dialogsum run RECIPE --refresh report

tasks/reporting/page.py collects what it shows, tasks/reporting/rendering.py renders it.
"""

from collections.abc import Mapping

from tasks.config import ReportSpec
from tasks.execution.stage import Artifact, Context, Stage, StageResult
from tasks.metrics.judge_scores import ROLE
from tasks.metrics.score_table import MODELS, PROBE_ROLE
from tasks.reporting.page import ReportInputs, build_page
from tasks.reporting.rendering import render


def report(
    spec: ReportSpec,
    context: Context,
    dataset: Artifact,
    prompts: Artifact,
    scores: Artifact,
    adapter: Artifact | None = None,
    decision: Artifact | None = None,
    champion_dataset: Artifact | None = None,
    **more: Artifact,
) -> StageResult:
    """Render the report.

    more: predictions by system (`base` always among them), their probes as `probe_<system>`, judgements as
    `judge_<system>`, scores of further training seeds as `seed_<n>`, and earlier adapters and samples from which the
    adapter was distilled as `made_from_<n>`.
    """
    outputs = {str(system): more[system] for system in MODELS if system in more}
    inputs = ReportInputs(
        spec,
        dataset,
        prompts,
        scores,
        outputs,
        adapter,
        decision,
        champion_dataset,
        seeds=_numbered("seed_", more),
        made_from=_numbered("made_from_", more),
        probes={str(system): more[f"{PROBE_ROLE}{system}"] for system in MODELS if f"{PROBE_ROLE}{system}" in more},
        judged={role.removeprefix(ROLE): artifact for role, artifact in more.items() if role.startswith(ROLE)},
    )
    page = build_page(inputs)
    for name, text in render(page).items():
        (context.out / name).write_text(text, encoding="utf-8", errors="replace")
    examples = sum(map(len, page.examples.values()))
    facts = {"verdict": page.headline.model_dump(mode="json", by_alias=True)}
    if page.data_comparison is not None:
        facts["data"] = page.data_comparison.model_dump(mode="json")
    return StageResult(rows=examples, facts=facts)


def _numbered(prefix: str, inputs: Mapping[str, Artifact]) -> list[Artifact]:
    """The inputs whose role is `prefix` and a number, in the order of the numbers."""
    roles = sorted((int(role.removeprefix(prefix)), role) for role in inputs if role.startswith(prefix))
    return [inputs[role] for _, role in roles]


REPORT = Stage(
    name="report",
    version=1,
    function=report,
    spec=ReportSpec,
    label=lambda spec: "report",
    resources=tuple(f"reporting/report.{kind}" for kind in ("html.j2", "md.j2", "js", "css")),
    packages=("jinja2", "matplotlib"),
)
