"""What the files of a source are made of: compression that resumes after damage, wikitext."""
