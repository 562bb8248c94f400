"""What each stage of the pipeline does: plain functions `(inputs, config, out, work) -> metrics`, without an orchestrator."""
