"""What is exported summarizes without this project: plain peft and plain transformers say what we say."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard, metadata_load
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.manifest import InputRef, Provenance
from flows.inference.export_adapter import export_adapter
from flows.inference.summarize_file import summarize_file
from tasks.config import DataConfig, ScoreSpec
from tasks.score import score
from tasks.sources.resolve import resolve_data
from tasks.summarization import summarize_table as parent
from tasks.summarization.request import SummarizeRequest
from tasks.workers.events import NullListener
from tests.support.artifacts import ArtifactFactory
from tests.support.models import publish_adapter
from tests.support.pipelines import run_workers_inline
from tests.support.processes import run_cli

TEMPLATE = 'Say "briefly":\n\n{dialogue}\nNow:'
DIALOGUE = "#Person1#: Are we late?\n#Person2#: The train was: at 10:30. 😀"
PLAIN = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
folder, dialogue = sys.argv[1:]
if sys.argv[0] != "-c": raise SystemExit(3)
try:
    open(folder + "/adapter_config.json").close()
    from peft import AutoPeftModelForCausalLM as Auto
except FileNotFoundError:
    Auto = AutoModelForCausalLM
model, tokenizer = Auto.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)
messages = [{"role": "user", "content": dialogue}]
ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
output = model.generate(**ids, generation_config=GenerationConfig.from_pretrained(folder))
print(tokenizer.decode(output[0, ids["input_ids"].shape[1]:], skip_special_tokens=True).strip())
assert not any(name.split(".")[0] in ("tasks", "flows", "artifacts") for name in sys.modules)
"""


@pytest.fixture
def trained(tmp_path: Path, store: Store, models: dict[str, Path]) -> tuple[str, list[str]]:
    """An adapter in the store, and the overrides that name its base."""
    adapter = publish_adapter(store, models["llama"], tmp_path / "made", TEMPLATE)
    return adapter, [f"model.source={models['llama']}", "generate.max_new_tokens=12", "runtime.device=cpu"]


def ours(trained: tuple[str, list[str]], folder: Path, patch: pytest.MonkeyPatch) -> str:
    """The summary of `dialogsum summarize`."""
    patch.setattr(parent, "run_workers", run_workers_inline)
    (folder / "talk.txt").write_text(DIALOGUE, encoding="utf-8")
    overrides = tuple(trained[1])
    request = SummarizeRequest(source=str(folder / "talk.txt"), adapter=trained[0], overrides=overrides)
    return str(summarize_file(request, NullListener())["summary"])


