-- Every number of the cards. A block gives one fact: "row" is an object, "rows" a list of them (the ledger is of one run).
-- Sums are of whole numbers, so that no order of adding changes them.

-- row crawled
SELECT sum(count) FILTER (outcome = 'written')::BIGINT AS documents, sum(count) FILTER (outcome = 'bytes')::BIGINT AS bytes
FROM sources;

-- row decided
SELECT count(*) AS documents, sum(bytes)::BIGINT AS bytes, sum(words::BIGINT)::BIGINT AS words,
       count(*) FILTER (decision <> 'keep') AS dropped,
       100.0 * count(*) FILTER (decision <> 'keep') / count(*) AS dropped_percent
FROM decisions WHERE fingerprint = labelled('select');

-- row kept
SELECT count(*) AS documents, sum(bytes)::BIGINT AS bytes, sum(words::BIGINT)::BIGINT AS words,
       count(DISTINCT source) AS sources, quantile_disc(words, 0.5)::BIGINT AS median_words, quantile_disc(words, 0.05)::BIGINT AS low_words,
       quantile_disc(words, 0.95)::BIGINT AS high_words,
       100.0 * count(*) FILTER (url IS NULL) / count(*) AS no_url_percent,
       100.0 * count(*) FILTER (language_score < 0.9) / count(*) AS unsure_percent
FROM decisions WHERE fingerprint = labelled('select') AND decision = 'keep';

-- rows funnel
SELECT decision, coalesce(why, replace(decision, '_', ' ')) AS why, documents, bytes, 100.0 * documents / sum(documents) OVER () AS percent,
       100.0 * bytes / sum(bytes) OVER () AS bytes_percent
FROM funnel ORDER BY position, decision;

-- rows thresholds
WITH found AS (SELECT unnest((metrics->'$.thresholds')::JSON[]) AS entry FROM stages WHERE fingerprint = labelled('select'))
SELECT entry->>'name' AS name, (entry->>'value')::DOUBLE AS value, entry->>'how' AS how, (entry->>'measured')::DOUBLE AS measured,
       (entry->>'middle')::DOUBLE AS middle, (entry->>'documents')::BIGINT AS documents, (entry->>'loose')::DOUBLE AS loose,
       (entry->>'tight')::DOUBLE AS tight
FROM found;

-- row thresholds_found
WITH found AS (SELECT unnest((metrics->'$.thresholds')::JSON[]) AS entry FROM stages WHERE fingerprint = labelled('select'))
SELECT count(*) FILTER (entry->>'how' = 'config') AS stated, count(*) FILTER (entry->>'how' = 'measured') AS measured,
       count(*) FILTER (entry->>'how' = 'tight') AS tight, count(*) FILTER (entry->>'how' = 'loose') AS loose,
       count(*) FILTER (entry->>'how' = 'too little text') AS unknown,
       min((entry->>'documents')::BIGINT) FILTER (entry->>'how' IN ('measured', 'tight', 'loose')) AS documents
FROM found;

-- rows sources
SELECT source, count(*) FILTER (decision = 'keep') AS documents,
       coalesce(sum(words::BIGINT) FILTER (decision = 'keep'), 0)::BIGINT AS words,
       coalesce(sum(bytes) FILTER (decision = 'keep'), 0)::BIGINT AS bytes,
       100.0 * coalesce(sum(bytes) FILTER (decision = 'keep'), 0) / sum(sum(bytes) FILTER (decision = 'keep')) OVER () AS percent,
       100.0 * count(*) FILTER (decision = 'keep') / count(*) AS kept_percent
FROM decisions WHERE fingerprint = labelled('select') GROUP BY source ORDER BY bytes DESC, source;

-- rows licenses
SELECT coalesce(nullif(trim(license), ''), 'unknown') AS license, count(*) AS documents, sum(words::BIGINT)::BIGINT AS words,
       sum(bytes)::BIGINT AS bytes, 100.0 * sum(bytes) / sum(sum(bytes)) OVER () AS percent
FROM decisions WHERE fingerprint = labelled('select') AND decision = 'keep' GROUP BY 1 ORDER BY bytes DESC, 1;

