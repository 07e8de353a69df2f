# Copyright 2026 The Shortlist Authors
# SPDX-License-Identifier: Apache-2.0
"""Where a guess is not enough: asks on a terminal, or says which option to give."""

import dataclasses
import sys
from collections.abc import Sequence
from typing import TextIO

from serving.errors import UserError


class Undecided(UserError):
    """A choice that the data leave open and the command does not make."""


@dataclasses.dataclass(frozen=True)
class Guess:
    """What the data suggest."""

    value: str | None
    """None: nothing, which is an answer too where the choice is optional."""
    reason: str = ""
    """Why, for a comment."""
    choices: tuple[str, ...] = ()
    """Everything that it could be."""
    problem: str | None = None
    """Why it can't be told without asking, if so."""


NONE = "none"
"""The answer that there is no such column."""


@dataclasses.dataclass(frozen=True)
class Asker:
    """Takes guesses, or asks a person."""

    is_interactive: bool = False
    answers: TextIO = sys.stdin
    prompts: TextIO = sys.stderr

    def choose(
        self, question: str, flag: str, guess: Guess, optional: bool = False
    ) -> str | None:
        """Returns a choice.

        Args:
          question: What to ask, such as "Which column is the user?".
          flag: The option that makes the choice, such as --query-id.
          guess: What the data suggest, which Enter takes.
          optional: Whether there may be none.

        Raises:
          Undecided: The guess has a problem and nobody can be asked.
        """
        if not self.is_interactive:
            if guess.problem:
                raise Undecided(
                    f"{guess.problem}; give {flag}: {_listed(guess.choices)}"
                )
            return guess.value
        choices = [*guess.choices, *([NONE] if optional else [])]
        default = guess.value or (NONE if optional else "")
        if guess.reason and guess.value:
            self._say(f"  {guess.value}: {guess.reason}\n")
        if guess.problem:
            self._say(f"  {guess.problem}\n")
        while True:
            answer = self._ask(question, choices, default)
            if answer in choices:
                return None if optional and answer == NONE else answer
            self._say(f"  {answer or 'nothing'} is none of {_listed(choices)}\n")

    def text(self, question: str, default: str) -> str:
        """Returns any text."""
        return self._ask(question, (), default) if self.is_interactive else default

    def _ask(self, question: str, choices: Sequence[str], default: str) -> str:
        """Asks once; a number is the place of a choice."""
        numbered = ", ".join(f"{at} {name}" for at, name in enumerate(choices, 1))
        listed = f" ({numbered})" if choices else ""
        self._say(f"{question}{listed} [{default}] ")
        line = self.answers.readline()
        if not line:
            raise UserError("the answers ended; answer each question, or give --yes")
        answer = line.strip() or default
        if answer not in choices and answer.isdigit() and choices:
            at = int(answer) - 1
            return choices[at] if 0 <= at < len(choices) else answer
        return answer

    def _say(self, text: str) -> None:
        self.prompts.write(text)
        self.prompts.flush()


def _listed(choices: Sequence[str]) -> str:
    """Lists choices for a sentence."""
    return ", ".join(choices[:-1]) + " or " + choices[-1] if choices[1:] else choices[0]
