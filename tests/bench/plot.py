"""The picture of store sizes by day, drawn by gnuplot."""

import pathlib
import subprocess
import tempfile

# Drawn in this order. Three of the lines lie on each other: wide ones below narrow ones.
STYLES = {"casync": ("#8d6a9f", 1.5), "restic": ("#f0a8a8", 8), "borg": ("#4f9d69", 4),
          "zstd": ("#222222", 1), "bakfs": ("#1b6ca8", 3)}
TITLES = {"zstd": "zstd -3, one file a day"}


def store_sizes(growth, path):
    """`growth`: tool to bytes by day. Writes an SVG of the running totals in GB."""
    with tempfile.TemporaryDirectory() as scratch:
        lines = []
        for name, grown in sorted(growth.items(), key=lambda item: list(STYLES).index(item[0])):
            data = pathlib.Path(scratch, name)
            total = 0
            with open(data, "w") as f:
                for day, more in enumerate(grown):
                    total += more
                    f.write(f"{day} {total / 1e9}\n")
            colour, width = STYLES[name]
            lines.append(f"'{data}' with lines lc rgb '{colour}' lw {width} "
                         f"title '{TITLES.get(name, name)}'")
        script = f"""
            set terminal svg size 720,420 font 'sans-serif,13' background '#ffffff'
            set output '{path}'
            set title 'Store size: 1 table, 2 % of the rows changed every day'
            set xlabel 'day'
            set ylabel 'GB on disk'
            set key left top
            set grid ytics lc rgb '#dddddd'
            set yrange [0:*]
            plot {', '.join(lines)}
        """
        subprocess.run(["gnuplot"], input=script, text=True, check=True, stderr=subprocess.DEVNULL)
