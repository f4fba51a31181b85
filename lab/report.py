# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""hakmem report: results files in, one HTML page out, and docs/SCORECARD.md on request.

The page is one file: no script, nothing loaded from elsewhere. Files that can't be read are named,
on stderr and on the page, and make the exit status 2; the page shows the others all the same.
"""

import os
from pathlib import Path

from lab import cli, report_files

ABOUT = """\
Turns results into one HTML page: plots with the tables behind them, who is where in words, what
failed or is missing, machine and commands. RESULTS are directories of runs (bench_results/…) or
single CSV files; any kinds, together."""


def _parser():
    parser = cli.parser("report", ABOUT)
    parser.add_argument("results", nargs="+", metavar="RESULTS",
                        help="directory of a run, or a CSV file")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.html",
                        help="the page (default: report.html in the directory of the first "
                             "results)")
    parser.add_argument("--scorecard", type=Path, metavar="FILE.md",
                        help="write the scorecard, too (the project's is docs/SCORECARD.md)")
    return parser


def templates():
    import jinja2

    def md(value):
        """Text in a cell of a Markdown table."""
        for sign in "\\|*`<[]~":
            value = value.replace(sign, "\\" + sign)
        return " ".join(value.split())

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).resolve().parent / "page"),
        autoescape=lambda name: not name.endswith(".md.jinja"), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    env.filters["md"] = md
    return env


def _write(path, content):
    """Whole or not at all: a reader never sees half of a page."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(content, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        cli.fail(f"{path} can't be written: {error.strerror}")
    print(path)


def page(sources, refused):
    """The text of the page. sources: [Source]; refused: [sentence]."""
    from lab import report_compare, report_more, report_plots, report_sections, report_summary

    kinds = by_kind(sources)
    names = [row["allocator"] for source in sources for row in source.rows if "allocator" in row]
    names += [name for kind in ("suite", "programs")
              for name in report_compare.allocators(report_compare.gather(kinds.get(kind, [])))]
    names += [soak.allocator for soak in report_more.soaks(kinds.get("soak", []))]
    slots = report_plots.series_slots(names)
    context = report_sections.Context(kinds, slots)
    makers = [report_sections.speed, report_sections.memory, report_sections.latency,
              report_sections.scaling, report_more.soak_section, report_more.programs,
              report_more.syscalls, report_more.instructions, report_more.shared_writes,
              report_more.ab]
    found = [section for section in (make(context) for make in makers) if section]
    found.append(report_more.machine(sources))
    return templates().get_template("page.html.jinja").render(
        sections=found, slots=slots, shapes=report_plots.SHAPES,
        summary=report_summary.sentences(kinds, refused),
        overview=report_summary.overview(kinds), sources=sources)


def scorecard(sources, refused):
    """The text of the scorecard."""
    from lab import report_more, report_scorecard, report_summary

    kinds = by_kind(sources)
    return templates().get_template("scorecard.md.jinja").render(
        summary=[pair for pair in report_summary.sentences(kinds, refused)
                 if pair[0] not in ("Not measured", "Missing or failed")],
        overview=report_summary.overview(kinds), parts=report_scorecard.parts(kinds),
        troubles=report_scorecard.troubles_table(kinds),
        not_measured=report_summary.not_measured(kinds),
        facts=report_more.facts_tables(sources), sources=sources)


def by_kind(sources):
    """{kind: [Source]}, kinds in the order of KINDS."""
    found = {kind: [s for s in sources if s.kind == kind] for kind in report_files.KINDS}
    return {kind: files for kind, files in found.items() if files}


def main(argv):
    args = _parser().parse_args(argv)
    sources, refused = report_files.read_all(args.results)
    for sentence in refused:
        cli.note(sentence)
    if not sources:
        cli.fail("no results to report on")
    first = Path(args.results[0])
    output = args.output or (first if first.is_dir() else first.parent) / "report.html"
    _write(output, page(sources, refused))
    if args.scorecard:
        _write(args.scorecard, scorecard(sources, refused))
    return cli.USAGE if refused else 0
