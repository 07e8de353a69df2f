# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Which file is the log, the catalogue, the table of users; which columns are ids."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from pipeline.init import names
from pipeline.init.profile import Profile, determines
from pipeline.init.questions import Asker, Guess, Undecided
from pipeline.init.tables import Join, Table, find_join
from serving.errors import UserError

_DETERMINED = 0.98


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command says already."""

    files: tuple[str, ...] = ()
    interactions: str | None = None
    candidates: str | None = None
    queries: str | None = None
    query_id: str | None = None
    candidate_id: str | None = None
    timestamp: str | None = None
    value: str | None = None
    event: str | None = None
    title: str | None = None

    def renamed(self, new: Mapping[str, str]) -> "Options":
        """Returns the options with the names that columns have in the config."""
        named = {key: getattr(self, key) for key in _COLUMN_OPTIONS}
        return dataclasses.replace(
            self, **{key: new.get(name, name) for key, name in named.items()}
        )


_COLUMN_OPTIONS = ("query_id", "candidate_id", "timestamp", "value", "event", "title")


@dataclasses.dataclass(frozen=True)
class Id:
    """An id of the log and, if it has one, its table."""

    column: str
    reason: str
    table: Table | None = None
    key: str = ""
    """The table's column."""


@dataclasses.dataclass(frozen=True)
class Roles:
    """What each file is, and the ids."""

    log: Table
    query: Id
    candidate: Id


def assign(tables: dict[str, Table], options: Options, asker: Asker) -> Roles:
    """Decides what each file is and which columns are the ids.

    Args:
      tables: By path, in the order of the command.
      options: What is said already.
      asker: Decides what is left open.

    Raises:
      UserError: It can't be told, or an option is wrong.
    """
    _refuse_parts_of_one(list(tables.values()))
    log = tables[_choose_log(tables, options, asker)]
    for column in (options.query_id, options.candidate_id):
        check_column(log, column)
    queries, candidates = _choose_tables(log, tables, options, asker)
    query = _choose_id(log, queries, candidates, options, asker)
    candidate = _choose_candidate(log, candidates, query, options, asker)
    if query.column == candidate.column:
        raise UserError(
            f"{query.column} can't be the query and the candidate at once; give "
            "--query-id and --candidate-id two columns"
        )
    return Roles(log, query, candidate)


def check_column(table: Table, name: str | None) -> None:
    """Refuses a column that a table does not have.

    Raises:
      UserError: It names the columns that there are.
    """
    if name is not None and name not in table.columns:
        known = ", ".join(table.columns)
        raise UserError(f"{table.path} has no column {name!r}; it has {known}")


def _refuse_parts_of_one(tables: list[Table]) -> None:
    """Refuses files of the same columns: a pattern that the shell took apart."""
    for at, first in enumerate(tables):
        for second in tables[at + 1 :]:
            if list(first.columns) == list(second.columns) and first.sample.has_names:
                raise UserError(
                    f"{first.path} and {second.path} have the same columns; if they "
                    "are parts of one log, give them as one pattern in quotes, such "
                    "as 'logs/*.csv'"
                )


def _choose_log(tables: dict[str, Table], options: Options, asker: Asker) -> str:
    """Returns the path of the log."""
    if options.interactions:
        return options.interactions
    taken = {options.candidates, options.queries}
    free = [path for path in tables if path not in taken]
    if len(tables) == 1 and free:
        return free[0]
    scores = {path: _log_score(tables[path], tables) for path in free}
    ranked = sorted(free, key=lambda path: -scores[path])
    if not ranked:
        raise UserError("no file is left to be the log; give --interactions FILE")
    problem = None
    if scores[ranked[0]] <= _LOG_NAME:
        problem = "no file has a column whose values are the ids of another file"
    reason = "it repeats the ids of the other files"
    guess = Guess(ranked[0], reason, tuple(free), problem)
    chosen = asker.choose(
        "Which file is the log of interactions?", "--interactions", guess
    )
    assert chosen is not None
    return chosen


_LOG_NAME = 0.1
"""What a name such as ratings.csv counts for."""


def _log_score(table: Table, tables: dict[str, Table]) -> float:
    """Returns how well the other files join a file."""
    joins = [find_join(table, other) for other in tables.values() if other != table]
    named = names.hints(table.sample.files.stem, names.LOG)
    return sum(join.score for join in joins if join) + _LOG_NAME * named


Joined = tuple[Table, Join]


