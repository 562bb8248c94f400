"""Tests of identifiers made for one run."""
