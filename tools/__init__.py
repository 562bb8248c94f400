"""Programs for those who work on the project: they make files that are packaged, and are not packaged themselves."""
