"""Prompt templates, for training and generation alike.

A prompt file is plain text with `{dialogue}` in it, and optional front matter between `---` lines. The model's chat
template is put around the filled prompt (tasks/models/chat_template.py), so the same file serves every model.
"""

import re
from pathlib import Path

from artifacts.errors import RequestError
from artifacts.text import did_you_mean, one_line
from artifacts.user_paths import user_path

PLACEHOLDER = "{dialogue}"
_FRONT_MATTER = re.compile(r"\A---\n(?:.*\n)*?---\n")


def load_prompt(name: str, library: Path, key: str = "prompt") -> str:
    """The text of a template: a name in `library`, a file, or the text itself.

    RequestError, which names the setting `key`, unless it contains {dialogue} exactly once.
    """
    if PLACEHOLDER in name:
        return _template(name, key, "the text")
    file = user_path(name, key)
    if re.fullmatch(r"[\w.-]{1,200}", name) and (library / f"{name}.txt").is_file():
        file = library / f"{name}.txt"
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise RequestError(f"{key}: {file} is not UTF-8 text ({one_line(error, 80)}); save it as UTF-8") from error
        known = [p.stem for p in library.glob("*.txt")]
        raise RequestError(
            f"{key}: no prompt {one_line(name, 80)!r} in the library and no such file{did_you_mean(name, known)}"
        ) from error
    return _template(text, key, str(file))


def _template(text: str, key: str, where: str) -> str:
    template = _FRONT_MATTER.sub("", text.replace("\r\n", "\n")).strip("\n")
    if template.count(PLACEHOLDER) != 1:
        count = template.count(PLACEHOLDER)
        raise RequestError(f"{key}: {where} contains {PLACEHOLDER} {count} times; expected once")
    return template


def fill(template: str, dialogue: str) -> str:
    """The prompt for one dialogue. Braces in the dialogue are not filled."""
    prefix, suffix = template.split(PLACEHOLDER)
    return prefix + dialogue + suffix
