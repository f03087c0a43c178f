"""``torchrun --nproc-per-node=K -m idn_train …``: `idn train` with the same options, in K processes."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    # by its place, not its name: the working folder may hold an `idn` or a `cli.py` of the user's
    above = Path(__file__).resolve().parents[1]
    installed = above / "idn" / "cli.py"
    sys.argv[1:1] = ["train"]
    runpy.run_path(str(installed if installed.is_file() else above / "cli.py"), run_name="__main__")
