"""Results as tables for people. Nothing here decides anything."""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from api.digits import digits

if TYPE_CHECKING:
    from api.schemas.experts import HistoryView
    from orchestrator.batching import JobPlan
    from orchestrator.domain.answers import Answer, Decision, Recruit
    from orchestrator.domain.cards import CompetenceCard, Tally
    from orchestrator.domain.diagnoses import Diagnosis
    from orchestrator.domain.engines import EngineState
    from orchestrator.domain.experts import Pool
    from orchestrator.domain.feedback import Drift, Feedback
    from orchestrator.domain.fusions import FusionTrace
    from orchestrator.domain.merges import MergeProblem
    from orchestrator.evaluation.bench import BenchReport
    from orchestrator.evaluation.comparison import Difference
    from orchestrator.evaluation.compositions import CompositionsReport
    from orchestrator.evaluation.replay.results import ReplayReport
    from orchestrator.evaluation.swiss import Standing

NO_STATES: Mapping[str, "EngineState"] = MappingProxyType({})
NO_DATES: Mapping[str, float] = MappingProxyType({})
TOP_SKILLS = 3
ALONE = "first"
"""Aggregator of who asks one expert by its id."""


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def table(title: str, *columns: str, numbers: Iterable[str] = (), whole: Iterable[str] = ()) -> Table:
    """`numbers`: columns that are aligned right; `whole`: those whose cells are copied, so never folded."""
    result = Table(title=title, title_justify="left", box=box.SIMPLE, collapse_padding=True, pad_edge=False)
    right, unfolded = set(numbers), set(whole)
    for column in columns:
        if column in right:
            result.add_column(column, justify="right", no_wrap=True)
        else:
            result.add_column(column, overflow="fold", no_wrap=column in unfolded)
    return result


def experts_table(
    pool: "Pool",
    cards: Mapping[str, "CompetenceCard"],
    states: Mapping[str, "EngineState"] = NO_STATES,
    *,
    paused: Collection[str] = (),
) -> Table:
    """Experts of the pool, in its order. Args: states: by engine; an engine without one gets a dash."""
    columns = ("expert", "engine", "backend", "roles", "accuracy", "state")
    result = table("Experts", *columns, numbers=["accuracy"])
    for expert in pool.experts:
        card = cards.get(expert.id)
        known = _known(card) if card else "not profiled"
        state = states[expert.engine.id].state if expert.engine.id in states else "–"
        result.add_row(
            expert.id,
            expert.engine.id,
            expert.engine.backend,
            ", ".join(sorted(expert.roles)),
            known,
            "paused" if expert.id in paused else state,
        )
    return result


def engine_lines(states: Iterable["EngineState"]) -> list[Text]:
    """A line for each engine that cannot be served now: since when, why, the next try, what heals it."""
    from api.views.experts import engine_line

    return [
        Text.assemble((f"{s.engine_id}: ", "bold"), engine_line(s), (f": {_reason(s)}" if s.why else ""))
        for s in states
        if not s.is_well
    ]


def _reason(state: "EngineState") -> str:
    """Why, with the remedy unless that says it already."""
    why, heal = state.why or "", state.heal or ""
    return why if not heal or heal in why else f"{why} {heal}"


def cards_table(cards: Mapping[str, "CompetenceCard"], dates: Mapping[str, float] = NO_DATES) -> Table:
    """Cards by expert: counts of all skills together, the names of the best skills and domains, and the day
    on which the card was stored. `dates`: of the cards, in seconds since 1970, by expert."""
    counts = ["accuracy", "right", "wrong", "abstained"]
    best = ["best skills", *(["best domains"] if any(card.domains for card in cards.values()) else [])]
    dated = ["card of"] if dates else []
    result = table("Competence cards", "expert", *counts, *best, *dated, numbers=counts)
    for expert_id, card in sorted(cards.items()):
        shown = [_best(card, card.skills), _best(card, card.domains)][: len(best)]
        result.add_row(
            expert_id,
            measured(card.total),
            *_counts(card.total),
            *map(", ".join, shown),
            *([day(dates.get(expert_id))] if dates else []),
        )
    return result


