"""The formats of transcripts that are read: what has them, an example, and the reader. `--format` takes their names."""

from functools import partial

from tasks.transcripts.captions import read_sbv, read_srt, read_webvtt
from tasks.transcripts.chat_exports import read_json_chat
from tasks.transcripts.records import Format
from tasks.transcripts.signal_text import read_signal
from tasks.transcripts.speech_recognition import read_pyannote, read_whisper
from tasks.transcripts.ttml import read_ttml
from tasks.transcripts.turn_headings import read_turn_headings
from tasks.transcripts.turn_lines import read_turn_lines
from tasks.transcripts.whatsapp import read_whatsapp
from tasks.transcripts.zoom import read_zoom_chat

STRUCTURED = (
    Format(
        "webvtt",
        "WebVTT: Teams, Zoom, YouTube, podcasts",
        "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>Are we late?</v>\n\n00:02.000 --> 00:03.000\n<v Bob>No.</v>",
        read_webvtt,
    ),
    Format(
        "srt",
        "SRT subtitles, with any fractions of seconds",
        "1\n00:00:01,000 --> 00:00:02,000\nAnn: Are we late?\n\n2\n00:00:02,000 --> 00:00:03,000\nBob: No.",
        read_srt,
    ),
    Format(
        "sbv",
        "SBV: YouTube, the chat of a Google Meet recording",
        "0:00:01.000,0:00:02.000\nAnn: Are we late?\n\n0:00:02.000,0:00:03.000\nBob: No.",
        read_sbv,
    ),
    Format(
        "ttml",
        "TTML captions of broadcasters",
        '<tt xmlns="http://www.w3.org/ns/ttml"><body><div><p begin="00:00:01.000">Ann: Are we late?</p>'
        '<p begin="00:00:02.000">Bob: No.</p></div></body></tt>',
        read_ttml,
    ),
    Format(
        "whisper",
        "what Whisper, WhisperX and whisper.cpp print",
        "[00:00.000 --> 00:01.000] [Ann]: Are we late?\n[00:01.000 --> 00:02.000] [Bob]: No.",
        read_whisper,
    ),
    Format(
        "pyannote",
        "pyannote's start, end and label before the words",
        "0.000 1.200 SPEAKER_00  Are we late?\n1.200 2.000 SPEAKER_01  No.",
        read_pyannote,
    ),
    Format(
        "whatsapp",
        "WhatsApp, from an iPhone or an Android phone, in any language",
        "[12.03.24, 18:05:40] Ann: Are we late?\n[12.03.24, 18:06:02] Bob: No.",
        read_whatsapp,
    ),
    Format(
        "zoom-chat",
        "the chat that Zoom saves",
        "10:00:01 From Ann to Everyone:\n\tAre we late?\n10:00:09 From Bob to Ann(Direct Message):\n\tNo.",
        read_zoom_chat,
    ),
    Format(
        "signal",
        "messages of Signal that sigtop writes as text",
        "From: Ann (+49 170 1)\nType: incoming\nSent: Mon, 01 Jan 2024 10:00:00 +0000\n\nAre we late?\n\n"
        "From: Bob\nType: outgoing\nSent: Mon, 01 Jan 2024 10:01:00 +0000\n\nNo.",
        read_signal,
    ),
)
"""Formats with a mark of their own, in the order in which they are tried."""
HEADINGS = Format(
    "headings",
    "name and time above the words: Otter, Rev, Teams, Slack and Telegram as copied, Zoom, Discord's text, iMessage",
    "Ann  0:01\nAre we late?\n\nBob  0:03\nNo.",
    read_turn_headings,
)


def _lines(name: str, title: str, example: str) -> Format:
    return Format(name, title, example, partial(read_turn_lines, only=name))


