"""Singular and plural of English nouns, by rules: whether two forms are of one noun, whichever of them was expected."""

from __future__ import annotations

from functools import lru_cache

_IRREGULAR = {
    "child": "children", "foot": "feet", "tooth": "teeth", "goose": "geese", "mouse": "mice", "louse": "lice", "ox": "oxen",
    "person": "people", "die": "dice", "penny": "pence", "quiz": "quizzes",
}  # fmt: skip
_REGULAR_MAN = ("human", "german", "roman", "shaman", "talisman", "caiman", "ottoman", "norman")
_SHORTEST = 3
"""Letters of a noun that rules apply to."""


@lru_cache(maxsize=2**16)
def plurals(phrase: str) -> frozenset[str]:
    """The possible plurals of a normalized noun or of a phrase that ends with one; more are listed than exist.

    >>> sorted(plurals("puppy")), sorted(plurals("leaf")), sorted(plurals("fashion model"))
    (['puppies'], ['leafs', 'leaves'], ['fashion models'])
    """
    before, space, noun = phrase.rpartition(" ")
    return frozenset(f"{before}{space}{form}" for form in _plurals_of_noun(noun))


def _plurals_of_noun(noun: str) -> set[str]:
    if noun in _IRREGULAR:
        return {_IRREGULAR[noun]}
    if len(noun) < _SHORTEST or not noun.isascii() or not noun.isalpha():
        return set()
    if noun.endswith("man") and noun not in _REGULAR_MAN:
        return {noun.removesuffix("man") + "men"}
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return {noun[:-1] + "ies"}
    if noun.endswith("us"):
        return {noun + "es", noun[:-2] + "i"}
    if noun.endswith("is"):
        return {noun[:-2] + "es"}
    if noun.endswith(("s", "x", "z", "sh")):
        return {noun + "es"}
    if noun.endswith(("ch", "o")):
        return {noun + "s", noun + "es"}
    if noun.endswith("fe"):
        return {noun + "s", noun[:-2] + "ves"}
    if noun.endswith("f") and not noun.endswith("ff"):
        return {noun + "s", noun[:-1] + "ves"}
    return {noun + "s"}


@lru_cache(maxsize=2**16)
def singulars(phrase: str) -> frozenset[str]:
    """The forms that a normalized phrase is a plural of, by the same rules.

    >>> sorted(singulars("puppies")), sorted(singulars("men")), sorted(singulars("glass"))
    (['puppy'], ['man'], [])
    """
    before, space, noun = phrase.rpartition(" ")
    found = [one for one, several in _IRREGULAR.items() if several == noun]
    for ending, ones in _SINGULAR_ENDINGS:
        if noun.endswith(ending):
            stem = noun.removesuffix(ending)
            found += [stem + one for one in ones if noun in _plurals_of_noun(stem + one)]
            if found:
                break
    return frozenset(f"{before}{space}{form}" for form in found)


_SINGULAR_ENDINGS = (
    ("men", ("man",)), ("ies", ("y",)), ("ves", ("f", "fe", "ve")), ("i", ("us",)), ("es", ("", "e", "is")), ("s", ("",)),
)  # fmt: skip


def same_noun(one: str, other: str) -> bool:
    """Whether one of two normalized phrases is the other or its plural.

    >>> same_noun("puppy", "puppies"), same_noun("fashion models", "fashion model"), same_noun("new", "old")
    (True, True, False)
    """
    return one == other or one in plurals(other) or other in plurals(one)