def measured(tally: "Tally") -> str:
    """Accuracy; a dash where nothing was measured, as of a member that only aggregates."""
    return _percent(tally.accuracy) if tally.n else "–"


def day(at_s: float | None) -> str:
    """Date in UTC of seconds since 1970; a dash for none."""
    return "–" if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d")


def history_table(expert_id: str, history: "HistoryView") -> Table:
    """Measurements of an expert, one for each question set, the last one first."""
    numbers = ["accuracy", "questions", "tokens"]
    result = table(f"Measurements of {expert_id}", "card of", "question set", *numbers, "", numbers=numbers)
    for one in history.data:
        n = one.total.n_right + one.total.n_wrong + one.total.n_abstain
        notes = ["now"] if one.is_current else []
        notes += [] if one.is_as_configured else ["other weights or settings"]
        result.add_row(
            day(one.stored_at),
            one.profile_hash[:8],
            _percent(one.total.accuracy) if n else "–",
            f"{n:.0f}",
            f"{one.mean_tokens:.0f}",
            ", ".join(notes),
        )
    result.caption = "Accuracies on different questions are no trend."
    return result


def _known(card: "CompetenceCard") -> str:
    """`70.0 %`, `grade 0.62`, or both of an expert that was measured on questions of both kinds."""
    grades = [f"grade {card.graded.posterior.mean:.2f}"] if card.graded is not None else []
    return ", ".join([*([measured(card.total)] if card.total.n or not grades else []), *grades])


def _counts(tally: "Tally") -> list[str]:
    """Right, wrong and abstained; a dash for each where nothing was measured."""
    counts = (tally.n_right, tally.n_wrong, tally.n_abstain)
    return [f"{round(n, 1):g}" if tally.n else "–" for n in counts]


def drift_table(drifts: "Iterable[Drift]", dates: Mapping[str, float] = NO_DATES) -> Table:
    """Recent feedback, and since when, beside what the card expects, with its 90 % interval, in percent.
    `dates`: of the cards, in seconds since 1970, by expert."""
    from orchestrator.domain.feedback import DAY_S

    numbers = ["recently", "answers", "expected"]
    columns = ["expert", "skill", *numbers, "since", "card of"]
    result = table("Feedback that the cards do not explain", *columns, numbers=numbers)
    for drift in drifts:
        low, high = drift.interval
        expected = f"{_percent(drift.expected)} ({100 * low:.0f} to {100 * high:.0f})"
        answers = f"{round(drift.n, 1):g}"
        days = [day(drift.first_day * DAY_S), day(dates.get(drift.expert_id))]
        result.add_row(
            drift.expert_id, drift.skill or "(all)", _percent(drift.recent), answers, expected, *days
        )
    return result


def feedback_table(feedback: "Feedback") -> Table:
    """Counts that a judgement adds to each expert's, in shares of one observation."""
    numbers = ["right", "wrong", "abstained"]
    result = table(f"Judged {feedback.score:g}: {feedback.query_id}", "expert", *numbers, numbers=numbers)
    for expert_id, tally in sorted(feedback.experts.items()):
        result.add_row(expert_id, *(f"{n:.2g}" for n in (tally.n_right, tally.n_wrong, tally.n_abstain)))
    return result


def swiss_table(standings: "Iterable[Standing]") -> Table:
    """Wins of a tournament, and how many of them go when the last ones of each round leave."""
    numbers = ["place", "wins", "rounds", "lost wins", "left early"]
    result = table("Swiss rounds over the profile's subjects", "expert", *numbers, numbers=numbers)
    for place, standing in enumerate(standings, 1):
        result.add_row(
            standing.expert_id,
            str(place),
            f"{standing.wins:.2f}",
            str(standing.n_rounds),
            _percent(standing.sensitivity),
            _percent(standing.eliminated),
        )
    return result


