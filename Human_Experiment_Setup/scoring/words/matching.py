"""Whether typed words name a concept: exact, compound, inflection, synonym, spelling; else wrong, or for people to decide.

METRICS.md, section 14; docs/word-scoring.md lists what is decided how.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from Activation_Extraction.base.extras import naming_extras
from Human_Experiment_Setup.scoring.rules import ScoringRules
from Human_Experiment_Setup.scoring.words.inflection import plurals, singulars
from Human_Experiment_Setup.scoring.words.kinds import KINDS, AcceptedWords, Answer, Match
from Human_Experiment_Setup.scoring.words.normalization import LONGEST, normalized, script_of, split_fields, squeezed
from Human_Experiment_Setup.scoring.words.phrases import (
    before_negation,
    is_choice,
    is_no_answer,
    is_only_negator,
    spans,
)
from Human_Experiment_Setup.scoring.words.vocabulary import ENGLISH, Vocabulary

_ORDER = {kind: at for at, kind in enumerate(KINDS)}
_SHORTEST_NEAR = 3
"""Letters of a word that may be near another."""


class Matcher:
    """Scores answers.

    Args:
        accepted: concept → its words; every concept of the study.
        decisions: concept → normalized word → whether the raters accept it.
    """

    def __init__(
        self,
        accepted: Mapping[str, AcceptedWords],
        rules: ScoringRules,
        decisions: Mapping[str, Mapping[str, bool]] | None = None,
    ) -> None:
        self.rules, self.vocabulary = rules, Vocabulary(rules)
        self._decisions = decisions or {}
        self._inflects = rules.language == ENGLISH
        self._concepts = {name: _Concept(words, rules, self._inflects) for name, words in accepted.items()}
        self._owners: dict[str, set[str]] = {}
        for name, concept in self._concepts.items():
            for form in concept.forms:
                self._owners.setdefault(form, set()).add(name)
        self._word = lru_cache(maxsize=2**18)(self._decided_word)

    def answer(self, concept: str, fields: Iterable[str]) -> Answer:
        """Score what one participant typed for one image, a text a field."""
        texts = [part for field in fields for part in split_fields(field)]
        words = tuple(normalized(text, self.rules.language) for text in texts if len(text) <= LONGEST)
        if not texts:
            return Answer((), Match("empty"), False)
        matches = [Match("too long")] * (len(texts) - len(words)) + self._of_words(concept, words)
        is_label = any(match.kind == "exact" for match in matches)
        right = [match for match in matches if match.verdict == "right"]
        if right and len(set(words)) + len(texts) - len(words) > self.rules.words:
            together = self._decided(concept, " ".join(words)) or Match("too many words", " ".join(words))
            return Answer(words, together, is_label and together.verdict == "right")
        if right:
            return Answer(words, min(right, key=lambda match: _ORDER[match.kind]), is_label)
        if undecided := [match for match in matches if match.verdict == "undecided"]:
            typed = ", ".join(dict.fromkeys(match.typed for match in undecided))
            return Answer(words, Match(undecided[0].kind, typed), is_label)
        return Answer(words, max(matches, key=lambda match: _ORDER[match.kind]), is_label)

    def _of_words(self, concept: str, words: Sequence[str]) -> list[Match]:
        together = " ".join(words)
        if self._inflects and is_no_answer(together):
            return [Match("no answer", together)]
        matches, is_negated = list[Match](), False
        for word in words:
            if self._inflects and is_only_negator(word) and len(words) > 1:
                is_negated = True
                continue
            matches.append(Match("negation", word) if is_negated else self._word(concept, word))
            is_negated = False
        if len(words) > 1 and (joined := self._listed(concept, together)):
            matches.append(joined)
        return matches or [Match("no answer", together)]

    def _decided_word(self, concept: str, word: str) -> Match:
        """One word or phrase of an answer."""
        if not word or (self._inflects and is_no_answer(word)):
            return Match("no answer", word)
        found = self._listed(concept, word) or self._head(concept, word) or self._misspelt(concept, word)
        return found or self._in_doubt(concept, word) or Match("unlisted", word)

    def _decided(self, concept: str, word: str) -> Match | None:
        """A word that the raters decided on."""
        verdict = self._decisions.get(concept, {}).get(word)
        return None if verdict is None else Match("adjudicated", word, word) if verdict else Match("rejected", word)

    def _listed(self, concept: str, word: str) -> Match | None:
        """The label, an accepted word or a decided one, in any form."""
        own = self._concepts[concept]
        if word == own.label:
            return Match("exact", word, own.name)
        if (decided := self._decided(concept, word)) or squeezed(word) in own.rejected:
            return decided or Match("rejected", word)
        flat = squeezed(word)
        if flat == squeezed(own.label):
            return Match("compound", word, own.name)
        several = {squeezed(form) for form in plurals(word)} | plurals(flat) if self._inflects else frozenset()
        for form in (flat, *sorted(several)):
            if (matched := own.bases.get(form)) or (form == flat and (matched := own.inflected.get(form))):
                return Match("inflection" if matched == own.name else "synonym", word, matched)
        return None

    def _head(self, concept: str, word: str) -> Match | None:
        own = self._concepts[concept]
        if not own.head or self._is_of_another(concept, word):
            return None
        is_head = word == own.head or (self._inflects and (word in plurals(own.head) or own.head in plurals(word)))
        return Match("head", word, own.name) if is_head else None

    def _is_of_another(self, concept: str, word: str) -> bool:
        forms = {squeezed(word), *(map(squeezed, plurals(word)) if self._inflects else ())}
        return any(self._owners.get(form, set()) - {concept} for form in forms)

    def _misspelt(self, concept: str, word: str) -> Match | None:
        if not self.rules.spelling or not self.vocabulary.has_frequencies:
            return None
        if self.vocabulary.has(word) or self._is_of_another(concept, word):
            return None
        nearest = self._nearest(concept, word, 0)
        return Match("spelling", word, nearest) if nearest else None

    def _nearest(self, concept: str, word: str, more: int) -> str | None:
        """The nearest accepted word within its limit and `more` edits; the first of equally near ones."""
        best, matched = 10**6, None
        for spelled, name in self._concepts[concept].spellings.items():
            most = edits_allowed(spelled) + more
            distance = edits(word, spelled, most)
            if most > 0 and distance <= most and distance < best:
                best, matched = distance, name
        return matched

    def _in_doubt(self, concept: str, word: str) -> Match | None:
        """Why people have to decide on a word that is not listed, or that it is a negation; None: it is wrong."""
        own = self._concepts[concept]
        if self._inflects and (before := before_negation(word)) is not None and not self._is_in(concept, before):
            return Match("negation", word)
        if " " in word and self._is_in(concept, word):
            return Match("choice" if self._inflects and is_choice(word) else "phrase", word)
        if not word.replace(" ", "").isdecimal() and script_of(word) not in own.scripts:
            return Match("script", word)
        is_near = len(word) >= _SHORTEST_NEAR and not self._is_of_another(concept, word)
        if is_near and not self.vocabulary.has(word) and self._nearest(concept, word, 1):
            return Match("near", word)
        return None

    def _is_in(self, concept: str, phrase: str) -> bool:
        """Whether an accepted word is in a phrase."""
        found = (self._listed(concept, span) or self._head(concept, span) for span in spans(phrase))
        return any(match is not None and match.verdict == "right" for match in found)


class _Concept:
    """The forms of a concept's words, ready to be looked up."""

    def __init__(self, words: AcceptedWords, rules: ScoringRules, inflects: bool) -> None:
        self.name, self.label = words.label, normalized(words.label, rules.language)
        as_written = {
            self.label: words.label,
            **{form: word for form, word in words.synonyms.items() if form != self.label},
        }
        self.rejected = frozenset(map(squeezed, words.rejected))
        self.bases = _first_of_each((squeezed(form), word) for form, word in as_written.items())
        several = (
            [(form, word) for base, word in as_written.items() for form in sorted(plurals(base))] if inflects else []
        )
        self.inflected = _first_of_each((squeezed(form), word) for form, word in several)
        ones = (
            [(form, word) for base, word in as_written.items() for form in sorted(singulars(base))] if inflects else []
        )
        self.spellings = _first_of_each([*as_written.items(), *several, *ones])
        self.forms = {*self.bases, *self.inflected}
        self.scripts = {script_of(form) for form in as_written}
        self.head = self.label.rpartition(" ")[2] if rules.heads and inflects and " " in self.label else ""


def _first_of_each(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for form, word in pairs:
        found.setdefault(form, word)
    return found


def edits_allowed(accepted: str) -> int:
    """How many edits a misspelling of an accepted word may have: 1 for 5 to 7 letters, 2 from 8 on.

    >>> edits_allowed("fire"), edits_allowed("flame"), edits_allowed("elephant")
    (0, 1, 2)
    """
    letters = len(squeezed(accepted))
    return 0 if letters < 5 else 1 if letters < 8 else 2


def edits(one: str, other: str, most: int) -> int:
    """Optimal string alignment distance (insertions, deletions, substitutions, neighbors swapped), up to `most` + 1."""
    with naming_extras():
        from rapidfuzz.distance import OSA  # late: only scoring needs it
    return int(OSA.distance(one, other, score_cutoff=max(most, 0)))
