"""How stages are chained: the DAG, the two ways of running it (directly, or as Prefect tasks), deployments, the CLI."""

import os

# read when Prefect is imported: a pipeline that may hold private text tells nobody that it runs
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
