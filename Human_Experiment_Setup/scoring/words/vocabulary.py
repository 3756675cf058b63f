"""Words of a language: those that a typed word is not a misspelling of, because it is one itself."""

from __future__ import annotations

from functools import cached_property, lru_cache

from Activation_Extraction.base.extras import naming_extras
from Human_Experiment_Setup.scoring.rules import ScoringRules
from Human_Experiment_Setup.scoring.words.normalization import normalized

COMMON = 3.0
"""Zipf frequency (log10 of occurrences in a billion words) from which on a word counts as one of the language."""
_NEED_A_TOKENIZER = ("ja", "ko", "zh")
"""Languages whose words wordfreq finds only with packages that we do not install."""
ENGLISH = "en"


class Vocabulary:
    """The words of the language of some rules."""

    def __init__(self, rules: ScoringRules) -> None:
        self.language = rules.language
        self._listed = {normalized(word, rules.language) for word in rules.known_words}

    @cached_property
    def has_frequencies(self) -> bool:
        """Whether wordfreq knows the language."""
        with naming_extras():
            import wordfreq  # late: only scoring needs it, and it takes a moment
        return self.language in wordfreq.available_languages() and self.language not in _NEED_A_TOKENIZER

    def has(self, words: str) -> bool:
        """Whether normalized words are all words of the language."""
        return words in self._listed or all(self._is_common(word) for word in words.split())

    def _is_common(self, word: str) -> bool:
        return word in self._listed or (self.has_frequencies and zipf_frequency(word, self.language) >= COMMON)

    def not_available(self) -> list[str]:
        """What scoring lacks in this language."""
        lacking = []
        if self.language != ENGLISH:
            lacking.append("articles, plurals, heads, negations, choices and “I can't tell” (rules are English)")
        if not self.has_frequencies:
            lacking.append("spelling (no word frequencies; what is near an accepted word is undecided)")
        return lacking


@lru_cache(maxsize=2**16)
def zipf_frequency(word: str, language: str) -> float:
    """How common a word is, on wordfreq's Zipf scale."""
    import wordfreq

    return float(wordfreq.zipf_frequency(word, language))
