"""LR pictures: made as MATLAB makes them, and what made those that exist."""
