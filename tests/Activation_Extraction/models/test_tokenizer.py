"""The tokenizer gives OpenAI's tokens for any text; vocabularies are learned, written and read without a loss."""

import gzip
import re
from collections import Counter
from contextlib import suppress

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from Activation_Extraction.base.errors import InputError, OutputError
from Activation_Extraction.models.tokenizer import (
    END,
    OPENAI_MERGES,
    SINGLE_TOKENS,
    START,
    Tokenizer,
    learn_merges,
    read_merges,
    write_merges,
)
from tests.Activation_Extraction.openai_clip import file_of_package, openai

VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"


@pytest.fixture(scope="module")
def ours():
    return Tokenizer(read_merges(file_of_package(VOCABULARY)))


@pytest.fixture(scope="module")
def theirs():
    return openai("simple_tokenizer").SimpleTokenizer()


# What people type, and what breaks tokenizers: entities, entities of entities, mojibake, contractions, wide spaces.
SNIPPETS = [
    "a photo of a cat", "It's", "we'LL", "don’t", "'s's", "it'ſ", "&amp;", "&amp;lt;b&amp;gt;", "&#x85;", "&nbsp;", "&#0;",
    "schÃ¶n", "â€œquotedâ€\x9d", "ﬁ", "ＦＵＬＬ", "İstanbul", "ẞ", "ﷺ", "e\u0301", "\u00a0", "\u2003", "\u200b", "\u2028",
    "\x85", "\x1c", "\x0b", "\t", "\r\n", "\ufeff", "\x00", "½", "Ⅷ", "٣", "2024", "3.14", "🧑‍🚀", "👍🏽", "日本語", "हिन्दी",
    START, END, START.upper(), "<|start", "</w>", "w>", "!!!", "#", "_", "\\", "\ud800",
]  # fmt: skip
texts = st.one_of(
    st.text(max_size=40),
    st.lists(st.one_of(st.sampled_from(SNIPPETS), st.sampled_from([" ", ""]), st.text(max_size=4)), max_size=8).map(
        "".join
    ),
)


@given(texts)
@example("".join(SNIPPETS))
@example(" ".join(SNIPPETS))
@example("")
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_tokens_of_any_text_are_openais(ours, theirs, text):
    assert ours.encode(text) == theirs.encode(text)


@given(st.lists(st.integers(0, 49_407), max_size=30))
def test_text_of_any_tokens_is_openais(ours, theirs, tokens):
    assert ours.decode(tokens) == theirs.decode(tokens).rstrip(" ")


def test_vocabulary_has_openais_size_and_numbers(ours, theirs):
    assert (ours.vocab_size, len(theirs.encoder)) == (49_408, 49_408)
    assert len(ours.merges) == OPENAI_MERGES
    assert (ours.encode(START), ours.encode(END)) == ([49_406], [49_407])
    assert ours.encode("a photo of a cat") == [320, 1125, 539, 320, 2368]  # OpenAI, clip.tokenize


def test_rows_are_start_text_end_and_zeros(ours):
    rows = ours(["a cat", ""])
    assert (rows.shape, rows.dtype) == ((2, 77), torch.long)
    assert rows[0].tolist() == [49_406, 320, 2368, 49_407] + [0] * 73
    assert rows[1].tolist() == [49_406, 49_407] + [0] * 75
    assert torch.equal(ours("a cat"), rows[:1])
    assert ours([]).shape == (0, 77)


def test_text_that_just_fits_is_taken_and_one_token_more_is_refused(ours):
    assert ours("cat " * 75)[0].tolist() == [49_406] + [2368] * 75 + [49_407]
    with pytest.raises(InputError) as caught:
        ours(["a cat", "cat " * 76, "dog", "dog " * 80])
    assert caught.value.problems == [
        f"text {str('cat ' * 76)!r:.58}…': 78 tokens; expected at most 77",
        f"text {str('dog ' * 80)!r:.58}…': 82 tokens; expected at most 77",
    ]


@given(st.text(alphabet="abcXYZ .,!?'-0123éüßñ日本🙂", max_size=30))
def test_decoded_tokens_are_the_text_in_lower_case_but_for_its_spaces(ours, text):
    decoded = ours.decode(ours.encode(text))
    assert decoded.replace(" ", "") == text.lower().replace(" ", "")


@given(st.text(alphabet="abc .!日🙂", max_size=30))
def test_decoding_and_encoding_again_changes_nothing(ours, text):
    tokens = ours.encode(text)
    assert ours.encode(ours.decode(tokens)) == tokens


def test_order_of_earlier_texts_does_not_matter(ours):
    # Pieces are remembered; what is remembered must not depend on what came before.
    fresh = Tokenizer(ours.merges)
    words = ["photograph", "photo", "graph", "photographs"]
    assert [fresh.encode(word) for word in reversed(words)] == [ours.encode(word) for word in words][::-1]
    fresh.encode("photo").append(7)
    assert fresh.encode("photo") == ours.encode("photo")


# Learning a vocabulary ----------------------------------------------------------------------------------------------


