"""The learning curve of docs/distillation_results.md: gains over the base, drawn and as tables.

python docs/draw_learning_curve.py MEASURED OUT.svg

MEASURED holds the results of the rows base and curve-BY-N of benchmarks/distillation/rows.py, as
much as there is of them; beside it are their run folders. Prints how many samples each row was
trained on, a table for the seen tasks and one for the other tasks with labels.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from tabulate_distillation import read_rows, scopes_of, scores_of

from sentibench.files import write_beside
from sentibench.pages.drawing import Axis, span
from sentibench.scoring.statistics import Estimate, estimate, mean_over_tasks

SCOPES = {"seen": "seen tasks", "unseen labels": "unseen label tasks"}
BY = {  # how samples are chosen -> colour and shape of its marks
    "random": ("#1b1f23", "M-4,-4h8v8h-8z"),
    "difficulty": ("#0072b2", "M0,-6l6,10h-12z"),
    "confidence": ("#b04a00", "M0,-6l6,6l-6,6l-6,-6z"),
}
WHOLE = 4_000  # samples that the others are chosen from, as in rows.py
WIDE, HIGH, LEFT, TOP, BESIDE = 390, 260, 60, 60, 440  # of a panel, and from one to the next
Gains = dict[tuple[str, int], Estimate]
"""How samples were chosen, and how many -> gain over the base, a share."""


def gains_of(measured: Path) -> dict[str, Gains]:
    """Scope -> gains, with 95% intervals of a paired bootstrap over items."""
    rows = sorted(path for path in measured.glob("curve-*") if any(path.rglob("results_*.json")))
    if not rows:
        raise SystemExit(f"{measured}: no results of a row curve-BY-N; measure them with rows.py")
    names = ["base", *(path.name for path in rows)]
    _, found = read_rows({name: measured / name for name in names})
    scores = scores_of(found, names)
    scopes = scopes_of(list(scores))
    gains: dict[str, Gains] = {}
    for scope in SCOPES:
        mean = mean_over_tasks([scores[task] for task in scopes[scope]])
        gains[scope] = {}
        for column, name in enumerate(names[1:], 1):
            _, by, n = name.split("-")
            gains[scope][by, int(n)] = estimate(
                mean.values_M[column] - mean.values_M[0],
                mean.draws_BM[:, column] - mean.draws_BM[:, 0],
            )
    return gains


def table(gains: Gains) -> str:
    """Markdown: a row for each number of samples, a column for each choice."""
    lines = ["| samples | " + " | ".join(BY) + " |", "|---" * (1 + len(BY)) + "|"]
    for n in sorted({n for _, n in gains}):
        cells: list[str] = []
        for by in BY:
            gain = gains.get((by, n))
            said = span(gain, signed=True) if gain else ""
            cells.append(f"**{said}**" if gain and (gain.low > 0 or gain.high < 0) else said)
        lines.append(f"| {n:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(gains: dict[str, Gains]) -> str:
    """SVG: a panel for each scope, the same scales in all."""
    every = [e for of_scope in gains.values() for e in of_scope.values()]
    axis = Axis.around(
        100 * min(0, *(e.low for e in every)), 100 * max(e.high for e in every), wanted=6
    )
    counts = sorted({n for of_scope in gains.values() for _, n in of_scope})
    places = np.linspace(0.08, 0.92, len(counts)) * WIDE

    def y(share: float) -> float:
        return round(HIGH - HIGH * axis.at(100 * share) / 100, 1)

    panels: list[dict[str, Any]] = []
    for number, (scope, of_scope) in enumerate(gains.items()):
        lines: list[dict[str, Any]] = []
        for place, (by, (colour, shape)) in enumerate(BY.items()):
            marks: list[tuple[float, float, float, float, str, int]] = []
            for x, n in zip(places, counts, strict=True):
                # all samples are no choice: every line ends there
                gain = of_scope.get(("random", n) if n == WHOLE else (by, n))
                if gain:
                    aside = 7 * (place - 1) if n != WHOLE else 0
                    ends = y(gain.value), y(gain.low), y(gain.high)
                    marks.append((round(float(x) + aside, 1), *ends, span(gain, signed=True), n))
            lines.append({"by": by, "colour": colour, "shape": shape, "marks": marks})
        panels.append({"x": LEFT + number * BESIDE, "title": SCOPES[scope], "lines": lines})
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE).render(
        panels=panels,
        counts=[(round(float(x), 1), f"{n:,}") for x, n in zip(places, counts, strict=True)],
        ticks=[(y(tick / 100), axis.tick_text(tick), tick == 0) for tick in axis.ticks],
        whole=WHOLE,
        wide=WIDE,
        high=HIGH,
        top=TOP,
        by=BY,
    )


TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 400" role="img" aria-labelledby="t d">
<title id="t">How many samples are enough</title>
<desc id="d">Gain over the base in points with 95% intervals, against the number of samples.</desc>
<style>
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
  text { fill: #1b1f23; text-anchor: middle; }
  .n { text-anchor: end; fill: #565e66; }
  .b { font-weight: 650; text-anchor: start; }
  .l { text-anchor: start; }
  .g { stroke: #e1e4e8; }
  .z { stroke: #565e66; stroke-dasharray: 4 3; }
</style>
<rect width="900" height="400" fill="#ffffff"/>
{% for panel in panels %}
<g transform="translate({{ panel.x }},{{ top }})">
<text class="b" x="0" y="-14">Gain over the base, {{ panel.title }} (points)</text>
{% for y, text, zero in ticks %}
<path class="{{ 'z' if zero else 'g' }}" d="M0,{{ y }}H{{ wide }}"/>
<text class="n" x="-8" y="{{ y + 4.5 }}">{{ text }}</text>
{% endfor %}
{% for x, text in counts %}
<text x="{{ x }}" y="{{ high + 22 }}">{{ text }}</text>
{% endfor %}
<text x="{{ wide / 2 }}" y="{{ high + 44 }}">samples</text>
{% for line in panel.lines %}
<g stroke="{{ line.colour }}" fill="{{ line.colour }}">
<path fill="none" stroke-width="1.5" d="
{%- for x, y, _, _, _, _ in line.marks %}{{ 'M' if loop.first else 'L' }}{{ x }},{{ y }}
{%- endfor %}"/>
{% for x, y, low, high, text, n in line.marks if line.by == "random" or n != whole %}
<path stroke-width="1.5" d="M{{ x }},{{ low }}V{{ high }}"/>
<path transform="translate({{ x }},{{ y }})" stroke="none" d="{{ line.shape }}">
<title>{{ line.by }}, {{ n }} samples: {{ text }}</title></path>
{% endfor %}
</g>
{% endfor %}
</g>
{% endfor %}
{% for name, (colour, shape) in by.items() %}
<g transform="translate({{ 60 + 120 * loop.index0 }},20)">
<path fill="{{ colour }}" d="{{ shape }}"/>
<text class="l" x="12" y="4.5">{{ name }}</text></g>
{% endfor %}
</svg>
"""


def main(measured: str, out: str) -> None:
    """Print the tables and draw the curves."""
    gains = gains_of(Path(measured))
    for summary in sorted(Path(measured).parent.glob("curve-*/icldist-train/training.json")):
        print(f"{summary.parents[1].name}: {json.loads(summary.read_text('utf-8'))['samples']}")
    for scope, title in SCOPES.items():
        print(f"Gain over the base, {title}:\n\n{table(gains[scope])}\n")
    write_beside(Path(out), draw(gains))


if __name__ == "__main__":
    main(*sys.argv[1:])
