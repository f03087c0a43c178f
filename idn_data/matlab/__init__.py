"""MATLAB's functions, and nothing of this project: imresize, colour, classes, quality, .mat files."""
