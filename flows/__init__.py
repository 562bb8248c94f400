"""How stages are chained: the DAG, the two ways of running it (directly, or as Prefect tasks), deployments, the CLI."""
