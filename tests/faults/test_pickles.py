"""Row 14: a pickle or code that somebody planted where we read is never loaded: the canary in it is not called."""

import ast
import base64
import hashlib
import json
import os
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from artifacts.artifact_store import DamageError, Store
from artifacts.atomic_files import sha256_of
from artifacts.code_fingerprint import PACKAGES
from artifacts.errors import RequestError, StageError
from artifacts.manifest import FileDigest, InputRef, checksum_of, content_digest
from artifacts.refs import Ref
from tasks.config import ModelConfig, ResolvedModel
from tasks.models.adapter_merging import load_merged_model
from tasks.models.loading import load_model, load_tokenizer
from tasks.sources.resolve import resolve_model
from tasks.training import checkpoint
from tests.faults.fault_table import Tally
from tests.support.paths import ROOT

CPU = torch.device("cpu")


class Canary:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "canary"

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)

    @property
    def pickled(self) -> bytes:
        return pickle.dumps(self)

    @property
    def sang(self) -> bool:
        return self.folder.exists()


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    probe = Canary(tmp_path / "probe")
    probe.folder.parent.mkdir()
    pickle.loads(probe.pickled)
    assert probe.sang  # it would be heard
    return Canary(tmp_path)


@pytest.fixture
def model(models: dict[str, Path], tmp_path: Path) -> Path:
    """A model folder of the test's own."""
    return Path(shutil.copytree(models["llama"], tmp_path / "model"))


def resolved(folder: Path) -> ResolvedModel:
    return resolve_model(ModelConfig(source=str(folder)))


def test_pickles_beside_the_weights_are_ignored_and_instead_of_them_refused(
    model: Path, canary: Canary, tally: Tally
) -> None:
    """Every file name that libraries read as a pickle; without safetensors, before and after the model is pinned."""
    names = (
        "pytorch_model.bin",
        "model.pt",
        "training_args.bin",
        "optimizer.pt",
        "rng_state.pth",
        "scheduler.pt",
        "adapter_model.bin",
        "tokenizer.pkl",
        "consolidated.00.pth",
        "model.ckpt.index",
        "flax_model.msgpack",
    )
    for name in names:
        (model / name).write_bytes(canary.pickled)
    pinned = resolved(model)
    load_tokenizer(pinned)
    load_model(pinned, torch.float32)
    for file in model.glob("*.safetensors*"):
        file.unlink()
    with pytest.raises(RequestError, match="can run code and are not loaded"):
        resolved(model)
    with pytest.raises(OSError, match="safetensors"):
        load_model(pinned, torch.float32)
    (model / "model.safetensors").write_bytes(canary.pickled)
    with pytest.raises(Exception, match=r"(?i)header|safetensors"):
        load_model(pinned, torch.float32)
    tally("14 pickle in a model folder", len(names) + 2, [canary.folder] if canary.sang else [])


@pytest.mark.parametrize("kind", ["llama", "unheard-of"])
def test_code_in_a_model_folder_is_not_run(model: Path, tmp_path: Path, kind: str, tally: Tally) -> None:
    """Our code loads a known architecture and refuses others at once, without a prompt on the terminal."""
    code = f"import os\nos.mkdir({str(tmp_path / 'canary')!r})\n"
    for name in ("evil", "modeling_evil", "tokenization_evil"):
        (model / f"{name}.py").write_text(code)
    places = {
        "config.json": {
            "model_type": kind,
            "auto_map": {
                "AutoConfig": "evil.Config",
                "AutoModelForCausalLM": "modeling_evil.Model",
                "AutoTokenizer": ["tokenization_evil.Tok", None],
            },
        },
        "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["tokenization_evil.Tok", "tokenization_evil.Tok"]}},
    }
    for name, changes in places.items():
        (model / name).write_text(json.dumps(json.loads((model / name).read_text()) | changes))
    pinned, messages = resolved(model), []
    for load in (load_tokenizer, lambda m: load_model(m, torch.float32)):
        try:
            load(pinned)
        except ValueError as error:
            messages.append(str(error))
    assert bool(messages) == (kind != "llama")
    assert "canary" not in {file.name for file in tmp_path.iterdir()}
    tally("14 code in a model folder", 2, [])


def reseal(folder: Path) -> None:
    """Rewrite the manifest of an artifact, as an attacker with write access to the store might."""
    file = folder / "manifest.json"
    content = json.loads(file.read_text())
    files = sorted((folder / "payload").iterdir())
    seals = {f.name: FileDigest(bytes=f.stat().st_size, sha256=sha256_of(f)) for f in files}
    inputs = {role: InputRef(**ref) for role, ref in content["inputs"].items()}
    content |= {"files": {name: seal.model_dump() for name, seal in seals.items()}}
    content |= {"digest": content_digest(seals, inputs)}
    file.write_text(json.dumps(content | {"seal": checksum_of(content)}))


@pytest.mark.slow
def test_a_pickle_in_an_adapter_is_not_loaded(copied: Path, model: Path, canary: Canary, tally: Tally) -> None:
    """Next to the weights it counts as damage; in their place, with a rewritten manifest, it is refused."""
    store = Store.current()
    (manifest,) = store.manifests("train")
    folder = Path(store.absolute(manifest.path))
    (folder / "payload" / "adapter_model.bin").write_bytes(canary.pickled)
    with pytest.raises(DamageError, match=r"adapter_model\.bin"):
        store.payload(manifest.path)
    reseal(folder)
    load_merged_model(resolved(model), store.payload(manifest.path), CPU)  # the safetensors are there
    (folder / "payload" / "adapter_model.safetensors").unlink()
    reseal(folder)
    with pytest.raises(StageError, match=r"no adapter_model\.safetensors"):
        load_merged_model(resolved(model), store.payload(manifest.path), CPU)
    (folder / "payload" / "adapter_model.safetensors").write_bytes(canary.pickled)
    reseal(folder)
    with pytest.raises(Exception, match=r"(?i)header|safetensors"):
        load_merged_model(resolved(model), store.payload(manifest.path), CPU)
    tally("14 pickle in an adapter", 4, [canary.folder] if canary.sang else [])