def plainly(folder: Path, elsewhere: Path) -> str:
    """The summary of a process without our code."""
    process = subprocess.run(
        [sys.executable, "-c", PLAIN, folder, DIALOGUE],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HOME": str(elsewhere)},
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


@pytest.mark.slow
def test_plain_peft_generates_what_we_generate(
    trained: tuple[str, list[str]], tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter's folder, its chat template and generation settings are enough."""
    result = export_adapter(trained[0], tmp_path / "out", base=str(models["llama"]), overrides=trained[1])
    expected = ours(trained, tmp_path, monkeypatch)
    assert expected
    assert plainly(Path(result["out"]), tmp_path) == expected


@pytest.mark.slow
def test_merged_model_is_bf16_and_plain_transformers_loads_it(
    trained: tuple[str, list[str]], tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights agree to the precision of bf16, and the prompt has the same ids as ours."""
    result = export_adapter(trained[0], tmp_path / "out", format="merged", overrides=trained[1])
    loaded: Any = AutoModelForCausalLM.from_pretrained(result["out"], dtype="auto")
    assert loaded.dtype == torch.bfloat16
    base: Any = AutoModelForCausalLM.from_pretrained(models["llama"], dtype=torch.float32)
    tuned = PeftModel.from_pretrained(base, tmp_path / "store" / Store.current().by_id(trained[0]).path / "payload")
    ids = torch.arange(5, 25)[None]
    assert torch.allclose(loaded.float()(ids).logits, tuned(ids).logits, atol=0.15, rtol=0.05)
    assert not list((tmp_path / "out").glob("adapter*"))
    assert plainly(Path(result["out"]), tmp_path)
    tokenizer: Any = AutoTokenizer.from_pretrained(result["out"])
    text = tokenizer.apply_chat_template([{"content": DIALOGUE}], add_generation_prompt=True, tokenize=False)
    prompt = TEMPLATE.replace("{dialogue}", DIALOGUE)
    assert text == f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"


def test_card_of_an_adapter_for_nf4_weights_says_how_to_load_the_base_model(
    tmp_path: Path, store: Store, models: dict[str, Path]
) -> None:
    """Only where the base model is loaded by others: neither for a complete model nor for unquantized weights."""
    quantized = publish_adapter(store, models["llama"], tmp_path / "a", TEMPLATE, quantization="nf4")
    plain = publish_adapter(store, models["llama"], tmp_path / "b", TEMPLATE, "cd" * 32)
    said = {}
    for name, adapter, form in (
        ("nf4", quantized, "adapter"),
        ("none", plain, "adapter"),
        ("merged", quantized, "merged"),
    ):
        source = f"model.source={models['llama']}"
        export_adapter(adapter, tmp_path / name, base="owner/llama", format=form, overrides=[source])
        said[name] = 'load_in_4bit=True, bnb_4bit_quant_type="nf4"' in (tmp_path / name / "README.md").read_text()
    assert said == {"nf4": True, "none": False, "merged": False}


def test_card_reads_back_with_licence_prompt_and_use(
    trained: tuple[str, list[str]], tmp_path: Path, models: dict[str, Path]
) -> None:
    """By Hugging Face's own classes."""
    export_adapter(trained[0], tmp_path / "out", base="owner/llama", overrides=trained[1])
    metadata: Any = metadata_load(tmp_path / "out" / "README.md")
    assert (metadata["library_name"], metadata["base_model"], metadata.get("language")) == ("peft", "owner/llama", None)
    assert metadata["license"] == "other"
    assert "model-index" not in metadata
    text = ModelCard.load(tmp_path / "out" / "README.md").text
    assert TEMPLATE in text
    assert str(models["llama"]) not in text
    assert "# LoRA adapter of llama, trained on unknown data\n" in text
    assert "`dialogsum summarize` may word a summary differently" in text
    for part in ("## Use", "## Intended use and limits", "## Scores", "## Training", "## Licences"):
        assert part in text


def evaluated(
    artifact_factory: ArtifactFactory,
    adapter: str,
    template: str,
    candidates: int,
    words: int,
    number: int,
    data: str = "knkarthick/dialogsum@1a2b3c4",
    revision: str = "1" * 40,
) -> None:
    """An evaluation in the store: references have six words, the base writes three of them, the adapter `words`."""

    def published(
        stage: str, key: str, out: Path, config: Any, inputs: dict[str, str], facts: Any = None, **origin: str
    ) -> str:
        copy = artifact_factory.context().out  # what is published is moved
        shutil.copytree(out, copy, dirs_exist_ok=True)
        refs = {role: InputRef(id=name, digest=name[-8:] * 8) for role, name in inputs.items()}
        return artifact_factory.store.publish(
            copy,
            stage=stage,
            variant=None,
            name="made",
            key=key,
            rows=4,
            identity={"config": config},
            inputs=refs,
            facts=facts or {},
            provenance=Provenance(at=f"2026-01-0{number}T00:00:00", seconds=1, run="test", origin=origin),
        ).id

    def key(stage: int) -> str:
        return f"{number}{stage}abcdef" * 8

    vocabulary = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta"]
    dataset = artifact_factory.dataset([[" ".join(vocabulary)]] * 4)
    base, tuned = (artifact_factory.predictions([" ".join(vocabulary[:count])] * 4) for count in (3, words))
    context = artifact_factory.context()
    scored = score(ScoreSpec(bootstrap_resamples=1000), context, dataset, base=base, tuned=tuned)
    data = published("download", key(0), dataset.payload, {"data": {"revision": revision}}, {}, data=data)
    if not artifact_factory.store.folders("format"):
        published("format", "0" * 64, dataset.payload, {"template": TEMPLATE}, {"dataset": data})  # the adapter's rows
    rows = published("format", key(1), dataset.payload, {"template": template}, {"dataset": data})
    settings = {"generate": {"beams": 1, "candidates": candidates}}
    plain = published("generate", key(2), base.payload, settings, {"rows": rows})
    ours = published("generate", key(3), tuned.payload, settings, {"rows": rows, "adapter": adapter})
    published("score", key(4), context.out, {}, {"base": plain, "tuned": ours}, scored.facts)


def test_card_has_the_newest_scores_under_its_prompt_with_protocol_and_interval(
    trained: tuple[str, list[str]], artifact_factory: ArtifactFactory, tmp_path: Path, models: dict[str, Path]
) -> None:
    """F1 of n of six words is 2n / (6 + n); a later evaluation under another prompt is not the exported model's."""
    for number, (template, candidates, words) in enumerate(
        [(TEMPLATE, 1, 4), (TEMPLATE, 64, 5), ("{dialogue}?", 1, 6)]
    ):
        evaluated(artifact_factory, trained[0], template, candidates, words, number + 1)
    export_adapter(trained[0], tmp_path / "out", base=str(models["llama"]), overrides=trained[1])
    card = ModelCard.load(tmp_path / "out" / "README.md")
    results: Any = card.data.eval_results
    rouge1 = next(result for result in results if result.metric_name.startswith("rouge1 "))
    assert rouge1.metric_value == pytest.approx(100 * 10 / 11, abs=0.01)
    assert rouge1.dataset_type == "knkarthick/dialogsum"
    assert "stem" in rouge1.metric_name
    assert card.data.license == "cc-by-nc-sa-4.0"
    assert card.data.datasets == ["knkarthick/dialogsum"]
    assert card.data.language == "en"
    assert "| base | 66.67 (66.7 to 66.7) |" in card.text
    assert "| tuned | 90.91 (90.9 to 90.9) |" in card.text
    assert "4 dialogues x 1 reference;" in card.text
    assert "best of 64 by agreement" in card.text
    assert "llama has the weights of llama, files with the sha256" in card.text
    assert card.data.base_model is None  # a folder is no id of the hub
    assert "It has no id on the hub" in card.text


def test_card_of_a_merged_model_names_its_data_licences_and_weights(
    trained: tuple[str, list[str]], artifact_factory: ArtifactFactory, tmp_path: Path
) -> None:
    """Of the bundled sample, known by its bytes and not by a name: a folder may be called sample as well."""
    sample = resolve_data(DataConfig(source="sample")).revision
    evaluated(artifact_factory, trained[0], TEMPLATE, 1, 5, 1, data="sample", revision=sample)
    export_adapter(trained[0], tmp_path / "out", format="merged", overrides=trained[1])
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert "# llama trained on the sample of dialogsum-pipeline\n" in card.text
    assert "Training data, the sample of dialogsum-pipeline: dialogues and summaries that were written" in card.text
    assert "Measured on llama, files with the sha256" in card.text
    assert "has those weights, rounded to bfloat16, and was not scored itself" in card.text


def cache_of_hub(folder: Path, repository: str, weights: dict[str, torch.Tensor]) -> None:
    """A cache of the hub with one file of weights in it."""
    repository_folder = folder / f"models--{repository.replace('/', '--')}"
    (repository_folder / "refs").mkdir(parents=True)
    (repository_folder / "refs" / "main").write_text("5" * 40)
    (repository_folder / "snapshots" / ("5" * 40)).mkdir(parents=True)
    save_file(weights, repository_folder / "snapshots" / ("5" * 40) / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "sentence", "claimed"),
    [
        (lambda name, tensor: tensor, "owner/llama has the weights of llama, files", True),
        (
            lambda name, tensor: tensor * 1.08,
            "It was not scored on owner/llama, whose weights differ by at most 8.0 %",
            False,
        ),
        (None, "It was not scored on owner/llama, whose weights may differ", False),
    ],
    ids=["the same", "rounded", "not here"],
)
def test_scores_are_claimed_only_for_a_base_model_with_the_same_weights(
    trained: tuple[str, list[str]],
    artifact_factory: ArtifactFactory,
    tmp_path: Path,
    models: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    change: Any,
    sentence: str,
    claimed: bool,
) -> None:
    """Compared where the cache of the hub has them; the card and the command say what was found."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    if change:
        weights = load_file(models["llama"] / "model.safetensors")
        cache_of_hub(tmp_path / "hf", "owner/llama", {name: change(name, tensor) for name, tensor in weights.items()})
    evaluated(artifact_factory, trained[0], TEMPLATE, 1, 5, 1)
    result = export_adapter(trained[0], tmp_path / "out", base="owner/llama", overrides=trained[1])
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert sentence in result["note"]
    assert result["note"] in card.text
    assert card.data.base_model == "owner/llama"
    assert (card.data.eval_results is not None) is claimed


def test_a_base_model_with_other_weights_is_refused(
    trained: tuple[str, list[str]], tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the hub's cache or in a folder: other random weights, another shape, other names."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    weights = load_file(models["llama"] / "model.safetensors")
    torch.manual_seed(3)
    cache_of_hub(tmp_path / "hf", "owner/drawn", {name: torch.randn_like(tensor) for name, tensor in weights.items()})
    cache_of_hub(tmp_path / "hf", "owner/wide", {name: torch.cat([tensor, tensor]) for name, tensor in weights.items()})
    cache_of_hub(tmp_path / "hf", "owner/named", {f"x.{name}": tensor for name, tensor in weights.items()})
    for base, message in (
        ("owner/drawn", "the weights of owner/drawn differ from those of llama"),
        ("owner/wide", "the weights of owner/wide differ from those of llama"),
        ("owner/named", "do not have the same weights"),
        (str(tmp_path), "no .*safetensors in"),
        ("./nowhere", "nowhere is neither a folder nor a hub id"),
    ):
        with pytest.raises(RequestError, match=message):
            export_adapter(trained[0], tmp_path / "out", base=base, overrides=trained[1])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_merged_export_is_quiet_and_readable_as_the_umask_allows(
    trained: tuple[str, list[str]], tmp_path: Path
) -> None:
    """The terminal shows the folder and nothing else; weights have the rights of the other files."""
    umask = os.umask(0o027)
    try:
        settings = [word for one in trained[1] for word in ("--set", one)]
        process = run_cli("export", str(tmp_path / "out"), "--adapter", trained[0], "--merged", *settings)
    finally:
        os.umask(umask)
    assert (process.returncode, process.stdout, process.stderr) == (0, f"{tmp_path / 'out'}\n", "")
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in (tmp_path / "out").iterdir()} == dict.fromkeys(
        [
            "README.md",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "chat_template.jinja",
        ],
        "0o640",
    )


@pytest.fixture
def hub() -> Iterator[tuple[str, dict[str, Any]]]:
    """A hub on this machine that takes files; what it took by path."""
    took: dict[str, Any] = {}

    class Hub(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if self.path == "/api/repos/create":
                took["repository"] = json.loads(body)
                answer: dict[str, Any] = {"url": f"{self._here()}/owner/mine"}
            elif self.path == "/api/validate-yaml":
                answer = {"errors": [], "warnings": []}
            elif self.path.split("?")[0].endswith("/preupload/main"):
                files = json.loads(body)["files"]
                answer = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
            else:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        took[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                answer = {
                    "commitUrl": f"{self._here()}/owner/mine/commit/{'1' * 40}",
                    "commitOid": "1" * 40,
                    "success": True,
                }
            self._answer(answer)

        def do_GET(self) -> None:
            self._answer(
                {"id": "owner/mine", "modelId": "owner/mine", "sha": "0" * 40, "siblings": [], "name": "owner"}
            )

        def _here(self) -> str:
            return f"http://{self.headers['Host']}"

        def _answer(self, content: dict[str, Any]) -> None:
            text = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", took
    server.shutdown()


@pytest.mark.slow
def test_push_puts_the_folder_into_a_private_repository(
    trained: tuple[str, list[str]], tmp_path: Path, hub: tuple[str, dict[str, Any]]
) -> None:
    """Every file of it, byte for byte, through the command line."""
    url, took = hub
    process = run_cli(
        "export",
        str(tmp_path / "out"),
        "--adapter",
        trained[0],
        "--base",
        "owner/llama",
        "--push",
        "owner/mine",
        *[word for one in trained[1] for word in ("--set", one)],
        HF_ENDPOINT=url,
        HF_HUB_OFFLINE="0",
        HF_TOKEN="hf_test",
        HF_HUB_DISABLE_XET="1",
    )
    assert process.returncode == 0, process.stderr
    assert took.pop("repository")["visibility"] == "private"
    assert took == {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}


def test_wrong_requests_write_nothing(trained: tuple[str, list[str]], tmp_path: Path) -> None:
    """A base model that only this machine has, a folder that is there, a name that is none."""
    for more, message in (
        ({}, "is not from the hub: --merged"),
        ({"base": "owner/x", "push": "mine"}, "expected owner/name"),
    ):
        with pytest.raises(RequestError, match=message):
            export_adapter(trained[0], tmp_path / "out", overrides=trained[1], **more)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    with pytest.raises(RequestError, match=r"^FOLDER .* already exists; choose a new one$"):
        export_adapter(trained[0], tmp_path, base="owner/x", overrides=trained[1])
