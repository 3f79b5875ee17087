"""The picture of store sizes by day, drawn by gnuplot."""

import pathlib
import subprocess
import tempfile

# Distinct in grey too; bakfs is the thick one.
STYLES = {"bakfs": ("#1b6ca8", 3, 1), "restic": ("#d1495b", 1.5, 2), "borg": ("#66a182", 1.5, 4),
          "casync": ("#8d6a9f", 1.5, 3), "zstd": ("#555555", 1.5, 5)}
TITLES = {"zstd": "zstd -3, one file a day"}


def store_sizes(growth, path):
    """`growth`: tool to bytes by day. Writes an SVG of the running totals in GB."""
    with tempfile.TemporaryDirectory() as scratch:
        lines = []
        for name, grown in sorted(growth.items(), key=lambda item: -sum(item[1])):
            data = pathlib.Path(scratch, name)
            total = 0
            with open(data, "w") as f:
                for day, more in enumerate(grown):
                    total += more
                    f.write(f"{day} {total / 1e9}\n")
            colour, width, dash = STYLES[name]
            lines.append(f"'{data}' with lines lc rgb '{colour}' lw {width} dt {dash} "
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
