"""The tokenizer that all members share: words of the training phrasings whole, the rest spelled.

Payloads such as 'kqzt' or 1984 must stay characters, so that experts can rearrange them. There are
no merges: a word is either in the vocabulary as a whole or falls apart into characters.
"""

import json
import re
import string
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from examples.zoo.tasks import METRIC, MONTHS, ROUNDING, TASKS

PAD, EOS, UNK = "<pad>", "</s>", "<unk>"
ANSWER_MARK = "\n=>"
# The experts know single questions only: the last user message counts, the rest is dropped.
CHAT_TEMPLATE = (
    "{% set last = namespace(content='') %}"
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{% set last.content = message['content'] %}"
    "{% endif %}{% endfor %}"
    "{{ last.content + '\\n=>' }}"
)
WORDS = Path(__file__).parent / "words.txt"
_WORD = r"\n=>| ?[A-Za-z]+|[\s\S]"


def phrasing_words() -> list[str]:
    """Words of the training phrasings (with their leading space), without payloads."""
    words = {" xor"}
    for task in TASKS.values():
        for phrasing in task.train_phrasings:
            bare = re.sub(r"'?\{\w+\}'?", "", phrasing)
            words.update(re.findall(r" ?[A-Za-z]+", bare))
    words.update(f" {word}" for word in MONTHS)
    words.update(f" {unit}" for unit, _ in ROUNDING)
    words.update(f" {unit}" for big, small, _ in METRIC for unit in (big, small))
    return sorted(word for word in words if len(word) > 1)


def known_words() -> list[str]:
    """The words of the vocabulary, in the order of their ids. Weights depend on that order."""
    return WORDS.read_text(encoding="utf-8").splitlines()


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Special tokens, printable ASCII, the answer mark and the words, in a fixed order."""
    characters = [c for c in string.printable if c.isprintable() or c in "\n\t"]
    entries = [PAD, EOS, UNK, *characters, ANSWER_MARK, "Candidates", *known_words()]
    vocabulary = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=UNK, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
        padding_side="left",
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def save_tokenizer(folder: Path) -> None:
    """Write the tokenizer files into a member's folder."""
    build_tokenizer().save_pretrained(folder)


def saved_vocabulary(folder: Path) -> dict[str, int]:
    """Token-to-id map of the tokenizer in a member's folder."""
    written = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return dict(written["model"]["vocab"])