def test_a_pickle_in_a_checkpoint_is_passed_over(tmp_path: Path, canary: Canary, tally: Tally) -> None:
    """Under a right digest, and beside the files that are read."""
    tensors = {"adapter": torch.ones(3), "optimizer.exp_avg": torch.ones(3)}
    for step in (1, 2):
        last = checkpoint.save(tmp_path / "c", "this", checkpoint.Progress(step, [], 60), tensors)
    for name in ("optimizer.pt", "rng_state.pth", "training_args.bin"):
        (last / name).write_bytes(canary.pickled)
    newest = checkpoint.load_newest(tmp_path / "c", "this", print)
    assert newest is not None
    assert newest[0].steps_done == 2
    lost, messages = [], list[str]()
    for name in ("state.safetensors", "state.json", "manifest.json"):
        contents = (last / name).read_bytes(), (last / "manifest.json").read_bytes()
        (last / name).write_bytes(canary.pickled)
        if name != "manifest.json":
            manifest = json.loads(contents[1])
            manifest["files"][name] = hashlib.sha256(canary.pickled).hexdigest()
            (last / "manifest.json").write_text(json.dumps(manifest))
        newest = checkpoint.load_newest(tmp_path / "c", "this", messages.append)
        if newest is None or newest[0].steps_done != 1 or canary.sang:
            lost.append(name)
        (last / name).write_bytes(contents[0])
        (last / "manifest.json").write_bytes(contents[1])
    assert len(messages) == 3
    tally("14 pickle in a checkpoint", 6, lost)


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "workers_inline")
def test_what_a_result_record_names_is_not_imported_called_or_unpickled(
    copied: Path, canary: Canary, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    """Prefect's record names its own reader: any serializer, decoder or class but ours counts as no result."""
    from tasks.execution.job import load_job
    from tasks.prefect_task import run_stage
    from tasks.registry import STAGES

    (copied / "evil_module.py").write_text(f"import os\nos.mkdir({str(canary.folder)!r})\nRef = loads = dict\n")
    monkeypatch.syspath_prepend(copied)
    store = Store.current()
    (manifest,) = store.manifests("score")
    file = Path(store.root.path, "results", f"score-{manifest.key}")
    record = json.loads(file.read_text())
    pickled = base64.encodebytes(canary.pickled).decode()
    receipt = json.loads(record["result"])
    ours = record["metadata"]["serializer"]
    planted = {
        "pickle": ({"type": "pickle", "picklelib": "pickle"}, pickled),
        "cloudpickle": ({"type": "pickle", "picklelib": "cloudpickle"}, pickled),
        "compressed pickle": ({"type": "compressed/pickle"}, pickled),
        "library": (ours | {"jsonlib": "evil_module"}, record["result"]),
        "decoder": (ours | {"object_decoder": "evil_module.Ref"}, record["result"]),
        "class": (ours, json.dumps(receipt | {"__class__": "evil_module.Ref"})),
        "class within": (
            ours,
            json.dumps(
                {
                    "__class__": "artifacts.refs.Ref",
                    "data": receipt["data"] | {"of": {"__class__": "evil_module.Ref", "data": {}}},
                }
            ),
        ),
        "class beside": (ours, json.dumps(receipt | {"more": {"__class__": "evil_module.Ref", "data": {}}})),
        "exception": (ours, json.dumps({"__exc_type__": "evil_module.Ref", "message": ""})),
    }
    lost = []
    for name, (serializer, result) in planted.items():
        file.write_text(json.dumps({"metadata": record["metadata"] | {"serializer": serializer}, "result": result}))
        try:
            served: Any = run_stage(load_job(Store.current(), manifest.id, STAGES))
        except Exception as error:
            served = error
        if canary.sang or served != Ref.of_manifest(manifest):
            lost.append((name, canary.sang, served))
            shutil.rmtree(canary.folder, ignore_errors=True)
            sys.modules.pop("evil_module", None)
    file.write_bytes(canary.pickled)
    assert run_stage(load_job(Store.current(), manifest.id, STAGES)) == Ref.of_manifest(manifest)
    tally("14 pickle or code named in a Prefect result", len(planted) + 1, lost)


def test_no_module_of_ours_unpickles_or_unpacks_anything() -> None:
    """Nor turns on code from repositories. What the libraries do is above; row 15's archive members have no archive."""
    forbidden = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "tarfile", "zipfile"}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                names = (
                    {a.name.split(".")[0] for a in node.names}
                    if isinstance(node, ast.Import | ast.ImportFrom)
                    else set()
                )
                if isinstance(node, ast.ImportFrom) and node.module:
                    names |= {node.module.split(".")[0]}
                assert not names & forbidden, file
                if isinstance(node, ast.Attribute):
                    assert node.attr not in ("unpack_archive", "read_pickle"), file
                    assert ast.unparse(node) != "torch.load", file
                if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
                    assert ast.unparse(node.value) == "False", file


def test_torch_and_prefect_contain_the_fixes_of_known_vulnerabilities() -> None:
    """CVE-2025-32434, CVE-2026-24747 (torch), CVE-2026-1839, -4372 (transformers), CVE-2026-5366, -7723 (prefect)."""
    from importlib.metadata import version

    for name, least in (("torch", (2, 10)), ("transformers", (5, 3)), ("prefect", (3, 6))):
        assert tuple(int(part) for part in version(name).split(".")[:2]) >= least
