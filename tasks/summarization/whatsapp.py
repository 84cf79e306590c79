"""A chat that a phone exported from WhatsApp -> who says what, without the words of the app.

    [12.03.24, 18:05:40] Lena: See you at eight.     from an iPhone
    12/03/2024, 18:05 - Lena: See you at eight.      from an Android phone

The app adds messages of its own (encryption, joins, missed calls) and placeholders for media. Android writes the former
without a sender. An iPhone writes both under the name of a person or of the group, and U+200E before them.
"""

import re
from dataclasses import dataclass

from tasks.summarization.chat_exports import Turn

_CLASS = "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
MARKS = re.compile(f"[{_CLASS}]+")
"""Characters that nobody sees: directions of writing, isolates, byte order marks."""
APP = "\u200e"
"""Where a line of a message begins with it, the app wrote the line."""
_DATE = rf"[{_CLASS}]*".join([r"\d{1,4}", "[./-]", r"\s?", r"\d{1,2}", "[./-]", r"\s?", r"\d{1,4}", r"\.?"])
_TIME = r"\d{1,2}[:.]\d{2}(?:[:.]\d{2})?"
_HALF = r"(?:[^\W\d_][^\d\[\]:-]{0,12}?)?"
"""AM or PM as any language has it, before or after the time."""
_HEAD = re.compile(
    rf"[\s{_CLASS}]*(?:\[{_DATE}[,،]?\s*{_HALF}\s*{_TIME}\s*{_HALF}\]\s*|{_DATE}[,،]?\s+{_HALF}\s*{_TIME}\s*{_HALF}(?:\s[-–]\s+|,\s+))"
)
_SENDER = re.compile(r"(?P<name>[^:\n]{1,100}?)\s?:(?:\s+(?P<text>.*)|\s*$)")
_QUOTES = (('"', '"'), ("“", "”"), ("„", "“"), ("«", "»"))


@dataclass(frozen=True)
class _Language:
    """What the app writes, as patterns."""

    omitted: str
    """Instead of media, from an iPhone."""
    media: str
    """The same from an Android phone, between < and >."""
    attached: str
    """After the name of a file, in brackets."""
    tag: str
    """Before the name of a file, between < and >."""
    edited: str
    """After words that were changed, between < and >."""
    notices: str
    """Messages of the app that may stand under a person's name."""


_LANGUAGES = (
    _Language(  # English
        "(image|video|video note|audio|GIF|sticker|document|contact card) omitted", "(media|video message|video note) omitted",
        "file attached", "attached", "This message was edited",
        r"Messages (and calls|to this (chat|group))\b.{0,60}end-to-end encrypt.*|(This message was deleted( by .*)?|You deleted this message)|Missed (group )?(voice |video )?call( at .{1,12})?",
    ),
    _Language(  # German
        "(Bild|Video|Videonachricht|Audio|GIF|Sticker|Dokument|Kontaktkarte) (weg|aus)gelassen", "(Medien|Videonachricht|Videonotiz) (ausgeschlossen|ausgelassen|weggelassen|fehlen)",
        "Datei angehängt", "Anhang", "Diese Nachricht wurde bearbeitet",
        r"Nachrichten (und Anrufe|in diesem Chat|in dieser Gruppe|an diese)\b.{0,60}Ende-zu-Ende-verschlüssel.*|Diese Nachricht wurde( von .*)? gelöscht|Du hast diese Nachricht gelöscht|Verpasster (Sprach|Video|Gruppen)?anruf( um .{1,12})?",
    ),
    _Language(  # Spanish
        "(imagen|v[ií]deo|nota de v[ií]deo|audio|GIF|sticker|documento|tarjeta de contacto) omitid[oa]", "((archivo )?multimedia|archivos?|medios|nota de v[ií]deo) omitid[oa]s?",
        "archivo adjunto", "adjunto", r"(Se editó este mensaje|Mensaje editado)\.?",
        r"Los mensajes (y las llamadas|de este (chat|grupo)|en este (chat|grupo))\b.{0,60}de extremo a extremo.*|Se eliminó este mensaje|Este mensaje fue eliminado|Eliminaste este mensaje|(Vídeo|Video)?llamada( de voz| grupal)? perdida( a las .{1,12})?",
    ),
    _Language(  # French
        "(image|vidéo|note vidéo|audio|GIF|sticker|document|fiche contact) (absente?|omise?|retirée?|manquante?)", "(médias?|fichiers?|note vidéo) (omise?s?|absente?s?|manquante?s?)",
        "fichier joint", "pièce jointe", "Ce message a été modifié",
        r"Les messages (et les appels|de cette discussion|dans cette discussion|de ce groupe)\b.{0,60}de bout en bout.*|Ce message a été supprimé|Vous avez supprimé ce message|Appel (vocal |vidéo )?(de groupe )?manqué( à .{1,12})?",
    ),
    _Language(  # Italian
        "(immagine|video|videomessaggio|audio|GIF|sticker|documento|scheda contatto) (omess[oa]|esclus[oa]|non inclus[oa])", "(media|file( multimediali?)?|videomessaggio) (omess[ieao]|mancanti?|eliminat[io])",
        "file allegato", "allegato", "Questo messaggio è stato modificato",
        r"I messaggi (e le chiamate|in questa chat|di questa chat|in questo gruppo)\b.{0,60}end-to-end.*|Questo messaggio è stato eliminato|Hai eliminato questo messaggio|(Chiamata( vocale)?|Videochiamata)( di gruppo)? persa( alle .{1,12})?",
    ),
    _Language(  # Portuguese, of Brazil and Portugal
        "(imagem|vídeo|recado de vídeo|(ficheiro de )?áudio|GIF|figurinha|sticker|documento|cartão do contato|contacto) (ocultad[oa]|ocult[oa]|omitid[oa]|não revelad[oa])", "(mídia|arquivo de mídia|ficheiro( multimédia)?|recado de vídeo) (ocult[oa]|omitid[oa]|não revelad[oa])",
        "(arquivo|ficheiro) anexado", "anex(ado|o)", "(Mensagem editada|Esta mensagem foi editada)",
        r"As mensagens (e (as )?(chamadas|ligações)|desta conversa|deste grupo|neste chat)\b.{0,60}(de )?ponta a ponta.*|As mensagens e (as )?chamadas\b.{0,60}ponto a ponto.*|(Esta )?[Mm]ensagem (foi )?apagada|(Você apagou|Apagou|Apagaste) esta mensagem|((Chamada|Ligação)( de voz| de vídeo)?|Videochamada)( em grupo)? perdida( às .{1,12})?",
    ),
    _Language(  # Dutch
        "(afbeelding|video|videobericht|audio|GIF|sticker|document|visitekaartje|contactkaart) weggelaten", "(media|bijlage|videobericht) weggelaten",
        "bestand bijgevoegd", "bijgevoegd", "Dit bericht is bewerkt",
        r"Berichten (en oproepen|in deze (chat|groep)|naar deze (chat|groep))\b.{0,60}end-to-end.*|Dit bericht is verwijderd|(Je|U) (hebt|heeft) dit bericht verwijderd|Gemiste (spraak|video-?|groeps?)?oproep( om .{1,12})?",
    ),
)  # fmt: skip


