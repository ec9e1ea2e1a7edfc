"""What the pages of the report look like: one template, one style sheet, Markdown with formulas as MathML."""

import html
import re

from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

STYLE = """
body { max-width: 60rem; margin: 0 auto; padding: 0 1rem 3rem; color: #1b1b1b; background: #fff;
       font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.25; margin-top: 2rem; }
a { color: #0b57a4; }
nav, .note { color: #555; font-size: .9rem; }
nav { padding: .75rem 0; border-bottom: 1px solid #ccc; }
img { max-width: 100%; height: auto; }
.scroll, pre { overflow-x: auto; }
p, ul, ol { overflow-x: auto; overflow-y: hidden; } /* for formulas wider than a phone */
.formula.block { display: block; overflow-x: auto; overflow-y: hidden; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top; }
pre { font-size: .85rem; line-height: 1.4; white-space: pre-wrap; }
summary { cursor: pointer; color: #555; font-size: .85rem; }
details pre { background: #f6f6f6; padding: .75rem; margin: .25rem 0; white-space: pre; }
.standin { background: #fff3cd; border: 2px solid #8a6d00; padding: .5rem 1rem; }
figure { margin: 1rem 0; }
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<nav aria-label="pages">{navigation}</nav>
{notice}<main>
{body}
</main>
</body>
</html>
"""


def page(title: str, body: str, navigation: list[tuple[str, str]], notice: str = "") -> str:
    """A whole page; ``navigation`` has the text and the address of its links, ``notice`` is a warning in plain text."""
    links = " · ".join(f'<a href="{address}">{html.escape(text)}</a>' for text, address in navigation)
    warning = f'<p class="standin" role="note">{html.escape(notice)}</p>\n' if notice else ""
    style = STYLE + HtmlFormatter().get_style_defs(".highlight")
    return PAGE.format(title=html.escape(title), style=style, navigation=links, notice=warning, body=body)


def markdown(source: str) -> str:
    """Markdown as Jupyter understands it, formulas included, as HTML."""
    return MarkdownWithMath(renderer=_Renderer(escape=False, exclude_anchor_links=True)).render(source)


class _Renderer(IPythonRenderer):
    """Jupyter's Markdown, with formulas in MathML, which browsers draw by themselves."""

    def inline_math(self, body: str) -> str:
        return _formula(body, "inline")

    def block_math(self, body: str) -> str:
        return _formula(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return _formula(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")


def _formula(latex: str, display: str) -> str:
    """MathML; where the converter does not know a command, the LaTeX source, which can at least be read."""
    # Without braces the converter writes the alphabet as an attribute, which browsers ignore, not as a character.
    braced = re.sub(r"\\(math(?:bb|bf|cal|frak|scr)) (\w)", r"\\\1{\2}", latex.strip())
    try:
        mathml = convert(braced, display=display)
    except Exception:  # its own errors have no common base
        mathml = "\\"
    if "\\" in mathml:
        mathml = f"<code>{html.escape(latex.strip())}</code>"
    return f'<span class="formula {display}">{mathml}</span>'
