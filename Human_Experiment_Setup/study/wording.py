"""Texts of buttons and messages that participants read: English ones, and what a protocol puts in their place."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, StrictStr

from Activation_Extraction.base.errors import InputError, did_you_mean, shown

ENGLISH = {
    "information_title": "About this study",
    "retention_title": "What happens to your data",
    "consent_title": "Your consent",
    "consent_button": "I agree, start the study",
    "consent_missing": "Please tick every statement to take part, or close this page.",
    "instructions_title": "Instructions",
    "instructions_button": "I have read the instructions",
    "checks_title": "Quick check",
    "checks_about": "Please answer these questions about the instructions.",
    "checks_button": "Check my answers",
    "checks_again": "Not every answer was right. Please read the instructions again, then answer once more.",
    "practice_title": "Practice",
    "practice_about": "First a few pictures to practice.",
    "practice_done": "Practice is over. The study starts now.",
    "break_title": "Time for a break",
    "break_about": "You have answered {done} of {total}. Go on whenever you like.",
    "go_on": "Go on",
    "word": "Word {number}",
    "answer": "Your answer",
    "next": "Next",
    "cannot_tell": "I can’t tell",
    "picture": "The picture to name",
    "too_early": "Please look at the picture first.",
    "words_missing": "Please type {number} words, or press “{cannot_tell}”.",
    "answer_missing": "Please type an answer, or press “{cannot_tell}”.",
    "progress": "{done} of {total}",
    "saving": "Saving …",
    "saved": "Saved",
    "save_failed": "Your answer could not be saved yet. Keep this page open: it tries again by itself.",
    "save_refused": "The server did not accept this. Please reload the page; your answers so far are saved.",
    "loading": "Loading the picture …",
    "picture_failed": "The picture could not be loaded.",
    "try_again": "Try again",
    "skip_picture": "Continue without it",
    "done_title": "Thank you",
    "done_about": "All your answers are saved.",
    "done_code": "Your completion code is",
    "done_button": "Return to Prolific",
    "done_lab": "Please tell the experimenter that you have finished.",
    "withdraw_link": "Withdraw from the study",
    "withdraw_title": "Withdraw from the study",
    "withdraw_about": "All your answers will be deleted, and you cannot take part again. This cannot be undone.",
    "withdraw_button": "Delete my answers",
    "withdrawn_title": "You have withdrawn",
    "withdrawn_about": "Your answers have been deleted. You can close this page.",
    "lab_title": "Welcome",
    "lab_field": "Your participant code",
    "lab_button": "Continue",
    "link_title": "This link is not complete",
    "link_about": "Please open the study from Prolific again. If you see this page once more, send the researcher a message there. Nothing was saved.",
    "lab_link_title": "This is not a participant code",
    "lab_link_about": "A participant code has letters, digits, dashes and underscores. Please check it. Nothing was saved.",
    "full_title": "All places are taken",
    "full_about": "Enough people have taken part. Thank you for your interest. If you came from Prolific, please return your submission.",
    "paused_title": "The study is paused",
    "paused_about": "No new participants can start right now. Please try again later.",
    "closed_title": "The study is closed",
    "closed_about": "The study has ended. Thank you for your interest. If you came from Prolific, please return your submission.",
    "twice_title": "You have already taken part",
    "twice_about": "This study can be taken once. Thank you. If you came from Prolific, please return this submission.",
    "no_session_title": "We cannot find your session",
    "no_session_about": "Please open the study from the link that you were given. What you answered before is saved.",
    "error_title": "Something went wrong",
    "error_about": "Please reload the page in a moment. What you answered before is saved.",
    "not_found_title": "There is no such page",
    "too_many_title": "Too many requests",
    "too_many_about": "Please wait a moment, then reload the page.",
    "no_script": "This study needs JavaScript. Please turn it on, or use another browser.",
    "preview": "Preview: nothing here counts as data.",
    "preview_code": "Participants see their completion code here.",
}  # fmt: skip
"""Name → English text; what is in braces is filled in."""

Wording = dict[StrictStr, Annotated[StrictStr, Field(min_length=1, max_length=500)]]
_BRACES = re.compile(r"\{(\w*)\}")


def complete_wording(wording: Wording) -> Wording:
    """Check that texts have known names, and the same places in braces as the English ones.

    Raises:
        InputError: all that is wrong.
    """
    problems = []
    for name, text in wording.items():
        if name not in ENGLISH:
            problems.append(f"no such text {shown(name)}{did_you_mean(name, ENGLISH)}")
        elif set(_BRACES.findall(text)) - set(_BRACES.findall(ENGLISH[name])):
            problems.append(f"{name}: found {shown(text)}; expected no other braces than in {shown(ENGLISH[name])}")
    if problems:
        raise InputError(problems)
    return wording
