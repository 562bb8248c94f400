"""Makes the packaged language identification model, its word lists, its confusion table and its card, from a data bundle.

    python -m tools.lid --lid DIR --raw DIR --out DIR

`lid` has fastText lines (`__label__swh_Latn text`) in train.txt, dev.txt and test.txt, and label_aliases.tsv; `raw` holds the
documents that these lines were drawn from, as JSON lines (.jsonl.zst) that state the licence of each document. A line is used
only if it stands in a document whose licence lets a model be shared. What is written to `out` belongs into
`tasks/annotate/language/`.
"""
