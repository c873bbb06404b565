from handlib.tables import results_table

RESULTS = {"net": {"pa_mpjpe_mm": 9.126, "n": 8}, "<b>|x": {"pa_mpjpe_mm": 19.3, "auc": None}}


def test_text_is_aligned_and_a_metric_keeps_its_decimals():
    assert str(results_table(RESULTS, "stand-in & test")).splitlines() == [
        "stand-in & test",
        "       pa_mpjpe_mm  n  auc",
        "--------------------------",
        "net           9.13  8    –",
        "<b>|x        19.30  –    –",
    ]


def test_metrics_can_go_down():
    table = results_table({"net": {"a": 0.5, "b": 2.5}, "mean": {"a": 0.25, "b": 31.0}}, "", True)
    assert str(table).splitlines()[2:] == ["a  0.500  0.250", "b   2.50  31.00"]


def test_a_notebook_shows_no_foreign_html():
    markdown = results_table(RESULTS, "stand-in & test")._repr_markdown_()
    assert markdown.startswith("stand-in &amp; test\n\n|  | pa_mpjpe_mm | n | auc |\n| --- |")
    assert "&lt;b&gt;\\|x" in markdown and "<b>" not in markdown
    names = {name: {"n": 1} for name in ("a*b*c", "__init__", "x`y`z", "a_b")}
    markdown = results_table(names)._repr_markdown_()
    assert not set("*`") & set(markdown) and "__init" not in markdown and "a_b" in markdown
