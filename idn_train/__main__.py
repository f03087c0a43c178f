"""``torchrun --nproc-per-node=K -m idn_train …``: `idn train` with the same options, in K processes."""

import sys

from cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]], prog_name="idn")