-- rows splits
SELECT split, count(*) AS documents, sum(words::BIGINT)::BIGINT AS words, sum(bytes)::BIGINT AS bytes,
       100.0 * sum(bytes) / sum(sum(bytes)) OVER () AS percent
FROM decisions WHERE fingerprint = labelled('select') AND decision = 'keep' GROUP BY split
ORDER BY list_position(['train', 'validation', 'test'], split);

-- rows labels
SELECT language AS label, count(*) AS documents, 100.0 * count(*) / sum(count(*)) OVER () AS percent,
       quantile_disc(language_score, 0.5)::DOUBLE AS median_score
FROM decisions WHERE fingerprint = labelled('select') GROUP BY language ORDER BY documents DESC, label LIMIT 10;

-- row labels_found
SELECT count(DISTINCT language) AS labels FROM decisions WHERE fingerprint = labelled('select');

-- rows accepted
SELECT m.key AS label, m.value::BIGINT AS documents
FROM stages, json_each(metrics, '$.accepted') m WHERE fingerprint = labelled('language') ORDER BY documents DESC, label;

-- row identification
SELECT metrics->'$.identification'->>'label' AS label, (metrics->'$.identification'->>'known')::BOOLEAN AS known,
       (metrics->'$.identification'->>'lines')::BIGINT AS lines, (metrics->'$.identification'->>'others')::BIGINT AS others,
       (metrics->'$.identification'->>'threshold')::DOUBLE AS threshold,
       (metrics->'$.identification'->>'separable')::BOOLEAN AS separable,
       100 * (metrics->'$.identification'->>'recall')::DOUBLE AS recall_percent,
       100 * (metrics->'$.identification'->>'false_positives')::DOUBLE AS false_positives_percent,
       (metrics->'$.identification'->>'documents')::BIGINT AS vouched, (metrics->'$.identification'->>'taken')::BIGINT AS taken,
       metrics->'$.identification'->>'sources' AS sources, (metrics->'$.identification'->>'packaged')::BOOLEAN AS packaged
FROM stages WHERE fingerprint = labelled('language');

-- rows look_alikes
WITH found AS (
    SELECT 'taken for' AS way, unnest((metrics->'$.identification.taken_for')::JSON[]) AS entry FROM stages WHERE fingerprint = labelled('language')
    UNION ALL
    SELECT 'taken for it', unnest((metrics->'$.identification.mistaken')::JSON[]) FROM stages WHERE fingerprint = labelled('language')
)
SELECT way, entry->>0 AS label, (entry->>1)::BIGINT AS lines, 100 * (entry->>2)::DOUBLE AS percent
FROM found ORDER BY way, percent DESC, label;

-- row duplicates
SELECT (metrics->>'exact')::BIGINT AS exact, (metrics->>'near')::BIGINT AS near,
       (metrics->>'candidate_pairs')::BIGINT AS candidate_pairs, (metrics->>'pairs_at_threshold')::BIGINT AS pairs_at_threshold,
       (metrics->>'largest_cluster')::BIGINT AS largest_cluster,
       100.0 * ((metrics->>'exact')::BIGINT + (metrics->>'near')::BIGINT) / (metrics->>'documents')::BIGINT AS percent
FROM stages WHERE fingerprint = labelled('duplicates');

-- row dropped_duplicates
SELECT count(*) FILTER (decision = 'exact_duplicate') AS exact, count(*) FILTER (decision = 'near_duplicate') AS near
FROM decisions WHERE fingerprint = labelled('select');

-- rows clusters
SELECT copies AS size, count(*) AS clusters FROM decisions WHERE fingerprint = labelled('select') AND duplicate_of IS NULL AND copies > 1 GROUP BY copies ORDER BY size;

