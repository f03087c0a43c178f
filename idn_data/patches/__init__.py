"""Patch files of LR and GT: recipe, plan, cutting, the HDF5 file, shards, clusters, verification."""
