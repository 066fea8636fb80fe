"""The skill annotator that the settings name: wiring shared by the app and by replays."""

from collections.abc import Sequence

from orchestrator.ports.skills import Embedder, SkillAnnotator
from orchestrator.settings.schema import Settings
from skills.annotator import EmbeddingAnnotator, LlmAnnotator
from skills.vocabulary import Vocabulary, builtin_vocabulary, induce, load_vocabulary


def make_annotator(
    settings: Settings, embedder: Embedder, *, texts: Sequence[str], skills: Sequence[str] = ()
) -> SkillAnnotator:
    """
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