def _any(field: str) -> str:
    return "|".join(f"(?:{getattr(language, field)})" for language in _LANGUAGES)


_MEDIA = re.compile(
    rf"(?:.{{1,200}}\.\w{{2,5}}\b.{{0,30}}\s)?(?:{_any('omitted')})|<\s?(?:{_any('media')}|{_any('omitted')})\s?>"
    rf"|<(?:{_any('tag')})\s?:\s.{{1,200}}>|.{{1,200}}\((?:{_any('attached')})\)|[^:]{{3,30}}:\s?https://maps\.google\.\S+",
    re.IGNORECASE,
)
_NOTICE = re.compile(rf"(?:{_any('notices')})\.?", re.IGNORECASE)
_EDITED = re.compile(rf"\s*<(?:{_any('edited')})>$", re.IGNORECASE)


@dataclass(frozen=True)
class Chat:
    """What people say in a chat."""

    turns: list[Turn]
    system: int
    """Messages of the app that were left out."""
    media: int
    """Placeholders of media that were left out."""


def read_whatsapp(text: str) -> Chat | None:
    """The chat; None if fewer than two of the messages, or than half of them, have date, time and sender."""
    before: list[str] = []
    found: list[list[str]] = []
    for line in filter(str.strip, text.split("\n")):
        if head := _HEAD.match(line):
            found.append([line[head.end() :]])
        else:
            (found[-1] if found else before).append(line)
    senders = [_sender(lines[0]) for lines in found]
    if sum(sender is not None for sender in senders) < max(2, len(found) / 2):
        return None
    turns: list[Turn] = [(None, " ".join(before))] if before else []
    system = media = 0
    for sender, (_, *rest) in zip(senders, found, strict=True):
        if sender is None:  # lines that follow belong to it, such as a description of the group
            system += 1
            continue
        name, first = sender
        words, left_out = _words([first, *rest])
        system, media = system + left_out.count("system"), media + left_out.count("media")
        turns.append((name, words))
    return Chat(turns, system, media)


def _sender(line: str) -> tuple[str, str] | None:
    """Sender and text of a message's first line; None for the app's own, which may quote a name with a colon in it."""
    match = _SENDER.match(line)
    if match is None:
        return None
    name = MARKS.sub("", match["name"]).strip().removeprefix("~").strip()  # ~: somebody who is no contact
    whole = all(name.count(opening) == name.count(closing) for opening, closing in _QUOTES if opening != closing)
    return (name, match["text"] or "") if name and whole and name.count('"') % 2 == 0 else None


def _words(lines: list[str]) -> tuple[str, list[str]]:
    """What a person says in the lines of a message, and of what kind each part is that was left out."""
    kept: list[str] = []
    left_out: list[str] = []
    for number, line in enumerate(line.strip() for line in lines):
        bare = MARKS.sub("", line).strip()
        if number == 0 and _NOTICE.fullmatch(bare):
            return "", ["system"]
        said, mark, rest = line.rpartition(APP)
        if line.startswith(APP) and not bare.startswith("@"):
            left_out.append("media" if _MEDIA.fullmatch(bare) else "system")
        elif mark and _MEDIA.fullmatch(MARKS.sub("", rest).strip()):
            kept.append(said)  # its caption
            left_out.append("media")
        elif number == 0 and _MEDIA.fullmatch(bare):
            left_out.append("media")
        else:
            kept.append(bare)
    return _EDITED.sub("", MARKS.sub("", " ".join(kept)).strip()), left_out
