"""What every stage stands on: the stage itself, engines, documents, files that survive a kill, errors."""
