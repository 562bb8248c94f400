"""What Prefect imports to run a deployment: by this name it finds our flows first, in whichever folder the run starts."""

from flows.build_lm import build_lm

__all__ = ["build_lm"]
