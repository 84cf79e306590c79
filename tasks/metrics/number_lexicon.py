"""Number words that num2words does not have, by language, and how to ask it for other forms of a number."""

import re

CASES: dict[str, list[dict[str, str]]] = {
    "ru": [{"case": case, "gender": gender} for case in "ngdaip" for gender in "mfn"],
    "fi": [{"case": case} for case in ("genitive", "partitive", "inessive", "elative", "illative", "adessive",
                                       "ablative", "allative", "essive", "translative")],
}  # fmt: skip
"""How num2words makes the other forms of a number, where it can."""
MULTIPLIERS: dict[str, dict[str, int]] = {
    "en": {"hundred": 100, "k": 10**3, "grand": 10**3},
    "de": {"mio": 10**6},
    "it": {"mila": 10**3},
    "ru": {"тыс": 10**3},
}
CONJUNCTIONS = frozenset(("and", "und", "y", "e", "et", "en", "og", "och", "ja", "si", "de"))
"""Conjunctions within numbers."""
ENDINGS: dict[str, re.Pattern[str]] = {
    "tr": re.compile("(?:[td][ae]n?|y?[aeiu]|[sn]?inda|[ln][ae]r)$"),
    "de": re.compile("(?<=te)[mnrs]$"),
    "hu": re.compile("(?:kor|ra|re|tol|ig|ban|ben|an|en)$"),
}
"""Endings of folded number words that num2words does not make."""
OTHER_WORDS: dict[str, dict[str, float]] = {
    "en": {"dozen": 12, "couple": 2, "both": 2, "twice": 2, "double": 2, "pair": 2, "once": 1, "single": 1,
           "half": 0.5, "quarter": 0.25, "thrice": 3, "triple": 3},
    "de": {"ein": 1, "eine": 1, "einen": 1, "einem": 1, "einer": 1, "beide": 2, "beiden": 2, "dutzend": 12, "zwo": 2,
           "zweimal": 2, "dreimal": 3, "doppelt": 2, "halb": 0.5, "halbe": 0.5, "halben": 0.5, "anderthalb": 1.5,
           "viertel": 0.25, "dreiviertel": 0.75},
    "ru": {"оба": 2, "обе": 2, "двое": 2, "двоих": 2, "трое": 3, "троих": 3, "четверо": 4, "пара": 2, "пару": 2,
           "дважды": 2, "полтора": 1.5, "полторы": 1.5, "половина": 0.5, "половину": 0.5, "половине": 0.5,
           "половины": 0.5, "пол": 0.5, "четверть": 0.25, "четверти": 0.25, "раз": 1},
    "uk": {"дві": 2, "одна": 1, "обидва": 2, "обидві": 2},
    "fi": {"molemmat": 2, "puoli": 0.5, "puolet": 0.5, "tusina": 12},
    "tr": {"çift": 2, "yarım": 0.5, "yarısı": 0.5, "düzine": 12, "buçuk": 0.5, "çeyrek": 0.25},
    "fr": {"une": 1, "deux": 2, "douzaine": 12, "demi": 0.5, "demie": 0.5, "moitié": 0.5},
    "es": {"una": 1, "un": 1, "docena": 12, "media": 0.5, "medio": 0.5, "mitad": 0.5},
}  # fmt: skip
"""Other words that say a number."""
