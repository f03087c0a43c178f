"""``torchrun --nproc-per-node=K -m idn_train …``: `idn train` with the same options, in K processes."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # before the working folder, which may hold another cli.py
    from cli import main

    main(["train", *sys.argv[1:]], prog_name="idn")
