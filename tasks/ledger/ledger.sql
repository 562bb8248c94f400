-- The ledger: an index of the manifests, which are the truth. `lugha ledger rebuild` makes it again.
-- A stage adds the Parquet files that it declares (`Stage.tables`): their rows, with its fingerprint.

CREATE TABLE made (schema VARCHAR);  -- by which version of this file
CREATE TABLE runs (  -- number: in the order in which they began, whatever the clock said
    run VARCHAR, number BIGINT, language VARCHAR, preset VARCHAR, snapshot VARCHAR, started TIMESTAMP, seconds DOUBLE,
    status VARCHAR, message VARCHAR, stages_run INTEGER, stages_reused INTEGER,
    country VARCHAR, price_per_kwh DOUBLE, currency VARCHAR
);
CREATE TABLE run_stages (run VARCHAR, position INTEGER, label VARCHAR, stage VARCHAR, fingerprint VARCHAR, reused BOOLEAN);
CREATE TABLE stages (
    language VARCHAR, stage VARCHAR, fingerprint VARCHAR, version INTEGER, started TIMESTAMP, seconds DOUBLE,
    peak_memory_bytes BIGINT, files INTEGER, bytes BIGINT, rows BIGINT, config JSON, inputs JSON, metrics JSON,
    libraries JSON, machine VARCHAR
);
CREATE TABLE files (fingerprint VARCHAR, path VARCHAR, bytes BIGINT, rows BIGINT, sha256 VARCHAR);
CREATE TABLE decisions (
    fingerprint VARCHAR, id BLOB, source VARCHAR, license VARCHAR, url VARCHAR, bytes INTEGER, words FLOAT,
    language VARCHAR, language_score FLOAT, duplicate_of BLOB, jaccard FLOAT, copies INTEGER, related BLOB, item VARCHAR,
    coverage FLOAT, decision VARCHAR, split VARCHAR, weight DOUBLE
);
CREATE TABLE training (
    fingerprint VARCHAR, step BIGINT, tokens BIGINT, epoch DOUBLE, loss DOUBLE, bits_per_byte DOUBLE,
    learning_rate DOUBLE, gradient_norm DOUBLE, tokens_per_second DOUBLE, memory_bytes BIGINT, elapsed_seconds DOUBLE,
    mfu DOUBLE, watts DOUBLE, validation_loss DOUBLE, validation_bits_per_byte DOUBLE
);

CREATE TABLE grids (country VARCHAR, name VARCHAR, grams_per_kwh DOUBLE, year INTEGER);  -- CO2 equivalent; country null: the world

-- What the stages counted and measured, out of their metrics.

CREATE VIEW sources AS  -- outcomes of the addresses, rows or files of each source
    SELECT fingerprint, language, config->>'name' AS source, m.key AS outcome, m.value::BIGINT AS count
    FROM stages, json_each(metrics) m WHERE stage = 'crawl' AND m.type IN ('UBIGINT', 'BIGINT');
CREATE VIEW rules AS  -- every decision that select could make, in the order in which it asks, in words
    SELECT fingerprint, language, generate_subscripts((metrics->'$.rules')::JSON[], 1) AS position,
           unnest((metrics->'$.rules')::JSON[])->>'decision' AS decision, unnest((metrics->'$.rules')::JSON[])->>'words' AS words
    FROM stages WHERE stage = 'select';
CREATE VIEW dates AS  -- of the corpus; published_*: between these lie 98 % of the stated dates, which pages often state wrongly
    SELECT fingerprint, language, d->>'source' AS source, (d->>'documents')::BIGINT AS documents,
           (d->>'fetched_first')::TIMESTAMPTZ AT TIME ZONE 'UTC' AS fetched_first,
           (d->>'fetched_last')::TIMESTAMPTZ AT TIME ZONE 'UTC' AS fetched_last, (d->>'published')::BIGINT AS published,
           (d->>'published_first')::TIMESTAMPTZ AT TIME ZONE 'UTC' AS published_first,
           (d->>'published_last')::TIMESTAMPTZ AT TIME ZONE 'UTC' AS published_last
    FROM (SELECT fingerprint, language, unnest((metrics->'$.dates')::JSON[]) AS d FROM stages WHERE stage = 'corpus');