TURN_LINES = (
    _lines(
        "time-and-name",
        "a time, then a name: Signal, IRC, Zendesk, KakaoTalk",
        "[00:01] Ann: Are we late?\n[00:03] Bob - No.",
    ),
    _lines(
        "time-tab-name", "time, name and words between tabs: LINE, Zoom", "10:00\tAnn\tAre we late?\n10:01\tBob\tNo."
    ),
    _lines("name-and-time", "a name, then a time", "Ann (00:01): Are we late?\nBob (00:03): No."),
    _lines("angle-brackets", "IRC", "<Ann> Are we late?\n<Bob> No."),
    _lines("brackets", "a name in square brackets", "[Ann] Are we late?\n[Bob] No."),
    _lines("parentheses", "whisper.cpp's labels", "(speaker 0) Are we late?\n(speaker 1) No."),
    _lines(
        "colon",
        "a name and a colon, also in bold, after `>>` or with the colon of Chinese: minutes, interviews, scripts",
        "Ann: Are we late?\n**Bob:** No.",
    ),
)


def _json(name: str, title: str, example: str) -> Format:
    return Format(name, title, example, partial(read_json_chat, program=name), is_json=True)


JSON = (
    _json(
        "slack",
        "an export of Slack",
        '[{"user": "U1", "user_profile": {"real_name": "Ann"}, "text": "Are we late?", "ts": "1.0"}, '
        '{"user": "U2", "user_profile": {"real_name": "Bob"}, "text": "No.", "ts": "2.0"}]',
    ),
    _json(
        "discord",
        "DiscordChatExporter",
        '{"messages": [{"type": "Default", "timestamp": "2024-01-01T10:00:00Z", "content": "Are we late?", '
        '"author": {"name": "Ann"}}, {"type": "Reply", "timestamp": "2024-01-01T10:01:00Z", "content": "No.", '
        '"author": {"name": "Bob"}}]}',
    ),
    _json(
        "telegram",
        "an export of Telegram: one chat, or all of them",
        '{"messages": [{"from": "Ann", "from_id": "user1", "text": "Are we late?"}, '
        '{"from": "Bob", "from_id": "user2", "text": "No."}]}',
    ),
    _json(
        "messenger",
        "Messenger and Instagram",
        '{"messages": [{"sender_name": "Bob", "timestamp_ms": 2, "content": "No."}, '
        '{"sender_name": "Ann", "timestamp_ms": 1, "content": "Are we late?"}]}',
    ),
    _json(
        "teams",
        "chats of Microsoft Graph",
        '{"value": [{"createdDateTime": "2024-01-01T10:00:00Z", "from": {"user": {"displayName": "Ann"}}, '
        '"body": {"contentType": "html", "content": "<p>Are we late?</p>"}}, {"createdDateTime": '
        '"2024-01-01T10:01:00Z", '
        '"from": {"user": {"displayName": "Bob"}}, "body": {"contentType": "text", "content": "No."}}]}',
    ),
    _json(
        "google-chat",
        "Google Chat from Takeout",
        '{"messages": [{"creator": {"name": "Ann"}, "created_date": "Monday", "text": "Are we late?"}, '
        '{"creator": {"name": "Bob"}, "created_date": "Monday", "text": "No."}]}',
    ),
    _json(
        "chatgpt",
        "an export of ChatGPT: the branch that it shows",
        '{"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": ["Are we late?"]}}}, '
        '"b": {"parent": "a", "message": {"author": {"role": "assistant"}, "content": {"parts": ["No."]}}}}, '
        '"current_node": "b"}',
    ),
    _json(
        "claude",
        "an export of Claude",
        '{"chat_messages": [{"uuid": "1", "sender": "human", "text": "Are we late?"}, '
        '{"uuid": "2", "sender": "assistant", "text": "No."}]}',
    ),
    _json(
        "whisper-json",
        "segments of Whisper and WhisperX",
        '{"segments": [{"start": 0, "end": 1, "text": "Are we late?", "speaker": "Ann"}, '
        '{"start": 1, "end": 2, "text": "No.", "speaker": "Bob"}]}',
    ),
    _json(
        "json-chat",
        "other messages: AssemblyAI, AWS, Azure, Deepgram, Fireflies, Intercom, Rev.ai, Signal, Zendesk",
        '{"utterances": [{"speaker": "Ann", "text": "Are we late?"}, {"speaker": "Bob", "text": "No."}]}',
    ),
)
FORMATS = (*STRUCTURED, HEADINGS, *TURN_LINES, *JSON)
FORMAT_NAMES = (*(form.name for form in FORMATS), "tagged", "plain")
"""Values of `--format`."""