-- row cleaned
SELECT (metrics->>'documents')::BIGINT AS documents, (metrics->>'changed')::BIGINT AS changed, (metrics->>'empty')::BIGINT AS empty,
       (metrics->>'repeated')::BIGINT AS repeated, (metrics->>'repaired')::BIGINT AS repaired,
       (metrics->>'markup')::BIGINT AS markup, (metrics->>'unbroken')::BIGINT AS unbroken,
       (metrics->>'$.boilerplate.lines')::BIGINT AS boilerplate_lines,
       (metrics->>'$.boilerplate.bytes')::BIGINT AS boilerplate_bytes,
       (metrics->>'bytes_in')::BIGINT AS bytes_in, (metrics->>'bytes')::BIGINT AS bytes
FROM stages WHERE fingerprint = labelled('clean');

-- rows masked
WITH types AS (SELECT metrics, config, unnest(json_keys(metrics, '$.masked')) AS type FROM stages WHERE fingerprint = labelled('clean'))
SELECT type, (metrics->>('$.masked.' || type))::BIGINT AS masked,
       list_contains((config->'$.mask')::VARCHAR[], type)
           AND (type <> 'phone' OR json_array_length(config, '$.phone_countries') > 0) AS looked_for
FROM types ORDER BY masked DESC, type;

-- rows contamination
WITH sets AS (SELECT unnest((metrics->'$.sets')::JSON[]) AS entry FROM stages WHERE fingerprint = labelled('contamination'))
SELECT entry->>'set' AS set, (entry->>'items')::BIGINT AS items, (entry->>'too_short')::BIGINT AS too_short,
       (entry->>'found_in_corpus')::BIGINT AS found,
       100.0 * (entry->>'found_in_corpus')::BIGINT / nullif((entry->>'items')::BIGINT, 0) AS percent,
       (SELECT count(*) FROM decisions WHERE fingerprint = labelled('select') AND decision = 'contamination' AND split_part(item, '/', 1) = entry->>'set') AS documents
FROM sets ORDER BY set;

-- rows sets_not_at_hand
SELECT unnest((metrics->'$.sets_not_at_hand')::VARCHAR[]) AS set FROM stages WHERE fingerprint = labelled('contamination') ORDER BY 1;

-- row tokenizer
SELECT type, vocab_size, fertility, bytes_per_token, (metrics->>'byte_fallback')::DOUBLE * 100 AS byte_fallback_percent,
       (metrics->>'training_bytes')::BIGINT AS training_bytes,
       (coalesce(metrics->'exactness', metrics)->>'lines')::BIGINT AS lines,
       (coalesce(metrics->'exactness', metrics)->>'id_mismatches')::BIGINT AS id_mismatches,
       (coalesce(metrics->'exactness', metrics)->>'equal_score_ties')::BIGINT AS equal_score_ties,
       (coalesce(metrics->'exactness', metrics)->>'round_trip_failures')::BIGINT AS round_trip_failures
FROM tokenizers JOIN stages USING (fingerprint) WHERE fingerprint = labelled('tokenizer');

-- rows tokenizer_sources
WITH found AS (SELECT unnest((metrics->'$.sources')::JSON[]) AS entry FROM stages WHERE fingerprint = labelled('tokenizer'))
SELECT entry->>'source' AS source, (entry->>'documents')::BIGINT AS documents, (entry->>'fertility')::DOUBLE AS fertility,
       (entry->>'bytes_per_token')::DOUBLE AS bytes_per_token
FROM found ORDER BY source;

-- rows tokenizer_sizes
WITH found AS (SELECT unnest((metrics->'$.sizes')::JSON[]) AS entry FROM stages WHERE fingerprint = labelled('tokenizer'))
SELECT (entry->>'vocab_size')::BIGINT AS vocab_size, (entry->>'fertility')::DOUBLE AS fertility,
       (entry->>'bytes_per_token')::DOUBLE AS bytes_per_token, (entry->>'parameters')::BIGINT AS parameters,
       100 * (entry->>'embedding_share')::DOUBLE AS embedding_percent,
       (entry->>'flops_per_byte')::DOUBLE / 1e6 AS megaflops_per_byte, (entry->>'chosen')::BOOLEAN AS chosen
FROM found ORDER BY vocab_size;

