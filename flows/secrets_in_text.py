"""Refuses credentials in overrides, parameters and recipes: Prefect and manifests keep these for everybody to read."""

import re
from collections.abc import Iterable

from artifacts.errors import RequestError

_TOKENS = (
    r"hf_[A-Za-z0-9]{16,}",  # Hugging Face
    r"A(KI|SI)A[A-Z0-9]{16}",  # AWS
    r"sk-[A-Za-z0-9_-]{16,}",  # OpenAI, Anthropic
    r"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}",
    r"glpat-[A-Za-z0-9_-]{16,}",  # GitLab
    r"xox[abeprs]-[A-Za-z0-9-]{10,}",  # Slack
    r"AIza[A-Za-z0-9_-]{30,}",  # Google
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}",  # JSON Web Token
    r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY",
)
_NAMES = "".join(
    f"[{c.upper()}{c}]" if c.isalpha() else c  # forms' patterns have no flag for it
    for c in "token|secret|password|passwd|api_?key|access_?key|access_?key_id|credentials?|signature"
)
_SECRET = (
    rf"(^|[^A-Za-z0-9])({'|'.join(_TOKENS)})"
    r"|[A-Za-z][A-Za-z0-9+.-]{0,20}://[^/?#@:\s]*:[^/?#@\s]+@"  # scheme://user:password@
    rf"|[?&;][\w.-]{{0,60}}({_NAMES})="  # of a URL's query
    rf"|^(?!train\.stop_token=)[\w.-]{{0,60}}({_NAMES})\s*="  # a key
)
NO_SECRET = rf"^(?![\s\S]*({_SECRET}))"
"""Begins the pattern of a form's field, in what the regular expressions of Python and of ECMA-262 have in common."""


def refuse_secrets(texts: Iterable[str], where: str) -> None:
    """RequestError if a text has a credential in it. The message does not repeat the text."""
    if any(re.search(_SECRET, text) for text in texts):
        raise RequestError(
            f"{where} has what looks like a credential in it, which Prefect would store for all to read: set it in the "
            "environment of workers, such as HF_TOKEN or AWS_SECRET_ACCESS_KEY; replace it if others may have seen it"
        )
