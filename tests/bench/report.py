"""The results as a table for people and as JSON."""

import json
import os
import pathlib
import platform
import re
import subprocess
import time


def machine():
    """What the figures were measured on, in general terms."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    return {"processors": len(os.sched_getaffinity(0)), "processor": cpu and cpu[1],
            "memory_gib": round(int(memory[1]) / 2**20), "kernel": platform.release().split("-")[0],
            "load": os.getloadavg()}


def versions(bindir):
    """Of the tools compared, those that are installed."""
    found = {}
    for name, command in (("PostgreSQL", [str(bindir / "postgres"), "--version"]),
                          ("restic", ["restic", "version"]), ("borg", ["borg", "--version"]),
                          ("casync", ["casync", "--version"]), ("zstd", ["zstd", "--version"]),
                          ("mksquashfs", ["mksquashfs", "-version"])):
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, stdin=subprocess.DEVNULL)
        except OSError:
            continue
        number = re.search(r"\d+(\.\d+)+", done.stdout) or re.search(r"\d+", done.stdout)
        found[name] = number[0] if number else "?"
    return found


def _number(value):
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _goal(result):
    if result.goal is None:
        return ""
    sign = ">=" if result.higher else "<="
    if result.ratio_goal and result.limit:
        return f"{sign} {_number(result.goal)} x"
    return f"{sign} {_number(result.goal)} {result.unit}"


def _row(result):
    limit = f"{_number(result.limit)} {result.unit} {result.peer}" if result.limit else ""
    ratio = f"{result.ratio:.2f}" if result.limit else ""
    if result.limit and result.ratio < 0.01:
        ratio = f"{result.ratio:.4f}"
    reached = {True: "yes", False: "NO", None: ""}[result.reached]
    return (result.part, result.what, f"{_number(result.measured)} {result.unit}", limit, ratio,
            _goal(result), reached, str(result.n), result.note)


HEAD = ("part", "what", "bakfs", "limit or peer", "ratio", "goal", "reached", "n", "")


def table(results):
    rows = [HEAD] + [_row(r) for r in results]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
             for row in rows]
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join(lines)


def markdown(results, about, failures):
    """The table as a page of the documentation."""
    on = about["machine"]
    tools = ", ".join(f"{name} {number}" for name, number in about.get("versions", {}).items())
    lines = ["# Results", "",
             "Written by `tests/bench/run --markdown`; [performance.md](performance.md) explains "
             "the parts.", "",
             f"{on['processors']} processors ({on['processor']}), {on['memory_gib']} GiB, Linux "
             f"{on['kernel']}; load {on['load'][0]:.1f} at the start. {tools}.",
             f"{about['rows']:,} rows, {about['days']} days, seed {about['seed']}.", "",
             "| " + " | ".join(HEAD[:-1]) + " |", "|" + "---|" * (len(HEAD) - 1)]
    for result in results:
        cells = (cell.replace("|", "\\|") for cell in _row(result)[:-1])
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"Not measured: {part}: {error.splitlines()[0]}"
                    for part, error in failures.items())]
    return "\n".join(lines).rstrip() + "\n"


def write_json(path, results, about, failures):
    doc = {"time": int(time.time()), **about, "failures": failures,
           "results": [r.as_json() for r in results]}
    pathlib.Path(path).write_text(json.dumps(doc, indent=1, default=str) + "\n")