-- row tokens
SELECT (metrics->>'train_tokens')::BIGINT AS train_tokens, (metrics->>'validation_tokens')::BIGINT AS validation_tokens,
       (metrics->>'test_tokens')::BIGINT AS test_tokens, (metrics->>'train_documents')::BIGINT AS train_documents
FROM stages WHERE fingerprint = labelled('tokens');

-- rows domains
WITH hosts AS (
    SELECT lower(regexp_extract(url, '^[a-zA-Z]+://(?:[^/@]*@)?([^/:?#]+)', 1)) AS domain, bytes
    FROM decisions WHERE fingerprint = labelled('select') AND decision = 'keep' AND url IS NOT NULL
)
SELECT domain, count(*) AS documents, sum(bytes)::BIGINT AS bytes, 100.0 * count(*) / sum(count(*)) OVER () AS percent
FROM hosts WHERE domain <> '' GROUP BY domain ORDER BY documents DESC, domain LIMIT 20;

-- row domain_concentration
WITH hosts AS (
    SELECT lower(regexp_extract(url, '^[a-zA-Z]+://(?:[^/@]*@)?([^/:?#]+)', 1)) AS domain
    FROM decisions WHERE fingerprint = labelled('select') AND decision = 'keep' AND url IS NOT NULL
), counted AS (SELECT domain, count(*) AS documents FROM hosts WHERE domain <> '' GROUP BY domain)
SELECT count(*) AS domains, 100.0 * max(documents) / sum(documents) AS first_percent,
       100.0 * list_sum(max(documents, 10)) / sum(documents) AS ten_percent
FROM counted;

-- rows dates
SELECT source, documents, strftime(fetched_first, '%Y-%m-%d') AS fetched_first, strftime(fetched_last, '%Y-%m-%d') AS fetched_last,
       published, 100.0 * published / documents AS published_percent, strftime(published_first, '%Y-%m-%d') AS published_first,
       strftime(published_last, '%Y-%m-%d') AS published_last
FROM dates ORDER BY source;

-- rows crawls
SELECT config->>'name' AS source, config->>'type' AS type, config->>'license' AS license,
       coalesce(config->>'dataset', config->>'wiki', config->>'crawl', config->>'site', array_to_string((config->'$.sites')::VARCHAR[], ', ')) AS origin,
       (config->>'delay')::DOUBLE AS delay, config->>'contact' AS contact, strftime(started, '%Y-%m-%d') AS started
FROM stages WHERE stage = 'crawl' ORDER BY source;

-- rows outcomes
SELECT source, outcome, count FROM sources WHERE outcome NOT IN ('bytes') AND count > 0 ORDER BY source, count DESC, outcome;

-- rows robots
SELECT source, sum(count)::BIGINT AS refused FROM sources WHERE outcome LIKE '%robots%' AND count > 0 GROUP BY source
ORDER BY source;

-- rows stages
SELECT label, stage, config->>'name' AS source, version, fingerprint, strftime(started, '%Y-%m-%d') AS started, seconds,
       peak_memory_bytes, rows, bytes, machine,
       array_to_string(list_transform(json_keys(libraries), lambda k: k || ' ' || (libraries->>k)), ', ') AS libraries
FROM latest JOIN stages USING (stage, fingerprint) ORDER BY position;

-- rows other_models
SELECT l.label, metrics->>'family' AS family, (metrics->>'parameters')::BIGINT AS parameters, (metrics->>'tokens')::BIGINT AS tokens,
       e.metric, e.value, e.low, e.high
FROM latest l JOIN stages s USING (fingerprint)
LEFT JOIN latest m ON m.label = replace(l.label, 'pretrain', 'evaluate')
LEFT JOIN evaluations e ON e.fingerprint = m.fingerprint AND e.metric IN ('bits_per_byte', 'pseudo_perplexity')
WHERE l.stage = 'pretrain' AND l.label <> 'pretrain' ORDER BY l.position, e.metric;

-- rows settings
SELECT l.label, s.stage, t.fullkey[3:] AS key,
       CASE WHEN t.type = 'ARRAY' THEN array_to_string(t.value::VARCHAR[], ' ') ELSE trim(t.atom, '"') END AS value
