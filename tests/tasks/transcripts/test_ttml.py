"""Captions made to break an XML reader are read as plain text or refused, and quickly.

tests/tasks/transcripts/test_corpus.py reads real captions.
"""

import time

import pytest

from tasks.transcripts.conversation import parse_conversation

PARAGRAPH = '<p begin="00:00:01">{}</p>'
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
HOSTILE = {
    "billion laughs": f'<!DOCTYPE tt [<!ENTITY l0 "ha">{LAUGHS}]><tt>{PARAGRAPH.format("&l11;")}</tt>',
    "file": f'<!DOCTYPE tt [<!ENTITY f SYSTEM "file:///etc/passwd">]><tt>{PARAGRAPH.format("&f;")}</tt>',
    "document type of a file": f'<!DOCTYPE tt SYSTEM "file:///etc/passwd"><tt>{PARAGRAPH.format("&f;")}</tt>',
    "parameter entity": f'<!DOCTYPE tt [<!ENTITY % f SYSTEM "file:///etc/hosts"> %f;]><tt>{PARAGRAPH.format("x")}</tt>',
    "deep": f"<tt>{PARAGRAPH.format('<span>' * 100_000 + 'hi' + '</span>' * 100_000)}</tt>",
    "deep sections": f"<tt>{'<div>' * 100_000}{PARAGRAPH.format('hi')}{'</div>' * 100_000}</tt>",
    "deep JSON": "[" * 100_000,
    "deep JSON objects": '{"messages":' * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_document_made_to_break_the_reader_is_harmless(name: str) -> None:
    """No entity is expanded, no file read, no stack exhausted; a server would fail with every such request else."""
    start = time.process_time()
    text = parse_conversation(HOSTILE[name], None).text
    assert time.process_time() - start < 20
    assert "root:" not in text
    assert len(text) <= len(HOSTILE[name])
