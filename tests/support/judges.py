"""Judges for tests: tiny random classifiers, and a server with an OpenAI-compatible API with chosen answers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

ENTAILMENT = ("contradiction", "neutral", "entailment")


def tiny_classifier(folder: Path, tokenizer: Path, labels: tuple[str, ...] = ENTAILMENT, positions: int = 96) -> Path:
    """A random BERT that reads up to `positions` tokens, with the tokenizer of another tiny model."""
    loaded: Any = AutoTokenizer.from_pretrained(tokenizer)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(loaded),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=positions,
        pad_token_id=loaded.pad_token_id,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        initializer_range=0.5,  # or all texts would get the same score
    )
    model: Any = BertForSequenceClassification(config)
    model.classifier.weight.data *= 0.3  # scores between 0 and 1, not at the ends
    model.save_pretrained(folder)
    loaded.save_pretrained(folder)
    return folder


@dataclass
class Reply:
    """What the server answers to one request."""

    status: int = 200
    text: str | None = None
    """Of the model; None: `raw`."""
    raw: str = "{}"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class JudgeServer:
    """What the server was asked."""

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Bodies, in the order in which they came."""
    keys: set[str] = field(default_factory=set)
    """Values of the header Authorization."""


@contextmanager
def judge_server(reply: Callable[[int, str], Reply]) -> Iterator[JudgeServer]:
    """A server on this machine. reply: (number of the request, from 0; its prompt) -> the answer."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # http.server's name
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(judge.requests)
                judge.requests.append(body)
                judge.keys.add(self.headers["Authorization"])
            answer = reply(number, body["messages"][0]["content"])
            content = answer.raw
            if answer.text is not None:
                message = {"role": "assistant", "content": answer.text}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
                content = json.dumps(
                    {"id": "1", "object": "chat.completion", "created": 0, "model": "judge-1", "choices": [choice]}
                    | {"usage": usage}
                )
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content.encode())))
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    judge = JudgeServer(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