FROM stages s JOIN latest l USING (fingerprint), json_tree(s.config) t
WHERE (t.atom IS NOT NULL OR (t.type = 'ARRAY' AND json_array_length(t.value) > 0)) AND t.fullkey NOT LIKE '%]%'
      AND s.stage <> 'crawl' AND t.fullkey NOT LIKE '$.data%' AND t.fullkey NOT LIKE '$.annotations%'
ORDER BY l.position, t.id;

-- rows corpus_files
SELECT path, rows AS documents, f.bytes, sha256 FROM files f WHERE fingerprint = labelled('corpus')
ORDER BY path;

-- row training
SELECT metrics->>'family' AS family, metrics->>'objective' AS objective, (metrics->>'parameters')::BIGINT AS parameters, (metrics->>'steps')::BIGINT AS steps, (metrics->>'tokens')::BIGINT AS tokens,
       (metrics->>'epochs')::DOUBLE AS epochs, (metrics->>'seconds')::DOUBLE AS seconds,
       coalesce((metrics->>'tokens_per_second')::DOUBLE, (metrics->>'tokens')::BIGINT / (metrics->>'seconds')::DOUBLE) AS tokens_per_second, metrics->>'precision' AS precision,
       metrics->>'compiled' AS compiled, metrics->>'device' AS device,
       (metrics->>'published_step')::BIGINT AS published_step,
       (metrics->>'tokens')::DOUBLE / (metrics->>'parameters')::BIGINT AS tokens_per_parameter,
       machine, peak_memory_bytes, strftime(started, '%Y-%m-%d') AS started
FROM stages WHERE fingerprint = labelled('pretrain');

-- row curve_end
SELECT max(step) AS step, arg_max(loss, step) AS loss, max(memory_bytes) AS memory_bytes FROM training WHERE fingerprint = labelled('pretrain');

-- rows curve
SELECT step, tokens, loss, bits_per_byte, validation_loss, validation_bits_per_byte, learning_rate FROM (
    SELECT *, row_number() OVER (ORDER BY step) AS number, count(*) OVER () AS total FROM training WHERE fingerprint = labelled('pretrain')
) WHERE number % ceil(total / 400.0) = 0 OR number = total OR validation_loss IS NOT NULL ORDER BY step;

-- row energy
SELECT kwh, 1000 * kwh AS watt_hours, source, mfu,
       (SELECT avg(watts) FROM training WHERE fingerprint = labelled('pretrain')) AS measured_watts
FROM energy WHERE fingerprint = labelled('pretrain');

-- row footprint
SELECT kwh * grams_per_kwh AS co2_grams, grams_per_kwh, name AS grid, year,
       (SELECT kwh * min(grams_per_kwh) FROM grids) AS least_grams, (SELECT arg_min(name, grams_per_kwh) FROM grids) AS least,
       (SELECT kwh * max(grams_per_kwh) FROM grids) AS most_grams, (SELECT arg_max(name, grams_per_kwh) FROM grids) AS most
FROM energy, grids WHERE fingerprint = labelled('pretrain') AND country IS NULL;

-- row run_time
SELECT sum(seconds) AS seconds, max(peak_memory_bytes) AS peak_memory_bytes, count(*) AS stages FROM stages;

-- row held_out
SELECT max(value) FILTER (metric = 'bits_per_byte') AS bits_per_byte, max(low) FILTER (metric = 'bits_per_byte') AS low,
       max(high) FILTER (metric = 'bits_per_byte') AS high,
       max(value) FILTER (metric = 'perplexity_per_token') AS perplexity_per_token,
       max(value) FILTER (metric = 'perplexity_per_word') AS perplexity_per_word, max(n) AS documents,
       (SELECT (metrics->>'test_bytes')::BIGINT FROM stages WHERE fingerprint = labelled('evaluate')) AS bytes
FROM evaluations WHERE fingerprint = labelled('evaluate') AND task = 'held-out text';

-- rows held_out_sources
SELECT regexp_replace(task, '^held-out text: ', '') AS source, metric, value, low, high, n AS documents
FROM evaluations WHERE fingerprint = labelled('evaluate') AND task LIKE 'held-out text: %' ORDER BY source;

