"""The figures of a report as Vega-Lite specifications: plain data, drawn in the page."""

from __future__ import annotations

from typing import Any

from embermill.counts import several
from embermill.jobs.wording import units

Answer = dict[str, Any]
Spec = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"  # a name: nothing is loaded from there
BLUE, RED, GREY = "#2f6db3", "#c23b22", "#9aa4ad"
BARS = 32
FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif"
COUNTED: Spec = {"format": "~s", "tickMinStep": 1}  # of whole numbers
CONFIG = {
    "font": FONT, "view": {"stroke": None},
    "axis": {"gridColor": "#e7eaed", "domainColor": GREY, "tickColor": GREY, "labelColor": "#444", "titleColor": "#444"},
    "bar": {"color": BLUE}, "line": {"color": BLUE}, "title": {"color": "#222", "anchor": "start", "fontSize": 13},
}  # fmt: skip


def charts(answer: Answer) -> dict[str, Spec]:
    """Name -> specification, of what there is something to show of. The map's points are put in by the page, which holds them already."""
    found: dict[str, Spec] = {}
    read, unit = units(answer["documents"] is not None)
    if answer["speed"]:
        found["speed"] = _speed(answer["speed"], unit)
    if stages := newest_stages(answer):
        found["stages"] = _bars(stages, "stage", "seconds", "seconds at work, all workers together", marked="bound", axis={"format": ",.4~g"})
    if answer["lengths"]:
        found["lengths"] = _lengths(answer, unit)
    if reasons := answer["refused"]["reasons"]:
        found["refused"] = _bars([{"reason": each["reason"], "rows": each["rows"]} for each in reasons], "reason", "rows", f"{read}s")
    if len(answer["devices"]) > 1:
        named = [{"device": _named(each), "tokens": each["tokens"]} for each in answer["devices"]]
        found["devices"] = _bars(named, "device", "tokens", "tokens")
    if answer["map"] is not None and len(answer["map"]["points"]) > 1:
        found["map"] = _map(answer["map"])
    return found


def newest_stages(answer: Answer) -> list[Answer]:
    """Seconds of each stage of the newest run that embedded something, in their order."""
    runs = [run for run in answer["runs"] if run["kind"] == "embed" and run["rows"]]
    if not runs:
        return []
    run = runs[-1]
    busiest = max(run["stage_shares"], key=lambda stage: run["stage_shares"][stage])
    return [{"stage": stage, "seconds": run["stage_seconds"].get(stage, 0.0), "bound": stage == busiest} for stage in run["stage_shares"]]


