"""Odd tokenizers: those that tidy blanks, write bytes, or know more tokens than their model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.odd.making import CONFIG, TOKENIZER, Made, Odd, copied, edited, small_model

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

GENERATION = "generation_config.json"
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
WORDS = (
    *("Is", "2", "+", "4", "or", "5", "we", "do", "is", "n't", "'", "'s", "'m", "'ve", "'re"),
    *(".", "?", "!", ",", "it", "a", "not"),
)
NAMED = ("<pad>", "</s>", "<unk>")
ALL_BYTES = tuple(f"<0x{number:02X}>" for number in range(256))
EXTRA = "<|extra|>"
Make = Callable[[Path, Path], Made]


def fast(tokenizer: "Tokenizer", **options: Any) -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast

    named = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{"clean_up_tokenization_spaces": False, **named, **options},
    )
    made.chat_template = TEMPLATE
    return made


def numbered(words: Sequence[str]) -> dict[str, int]:
    return {word: number for number, word in enumerate((*NAMED, *words))}


def of_words() -> "Tokenizer":
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(numbered(WORDS), unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def tidy(plain: Path, folder: Path) -> Made:
    return Made(small_model(folder, fast(of_words(), clean_up_tokenization_spaces=True)))


def word_pieces(plain: Path, folder: Path) -> Made:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = (*WORDS, *(f"##{letter}" for letter in "abcdefg"))
    tokenizer = Tokenizer(models.WordPiece(numbered(words), unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    return Made(small_model(folder, fast(tokenizer)))


def bytes_for_want(plain: Path, folder: Path) -> Made:
    """As sentencepiece has it: a blank before the text, and bytes for what the vocabulary lacks."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    pieces = [(word, -1.0) for word in (*NAMED, *ALL_BYTES, "▁", "▁Is", "▁2", "▁or", "é", "你")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return Made(small_model(folder, fast(tokenizer)))


def byte_level(plain: Path, folder: Path) -> Made:
    """Each token is one byte: characters end in the middle."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(numbered(letters), [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return Made(small_model(folder, fast(tokenizer, clean_up_tokenization_spaces=True)))


def prefixed(plain: Path, folder: Path) -> Made:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = ("▁", *(f"▁{word}" for word in WORDS), *WORDS)
    tokenizer = Tokenizer(models.Unigram([(word, -1.0) for word in (*NAMED, *words)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return Made(small_model(folder, fast(tokenizer)))


def ended_by(eos: Any, **generation: Any) -> Make:
    """The plain model with other ends."""

    def make(plain: Path, folder: Path) -> Made:
        edited(copied(plain, folder) / GENERATION, eos_token_id=eos, **generation)
        edited(folder / CONFIG, eos_token_id=eos)
        return Made(folder)

    return make


def endless(plain: Path, folder: Path) -> Made:
    nameless = fast(of_words(), pad_token=None, eos_token=None)
    small_model(folder, nameless)
    return Made(folder)


def knows_more(template: str) -> Make:
    """The plain model with a token that was added to its tokenizer alone."""

    def make(plain: Path, folder: Path) -> Made:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(copied(plain, folder))
        tokenizer.add_tokens([EXTRA, "wordy"])
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder)
        return Made(folder)

    return make


def in_a_folder_named(name: str) -> Make:
    def make(plain: Path, folder: Path) -> Made:
        return Made(copied(plain, folder / name))

    return make


TOKENIZERS = {
    "tidied blanks": Odd(tidy),
    "word pieces": Odd(word_pieces),
    "bytes for want of pieces": Odd(bytes_for_want),
    "bytes alone": Odd(byte_level),
    "a blank before": Odd(prefixed),
    "several ends": Odd(ended_by([1, 40, 41, 42])),
    "no end": Odd(endless, remark="no token that ends a text"),
    "an end beyond the vocabulary": Odd(ended_by([1, 999_999])),
    "tokens that the model lacks": Odd(knows_more(TEMPLATE), remark="2 tokens that the model does not know"),
    "template of tokens that the model lacks": Odd(
        knows_more(EXTRA + TEMPLATE), "down", TOKENIZER, "the model has|cannot be used"
    ),
    "blanks in its name": Odd(in_a_folder_named("my model (v2)")),
    "letters of all kinds in its name": Odd(in_a_folder_named("módèl-模型-😀")),
}