def _choose_tables(
    log: Table, tables: dict[str, Table], options: Options, asker: Asker
) -> tuple[Joined | None, Joined | None]:
    """Returns the table of queries and the catalogue with their joins."""
    chosen: dict[str, Joined] = {}
    declared = {
        "queries": (options.queries, options.query_id),
        "candidates": (options.candidates, options.candidate_id),
    }
    for role, (path, column) in declared.items():
        if path:
            chosen[role] = (tables[path], _must_join(log, tables[path], column))
    used = {log.path, options.queries, options.candidates}
    free = [table for path, table in tables.items() if path not in used]
    joined = {table.path: (table, _must_join(log, table, None)) for table in free}
    sides = {path: _side(*pair, options) for path, pair in joined.items()}
    # The clearest one first; what it is, the others are not.
    for path in sorted(joined, key=lambda path: -abs(sides[path])):
        open_roles = [role for role in declared if role not in chosen]
        if not open_roles:
            raise UserError(
                f"{path} is one file too many: there are a log, a catalogue and a "
                "table of queries already; leave it out"
            )
        role = _role(joined[path], sides[path], open_roles, len(joined), asker)
        chosen[role] = joined[path]
    return chosen.get("queries"), chosen.get("candidates")


def _role(
    joined: Joined, side: float, open_roles: list[str], files: int, asker: Asker
) -> str:
    """Returns whether a table is of queries or of candidates."""
    path = joined[0].path
    guess = "queries" if side > 0 else "candidates"
    if guess not in open_roles:
        return open_roles[0]
    if side:
        return guess
    problem = f"whether {path} is about users or about items can't be told"
    flags = f"--queries {path} or --candidates {path}"
    if not asker.is_interactive:
        raise Undecided(f"{problem}; give {flags}")
    chosen = asker.choose(
        f"What is {path}?",
        flags,
        Guess("candidates", "", tuple(open_roles), problem),
    )
    assert chosen is not None
    return chosen


def _must_join(log: Table, table: Table, column: str | None) -> Join:
    join = find_join(log, table, column)
    if join:
        return join
    wanted = f"the ids in {column}" if column else "the ids that a column repeats"
    raise UserError(
        f"{table.path} does not go with {log.path}: no column of it has a row for "
        f"each of {wanted}; leave it out, or mend the ids"
    )


def _side(table: Table, join: Join, options: Options) -> float:
    """Returns above 0 for a table of queries, below for a catalogue."""
    if options.query_id:
        return 9 if join.column == options.query_id else -9
    if options.candidate_id:
        return -9 if join.column == options.candidate_id else 9
    side = 0.0
    for name in (join.column, join.key, table.sample.files.stem):
        side += names.hints(name, names.USER) + 0.5 * names.hints(name, names.SESSION)
        side -= names.hints(name, names.ITEM)
    if side:
        return side
    columns = table.columns.values()
    if any(names.hints(column.name, _PERSON) for column in columns):
        return 0.2
    # Things are described: by sentences, by lists of tags, by vectors.
    is_described = any(
        column.is_list or (column.words >= 2.5 and column.uniqueness > 0.5)
        for column in columns
        if column.present and column.name not in table.instants
    )
    return -0.2 * (is_described or any(names.hints(c.name, _THING) for c in columns))


_PERSON = ("gender", "sex", "age", "birthday", "birth", "occupation", "email")
_THING = ("title", "headline", "genre", "brand", "price", "description")


def _choose_id(
    log: Table,
    queries: Joined | None,
    candidates: Joined | None,
    options: Options,
    asker: Asker,
) -> Id:
    """Returns the log's column that says who."""
    taken = {options.candidate_id, candidates and candidates[1].column}
    choices = [c for c in log.id_columns if c.name not in taken]
    if queries:
        return _joined_id(log, queries, options.query_id)
    if options.query_id:
        return Id(options.query_id, _counts(log, options.query_id))
    guess = _guess_id(
        log, choices, lambda column: _query_score(log, column), "says who"
    )
    gaps = [
        f"{name} has no value in {column.missing:,} rows"
        for name, column in log.columns.items()
        if column.missing and names.hints(name, names.USER)
    ]
    guess = dataclasses.replace(guess, reason="; ".join([guess.reason, *gaps]))
    chosen = asker.choose(
        "Which column says who (user or session)?", "--query-id", guess
    )
    assert chosen is not None
    return Id(chosen, guess.reason if chosen == guess.value else _counts(log, chosen))


