"""Typing errors: a letter left out, typed twice, swapped with the next, or taken for its neighbor on the keyboard."""

from __future__ import annotations

from random import Random

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_KINDS = {"neighbor": 0.4, "left out": 0.25, "swapped": 0.2, "doubled": 0.15}
"""Kind of error → its share."""


def _neighbors() -> dict[str, str]:
    found: dict[str, str] = {}
    for row, keys in enumerate(_ROWS):
        for at, key in enumerate(keys):
            beside = keys[max(at - 1, 0) : at] + keys[at + 1 : at + 2]
            below = _ROWS[row + 1][max(at - 1, 0) : at + 1] if row + 1 < len(_ROWS) else ""
            above = _ROWS[row - 1][at : at + 2] if row else ""
            found[key] = beside + below + above
    return found


NEIGHBORS = _neighbors()
"""Letter → those beside it on a QWERTY keyboard."""


def mistyped(word: str, random: Random) -> str:
    """A word with one typing error; the first letter is right, as it mostly is.

    >>> mistyped("mushroom", Random(1))
    'mushroon'
    """
    kind = random.choices(list(_KINDS), list(_KINDS.values()))[0]
    places = [at for at in range(1, len(word)) if word[at].lower() in NEIGHBORS]
    swaps = [at for at in places if at + 1 < len(word) and word[at] != word[at + 1]]
    if not places or (kind == "swapped" and not swaps):
        return f"{word}{word[-1:]}"
    at = random.choice(swaps if kind == "swapped" else places)
    before, letter, after = word[:at], word[at], word[at + 1 :]
    if kind == "left out":
        return before + after
    if kind == "doubled":
        return before + letter + letter + after
    if kind == "swapped":
        return before + after[0] + letter + after[1:]
    return before + random.choice(NEIGHBORS[letter.lower()]) + after