def _best(card: "CompetenceCard", tallies: "Mapping[str, Tally]") -> list[str]:
    """Names with the highest estimates, of those in which anything was right."""
    from orchestrator.domain.cards import shrunk_posterior

    overall = card.total.accuracy
    right = {name: tally for name, tally in tallies.items() if tally.n_right > 0}
    means = {name: shrunk_posterior(t, prior_mean=overall).mean for name, t in right.items()}
    return sorted(means, key=lambda name: (-means[name], name))[:TOP_SKILLS]


def card_table(card: "CompetenceCard", at_s: float | None = None) -> Table:
    """One expert by skill and by domain: estimates shrunk towards its accuracy, in percent, and counts.
    `at_s`: when the card was stored, in seconds since 1970."""
    from orchestrator.domain.cards import shrunk_posterior

    numbers = ["estimate", "90 % interval", "right", "wrong", "abstained"]
    of_day = "" if at_s is None else f" of {day(at_s)}"
    result = table(f"Competence card of {card.expert_id}{of_day}", "skill", *numbers, numbers=numbers)
    domains = [(f"domain: {name}", tally) for name, tally in sorted(card.domains.items())]
    for name, tally in [*sorted(card.skills.items()), *domains]:
        known = shrunk_posterior(tally, prior_mean=card.total.accuracy)
        interval = f"{100 * known.low:.0f} to {100 * known.high:.0f}"
        result.add_row(name, _percent(known.mean), interval, *_counts(tally))
    return result


def decision_table(decision: "Decision") -> Table:
    """A decision as a table: recruits and why, reserves, and last the best expert that was left out."""
    skills = ", ".join(f"{tag.name} ({tag.weight:.2f})" for tag in decision.skills) or "unknown"
    numbers = ["weight", "estimate"]
    result = table(f"Recruits for skills: {skills}", "expert", *numbers, "because", numbers=numbers)
    for recruit in decision.recruits:
        result.add_row(
            recruit.expert_id, f"{recruit.weight:.2f}", _percent(recruit.accuracy), because(recruit)
        )
    for reserve in decision.reserves:
        result.add_row(f"({reserve.expert_id})", "–", _percent(reserve.accuracy), "in reserve")
    if decision.runner_up is not None:
        runner_up, would_change = decision.runner_up, decision.would_change or because(decision.runner_up)
        result.add_row(
            f"({runner_up.expert_id})", "–", _percent(runner_up.accuracy), f"left out: {would_change}"
        )
    return result


def because(recruit: "Recruit") -> str:
    """`algebra: 7 of 10 right` for each skill, with the note of the router."""
    parts = [f"{e.skill}: {_percent(e.accuracy)} on {round(e.n, 1):g}" for e in recruit.evidence]
    return "; ".join([*parts, *([recruit.note] if recruit.note else [])])


def votes_table(answer: "Answer") -> Table:
    """Votes in the order of the answer, abstentions with their reason."""
    result = table("Votes", "expert", "answer", "weight", numbers=["weight"])
    for vote in answer.votes:
        shown = vote.value if vote.value is not None else f"abstained: {vote.abstained_because or 'unread'}"
        result.add_row(vote.expert_id, shown, f"{vote.weight:.2f}")
    return result


def answer_lines(answer: "Answer") -> Text:
    """The answer's text, then a line on how sure it is, or how good, and what went wrong on the way."""
    facts = []
    if answer.confidence is not None:
        facts.append(f"confidence {_percent(answer.confidence)}")
    if answer.answer_type is not None and answer.answer_type.is_graded:
        by = f"by {answer.answered_by or 'several'}"
        facts += [by] if answer.aggregator == ALONE else [_expected(answer), f"rule {answer.aggregator}", by]
    facts.append(f"{answer.n_calls} call{'' if answer.n_calls == 1 else 's'}")
    facts += ["degraded"] if answer.degraded else []
    facts += [_fusion_cost(answer.fusion)] if answer.fusion is not None else []
    return Text.assemble((answer.text, "bold"), "\n", (", ".join([*facts, *answer.notes]), "dim"))


def _expected(answer: "Answer") -> str:
    """`expected grade .62 (.55–.69, imported)`."""
    grade = answer.expected_grade
    if grade is None:
        return "no grade known"
    mean, low, high = (_fraction(value) for value in (grade.mean, grade.low, grade.high))
    return f"expected grade {mean} ({low}–{high}, {grade.source})"


