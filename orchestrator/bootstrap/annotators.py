"""The embedder, annotator and matcher that the settings name: wiring shared by the app and by replays."""

from collections.abc import Sequence
from functools import cached_property

from orchestrator.compositions.knowledge import Knowledge
from orchestrator.ports.skills import Embedder, SkillAnnotator, SkillMatcher
from orchestrator.settings.schema import MusterSettings, Settings
from skills.annotator import EmbeddingAnnotator, LlmAnnotator
from skills.embedding import embedder_of
from skills.matcher import EmbeddingMatcher
from skills.vector_file import FileBackedEmbedder
from skills.vocabulary import Vocabulary, builtin_vocabulary, induce, load_vocabulary


class SkillParts:
    """Parts that read skills in questions; the embedder is made when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def embedder(self) -> FileBackedEmbedder:
        """The embedder of the settings, with the vectors that lie in `data_dir`; its model is loaded at the
        first text that needs it."""
        return file_backed_embedder(self._settings.muster)

    def keep(self, texts: Sequence[str]) -> None:
        """Embed texts so that later processes need not."""
        self.embedder.keep(texts)

    def annotator(self, known: Knowledge) -> SkillAnnotator:
        """The annotator of the settings; a vocabulary that is to be induced is made from what is known."""
        return make_annotator(self._settings, self.embedder, texts=known.texts, skills=known.skills)

    def matcher(self, known: Knowledge) -> SkillMatcher | None:
        """The matcher of free names to the cards' skills; None = there is nothing to match: the embedding
        annotator speaks the cards' vocabulary already, or the cards know no skill."""
        options = self._settings.muster.skills
        if options.annotator != "llm" or not known.skills:
            return None
        return EmbeddingMatcher(self.embedder, known.skills, floor=options.match_floor)


def file_backed_embedder(settings: MusterSettings) -> FileBackedEmbedder:
    """The embedder of the settings, with the vectors that lie in `data_dir`."""
    chosen = settings.embedder
    inner = embedder_of(chosen.model, revision=chosen.revision, cache_size=chosen.cache_size)
    return FileBackedEmbedder(inner, settings.data_dir / "vectors")


def make_annotator(
    settings: Settings, embedder: Embedder, *, texts: Sequence[str], skills: Sequence[str] = ()
) -> SkillAnnotator:
    """The annotator that the settings name.

    Args:
        texts: the profile questions, from which a vocabulary is induced; none where these are not known.
        skills: names that the cards know, for want of texts.
    """
    options = settings.muster.skills
    if options.annotator == "llm":
        assert options.annotator_expert is not None, "checked when the configuration was read"
        return LlmAnnotator(options.annotator_expert)
    return EmbeddingAnnotator(
        embedder,
        _vocabulary(settings, embedder, texts, skills),
        floor=options.floor,
        relative_floor=options.relative_floor,
        max_skills=options.max_skills,
    )


def _vocabulary(
    settings: Settings, embedder: Embedder, texts: Sequence[str], skills: Sequence[str]
) -> Vocabulary:
    """Of imported cards only the skills' names are known, not the questions they were induced from."""
    options = settings.muster.skills
    if options.vocabulary not in ("builtin", "induced"):
        return load_vocabulary(settings.base_dir / options.vocabulary)
    if options.vocabulary == "induced" and texts:
        return induce(texts, embedder, n=options.n_induced, seed=settings.muster.seed)
    if options.vocabulary == "induced" and skills:
        return Vocabulary(tuple(skills))
    return builtin_vocabulary()
