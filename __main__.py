"""``python -m idn …``: the commands of `idn`, where its script is not on the path."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    # by its place, not its name: the working folder may hold a `cli.py` of the user's
    runpy.run_path(str(Path(__file__).resolve().with_name("cli.py")), run_name="__main__")