def _fraction(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def _fusion_cost(trace: "FusionTrace") -> str:
    passes = ", ".join(f"{member} {n}" for member, n in trace.passes.items())
    return f"{trace.rule} in {trace.seconds:.2f} s, passes: {passes}"


def fusion_table(trace: "FusionTrace") -> Table:
    """Tokens of a fusion, with what its rule chose at each."""
    result = table(
        f"Fusion {trace.rule}", "step", "token", "alpha", "loss", numbers=["step", "token", "loss"]
    )
    for at, step in enumerate(trace.steps):
        alphas = step.alpha if isinstance(step.alpha, tuple) else (step.alpha,)
        shown = ", ".join("—" if alpha is None else f"{alpha:g}" for alpha in alphas)
        result.add_row(str(at), str(step.token_id), shown, "—" if step.loss is None else f"{step.loss:.3g}")
    return result


def bench_table(report: "BenchReport") -> Table:
    """Accuracies and differences in percent points, with 95 % intervals."""
    numbers = ["accuracy", "95 %", "calls", "loads", "engines", "s", "vs best single"]
    result = table(f"{report.n_queries} questions", "composition", *numbers, numbers=numbers)
    differences = {d.a: d for d in report.differences}
    for row in report.rows:
        paired = differences.get(row.name)
        result.add_row(
            row.name,
            f"{100 * row.accuracy:.1f}",
            f"{100 * row.ci95[0]:.0f}–{100 * row.ci95[1]:.0f}",
            f"{row.calls_per_query:.1f}",
            _or_dash(row.loads, "d"),
            str(row.engines),
            _or_dash(row.seconds, ".1f"),
            _points(paired) if paired else "",
        )
    if any(row.derived for row in report.rows):
        result.caption = "–: not run, answered from responses that other rows got; --run-all runs every row"
    return result


def compositions_table(report: "CompositionsReport") -> Table:
    """Accuracies and differences in percent points, with 95 % intervals; rows by kind as they were run."""
    numbers = ["accuracy", "95 %", "GFLOP", "s", "vs single, same GFLOP", "vs single, same s"]
    title = f"{report.n_queries} questions, {report.n_experts} experts"
    result = table(title, "row", "kind", *numbers, numbers=numbers)
    for row in report.rows:
        by_flop, by_time = row.minus_single, row.minus_single_by_seconds
        result.add_row(
            row.name,
            row.kind,
            f"{100 * row.accuracy:.1f}",
            f"{100 * row.ci95[0]:.0f}–{100 * row.ci95[1]:.0f}",
            _gflop(row.gflop_per_query) + ("*" if row.on_front else ""),
            f"{row.seconds:.1f}" + ("*" if row.on_seconds_front else ""),
            _points(by_flop) if by_flop else "",
            _points(by_time) if by_time else "",
        )
    result.caption = (
        "GFLOP: a question, all forward passes; *: on the Pareto front; "
        "vs single: the most accurate single of no more cost"
    )
    return result


def _gflop(amount: float | None) -> str:
    return "–" if amount is None else digits(amount, 3)


def _or_dash(number: float | None, form: str) -> str:
    return "–" if number is None else format(number, form)


def replay_table(report: "ReplayReport") -> Table:
    """Accuracies and differences in percent points, with 95 % intervals; rows by accuracy."""
    numbers = ["accuracy", "sd", "95 %", "calls", "ECE", "auto minus it", "s"]
    if report.is_length_controlled:
        return _graded_table(report)
    result = table(report.subtitle, "composition", *numbers, numbers=numbers)
    for row in sorted(report.rows, key=lambda row: -row.accuracy):
        low, high = row.auto_minus_ci95 or (0.0, 0.0)
        result.add_row(
            row.name,
            f"{row.accuracy:.1f}",
            f"{row.sd:.1f}",
            f"{row.ci95[0]:.1f}–{row.ci95[1]:.1f}",
            f"{row.calls:.2f}",
            "" if row.ece is None else f"{row.ece:.3f}",
            "" if row.auto_minus is None else f"{row.auto_minus:+.1f} ({low:+.1f} {high:+.1f})",
            f"{row.seconds:.1f}",
        )
    return result


def _graded_table(report: "ReplayReport") -> Table:
    """Mean grades, gains over the best single expert, and what is left of these at equal lengths."""
    numbers = ["mean grade", "95 %", "calls", "gain", "length-controlled", "at its lengths", "s"]
    result = table(report.subtitle, "composition", *numbers, numbers=numbers)
    for row in sorted(report.rows, key=lambda row: -row.accuracy):
        low, high = row.gain_ci95 or (0.0, 0.0)
        result.add_row(
            row.name,
            f"{row.accuracy:.1f}",
            f"{row.ci95[0]:.1f}–{row.ci95[1]:.1f}",
            f"{row.calls:.2f}",
            "" if row.gain is None else f"{row.gain:+.1f} ({low:+.1f} {high:+.1f})",
            "" if row.lc_gain is None else f"{row.lc_gain:+.1f}",
            "" if row.same_length_gain is None else f"{row.same_length_gain:+.1f}",
            f"{row.seconds:.1f}",
        )
    return result


def _points(difference: "Difference") -> str:
    """`+1.3 (-0.5 +3.1)`."""
    low, high = difference.ci95
    return f"{100 * difference.difference:+.1f} ({100 * low:+.1f} {100 * high:+.1f})"


def plan_table(plan: "JobPlan") -> Table:
    """Each device's engines in their order; seconds since the job was submitted."""
    numbers = ["from", "serves", "until"]
    result = table(
        f"Job {plan.job_id}: {plan.state.value}", "device", "engine", *numbers, "", numbers=numbers
    )
    for stay in sorted(plan.stays, key=lambda stay: (stay.device, stay.load_from_s)):
        times = (f"{t:.1f} s" for t in (stay.load_from_s, stay.serve_from_s, stay.until_s))
        how = "planned" if not stay.is_past else "" if stay.kind is None else stay.kind.value
        result.add_row(stay.device, stay.engine_id, *times, how)
    return result


def plan_lines(plan: "JobPlan") -> Text:
    """Totals, and how far from the lower bound."""
    if plan.ratio is not None:
        close = f"{plan.ratio:.2f} times the lower bound of {plan.lower_bound_s:.1f} s"
        if plan.overlapped_ratio is not None:
            close += (
                f", {plan.overlapped_ratio:.2f} times that with loads hidden, {plan.overlapped_bound_s:.1f} s"
            )
        return Text(f"{plan.loads_done} loads, {plan.seconds_done:.1f} s: {close}")
    left = f"{plan.loads_left} loads and about {plan.seconds_left:.1f} s left"
    proven = ", the shortest there is" if plan.is_optimal else ""
    hidden = f"with loads hidden behind work {plan.overlapped_bound_s:.1f} s"
    bound = f"no schedule needs less than {plan.lower_bound_s:.1f} s{proven}, {hidden}"
    return Text(f"{plan.loads_done} loads and {plan.seconds_done:.1f} s done, {left}; {bound}")


def problems_table(problems: Iterable["MergeProblem"]) -> Table:
    """Findings of a merge's preflight: errors refuse it, warnings do not."""
    result = table("Preflight", "", "kind", "model", "tensor", "have", "wanted")
    for p in problems:
        mark = Text("error", style="red") if p.severity == "error" else Text("warning", style="yellow")
        shown = ("" if value is None else str(value) for value in (p.have, p.want))
        result.add_row(mark, p.kind, p.model or "", p.tensor or "", *shown)
    return result


def checks_table(checks: Iterable["Diagnosis"]) -> Table:
    """Diagnoses, with the remedy of those that failed."""
    result = table("Checks", "check", "", "detail", "remedy")
    for check in checks:
        mark = Text("ok", style="green") if check.ok else Text("FAILED", style="red")
        result.add_row(check.check, mark, check.detail, check.remedy or "")
    return result