def _choose_candidate(
    log: Table, candidates: Joined | None, query: Id, options: Options, asker: Asker
) -> Id:
    """Returns the log's column that says what."""
    if candidates:
        return _joined_id(log, candidates, options.candidate_id)
    if options.candidate_id:
        return Id(options.candidate_id, _counts(log, options.candidate_id))
    # What goes with the query alone, such as a session's user, is not chosen by it.
    choices = [
        column
        for column in log.id_columns
        if column.name != query.column
        and determines(log.columns[query.column], column) < _DETERMINED
    ]
    guess = _guess_id(
        log, choices, lambda column: _candidate_score(log, column), "says what"
    )
    chosen = asker.choose("Which column says what (item)?", "--candidate-id", guess)
    assert chosen is not None
    return Id(chosen, guess.reason if chosen == guess.value else _counts(log, chosen))


def _joined_id(log: Table, joined: Joined, given: str | None) -> Id:
    """Returns an id with its table."""
    table, join = joined
    if given and given != join.column:
        join = _must_join(log, table, given)
    column = log.columns[join.column]
    share = f"{join.coverage:.1%}".replace("100.0%", "each")
    of = "" if share == "each" else " of them"
    part = "" if table.sample.share == 1 else ", as far as that was read"
    reason = f"{_counts(log, column.name)}, {share}{of} in {_base(table.path)}{part}"
    return Id(join.column, reason, table, join.key)


def _base(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _counts(log: Table, name: str) -> str:
    column = log.columns[name]
    return f"{column.distinct:,} values in {column.rows:,} rows"


def _shape(column: Profile) -> float:
    """Returns how much a column looks like one of ids, 0 to 1: by its many values."""
    return math.log(column.distinct) / math.log(max(2, column.rows))


def _query_score(log: Table, column: Profile) -> float:
    name = column.name
    score = 3.0 if names.hints(name, names.USER) else 0.0
    if not score:
        score = 2.0 * names.hints(name, names.SESSION)
        score -= 2.0 * names.hints(name, names.ITEM)
    return score + _form_score(column) + _in_time(log, column)


def _candidate_score(log: Table, column: Profile) -> float:
    name = column.name
    score = 3.0 * names.hints(name, names.ITEM)
    score -= 2.0 * names.hints(name, names.USER | names.SESSION)
    return score + _form_score(column) - _in_time(log, column)


def _in_time(log: Table, column: Profile) -> float:
    """Returns above 0 where the rows of a value are close in time, as of a user."""
    return max(0.0, 1 - 2 * log.clustering(column))


def _form_score(column: Profile) -> float:
    """Returns what speaks for an id, of whatever side."""
    others = names.RATING | names.COUNT | names.CONTEXT | names.EVENT | names.TIME
    is_id = names.is_id_name(column.name)
    score = is_id - 1.0 * (not is_id and names.hints(column.name, others))
    return score + _shape(column) - 2.0 * (column.uniqueness > 0.9)


_SURE = 0.3
"""Least lead of a column over the next one."""
_CLEAR = 0.4
"""The same where no name says anything."""
_WORTH = 1.4
"""Score of a column with a name that says it, or that ends in id, and some values."""


def _guess_id(
    log: Table,
    choices: Sequence[Profile],
    score: Callable[[Profile], float],
    says: str,
) -> Guess:
    """Ranks the columns that may be an id."""
    ranked = sorted(choices, key=lambda column: -score(column))
    if not ranked:
        raise UserError(
            f"{log.path} has no column that {says}: a value in every row, and some of "
            "them in many; add one to the file"
        )
    ranked = _without_coarser(ranked, [score(column) for column in ranked])
    listed = tuple(column.name for column in ranked)
    best = ranked[0]
    lead = score(best) - score(ranked[1]) if ranked[1:] else math.inf
    problem = None
    if lead < (_SURE if score(best) >= _WORTH else _CLEAR):
        problem = (
            f"{best.name} and {ranked[1].name} of {log.path} may both be what {says}"
        )
    reason = _counts(log, best.name)
    others = [column.name for column in ranked[1:] if score(column) >= _WORTH]
    if others:
        reason += f"; it might be {others[0]} too"
    return Guess(best.name, reason, listed, problem)


def _without_coarser(ranked: list[Profile], scores: list[float]) -> list[Profile]:
    """Leaves out what another good one determines, such as a track its artist."""
    good = [c for c, score in zip(ranked, scores, strict=True) if score > scores[0] - 1]
    coarser = {
        second.name
        for first in good
        for second in good
        if first is not second
        # A session has one user, who is the better query nevertheless.
        and names.hints(first.name, names.USER) >= names.hints(second.name, names.USER)
        and determines(first, second) > _DETERMINED > determines(second, first)
    }
    return [column for column in ranked if column.name not in coarser]
