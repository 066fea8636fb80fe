"""Timeline of a job's plan: what each device loaded and served, and will, as bars of a drawing."""

from collections.abc import Sequence
from typing import NamedTuple

from api.schemas.jobs import PlanView

WIDTH, LEFT, ROW, BAR = 1000.0, 130.0, 34.0, 22.0
"""Units of the drawing; names of devices stand left of `LEFT`."""
LABEL_UNITS = 7.2
"""Width of a letter: names stand in bars that hold them."""
N_COLOURS = 10
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
MOST_TICKS = 8


class Bar(NamedTuple):
    """A stay of an engine on a device: x and width of its load and of its work, and how it is told."""

    y: float
    load_x: float
    load_width: float
    work_x: float
    work_width: float
    label: str
    title: str
    colour: int
    is_past: bool


class Tick(NamedTuple):
    x: float
    seconds: float


class Device(NamedTuple):
    name: str
    y: float


class Timeline(NamedTuple):
    """A drawing. `now_x`: where what is left begins; `bound_x`: where it would end at best, None = it has
    ended or nothing is known."""

    height: float
    devices: Sequence[Device]
    bars: Sequence[Bar]
    ticks: Sequence[Tick]
    now_x: float | None
    bound_x: float | None


def timeline(plan: PlanView) -> Timeline:
    """The drawing of a plan; without stays it is empty."""
    names = sorted({stay.device for stay in plan.stays})
    if not names:
        return Timeline(0.0, (), (), (), None, None)
    ended = not any(not stay.past for stay in plan.stays)
    bound_s = None if ended or plan.overlapped_bound_s <= 0 else plan.seconds_done + plan.overlapped_bound_s
    until_s = max([stay.until_s for stay in plan.stays] + ([] if bound_s is None else [bound_s]))
    scale = (WIDTH - LEFT) / max(until_s, 1e-9)
    engines = sorted({stay.engine for stay in plan.stays})
    bars = []
    for stay in sorted(plan.stays, key=lambda each: (each.device, each.load_from_s)):
        y = names.index(stay.device) * ROW + (ROW - BAR) / 2
        load, work = stay.serve_from_s - stay.load_from_s, stay.until_s - stay.serve_from_s
        fits = len(stay.engine) * LABEL_UNITS < work * scale
        bars.append(
            Bar(
                y=y,
                load_x=LEFT + stay.load_from_s * scale,
                load_width=max(load * scale, 0.0),
                work_x=LEFT + stay.serve_from_s * scale,
                work_width=max(work * scale, 0.8),
                label=stay.engine if fits else "",
                title=f"{stay.engine} on {stay.device}: load {load:.1f} s, work {work:.1f} s"
                + (", done" if stay.past else ", planned"),
                colour=engines.index(stay.engine) % N_COLOURS,
                is_past=stay.past,
            )
        )
    return Timeline(
        height=len(names) * ROW,
        devices=[Device(name, index * ROW + ROW / 2) for index, name in enumerate(names)],
        bars=bars,
        ticks=[Tick(LEFT + seconds * scale, seconds) for seconds in _ticks(until_s)],
        now_x=None if ended else LEFT + plan.seconds_done * scale,
        bound_x=None if bound_s is None else LEFT + bound_s * scale,
    )


def _ticks(until_s: float) -> list[float]:
    step = next((tick for tick in TICKS if until_s / tick <= MOST_TICKS), TICKS[-1])
    return [n * step for n in range(int(until_s / step) + 1)]
