-- One decision for each document: `keep`, or the first reason that drops it.
-- {columns}, {joins} and {faults} are made from what the annotators declare (rules.py); the named parameters ($min_words ...)
-- come from the language's config or, where it leaves them open, from thresholds.py; a changed threshold costs this query, nothing else.
WITH measured AS (
    SELECT d.position, d.id, d.source, d.license, d.url, d.title, d.bytes,
           {columns},
           coalesce(w.weight, 1.0) AS source_weight, b.bytes AS source_bytes, nullif(f.id IS NOT NULL, false) AS forgotten
    FROM documents d
    {joins}
    LEFT JOIN source_weights w ON w.source = d.source
    LEFT JOIN source_bytes b ON b.source = d.source
    LEFT JOIN forgotten f ON f.id = d.id
),
judged AS (
    SELECT *, count(*) OVER (PARTITION BY coalesce(duplicate_of, id)) AS cluster,
           {faults} AS fault
    FROM measured
),
-- Of the documents that stand for the same text, the first without a fault stays: a copy outlives a dropped original.
ranked AS (
    SELECT *, row_number() OVER (PARTITION BY coalesce(duplicate_of, id), fault IS NULL ORDER BY position) AS rank
    FROM judged
),
single AS (
    SELECT *, coalesce(fault, CASE WHEN rank > 1 THEN kind || '_duplicate' ELSE 'keep' END) AS verdict
    FROM ranked
),
-- Of a source with a limit, documents in the order of a hash stay until their text fills it.
decided AS (
    SELECT *, CASE
        WHEN verdict = 'keep' AND source_bytes < sum(bytes) OVER (PARTITION BY source, verdict ORDER BY md5(hex(id) || $seed::VARCHAR), id)
        THEN 'source_limit' ELSE verdict END AS decision
    FROM single
),
-- Related documents stay in one split; whole groups are held out, in the order of a hash: for the test set until it is full,
-- then for validation. A group larger than a tenth of a set stays in training: one chain of boilerplate must not fill it.
groups AS (
    SELECT related, sum(bytes) AS bytes, md5(hex(related) || $seed::VARCHAR) AS lot
    FROM decided WHERE decision = 'keep' GROUP BY related
),
target AS (
    SELECT least($test_bytes, greatest($test * sum(bytes), least($least_bytes, $most_of_little * sum(bytes)))) AS test,
           least($validation_bytes, greatest($validation * sum(bytes), least($least_bytes, $most_of_little * sum(bytes)))) AS validation
    FROM groups
),
lots AS (
    SELECT g.related, sum(g.bytes) OVER (ORDER BY g.lot, g.related) AS filled
    FROM groups g, target t WHERE g.bytes <= greatest(least(t.test, t.validation) / 10, 2000)
),
held_out AS (
    SELECT related, CASE WHEN filled <= t.test THEN 'test' WHEN filled <= t.test + t.validation THEN 'validation' END AS split
    FROM lots, target t
)
SELECT d.* EXCLUDE (position, fault, rank, verdict, source_bytes, forgotten, cluster),
       CASE WHEN decision = 'keep' THEN coalesce(h.split, 'train') END AS split,
       CASE WHEN decision <> 'keep' THEN 0.0 WHEN h.split IS NOT NULL THEN 1.0
            ELSE source_weight * coalesce(r.weight, 1.0) END AS weight
FROM decided d
LEFT JOIN held_out h ON h.related = d.related AND d.decision = 'keep'
-- What many sites repeat is read more often (rehydration: FineWeb-2, arXiv 2506.20920): the weight of the largest step reached.
ASOF LEFT JOIN rehydration r ON r.copies <= d.cluster
ORDER BY d.position
