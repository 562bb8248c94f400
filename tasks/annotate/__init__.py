"""Annotators: each writes columns beside the documents, keyed by id; none copies text or drops a document."""
