"""English phrases that are no name of anything: negations, choices, and answers that say that there is none."""

from __future__ import annotations

import re
from collections.abc import Iterator

_NO_ANSWER = re.compile(
    r"(?:sorry )?(?:i )?(?:really |just |honestly )?(?:"
    r"(?:can ?not|cant|could ?nt|do ?nt|do not) ?(?:tell|say|see|know|recogni[sz]e|identify|make (?:it|this|that) out)"
    r"(?: (?:it|this|that|anything|for sure|what|what (?:it|this|that) is))*"
    r"|i ?dk|dunno|(?:have )?(?:no|not) ?(?:idea|clue|a clue|answer)|(?:i?m |am )?not ?(?:sure|certain|clear|known)"
    r"|unsure|uncertain|unclear|unknown|no response|n ?a|none|nothing|no|not|blank)"
)
_NEGATORS = ("not", "no", "never", "without", "isnt", "non")
_CHOICES = {"or", "and", "vs", "versus", "either"}


def is_no_answer(phrase: str) -> bool:
    """Whether a normalized phrase says that nothing was recognized.

    >>> is_no_answer("i cant tell"), is_no_answer("not sure"), is_no_answer("not a dog")
    (True, True, False)
    """
    return bool(_NO_ANSWER.fullmatch(phrase))


def is_only_negator(word: str) -> bool:
    """Whether a normalized word negates the next field."""
    return word in _NEGATORS


def before_negation(phrase: str) -> str | None:
    """What a normalized phrase says before it says what is not seen; None if it negates nothing.

    >>> before_negation("not a dog"), before_negation("this is not fire"), before_negation("knot")
    ('', 'this is', None)
    """
    words = phrase.split()
    at = next((at for at, word in enumerate(words[:-1]) if word in _NEGATORS), None)
    return None if at is None else " ".join(words[:at])


def is_choice(phrase: str) -> bool:
    """Whether a normalized phrase offers several things.

    >>> is_choice("dog or cat"), is_choice("orchid")
    (True, False)
    """
    return not _CHOICES.isdisjoint(phrase.split())


def spans(phrase: str) -> Iterator[str]:
    """Every run of words of a phrase.

    >>> list(spans("big red dog"))
    ['big', 'big red', 'big red dog', 'red', 'red dog', 'dog']
    """
    words = phrase.split()
    for start in range(len(words)):
        for stop in range(start + 1, len(words) + 1):
            yield " ".join(words[start:stop])