-- rows pseudo
SELECT metric, value, low, high, n AS documents,
       (SELECT (metrics->>'pseudo_tokens')::BIGINT FROM stages WHERE fingerprint = labelled('evaluate')) AS tokens,
       (SELECT (metrics->>'pseudo_context')::BIGINT FROM stages WHERE fingerprint = labelled('evaluate')) AS context
FROM evaluations WHERE fingerprint = labelled('evaluate') AND task = 'held-out text' AND metric LIKE 'pseudo%' ORDER BY metric DESC;

-- row masked_prediction
SELECT max(value) FILTER (metric = 'masked_loss') AS loss, 100 * max(value) FILTER (metric = 'masked_accuracy') AS accuracy_percent,
       100 * (SELECT (config->>'masking')::DOUBLE FROM stages WHERE fingerprint = labelled('evaluate')) AS share_percent, max(n) AS documents
FROM evaluations WHERE fingerprint = labelled('evaluate') AND task = 'held-out text' AND metric LIKE 'masked%';

-- rows scores
SELECT e.* EXCLUDE (fingerprint, language) FROM evaluations e JOIN stages s USING (fingerprint)
WHERE s.stage = 'task' AND s.inputs->'$.pretrain'->>'fingerprint' = labelled('pretrain')
ORDER BY task, metric, list_position(['model', 'tfidf', 'random-init', 'frequent-tag', 'majority'], system), system;

-- rows skipped
SELECT metrics->>'task' AS task, metrics->>'skipped' AS reason FROM stages
WHERE stage = 'task' AND inputs->'$.pretrain'->>'fingerprint' = labelled('pretrain') AND metrics->>'skipped' IS NOT NULL ORDER BY task;

-- rows samples
WITH found AS (SELECT unnest((metrics->'$.samples')::JSON[]) AS entry FROM stages WHERE fingerprint = labelled('evaluate'))
SELECT entry->>'prompt' AS prompt, entry->>'text' AS text FROM found;

-- rows filled
WITH found AS (
    SELECT unnest((metrics->'$.filled')::JSON[]) AS entry, generate_subscripts((metrics->'$.filled')::JSON[], 1) AS sample
    FROM stages WHERE fingerprint = labelled('evaluate')
), guesses AS (
    SELECT sample, entry->>'text' AS text, entry->>'word' AS word, unnest((entry->'$.guesses')::JSON[]) AS guess,
           generate_subscripts((entry->'$.guesses')::JSON[], 1) AS rank
    FROM found
)
SELECT sample, text, word, rank, guess->>'guess' AS guess, 100 * (guess->>'probability')::DOUBLE AS percent
FROM guesses ORDER BY sample, rank;

-- rows length_histogram
SELECT floor(log10(greatest(words, 1)) * 10)::INTEGER AS tenth_of_decade, count(*) FILTER (decision = 'keep') AS kept,
       count(*) FILTER (decision <> 'keep') AS dropped
FROM decisions WHERE fingerprint = labelled('select') GROUP BY 1 ORDER BY 1;

-- rows score_histogram
SELECT least(floor(language_score * 50), 49)::INTEGER AS fiftieth, count(*) FILTER (decision = 'keep') AS kept,
       count(*) FILTER (decision <> 'keep') AS dropped
FROM decisions WHERE fingerprint = labelled('select') AND language_score IS NOT NULL GROUP BY 1 ORDER BY 1;

-- row shape
SELECT max(atom) FILTER (fullkey LIKE '%.model.layers') AS layers, max(atom) FILTER (fullkey LIKE '%.model.width') AS width,
       max(atom) FILTER (fullkey LIKE '%.model.heads') AS heads, max(atom) FILTER (fullkey LIKE '%.model.feed_forward') AS feed_forward,
       max(atom) FILTER (fullkey LIKE '%.model.context') AS context, max(atom) FILTER (fullkey LIKE '%.model.tied') AS tied
FROM stages, json_tree(config) WHERE fingerprint = labelled('pretrain');
