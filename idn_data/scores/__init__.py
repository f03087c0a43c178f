"""Test sets, protocols, scores, parity, tables and the comparison figure."""
