"""Work on several machines: a Dask cluster, its scheduler, and tasks that are dealt out to its workers."""
