"""Knowledge of a pool, from which compositions are built."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from orchestrator.domain.cards import CompetenceCard, Profile


class Knowledge(NamedTuple):
    """Knowledge of the pool: its cards, and the outcomes behind them unless these were imported."""

    cards: Mapping[str, CompetenceCard]
    profile: Profile | None

    @property
    def exact(self) -> Profile | None:
        """Outcomes on questions with exact answers: what votes, and routers that count right and wrong, learn
        from."""
        return None if self.profile is None else self.profile.exact

    @property
    def texts(self) -> Sequence[str]:
        """Texts of the profile questions; none where cards were imported."""
        return self.profile.texts if self.profile else ()

    @property
    def skills(self) -> tuple[str, ...]:
        """Names of the profile questions' skills, or of those that the cards know; sorted."""
        if self.profile is None:
            return tuple(sorted({name for card in self.cards.values() for name in card.skills}))
        return tuple(sorted({tag.name for tags in self.profile.skills for tag in tags}))


NOTHING = Knowledge({}, None)
