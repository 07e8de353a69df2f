# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Which column of the log is the time, the value, the event; and which is the title."""

import dataclasses

import numpy as np

from pipeline.init import names, times
from pipeline.init.profile import Profile, determines
from pipeline.init.questions import NONE, Asker, Guess
from pipeline.init.roles import Options, Roles, check_column
from pipeline.init.tables import Table
from serving.errors import UserError

EVENT_WEIGHTS = {
    "view": 1, "viewed": 1, "pv": 1, "pageview": 1, "click": 1, "clicked": 1,
    "detail": 1, "open": 1, "visit": 1, "play": 1, "listen": 1, "watch": 1, "read": 1,
    "favorite": 2, "favourite": 2, "fav": 2, "like": 2, "wishlist": 2, "bookmark": 2,
    "save": 2, "share": 2, "follow": 2, "comment": 2, "download": 2,
    "cart": 3, "add": 3, "addtocart": 3, "basket": 3, "checkout": 3, "booking": 5,
    "buy": 5, "bought": 5, "purchase": 5, "purchased": 5, "order": 5, "transaction": 5,
    "sale": 5, "conversion": 5, "converted": 5,
}  # fmt: skip
"""Weights to begin with, by a word of the event's name."""
_AGAINST = frozenset(
    "remove removed removefromcart delete dislike disliked skip skipped refund "
    "return returned cancel cancelled hide hidden unlike block impression shown".split()
)
_BOUND = 0.95
"""Agreement of an id's rows from which a column belongs to that id."""
_MOST_EVENTS = 30


@dataclasses.dataclass(frozen=True)
class Value:
    """The column with a rating, a count or a label."""

    column: str
    kind: str
    """rating, count or label."""
    reason: str
    min_value: float | None = None
    """Where interactions start, if some rows clearly are none."""


@dataclasses.dataclass(frozen=True)
class Signals:
    """What the log says beside the ids."""

    timestamp: str | None
    times: times.Times | None
    value: Value | None
    event: str | None
    event_weights: dict[str, float]
    """Of the event's types; those that speak against the candidate are left out."""
    title: str | None
    belonging: dict[str, str]
    """Columns that go with an id alone, and with which: query or candidate."""


def find(roles: Roles, options: Options, asker: Asker) -> Signals:
    """Decides what the log's columns mean.

    Raises:
      UserError: An option is wrong.
    """
    log = roles.log
    belonging = _belonging(roles)
    taken = {roles.query.column, roles.candidate.column}
    timestamp = _choose_time(log, belonging, taken, roles, options, asker)
    taken |= {timestamp or ""}
    free = {
        name: column
        for name, column in log.columns.items()
        if name not in taken and name not in belonging and not column.is_list
    }
    value = _choose_value(log, free, options, asker)
    if value:
        free.pop(value.column, None)
    event = _choose_event(log, free, options, asker)
    weights = _weights(log.columns[event]) if event else {}
    if event and not weights:
        raise UserError(
            f"the column {event} has no types of events; give another --event"
        )
    return Signals(
        timestamp,
        log.instants.get(timestamp) if timestamp else None,
        value,
        event,
        weights,
        _choose_title(roles, belonging, options, asker),
        belonging,
    )


def _belonging(roles: Roles) -> dict[str, str]:
    """Finds the columns that one of the ids determines."""
    log = roles.log
    query, candidate = (
        log.columns[roles.query.column],
        log.columns[roles.candidate.column],
    )
    # One row a pair: that someone comes back with the same device says nothing.
    pairs = query.codes * (candidate.distinct + 1) + candidate.codes
    rows = np.sort(np.unique(pairs, return_index=True)[1])
    found = {}
    for name, column in log.columns.items():
        if name in (query.name, candidate.name) or column.distinct < 2:
            continue
        sides = {
            "candidate": determines(candidate, column, rows),
            "query": determines(query, column, rows),
        }
        best = max(sides, key=lambda side: sides[side])
        if sides[best] >= _BOUND:
            found[name] = best
    return found


