"""The sections of a page, each from the content alone; None where there is nothing to show."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from stackfuse._display.page.content import THE_STACK, Content
from stackfuse._display.page.elements import (
    Html,
    Number,
    breakable,
    column_of,
    element,
    in_box,
    joined,
    numbers_like,
    table,
)
from stackfuse._display.page.figures import Mark, bars, curves, dots, figure, legend
from stackfuse._display.rowwise import STACK, calibration_error

#: Bases whose loss is beyond this many standard errors are told from those that add nothing.
_SURE = 2.0

#: Losses below this part of the scores are what optimizers leave, and say nothing.
_DUST = 1e-6

_NOTHING_ODD = (
    "Nothing odd was found. The report looked for rows without predictions, rare classes, "
    "far-off targets and bases that failed. It also looked for bases that repeat each other, or "
    "that are too good or too bad to be true."
)


def leaderboard(content: Content) -> Html | None:
    """Return the scores of the bases and the stack, best first."""
    scores = _best_first(content)
    marks = [
        Mark(_shown(name), row.iloc[0], row.iloc[1], marked=name == STACK)
        for name, row in scores.iterrows()
    ]
    better = "higher" if content.greater_is_better else "lower"
    known = [mark for mark in marks if np.isfinite(mark.value)]
    if not known:
        return None
    write = numbers_like([m.value for m in known], [m.error for m in known])
    alt = f"{content.metric} of {len(known)} models, {better} is better: " + ", ".join(
        f"{mark.name} {write(mark.value)}" for mark in known
    )
    caption = (
        f"{content.metric} of each model, best first; {better} is better. Lines reach two standard "
        "errors to both sides."
    )
    note = element(
        "p",
        f"Means over the scored folds ({content.n_folds}) with standard errors (s.e.). No model "
        "was scored on rows that it was trained on. The stack's score is slightly too good: the "
        "meta-learner learns from predictions of bases that were trained on the scored fold too.",
        class_="note",
    )
    return _beside(
        figure(dots(marks, alt), caption),
        table(*leaderboard_table(content), marked=THE_STACK),
        note,
    )


def _without_dust(content: Content) -> pd.DataFrame:
    """Return the scores; what is lost without a base is 0 where only rounding is left of it."""
    scores = content.scores.copy()
    known = np.abs(scores.iloc[:, 0].to_numpy(float))
    least = _DUST * np.max(known[np.isfinite(known)], initial=0.0)
    lost = scores.iloc[:, 3:5].to_numpy(float)
    scores.iloc[:, 3:5] = np.where(np.abs(lost) < least, 0.0, lost)
    return scores


def leaderboard_table(content: Content) -> tuple[str, list[str], list]:
    """Return caption, heads and rows of the leaderboard, best first."""
    scores = _best_first(content)
    columns = [
        column_of(scores.iloc[:, k], [0.01] if e is None else scores.iloc[:, e])
        for k, e in ((0, 1), (1, 1), (2, None), (3, 4), (4, 4))
    ]
    head = ["model", content.metric, "s.e.", "weight", "lost without it", "s.e. of that"]
    names = [_shown(name) for name in scores.index]
    return f"Leaderboard by {content.metric}", head, list(zip(names, *columns))


def weights(content: Content) -> Html | None:
    """Return the section on the weights of the bases in the meta-learner."""
    given = content.scores.iloc[:-1, 2]
    known = given[np.isfinite(given)].sort_values(ascending=False, kind="stable")
    if known.empty:
        return element(
            "p", "This meta-learner has neither weights nor importances nor coefficients to show."
        )
    marks = [Mark(str(name), value) for name, value in known.items()]
    alt = "Weights: " + ", ".join(f"{mark.name} {mark.value:.2f}" for mark in marks)
    return figure(
        bars(marks, alt),
        "Weights of the meta-learner or, where it has none, each base's share in its importances "
        "or coefficients.",
    )


def additions(content: Content) -> Html | None:
    """Return by how much the stack scores worse without each base."""
    bases = _without_dust(content).iloc[:-1]
    bases = bases[np.isfinite(bases.iloc[:, 3])]
    if bases.empty:
        return None
    bases = bases.iloc[np.argsort(-bases.iloc[:, 3].to_numpy(), kind="stable")]
    marks = [Mark(str(name), row.iloc[3], row.iloc[4]) for name, row in bases.iterrows()]
    write = numbers_like([m.value for m in marks], [m.error for m in marks])
    alt = f"{content.metric} lost without each base: " + ", ".join(
        f"{mark.name} {write(mark.value)}" for mark in marks
    )
    return joined(
        element("p", _who_adds(marks)),
        figure(
            dots(marks, alt, zero=True),
            f"How much worse {content.metric} gets without each base. Right of the line the base "
            "helps. Left of it the stack would do better without the base. Lines reach two "
            "standard errors to both sides.",
        ),
    )


def _who_adds(marks: list[Mark]) -> str:
    sure = [m.name for m in marks if np.isfinite(m.error) and m.value > _SURE * m.error]
    harm = [m.name for m in marks if np.isfinite(m.error) and m.value < -_SURE * m.error]
    said = []
    if sure:
        them = "it" if len(sure) == 1 else "them"
        said.append(
            f"The stack needs {_listed(sure)}: without {them}, its score gets clearly worse."
        )
    if harm:
        said.append(f"The stack would do better without {_listed(harm)}.")
    rest = len(marks) - len(sure) - len(harm)
    if rest and said:
        others = "other base changes" if rest == 1 else f"other {rest} bases change"
        said.append(f"The {others} nothing beyond noise.")
    if not said:
        said.append("No single base changes the stack's score beyond noise when it is left out.")
    return " ".join(said)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def calibration(content: Content) -> Html | None:
    """Return whether predictions mean what they say: of probabilities, or of numbers."""
    evidence = content.evidence
    if evidence is None or not evidence.predictions:
        return None
    lines = {_shown(name): curve for name, curve in evidence.calibration().items()}
    marked = THE_STACK if THE_STACK in lines else None
    if evidence.kind == "numbers":
        rows, summary = _number_rows(content), "RMSE, MAE and bias of each model"
        unit = "" if evidence.y.ndim == 1 else ", in standard deviations of each target"
        head = ["model", "RMSE", "MAE", "bias"]
        titles = (f"mean prediction{unit}", f"mean target{unit}")
        caption = (
            "Rows are sorted by prediction and cut into ten equal groups; each point is the mean "
            "target in a group. On the dashed line predictions are right on average. Below it "
            "they are too high."
        )
        what = "Mean target against mean prediction"
    else:
        rows, summary = _chance_rows(content), "Calibration of each model"
        head = ["model", "calibration error", "Brier score"]
        titles = ("predicted probability", "share that came true")
        caption = (
            "Share of rows that came true, by predicted probability, in ten bins of equal width. "
            "On the dashed line the probabilities are right. Below it they are too high."
        )
        what = "Share that came true against predicted probability"
    own = next((row for row in rows if row[0] == THE_STACK), rows[0])
    alt = f"{what}, of {len(lines)} models. {own[0]}: " + ", ".join(
        f"{name} {cell.shown}" for name, cell in zip(head[1:], own[1:])
    )
    keys = {"own": THE_STACK} if marked else {}
    keys |= {"base": "bases"} if len(lines) > len(keys) else {}
    return _beside(
        figure(
            curves(lines, marked, alt, titles, chances=evidence.kind != "numbers"),
            caption,
            legend({**keys, "diagonal": "right on average"}),
        ),
        table(summary, head, rows, marked=THE_STACK),
        element("p", _about_calibration(content), class_="note"),
    )


def _about_calibration(content: Content) -> str:
    kind = content.evidence.kind if content.evidence is not None else "numbers"
    if kind == "numbers":
        return "Bias is the mean of prediction minus target."
    pooled = "All labels are pooled. " if kind == "labels" else ""
    if kind == "classes" and content.evidence is not None and len(content.evidence.classes) > 2:
        pooled = "All classes are pooled, each against the others. "
    return (
        f"{pooled}The calibration error is the mean distance from the dashed line; the Brier score "
        "is the mean squared error of the probabilities. Both are best at 0."
    )


def _number_rows(content: Content) -> list:
    return _rows_of(
        content,
        root_mean_squared_error,
        mean_absolute_error,
        lambda y, said: float(np.mean(said - y)),
    )


def _chance_rows(content: Content) -> list:
    return _rows_of(content, calibration_error, lambda y, said: float(np.mean((said - y) ** 2)))


def _rows_of(content: Content, *measures: Callable) -> list:
    evidence = content.evidence
    if evidence is None:
        return []
    pairs = {_shown(name): evidence.pairs(said) for name, said in evidence.predictions.items()}
    pairs = {name: pair for name, pair in pairs.items() if len(pair[0])}
    columns = [column_of([of(*pair) for pair in pairs.values()]) for of in measures]
    return list(zip(pairs, *columns))


def correlation(content: Content) -> Html | None:
    """Return how alike the errors of the bases are, as a table whose cells are coloured."""
    matrix = content.correlations
    if len(matrix) < 2:
        return None
    names = [str(name) for name in matrix.index]
    values = matrix.to_numpy(float)
    heads = [element("th", "base", scope="col")]
    heads += [
        element("th", element("abbr", str(k + 1), title=name), scope="col", aria_label=name)
        for k, name in enumerate(names)
    ]
    rows = []
    for k, name in enumerate(names):
        cells = [
            element("td", "1", class_="number same") if j == k else _coloured(values[k, j])
            for j in range(len(names))
        ]
        label = joined(element("span", f"{k + 1} ", class_="place"), breakable(name))
        rows.append(element("tr", element("th", label, scope="row"), cells))
    caption = "Correlation of errors between bases"
    grid = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", heads)),
        element("tbody", rows),
        class_="grid",
    )
    return joined(element("p", _most_alike(names, values)), in_box(grid, caption))


def _coloured(value: float) -> Html:
    if not np.isfinite(value):
        return element("td", "", class_="number")
    kind, depth = "more" if value >= 0 else "less", 0.45 * min(abs(value), 1.0) ** 2
    shown = numbers_like([], [0.1])(value)
    return element("td", shown, class_=f"number {kind}", style=f"--depth:{depth:.2f}")


def _most_alike(names: list[str], values: np.ndarray) -> str:
    above = np.triu(np.ones_like(values, dtype=bool), 1) & np.isfinite(values)
    if not above.any():
        return "The errors of these bases cannot be compared."
    pairs = np.argwhere(above)
    found = values[above]
    most, least = (pairs[int(choose(found))] for choose in (np.argmax, np.argmin))
    said = f"Most alike are {names[most[0]]} and {names[most[1]]} ({found.max():.2f})"
    if len(found) > 1:
        said += f", least alike {names[least[0]]} and {names[least[1]]} ({found.min():.2f})"
    return f"{said}. Bases whose errors differ help each other; at 1 they miss the same rows."


def worst(content: Content) -> Html | None:
    """Return the rows that the stack misses by most."""
    rows, evidence = content.worst, content.evidence
    if rows is None or evidence is None or STACK not in evidence.loss_names:
        return None
    if rows.empty:
        return element("p", "The stack misses none of the rows that are scored.")
    columns = []
    for k in range(rows.shape[1]):
        values = list(rows.iloc[:, k])
        numeric = all(isinstance(v, float) for v in values)
        columns.append(column_of(values) if numeric else [_cut(value) for value in values])
    numbers = [Number(float(row), str(row)) for row in rows.index]
    shown = list(zip(numbers, *columns))
    return joined(
        element(
            "p",
            f"The rows with the greatest {evidence.loss_names[STACK]} of the stack. Rows are "
            "counted from 0 in the table. Mistakes in the data are often found here.",
        ),
        table("Rows with the greatest loss", ["row", *map(str, rows.columns)], shown),
    )


def _cut(value: object) -> str:
    words = "" if value is None or value is pd.NA else str(value)
    return words if len(words) <= 80 else f"{words[:79]}…"


def warnings(content: Content) -> Html | None:
    """Return the section on warnings about the data and the bases."""
    if content.facts is None:
        return None
    if not content.facts.warnings:
        return element("p", _NOTHING_ODD)
    return element("ul", [element("li", said) for said in content.facts.warnings], class_="odd")


def configuration(content: Content) -> Html | None:
    """Return how the stack was made: its settings, its bases, what the fits took, the versions."""
    facts = content.facts
    if facts is None:
        return None
    head = ["base", *map(str, facts.bases.columns)]
    bases = [[str(name), *map(str, row)] for name, *row in facts.bases.itertuples()]
    parts = [
        element("h3", "Settings"),
        _pairs(facts.settings),
        element("h3", "Bases"),
        table("Bases of the stack", head, bases),
    ]
    if facts.seconds:
        spent = {name: f"{value:,.1f} s" for name, value in facts.seconds.items()}
        parts += [element("h3", "Timings"), _pairs(spent)]
    if facts.versions:
        parts += [element("h3", "Versions"), _pairs(facts.versions)]
    return joined(*parts)


def _pairs(entries: dict[str, str]) -> Html:
    rows = [
        element("div", element("dt", breakable(name)), element("dd", value))
        for name, value in entries.items()
    ]
    return element("dl", rows, class_="pairs")


def tiles(content: Content) -> Html:
    """Return the few numbers at the top."""
    scores, (gain, error) = content.scores, content.gain
    own = scores.iloc[-1]
    write = numbers_like([own.iloc[0]], [own.iloc[1]])
    facts: dict[str, str] = {}
    facts[f"{content.metric} of the stack"] = _plus_minus(own.iloc[0], own.iloc[1], write)
    alone = _best_first(content).drop(index=STACK)
    alone = alone[np.isfinite(alone.iloc[:, 0])]
    if len(alone):
        best = alone.iloc[0]
        facts[f"best base: {alone.index[0]}"] = _plus_minus(best.iloc[0], best.iloc[1], write)
        facts["gain over the best base"] = _plus_minus(gain, error, numbers_like([gain], [error]))
    if content.evidence is not None:
        facts["rows"] = f"{len(content.evidence.y):,}"
    facts["folds scored"] = str(content.n_folds)
    cells = [
        element("div", element("dt", name), element("dd", value)) for name, value in facts.items()
    ]
    return element("dl", cells, class_="tiles")


def _plus_minus(value: float, error: float, write: Callable) -> Html:
    if not np.isfinite(error):
        return joined(write(value))
    return joined(write(value), " ", element("small", f"s.e. {write(error)}"))


def _beside(picture: Html, *others: Html) -> Html:
    """Return a picture, and what belongs to it: at its side where the page is wide enough."""
    return element("div", picture, element("div", *others), class_="side")


def _shown(name: object) -> str:
    return THE_STACK if name == STACK else str(name)


def _best_first(content: Content) -> pd.DataFrame:
    scores = _without_dust(content)
    sign = -1 if content.greater_is_better else 1
    keys = sign * scores.iloc[:, 0].to_numpy(float)
    return scores.iloc[np.argsort(np.nan_to_num(keys, nan=np.inf), kind="stable")]


#: The sections of a page in their order: address, title and what makes them.
SECTIONS: tuple[tuple[str, str, Callable[[Content], Html | None]], ...] = (
    ("leaderboard", "Leaderboard", leaderboard),
    ("warnings", "Warnings and advice", warnings),
    ("weights", "Weights", weights),
    ("additions", "Gain from each base", additions),
    ("calibration", "Calibration", calibration),
    ("correlation", "Error correlation", correlation),
    ("worst", "Worst rows", worst),
    ("configuration", "Configuration", configuration),
)
