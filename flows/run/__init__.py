"""A run of the DAG without an orchestrator: what is asked for, building, planning, progress, results."""
