-- The ledger's tables: an index of the manifests, which are the truth. `lugha ledger rebuild` makes them again.

CREATE TABLE runs (
    run VARCHAR, language VARCHAR, preset VARCHAR, snapshot VARCHAR, started TIMESTAMP, seconds DOUBLE,
    status VARCHAR, message VARCHAR, stages_run INTEGER, stages_reused INTEGER
);
CREATE TABLE run_stages (run VARCHAR, position INTEGER, stage VARCHAR, fingerprint VARCHAR, reused BOOLEAN);
CREATE TABLE stages (
    language VARCHAR, stage VARCHAR, fingerprint VARCHAR, version INTEGER, started TIMESTAMP, seconds DOUBLE,
    peak_memory_bytes BIGINT, files INTEGER, bytes BIGINT, rows BIGINT, config JSON, inputs JSON, metrics JSON,
    libraries JSON, machine VARCHAR
);
CREATE TABLE files (fingerprint VARCHAR, path VARCHAR, bytes BIGINT, rows BIGINT, sha256 VARCHAR);
CREATE TABLE sources (fingerprint VARCHAR, language VARCHAR, source VARCHAR, outcome VARCHAR, count BIGINT);
CREATE TABLE decisions (
    fingerprint VARCHAR, id BLOB, source VARCHAR, license VARCHAR, url VARCHAR, bytes INTEGER, words FLOAT,
    language VARCHAR, language_score FLOAT, duplicate_of BLOB, jaccard FLOAT, copies INTEGER, item VARCHAR, coverage FLOAT,
    decision VARCHAR, split VARCHAR, weight DOUBLE
);
CREATE TABLE dates (  -- of the corpus; published_*: between these lie 98 % of the stated dates, which pages often state wrongly
    fingerprint VARCHAR, language VARCHAR, source VARCHAR, documents BIGINT, fetched_first TIMESTAMP, fetched_last TIMESTAMP,
    published BIGINT, published_first TIMESTAMP, published_last TIMESTAMP
);
CREATE TABLE tokenizers (
    fingerprint VARCHAR, language VARCHAR, type VARCHAR, vocab_size INTEGER, fertility DOUBLE, bytes_per_token DOUBLE
);
CREATE TABLE training (
    fingerprint VARCHAR, language VARCHAR, step BIGINT, tokens BIGINT, epoch DOUBLE, loss DOUBLE, bits_per_byte DOUBLE,
    learning_rate DOUBLE, gradient_norm DOUBLE, tokens_per_second DOUBLE, memory_bytes BIGINT, elapsed_seconds DOUBLE,
    mfu DOUBLE, watts DOUBLE, validation_loss DOUBLE, validation_bits_per_byte DOUBLE
);
CREATE TABLE energy (  -- of each training; source: how the kWh are known; grid: which country's CO2 per kWh was taken
    fingerprint VARCHAR, language VARCHAR, kwh DOUBLE, source VARCHAR, mfu DOUBLE, country VARCHAR, grid VARCHAR,
    grid_grams_per_kwh DOUBLE, co2_grams DOUBLE, cost DOUBLE, currency VARCHAR
);
CREATE TABLE evaluations (
    fingerprint VARCHAR, language VARCHAR, task VARCHAR, metric VARCHAR, system VARCHAR, value DOUBLE, low DOUBLE,
    high DOUBLE, n BIGINT, seeds BIGINT
);
CREATE TABLE releases (fingerprint VARCHAR, language VARCHAR, version VARCHAR, started TIMESTAMP, files INTEGER, bytes BIGINT);

-- Views for people.

CREATE VIEW latest AS  -- the stages of each language's last run that reached its end
    SELECT r.language, s.position, s.stage, s.fingerprint
    FROM run_stages s JOIN runs r USING (run)
    WHERE r.run IN (SELECT max_by(run, started) FROM runs WHERE status = 'completed' GROUP BY language);
CREATE VIEW funnel AS  -- where did the corpus go: rows in = kept + sum of dropped by reason
    SELECT l.language, d.decision, count(*) AS documents, sum(d.bytes)::BIGINT AS bytes,
           round(100.0 * count(*) / sum(count(*)) OVER (PARTITION BY l.language), 2) AS percent
    FROM decisions d JOIN latest l USING (fingerprint) GROUP BY l.language, d.decision;
CREATE VIEW corpus AS  -- what was kept, by source and licence
    SELECT l.language, d.source, d.license, d.split, count(*) AS documents, sum(d.bytes)::BIGINT AS bytes
    FROM decisions d JOIN latest l USING (fingerprint) WHERE d.decision = 'keep' GROUP BY ALL;
CREATE VIEW scores AS
    SELECT l.language, e.task, e.metric, e.system, e.value, e.low, e.high, e.n, e.seeds
    FROM evaluations e JOIN latest l USING (fingerprint);
CREATE VIEW timing AS  -- what each stage of the last complete run cost
    SELECT l.language, l.position, l.stage, s.seconds, s.peak_memory_bytes, s.rows, s.bytes
    FROM latest l JOIN stages s USING (fingerprint);
