"""Simulated participants: what they recognize, what they type, whether they stay. The same seed makes the same people."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from Activation_Extraction.base.errors import InputError, shown
from Human_Experiment_Setup.study.simulation.typing_errors import mistyped
from Human_Experiment_Setup.study.stimuli_table import Stimulus

MARK = "51510000"
"""The ids of simulated participants on Prolific's links begin so."""
OTHER_WORDS = ("light", "animal", "pattern", "face", "water", "plant", "cloth", "wall", "food", "machine")
"""What is typed where nothing was recognized, beside other concepts of the study."""
_SHARE = re.compile(r"(-?\d{1,7})=(\d?\.?\d{1,9})", re.ASCII)
CLEAN_RECOGNITION, OTHER_RECOGNITION = 0.9, 0.6


@dataclass(frozen=True)
class Behavior:
    """How simulated participants behave; shares are from 0 to 1.

    Attributes:
        recognition: level → share of its pictures that a typical participant recognizes.
        spread: standard deviation of participants, and of pictures, in log odds of recognition.
        cannot_tell: of pictures that are not recognized, those answered with "I can't tell".
        lapses: answers that have nothing to do with the picture.
        typos: words with a typing error.
        drop_outs: participants who leave before the end.
        duplicates: participants whose browser sends every answer twice, and who open the link again in the middle.
    """

    recognition: Mapping[int, float]
    spread: float = 1.0
    cannot_tell: float = 0.4
    lapses: float = 0.02
    typos: float = 0.03
    drop_outs: float = 0.1
    duplicates: float = 0.1


def default_recognition(levels: Sequence[int]) -> dict[int, float]:
    """Most of the clean level's pictures, which is the first, and fewer of the others'."""
    return {level: CLEAN_RECOGNITION if at == 0 else OTHER_RECOGNITION for at, level in enumerate(levels)}


def read_recognition(text: str, levels: Sequence[int]) -> dict[int, float]:
    """Shares by level, as an option has them.

    Raises:
        InputError: no such text, or another level.

    >>> read_recognition("5=0.9 1=.4", [5, 1, 2])
    {5: 0.9, 1: 0.4}
    """
    found: dict[int, float] = {}
    for part in text.split():
        match = _SHARE.fullmatch(part)
        if match is None or not 0 <= float(match[2]) <= 1 or int(match[1]) not in levels or int(match[1]) in found:
            listed = ", ".join(map(str, levels))
            raise InputError(f"--recognition: found {shown(part)}; expected LEVEL=SHARE for levels of the protocol ({listed}), each once, shares from 0 to 1")  # fmt: skip
        found[int(match[1])] = float(match[2])
    return found


class Person:
    """A simulated participant.

    Attributes:
        leaves_after: share of the trials after which they leave; None if they stay.
        repeats: whether their browser sends everything twice.
    """

    def __init__(self, seed: int, number: int, behavior: Behavior, concepts: Sequence[str]) -> None:
        self.seed, self.number = seed, number
        self._behavior, self._concepts = behavior, tuple(dict.fromkeys(concepts))
        random = self._random("person")
        self._skill = random.gauss(0, behavior.spread)
        self.leaves_after = random.random() if random.random() < behavior.drop_outs else None
        self.repeats = random.random() < behavior.duplicates

    def link(self, path: str) -> dict[str, str]:
        """The ids in their link, of Prolific or the lab."""
        if path == "lab":
            return {"participant": f"simulated-{self.seed}-{self.number}"}
        return {
            name: MARK + hashlib.sha256(f"{self.seed} {who} {name}".encode()).hexdigest()[:16]
            for name, who in (("PROLIFIC_PID", self.number), ("STUDY_ID", ""), ("SESSION_ID", self.number))
        }

    def names(self, picture: Stimulus, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Their answer to a naming trial.

        Args:
            settings: of the trial: how many words are required.
        """
        random = self._random(picture.image)
        if random.random() < self._behavior.lapses:
            sees = None
        elif random.random() < self.recognizes(picture):
            sees = picture.concept
        elif random.random() < self._behavior.cannot_tell:
            return {"words": [], "cannot_tell": True}
        else:
            sees = random.choice([each for each in self._concepts if each != picture.concept] or OTHER_WORDS)
        words = random.sample(OTHER_WORDS, int(settings["required"]))
        if sees is not None:
            words[0] = random.choice([sees, sees, sees.capitalize(), f"a {sees}"])
        longest = int(settings["longest"])
        return {"words": [self._typed(word, random)[:longest] for word in words], "cannot_tell": False}

    def recognizes(self, picture: Stimulus) -> float:
        """The probability that they recognize a picture."""
        share = min(max(self._behavior.recognition[picture.level], 1e-6), 1 - 1e-6)
        base = picture.clean_image or picture.image  # what is easy to name is so at every level
        ease = Random(f"{self.seed} ease {base}").gauss(0, self._behavior.spread)
        return 1 / (1 + math.exp(-(math.log(share / (1 - share)) + self._skill + ease)))

    def answers_question(self, question: str) -> dict[str, Any]:
        """Their answer to a question without a picture: people can't tell, and rarely guess."""
        if self._random(question).random() < self._behavior.lapses:
            return {"text": "42", "cannot_tell": False}
        return {"text": "", "cannot_tell": True}

    def milliseconds(self, trial: int) -> int:
        """How long they say that an answer took them."""
        return int(1000 * self._random(f"time {trial}").lognormvariate(1.2, 0.4))

    def _typed(self, word: str, random: Random) -> str:
        return mistyped(word, random) if random.random() < self._behavior.typos else word

    def _random(self, what: str) -> Random:
        return Random(f"{self.seed} {self.number} {what}")
