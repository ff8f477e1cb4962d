"""``stackfuse fit`` and ``predict``: from a table that nobody prepared to predictions of a file."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from stackfuse._cli import main as cli
from stackfuse._cli.report import leaderboard


@pytest.fixture(scope="module")
def flats(tmp_path_factory):
    """Write 300 flats and their rents, German style, and return the folder and the table."""
    rng = np.random.default_rng(3)
    n = 300
    frame = pd.DataFrame(
        {
            "Kunden-Nr": np.arange(10_000, 10_000 + n),
            "Größe (m²)": rng.normal(70, 20, n).round(1),
            "Stadt": rng.choice(np.array(["Köln", "Ulm", "Bonn", None], object), n),
            "Straße": rng.choice([f"Weg {k}" for k in range(80)], n),
            "Balkon": rng.choice(np.array([True, False, None], object), n),
            "gleich": 1,
        }
    )
    frame.loc[rng.uniform(size=n) < 0.1, "Größe (m²)"] = np.nan
    size = frame["Größe (m²)"].fillna(70)
    frame["Miete"] = (10 * size + 80 * (frame["Stadt"] == "Ulm") + rng.normal(0, 30, n)).round(2)
    frame["teuer"] = np.where(frame["Miete"] > frame["Miete"].median(), "ja", "nein")
    folder = tmp_path_factory.mktemp("flats")
    frame.to_csv(folder / "flats.csv", sep=";", decimal=",", index=False, encoding="utf-8-sig")
    frame.drop(columns=["Miete", "teuer"]).to_csv(folder / "new.csv", index=False)
    return folder, frame


def run(capsys, *arguments):
    status = cli.main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


@pytest.fixture(scope="module")
def fitted(flats):
    """Return what a regression and a classification have left."""
    folder, _ = flats
    table = folder / "flats.csv"
    common = ["--bases", "linear,forest", "--folds", 3, "--drop"]
    for target, other, format in (("Miete", "teuer", "onnx"), ("teuer", "Miete", "keras")):
        arguments = ["fit", table, "--target", target, "--out", folder / target, *common, other]
        assert cli.main([*map(str, arguments), "--format", format]) == 0
    return folder


def test_numbers(fitted, flats, capsys):
    _, frame = flats
    model = fitted / "Miete" / "stack.onnx"
    status, shown, _ = run(capsys, "predict", model, fitted / "new.csv")
    assert status == 0
    predictions = np.array(shown.split()[1:], float)
    assert r2_score(frame["Miete"], predictions) > 0.9
    out_of_fold = pd.read_csv(fitted / "Miete" / "out_of_fold.csv")
    assert out_of_fold["Miete"].tolist() == frame["Miete"].tolist()
    assert r2_score(frame["Miete"], out_of_fold["stackingregressor_linear"]) > 0.9
    board = pd.read_csv(fitted / "Miete" / "leaderboard.csv", index_col=0)
    assert list(board.index) == ["linear", "forest", "(stack)"]
    assert "R2" in (fitted / "Miete" / "report.txt").read_text()
    assert "stack.onnx" in (fitted / "Miete" / "how_to_use.md").read_text()


def test_the_task_can_be_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=120), "stars": rng.integers(1, 6, 120)})
    frame["truth"] = pd.Series(frame["x"] > 0, dtype=object).where(frame.index > 3)
    frame.assign(word="a").to_csv(tmp_path / "t.csv", index=False)
    command = [
        "fit",
        tmp_path / "t.csv",
        "--bases",
        "linear",
        "--folds",
        2,
        "--out",
        tmp_path / "o",
    ]
    status, shown, _ = run(capsys, *command, "--target", "stars")
    assert status == 0
    assert "5 classes of stars" in shown
    assert "If they are numbers to predict, type --task regression." in shown
    status, shown, _ = run(
        capsys, *command, "--target", "stars", "--task", "regression", "--time", "60s", "--json"
    )
    assert status == 0
    assert json.loads(shown)["task"] == "regression"
    status, _, error = run(capsys, *command, "--target", "word", "--task", "regression")
    assert status != 0
    assert "--task regression needs a target of numbers, and 'word' holds words." in error
    status, shown, _ = run(capsys, *command, "--target", "truth", "--task", "regression")
    assert status == 0
    assert "116 rows, 3 columns; predicting the number truth, from 0 to 1." in shown
    known = pd.read_csv(tmp_path / "o" / "out_of_fold.csv")["truth"]
    assert known.tolist() == (frame["x"] > 0)[4:].astype(float).tolist()
    status, _, error = run(capsys, *command, "--target", "stars", "--task", "numbers")
    assert status != 0
    assert "--task must be classification or regression, got 'numbers'." in error


def test_report(fitted, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    folder = fitted / "Miete"
    board = pd.read_csv(folder / "leaderboard.csv", index_col=0)
    status, shown, _ = run(capsys, "report", folder)
    assert status == 0
    assert (folder / "report.txt").read_text().partition("\n")[0] in shown
    places = [shown.index(f" {name} ") for name in ("forest", "linear")]
    by_score = board.loc[["forest", "linear"], "R2"]
    assert (places[0] < places[1]) == (by_score["forest"] > by_score["linear"])
    assert f"{by_score['linear']:.4f} ± {board.loc['linear', 's.e.']:.4f}" in shown
    assert f"The whole report: {(folder / 'report.html').resolve()}" in shown
    assert opened == []
    assert run(capsys, "report", folder, "--open")[0] == 0
    assert opened == [(folder / "report.html").resolve().as_uri()]

    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h1>Miete, from flats.csv</h1>" in page
    assert "<li>These columns only number the rows and are left out: Kunden-Nr.</li>" in page


def test_tiny_scores_are_shown():
    columns = pd.Index(["MAE", "s.e.", "weight"])
    scores = pd.DataFrame([[2e-9, 1e-10, 1], [1e-9, np.nan, np.nan]], ["a", "(stack)"], columns)
    table = leaderboard(scores, greater_is_better=False)
    assert list(table.columns[1].cells) == ["1e-09", "2e-09 ± 1e-10"]


def test_json(fitted, flats, capsys, tmp_path):
    def told(*arguments):
        status, shown, _ = run(capsys, *arguments, "--json")
        return status, json.loads(shown)

    model = fitted / "Miete" / "stack.onnx"
    board = pd.read_csv(fitted / "Miete" / "leaderboard.csv", index_col=0)
    status, left = told("report", fitted / "Miete")
    assert (status, left["metric"], left["greater is better"]) == (0, "R2", True)
    assert left["models"]["linear"]["R2"] == board.loc["linear", "R2"]
    assert left["verdict"] in (fitted / "Miete" / "report.txt").read_text()

    status, seen = told("inspect", model)
    assert (status, seen["is right"], seen["format"]) == (0, True, "onnx")
    assert seen["check"].startswith("8 golden rows agree")
    assert [entry["column"] for entry in seen["inputs"].values()] == seen["feature names"]
    assert seen["bases"][0] == "linear: RidgeCV()"
    assert seen["bases"][1].startswith("forest: RandomForestRegressor(max_features=0.5")
    damaged = tmp_path / "stack.onnx"
    damaged.write_bytes(model.read_bytes().replace(b"Stra", b"Strb", 1))
    status, seen = told("inspect", damaged)
    assert (status, seen["is right"], set(seen)) == (1, False, {"file", "is right", "check"})

    _, shown, _ = run(capsys, "predict", model, fitted / "new.csv")
    status, found = told("predict", model, fitted / "new.csv")
    assert (status, found["rows"], found["columns"]) == (0, 300, ["prediction"])
    np.testing.assert_array_equal(
        np.ravel(found["predictions"]), np.array(shown.split()[1:], float)
    )
    out = tmp_path / "p.csv"
    status, found = told(
        "predict", fitted / "teuer" / "stack.keras", fitted / "new.csv", "--out", out
    )
    assert found["file"] == str(out)
    assert list(pd.read_csv(out)) == found["columns"]


def test_mistakes_about_reports(fitted, capsys, tmp_path, monkeypatch):
    folder = fitted / "teuer"
    status, _, told = run(capsys, "report", tmp_path)
    assert status == 2
    assert told.strip().endswith(
        f"There is no {tmp_path / 'leaderboard.csv'}: pass the folder that stackfuse fit --out has "
        "written."
    )
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    status, shown, told = run(capsys, "report", folder, "--open")
    assert (status, "No browser could be started. Open" in told) == (2, True)
    assert "lower is better" in shown
    for name in ("report.txt", "report.html"):
        (tmp_path / name).write_text("; lower is better")
    (tmp_path / "leaderboard.csv").write_text(",log-loss\na,b\n")
    status, _, told = run(capsys, "report", tmp_path)
    assert (status, "leaderboard.csv is damaged" in told) == (2, True)


def test_classes(fitted, flats, capsys, tmp_path):
    _, frame = flats
    model, out = fitted / "teuer" / "stack.keras", tmp_path / "predictions.csv"
    status, shown, _ = run(capsys, "predict", model, fitted / "new.csv", "--out", out)
    assert (status, "300 predictions" in shown) == (0, True)
    table = pd.read_csv(out)
    assert list(table) == ["label", "probability of ja", "probability of nein"]
    assert (table["label"] == frame["teuer"]).mean() > 0.85
    np.testing.assert_allclose(table.iloc[:, 1] + table.iloc[:, 2], 1)


def test_the_same_command_goes_on_where_it_was(fitted, capsys, flats):
    folder, _ = flats
    arguments = ["fit", folder / "flats.csv", "--target", "Miete", "--out", folder / "Miete"]
    arguments += ["--bases", "linear,forest", "--folds", 3, "--drop", "teuer", "--format", "onnx"]
    arguments += ["--metric", "neg_mean_absolute_error"]
    before = (folder / "Miete" / "out_of_fold.csv").read_text()
    status, shown, told = run(capsys, *arguments, "--json")
    assert status == 0
    found = json.loads(shown)
    assert (found["task"], found["rows"]) == ("regression", 300)
    assert found["metric"] == "neg_mean_absolute_error"
    assert "Read with columns between semicolons, decimals after a comma" in " ".join(told.split())
    out_of_fold = pd.read_csv(folder / "Miete" / "out_of_fold.csv")
    errors = out_of_fold.filter(like="stackingregressor").sub(out_of_fold["Miete"], axis=0).abs()
    (best,) = found["best base"].items()
    assert best[0] == errors.mean().idxmin().rpartition("_")[2]
    np.testing.assert_allclose(best[1], -errors.mean().min(), rtol=1e-6)
    assert found["largest difference"] < 1e-9
    assert "from memory" in told
    assert "only number the rows and are left out: Kunden-Nr" in " ".join(told.split())
    assert "No base uses 'gleich'" in told
    assert (folder / "Miete" / "out_of_fold.csv").read_text() == before


def test_what_is_odd_is_told(flats, capsys, tmp_path):
    _, frame = flats
    table = pd.concat([frame, frame[:3]], ignore_index=True)
    table.loc[[20, 21, 22], "teuer"] = "vielleicht"
    table.loc[40, "teuer"] = "jaa"
    table.loc[30, "teuer"] = None
    table["Name"] = table["teuer"].map({"ja": 1, "nein": 2, "vielleicht": 3})
    table.drop(columns="Miete").to_csv(tmp_path / "odd.csv", index=False)
    arguments = ["--bases", "linear", "--folds", 2, "--out", tmp_path / "out"]
    status, shown, _ = run(capsys, "fit", tmp_path / "odd.csv", "--target", "teuer", *arguments)
    shown = " ".join(shown.split())
    assert status == 0
    assert "Left out, because the target is missing: 1 row." in shown
    assert "The column 'Name' gives the target away by itself" in shown
    assert "of 301 rows repeat an earlier row" in shown
    assert "fewer than ten rows and can hardly be learnt: 'vielleicht' (3)" in shown
    assert "Classes with fewer than three rows are left out: 'jaa' (1)." in shown
    rows = pd.read_csv(tmp_path / "out" / "out_of_fold.csv")["row"]
    assert rows.tolist() == [k for k in range(303) if k not in (30, 40)]


def test_groups_and_time(flats, capsys, tmp_path):
    _, frame = flats
    rng = np.random.default_rng(0)
    table = frame.assign(
        house=rng.integers(0, 12, 300),
        day=pd.date_range("2024-01-01", periods=300).strftime("%d.%m.%Y"),
    ).drop(columns="teuer")
    table.to_csv(tmp_path / "t.csv", index=False)
    common = ["--target", "Miete", "--bases", "linear", "--folds", 3, "--json"]
    for option, name in (("--groups", "house"), ("--time-column", "day")):
        out = tmp_path / name
        given = [tmp_path / "t.csv", *common, option, name, "--out", out]
        if name == "day":
            table["day"] = pd.to_datetime(table["day"], dayfirst=True).dt.strftime("%Y-%m-%d")
            table.sample(frac=1, random_state=0).to_csv(tmp_path / "t.csv", index=False)
        status, shown, _ = run(capsys, "fit", *given)
        assert (status, json.loads(shown)["stack"] > 0.8) == (0, True)
        predicted = pd.read_csv(out / "out_of_fold.csv")
        if name == "day":  # the first rows are never predicted, and time runs forward
            assert predicted["Miete"].tolist() == frame["Miete"].tolist()
            assert predicted.iloc[:75, 2].isna().all()
            assert predicted.iloc[75:, 2].notna().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "Meite"], "has no column 'Meite'. Did you mean 'Miete'?"),
        (["--target", "Miete", "--format", "pickle"], "format must be 'keras', 'litert', 'onnx'"),
        (
            ["--target", "Miete", "--format", "litert"],
            "LiteRT carries no words. Columns that hold some: 'Stadt'",
        ),
        (["--target", "Miete", "--bases", "trees"], "kinds names 'trees', which is not one of"),
        (
            ["--target", "Miete", "--time", "soon"],
            "--time must be written like 90s, 10m or 2h, got 'soon'",
        ),
        (["--target", "Miete", "--drop", "x"], "has no column 'x'"),
        (["--target", "Miete", "--metric", "r3"], "'r3' does not fit a target of numbers: choose"),
        (["--target", "Miete", "--metric", "f1"], "'neg_mean_absolute_error'"),
        (
            ["--target", "teuer", "--metric", "r2"],
            "'r2' does not fit a target of 2 classes: choose",
        ),
        (["--target", "teuer", "--metric", "rocauc"], "Did you mean 'roc_auc', '"),
        (["--target", "gleich"], "1 different targets. Pass a table with at least 20 rows"),
        (["--folds", "2"], "Missing option '--target'"),
        (["--target", "Miete", "--folds", "one"], "Invalid value for '--folds'"),
        (
            ["--target", "Miete", "--folds", "301"],
            "must be at most the number of rows, 300, got 301",
        ),
        (["--target", "Miete", "--groups", "teuer"], "of groups in 'teuer', 2, got 5."),
        (["--target", "Miete", "--groups", "Stadt"], "--groups: 'Stadt' has missing values"),
    ],
)
def test_mistakes_are_one_sentence(flats, capsys, arguments, message, tmp_path):
    folder, _ = flats
    given = [folder / "flats.csv", *arguments, "--out", tmp_path / "out"]
    status, _, told = run(capsys, "fit", *given)
    assert status == 2
    assert message in " ".join(told.split())
    assert "Traceback" not in told


def test_mistakes_in_new_tables(fitted, capsys, tmp_path):
    model = fitted / "Miete" / "stack.onnx"
    table = pd.read_csv(fitted / "new.csv")
    table.drop(columns="Stadt").to_csv(tmp_path / "lacking.csv", index=False)
    status, _, told = run(capsys, "predict", model, tmp_path / "lacking.csv")
    assert (status, "lacks columns that the model reads: 'Stadt'." in told) == (2, True)
    status, _, told = run(capsys, "predict", fitted / "Miete", fitted / "new.csv")
    wanted = f"is the folder of a fit: pass the model in it, {fitted / 'Miete' / 'stack.onnx'}."
    assert (status, wanted in told) == (2, True)
    table.assign(**{"Größe (m²)": "big"}).to_csv(tmp_path / "words.csv", index=False)
    status, _, told = run(capsys, "predict", model, tmp_path / "words.csv")
    assert (status, "must hold numbers, but holds 'big'" in told) == (2, True)
    with pytest.raises(ValueError, match="must hold numbers"):
        run(capsys, "--debug", "predict", model, tmp_path / "words.csv")


def test_words_of_digits_stay_words(flats, capsys, tmp_path):
    """A code such as 007 is text, also where the new table holds nothing else, and holes."""
    _, frame = flats
    rng = np.random.default_rng(0)
    codes = rng.choice(["007", "7", "12b"], 300)
    rent = pd.Series(codes).map({"007": 100.0, "7": 500.0, "12b": 900.0}) + rng.normal(0, 9, 300)
    table = pd.DataFrame({"code": codes, "size": frame["Größe (m²)"], "rent": rent})
    table.to_csv(tmp_path / "t.csv", index=False)
    common = ["--bases", "linear", "--folds", 3, "--out", tmp_path / "out", "--format", "onnx"]
    assert run(capsys, "fit", tmp_path / "t.csv", "--target", "rent", *common)[0] == 0
    (tmp_path / "new.csv").write_text("code,size\n007,70\n7,70\n,70\n")
    _, shown, _ = run(capsys, "predict", tmp_path / "out" / "stack.onnx", tmp_path / "new.csv")
    np.testing.assert_allclose(np.array(shown.split()[1:3], float), [100, 500], atol=30)


@pytest.mark.parametrize(
    ("days", "message"),
    [
        (["03/04/2024", "05/06/2024"], "may begin with the day or with the month"),
        (["soon", "later"], "holds no dates, 'soon'"),
        (["2024-01-05", "1.5.2024"], "writes dates in several ways, '2024-01-05' and '1.5.2024'"),
        (["01.05.2024", "31.02.2024"], "holds '31.02.2024', which is not a date"),
        (["2024-01-01", None], "has missing values"),
    ],
)
def test_an_order_that_cannot_be_told_is_refused(flats, capsys, days, message, tmp_path):
    _, frame = flats
    frame.assign(day=days * 150).to_csv(tmp_path / "t.csv", index=False)
    given = [tmp_path / "t.csv", "--target", "Miete", "--time-column", "day"]
    status, _, told = run(capsys, "fit", *given, "--out", tmp_path / "out")
    assert (status, message in told) == (2, True)


def test_between_dots_the_day_comes_first(capsys, tmp_path):
    """Of a few rows it could not be told otherwise, and a file is asked about few rows."""
    when = pd.Timestamp("2022-01-01") + pd.to_timedelta(np.arange(300), unit="D")
    table = pd.DataFrame({"when": when.strftime("%d.%m.%Y"), "rent": 3.0 * np.arange(300)})
    table.to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "out"
    common = ["--bases", "linear", "--folds", 3, "--out", out, "--format", "onnx"]
    assert run(capsys, "fit", tmp_path / "t.csv", "--target", "rent", *common)[0] == 0
    (tmp_path / "new.csv").write_text("when\n03.04.2022\n")  # the 93rd day
    _, shown, _ = run(capsys, "predict", out / "stack.onnx", tmp_path / "new.csv")
    np.testing.assert_allclose(float(shown.split()[1]), 3 * 92, rtol=0.05)


def test_dates_are_learnt_from(flats, capsys, tmp_path):
    _, frame = flats
    rng = np.random.default_rng(0)
    when = pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.integers(0, 700, 300), unit="D")
    until = when + pd.to_timedelta(rng.integers(0, 90, 300) * 5, unit="h")
    table = pd.DataFrame(
        {
            "when": when.strftime("%Y-%m-%d"),
            "until": until.strftime("%d.%m.%Y %H:%M"),
            "slashes": when.where(when.day < 13).strftime("%d/%m/%Y"),
            "size": frame["Größe (m²)"],
            "rent": (until - when).days + 20.0 * (when.day_of_week > 4) + rng.normal(0, 0.1, 300),
        }
    )
    table.loc[::17, ["when", "until"]] = None
    table.to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "out"
    common = ["--bases", "linear,forest", "--folds", 3, "--out", out, "--format", "onnx"]
    status, shown, _ = run(capsys, "fit", tmp_path / "t.csv", "--target", "rent", *common)
    shown = " ".join(shown.split())
    assert status == 0
    assert "Dates, passed to the graph as days since 1970: when, until." in shown
    assert shown.count("A column of dates is read as words: ") == 1
    assert "in 'slashes' may begin with the day or with the month" in shown
    table.drop(columns="rent").to_csv(tmp_path / "new.csv", index=False)
    model = out / "stack.onnx"
    assert run(capsys, "predict", model, tmp_path / "new.csv", "--out", tmp_path / "p.csv")[0] == 0
    predicted = pd.read_csv(tmp_path / "p.csv")["prediction"]
    known = table["when"].notna()
    assert r2_score(table["rent"][known], predicted[known]) > 0.8
    assert "when: days since 1970-01-01" in run(capsys, "inspect", model)[1]
    table.assign(when="soon").to_csv(tmp_path / "new.csv", index=False)
    status, _, told = run(capsys, "predict", model, tmp_path / "new.csv")
    assert (status, "'when' holds no dates, 'soon'" in told) == (2, True)


@pytest.mark.parametrize("grades", [[1, 2, 3], [True, False]])
def test_classes_beside_holes_keep_their_names(flats, capsys, tmp_path, grades):
    _, frame = flats
    grade = pd.Series(np.resize(np.array(grades, object), 300))
    grade[5] = None
    frame.drop(columns=["Miete", "teuer"]).assign(grade=grade).to_csv(tmp_path / "t.csv")
    given = [tmp_path / "t.csv", "--target", "grade", "--bases", "linear", "--folds", 2]
    assert run(capsys, "fit", *given, "--out", tmp_path / "out")[0] == 0
    found = pd.read_csv(tmp_path / "out" / "out_of_fold.csv", dtype=str)
    assert set(found["grade"]) == {str(grade) for grade in grades}
