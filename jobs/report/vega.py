"""The library that draws: Vega, Vega-Lite and vega-embed in one file of JavaScript, which the package vl-convert-python holds."""

from __future__ import annotations

from functools import cache

from embermill.jobs.errors import UsageError


def require_vega() -> None:
    """UsageError where it is not installed: before a run begins, not at its end."""
    try:
        import vl_convert  # noqa: F401
    except ImportError:
        raise UsageError("a report is drawn with Vega, which is not installed here: pip install 'embermill[report]' brings it") from None


@cache
def vega_source() -> str:
    """0.9 MB of JavaScript that defines `vegaEmbed`."""
    require_vega()
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
