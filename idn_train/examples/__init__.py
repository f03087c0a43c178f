"""Networks to begin with, for ``idn train --network``: ESPCN in 20 lines, and RLFN."""