def _choose_time(
    log: Table,
    belonging: dict[str, str],
    taken: set[str],
    roles: Roles,
    options: Options,
    asker: Asker,
) -> str | None:
    if options.timestamp == NONE:
        return None
    check_column(log, options.timestamp)
    if options.timestamp:
        if options.timestamp not in log.instants:
            raise UserError(
                f"{options.timestamp} of {log.path} is no time that is known; give a "
                "number of seconds since 1970 or ISO 8601, or set timestamp_format in "
                "the config yourself"
            )
        return options.timestamp
    # A session may have one time for all its rows; of a user it is, say, a birthday.
    is_session = names.hints(roles.query.column, names.SESSION)
    whole = [
        name
        for name in log.instants
        if name not in taken
        and belonging.get(name) != "candidate"
        and (belonging.get(name) != "query" or is_session)
        and not log.columns[name].missing
    ]
    ranked = sorted(
        whole,
        key=lambda n: (not names.hints(n, names.TIME), -log.columns[n].distinct),
    )
    reason = log.instants[ranked[0]].reason if ranked else ""
    guess = Guess(ranked[0] if ranked else None, reason, tuple(ranked))
    return asker.choose("Which column is the time?", "--timestamp", guess, True)


def _choose_value(
    log: Table, free: dict[str, Profile], options: Options, asker: Asker
) -> Value | None:
    if options.value == NONE:
        return None
    check_column(log, options.value)
    if options.value:
        column = log.columns[options.value]
        if column.numbers is None:
            raise UserError(
                f"{options.value} of {log.path} holds other things than numbers; give "
                "another --value"
            )
        return _read_value(column) or _as_rating(column)
    found = {name: value for name, c in free.items() if (value := _read_value(c))}
    ranked = sorted(found, key=lambda name: -_value_rank(found[name]))
    unsure = len(ranked) > 1 and not _value_rank(found[ranked[0]])
    best = None if unsure or not ranked else ranked[0]
    reason = found[best].reason if best else ""
    # Any number may be asked for.
    choices = [*ranked, *(n for n, c in free.items() if c.numbers is not None)]
    guess = Guess(best, reason, tuple(dict.fromkeys(choices)))
    chosen = asker.choose(
        "Which column is a rating or a count?", "--value", guess, True
    )
    if chosen is None:
        return None
    return found.get(chosen) or _as_rating(log.columns[chosen])


def _value_rank(value: Value) -> int:
    """Returns how surely a name says that it is a value."""
    by_name = {"label": names.LABEL, "rating": names.RATING, "count": names.COUNT}
    return (
        1 + (value.kind == "rating")
        if names.hints(value.column, by_name[value.kind])
        else 0
    )


def _read_value(column: Profile) -> Value | None:
    """Tells what kind of value a column holds, if any."""
    known = column.known_numbers
    if column.numbers is None or column.distinct < 2 or names.is_id_name(column.name):
        return None
    if column.is_flag:
        if not names.hints(column.name, names.LABEL):
            return None
        share = column.counts[column.numbers == 1].sum() / column.present
        reason = f"1 in {share:.1%} of rows, 0 in the others, which are no interactions"
        return Value(column.name, "label", reason, 1)
    if names.hints(column.name, names.RATING) and column.distinct <= 201:
        return _as_rating(column)
    if names.hints(column.name, names.COUNT) and column.is_whole:
        return _as_count(column)
    halves = bool((known * 2 == np.floor(known * 2)).all())
    by_form = 3 <= column.distinct <= 21 and halves and np.abs(known).max() <= 10
    others = names.CONTEXT | names.OUTCOME | names.TIME
    return (
        _as_rating(column) if by_form and not names.hints(column.name, others) else None
    )


def _as_rating(column: Profile) -> Value:
    least, most = column.known_numbers.min(), column.known_numbers.max()
    reason = f"{column.distinct:,} values from {least:g} to {most:g}, a rating"
    return Value(column.name, "rating", reason)


def _as_count(column: Profile) -> Value:
    most, middle = column.known_numbers.max(), column.quantile(0.5)
    assert column.numbers is not None
    below = int(column.counts[column.numbers < 1].sum())
    reason = f"a count, half of them up to {middle:g}, the largest {most:g}"
    if not below:
        return Value(column.name, "count", reason)
    reason += f"; {below:,} below 1, such as returns"
    return Value(column.name, "count", reason, 1)


