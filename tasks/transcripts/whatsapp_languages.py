"""Texts that WhatsApp writes into exported chats, in seven languages."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """Texts of the app in one language, as patterns."""

    omitted: str
    """In place of media, on an iPhone."""
    media: str
    """In place of media on Android, between < and >."""
    attached: str
    """After a file name, in brackets."""
    tag: str
    """Before a file name, between < and >."""
    edited: str
    """After an edited message, between < and >."""
    notices: str
    """System messages that may have a person's name as sender."""


LANGUAGES = (
    Language(  # English
        omitted="(image|video|video note|audio|GIF|sticker|document|contact card) omitted",
        media="(media|video message|video note) omitted",
        attached="file attached",
        tag="attached",
        edited="This message was edited",
        notices=(
            r"Messages (and calls|to this (chat|group))\b.{0,60}end-to-end encrypt.*|"
            "(This message was deleted( by .*)?|You deleted this message)|Missed (group )?(voice |"
            "video )?call( at .{1,12})?"
        ),
    ),
    Language(  # German
        omitted="(Bild|Video|Videonachricht|Audio|GIF|Sticker|Dokument|Kontaktkarte) (weg|aus)gelassen",
        media="(Medien|Videonachricht|Videonotiz) (ausgeschlossen|ausgelassen|weggelassen|fehlen)",
        attached="Datei angehängt",
        tag="Anhang",
        edited="Diese Nachricht wurde bearbeitet",
        notices=(
            "Nachrichten (und Anrufe|in diesem Chat|in dieser Gruppe|"
            r"an diese)\b.{0,60}Ende-zu-Ende-verschlüssel.*|Diese Nachricht wurde( von .*)? gelöscht|"
            "Du hast diese Nachricht gelöscht|Verpasster (Sprach|Video|Gruppen)?anruf( um .{1,12})?"
        ),
    ),
    Language(  # Spanish
        omitted="(imagen|v[ií]deo|nota de v[ií]deo|audio|GIF|sticker|documento|tarjeta de contacto) omitid[oa]",
        media="((archivo )?multimedia|archivos?|medios|nota de v[ií]deo) omitid[oa]s?",
        attached="archivo adjunto",
        tag="adjunto",
        edited=r"(Se editó este mensaje|Mensaje editado)\.?",
        notices=(
            "Los mensajes (y las llamadas|de este (chat|grupo)|en este (chat|"
            r"grupo))\b.{0,60}de extremo a extremo.*|Se eliminó este mensaje|Este mensaje fue eliminado|"
            "Eliminaste este mensaje|(Vídeo|Video)?llamada( de voz| grupal)? perdida( a las .{1,12})?"
        ),
    ),
    Language(  # French
        omitted=(
            "(image|vidéo|note vidéo|audio|GIF|sticker|document|fiche contact) (absente?|omise?|retirée?|manquante?)"
        ),
        media="(médias?|fichiers?|note vidéo) (omise?s?|absente?s?|manquante?s?)",
        attached="fichier joint",
        tag="pièce jointe",
        edited="Ce message a été modifié",
        notices=(
            "Les messages (et les appels|de cette discussion|dans cette discussion|"
            r"de ce groupe)\b.{0,60}de bout en bout.*|Ce message a été supprimé|Vous avez supprimé ce message|"
            "Appel (vocal |vidéo )?(de groupe )?manqué( à .{1,12})?"
        ),
    ),
    Language(  # Italian
        omitted=(
            "(immagine|video|videomessaggio|audio|GIF|sticker|documento|scheda contatto) (omess[oa]|"
            "esclus[oa]|non inclus[oa])"
        ),
        media="(media|file( multimediali?)?|videomessaggio) (omess[ieao]|mancanti?|eliminat[io])",
        attached="file allegato",
        tag="allegato",
        edited="Questo messaggio è stato modificato",
        notices=(
            r"I messaggi (e le chiamate|in questa chat|di questa chat|in questo gruppo)\b.{0,60}end-to-end.*|"
            "Questo messaggio è stato eliminato|Hai eliminato questo messaggio|(Chiamata( vocale)?|"
            "Videochiamata)( di gruppo)? persa( alle .{1,12})?"
        ),
    ),
    Language(  # Portuguese, of Brazil and Portugal
        omitted=(
            "(imagem|vídeo|recado de vídeo|(ficheiro de )?áudio|GIF|figurinha|sticker|documento|"
            "cartão do contato|contacto) (ocultad[oa]|ocult[oa]|omitid[oa]|não revelad[oa])"
        ),
        media=(
            "(mídia|arquivo de mídia|ficheiro( multimédia)?|recado de vídeo) (ocult[oa]|omitid[oa]|não revelad[oa])"
        ),
        attached="(arquivo|ficheiro) anexado",
        tag="anex(ado|o)",
        edited="(Mensagem editada|Esta mensagem foi editada)",
        notices=(
            "As mensagens (e (as )?(chamadas|ligações)|desta conversa|deste grupo|"
            r"neste chat)\b.{0,60}(de )?ponta a ponta.*|As mensagens e (as )?chamadas\b.{0,60}ponto a ponto.*|"
            "(Esta )?[Mm]ensagem (foi )?apagada|(Você apagou|Apagou|Apagaste) esta mensagem|((Chamada|"
            "Ligação)( de voz| de vídeo)?|Videochamada)( em grupo)? perdida( às .{1,12})?"
        ),
    ),
    Language(  # Dutch
        omitted="(afbeelding|video|videobericht|audio|GIF|sticker|document|visitekaartje|contactkaart) weggelaten",
        media="(media|bijlage|videobericht) weggelaten",
        attached="bestand bijgevoegd",
        tag="bijgevoegd",
        edited="Dit bericht is bewerkt",
        notices=(
            r"Berichten (en oproepen|in deze (chat|groep)|naar deze (chat|groep))\b.{0,60}end-to-end.*|"
            "Dit bericht is verwijderd|(Je|U) (hebt|heeft) dit bericht verwijderd|Gemiste (spraak|video-?|"
            "groeps?)?oproep( om .{1,12})?"
        ),
    ),
)
DELETED = (
    r"This message was deleted( by .*)?|You deleted this message|Diese Nachricht wurde( von .*)? gelöscht|"
    r"Du hast diese Nachricht gelöscht|Se eliminó este mensaje|Este mensaje fue eliminado|Eliminaste este mensaje|"
    r"Ce message a été supprimé|Vous avez supprimé ce message|Questo messaggio è stato eliminato|"
    r"Hai eliminato questo messaggio|(Esta )?[Mm]ensagem (foi )?apagada|(Você apagou|Apagou|Apagaste) esta mensagem|"
    r"Dit bericht is verwijderd|(Je|U) (hebt|heeft) dit bericht verwijderd|Данное сообщение удалено|Сообщение удалено|"
    r"Вы удалили данное сообщение|Bu mesaj silindi|Bu mesajı sildiniz|Ta wiadomość została usunięta|"
    r"Pesan ini dihapus|Anda menghapus pesan ini|यह मैसेज मिटा दिया गया|تم حذف هذه الرسالة|"
    r"このメッセージは削除されました|삭제된 메시지입니다|此消息已删除|此訊息已刪除|Detta meddelande raderades"
)
"""In place of a message that was deleted, in any of these and some further languages."""