def histogram(answer: Answer) -> list[Answer]:
    """The lengths in at most BARS bars of one width, into which their buckets fit: {"from", "to", "rows"}; to: inclusive."""
    longest = max(bound for bound, _ in answer["lengths"])
    width = max(1, (1 << max(0, longest - 1).bit_length()) // BARS)
    rows: dict[int, int] = {}
    for bound, count in answer["lengths"]:
        bar = max(0, bound - 1) // width
        rows[bar] = rows.get(bar, 0) + count
    return [{"from": bar * width, "to": (bar + 1) * width, "rows": count} for bar, count in sorted(rows.items())]


def _named(device: Answer) -> str:
    return f"{device['device']} on {device['host']}" if device["host"] else str(device["device"])


def _base(height: int, **more: Any) -> Spec:
    return {"$schema": SCHEMA, "width": "container", "height": height, "config": CONFIG} | more


def _speed(points: list[Answer], unit: str) -> Spec:
    tips = [
        {"field": "from_s", "title": "from", "format": ",.1f"}, {"field": "to_s", "title": "to", "format": ",.1f"},
        {"field": "tokens_per_s", "title": "tokens/s", "format": ",.0f"},
        {"field": "rows_per_s", "title": f"{unit}s/s", "format": ",.1f"}, {"field": "workers", "title": "workers ready"},
    ]  # fmt: skip
    encoding: Spec = {
        "x": {"field": "from_s", "type": "quantitative", "title": "seconds at work, one run after another"},
        "x2": {"field": "to_s"},
        "y": {"field": "tokens_per_s", "type": "quantitative", "title": "tokens/s", "axis": {"format": "~s"}},
        "y2": {"datum": 0},
        "tooltip": tips,
    }
    if len({point["run"] for point in points}) > 1:
        encoding["color"] = {"field": "run", "type": "nominal", "title": "run"}
    return _base(190, data={"values": points}, mark={"type": "rect", "color": BLUE}, encoding=encoding)


def _bars(values: list[Answer], name: str, value: str, title: str, marked: str = "", axis: Spec = COUNTED) -> Spec:
    encoding: Spec = {
        "y": {"field": name, "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 220}},
        "x": {"field": value, "type": "quantitative", "title": title, "axis": axis},
        "tooltip": [{"field": name}, {"field": value, "format": ",.6~g"}],
    }
    if marked:
        encoding["color"] = {"condition": {"test": f"datum.{marked}", "value": RED}, "value": BLUE}
    return _base(max(60, 26 * len(values)), data={"values": values}, mark="bar", encoding=encoding)


def _lengths(answer: Answer, unit: str) -> Spec:
    bars, limit = histogram(answer), answer["model"]["max_tokens"]
    bar = {
        "data": {"values": bars},
        "mark": {"type": "bar", "binSpacing": 1},
        "encoding": {
            "x": {"field": "from", "type": "quantitative", "bin": {"binned": True}, "title": f"tokens of a {unit}", "axis": {"tickMinStep": 1}},
            "x2": {"field": "to"},
            "y": {"field": "rows", "type": "quantitative", "title": f"{unit}s", "axis": {"format": "~s", "tickMinStep": 1}},
            "tooltip": [{"field": "from", "title": "more than"}, {"field": "to", "title": "up to"}, {"field": "rows", "title": f"{unit}s", "format": ","}],
        },
    }
    layers = [bar]
    if limit is not None and answer["rows_truncated"]:
        cut = f"limit {limit:,}: {several(answer['rows_truncated'], unit)} cut"
        values = {"values": [{"limit": limit, "text": cut}]}
        place = {"x": {"field": "limit", "type": "quantitative"}}
        layers += [
            {"data": values, "mark": {"type": "rule", "color": RED, "strokeDash": [4, 3]}, "encoding": place},
            {"data": values, "mark": {"type": "text", "align": "right", "dx": 2, "baseline": "bottom", "color": RED},
             "encoding": place | {"y": {"value": -3}, "text": {"field": "text"}}},
        ]  # fmt: skip
    return _base(190, layer=layers)


def _map(drawn: Answer) -> Spec:
    def axis(name: str) -> Spec:  # with its domain, since lines are drawn only where a dot is pointed at
        values = [point[name] for point in drawn["points"]]
        return {"type": "quantitative", "scale": {"domain": [min(values), max(values)], "nice": True}, "axis": {"labels": False, "ticks": False}, "field": name}

    horizontal, vertical = axis("x"), axis("y")
    first, second = (f"component {number}, {share:.0%} of the variance" for number, share in enumerate(drawn["explained"], 1))
    hovered = {"param": "hover", "empty": False}
    edges = {
        "data": {"name": "points"},
        "transform": [
            {"filter": hovered},
            {"flatten": ["nearest"], "as": ["edge"]},
            {"calculate": "datum.edge[0]", "as": "other"},
            {"lookup": "other", "from": {"data": {"name": "points"}, "key": "place", "fields": ["x", "y"]}, "as": ["x2", "y2"]},
        ],
        "mark": {"type": "rule", "color": RED, "strokeWidth": 1.2},
        "encoding": {"x": horizontal | {"title": first}, "y": vertical | {"title": second}, "x2": {"field": "x2"}, "y2": {"field": "y2"}},
    }
    dots = {
        "data": {"name": "points"},
        "params": [{"name": "hover", "select": {"type": "point", "on": "pointerover", "fields": ["place"], "nearest": True}}],
        "mark": {"type": "circle", "opacity": 0.75},
        "encoding": {
            "x": horizontal | {"title": first},
            "y": vertical | {"title": second},
            "color": {"condition": hovered | {"value": RED}, "value": BLUE},
            "size": {"condition": hovered | {"value": 110}, "value": 28},
        },
    }
    return _base(430, layer=[edges, dots])