def plainly_learned(words, count):
    """Merges of a list of ASCII words, by rewriting strings: symbols stand between spaces, a word ends in </w>."""
    lines = Counter(" ".join(word) + "</w>" for word in words)
    merges = []
    for _ in range(count):
        pairs = Counter()
        for line, times in lines.items():
            symbols = line.split(" ")
            for i in range(len(symbols) - 1):
                pairs[symbols[i], symbols[i + 1]] += times
        if not pairs:
            break
        highest = max(pairs.values())
        first, second = min(pair for pair, times in pairs.items() if times == highest)
        merges.append((first, second))
        together = re.compile(rf"(?<!\S){re.escape(f'{first} {second}')}(?!\S)")
        rewritten = Counter()
        for line, times in lines.items():
            rewritten[together.sub(lambda _, both=first + second: both, line)] += times
        lines = rewritten
    return merges


@given(st.lists(st.text(alphabet="abc", min_size=1, max_size=7), max_size=8), st.integers(0, 12))
def test_learned_merges_are_the_most_frequent_pairs(words, count):
    assert learn_merges([" ".join(words[::2]), *words[1::2]], count) == plainly_learned(words, count)


def test_learning_by_hand():
    # aab aab ab: (a, b</w>) 3 times, then (a, ab</w>) twice, then nothing is left to merge.
    assert learn_merges(["aab AAB ab"], 5) == [("a", "b</w>"), ("a", "ab</w>")]
    assert learn_merges([], 5) == learn_merges(["a"], 5) == []


def test_learned_vocabulary_shortens_its_texts():
    captions = ["a photo of a red boat", "a drawing of a red house", "a red boat"]
    merges = learn_merges(captions, 40)
    tokenizer = Tokenizer(merges, context_length=12)
    assert tokenizer.vocab_size == SINGLE_TOKENS + len(merges)
    assert [tokenizer.decode([token]) for token in tokenizer.encode("red boat")] == ["red", "boat"]
    assert tokenizer.decode(tokenizer.encode("Blue Zebra")) == "blue zebra"
    row = tokenizer("a red boat")[0]
    assert (row.shape, int(row.max()), int(row.argmax())) == ((12,), tokenizer.vocab_size - 1, 4)


# Files of merges ----------------------------------------------------------------------------------------------------


@given(st.lists(st.text(alphabet="ab#</w>'é日\u00a0\u2028\x85\x1c🙂 ", max_size=12), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_written_merges_are_read_again(tmp_path, captions):
    merges = learn_merges(captions, 30)
    write_merges(merges, tmp_path / "vocabulary.txt")
    assert read_merges(tmp_path / "vocabulary.txt") == merges


def test_merges_of_number_signs_and_word_ends_survive_the_file(tmp_path):
    merges = [("#", "#"), ("##", "#</w>"), ("<", "/"), ("</", "w"), ("</w", "></w>"), ("Ġ", "Ġ</w>")]
    write_merges(merges, tmp_path / "v.txt")
    assert read_merges(tmp_path / "v.txt") == merges
    (tmp_path / "v.gz").write_bytes(gzip.compress((tmp_path / "v.txt").read_bytes(), mtime=0))
    assert read_merges(tmp_path / "v.gz") == merges


def test_lines_may_end_as_on_windows(tmp_path):
    (tmp_path / "v.txt").write_bytes(b"# merges\r\na b\r\nab c</w>\r\n")
    assert read_merges(tmp_path / "v.txt") == [("a", "b"), ("ab", "c</w>")]


def damaged(data, *, at):
    return data[:at] + bytes(byte ^ 0x55 for byte in data[at : at + 40]) + data[at + 40 :]


PACKED = gzip.compress(b"# merges\n" + b"".join(f"{a} {b}\n".encode() for a in "abcde" for b in "vwxyz"), mtime=0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"# merges\na b\na b c\n", r"line 3: found 'a b c'; expected two symbols"),
        (b"# merges\na b\n\nab c\n", r"line 3: found ''; expected two symbols"),
        (b"# merges\na b\nhello world\n", r"line 3: found 'hello'; expected a symbol of an earlier line"),
        (b"# merges\na b\nab \xe3\x80\x81\n", r"line 3: found '、'; expected a symbol of an earlier line"),
        (b"# merges\n\xff\xfe\n", r"cannot be read \(.*can't decode"),
        (b"\x89PNG\r\n\x1a\n", r"cannot be read \(.*can't decode"),
        (PACKED[:40], r"cannot be read \(Compressed file ended"),
        (damaged(PACKED, at=12), r"cannot be read \("),
        (damaged(PACKED, at=len(PACKED) - 8), r"cannot be read \(CRC check failed"),
        (b"\x1f\x8bnothing packed", r"cannot be read \("),
    ],
)
def test_damaged_file_is_refused_by_name(tmp_path, content, said):
    path = tmp_path / "v.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        read_merges(path)
    assert caught.value.problems[0].startswith(str(path))


@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_byte_changed_anywhere_in_a_packed_file_is_noticed_or_changes_nothing(tmp_path, position, change):
    path = tmp_path / "v.gz"
    path.write_bytes(PACKED)
    whole = read_merges(path)
    path.write_bytes(PACKED[:position] + bytes([PACKED[position] ^ change]) + PACKED[position + 1 :])
    with suppress(InputError):
        assert read_merges(path) == whole


def test_file_that_is_missing_or_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_merges(tmp_path / "none.txt")
    with pytest.raises(InputError, match="is a folder"):
        read_merges(tmp_path)
    with pytest.raises(OutputError, match="is a folder"):
        write_merges([("a", "b")], tmp_path)
