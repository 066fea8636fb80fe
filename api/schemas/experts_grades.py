"""Wire types of grades: scores of answers to open questions, on cards and in reports of profiling."""

from api.schemas.base import Wire


class GradeView(Wire):
    """Mean of `n` scores in [0, 1], with its 90 % interval from `low` to `high`."""

    n: float
    mean: float
    low: float
    high: float


class LengthsView(Wire):
    """Lengths of answers as ln(1 + characters): mean and quantiles at 10, 20, 50 and 90 %."""

    mean: float
    low: float
    fifth: float
    median: float
    high: float


class GapView(Wire):
    """Mean grade less that of the `best` expert, on the `n` questions with scores of both, and its 95 %
    interval; `separated` false: their order is noise."""

    best: str
    difference: float
    low: float
    high: float
    n: int
    separated: bool


class GradesView(Wire):
    """Grades on a card, by one source. `abstained`: of `total.n`, empty or failed answers, with score 0;
    `unscored` answers count nowhere. `gap`: None for the best expert, or where nothing can be compared."""

    source: str
    judge: str
    total: GradeView
    skills: dict[str, GradeView]
    domains: dict[str, GradeView]
    abstained: int
    unscored: int
    lengths: LengthsView | None
    gap: GapView | None = None


class JudgeCheckView(Wire):
    """Answers that the judge read twice, in both orders: share whose readings agree, and the mean difference
    of their scores."""

    n: int
    agreement: float
    difference: float


class GradingView(Wire):
    """Scores behind a profile's grades. `source` None: nobody scored the `questions` open ones. `scored`
    answers; `unscored`: by expert; `overruled`: given scores of empty or failed answers, which have 0;
    `per_doubling`: score gained by an answer twice as long as another to the same question."""

    questions: int
    source: str | None
    judge: str
    scored: int
    unscored: dict[str, int]
    overruled: int
    check: JudgeCheckView | None
    per_doubling: float | None
    notes: list[str]
