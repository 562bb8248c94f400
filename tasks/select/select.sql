-- One decision for each document: `keep`, or the first reason that drops it.
-- The named parameters ($min_words ...) come from the language's config or, where it leaves them open, from thresholds.py;
-- a changed threshold costs this query, nothing else.
WITH measured AS (
    SELECT d.position, d.id, d.source, d.license, d.url, d.title, d.bytes,
           l.label AS language, l.score AS language_score, l.line_share, l.affinity,
           q.* EXCLUDE (id),
           u.duplicate_of, u.kind, u.jaccard, u.copies, u.related,
           c.item, c.coverage,
           coalesce(w.weight, 1.0) AS source_weight, b.bytes AS source_bytes, f.id IS NOT NULL AS forgotten,
           count(*) OVER (PARTITION BY coalesce(u.duplicate_of, d.id)) AS cluster
    FROM documents d
    JOIN language l USING (id)
    JOIN quality q USING (id)
    JOIN duplicates u USING (id)
    JOIN contamination c USING (id)
    LEFT JOIN source_weights w ON w.source = d.source
    LEFT JOIN source_bytes b ON b.source = d.source
    LEFT JOIN forgotten f ON f.id = d.id
),
judged AS (
    SELECT *,
           CASE
               WHEN forgotten THEN 'forgotten'
               WHEN item IS NOT NULL THEN 'contamination'
               WHEN source_weight = 0 THEN 'source'
               WHEN words = 0 THEN 'empty'
               WHEN language <> $label THEN 'language'
               WHEN language_score < $min_language_score THEN 'language_score'
               WHEN affinity < $min_affinity AND language_score < $sure_language_score AND words >= $affinity_words THEN 'language_affinity'
               WHEN line_share < $min_line_share THEN 'language_lines'
               WHEN words < $min_words THEN 'quality_min_words'
               WHEN words > $max_words THEN 'quality_max_words'
               WHEN mean_word_length < $min_mean_word_length THEN 'quality_min_mean_word_length'
               WHEN mean_word_length > $max_mean_word_length THEN 'quality_max_mean_word_length'
               WHEN letters < $min_letters THEN 'quality_min_letters'
               WHEN digits > $max_digits THEN 'quality_max_digits'
               WHEN symbols > $max_symbols THEN 'quality_max_symbols'
               WHEN alpha_words < $min_alpha_words THEN 'quality_min_alpha_words'
               WHEN capital_words > $max_capital_words THEN 'quality_max_capital_words'
               WHEN single_letter_words > $max_single_letter_words AND words >= $ratio_words THEN 'quality_max_single_letter_words'
               WHEN punctuation > $max_punctuation AND words >= $ratio_words THEN 'quality_max_punctuation'
               WHEN hash_words > $max_hash_words THEN 'quality_max_hash_words'
               WHEN ellipsis_words > $max_ellipsis_words THEN 'quality_max_ellipsis_words'
               WHEN unique_words < $min_unique_words THEN 'quality_min_unique_words'
               WHEN top_word > $max_top_word AND words >= $ratio_words THEN 'quality_max_top_word'
               WHEN bullet_lines > $max_bullet_lines THEN 'quality_max_bullet_lines'
               WHEN ellipsis_lines > $max_ellipsis_lines THEN 'quality_max_ellipsis_lines'
               WHEN stop_lines < $min_stop_lines THEN 'quality_min_stop_lines'
               WHEN short_lines > $max_short_lines THEN 'quality_max_short_lines'
               WHEN newlines > $max_newlines THEN 'quality_max_newlines'
               WHEN duplicate_lines > $max_duplicate_lines THEN 'quality_max_duplicate_lines'
               WHEN duplicate_line_characters > $max_duplicate_line_characters THEN 'quality_max_duplicate_line_characters'
               WHEN duplicate_paragraphs > $max_duplicate_paragraphs THEN 'quality_max_duplicate_paragraphs'
               WHEN duplicate_paragraph_characters > $max_duplicate_paragraph_characters THEN 'quality_max_duplicate_paragraph_characters'
               WHEN top_2_grams > $max_top_2_grams AND words >= $ratio_words THEN 'quality_max_top_2_grams'
               WHEN top_3_grams > $max_top_3_grams AND words >= $ratio_words THEN 'quality_max_top_3_grams'
               WHEN top_4_grams > $max_top_4_grams AND words >= $ratio_words THEN 'quality_max_top_4_grams'
               WHEN duplicate_5_grams > $max_duplicate_5_grams THEN 'quality_max_duplicate_5_grams'
               WHEN duplicate_6_grams > $max_duplicate_6_grams THEN 'quality_max_duplicate_6_grams'
               WHEN duplicate_7_grams > $max_duplicate_7_grams THEN 'quality_max_duplicate_7_grams'
               WHEN duplicate_8_grams > $max_duplicate_8_grams THEN 'quality_max_duplicate_8_grams'
               WHEN duplicate_9_grams > $max_duplicate_9_grams THEN 'quality_max_duplicate_9_grams'
               WHEN duplicate_10_grams > $max_duplicate_10_grams THEN 'quality_max_duplicate_10_grams'
               WHEN function_words < $min_function_words AND words >= $ratio_words THEN 'quality_min_function_words'
               WHEN word_order < $min_word_order THEN 'quality_min_word_order'
           END AS fault
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
-- Related documents stay on one side of the split; whole groups go to validation, in the order of a hash, until it is full.
-- A group larger than a tenth of the validation set stays in training: one chain of boilerplate must not fill it.
groups AS (
    SELECT related, sum(bytes) AS bytes, md5(hex(related) || $seed::VARCHAR) AS lot
    FROM decided WHERE decision = 'keep' GROUP BY related
),
target AS (
    SELECT least($validation_bytes, greatest($validation * sum(bytes), least($least_bytes, 0.15 * sum(bytes)))) AS bytes FROM groups
),
lots AS (
    SELECT g.related, sum(g.bytes) OVER (ORDER BY g.lot, g.related) AS filled
    FROM groups g, target t WHERE g.bytes <= greatest(t.bytes / 10, 2000)
)
SELECT d.* EXCLUDE (position, fault, rank, verdict, source_weight, source_bytes, forgotten, cluster),
       CASE WHEN decision <> 'keep' THEN NULL WHEN o.filled <= t.bytes THEN 'validation' ELSE 'train' END AS split,
       CASE WHEN decision <> 'keep' THEN 0.0 WHEN o.filled <= t.bytes THEN 1.0
            ELSE source_weight * coalesce(r.weight, 1.0) END AS weight
FROM decided d CROSS JOIN target t
LEFT JOIN lots o ON o.related = d.related AND d.decision = 'keep'
-- What many sites repeat is read more often (rehydration: FineWeb-2, arXiv 2506.20920): the weight of the largest step reached.
ASOF LEFT JOIN rehydration r ON r.copies <= d.cluster
ORDER BY d.position
