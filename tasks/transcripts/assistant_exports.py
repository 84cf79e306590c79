"""Exports of ChatGPT: a tree of messages, of which the program shows one branch."""

from typing import Any

from tasks.transcripts.json_values import Message, simple
from tasks.transcripts.records import Loss, LossKind

_SHOWN_ROLES = ("user", "assistant")
_SHOWN_CONTENT = ("text", "multimodal_text", None)


def is_tree(value: Any) -> bool:
    """Whether a value is one conversation of ChatGPT."""
    return isinstance(value, dict) and isinstance(value.get("mapping"), dict)


def shown_messages(conversation: dict[str, Any]) -> tuple[list[Message], Loss]:
    """The messages of the branch that ends in `current_node`, and how many others the tree has."""
    nodes = {key: node for key, node in conversation["mapping"].items() if isinstance(node, dict)}
    current = conversation.get("current_node")
    if current not in nodes:
        leaves = [key for key, node in nodes.items() if not node.get("children")]
        current = leaves[-1] if leaves else None
    branch: list[Message] = []
    seen: set[Any] = set()
    while isinstance(current, str) and current in nodes and current not in seen:
        seen.add(current)
        message = nodes[current].get("message")
        if isinstance(message, dict) and _is_shown(message):
            branch.append(simple(message))
        current = nodes[current].get("parent")
    total = sum(_has_words(node.get("message")) for node in nodes.values())
    return branch[::-1], Loss(LossKind.HIDDEN, max(0, total - len(branch)))


def _is_shown(message: dict[str, Any]) -> bool:
    author, content = message.get("author"), message.get("content")
    metadata = message.get("metadata")
    hidden = isinstance(metadata, dict) and metadata.get("is_visually_hidden_from_conversation")
    role = author.get("role") if isinstance(author, dict) else author
    kind = content.get("content_type") if isinstance(content, dict) else None
    recipient = message.get("recipient", "all")
    return role in _SHOWN_ROLES and kind in _SHOWN_CONTENT and not hidden and recipient in ("all", None)


def _has_words(message: Any) -> bool:
    content = message.get("content") if isinstance(message, dict) else None
    parts = content.get("parts") if isinstance(content, dict) else content
    return any(part not in ("", None) for part in parts) if isinstance(parts, list) else bool(parts or content)
