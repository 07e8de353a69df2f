# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""What names of columns and files hint at. Hints come second to what the data show."""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence

from components.columns import WEIGHT_FEATURE
from pipeline.config import FEATURE_NAME, TAKEN_NAMES

USER = frozenset(
    "user customer client member visitor account person people reader viewer listener "
    "player student patient subscriber shopper buyer reviewer rater profile household "
    "cookie uid author consumer passenger guest".split()
)
SESSION = frozenset(
    "session sid visit basket cart order invoice playlist receipt trip ticket".split()
)
ITEM = frozenset(
    "item product movie film song track article book isbn asin sku business restaurant "
    "venue poi hotel game app news recipe anime artist album video clip course job ad "
    "advert offer listing post document doc paper stock good content show series beer "
    "wine joke iid pid candidate destination place repository repo file lecturer "
    "catalogue catalog dish station".split()
)
LOG = frozenset(
    "interaction rating event log click transaction play history view purchase review "
    "visit listen log train inter behavior behaviour activity order feedback".split()
)
TIME = frozenset("time timestamp date datetime ts created when day at unix".split())
RATING = frozenset(
    "rating score star value rate preference grade points point like label".split()
)
COUNT = frozenset(
    "count play playcount listen quantity qty weight freq frequency view times hours "
    "repetition amount plays hit".split()
)
LABEL = frozenset(
    "click clicked label like liked purchased bought converted conversion target "
    "positive interested".split()
)
EVENT = frozenset("event action type behavior behaviour activity interaction".split())
CONTEXT = frozenset(
    "country region city state language lang locale device platform os browser channel "
    "timezone gender sex age occupation segment membership plan tier zip hour weekday "
    "season daypart store".split()
)
OUTCOME = frozenset(
    "rating score star duration price paid revenue total discount dwell review comment "
    "order invoice transaction quantity qty count click watch finished completed tip "
    "feedback cost position rank".split()
)
TITLE = ("title", "name", "headline", "label", "description", "desc", "text")
_ID = frozenset(
    "id key uuid guid uid iid sid pid no nr number code hash sku asin isbn".split()
)


_TYPE = re.compile(r":(token|float)(_seq)?$")
"""How RecBole's atomic files end the names of columns."""


def tokens(name: str) -> list[str]:
    """Returns the words of a name in lower case, plurals as singulars.

    `CustomerID`, `customer_ids` and `user_id:token` are customer id, customer id and
    user id.
    """
    name = name.partition(":")[0]
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+", name)
    found = []
    for part in map(str.lower, parts):
        stem = re.fullmatch(r"(.{3,})ids?", part)
        if stem and part not in _WORDS_IN_ID:
            found += [_singular(stem[1]), "id"]
        else:
            found.append(_singular(part))
    return found


def _singular(word: str) -> str:
    if word == "ids":
        return "id"
    if word in _EVERY or len(word) <= 3 or not word.endswith("s"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1]


_WORDS_IN_ID = frozenset(
    "valid invalid paid prepaid unpaid covid avoid hybrid android liquid fluid solid "
    "rapid uuid guid humid grids bids".split()
)
_EVERY = (
    USER
    | SESSION
    | ITEM
    | EVENT
    | LOG
    | RATING
    | COUNT
    | CONTEXT
    | OUTCOME
    | TIME
    | LABEL
    | _ID
)


def usable(found: Sequence[str]) -> dict[str, str]:
    """Returns other names for the columns that requests or the pipeline can't name."""
    renamed: dict[str, str] = {}
    reserved = {*TAKEN_NAMES, WEIGHT_FEATURE}
    taken = {*found, *reserved}
    for at, name in enumerate(found, 1):
        if FEATURE_NAME.fullmatch(name) and name not in reserved:
            continue
        start = _spoken(name) or f"column_{at}"
        others = (f"{start}_{number}" for number in itertools.count(2))
        renamed[name] = next(
            n for n in itertools.chain([start], others) if n not in taken
        )
        taken.add(renamed[name])
    return renamed


def _spoken(name: str) -> str:
    """Returns a name in letters, digits and "_", a letter first; "" if none is left."""
    letters = unicodedata.normalize("NFKD", _TYPE.sub("", name))
    without_accents = "".join(c for c in letters if not unicodedata.combining(c))
    plain = re.sub("[^A-Za-z0-9]+", "_", without_accents).strip("_")
    return f"column_{plain}" if plain[:1].isdigit() else plain


def hints(name: str, words: Iterable[str]) -> bool:
    """Tells whether a name has one of these words."""
    return not set(tokens(name)).isdisjoint(words)


def is_id_name(name: str) -> bool:
    """Tells whether a name ends as the names of ids do."""
    words = tokens(name)
    return bool(words) and words[-1] in _ID
