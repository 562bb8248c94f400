"""A web page and what is in it: characters, main text, language, metadata, licence."""
