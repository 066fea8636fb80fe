"""A picture of the cards: skill x expert."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.domain.cards import CompetenceCard, Tally, shrunk_posterior
from orchestrator.domain.grades import GradeTally
from orchestrator.errors import CardError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

MAX_ROWS, MAX_COLUMNS = 60, 40
MAX_DOMAINS, MAX_GRADED = 20, 20
DOMAIN, GRADE = "domain: ", "grade: "
CELL_INCHES = (0.95, 0.46)
DPI = 140
COLOUR_MAP = "cividis"  # readable with every common colour vision, and in grey
MAX_LABEL_CHARS = 28

NO_DATA, ALL_ABSTAINED = "no data", "abstained only"
_HATCH = {NO_DATA: ("#f2f2f2", "///"), ALL_ABSTAINED: ("#ffffff", "xxx")}


def save_heatmap(
    cards: Mapping[str, CompetenceCard], path: Path, *, title: str = "Competence by skill and expert"
) -> None:
    """Write a PNG: one row per skill, and below them per domain of the questions, one column per expert.

    Colour and upper number: posterior mean accuracy, shrunk to the expert's overall accuracy; in rows that
    begin with `grade:` mean scores on open questions, shrunk likewise. Lower number: questions behind it.
    Cells without data, and cells with abstentions only, are hatched instead of coloured. The most observed
    skills are shown, at most 60 rows, of these at most 20 domains and 20 of grades, and at most 40 experts.

    Raises:
        CardError: no card has a skill.
    """
    skills = _rows(cards)
    experts = [e for e in sorted(cards) if cards[e].skills or _grades(cards[e])][:MAX_COLUMNS]
    if not skills or not experts:
        raise CardError("the cards hold no skill to draw.", remedy="Profile the pool first.")
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A figure of its own, not pyplot's: no global state, so this may run in any thread.
    width, height = CELL_INCHES[0] * len(experts) + 4.6, CELL_INCHES[1] * len(skills) + 2.2
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    colours = colormaps[COLOUR_MAP]
    for row, skill in enumerate(skills):
        for column, expert in enumerate(experts):
            _draw_cell(axes, column, row, cards[expert], skill, colours)
    _label(axes, skills, experts, title)
    _add_keys(figure, axes, colours)
    FigureCanvasAgg(figure).print_png(path)


def _rows(cards: Mapping[str, CompetenceCard]) -> list[str]:
    """Skills by name, then domains, then grades; of more than fit, those with the most observations."""
    domains = _most_observed((_domains(card) for card in cards.values()), MAX_DOMAINS)
    graded = _most_observed((_grades(card) for card in cards.values()), MAX_GRADED)
    room = MAX_ROWS - len(domains) - len(graded)
    return [*_most_observed((card.skills for card in cards.values()), room), *domains, *graded]


def _most_observed(
    tallies: Iterable[Mapping[str, Tally] | Mapping[str, GradeTally]], limit: int
) -> list[str]:
    observed: Counter[str] = Counter()
    for of_card in tallies:
        observed.update({name: round(tally.n) for name, tally in of_card.items()})
    return sorted(name for name, _ in observed.most_common(limit))


def _domains(card: CompetenceCard) -> dict[str, Tally]:
    return {f"{DOMAIN}{name}": tally for name, tally in card.domains.items()}


def _grades(card: CompetenceCard) -> dict[str, GradeTally]:
    if card.graded is None:
        return {}
    domains = {f"{GRADE}{DOMAIN}{name}": tally for name, tally in card.graded.domains.items()}
    return {**domains, **{f"{GRADE}{name}": tally for name, tally in card.graded.skills.items()}}


class Cell(NamedTuple):
    """Contents of a cell: questions, those among them that were abstained from, and the mean."""

    n: float = 0
    n_abstain: float = 0
    mean: float = 0.0


def _cell(card: CompetenceCard, row: str) -> Cell:
    grade = _grades(card).get(row)
    if grade is not None and card.graded is not None:
        return Cell(grade.n, 0, grade.posterior(card.graded.posterior.mean).mean)
    tally = {**_domains(card), **card.skills}.get(row, Tally())
    if not tally.n:
        return Cell()
    mean = shrunk_posterior(tally, prior_mean=card.total.accuracy).mean
    return Cell(tally.n, tally.n_abstain, mean)


def _draw_cell(
    axes: "Axes", column: int, row: int, card: CompetenceCard, skill: str, colours: "Colormap"
) -> None:
    from matplotlib.patches import Rectangle

    label, face, hatch, ink = _appearance(_cell(card, skill), colours)
    axes.add_patch(
        Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=face, hatch=hatch, edgecolor="#b0b0b0", lw=0.6)
    )
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0} if hatch else None
    axes.text(
        column, row, label, ha="center", va="center", fontsize=7.5, color=ink, bbox=box, linespacing=1.1
    )


def _appearance(cell: Cell, colours: "Colormap") -> tuple[str, tuple[float, ...] | str, str | None, str]:
    """Label, face, hatch and ink of a cell."""
    if cell.n == cell.n_abstain:
        face, hatch = _HATCH[NO_DATA if cell.n == 0 else ALL_ABSTAINED]
        return ("–" if cell.n == 0 else f"abst.\nn={cell.n:.0f}"), face, hatch, "#404040"
    face_colour = tuple(float(channel) for channel in colours(cell.mean))
    return f"{cell.mean:.2f}\nn={cell.n:.0f}", face_colour, None, ink_on(face_colour)


def ink_on(face: Sequence[float]) -> str:
    """Black or white, whichever contrasts more (WCAG 2.2 relative luminance; about linear^2.2)."""
    red, green, blue = (channel**2.2 for channel in face[:3])
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "white"


def _label(axes: "Axes", skills: Sequence[str], experts: Sequence[str], title: str) -> None:
    axes.set_xlim(-0.5, len(experts) - 0.5)
    axes.set_ylim(len(skills) - 0.5, -0.5)
    axes.set_xticks(range(len(experts)), [_short(e) for e in experts], rotation=40, ha="left", fontsize=9)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(skills)), [_short(s) for s in skills], fontsize=9)
    axes.tick_params(length=0)
    axes.set_title(title, fontsize=11, pad=12, loc="left")


def _short(name: str) -> str:
    return name if len(name) <= MAX_LABEL_CHARS else f"{name[: MAX_LABEL_CHARS - 1]}…"


def _add_keys(figure: "Figure", axes: "Axes", colours: "Colormap") -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.patches import Patch

    scale = figure.colorbar(ScalarMappable(cmap=colours), ax=axes, shrink=0.8, pad=0.02)
    scale.set_label("accuracy, or grade (posterior mean); n = questions", fontsize=8)
    scale.ax.tick_params(labelsize=8)
    patches = [
        Patch(facecolor=face, hatch=hatch, edgecolor="#b0b0b0", label=name)
        for name, (face, hatch) in _HATCH.items()
    ]
    figure.legend(handles=patches, loc="outside lower left", ncols=2, fontsize=8, frameon=False)