def _choose_event(
    log: Table, free: dict[str, Profile], options: Options, asker: Asker
) -> str | None:
    if options.event == NONE:
        return None
    check_column(log, options.event)
    if options.event:
        return options.event
    ranked = [name for name, column in free.items() if _is_event(column)]
    ranked.sort(key=lambda name: -_known_events(free[name]))
    few = [
        name
        for name, column in free.items()
        if column.numbers is None and 2 <= column.distinct <= _MOST_EVENTS
    ]
    best = ranked[0] if ranked else None
    reason = f"{free[best].distinct} types of events" if best else ""
    guess = Guess(best, reason, tuple(dict.fromkeys([*ranked, *few])))
    if not guess.choices:
        return None
    return asker.choose("Which column is the type of event?", "--event", guess, True)


def _is_event(column: Profile) -> bool:
    """Tells whether a column's few values are names of what users do."""
    if column.numbers is not None or not 2 <= column.distinct <= _MOST_EVENTS:
        return False
    known = _known_events(column)
    return known > 0.5 or (known > 0 and names.hints(column.name, names.EVENT))


def _known_events(column: Profile) -> float:
    """Returns which share of the values are names of events."""
    known = [_event_weight(value) is not None for value in column.values]
    return sum(known) / max(1, len(known))


def _event_weight(value: str) -> float | None:
    """Returns the weight of a type; 0 where it speaks against, None if unknown."""
    words = names.tokens(value)
    joined = "".join(words)
    if joined in _AGAINST or _AGAINST & set(words):
        return 0
    found = [EVENT_WEIGHTS[word] for word in [joined, *words] if word in EVENT_WEIGHTS]
    return max(found) if found else None


def _weights(column: Profile) -> dict[str, float]:
    """Proposes a weight for each type of event, the frequent ones first."""
    weights = {}
    for value in column.most_frequent(_MOST_EVENTS):
        weight = _event_weight(value)
        if weight != 0:
            weights[value] = weight or 1
    return weights


def _choose_title(
    roles: Roles, belonging: dict[str, str], options: Options, asker: Asker
) -> str | None:
    """Returns the column of the catalogue, or of the log, to show."""
    table, key = roles.candidate.table, roles.candidate.key
    if options.title == NONE:
        return None
    if table is None:
        table, key = roles.log, roles.candidate.column
        columns = [table.columns[n] for n, side in belonging.items() if side != "query"]
    else:
        columns = [column for name, column in table.columns.items() if name != key]
    check_column(table, options.title)
    if options.title:
        return options.title
    per_candidate = table.columns[key].distinct
    ranked = sorted(
        (c for c in columns if _may_be_title(c, table, per_candidate)),
        key=_title_place,
    )
    best = ranked[0] if ranked else None
    reason = f"{best.distinct:,} texts, such as {best.values[0]!r}" if best else ""
    guess = Guess(best.name if best else None, reason, tuple(c.name for c in ranked))
    if not ranked:
        return None
    return asker.choose("Which column is the title to show?", "--title", guess, True)


def _may_be_title(column: Profile, table: Table, candidates: int) -> bool:
    """Tells whether a column has texts that tell candidates apart."""
    return (
        not column.is_list
        and column.numbers is None
        and column.name not in table.instants
        and column.distinct > 0.5 * candidates
        and 2 <= column.length <= 200
        and not any("://" in value for value in column.values[:20])
        and (names.hints(column.name, names.TITLE) or _reads_as_title(column))
        and column.present > 0.5 * column.rows
    )


def _reads_as_title(column: Profile) -> bool:
    """Tells whether most values are some words, the first with a capital letter."""
    capitals = [not value[0].islower() for value in column.spread_values]
    return column.words >= 1.3 and sum(capitals) > 0.5 * len(capitals)


def _title_place(column: Profile) -> tuple[int, float]:
    """Ranks titles: by name, then the shorter ones."""
    words = names.tokens(column.name)
    places = [at for at, word in enumerate(names.TITLE) if word in words]
    return (min(places, default=len(names.TITLE)), column.length)