CREATE VIEW tokenizers AS
    SELECT fingerprint, language, metrics->>'type' AS type, (metrics->>'vocab_size')::INTEGER AS vocab_size,
           (metrics->>'fertility')::DOUBLE AS fertility, (metrics->>'bytes_per_token')::DOUBLE AS bytes_per_token
    FROM stages WHERE stage = 'tokenizer';
CREATE VIEW energy AS  -- of each training; source: how the kWh are known
    SELECT fingerprint, language, (metrics->>'kwh')::DOUBLE AS kwh, metrics->>'energy' AS source, (metrics->>'mfu')::DOUBLE AS mfu
    FROM stages WHERE stage = 'pretrain';
CREATE VIEW evaluations AS  -- held-out text first, then the tasks; difference: how much better than the best floor, paired
    SELECT fingerprint, language, r->>'task' AS task, r->>'metric' AS metric, r->>'system' AS system, (r->>'value')::DOUBLE AS value,
           (r->>'low')::DOUBLE AS low, (r->>'high')::DOUBLE AS high, (r->>'n')::BIGINT AS n, (r->>'seeds')::BIGINT AS seeds,
           r->>'floor' AS floor, (r->>'difference')::DOUBLE AS difference, (r->>'difference_low')::DOUBLE AS difference_low,
           (r->>'difference_high')::DOUBLE AS difference_high
    FROM (SELECT fingerprint, language, unnest((metrics->'$.scores')::JSON[]) AS r FROM stages WHERE stage IN ('evaluate', 'task'));
CREATE VIEW releases AS
    SELECT fingerprint, language, config->>'version' AS version, started, files, bytes FROM stages WHERE stage = 'release';

-- Views for people.

CREATE VIEW latest AS  -- the stages of each language's last run that reached its end, by their labels in it
    SELECT r.language, r.run, s.position, s.label, s.stage, s.fingerprint
    FROM run_stages s JOIN runs r USING (run)
    WHERE r.run IN (SELECT max_by(run, (number, started)) FROM runs WHERE status = 'completed' GROUP BY language);
CREATE VIEW funnel AS  -- where did the corpus go: rows in = kept + sum of dropped by reason
    SELECT l.language, d.decision, any_value(r.words) AS why, count(*) AS documents, sum(d.bytes)::BIGINT AS bytes,
           round(100.0 * count(*) / sum(count(*)) OVER (PARTITION BY l.language), 2) AS percent, any_value(r.position) AS position
    FROM decisions d JOIN latest l USING (fingerprint) LEFT JOIN rules r USING (fingerprint, decision)
    WHERE l.label = 'select' GROUP BY l.language, d.decision;
CREATE VIEW corpus AS  -- what was kept, by source and licence
    SELECT l.language, d.source, d.license, d.split, count(*) AS documents, sum(d.bytes)::BIGINT AS bytes
    FROM decisions d JOIN latest l USING (fingerprint) WHERE l.label = 'select' AND d.decision = 'keep' GROUP BY ALL;
CREATE VIEW scores AS
    SELECT l.language, l.label, e.* EXCLUDE (fingerprint, language)
    FROM evaluations e JOIN latest l USING (fingerprint);
CREATE VIEW timing AS  -- what each stage of the last complete run cost
    SELECT l.language, l.position, l.label, s.seconds, s.peak_memory_bytes, s.rows, s.bytes
    FROM latest l JOIN stages s USING (fingerprint);
CREATE VIEW footprint AS  -- CO2 and price of the energy of each training, where and at what price the last run says it was used
    SELECT l.language, l.label, e.kwh, e.kwh * g.grams_per_kwh AS co2_grams, g.name AS grid, e.kwh * r.price_per_kwh AS cost,
           CASE WHEN r.price_per_kwh IS NOT NULL THEN r.currency END AS currency, e.source
    FROM energy e JOIN latest l USING (fingerprint) JOIN runs r ON r.run = l.run
    JOIN grids g ON g.country IS NOT DISTINCT FROM CASE WHEN r.country IN (SELECT country FROM grids) THEN r.country END;
