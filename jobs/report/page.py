"""The report as one HTML file: styles, figures, charts and the library that draws them are inside, and its content security policy forbids every request.

Whatever comes from a corpus is escaped. Scripts run by the hash of their text alone, so markup that got in nevertheless could not run one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from embermill.counts import plural, several
from embermill.jobs.report.charts import charts
from embermill.jobs.report.vega import vega_source
from embermill.jobs.wording import units

Answer = dict[str, Any]
HERE = Path(__file__).parent
MOST_LISTED = 50  # rows of a table, the newest or largest ones


def render(answer: Answer) -> str:
    """The page of account.account_for's figures."""
    styles, script, vega = (HERE / "page.css").read_text("utf-8"), (HERE / "page.js").read_text("utf-8"), vega_source()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {_hash(vega)} {_hash(script)}"
    specs = charts(answer)
    body = "\n".join(part for part in _parts(answer, specs.keys()) if part)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(_name(answer))} · embermill report</title>\n<style>{styles}</style>\n</head>\n<body>\n{body}\n'
        f'<script type="application/json" id="answer">{_json(answer)}</script>\n<script type="application/json" id="charts">{_json(specs)}</script>\n'
        f"<script>{vega}</script>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _json(held: object) -> str:
    """JSON that ends no element of the page and starts none."""
    text = json.dumps(held, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _name(answer: Answer) -> str:
    return str(answer["output"]).rstrip("/").rpartition("/")[2] or str(answer["output"])


class _Figures:
    """Values of the answer as elements that say which key they are of, so that the page can be held against `--json`."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __call__(self, path: str, show: Callable[[Any], str] = lambda value: f"{value:,}" if isinstance(value, int) else str(value)) -> str:
        value: Any = self._answer
        for key in path.split("."):
            value = value[int(key)] if isinstance(value, list) else value[key]
        return f'<span data-key="{escape(path)}">{escape(show(value)) if value is not None else ""}</span>'


def _parts(answer: Answer, drawn: Iterable[str]) -> Iterable[str]:
    figure = _Figures(answer)
    places = {name: f'<div class="chart" id="chart-{name}"></div>' for name in drawn}
    yield _head(answer, figure)
    yield _tiles(answer, figure)
    yield _speed(answer, figure, places)
    yield _lengths(answer, figure, places)
    yield _rows(answer, figure, places)
    yield _workers(answer, figure, places)
    yield _cost(answer, figure)
    yield _versions(answer, figure)
    yield _map(answer, figure, places)
    command = f"<code>embermill report {escape(answer['output'])}</code>"
    yield f'<p class="note">Made {escape(answer["made"])} by embermill {escape(answer["embermill"])}: {command}</p>'


def _units(answer: Answer) -> tuple[str, str]:
    return units(answer["documents"] is not None)


def _head(answer: Answer, figure: _Figures) -> str:
    model = answer["model"]
    vectors = ", ".join(f"<code>{escape(each['column'])}</code> ({each['dim']} x {escape(each['dtype'])})" for each in model["vectors"])
    made = f"Model <code>{escape(str(model['source']))}</code>, {escape(model['device'].upper())}, {escape(model['precision'])}; vectors: {vectors}"
    warned = "This dataset is not finished: this is what is committed so far." if answer["rows"] else f"There are no rows: {answer['unfinished']}."
    unfinished = "" if answer["finished"] else f'<p class="warn">{escape(warned)}</p>'
    place = f'<p class="note">{escape(answer["output"])}</p>'
    return f"<h1>{escape(_name(answer))}</h1>\n{place}\n<p>{made}; {figure('model.files')} {plural(answer['model']['files'], 'corpus file')}.</p>{unfinished}"


def _tiles(answer: Answer, figure: _Figures) -> str:
    (read, unit), newest = _units(answer), " in the newest version" if len(answer["versions"]) > 1 else ""
    later = answer["refused"]["rows_later"]
    tiles = [
        *([(figure("documents"), plural(answer["documents"], read) + newest)] if answer["documents"] is not None else []),
        (figure("rows"), plural(answer["rows"], unit) + newest),
        (figure("tokens"), plural(answer["tokens"], "token")),
        (figure("rows_truncated"), f"{plural(answer['rows_truncated'], unit)} cut to the model's limit"),
        (figure("refused.rows_in_all"), f"{plural(answer['refused']['rows_in_all'], read)} in quarantine{', each time that one was refused' if later else ''}"),
        (figure("run.shards"), plural(answer["run"]["shards"], "shard")),
    ]
    if embedding := [number for number, run in enumerate(answer["runs"]) if run["kind"] == "embed" and run["rows"]]:
        tiles.append((figure(f"runs.{embedding[-1]}.tokens_per_s", lambda value: f"{value:,.0f}"), "tokens/s, newest run"))
    if answer["cost"] is not None:
        tiles.append((figure("cost.paid", lambda value: f"{value:,.2f}"), "cost of the recorded runs"))
    return '<div class="tiles">' + "".join(f'<div class="tile"><b>{value}</b><span class="label">{label}</span></div>' for value, label in tiles) + "</div>"


def _speed(answer: Answer, figure: _Figures, places: Answer) -> str:
    if not answer["runs"]:
        told = "No run of this dataset has left a record: it was made by an earlier version of embermill, or every run was killed within half a minute."
        return f'<h2>Speed</h2><p class="note">{told}</p>'
    first = max(0, len(answer["runs"]) - MOST_LISTED)
    rows = [
        [
            figure(f"runs.{number}.began"),
            escape("embedded" if run["kind"] == "embed" else "copied") + ("" if run["ended"] else " (killed)"),
            figure(f"runs.{number}.version"),
            figure(f"runs.{number}.rows"),
            figure(f"runs.{number}.tokens"),
            figure(f"runs.{number}.seconds", lambda value: f"{value:,.1f}"),
            figure(f"runs.{number}.tokens_per_s", lambda value: f"{value:,.0f}"),
            escape(run["bound"]),
            escape(", ".join(f"{kind}: {count}" for kind, count in sorted(run["retries"].items()))),
        ]
        for number, run in [*enumerate(answer["runs"])][first:]
    ]
    head = ["began", "", "version", f"{_units(answer)[1]}s", "tokens", "seconds", "tokens/s", "bottleneck", "retries"]
    charts_ = f'<div class="two"><div>{places.get("speed", "")}</div><div>{places.get("stages", "")}{_stages(answer, figure)}</div></div>'
    return f"<h2>Speed and bottleneck</h2>{charts_}{_table(head, rows, numbers=(2, 3, 4, 5, 6))}{_start(answer, figure)}"


def _start(answer: Answer, figure: _Figures) -> str:
    """Of the newest run that has told of it, step by step."""
    number = next((number for number, run in reversed([*enumerate(answer["runs"])]) if run["start"]), None)
    if number is None:
        return ""
    steps = enumerate(answer["runs"][number]["start"])
    two = [("seconds", lambda value: f"{value:.2f}"), ("at_s", lambda value: f"{value:.2f}")]
    rows = [[escape(step["step"]), *(figure(f"runs.{number}.start.{place}.{key}", show) for key, show in two)] for place, step in steps]
    return f'<p class="note">The start of the newest run:</p>{_table(["step", "seconds", "since the beginning"], rows, numbers=(1, 2))}'


def _stages(answer: Answer, figure: _Figures) -> str:
    runs = [number for number, run in enumerate(answer["runs"]) if run["kind"] == "embed" and run["rows"]]
    if not runs:
        return ""
    shares = answer["runs"][runs[-1]]["stage_shares"]
    told = ", ".join(f"{stage} " + figure(f"runs.{runs[-1]}.stage_shares.{stage}", lambda share: f"{share:.1%}") for stage in shares)
    bound = answer["runs"][runs[-1]]["bound"]
    return f'<p class="note">Busy time by stage in the newest run: {told}.' + (f" The {escape(bound)} is the bottleneck.</p>" if bound else "</p>")


LENGTHS = (("p50", "half of the {unit}s up to"), ("p90", "90 % up to"), ("p99", "99 % up to"), ("max", "the longest"))


def _lengths(answer: Answer, figure: _Figures, places: Answer) -> str:
    if "lengths" not in places:
        return ""
    unit = _units(answer)[1]
    lengths = ", ".join(f"{label.format(unit=unit)} {figure(f'token_lengths.{name}')}" for name, label in LENGTHS)
    share = answer["tokens_dropped"] / total if (total := answer["tokens"] + answer["tokens_dropped"]) else 0.0
    cut = f"{unit.capitalize()}s longer than the model takes: {figure('rows_truncated')}; tokens cut off them: {figure('tokens_dropped')} ({share:.1%} of all)."
    return f"<h2>Token lengths, and what was cut</h2>{places['lengths']}<p>{cut} In tokens: {lengths}.</p>"


def _rows(answer: Answer, figure: _Figures, places: Answer) -> str:
    refused, (read, _) = answer["refused"], _units(answer)
    account = f"Rows that the run read: {figure('run.rows_in')}; with a vector: {figure('run.rows_out')}; refused: {figure('run.rows_quarantined')}."
    if answer["documents"] is not None:
        account = f"Documents that the run embedded: {figure('run.documents')}, in {figure('run.rows_out')} chunks; refused: {figure('run.rows_quarantined')}."
    again = f"each {read} every time that it was refused: {figure('refused.rows_in_all')} in quarantine in all"
    later = f" Later versions refused {figure('refused.rows_later')}, {again}." if refused["rows_later"] else ""
    examples = [
        [
            figure(f"refused.reasons.{number}.reason"),
            figure(f"refused.reasons.{number}.rows") if place == 0 else "",
            f"<code>{figure(f'refused.reasons.{number}.examples.{place}.file')}</code>",
            escape(_place(example)),
            figure(f"refused.reasons.{number}.examples.{place}.id"),
            figure(f"refused.reasons.{number}.examples.{place}.error"),
        ]
        for number, reason in enumerate(refused["reasons"])
        for place, example in enumerate(reason["examples"])
    ]
    shown = _table(["reason", f"{read}s", "file", "at", "id", "why"], examples, numbers=(1,)) if examples else ""
    unread = "" if refused["files_read"] == refused["files"] else f"Read of the quarantine: {refused['files_read']} of {several(refused['files'], 'file')}."
    warning = f'<p class="warn">{unread}</p>' if unread else ""
    return f"<h2>{read.capitalize()}s in, out and refused</h2><p>{account}{later}</p>{places.get('refused', '')}{warning}{shown}"


def _place(example: Answer) -> str:
    told = [f"{word} {example[key]:,}" for word, key in (("row", "first_row"), ("byte", "first_byte")) if example[key] is not None][:1]
    return ", ".join([*told, *([several(example["row_count"], "row")] if example["row_count"] != 1 else [])])


def _workers(answer: Answer, figure: _Figures, places: Answer) -> str:
    devices = [
        [*(figure(f"devices.{n}.{key}") for key in ("device", "host", "processes", "shards", "documents", "tokens")), _share(figure, f"devices.{n}.share")]
        for n in range(min(len(answer["devices"]), MOST_LISTED))
    ]
    read, unit = _units(answer)
    head = ["device", "host", "processes", "shards", f"{read}s", "tokens", "share"]
    told = f"<h2>Workers and GPUs</h2>{places.get('devices', '')}{_table(head, devices, numbers=(2, 3, 4, 5, 6))}"
    embedding = [number for number, run in enumerate(answer["runs"]) if run["kind"] == "embed" and run["rows"]]
    if not embedding:
        return told
    at = embedding[-1]
    workers = [
        [
            figure(f"runs.{at}.workers.{n}.worker"), escape(worker["host"]), escape(f"{worker['device']} {worker['device_uuid']}".rstrip()),
            *(figure(f"runs.{at}.workers.{n}.{key}") for key in ("threads", "rows", "tokens")), _share(figure, f"runs.{at}.workers.{n}.share"),
            escape(f"{worker['from_s']:,.0f} to {worker['to_s']:,.0f} s"),
        ]
        for n, worker in enumerate(answer["runs"][at]["workers"][:MOST_LISTED])
    ]  # fmt: skip
    head = ["worker", "host", "device", "threads", f"{unit}s", "tokens", "share", "at work"]
    return told + "<h4>Workers of the newest run</h4>" + _table(head, workers, numbers=(0, 3, 4, 5, 6))


def _share(figure: _Figures, path: str) -> str:
    return figure(path, lambda share: f"{share:.1%}")


def _cost(answer: Answer, figure: _Figures) -> str:
    if answer["cost"] is None:
        return ""
    unit = _units(answer)[1]
    per_million = f", {figure('cost.per_million_rows', lambda value: f'{value:,.2f}')} for a million {unit}s" if answer["cost"]["per_million_rows"] else ""
    hours = figure("cost.worker_hours", lambda value: f"{value:,.4g}")
    price = figure("cost.price_per_worker_hour", lambda value: f"{value:g}")
    return f"<h2>Cost</h2><p>{hours} hours of workers at {price} an hour each: {figure('cost.paid', lambda value: f'{value:,.2f}')}{per_million}.</p>"


COUNTS = ("rows_new", "rows_changed", "rows_metadata", "rows_deleted", "texts_embedded", "vectors_copied", "bytes_written")


def _versions(answer: Answer, figure: _Figures) -> str:
    if len(answer["versions"]) < 2:
        return ""
    first, held = max(0, len(answer["versions"]) - MOST_LISTED), ("rows",) if answer["documents"] is None else ("documents", "rows")
    rows = []
    for number, version in [*enumerate(answer["versions"])][first:]:
        counts = (figure(f"versions.{number}.counts.{key}") if key in version["counts"] else "" for key in COUNTS)
        if "documents" in version["counts"]:  # and what is told of chunks by those names is another thing
            counts = (figure(f"versions.{number}.counts.{key.replace('rows_', 'documents.')}") for key in COUNTS)
        live = [figure(f"versions.{number}.totals.{key}") if key in version["totals"] else "" for key in held]
        rows.append([figure(f"versions.{number}.version"), escape(version["created"]), escape(version["cause"]), escape(version["state"]), *live, *counts])
    names = ["rows", "new"] if len(held) == 1 else ["documents", "chunks", "new documents"]
    head = ["version", "made", "by", "", *names, "other text", "other columns", "deleted", "embedded", "copied", "bytes"]
    return f"<h2>Versions</h2>{_table(head, rows, numbers=(0, *range(4, len(head))))}"


def _map(answer: Answer, figure: _Figures, places: Answer) -> str:
    if "map" not in places:
        return ""
    told = (
        f"{several(len(answer['map']['points']), _units(answer)[1])} drawn at random (seed {figure('map.seed')}) on their first two principal components. "
        "Neighbours are by cosine of the whole vectors, so some lie apart here."
    )
    panel = f'<div id="point"><p class="note">Point at a dot to see its {_units(answer)[1]} and its neighbours.</p></div>'
    return f'<h2>Sample of the vectors</h2><p class="note">{told}</p><div class="map"><div>{places["map"]}</div>{panel}</div>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """head: plain; rows: HTML. numbers: columns that are aligned to the right."""
    kinds = ['class="n"' if column in numbers else "" for column in range(len(head))]
    top = "".join(f"<th {kind}>{escape(cell)}</th>" for kind, cell in zip(kinds, head, strict=True))
    body = "".join("<tr>" + "".join(f"<td {kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
